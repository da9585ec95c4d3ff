//! Requests through a whole lab, and the traces they leave.

use std::{fs, time::Duration};

use kit::testing::eventually;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use reqwest::Method;
use serde_json::json;

use crate::{
    collector::Seen,
    lab::{alone, caller, lab},
    tree::{Tree, is_complete},
};

/// A recharge whose message has come to its end.
const RECHARGED: [(&str, &str); 2] = [
    ("notification", "process recharges"),
    ("travel", "send recharges"),
];

fn has(spans: &[Seen], service: &str, name: &str) -> bool {
    spans
        .iter()
        .any(|span| span.service == service && span.name == name)
}

#[tokio::test]
async fn a_booking_is_one_trace_from_the_door_to_the_notification() {
    let _alone = alone().await;
    let (lab, token) = (lab(), lab().token().await);
    let (traceparent, trace, span) = caller("01");
    let answer = lab
        .request(Method::POST, "/book")
        .bearer_auth(token)
        .header("traceparent", traceparent)
        .header("tracestate", "lab=1,other=2")
        .json(&json!({"student_id": "1", "tutor_id": "40"}))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 200);
    let spans = lab
        .collector
        .until_trace("a whole booking", &trace, |spans| {
            let needed = [
                ("notification", "process bookings"),
                ("booking", "send bookings"),
                ("queue", "POST /queues/{queue}/messages"),
            ];
            is_complete(spans, &span, &needed)
        })
        .await;
    let tree = Tree::whole(spans, &span);

    let root = tree.root();
    assert_eq!(
        (root.service.as_str(), root.kind),
        ("balancer", SpanKind::Server)
    );
    assert_eq!(root.name, "POST /book");
    assert_eq!(root.state, "lab=1,other=2");
    assert_eq!(root.get("http.response.status_code"), "200");
    assert_eq!(root.get("url.path"), "/book");
    assert_eq!(root.get("recarga.cache"), "BYPASS");
    assert!(!root.get("recarga.request_id").is_empty());
    let expected = ["balancer", "booking", "gateway", "notification", "queue"];
    for service in expected {
        assert!(
            tree.services().contains(service),
            "{service}: {}",
            tree.text()
        );
    }
    let booking = tree.one("booking", "POST /book");
    assert_eq!(booking.state, "lab=1,other=2");
    assert_eq!(
        booking.get("recarga.request_id"),
        root.get("recarga.request_id")
    );
    let visits = tree.children(booking);
    assert!(
        visits
            .iter()
            .any(|visit| visit.get("db.system.name") == "postgresql"),
        "{}",
        tree.text()
    );
    // The message is made by the write, sent by the relay, and worked on by whoever gets it.
    let created = tree.one("booking", "create bookings");
    assert_eq!(
        (created.kind, &created.parent),
        (SpanKind::Producer, &booking.id)
    );
    let sent = tree.one("booking", "send bookings");
    assert_eq!(sent.parent, created.id);
    let queue = tree.one("queue", "POST /queues/{queue}/messages");
    assert!(tree.is_under(queue, sent), "{}", tree.text());
    let kept = tree.children(queue);
    assert!(
        kept.iter().any(|span| span.name == "redis"),
        "{}",
        tree.text()
    );
    let processed = tree.one("notification", "process bookings");
    assert_eq!(
        (processed.kind, &processed.parent),
        (SpanKind::Consumer, &created.id)
    );
    assert_eq!(processed.get("messaging.destination.name"), "bookings");
    let done = tree.children(processed);
    for what in ["postgresql", "POST"] {
        assert!(
            done.iter().any(|span| span.name == what),
            "{what}: {}",
            tree.text()
        );
    }
    assert!(!processed.failed);
}

