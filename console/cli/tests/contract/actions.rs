//! The operator's actions on the lab: what each says it would do, what it does, and what puts it back.

use std::time::Duration;

use actions::{Action, Done, Failure, Levers, Rights};
use serde_json::{Value, json};

use crate::api::Api;
use crate::lab::{eventually, lab};

fn levers() -> Levers {
    let rights = Rights {
        operator_token: Some(lab().secret("operator_token").to_owned()),
        operator_password: Some(lab().secret("operator_password").to_owned()),
        ..Rights::default()
    };
    Levers::new(
        Levers::client().unwrap(),
        (&lab().topology()).into(),
        rights,
    )
}

fn parse(line: &str) -> Action {
    Action::parse(line).unwrap_or_else(|error| panic!("{line}: {error}"))
}

async fn perform(line: &str) -> Done {
    let done = levers().perform(&parse(line)).await;
    done.unwrap_or_else(|failure| panic!("{line}: {failure}"))
}

async fn impact(line: &str) -> String {
    let impact = levers().impact(&parse(line)).await;
    impact.unwrap_or_else(|failure| panic!("{line}: {failure}"))
}

/// Does it, sees that something changed, takes it back, and sees that all is as before.
async fn there_and_back(line: &str, see: impl AsyncFn() -> Value) {
    let before = see().await;
    impact(line).await;
    assert_eq!(see().await, before, "asking changed something: {line}");
    let done = perform(line).await;
    assert_ne!(see().await, before, "{line} changed nothing: {}", done.text);
    let undo = done
        .undo
        .unwrap_or_else(|| panic!("{line} cannot be undone: {}", done.text));
    levers()
        .perform(&undo)
        .await
        .unwrap_or_else(|failure| panic!("{undo}: {failure}"));
    assert_eq!(see().await, before, "{undo} did not undo {line}");
}

async fn seen(instance: &str, path: &str) -> Value {
    Api::admin(instance).get(path).await.expect(200).body
}

async fn faults(instance: &str) -> Value {
    let mut faults = seen(instance, "/admin/info").await["faults"].clone();
    // Time passes.
    for fault in faults.as_array_mut().unwrap() {
        fault["expires_in_seconds"] = Value::Null;
    }
    faults
}

#[tokio::test]
async fn faults_come_and_go() {
    let _alone = lab().alone().await;
    let see = async || faults("search-1").await;
    there_and_back("fault search-1 latency=5ms route=/planned", see).await;
    perform("fault search-1 errors=0.5 status=503 route=/planned for=forever").await;
    // Those that were there stay, and come back.
    there_and_back("fault search-1 refuse route=/planned", see).await;
    there_and_back("clear-faults search-1", see).await;
    perform("fault travel-1 hang route=/planned for=5m").await;
    let info = seen("travel-1", "/admin/info").await;
    assert!(
        (290..=300).contains(&info["faults"][0]["expires_in_seconds"].as_u64().unwrap()),
        "{info}"
    );
    assert!(impact("stop-everything").await.contains("2 faults"));
    let done = perform("stop-everything").await;
    assert_eq!(done.text, "2 faults are cleared");
    assert_eq!(
        (faults("search-1").await, faults("travel-1").await),
        (json!([]), json!([]))
    );
    // Even that can be taken back.
    levers().perform(&done.undo.unwrap()).await.unwrap();
    assert_eq!(faults("search-1").await.as_array().unwrap().len(), 1);
    perform("clear-faults").await;
}

/// Whether a safeguard is on, with every instance to which it matters.
async fn safeguard(name: &str) -> Value {
    let mut seen = serde_json::Map::new();
    for instance in lab().topology().instances {
        let info = self::seen(&instance.name, "/admin/info").await;
        if let Some(standing) = info["safeguards"].get(name) {
            seen.insert(instance.name, standing["on"].clone());
        }
    }
    seen.into()
}

