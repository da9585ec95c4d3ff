//! What is read, refused with its place, and come to.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::{parse::parse, *};
use crate::{
    memory::{Answer, Memory},
    metrics::{Scrape, parse as scraped},
    record::Measurement,
    sample::Sample,
};

fn scope() -> Scope {
    let kept = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    Scope {
        measurements: BTreeMap::from([
            ("slow".to_owned(), kept(&["service_id"])),
            ("fast".to_owned(), BTreeSet::new()),
        ]),
        answers: BTreeSet::from(["booked".to_owned()]),
    }
}

fn memory() -> Memory {
    let mut memory = Memory {
        now_ms: 1_000.0,
        ..Memory::default()
    };
    let mut slow = Measurement {
        started_ms: 0.0,
        took_ms: 2_000.0,
        ..Measurement::default()
    };
    for nth in 1..=10_u16 {
        let gateway = format!("gateway-{}", nth % 2 + 1);
        slow.add(Sample {
            at_ms: f64::from(nth) * 100.0,
            latency_ms: f64::from(nth) * 10.0,
            service_ms: 1.0,
            status: if nth == 10 { 503 } else { 200 },
            attempts: 1,
            texts: vec![("gateway".to_owned(), gateway)],
            tiers: vec![("pg".to_owned(), 2.0)],
            ..Sample::default()
        });
    }
    slow.complete();
    memory.measurements.insert("slow".to_owned(), slow);
    let mut fast = Measurement::default();
    fast.complete();
    memory.measurements.insert("fast".to_owned(), fast);
    let body = serde_json::json!({"booking_id": 7, "status": "success", "list": [1, 2]});
    let booked = Answer {
        status: 200,
        headers: vec![("x-cache".to_owned(), "HIT".to_owned())],
        body,
    };
    memory.answers.insert("booked".to_owned(), booked);
    let scrape = |value: u32| Scrape {
        role: "gateway".to_owned(),
        instance: "gateway-1".to_owned(),
        ready: true,
        series: scraped(
            &format!("recarga_retries_total{{to=\"a\"}} {value}"),
            |_| true,
        ),
    };
    memory.history.add(0.0, &[scrape(10)]);
    memory.history.add(1_000.0, &[scrape(30)]);
    memory.invariants.insert(1, Ok(true));
    memory
}

#[test]
fn values() {
    let (scope, memory) = (scope(), memory());
    for (text, expected) in [
        ("1 + 2 * 3 - 4 / 2", "5"),
        ("(1 + 2) * 3", "9"),
        ("-2 + 3", "1"),
        ("slow.p50", "50 ms"),
        ("slow.max", "100 ms"),
        ("slow.service.p99", "1 ms"),
        ("slow.count", "10"),
        ("during(gateway.recarga_retries_total, slow)", "20"),
        ("slow.errors", "1"),
        ("slow.ok / slow.count", "0.9"),
        ("slow.rate", "5"),
        ("slow.took", "2000 ms"),
        ("slow[status == 200].count", "9"),
        ("slow[gateway == \"gateway-2\" and nth <= 4].count", "2"),
        ("slow[at < 300ms].mean", "15 ms"),
        ("slow[nth == 1].mean * 2 + 5ms", "25 ms"),
        ("slow.max / slow.min", "10"),
        ("share(slow.gateway, \"gateway-1\")", "0.5"),
        ("most(slow.gateway)", "0.5"),
        ("distinct(slow.gateway)", "2"),
        ("tier(slow, \"pg\")", "2 ms"),
        ("status(booked)", "200"),
        ("header(booked, 'X-Cache')", "\"HIT\""),
        ("json(booked, '/booking_id') + 1", "8"),
        ("json(booked, '/list')", "2"),
        ("gateway.recarga_retries_total", "30"),
        ("gateway.recarga_retries_total{to=\"b*\"}", "0"),
        ("rate(gateway.recarga_retries_total, 1s)", "20"),
        ("increase(gateway.recarga_retries_total, slow)", "20"),
        ("instances(gateway)", "1"),
        ("min(slow.p50, 20ms)", "20 ms"),
        ("50% == 0.5", "true"),
        ("holds(1) and not slow.count == 3", "true"),
        ("slow.count > 100 and fast.p99 < 1ms", "false"),
        ("slow.count == 10 or fast.p99 < 1ms", "true"),
        ("json(booked, '/status') == 'success'", "true"),
    ] {
        let value = Expression::read(text, &scope).map(|it| it.value(&memory));
        assert_eq!(value.unwrap().unwrap().words(), expected, "{text}");
    }
    for text in [
        "fast.p99 < 1ms",
        "fast.p99 < 1ms and slow.count == 10",
        "1 / 0 > 3",
        "json(booked, '/absent') == 1",
        "json(booked, '/status') > 3",
        "holds(2)",
        "slow.rate < rate(gateway.recarga_retries_total, 1s) / fast.count",
    ] {
        let value = Expression::condition(text, &scope).unwrap().value(&memory);
        assert!(value.is_err(), "{text}: {value:?}");
    }
}

