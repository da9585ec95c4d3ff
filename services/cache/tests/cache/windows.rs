//! What a value is good for as it ages, why it is missing, and what is remembered of absences.

use std::time::{Duration, Instant};

use kit::testing::eventually;
use serde_json::json;

use crate::{
    outage::Redis,
    support::{Answer, Cache, config},
};

/// Fills a value and waits until it is no longer fresh.
async fn expired(cache: &Cache, key: &str, windows: &str, value: &str) {
    let path = format!("/entries/{key}");
    let lease = cache.get(&path).await.lease();
    let fill = format!("{path}?ttl_s=1&{windows}");
    assert_eq!(cache.fill(&fill, &lease, value).await, 204);
    eventually("it is no longer fresh", || async {
        cache.get(&format!("/cache/{key}")).await.status == 404
    })
    .await;
}

fn number(answer: &Answer, name: &str) -> u64 {
    let header = answer.header(name).and_then(|value| value.parse().ok());
    header.unwrap_or_else(|| panic!("no {name}: {answer:?}"))
}

fn misses(metrics: &str, cause: &str) -> u64 {
    let start = format!(
        r#"recarga_cache_misses_total{{role="cache",instance="cache-1",cause="{cause}"}} "#
    );
    let line = metrics.lines().find_map(|line| line.strip_prefix(&start));
    line.map_or(0, |count| count.parse().expect("a number"))
}