#[tokio::test]
async fn safeguards_are_taken_away_and_given_back_where_they_matter() {
    let _alone = lab().alone().await;
    for (name, roles) in [
        ("inbox", &["notification"][..]),
        ("fencing", &["queue"]),
        ("lease-void", &["cache"]),
        ("claim", &["travel"]),
        ("leases", &["cache", "gateway"]),
        ("shedding", &["balancer", "gateway"]),
        ("retry-budget", &["balancer", "gateway"]),
        ("single-call", &["travel"]),
    ] {
        there_and_back(&format!("safeguard {name} off for=60s"), async || {
            safeguard(name).await
        })
        .await;
        let all = safeguard(name).await;
        let topology = lab().topology();
        let mut expected: Vec<&str> = topology
            .instances
            .iter()
            .filter(|instance| roles.contains(&instance.role.as_str()))
            .map(|instance| instance.name.as_str())
            .collect();
        let mut names: Vec<&String> = all.as_object().unwrap().keys().collect();
        names.sort();
        expected.sort_unstable();
        assert_eq!(names, expected, "{name}");
    }
    let words = impact("safeguard claim off for=90s").await;
    assert!(
        words.contains("2 of travel go without it") && words.contains("STAYS DONE TWICE"),
        "{words}"
    );
    perform("safeguard claim off for=90s").await;
    // Longer, and then for good: what was left is what comes back.
    let longer = perform("safeguard claim off for=5m").await;
    assert_eq!(longer.undo, None, "it was off before: {}", longer.text);
    let on = perform("safeguard claim on").await;
    let undo = on.undo.expect("it was off").to_string();
    assert!(undo.starts_with("safeguard claim off for="), "{undo}");
    levers().perform(&parse(&undo)).await.unwrap();
    perform("safeguard leases off").await;
    let words = impact("stop-everything").await;
    assert!(words.contains("2 safeguards come on again"), "{words}");
    let done = perform("stop-everything").await;
    assert_eq!(
        done.text,
        "0 faults are cleared; the safeguards claim, leases are on again"
    );
    let is_on = |seen: Value| {
        seen.as_object()
            .unwrap()
            .values()
            .all(|on| *on == json!(true))
    };
    assert!(is_on(safeguard("claim").await) && is_on(safeguard("leases").await));
    // Even that can be taken back.
    levers().perform(&done.undo.unwrap()).await.unwrap();
    assert!(!is_on(safeguard("claim").await) && !is_on(safeguard("leases").await));
    perform("stop-everything").await;
}

#[tokio::test]
async fn policies_weights_and_settings_act_on_all_who_balance() {
    let _alone = lab().alone().await;
    let balancer = async || seen("balancer-1", "/admin/balancing").await;
    there_and_back("policy p2c", balancer).await;
    there_and_back("weight gateway-2 3", balancer).await;
    there_and_back(
        "balancing retries.percent=7 outlier.max_ejection_percent=0 sticky=true admission.enabled=true",
        balancer,
    )
    .await;
    let gateways = async || {
        let path = "/admin/balancing?pool=exercise";
        json!([
            seen("gateway-1", path).await,
            seen("gateway-2", path).await,
            seen("gateway-3", path).await
        ])
    };
    there_and_back("policy least_outstanding pool=exercise", gateways).await;
    there_and_back("weight exercise-2 5", gateways).await;
    there_and_back("balancing pool=exercise panic_threshold=0", gateways).await;
    perform("weight exercise-2 5").await;
    for gateway in ["gateway-1", "gateway-2", "gateway-3"] {
        let document = seen(gateway, "/admin/balancing?pool=exercise").await;
        assert_eq!(document["weights"]["exercise-2"], 5, "{gateway}");
    }
    let again = perform("weight exercise-2 5").await;
    assert_eq!(again.undo, None, "nothing changed: {}", again.text);
    perform("weight exercise-2 1").await;
    let refused = levers()
        .perform(&parse("balancing bound=0.5"))
        .await
        .unwrap_err();
    assert!(
        matches!(&refused, Failure::Partly { .. } | Failure::Refused { .. }),
        "{refused}"
    );
    assert!(
        refused.to_string().contains("must be 1 to 100"),
        "{refused}"
    );
}

#[tokio::test]
async fn the_cache_is_switched_and_flushed() {
    let _alone = lab().alone().await;
    let gateways = async || {
        let mut states = Vec::new();
        for gateway in ["gateway-1", "gateway-2", "gateway-3"] {
            states.push(seen(gateway, "/admin/cache").await);
        }
        json!(states)
    };
    there_and_back("cache off", gateways).await;
    there_and_back("cache off gateway-3", gateways).await;
    perform("cache off gateway-1").await;
    let all = perform("cache off").await;
    assert_eq!(
        all.undo,
        Some(parse("cache on gateway-2; cache on gateway-3"))
    );
    perform("cache on").await;

    let prefix = lab().own_name("deed");
    for number in 0..3 {
        let path = format!("/cache/{prefix}:{number}");
        Api::cache()
            .post(&path, json!({"value": number}))
            .await
            .expect(200);
    }
    assert!(
        impact(&format!("flush key={prefix}:0"))
            .await
            .contains("whoever reads it next")
    );
    perform(&format!("flush key={prefix}:0")).await;
    assert!(
        impact(&format!("flush key={prefix}:0"))
            .await
            .contains("not in the cache")
    );
    assert!(
        perform(&format!("flush key={prefix}:0"))
            .await
            .text
            .contains("was not")
    );
    assert!(
        impact(&format!("flush prefix={prefix}"))
            .await
            .starts_with("2 of")
    );
    assert!(
        perform(&format!("flush prefix={prefix}"))
            .await
            .text
            .starts_with("2 entries")
    );
    let size = seen_cache().await["size"].as_u64().unwrap();
    let words = impact("flush all").await;
    assert!(
        size == 0 || words.contains(&size.to_string()) || words.starts_with("The one"),
        "{words}"
    );
    perform("flush all").await;
    assert_eq!(seen_cache().await["size"], 0);
}