#[tokio::test]
async fn a_recharge_without_a_parent_begins_a_trace_and_its_log_lines_name_it() {
    let _alone = alone().await;
    let (lab, token) = (lab(), lab().token().await);
    let id = format!("traced-recharge-{}", std::process::id());
    let answer = lab
        .request(Method::POST, "/recharges")
        .bearer_auth(token)
        .header("X-Request-Id", &id)
        // Not valid, so no parent; its state goes with it.
        .header(
            "traceparent",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        )
        .header("tracestate", "lost=1")
        .json(&json!({"card_id": 7, "amount": 5000}))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 201);
    let spans = lab
        .collector
        .until("a whole recharge", |all| {
            let root = all
                .iter()
                .find(|span| span.service == "balancer" && span.get("recarga.request_id") == id)?;
            let trace = root.trace.clone();
            let spans: Vec<Seen> = all.into_iter().filter(|span| span.trace == trace).collect();
            is_complete(&spans, "", &RECHARGED).then_some(spans)
        })
        .await;
    let trace = spans[0].trace.clone();
    let tree = Tree::whole(spans, "");
    assert_eq!(tree.root().state, "");
    let travel = tree.one("travel", "POST /recharges");
    let created = tree.one("travel", "create recharges");
    assert_eq!(created.parent, travel.id);
    let attempts: Vec<&Seen> = tree
        .children(tree.root())
        .into_iter()
        .filter(|span| span.kind == SpanKind::Client)
        .collect();
    assert_eq!(attempts.len(), 1, "{}", tree.text());
    assert!(
        attempts[0].get("recarga.upstream").starts_with("gateway"),
        "{attempts:?}"
    );
    assert_eq!(attempts[0].get("http.request.resend_count"), "");

    let named = format!("\"trace_id\":\"{trace}\"");
    eventually("balancer, gateway and travel each log it", || async {
        let logs = fs::read_dir(lab.whole.path().join("logs")).unwrap();
        let mut found = 0;
        for file in logs.flatten() {
            let text = fs::read_to_string(file.path()).unwrap_or_default();
            // Without the last, which may be half written.
            let whole = &text[..text.rfind('\n').unwrap_or(0)];
            for line in whole.lines().filter(|line| line.contains(&id)) {
                assert!(line.contains(&named), "{line}");
                found += 1;
            }
        }
        found >= 3
    })
    .await;
}

#[tokio::test]
async fn each_recharge_of_a_group_goes_on_in_its_own_trace() {
    let _alone = alone().await;
    let (lab, token) = (lab(), lab().token().await);
    let callers: Vec<_> = (0..40).map(|_| caller("01")).collect();
    let calls = callers
        .iter()
        .zip(10..)
        .map(async |((traceparent, ..), card)| {
            let request = lab.request(Method::POST, "/recharges").bearer_auth(&token);
            let request = request.header("traceparent", traceparent);
            let body = json!({"card_id": card, "amount": 5000});
            request.json(&body).send().await.unwrap().status().as_u16()
        });
    let statuses = futures::future::join_all(calls).await;
    for ((_, trace, span), status) in callers.iter().zip(statuses) {
        if status != 201 {
            // A card that may not be used: nothing was written, so there is no message.
            continue;
        }
        let spans = lab
            .collector
            .until_trace("each recharge", trace, |spans| {
                is_complete(spans, span, &RECHARGED)
            })
            .await;
        let tree = Tree::whole(spans, span);
        let created = tree.one("travel", "create recharges");
        assert_eq!(created.parent, tree.one("travel", "POST /recharges").id);
    }
}

#[tokio::test]
async fn a_parent_that_is_not_recorded_yields_nothing() {
    let _alone = alone().await;
    let (lab, token) = (lab(), lab().token().await);
    let (unsampled, trace, _) = caller("00");
    let (sampled, other, _) = caller("01");
    for traceparent in [&unsampled, &sampled] {
        let answer = lab
            .request(Method::POST, "/recharges")
            .bearer_auth(&token)
            .header("traceparent", traceparent)
            .json(&json!({"card_id": 8, "amount": 5000}))
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 201);
    }
    // Whatever the first had left would be there before the last of the second is.
    lab.collector
        .until_trace("the second recharge", &other, |spans| {
            has(spans, "notification", "process recharges")
        })
        .await;
    let spans = lab.collector.trace(&trace);
    assert!(spans.is_empty(), "{spans:?}");
}

