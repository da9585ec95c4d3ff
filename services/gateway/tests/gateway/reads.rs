//! Reads through the cache: hits, rebuilds, one at a time, and never an old value after a write.

use std::sync::atomic::{AtomicU64, Ordering};

use axum::response::IntoResponse;
use futures::future::join_all;
use http::{Method, StatusCode};
use kit::testing::eventually;
use serde_json::json;

use crate::support::{Lab, Plan, soon};

/// An answer that is another one each time.
fn counting(lab: &Lab) {
    let calls = AtomicU64::new(0);
    lab.travel.answers(move |_| {
        let balance = calls.fetch_add(1, Ordering::SeqCst) + 1;
        axum::Json(json!({"card_id": 1, "balance": balance, "status": "active"})).into_response()
    });
}

#[tokio::test]
async fn the_slow_read_is_slow_once() {
    let lab = Lab::start().await;
    lab.exercise
        .answers_json(json!({"data": "Data \"from\" the database", "service_id": "2"}));
    let first = lab.get("/data").await;
    assert_eq!(
        first.json(),
        json!({"cached": false, "data": "Data \"from\" the database", "gateway_id": "1"})
    );
    assert_eq!((first.cache(), first.header("age")), ("MISS", ""));
    for _ in 0..3 {
        let next = lab.get("/data").await;
        assert_eq!(
            next.json(),
            json!({"cached": true, "data": "Data \"from\" the database", "gateway_id": "1"})
        );
        assert_eq!(
            (next.cache(), next.header("x-gateway")),
            ("HIT", "gateway-1")
        );
        assert!(next.header("age").parse::<u64>().is_ok());
        assert_eq!(next.header("content-type"), "application/json");
        let timing = next.header("server-timing");
        assert!(
            timing.contains("cache;dur=") && timing.contains("redis;dur="),
            "{timing}"
        );
    }
    assert_eq!(lab.exercise.count(), 1);
    // Exactly the key, for everybody who uses the cache service by hand.
    let by_hand = lab.cache(Method::GET, "/cache/my_data", "").await;
    assert_eq!(by_hand.json()["value"], "Data \"from\" the database");
    lab.cache(Method::POST, "/cache/other", r#"{"value": "by hand"}"#)
        .await;
    assert_eq!(
        lab.get("/data?key=other").await.json(),
        json!({"cached": true, "data": "by hand", "gateway_id": "1"})
    );
    let metrics = lab.metrics().await;
    for (result, count) in [("hit", 4), ("miss", 1), ("stale", 0), ("bypass", 0)] {
        let line = format!(
            r#"recarga_cache_lookups_total{{role="gateway",instance="gateway-1",result="{result}"}} {count}"#
        );
        assert!(metrics.contains(&line), "{line}\n{metrics}");
    }
    assert!(metrics.contains(r#"route="/data""#), "{metrics}");
    lab.stop().await;
}

#[tokio::test]
async fn searches_are_wrapped() {
    let lab = Lab::start().await;
    let tutors = json!([{"id": 1, "name": "Ana", "subject": "Math", "rating": 4.5}]);
    lab.search.answers_json(json!({"data": tutors}));
    let first = lab.get_as_user("/search?subject=Math").await.json();
    assert_eq!((&first["cached"], &first["data"]), (&json!(false), &tutors));
    let second = lab.get_as_user("/search?subject=Math").await.json();
    assert_eq!(
        (&second["cached"], &second["data"]),
        (&json!(true), &tutors)
    );
    // Whoever asks for the value: it was fetched for nobody in particular.
    let asked = lab.search.last();
    assert!(!asked.headers.contains_key("x-recarga-user"));
    // A cached answer is for those who may ask.
    assert_eq!(lab.get("/search?subject=Math").await.status, 401);
    lab.stop().await;
}

#[tokio::test]
async fn concurrent_misses_are_one_call_over_all_gateways() {
    let lab = Lab::start_with(Plan {
        gateways: 3,
        ..Plan::default()
    })
    .await;
    lab.exercise.answers_json(json!({"data": "once"}));
    let bell = lab.exercise.hold();
    let readers =
        join_all((0..60).map(|number| lab.call(number % 3, Method::GET, "/data", &[], "")));
    let release = async {
        // One waits for all who came meanwhile, at each gateway.
        eventually("the service is asked and the others wait", || async {
            let text = lab.cache_metrics().await;
            lab.exercise.count() == 1
                && text.contains(r#"lease_waits_total{role="cache",instance="cache-1"} 3"#)
        })
        .await;
        bell.notify_one();
    };
    let (answers, ()) = soon("one rebuild", async { tokio::join!(readers, release) }).await;
    assert_eq!(lab.exercise.count(), 1);
    let hits = answers
        .iter()
        .filter(|answer| answer.cache() == "HIT")
        .count();
    let misses = answers
        .iter()
        .filter(|answer| answer.cache() == "MISS")
        .count();
    assert_eq!((hits, misses), (59, 1));
    lab.stop().await;
}

#[tokio::test]
async fn a_rebuild_outlives_the_client_that_began_it() {
    let lab = Lab::start().await;
    lab.exercise.answers_json(json!({"data": "once"}));
    let bell = lab.exercise.hold();
    let mut first = Box::pin(lab.get("/data"));
    let asked = eventually("the service is asked", || async {
        lab.exercise.count() == 1
    });
    tokio::select! {
        _ = &mut first => panic!("it is held"),
        () = asked => {}
    }
    drop(first);
    bell.notify_one();
    let second = soon("the value", lab.get("/data")).await;
    assert_eq!((second.cache(), lab.exercise.count()), ("HIT", 1));
    lab.stop().await;
}

#[tokio::test]
async fn no_old_value_after_an_invalidation() {
    let lab = Lab::start_with(Plan {
        gateways: 2,
        ..Plan::default()
    })
    .await;
    counting(&lab);
    let token = lab.token().await;
    let headers = [("authorization", token.as_str())];
    let read = async |gateway: usize, path: &str| {
        let answer = lab.call(gateway, Method::GET, path, &headers, "").await;
        (answer.cache().to_owned(), answer.json()["balance"].clone())
    };
    assert_eq!(
        read(0, "/cards/1/balance").await,
        ("MISS".to_owned(), json!(1))
    );
    assert_eq!(
        read(1, "/cards/1/balance").await,
        ("HIT".to_owned(), json!(1))
    );
    // Another spelling of the number is the same card.
    assert_eq!(
        read(1, "/cards/001/balance").await,
        ("HIT".to_owned(), json!(1))
    );
    lab.cache(
        Method::POST,
        "/invalidate",
        r#"{"keys": ["card:1:balance"]}"#,
    )
    .await;
    assert_eq!(
        read(1, "/cards/001/balance").await,
        ("MISS".to_owned(), json!(2))
    );
    assert_eq!(
        read(0, "/cards/1/balance").await,
        ("HIT".to_owned(), json!(2))
    );

    // A read that began before the write must not leave its value behind.
    lab.cache(
        Method::POST,
        "/invalidate",
        r#"{"keys": ["card:1:balance"]}"#,
    )
    .await;
    let bell = lab.travel.hold();
    let slow = read(0, "/cards/1/balance");
    let write = async {
        eventually("the service is asked", || async { lab.travel.count() == 3 }).await;
        lab.cache(
            Method::POST,
            "/invalidate",
            r#"{"keys": ["card:1:balance"]}"#,
        )
        .await;
        bell.notify_one();
    };
    let (slow, ()) = tokio::join!(slow, write);
    assert_eq!(slow, ("MISS".to_owned(), json!(3)));
    bell.notify_one();
    assert_eq!(
        read(1, "/cards/1/balance").await,
        ("MISS".to_owned(), json!(4))
    );
    lab.stop().await;
}

#[tokio::test]
async fn what_must_not_be_stored_is_kept_nowhere_and_shared_with_nobody() {
    let lab = Lab::start_with(Plan {
        gateways: 2,
        ..Plan::default()
    })
    .await;
    let number = AtomicU64::new(0);
    lab.travel.answers(move |_| {
        let number = number.fetch_add(1, Ordering::SeqCst) + 1;
        let body = axum::Json(json!({ "balance": number }));
        ([("cache-control", "no-store")], body).into_response()
    });
    let token = lab.token().await;
    let headers = [("authorization", token.as_str())];
    let read = async |gateway: usize| {
        let path = "/cards/1/balance";
        let answer = lab.call(gateway, Method::GET, path, &headers, "").await;
        assert_eq!(answer.status, 200);
        answer.json()["balance"].as_u64().expect("a number")
    };
    // All board one flight, whose answer is for the first alone.
    let bell = lab.travel.hold();
    let readers = join_all((0..5).map(|_| read(0)));
    let ring = async {
        for count in 1..=5 {
            eventually("the service is asked", || async {
                lab.travel.count() >= count
            })
            .await;
            bell.notify_one();
        }
    };
    let (mut numbers, ()) = tokio::join!(readers, ring);
    numbers.sort_unstable();
    assert_eq!(numbers, [1, 2, 3, 4, 5]);
    for (gateway, expected) in [(0, 6), (1, 7), (0, 8)] {
        bell.notify_one();
        assert_eq!(read(gateway).await, expected);
    }
    // What comes after may be kept again.
    lab.travel.answers_json(json!({"balance": 9}));
    bell.notify_one();
    for gateway in [0, 1, 0] {
        assert_eq!(read(gateway).await, 9);
    }
    assert_eq!(lab.travel.count(), 9);
    lab.stop().await;
}

#[tokio::test]
async fn pages_are_variants_of_one_key() {
    let lab = Lab::start().await;
    lab.travel
        .answers(|asked| axum::Json(json!({"target": asked.target})).into_response());
    for path in [
        "/cards/1/history",
        "/cards/1/history?limit=5",
        "/cards/1/history?limit=5&cursor=abc",
        "/stations?locality=3&limit=2",
    ] {
        let miss = lab.get_as_user(path).await;
        assert_eq!(
            (miss.cache(), &miss.json()["target"]),
            ("MISS", &json!(path))
        );
        assert_eq!(lab.get_as_user(path).await.cache(), "HIT", "{path}");
    }
    // The order of the parameters does not matter, and unknown ones neither.
    let same = lab
        .get_as_user("/cards/1/history?cursor=abc&limit=5&x=1")
        .await;
    assert_eq!(same.cache(), "HIT");
    // One that is given twice is for the service to judge.
    let odd = lab.get_as_user("/cards/1/history?limit=5&limit=6").await;
    assert_eq!(odd.cache(), "BYPASS");
    lab.cache(
        Method::POST,
        "/invalidate",
        r#"{"keys": ["card:1:history"]}"#,
    )
    .await;
    assert_eq!(
        lab.get_as_user("/cards/1/history?limit=5").await.cache(),
        "MISS"
    );
    lab.stop().await;
}

#[tokio::test]
async fn two_names_of_one_figure_share_it() {
    let lab = Lab::start().await;
    lab.travel.answers(|asked| {
        assert_eq!(asked.target, "/finance/revenue");
        axum::Json(json!({"total_revenue": 5})).into_response()
    });
    assert_eq!(lab.get("/trips/finance/revenue").await.cache(), "MISS");
    let second = lab.get("/finance/revenue").await;
    assert_eq!(
        (second.cache(), second.json()),
        ("HIT", json!({"total_revenue": 5}))
    );
    lab.stop().await;
}

#[tokio::test]
async fn only_good_and_public_answers_are_kept() {
    let lab = Lab::start().await;
    lab.travel.answers(|_| {
        (
            StatusCode::NOT_FOUND,
            axum::Json(json!({"detail": "no such trip"})),
        )
            .into_response()
    });
    for expected in [1, 2] {
        let answer = lab.get("/trips/99").await;
        assert_eq!((answer.status.as_u16(), answer.cache()), (404, "MISS"));
        assert_eq!(answer.json()["detail"], "no such trip");
        assert_eq!(lab.travel.count(), expected);
    }
    for header in [
        ("cache-control", "private"),
        ("cache-control", "No-Store"),
        ("set-cookie", "a=1"),
    ] {
        lab.travel
            .answers(move |_| ([header], axum::Json(json!({"trip_id": 1}))).into_response());
        assert_eq!(lab.get("/trips/1").await.status, 200);
        assert_eq!(lab.get("/trips/1").await.cache(), "MISS", "{header:?}");
    }
    lab.travel.answers(|_| "not JSON".into_response());
    assert_eq!(lab.get("/trips/1").await.text, "not JSON");
    assert_eq!(lab.get("/trips/1").await.cache(), "MISS");
    let large = "x".repeat(900_000);
    lab.travel.answers_json(json!(large));
    assert_eq!(lab.get("/trips/1").await.cache(), "MISS");
    assert_eq!(lab.get("/trips/1").await.cache(), "HIT");
    // Ids that are none are for the service to judge.
    assert_eq!(lab.get("/trips/abc").await.cache(), "BYPASS");
    assert_eq!(lab.get("/users/count").await.cache(), "BYPASS");
    lab.stop().await;
}