async fn seen_cache() -> Value {
    Api::cache().get("/cache/stats").await.expect(200).body
}

#[tokio::test]
async fn an_instance_is_drained_restored_and_killed() {
    let _alone = lab().alone().await;
    let words = impact("drain exercise-3").await;
    assert!(
        words.contains("in flight") && words.contains("2 others stay up"),
        "{words}"
    );
    let words = impact("kill search-1").await;
    assert!(
        words.contains("IT IS THE LAST SEARCH THAT IS UP"),
        "{words}"
    );
    let draining = async || seen("exercise-3", "/admin/info").await["draining"].clone();
    there_and_back("drain exercise-3", draining).await;
    let done = perform("drain exercise-3").await;
    assert_eq!(done.undo, Some(parse("restore exercise-3")));
    // Drained means that its callers know: it gets nothing from now on.
    for _ in 0..12 {
        let served = Api::anonymous().get("/process").await.expect(200);
        assert_ne!(served.text("service_id"), "3");
    }
    assert_eq!(perform("drain exercise-3").await.undo, None);
    perform("restore exercise-3").await;

    let before = lab().instance("exercise-3");
    assert_eq!(
        perform("kill exercise-3").await.text,
        "exercise-3 is killed; the supervisor starts it again"
    );
    eventually(Duration::from_secs(30), "it comes back", || async {
        let now = lab().instance("exercise-3");
        let ready = Api::admin("exercise-3")
            .request(reqwest::Method::GET, "/readyz")
            .send()
            .await;
        (now.restarts > before.restarts && ready.is_ok_and(|answer| answer.status().is_success()))
            .then_some(())
    })
    .await;
}

#[tokio::test]
async fn levels_delays_and_consumers_are_put_back() {
    let _alone = lab().alone().await;
    let levels = async || {
        let mut levels = Vec::new();
        for instance in lab().topology().instances {
            levels.push(seen(&instance.name, "/admin/info").await["log_level"].clone());
        }
        json!(levels)
    };
    there_and_back("log-level search-1 debug", levels).await;
    perform("log-level travel-1 info,travel=debug").await;
    there_and_back("log-level warn", levels).await;
    perform("log-level travel-1 info").await;
    let refused = levers()
        .perform(&parse("log-level travel-1 =%!"))
        .await
        .unwrap_err();
    assert!(
        matches!(&refused, Failure::Refused { status: 422, .. }),
        "{refused}"
    );

    let delays = async || {
        json!([
            seen("exercise-1", "/admin/delays").await,
            seen("exercise-3", "/admin/delays").await
        ])
    };
    there_and_back("delay data 7ms", delays).await;
    there_and_back("delay process 8ms", delays).await;
    there_and_back("delay task 9ms", async || {
        seen("worker-1", "/admin/settings").await
    })
    .await;

    let gates = async || {
        json!([
            seen("worker-1", "/admin/pause").await,
            seen("notification-1", "/admin/pause").await
        ])
    };
    there_and_back("pause-consumers", gates).await;
    there_and_back("pause-consumers worker", gates).await;
    perform("pause-consumers notification-1").await;
    let all = perform("pause-consumers").await;
    assert_eq!(all.undo, Some(parse("resume-consumers worker-1")));
    perform("resume-consumers").await;
}

