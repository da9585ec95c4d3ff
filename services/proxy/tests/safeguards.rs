//! What shedding and the retry budget are for: the same load without them. What is off is off for all of this process, so
//! there is one test for each.

#![expect(clippy::unwrap_used, reason = "these are tests")]

#[expect(dead_code, reason = "shared with the other tests")]
mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty};
use kit::{safeguards::Safeguard, testing::Without};
use proxy::{ForwardError, ForwardOptions, Forwarder};
use serde_json::json;
use support::{Server, forwarder, whole};
use tokio::sync::Semaphore;

async fn get(forwarder: &Forwarder, budget: Duration) -> Result<StatusCode, ForwardError> {
    let request = Request::get("/").body(Empty::<Bytes>::new()).unwrap();
    let options = ForwardOptions::within(budget);
    let response = forwarder.forward(request, options).await?;
    let status = response.status();
    response.into_body().collect().await.unwrap();
    Ok(status)
}

/// Attempts that the upstream sees of so many requests, when it breaks every connection after it read one.
async fn storm(requests: usize) -> usize {
    let server = Server::raw(vec![]).await;
    let forwarder = forwarder(&[server.address]);
    let patch = json!({"retries": {"percent": 20, "floor_per_second": 0}});
    forwarder.pool().update_balancing(&patch).unwrap();
    for _ in 0..requests {
        get(&forwarder, Duration::from_secs(10)).await.unwrap_err();
    }
    server.seen().len()
}

#[tokio::test]
async fn without_the_retry_budget_a_failure_doubles_the_load() {
    let with = storm(200).await;
    assert!(with <= 200 + 40, "{with} attempts");
    let without = {
        let _without = Without::new(Safeguard::RetryBudget);
        storm(200).await
    };
    assert_eq!(without, 400, "no breaker stands in the way either");
    let again = storm(200).await;
    assert!(again <= 200 + 40, "{again} attempts");
}

/// How long a request takes once it is its turn.
const WORK: Duration = Duration::from_millis(20);
/// So many at a time, one after the other in the order of their arrival.
const PLACES: usize = 4;
/// When a client gives up.
const PATIENCE: Duration = Duration::from_millis(400);

/// What came of a load.
#[derive(Debug)]
struct Came {
    /// Answered with 200 in time.
    good: usize,
    refused: usize,
    gave_up: usize,
    /// The median of those that were refused, and of those that were answered.
    refusal: Duration,
    answer: Duration,
}

/// Asks for three times what the upstream can do, whatever comes of it, for two and a half seconds, of which the first one does
/// not count.
async fn overload(forwarder: &Forwarder) -> Came {
    let capacity = PLACES as f64 / WORK.as_secs_f64();
    let pause = Duration::from_secs_f64(1.0 / (3.0 * capacity));
    let started = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    let mut due = started;
    while started.elapsed() < Duration::from_millis(2_500) {
        due += pause;
        tokio::time::sleep_until(due.into()).await;
        let forwarder = forwarder.clone();
        let counts = due > started + Duration::from_secs(1);
        tasks.spawn(async move {
            let began = Instant::now();
            let outcome = get(&forwarder, PATIENCE).await;
            counts.then(|| (outcome, began.elapsed()))
        });
    }
    let (mut answers, mut refusals, mut gave_up) = (Vec::new(), Vec::new(), 0);
    while let Some(done) = tasks.join_next().await {
        let Some(done) = done.unwrap() else { continue };
        match done {
            (Ok(StatusCode::OK), took) => answers.push(took),
            (Err(ForwardError::Shed { .. }), took) => refusals.push(took),
            _ => gave_up += 1,
        }
    }
    let median = |times: &mut Vec<Duration>| {
        times.sort_unstable();
        times.get(times.len() / 2).copied().unwrap_or_default()
    };
    Came {
        good: answers.len(),
        refused: refusals.len(),
        gave_up,
        refusal: median(&mut refusals),
        answer: median(&mut answers),
    }
}

#[tokio::test]
async fn without_shedding_overload_answers_almost_nobody() {
    let places = Arc::new(Semaphore::new(PLACES));
    let server = Server::http(move |_| {
        let places = Arc::clone(&places);
        async move {
            let place = places.acquire_owned().await.unwrap();
            // What was begun is done, also when nobody waits for it any more.
            let work = tokio::spawn(async move {
                tokio::time::sleep(WORK).await;
                drop(place);
            });
            work.await.unwrap();
            Response::new(whole("done"))
        }
    })
    .await;
    let over = || {
        let forwarder = forwarder(&[server.address]);
        let limits = json!({
            "admission": {"enabled": true, "min_limit": 4, "initial_limit": 8, "queue": 8, "max_wait_ms": 100},
        });
        forwarder.pool().update_balancing(&limits).unwrap();
        forwarder
    };
    let with = overload(&over()).await;
    let without = {
        let _without = Without::new(Safeguard::Shedding);
        overload(&over()).await
    };
    assert_eq!(without.refused, 0, "{without:?}");
    assert!(with.refused > with.good / 2, "{with:?}");
    assert!(with.good > 2 * without.good, "{with:?} {without:?}");
    assert!(without.gave_up > without.good, "{without:?}");
    // Who is turned away knows it early, and who is answered did not wait for long.
    assert!(with.refusal < PATIENCE / 2, "{with:?}");
    assert!(with.answer < PATIENCE / 2, "{with:?}");
}
