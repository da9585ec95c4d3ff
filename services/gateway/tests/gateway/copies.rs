//! Copies in the gateways' own memory: served without asking anybody, and gone before a write is answered.

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use axum::response::IntoResponse;
use futures::future::join_all;
use http::{Method, StatusCode};
use kit::{Problem, caching::first_level::LEASE, testing::eventually};
use serde_json::json;

use crate::support::{Lab, Plan, gauge, soon};

async fn lab(gateways: usize) -> Lab {
    Lab::start_with(Plan {
        gateways,
        first_level: true,
        ..Plan::default()
    })
    .await
}

async fn invalidate(lab: &Lab, key: &str) {
    let body = json!({"keys": [key]}).to_string();
    let answer = lab.cache(Method::POST, "/invalidate", &body).await;
    assert_eq!(answer.status, 200);
}

/// Answers another number each time.
fn counting(lab: &Lab) {
    let calls = AtomicU64::new(0);
    lab.travel.answers(move |_| {
        let number = calls.fetch_add(1, Ordering::SeqCst) + 1;
        axum::Json(json!({"total_trips": number})).into_response()
    });
}

#[tokio::test]
async fn a_copy_is_served_without_the_cache_service() {
    let lab = lab(1).await;
    lab.exercise.answers_json(json!({"data": [1, "ñ"]}));
    assert_eq!(lab.get("/data").await.cache(), "MISS");
    for _ in 0..3 {
        let hit = lab.get("/data").await;
        assert_eq!(hit.cache(), "HIT");
        assert_eq!(
            hit.json(),
            json!({"cached": true, "data": [1, "ñ"], "gateway_id": "1"})
        );
        assert_eq!(hit.header("content-type"), "application/json");
        assert!(hit.header("age").parse::<u64>().is_ok_and(|age| age < 30));
        let timing = hit.header("server-timing");
        assert!(
            timing.contains("l1;dur=") && !timing.contains("cache;dur="),
            "{timing}"
        );
    }
    let metrics = lab.metrics().await;
    assert_eq!(gauge(&metrics, "recarga_first_level_hits_total"), Some(3));
    let asked = lab.cache_metrics().await;
    assert_eq!(gauge(&asked, "recarga_cache_hits_total"), Some(0));
    // The statistics of the cache know of them all the same.
    eventually("the hits are added up", || async {
        let stats = lab.cache(Method::GET, "/cache/stats", "").await.json();
        stats["first_level_hits"] == 3 && stats["hits"] == 3 && stats["misses"] == 1
    })
    .await;
    eventually("the gauges follow", || async {
        let metrics = lab.metrics().await;
        gauge(&metrics, "recarga_first_level_entries") == Some(1)
            && gauge(&metrics, "recarga_first_level_bytes") > Some(0)
    })
    .await;
    lab.stop().await;
}

#[tokio::test]
async fn a_value_found_in_the_shared_cache_is_copied_and_every_copy_goes_with_a_deletion() {
    let lab = lab(3).await;
    counting(&lab);
    let read = async |gateway: usize| {
        let answer = lab
            .call(gateway, Method::GET, "/trips/total", &[], "")
            .await;
        let timing = answer.header("server-timing").contains("l1;dur=");
        (
            answer.json()["total_trips"].as_u64().expect("a number"),
            timing,
        )
    };
    for version in 1..=5 {
        for round in 0..3 {
            for gateway in 0..3 {
                let (read, copied) = read(gateway).await;
                assert_eq!(read, version);
                assert_eq!(copied, round > 0, "{gateway} {round}");
            }
        }
        match version {
            1 => invalidate(&lab, "trips:total").await,
            2 => {
                lab.cache(Method::POST, "/cache/flush", "").await;
            }
            3 => {
                lab.cache(Method::DELETE, "/cache?prefix=trips:", "").await;
            }
            _ => {
                lab.cache(Method::DELETE, "/cache/trips:total", "").await;
            }
        }
    }
    // Written by hand, it is the same for everybody at once.
    lab.cache(
        Method::POST,
        "/cache/trips:total",
        r#"{"value": {"total_trips": 77}}"#,
    )
    .await;
    for gateway in 0..3 {
        assert_eq!(read(gateway).await.0, 77);
    }
    lab.stop().await;
}

