//! What is stored, key by key, and how much a flush would take.

use std::collections::BTreeMap;

use http::Method;
use kit::testing::eventually;
use serde_json::{Value, json};

use crate::support::Cache;

/// Every key with a prefix, over all pages of a size.
async fn keys(cache: &Cache, prefix: &str, limit: usize) -> BTreeMap<String, Value> {
    let mut found = BTreeMap::new();
    let mut cursor = "0".to_owned();
    for _ in 0..1000 {
        let path = format!("/entries?prefix={prefix}&limit={limit}&cursor={cursor}");
        let page = cache.get(&path).await;
        assert_eq!(page.status, 200, "{page:?}");
        let page = page.json();
        for entry in page["entries"].as_array().expect("a list") {
            found.insert(
                entry["key"].as_str().expect("text").to_owned(),
                entry.clone(),
            );
        }
        match page["cursor"].as_str() {
            Some(next) => next.clone_into(&mut cursor),
            None => return found,
        }
    }
    panic!("the pages do not end");
}

#[tokio::test]
async fn keys_are_told_with_their_figures() {
    let cache = Cache::start().await;
    cache
        .post("/cache/card:1", r#"{"value": [1, 2], "ttl": 60}"#)
        .await;
    // Names that paths and patterns could stumble over.
    for key in ["keys", "entries", "a*b", "a%5Bb", "b%C3%BAs"] {
        let stored = cache
            .post(&format!("/cache/{key}"), r#"{"value": 1}"#)
            .await;
        assert_eq!(stored.status, 200, "{key}");
    }
    let all = keys(&cache, "", 100).await;
    assert_eq!(
        all.keys().collect::<Vec<_>>(),
        ["a*b", "a[b", "bús", "card:1", "entries", "keys"]
    );
    let card = &all["card:1"];
    for (field, expected) in [
        ("variants", json!(1)),
        ("size_bytes", json!(6)),
        ("absent", json!(0)),
        ("leased", json!(false)),
        ("lease_seconds", json!(null)),
    ] {
        assert_eq!(card[field], expected, "{field} of {card}");
    }
    let number = |field: &str| card[field].as_f64().expect("a number");
    assert!((0.0..=60.0).contains(&number("ttl_seconds")), "{card}");
    assert!(
        (number("ttl_seconds") + number("age_seconds") - 60.0).abs() < 0.01,
        "{card}"
    );
    assert!(number("kept_seconds") >= number("ttl_seconds"), "{card}");
    assert_eq!(
        keys(&cache, "a*", 100).await.len(),
        1,
        "a prefix is no pattern"
    );
    cache.stop().await;
}

#[tokio::test]
async fn leases_variants_and_absences_show() {
    let cache = Cache::start().await;
    let lease = cache.get("/entries/k?variant=one").await.lease();
    assert!(
        keys(&cache, "", 10).await.is_empty(),
        "a lease alone is no value"
    );
    cache
        .fill("/entries/k?variant=one&status=404", &lease, "null")
        .await;
    let lease = cache.get("/entries/k?variant=two").await.lease();
    let path = "/entries/k?variant=two&ttl_s=1&swr_s=0&sie_s=60";
    cache.fill(path, &lease, r#""two""#).await;
    let entry = keys(&cache, "k", 10)
        .await
        .remove("k")
        .expect("it is there");
    assert_eq!(
        (&entry["variants"], &entry["absent"], &entry["size_bytes"]),
        (&json!(2), &json!(1), &json!(9))
    );
    assert_eq!(entry["leased"], false);
    let held = cache.get("/entries/k?variant=three").await.lease();
    let entry = keys(&cache, "k", 10)
        .await
        .remove("k")
        .expect("it is there");
    assert_eq!(entry["leased"], true);
    assert!(
        entry["lease_seconds"].as_f64().expect("a time") > 0.0,
        "{entry}"
    );
    let headers = [("x-lease", held.as_str())];
    let given_back = cache
        .call(Method::DELETE, "/entries/k?variant=three", &headers, "")
        .await;
    assert_eq!(given_back.status, 204);
    assert_eq!(keys(&cache, "k", 10).await["k"]["leased"], false);
    cache.stop().await;
}

#[tokio::test]
async fn stale_values_are_told_as_such() {
    let cache = Cache::start().await;
    let lease = cache.get("/entries/old").await.lease();
    let path = "/entries/old?ttl_s=1&swr_s=0&sie_s=60";
    cache.fill(path, &lease, "1").await;
    eventually("the value is stale", || async {
        keys(&cache, "", 10).await["old"]["ttl_seconds"] == 0.0
    })
    .await;
    cache.stop().await;
}

#[tokio::test]
async fn pages_hold_everything_and_a_count_comes_before_a_flush() {
    let cache = Cache::start().await;
    let stored = (0..300).map(|number| {
        let path = format!(
            "/cache/{}:{number}",
            if number < 100 { "card" } else { "trip" }
        );
        let cache = &cache;
        async move { assert_eq!(cache.post(&path, r#"{"value": 0}"#).await.status, 200) }
    });
    futures::future::join_all(stored).await;
    for limit in [1, 7, 500] {
        assert_eq!(keys(&cache, "", limit).await.len(), 300, "{limit}");
        assert_eq!(keys(&cache, "card:", limit).await.len(), 100, "{limit}");
    }
    let count = |count: u64| json!({"status": "counted", "count": count});
    assert_eq!(
        cache
            .delete("/cache?prefix=card:&dry_run=true")
            .await
            .json(),
        count(100)
    );
    assert_eq!(
        cache.post("/cache/flush?dry_run=true", "").await.json(),
        count(300)
    );
    assert_eq!(
        keys(&cache, "", 500).await.len(),
        300,
        "nothing was deleted"
    );
    let deleted = cache.delete("/cache?prefix=card:&dry_run=false").await;
    assert_eq!(deleted.json(), json!({"status": "deleted", "count": 100}));
    assert_eq!(
        cache
            .delete("/cache?prefix=card:&dry_run=true")
            .await
            .json(),
        count(0)
    );
    cache.stop().await;
}

#[tokio::test]
async fn questions_that_make_no_sense_are_refused() {
    let cache = Cache::start().await;
    for query in [
        "limit=0",
        "limit=501",
        "limit=x",
        "cursor=",
        "cursor=-1",
        "cursor=99999999999999999999999",
        "prefix=%0A",
        "colour=red",
    ] {
        let refused = cache.get(&format!("/entries?{query}")).await;
        assert_eq!(refused.status, 422, "{query}");
    }
    // Redis takes any cursor: one that was never given out is a place like another.
    assert_eq!(cache.get("/entries?cursor=123456").await.status, 200);
    let odd = cache.delete("/cache?prefix=a&dry_run=maybe").await;
    assert_eq!(odd.status, 422);
    cache.stop().await;
}
