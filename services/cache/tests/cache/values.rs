//! The calls that older clients know.

use std::time::Duration;

use futures::StreamExt as _;
use http::Method;
use kit::testing::eventually;
use serde_json::json;

use crate::support::{Cache, config};

#[tokio::test]
async fn a_value_is_written_read_and_deleted() {
    let cache = Cache::start().await;
    let missing = cache.get("/cache/a").await;
    assert_eq!(missing.status, 404);
    assert_eq!(missing.json()["value"], json!(null));
    assert!(missing.json()["detail"].is_string());

    let stored = cache
        .post("/cache/a", r#"{"value": {"x": [1, "ñ"]}, "ttl": "60"}"#)
        .await;
    assert_eq!(
        (stored.status.as_u16(), stored.json()),
        (200, json!({"status": "ok"}))
    );
    for path in ["/cache/a", "/get/a"] {
        let found = cache.get(path).await;
        assert_eq!(found.json(), json!({"value": {"x": [1, "ñ"]}}), "{path}");
        assert_eq!(found.header("content-type"), Some("application/json"));
        // A write waits in the first second of a link to Redis: copies of an older one may still be out.
        let age: u64 = found
            .header("age")
            .and_then(|age| age.parse().ok())
            .expect("an age");
        assert!(age <= 3, "{age}");
    }
    assert_eq!(
        cache.post("/set/a", r#"{"value": false}"#).await.json(),
        json!({"status": "ok"})
    );
    assert_eq!(cache.get("/get/a").await.json(), json!({"value": false}));

    let deleted = cache.delete("/cache/a").await;
    assert_eq!(
        (deleted.status.as_u16(), deleted.json()),
        (200, json!({"status": "deleted"}))
    );
    let again = cache.delete("/cache/a").await;
    assert_eq!(again.status, 404);
    assert_eq!(again.json()["error"], "Key not found");
    cache.stop().await;
}

#[tokio::test]
async fn bad_values_are_refused_by_kind() {
    let cache = Cache::start().await;
    for body in ["{}", r#"{"value": null}"#, "", r#"{"ttl": 5}"#] {
        let refused = cache.post("/cache/a", body).await;
        assert_eq!(refused.status, 400, "{body}");
        assert_eq!(refused.json()["error"], "No value provided", "{body}");
    }
    for (body, status) in [
        ("{", 400),
        ("value=1", 400),
        (r#"{"value": 1, "ttl": 0}"#, 422),
        (r#"{"value": 1, "ttl": 86401}"#, 422),
        (r#"{"value": 1, "ttl": -1}"#, 422),
        (r#"{"value": 1, "ttl": "soon"}"#, 422),
        ("[1]", 422),
    ] {
        assert_eq!(cache.post("/cache/a", body).await.status, status, "{body}");
    }
    assert_eq!(cache.get("/cache/a").await.status, 404);

    let large = |bytes: usize| format!(r#"{{"value": "{}"}}"#, "x".repeat(bytes - 2));
    assert_eq!(
        cache.post("/cache/a", &large(1024 * 1024)).await.status,
        200
    );
    assert_eq!(
        cache.post("/cache/a", &large(1024 * 1024 + 1)).await.status,
        413
    );
    assert_eq!(
        cache.post("/cache/a", &large(3 * 1024 * 1024)).await.status,
        413
    );
    assert_eq!(cache.delete("/cache").await.status, 422);
    assert_eq!(cache.delete("/cache?prefix=").await.status, 422);
    assert_eq!(cache.get("/nothing").await.status, 404);
    assert_eq!(
        cache.call(Method::PUT, "/cache/a", &[], "").await.status,
        405
    );
    cache.stop().await;
}

#[tokio::test]
async fn keys_may_be_hostile() {
    let cache = Cache::start().await;
    let long = "x".repeat(512);
    let keys = [
        "a%2Fb",
        "%2A",
        "a%20b%3Fc%23d",
        "%F0%9F%9A%8C",
        "%25",
        "%73tats",
        "'%22%5C",
        "{a}",
        "cache%3Av%3Aa",
        &long,
    ];
    for key in keys {
        let path = format!("/cache/{key}");
        let body = json!({"value": key}).to_string();
        assert_eq!(cache.post(&path, &body).await.status, 200, "{key}");
    }
    for key in keys {
        let found = cache.get(&format!("/get/{key}")).await;
        assert_eq!(found.json(), json!({"value": key}));
    }
    let mut items: Vec<String> =
        serde_json::from_value(cache.get("/cache/stats").await.json()["items"].take())
            .expect("keys");
    items.retain(|item| item != &long);
    assert_eq!(
        items,
        [
            "%",
            "'\"\\",
            "*",
            "a b?c#d",
            "a/b",
            "cache:v:a",
            "stats",
            "{a}",
            "🚌"
        ]
    );
    // A prefix is text: the star deletes the star.
    assert_eq!(
        cache.delete("/cache?prefix=%2A").await.json(),
        json!({"status": "deleted", "count": 1})
    );
    for key in ["%0A", "%00", "%7F", "a%09b", &"x".repeat(513)] {
        let refused = cache.get(&format!("/cache/{key}")).await;
        assert_eq!(refused.status, 422, "{key}");
    }
    assert_eq!(cache.get("/cache/%FF").await.status, 422);
    cache.stop().await;
}

#[tokio::test]
async fn a_value_ends_with_its_time() {
    let cache = Cache::start().await;
    cache.post("/cache/a", r#"{"value": 1, "ttl": 3}"#).await;
    assert_eq!(cache.get("/cache/a").await.status, 200);
    eventually("the value expires", || async {
        cache.get("/cache/a").await.status == 404
    })
    .await;
    assert_eq!(cache.delete("/cache/a").await.status, 404);
    assert_eq!(cache.get("/cache/stats").await.json()["size"], 0);
    let metrics = cache.metrics().await;
    assert!(
        metrics.contains(
            r#"recarga_cache_misses_total{role="cache",instance="cache-1",cause="expired"}"#
        ),
        "{metrics}"
    );
    cache.stop().await;
}

#[tokio::test]
async fn prefixes_and_flushes_delete_many() {
    let cache = Cache::start().await;
    for number in 0..60 {
        cache
            .post(&format!("/cache/card:{number}:balance"), r#"{"value": 1}"#)
            .await;
    }
    cache.post("/cache/trip:1", r#"{"value": 1}"#).await;
    cache.post("/cache/trip:2", r#"{"value": 1}"#).await;
    assert_eq!(
        cache.delete("/cache?prefix=card:").await.json(),
        json!({"status": "deleted", "count": 60})
    );
    assert_eq!(cache.get("/cache/card:1:balance").await.status, 404);
    assert_eq!(cache.get("/cache/trip:1").await.status, 200);
    assert_eq!(
        cache.post("/cache/flush", "").await.json(),
        json!({"status": "flushed", "count": 2})
    );
    assert_eq!(
        cache.post("/cache/flush", "").await.json(),
        json!({"status": "flushed", "count": 0})
    );
    assert_eq!(cache.get("/cache/trip:1").await.status, 404);
    let metrics = cache.metrics().await;
    assert!(metrics.contains("recarga_cache_flushes_total"), "{metrics}");
    assert!(metrics.contains(r#"cause="flushed"} 2"#), "{metrics}");
    cache.stop().await;
}

#[tokio::test]
async fn statistics_survive_restarts_and_agree_between_instances() {
    let redis = kit::testing::redis_url().await;
    let one = Cache::start_with(config("cache-1", &redis)).await;
    let empty = one.get("/cache/stats").await.json();
    assert_eq!(empty["hit_ratio"], json!(0.0));
    assert_eq!(empty["ttl"], 300);
    assert_eq!(empty["items_truncated"], false);
    one.post("/cache/a", r#"{"value": "four", "ttl": 100}"#)
        .await;
    for _ in 0..3 {
        assert_eq!(one.get("/cache/a").await.status, 200);
    }
    assert_eq!(one.get("/cache/b").await.status, 404);
    let stats = one.get("/cache/stats").await.json();
    assert_eq!(
        [
            &stats["hits"],
            &stats["misses"],
            &stats["size"],
            &stats["bytes"],
            &stats["evictions"]
        ],
        [3, 1, 1, 6, 0]
    );
    assert_eq!(stats["hit_ratio"], 0.75);
    assert_eq!(stats["items"], json!(["a"]));
    let left = stats["ttl_remaining"]["a"].as_u64().expect("seconds");
    assert!((95..=100).contains(&left), "{left}");
    one.stop().await;

    let two = Cache::start_with(config("cache-2", &redis)).await;
    let stats = two.get("/cache/stats").await.json();
    assert_eq!([&stats["hits"], &stats["misses"]], [3, 1]);
    assert_eq!(stats["size"], 0, "a start purges");
    two.stop().await;
}

#[tokio::test]
async fn long_lists_of_items_are_cut_and_say_so() {
    let cache = Cache::start().await;
    let jobs = (0..1005).map(|number| {
        let cache = &cache;
        async move {
            let path = format!("/cache/k{number}");
            let answer = cache.post(&path, r#"{"value": 1}"#).await;
            assert!(answer.status.is_success(), "{answer:?}");
        }
    });
    // Not all at once: this is about a long list, not about a crowd.
    let jobs = futures::stream::iter(jobs).buffer_unordered(32);
    jobs.collect::<Vec<()>>().await;
    let stats = cache.get("/cache/stats").await.json();
    assert_eq!(stats["size"], 1005);
    assert_eq!(stats["items"].as_array().map(Vec::len), Some(1000));
    assert_eq!(stats["items_truncated"], true);
    cache.stop().await;
}

#[tokio::test]
async fn health_is_up_and_faults_of_time_do_not_hang() {
    let cache = Cache::start().await;
    assert_eq!(cache.get("/health").await.json()["status"], "up");
    let answer = tokio::time::timeout(
        Duration::from_secs(5),
        cache.get("/entries/a?wait_ms=999999999"),
    )
    .await
    .expect("a lease at once");
    assert_eq!(answer.status, 202);
    cache.stop().await;
}
