//! The classic slow read and the pretended business logic.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use futures::future::join_all;

use crate::api::Api;
use crate::lab::lab;

#[tokio::test]
async fn the_slow_read_is_slow_once() {
    let _calm = lab().calm().await;
    let (api, key) = (Api::anonymous(), lab().own_name("slow"));
    let path = format!("/data?key={key}");
    let started = Instant::now();
    let miss = api.get(&path).await.expect(200);
    assert!(
        started.elapsed() >= Duration::from_millis(90),
        "{:?}",
        started.elapsed()
    );
    assert_eq!(
        (&miss.body["cached"], miss.header("x-cache")),
        (&false.into(), Some("MISS")),
        "{miss}"
    );
    assert!(!miss.text("data").is_empty());
    for _ in 0..6 {
        let hit = api.get(&path).await.expect(200);
        assert_eq!(
            (&hit.body["cached"], hit.header("x-cache")),
            (&true.into(), Some("HIT")),
            "{hit}"
        );
        assert!(hit.header("age").unwrap().parse::<u64>().is_ok(), "{hit}");
        assert_eq!(hit.text("data"), miss.text("data"));
    }
}

#[tokio::test]
async fn many_readers_of_a_cold_key_cause_one_slow_read() {
    let _calm = lab().calm().await;
    let (api, key) = (Api::anonymous(), lab().own_name("crowd"));
    let path = format!("/data?key={key}");
    let answers = join_all((0..30).map(|_| api.get(&path))).await;
    let misses = answers
        .iter()
        .filter(|answer| answer.header("x-cache") == Some("MISS"))
        .count();
    assert_eq!(misses, 1, "all gateways share one flight");
    assert!(answers.iter().all(|answer| answer.status == 200));
}

#[tokio::test]
async fn the_key_has_a_default_and_the_gateway_a_number() {
    let api = Api::anonymous();
    let mut gateways = BTreeSet::new();
    for _ in 0..12 {
        let answer = api.get("/data").await.expect(200);
        let gateway = answer.header("x-gateway").unwrap().to_owned();
        assert_eq!(
            gateway,
            format!("gateway-{}", answer.text("gateway_id")),
            "{answer}"
        );
        gateways.insert(gateway);
    }
    let stored = Api::cache().get("/cache/my_data").await.expect(200);
    assert_eq!(stored.text("value"), api.get("/data").await.text("data"));
    assert_eq!(
        gateways.len(),
        3,
        "round robin reaches every gateway: {gateways:?}"
    );
}

#[tokio::test]
async fn a_key_too_long_is_refused() {
    let answer = Api::anonymous()
        .get(&format!("/data?key={}", "k".repeat(2000)))
        .await;
    assert!(matches!(answer.status, 400 | 414 | 422), "{answer}");
    let status = answer.status;
    answer.problem(status);
}

#[tokio::test]
async fn business_logic_is_done_by_several() {
    let _calm = lab().calm().await;
    let api = Api::anonymous();
    let answers = join_all((0..12).map(|_| api.get("/process"))).await;
    let mut services = BTreeSet::new();
    for answer in answers {
        let answer = answer.expect(200);
        assert!(!answer.text("message").is_empty());
        assert!(!answer.text("gateway_id").is_empty());
        services.insert(answer.text("service_id").to_owned());
    }
    assert!(services.len() >= 2, "{services:?}");
}