#[tokio::test]
async fn a_rebuild_that_a_write_overtook_leaves_no_copy() {
    let lab = lab(2).await;
    counting(&lab);
    let bell = lab.travel.hold();
    let slow = lab.get("/trips/total");
    let write = async {
        eventually("the service is asked", || async { lab.travel.count() == 1 }).await;
        invalidate(&lab, "trips:total").await;
        // Who comes now does not wait for the old rebuild.
        let after = lab.get("/trips/total");
        let ring = async {
            eventually("the service is asked anew", || async {
                lab.travel.count() == 2
            })
            .await;
            bell.notify_one();
            bell.notify_one();
        };
        let (after, ()) = tokio::join!(after, ring);
        after.json()["total_trips"].as_u64()
    };
    let (slow, after) = soon("both", async { tokio::join!(slow, write) }).await;
    let numbers = BTreeSet::from([slow.json()["total_trips"].as_u64(), after]);
    assert_eq!(numbers, BTreeSet::from([Some(1), Some(2)]));
    bell.notify_one();
    let (here, there) = tokio::join!(
        lab.get("/trips/total"),
        lab.call(1, Method::GET, "/trips/total", &[], "")
    );
    assert_eq!(here.json()["total_trips"].as_u64(), after);
    assert_eq!(there.json()["total_trips"].as_u64(), after);
    lab.stop().await;
}

#[tokio::test]
async fn absences_are_told_again_under_each_requests_own_id() {
    let lab = lab(1).await;
    lab.travel
        .answers(|_| Problem::not_found("No such trip").into_response());
    for round in 0..4 {
        let id = format!("request-{round}");
        let headers = [("x-request-id", id.as_str())];
        let answer = lab.call(0, Method::GET, "/trips/99", &headers, "").await;
        assert_eq!(answer.status, 404);
        assert_eq!(answer.cache(), if round == 0 { "MISS" } else { "HIT" });
        assert_eq!(answer.header("content-type"), "application/problem+json");
        assert_eq!(answer.header("cache-control"), "no-store");
        assert_eq!(answer.header("x-request-id"), id);
        if round > 0 {
            assert_eq!(
                answer.json(),
                json!({
                    "type": "about:blank", "title": "Not Found", "status": 404, "detail": "No such trip",
                    "error": "No such trip", "instance": id
                })
            );
        }
    }
    assert_eq!(lab.travel.count(), 1);
    // The trip is made, and its key invalidated as any other.
    lab.travel.answers_json(json!({"trip_id": 99}));
    invalidate(&lab, "trip:99").await;
    let answer = lab.get("/trips/99").await;
    assert_eq!((answer.status.as_u16(), answer.cache()), (200, "MISS"));
    // Failures are no absences.
    for status in [500, 503, 429, 403] {
        let status = StatusCode::from_u16(status).expect("a status");
        lab.travel
            .answers(move |_| Problem::new(status, "not now").into_response());
        let before = lab.travel.count();
        for _ in 0..2 {
            let answer = lab.get("/trips/98").await;
            assert_eq!((answer.status, answer.cache()), (status, "MISS"));
        }
        assert_eq!(lab.travel.count(), before + 2);
    }
    lab.stop().await;
}

#[tokio::test]
async fn an_absence_is_forgotten_after_a_moment() {
    let lab = lab(1).await;
    lab.travel
        .answers(|_| Problem::not_found("No such trip").into_response());
    assert_eq!(lab.get("/trips/99").await.cache(), "MISS");
    let started = Instant::now();
    lab.travel.answers_json(json!({"trip_id": 99}));
    eventually("it is asked for again", || async {
        lab.get("/trips/99").await.status == 200
    })
    .await;
    assert!(started.elapsed() > Duration::from_secs(3));
    lab.stop().await;
}

