//! One rebuild at a time, and none of an old value.

use std::time::{Duration, Instant};

use futures::future::join_all;
use http::Method;
use kit::testing::eventually;

use crate::support::{Cache, config};

#[tokio::test]
async fn a_hundred_misses_are_one_rebuild() {
    let cache = Cache::start().await;
    let first = cache.get("/entries/a").await;
    let lease = first.lease();
    assert_eq!(first.header("x-cache-state"), Some("miss"));
    let waiting = join_all((0..100).map(|_| cache.get("/entries/a?wait_ms=8000")));
    let fill = async {
        eventually("all wait", || async {
            cache
                .metrics()
                .await
                .contains(r#"recarga_cache_lease_waits_total{role="cache",instance="cache-1"} 100"#)
        })
        .await;
        let filled = Instant::now();
        assert_eq!(
            cache.fill("/entries/a?ttl_s=60", &lease, "[1,2]").await,
            204
        );
        filled
    };
    let (answers, filled) = tokio::join!(waiting, fill);
    for answer in answers {
        assert_eq!(
            (answer.status.as_u16(), answer.text.as_str()),
            (200, "[1,2]")
        );
        assert_eq!(answer.header("x-cache-state"), Some("hit"));
    }
    assert!(
        filled.elapsed() < Duration::from_secs(3),
        "woken, not timed out"
    );
    let stats = cache.get("/cache/stats").await.json();
    assert_eq!([&stats["hits"], &stats["misses"]], [100, 1]);
    cache.stop().await;
}

#[tokio::test]
async fn waiters_of_other_instances_are_woken_too() {
    let redis = kit::testing::redis_url().await;
    let one = Cache::start_with(config("cache-1", &redis)).await;
    let two = Cache::start_with(config("cache-2", &redis)).await;
    let lease = one.get("/entries/a").await.lease();
    let started = Instant::now();
    let fill = async {
        eventually("it waits", || async {
            two.metrics()
                .await
                .contains(r#"recarga_cache_lease_waits_total{role="cache",instance="cache-2"} 1"#)
        })
        .await;
        assert_eq!(one.fill("/entries/a", &lease, "1").await, 204);
    };
    let (answer, ()) = tokio::join!(two.get("/entries/a?wait_ms=9000"), fill);
    assert_eq!((answer.status.as_u16(), answer.text.as_str()), (200, "1"));
    assert!(started.elapsed() < Duration::from_secs(6));
    one.stop().await;
    two.stop().await;
}

#[tokio::test]
async fn a_delete_voids_the_lease() {
    let cache = Cache::start().await;
    for (method, path, body) in [
        (Method::DELETE, "/cache/a", ""),
        (Method::DELETE, "/cache?prefix=a", ""),
        (Method::POST, "/cache/flush", ""),
        (Method::POST, "/invalidate", r#"{"keys": ["a", "b"]}"#),
    ] {
        let lease = cache.get("/entries/a").await.lease();
        cache.call(method.clone(), path, &[], body).await;
        assert_eq!(
            cache.fill("/entries/a", &lease, "\"old\"").await,
            409,
            "{method} {path}"
        );
        assert_eq!(cache.get("/cache/a").await.status, 404);
        let next = cache.get("/entries/a").await.lease();
        assert_ne!(next, lease);
        assert_eq!(cache.fill("/entries/a", &next, "\"new\"").await, 204);
        assert_eq!(cache.fill("/entries/a", &next, "\"twice\"").await, 409);
        assert_eq!(cache.get("/entries/a").await.text, "\"new\"");
        cache.delete("/cache/a").await;
    }
    cache.stop().await;
}

#[tokio::test]
async fn a_direct_write_beats_a_rebuild() {
    let cache = Cache::start().await;
    let lease = cache.get("/entries/a").await.lease();
    cache.post("/cache/a", r#"{"value": "written"}"#).await;
    assert_eq!(cache.fill("/entries/a", &lease, "\"rebuilt\"").await, 409);
    assert_eq!(cache.get("/entries/a").await.text, "\"written\"");
    cache.stop().await;
}

#[tokio::test]
async fn waiters_learn_of_a_deletion_and_one_rebuilds() {
    let cache = Cache::start().await;
    let _abandoned = cache.get("/entries/a").await.lease();
    let waiting = join_all((0..5).map(|_| cache.get("/entries/a?wait_ms=1500")));
    let delete = async {
        eventually("all wait", || async {
            cache
                .metrics()
                .await
                .contains(r#"recarga_cache_lease_waits_total{role="cache",instance="cache-1"} 5"#)
        })
        .await;
        cache.post("/invalidate", r#"{"keys": ["a"]}"#).await;
    };
    let (answers, ()) = tokio::join!(waiting, delete);
    let granted = answers.iter().filter(|answer| answer.status == 202).count();
    let busy = answers.iter().filter(|answer| answer.status == 409).count();
    assert_eq!((granted, busy), (1, 4));
    cache.stop().await;
}

#[tokio::test]
async fn a_lease_given_back_goes_to_a_waiter() {
    let cache = Cache::start().await;
    let lease = cache.get("/entries/a").await.lease();
    let busy = cache.get("/entries/a").await;
    assert_eq!((busy.status.as_u16(), busy.text.as_str()), (409, ""));
    let release = async {
        eventually("it waits", || async {
            cache
                .metrics()
                .await
                .contains(r#"recarga_cache_lease_waits_total{role="cache",instance="cache-1"} 1"#)
        })
        .await;
        let headers = [("x-lease", lease.as_str())];
        let first = cache.call(Method::DELETE, "/entries/a", &headers, "").await;
        let second = cache.call(Method::DELETE, "/entries/a", &headers, "").await;
        (first.status.as_u16(), second.status.as_u16())
    };
    let (answer, released) = tokio::join!(cache.get("/entries/a?wait_ms=8000"), release);
    assert_eq!(released, (204, 409));
    assert_ne!(answer.lease(), lease);
    cache.stop().await;
}

#[tokio::test]
async fn a_dead_rebuilder_does_not_block() {
    let redis = kit::testing::redis_url().await;
    let mut config = config("cache-1", &redis);
    config.lease_ms = 300;
    let cache = Cache::start_with(config).await;
    let dead = cache.get("/entries/a").await.lease();
    let started = Instant::now();
    let next = cache.get("/entries/a?wait_ms=8000").await.lease();
    assert!(started.elapsed() < Duration::from_secs(5));
    assert_eq!(cache.fill("/entries/a", &dead, "1").await, 409);
    assert_eq!(cache.fill("/entries/a", &next, "2").await, 204);
    cache.stop().await;
}

#[tokio::test]
async fn waiters_are_bounded() {
    let redis = kit::testing::redis_url().await;
    let mut config = config("cache-1", &redis);
    config.waiters_per_key = 2;
    let cache = Cache::start_with(config).await;
    let lease = cache.get("/entries/a").await.lease();
    let started = Instant::now();
    let waiting = join_all((0..6).map(|_| async {
        let answer = cache.get("/entries/a?wait_ms=9000").await;
        (answer.status.as_u16(), started.elapsed())
    }));
    let fill = async {
        eventually("two wait and the others were turned away", || async {
            let stats = cache.get("/cache/stats").await.json();
            stats["misses"] == 5
        })
        .await;
        cache.fill("/entries/a", &lease, "1").await
    };
    let (answers, filled) = tokio::join!(waiting, fill);
    assert_eq!(filled, 204);
    let count = |status| answers.iter().filter(|answer| answer.0 == status).count();
    assert_eq!((count(200), count(409)), (2, 4));
    cache.stop().await;
}

#[tokio::test]
async fn a_stale_value_stands_by() {
    let cache = Cache::start().await;
    let lease = cache.get("/entries/a").await.lease();
    assert_eq!(
        cache
            .fill("/entries/a?ttl_s=1&swr_s=0&sie_s=600", &lease, "\"old\"")
            .await,
        204
    );
    eventually("it is no longer fresh", || async {
        cache.get("/cache/a").await.status == 404
    })
    .await;
    let granted = cache.get("/entries/a").await;
    let lease = granted.lease();
    assert_eq!(granted.text, "\"old\"");
    assert_eq!(granted.header("x-cache-state"), Some("stale"));
    let age: u64 = granted
        .header("x-stale-age")
        .and_then(|age| age.parse().ok())
        .expect("an age");
    assert!((0..30).contains(&age), "{age}");
    let busy = cache.get("/entries/a").await;
    assert_eq!((busy.status.as_u16(), busy.text.as_str()), (409, "\"old\""));
    assert_eq!(cache.fill("/entries/a", &lease, "\"new\"").await, 204);
    assert_eq!(cache.get("/entries/a").await.text, "\"new\"");
    // Deleting leaves nothing to stand in.
    cache.delete("/cache/a").await;
    assert_eq!(cache.get("/entries/a").await.text, "");
    cache.stop().await;
}

#[tokio::test]
async fn variants_live_apart_and_die_together() {
    let cache = Cache::start().await;
    for variant in ["", "limit=1", "limit=2&cursor=%C3%B1"] {
        let path = format!("/entries/a?variant={}", variant.replace('&', "%26"));
        let lease = cache.get(&path).await.lease();
        let body = serde_json::json!(variant).to_string();
        assert_eq!(cache.fill(&path, &lease, &body).await, 204, "{variant}");
    }
    assert_eq!(
        cache.get("/entries/a?variant=limit%3D1").await.text,
        "\"limit=1\""
    );
    assert_eq!(cache.get("/cache/a").await.json()["value"], "");
    let lease = cache.get("/entries/a?variant=limit%3D3").await.lease();
    assert_eq!(
        cache
            .post("/invalidate", r#"{"keys": ["a", "none"]}"#)
            .await
            .json()["count"],
        1
    );
    assert_eq!(
        cache
            .fill("/entries/a?variant=limit%3D3", &lease, "1")
            .await,
        409
    );
    for variant in ["", "limit=1", "limit=2%26cursor=%C3%B1"] {
        assert_eq!(
            cache
                .get(&format!("/entries/a?variant={variant}"))
                .await
                .status,
            202
        );
    }
    cache.stop().await;
}

#[tokio::test]
async fn fills_are_checked() {
    let cache = Cache::start().await;
    let lease = cache.get("/entries/a").await.lease();
    for (path, lease, body, status) in [
        ("/entries/a", "", "1", 400),
        ("/entries/a", "somebody-elses", "1", 409),
        ("/entries/a", &lease, "not json", 400),
        ("/entries/a", &lease, "", 400),
        ("/entries/a?ttl_s=0", &lease, "1", 422),
        ("/entries/a?sie_s=-1", &lease, "1", 422),
        ("/entries/a?swr_s=86401", &lease, "1", 422),
        ("/entries/a?status=500", &lease, "1", 422),
        ("/entries/a?variant=%00", &lease, "1", 422),
    ] {
        assert_eq!(cache.fill(path, lease, body).await, status, "{path} {body}");
    }
    let headers: [(&str, &str); 0] = [];
    assert_eq!(
        cache
            .call(Method::PUT, "/entries/a", &headers, "1")
            .await
            .status,
        400
    );
    let large = format!("\"{}\"", "x".repeat(1024 * 1024));
    assert_eq!(cache.fill("/entries/a", &lease, &large).await, 413);
    assert_eq!(cache.fill("/entries/a", &lease, "1").await, 204);
    for body in [
        "{}",
        r#"{"keys": "a"}"#,
        r#"{"keys": [""]}"#,
        r#"{"keys": ["\u0000"]}"#,
    ] {
        assert_eq!(cache.post("/invalidate", body).await.status, 422, "{body}");
    }
    cache.stop().await;
}