#[tokio::test]
async fn an_attempt_that_failed_and_its_repetition_are_siblings() {
    let _alone = alone().await;
    let lab = lab();
    let fault = |words: &[&str]| {
        let output = lab.whole.recarga(&[&["do", "--yes"], words].concat());
        assert!(output.status.success(), "{words:?}: {output:?}");
    };
    fault(&["fault", "gateway-1", "refuse", "for=60s"]);
    let mut found = None;
    for _ in 0..60 {
        let (traceparent, trace, span) = caller("01");
        let request = lab.request(Method::GET, "/trips/total");
        let answer = request
            .header("traceparent", traceparent)
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 200);
        let spans = lab
            .collector
            .until_trace("the answer's trace", &trace, |spans| {
                has(spans, "balancer", "GET /trips/total")
            })
            .await;
        let sent = |span: &&Seen| span.service == "balancer" && span.kind == SpanKind::Client;
        let mut attempts: Vec<Seen> = spans.iter().filter(sent).cloned().collect();
        attempts.sort_by_key(|attempt| attempt.start);
        if attempts.len() > 1 {
            found = Some((attempts, span));
            break;
        }
    }
    fault(&["clear-faults"]);
    let (attempts, span) = found.expect("a third of the requests goes to a gateway that refuses");
    assert_eq!(attempts.len(), 2, "{attempts:?}");
    let (first, second) = (&attempts[0], &attempts[1]);
    assert_eq!(first.parent, second.parent);
    assert_ne!(first.parent, span);
    assert_eq!(first.get("recarga.upstream"), "gateway-1");
    assert_ne!(second.get("recarga.upstream"), "gateway-1");
    assert!(first.failed && !second.failed);
    assert_eq!(first.get("error.type"), "broken");
    assert_eq!(second.get("http.request.resend_count"), "1");
    assert_eq!(second.get("http.response.status_code"), "200");
    assert!(first.end <= second.start, "{attempts:?}");
}

#[tokio::test]
async fn who_looks_again_and_again_leaves_no_spans() {
    let _alone = alone().await;
    let lab = lab();
    for path in ["/health", "/metrics"] {
        let answer = lab.request(Method::GET, path).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
    }
    let (traceparent, trace, _) = caller("01");
    let request = lab.request(Method::GET, "/data?key=quiet");
    let answer = request
        .header("traceparent", traceparent)
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 200);
    lab.collector
        .until_trace("what came after", &trace, |spans| {
            spans
                .iter()
                .any(|span| span.service == "balancer" && span.kind == SpanKind::Server)
        })
        .await;
    for span in lab.collector.all() {
        let path = span.get("url.path");
        assert!(
            !["/health", "/metrics", "/readyz", "/livez"].contains(&path),
            "{span:?}"
        );
        // The consumers ask their queues all the time.
        let polls = span.get("http.request.method") == "GET" && path.ends_with("/messages");
        assert!(!polls, "{span:?}");
    }
}

#[tokio::test]
async fn a_collector_that_refuses_fails_no_request_and_is_counted() {
    let _alone = alone().await;
    let lab = lab();
    let exported = lab
        .metric("balancer-1", "recarga_spans_exported_total")
        .await;
    lab.collector.answer(400);
    let before = lab
        .metric("balancer-1", "recarga_spans_dropped_total")
        .await;
    let mut dropped = before;
    for _ in 0..100 {
        let answer = lab
            .request(Method::GET, "/trips/total")
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 200);
        dropped = lab
            .metric("balancer-1", "recarga_spans_dropped_total")
            .await;
        if dropped > before {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    lab.collector.answer(200);
    assert!(dropped > before, "{before} {dropped}");
    // It works again by itself.
    let (traceparent, trace, _) = caller("01");
    let request = lab.request(Method::GET, "/trips/total");
    request
        .header("traceparent", traceparent)
        .send()
        .await
        .unwrap();
    lab.collector
        .until_trace("the first after it came back", &trace, |spans| {
            spans.iter().any(|span| span.service == "balancer")
        })
        .await;
    let after = lab
        .metric("balancer-1", "recarga_spans_exported_total")
        .await;
    assert!(after > exported, "{exported} {after}");
}