#[tokio::test]
async fn one_rebuilds_and_nobody_waits_while_it_may_be_revalidated() {
    let cache = Cache::start().await;
    expired(&cache, "a", "swr_s=600&sie_s=900", "\"old\"").await;
    let first = cache.get("/entries/a?wait_ms=9000").await;
    let lease = first.lease();
    assert_eq!(
        (first.text.as_str(), first.header("x-stale-use")),
        ("\"old\"", Some("revalidate"))
    );
    assert!(number(&first, "x-stale-ms") > 890_000);
    let started = Instant::now();
    for _ in 0..5 {
        let other = cache.get("/entries/a?wait_ms=9000").await;
        assert_eq!(
            (other.status.as_u16(), other.text.as_str()),
            (409, "\"old\"")
        );
        assert_eq!(other.header("x-stale-use"), Some("revalidate"));
    }
    assert!(
        started.elapsed() < Duration::from_secs(5),
        "they do not wait"
    );
    let stats = cache.get("/cache/stats").await.json();
    assert_eq!(stats["stale"], 5);
    assert_eq!(cache.fill("/entries/a", &lease, "\"new\"").await, 204);
    assert_eq!(cache.get("/entries/a").await.text, "\"new\"");
    // An invalidated value is not served, however young it is.
    expired(&cache, "b", "swr_s=600&sie_s=900", "\"old\"").await;
    cache.post("/invalidate", r#"{"keys": ["b"]}"#).await;
    let after = cache.get("/entries/b").await;
    assert_eq!(
        (after.text.as_str(), after.header("x-stale-use")),
        ("", None)
    );
    cache.stop().await;
}

#[tokio::test]
async fn past_that_it_stands_in_for_errors_only_and_then_for_nothing() {
    let cache = Cache::start().await;
    expired(&cache, "a", "swr_s=0&sie_s=900", "1").await;
    let granted = cache.get("/entries/a").await;
    assert_eq!(granted.header("x-stale-use"), Some("error"));
    // Whoever comes now waits for the rebuild.
    let started = Instant::now();
    let busy = cache.get("/entries/a?wait_ms=300").await;
    assert_eq!(
        (busy.status.as_u16(), busy.header("x-stale-use")),
        (409, Some("error"))
    );
    assert!(started.elapsed() >= Duration::from_millis(300));
    expired(&cache, "b", "swr_s=0&sie_s=0", "1").await;
    let over = cache.get("/entries/b").await;
    assert_eq!((over.status.as_u16(), over.text.as_str()), (202, ""));
    // The longer of two windows keeps it, but not for the other's use.
    expired(&cache, "c", "swr_s=1&sie_s=0", "1").await;
    eventually("it is good for nothing any more", || async {
        let answer = cache.get("/entries/c").await;
        answer.header("x-stale-use").is_none()
    })
    .await;
    cache.stop().await;
}

#[tokio::test]
async fn an_early_lease_goes_to_one_while_all_others_hit() {
    let cache = Cache::start().await;
    let lease = cache.get("/entries/a").await.lease();
    let fill = "/entries/a?ttl_s=100&rebuild_ms=250";
    assert_eq!(cache.fill(fill, &lease, "1").await, 204);
    let hit = cache.get("/entries/a").await;
    assert_eq!(number(&hit, "x-rebuild-ms"), 250);
    assert!((80_000..=100_000).contains(&number(&hit, "x-fresh-ms")));
    let early = cache.get("/entries/a?early=true").await;
    let lease = early.lease();
    assert_eq!(early.text, "");
    assert_eq!(cache.get("/entries/a?early=true").await.status, 409);
    assert_eq!(cache.get("/entries/a").await.text, "1");
    // It is a lease like any other: a deletion voids it.
    cache.delete("/cache/a").await;
    assert_eq!(cache.fill(fill, &lease, "2").await, 409);
    let lease = cache.get("/entries/a?early=true").await.lease();
    assert_eq!(cache.fill(fill, &lease, "3").await, 204);
    assert_eq!(cache.get("/entries/a").await.text, "3");
    cache.stop().await;
}

#[tokio::test]
async fn values_filled_together_do_not_expire_together() {
    let cache = Cache::start().await;
    let mut freshness = std::collections::BTreeSet::new();
    for number in 0..40 {
        let path = format!("/entries/k{number}");
        let lease = cache.get(&path).await.lease();
        let headers = [("x-lease", lease.as_str())];
        let filled = cache
            .call(
                http::Method::PUT,
                &format!("{path}?ttl_s=1000"),
                &headers,
                "1",
            )
            .await;
        let fresh = self::number(&filled, "x-fresh-ms");
        assert!((900_000..=1_000_000).contains(&fresh), "{fresh}");
        freshness.insert(fresh);
    }
    assert!(freshness.len() > 20, "{freshness:?}");
    let spread = freshness.last().zip(freshness.first()).expect("some");
    assert!(spread.0 - spread.1 > 30_000, "{freshness:?}");
    // Whoever writes by hand and says how long means it.
    cache.post("/cache/a", r#"{"value": 1, "ttl": 1000}"#).await;
    let hit = cache.get("/entries/a").await;
    assert!(number(&hit, "x-fresh-ms") > 990_000);
    cache.stop().await;
}

#[tokio::test]
async fn absences_are_remembered_for_a_moment() {
    let cache = Cache::start().await;
    let lease = cache.get("/entries/a").await.lease();
    let problem = json!({"detail": "No such trip"}).to_string();
    let fill = "/entries/a?ttl_s=100&status=404";
    assert_eq!(cache.fill(fill, &lease, &problem).await, 204);
    let hit = cache.get("/entries/a").await;
    assert_eq!(
        (hit.status.as_u16(), hit.header("x-value-status")),
        (200, Some("404"))
    );
    assert_eq!(hit.text, problem);
    // It is no value to those who ask for values.
    assert_eq!(cache.get("/cache/a").await.json()["value"], json!(null));
    cache.post("/invalidate", r#"{"keys": ["a"]}"#).await;
    let lease = cache.get("/entries/a").await.lease();
    let fill = "/entries/a?ttl_s=1&status=404";
    assert_eq!(cache.fill(fill, &lease, &problem).await, 204);
    eventually("it is forgotten", || async {
        cache.get("/entries/a").await.status == 202
    })
    .await;
    let after = cache.get("/entries/a").await;
    assert_eq!(
        (after.text.as_str(), after.header("x-stale-use")),
        ("", None)
    );
    cache.stop().await;
}

#[tokio::test]
async fn every_miss_has_its_cause() {
    let cache = Cache::start().await;
    assert_eq!(cache.get("/cache/a").await.status, 404);
    cache.post("/cache/a", r#"{"value": 1, "ttl": 1}"#).await;
    eventually("it expires", || async {
        cache.get("/cache/a").await.status == 404
    })
    .await;
    cache.post("/cache/a", r#"{"value": 1}"#).await;
    cache
        .post("/invalidate", r#"{"keys": ["a", "never"]}"#)
        .await;
    assert_eq!(cache.get("/cache/a").await.status, 404);
    assert_eq!(cache.get("/cache/never").await.status, 404);
    cache.post("/cache/a", r#"{"value": 1}"#).await;
    cache.post("/cache/flush", "").await;
    assert_eq!(cache.get("/cache/a").await.status, 404);
    let stats = cache.get("/cache/stats").await.json();
    assert_eq!(
        stats["misses_by_cause"],
        json!({"cold": 2, "expired": 1, "invalidated": 1, "flushed": 1, "evicted": 0, "bypass": 0})
    );
    assert_eq!(stats["misses"], 5);
    cache.stop().await;
}

#[tokio::test]
async fn what_redis_evicts_was_evicted() {
    // A machine that stands still for a second ends the link to Redis, and everything is purged: that shows nothing.
    for _ in 0..5 {
        if evicts().await {
            return;
        }
    }
    panic!("the link to Redis was lost five times");
}

/// Has Redis evict, and looks how it is counted. False when something else took values as well.
async fn evicts() -> bool {
    let folder = tempfile::tempdir().expect("a folder");
    let redis = Redis::start_with(
        folder.path(),
        &["--maxmemory", "3mb", "--maxmemory-policy", "allkeys-lru"],
    );
    let cache = Cache::start_with(config("cache-1", &redis.url())).await;
    let value = "x".repeat(20_000);
    for number in 0..200 {
        let body = json!({"value": value}).to_string();
        let stored = cache.post(&format!("/cache/k{number}"), &body).await;
        assert_eq!(stored.status, 200);
    }
    let mut absent = 0;
    for number in 0..200 {
        absent += u64::from(cache.get(&format!("/cache/k{number}")).await.status == 404);
    }
    let stats = cache.get("/cache/stats").await.json();
    let metrics = cache.metrics().await;
    cache.stop().await;
    if misses(&metrics, "flushed") > 0 {
        return false;
    }
    assert!(absent > 50, "{absent}");
    assert_eq!(misses(&metrics, "evicted"), absent);
    assert!(stats["evictions"].as_u64() >= Some(absent), "{stats}");
    assert_eq!(stats["misses_by_cause"]["evicted"], absent);
    true
}