#[tokio::test]
async fn a_gateway_that_left_is_not_waited_for() {
    let mut lab = lab(3).await;
    counting(&lab);
    for gateway in 0..3 {
        lab.call(gateway, Method::GET, "/trips/total", &[], "")
            .await;
    }
    lab.gateways.remove(2).stop().await;
    // The first second after the start of the cache service waits for those nobody knows.
    invalidate(&lab, "other").await;
    let started = Instant::now();
    // Several, so that a moment without a processor is not taken for a lease.
    for _ in 0..5 {
        invalidate(&lab, "trips:total").await;
    }
    assert!(started.elapsed() < LEASE * 5, "{:?}", started.elapsed());
    lab.stop().await;
}

#[tokio::test]
async fn readers_of_one_value_share_one_look_up() {
    let lab = lab(1).await;
    lab.exercise.answers_json(json!({"data": "once"}));
    let bell = lab.exercise.hold();
    let readers = join_all((0..50).map(|_| lab.get("/data")));
    let release = async {
        eventually("the service is asked", || async {
            lab.exercise.count() == 1
        })
        .await;
        // Whoever came later shares it as well.
        let late = lab.get("/data");
        bell.notify_one();
        late.await
    };
    let (answers, late) = soon("one rebuild", async { tokio::join!(readers, release) }).await;
    let hits = answers
        .iter()
        .filter(|answer| answer.cache() == "HIT")
        .count();
    assert_eq!((hits, late.cache()), (49, "HIT"));
    assert_eq!(lab.exercise.count(), 1);
    let metrics = lab.cache_metrics().await;
    assert!(metrics.contains(r#"cause="cold"} 1"#), "{metrics}");
    assert!(
        metrics.contains(r#"lease_waits_total{role="cache",instance="cache-1"} 0"#),
        "{metrics}"
    );
    lab.stop().await;
}

#[tokio::test]
async fn too_many_readers_of_one_value_are_told_so() {
    let lab = Lab::start_with(Plan {
        first_level: true,
        read_waiters: 5,
        ..Plan::default()
    })
    .await;
    lab.exercise.answers_json(json!({"data": "once"}));
    let bell = lab.exercise.hold();
    let turned_away = std::sync::atomic::AtomicUsize::new(0);
    let readers = join_all((0..20).map(|_| async {
        let answer = lab.get("/data").await;
        if answer.status == 503 {
            turned_away.fetch_add(1, Ordering::SeqCst);
        }
        answer
    }));
    let release = async {
        eventually("the others are turned away", || async {
            turned_away.load(Ordering::SeqCst) == 15
        })
        .await;
        bell.notify_one();
    };
    let (answers, ()) = soon("an answer", async { tokio::join!(readers, release) }).await;
    for answer in &answers {
        match answer.status.as_u16() {
            200 => assert_eq!(answer.json()["data"], "once"),
            503 => assert_eq!(answer.header("retry-after"), "1"),
            other => panic!("{other}: {answer:?}"),
        }
    }
    assert_eq!(lab.exercise.count(), 1);
    lab.stop().await;
}

#[tokio::test]
async fn private_answers_are_shared_with_nobody() {
    let lab = lab(1).await;
    let calls = AtomicU64::new(0);
    lab.travel.answers(move |_| {
        let number = calls.fetch_add(1, Ordering::SeqCst);
        let body = axum::Json(json!({"trip_id": number}));
        ([("cache-control", "private")], body).into_response()
    });
    let answers = soon("all", join_all((0..10).map(|_| lab.get("/trips/1")))).await;
    let ids: BTreeSet<_> = answers
        .iter()
        .map(|answer| answer.json()["trip_id"].as_u64())
        .collect();
    assert_eq!(ids.len(), 10);
    lab.stop().await;
}