#[test]
fn flaws_have_their_place_and_reason() {
    for (text, at, reason) in [
        ("", 0, "something is missing"),
        ("slow.p99 <", 10, "something is missing"),
        ("slow.p99 < 200", 0, "a time is written with its unit"),
        ("slow.p98 < 2ms", 0, "did you mean \"p9"),
        ("slwo.p99 < 2ms", 0, "did you mean \"slow\"?"),
        ("slow < 2", 0, "ask for a figure"),
        ("slow.gateway == 'a'", 0, "is a column of many calls"),
        ("1 + ?", 4, "'?' has no meaning"),
        ("1ms + 2", 0, "a time + a number has no meaning"),
        ("'a", 0, "does not end"),
        ("5 parsecs", 2, "should have ended"),
        ("5x > 3", 0, "there is no unit \"x\""),
        (
            "slow[gatway == 'a'].count > 1",
            5,
            "did you mean \"gateway\"?",
        ),
        ("slow[status == 'a'].count > 1", 5, "is a number"),
        ("slow[status 5].count > 1", 12, "a comparison is wanted"),
        (
            "rate(gateway.recarga_retries_total) > 1",
            0,
            "it is written rate(METRIC, TIME)",
        ),
        ("rate(slow, 5s) > 1", 5, "a metric is wanted"),
        (
            "gateway.recarga_retries > 1",
            0,
            "did you mean \"recarga_retries_total\"?",
        ),
        ("gateway > 1", 0, "a metric is wanted after gateway"),
        ("instances(gatway) > 1", 10, "did you mean \"gateway\"?"),
        ("holds(7)", 6, "holds(NUMBER)"),
        ("shar(slow.gateway, 'a') > 1", 0, "did you mean \"share\"?"),
        (
            "distinct(slow.servic_id) > 1",
            9,
            "did you mean \"service_id\"?",
        ),
        ("booked > 1", 0, "is an answer"),
        ("json(bookd, '/a') == 1", 5, "did you mean \"booked\"?"),
        ("json(booked, 'a') == 1", 13, "json(NAME, POINTER)"),
        ("slow.count", 0, "a condition is wanted"),
        ("not 5", 4, "a condition is wanted"),
        ("(1 > 2", 6, "\")\" is wanted"),
    ] {
        let flaw = Expression::condition(text, &scope()).unwrap_err();
        assert!(flaw.reason.contains(reason), "{text}: {flaw}");
        assert_eq!(flaw.place.start, at, "{text}: {flaw}");
    }
    let deep = "(".repeat(500);
    assert!(parse(&deep).is_err() && parse(&"not ".repeat(500)).is_err());
}

#[test]
fn readings_say_what_was_seen() {
    let condition = Expression::condition(
        "slow.p99 < 2s and share(slow.gateway, 'gateway-1') > 60% and holds(1)",
        &scope(),
    );
    let (readings, first) = readings(&condition.unwrap(), &memory());
    assert_eq!(first, Some(100.0));
    let seen: Vec<_> = readings
        .iter()
        .map(|reading| (reading.seen.as_str(), reading.bound.as_str(), reading.holds))
        .collect();
    assert_eq!(
        seen,
        [
            ("100 ms", "2000 ms", true),
            ("0.5", "0.6", false),
            ("true", "", true)
        ]
    );
}

/// Trees of every form; not all make sense.
fn part() -> impl Strategy<Value = Part> {
    let at = |node| Part { node, place: 0..0 };
    let name = "[a-z][a-z0-9]{0,5}x";
    let text = "[a-z \"*]{0,6}";
    let filter = (name, 0..6_usize, 0..1_000_u32).prop_map(|(column, comparison, value)| Filter {
        column,
        comparison: Comparison::ALL[comparison],
        value: Value::Number(f64::from(value) / 4.0),
        place: 0..0,
    });
    let label =
        (name, any::<bool>(), text).prop_map(|(name, equal, value)| Label { name, equal, value });
    let path = (
        name,
        prop::collection::vec(name, 0..3),
        prop::collection::vec(label, 0..3),
        prop::collection::vec(filter, 0..3),
    )
        .prop_map(|(head, tail, labels, filters)| Path {
            labels: if tail.is_empty() { Vec::new() } else { labels },
            head,
            tail,
            filters,
        });
    let leaf = prop_oneof![
        (0..100_000_u32).prop_map(move |it| at(Node::Number(f64::from(it) / 8.0))),
        (0..100_000_u32).prop_map(move |it| at(Node::Time(f64::from(it) / 8.0))),
        text.prop_map(move |it| at(Node::Text(it))),
        any::<bool>().prop_map(move |it| at(Node::Truth(it))),
        path.prop_map(move |it| at(Node::Path(it))),
    ];
    leaf.prop_recursive(4, 24, 3, move |inner| {
        let two = (inner.clone(), inner.clone());
        prop_oneof![
            two.clone()
                .prop_map(move |(a, b)| at(Node::And(Box::new(a), Box::new(b)))),
            two.clone()
                .prop_map(move |(a, b)| at(Node::Or(Box::new(a), Box::new(b)))),
            (two.clone(), 0..6_usize).prop_map(move |((a, b), which)| at(Node::Compare(
                Comparison::ALL[which],
                Box::new(a),
                Box::new(b)
            ))),
            (two, 0..4_usize).prop_map(move |((a, b), which)| at(Node::Arithmetic(
                Operator::ALL[which],
                Box::new(a),
                Box::new(b)
            ))),
            inner
                .clone()
                .prop_map(move |it| at(Node::Not(Box::new(it)))),
            inner
                .clone()
                .prop_map(move |it| at(Node::Negative(Box::new(it)))),
            (name, prop::collection::vec(inner, 0..3))
                .prop_map(move |(name, it)| at(Node::Call(name, it))),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_printed_is_read_back(part in part()) {
        let text = part.to_string();
        prop_assert_eq!(parse(&text).unwrap(), part, "{}", text);
    }

    #[test]
    fn no_text_panics(text in "([a-z0-9_.<>=!()\\[\\]{}\"' +*/%-]|and |slow|json\\(|5ms|é){0,40}") {
        let scope = scope();
        match Expression::read(&text, &scope) {
            Ok(expression) => {
                let memory = memory();
                let _ = expression.value(&memory);
                let _ = readings(&expression, &memory);
            }
            Err(flaw) => prop_assert!(flaw.place.start <= text.len()),
        }
    }
}