#[tokio::test]
async fn queues_are_paused_emptied_and_their_dead_sent_again() {
    let _calm = lab().calm().await;
    let (queue, name) = (Api::queue(), lab().own_name("deed"));
    let path = format!("/queues/{name}/messages");
    let absent = levers()
        .perform(&parse(&format!("pause-queue {name}")))
        .await
        .unwrap_err();
    assert!(
        matches!(&absent, Failure::Unknown { what: "queue", .. }),
        "{absent}"
    );
    for number in 0..5 {
        queue.post(&path, json!({"body": number})).await.expect(200);
    }
    let figures = async || {
        let figures = queue.get(&format!("/queues/{name}")).await.expect(200).body;
        json!([figures["depth"], figures["dead"], figures["paused"]])
    };
    there_and_back(&format!("pause-queue {name}"), figures).await;
    let received = queue.get(&format!("{path}?max=2")).await.expect(200);
    for message in received.body["messages"].as_array().unwrap() {
        let receipt = message["receipt"].as_str().unwrap();
        queue
            .post(
                &format!("{path}/{receipt}/dead"),
                json!({"reason": "for the test"}),
            )
            .await
            .expect(204);
    }
    assert_eq!(figures().await, json!([3, 2, false]));
    // Naming one that there is not never touches the others.
    for verb in ["redrive", "purge-dead"] {
        let _ = levers()
            .perform(&parse(&format!("{verb} {name} 1-1")))
            .await;
        assert_eq!(figures().await, json!([3, 2, false]), "{verb}");
    }
    // Naming one ends or sends again that one.
    let dead = queue.get(&format!("/queues/{name}/dead")).await.expect(200);
    let position = dead.body["messages"][1]["position"].as_str().unwrap();
    assert_eq!(
        perform(&format!("purge-dead {name} {position}")).await.text,
        format!("{name}: 1 dead letter ended")
    );
    assert_eq!(figures().await, json!([3, 1, false]));
    let position = dead.body["messages"][0]["position"].as_str().unwrap();
    assert_eq!(
        impact(&format!("redrive {name} {position}")).await,
        "1 dead letter would be sent again; 0 stay."
    );
    let received = queue.get(&format!("{path}?max=1")).await.expect(200);
    let receipt = received.body["messages"][0]["receipt"].as_str().unwrap();
    queue
        .post(
            &format!("{path}/{receipt}/dead"),
            json!({"reason": "for the test"}),
        )
        .await
        .expect(204);
    assert_eq!(figures().await, json!([2, 2, false]));
    assert_eq!(
        impact(&format!("redrive {name} limit=1")).await,
        "1 dead letter would be sent again; 1 stay."
    );
    assert_eq!(
        perform(&format!("redrive {name} limit=1")).await.text,
        "1 dead letter sent again; 1 stay"
    );
    assert!(
        impact(&format!("purge-dead {name}"))
            .await
            .starts_with("1 of 1 dead letter")
    );
    assert!(
        perform(&format!("purge-dead {name}"))
            .await
            .text
            .ends_with("1 dead letter ended")
    );
    assert!(
        impact(&format!("purge-queue {name}"))
            .await
            .starts_with("3 messages")
    );
    assert!(
        perform(&format!("purge-queue {name}"))
            .await
            .text
            .ends_with("3 messages ended")
    );
    assert_eq!(figures().await, json!([0, 0, false]));
}

#[tokio::test]
async fn calls_are_shown_with_their_waterfall() {
    let _calm = lab().calm().await;
    let done = perform("call GET /process").await;
    let answer = done.detail.unwrap();
    assert_eq!(answer.status, 200, "{done:?}", done = answer.body);
    let hops: Vec<&str> = answer
        .waterfall
        .iter()
        .filter(|span| span.is_hop)
        .map(|span| span.name.as_str())
        .collect();
    assert_eq!(hops, ["balancer", "gateway", "exercise"]);
    for pair in answer
        .waterfall
        .windows(2)
        .filter(|pair| pair[0].is_hop && pair[1].is_hop)
    {
        assert!(
            pair[1].milliseconds <= pair[0].milliseconds + 1.0,
            "{:?}",
            answer.waterfall
        );
        assert!(
            pair[1].starts_at >= pair[0].starts_at,
            "{:?}",
            answer.waterfall
        );
    }
    assert!(
        answer
            .header("x-gateway")
            .is_some_and(|gateway| done.text.contains(gateway)),
        "{}",
        done.text
    );
    // A call that is refused is an answer, too.
    let refused = perform("call GET /cards/1/balance anonymous")
        .await
        .detail
        .unwrap();
    assert_eq!(refused.status, 401);
    assert_eq!(
        perform("call GET cache:/cache/stats")
            .await
            .detail
            .unwrap()
            .status,
        200
    );
    assert_eq!(
        perform("call GET gateway-2:/cards/1/balance")
            .await
            .detail
            .unwrap()
            .status,
        200
    );

    let card = lab().own_card().await;
    let done = perform(&format!("recharge card={card} amount=2000")).await;
    assert!(
        done.text.starts_with(&format!("card {card}: ")) && done.text.contains("2,000 ="),
        "{}",
        done.text
    );
    assert_eq!(done.detail.unwrap().status, 201);
    let wrong = levers()
        .perform(&parse(&format!("recharge card={card} amount=1")))
        .await
        .unwrap_err();
    assert!(
        matches!(&wrong, Failure::Refused { status: 422, .. }),
        "{wrong}"
    );
    let done = perform("burst 40").await;
    assert!(
        done.text.starts_with("40 requests in ") && done.text.contains(" 0 without an answer"),
        "{}",
        done.text
    );
}
