//! What leases are for: without them a stampede reaches the service, and an old value is put back after a write. The
//! gateways, the cache and the test share a process, and so what is off.

#[allow(dead_code, reason = "shared with the other tests, which use the rest")]
#[path = "gateway/support.rs"]
mod support;

use futures::{StreamExt, stream::FuturesUnordered};
use http::Method;
use kit::{
    safeguards::Safeguard,
    testing::{Without, eventually},
};
use serde_json::json;
use tokio::sync::Mutex;

use crate::support::{Lab, Plan, Service, gauge, soon};

/// What is off is off for all tests of this process: one at a time.
static ALONE: Mutex<()> = Mutex::const_new(());

async fn lab(gateways: usize) -> Lab {
    Lab::start_with(Plan {
        gateways,
        first_level: true,
        ..Plan::default()
    })
    .await
}

/// So many readers of one missing value at once, over all gateways; how often the service was asked.
async fn stampede(lab: &Lab, key: &str, readers: usize, expected: usize) -> usize {
    let before = lab.exercise.count();
    let bell = lab.exercise.hold();
    let path = format!("/data?key={key}");
    let gateways = lab.gateways.len();
    let mut answers: FuturesUnordered<_> = (0..readers)
        .map(|number| lab.call(number % gateways, Method::GET, &path, &[], ""))
        .collect();
    let release = async {
        eventually("all readers wait", || async {
            let mut waiting = 0;
            for gateway in 0..gateways {
                let metrics = lab.metrics_of(gateway).await;
                waiting += gauge(&metrics, "recarga_http_requests_in_flight").unwrap_or(0);
            }
            usize::try_from(waiting) == Ok(readers) && lab.exercise.count() - before >= expected
        })
        .await;
        let asked = lab.exercise.count() - before;
        bell.notify_waiters();
        asked
    };
    let arrive = async {
        let mut arrived = 0;
        while let Some(answer) = answers.next().await {
            assert_eq!(answer.status, 200, "{answer:?}");
            arrived += 1;
        }
        arrived
    };
    let (asked, arrived) = soon("the stampede", async { tokio::join!(release, arrive) }).await;
    assert_eq!(arrived, readers);
    assert_eq!(lab.exercise.count() - before, asked, "asked again later");
    asked
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stampede_is_one_call_with_leases_and_many_without() {
    let _alone = ALONE.lock().await;
    let lab = lab(3).await;
    lab.exercise.answers_json(json!({"data": "made"}));
    assert_eq!(stampede(&lab, "with", 60, 1).await, 1);
    {
        let _without = Without::new(Safeguard::Leases);
        assert_eq!(stampede(&lab, "without", 60, 60).await, 60);
        // It is a cache nevertheless.
        let cached = lab.get("/data?key=without").await;
        assert_eq!(cached.cache(), "HIT", "{cached:?}");
    }
    assert_eq!(stampede(&lab, "again", 60, 1).await, 1);
    lab.stop().await;
}

/// A reader asks the service, which answers with the old value only after a write has changed it and told the cache. What the
/// next reader is told.
async fn race(lab: &Lab, key: &str) -> (String, String) {
    let exercise: &Service = &lab.exercise;
    let before = exercise.count();
    exercise.answers_json(json!({"data": "old"}));
    let bell = exercise.hold();
    let path = format!("/data?key={key}");
    let write = async {
        eventually("the service is asked", || async {
            exercise.count() > before
        })
        .await;
        let keys = json!({"keys": [key]}).to_string();
        let told = lab
            .http
            .post(format!("{}/invalidate", lab.cache.url))
            .body(keys);
        let told = told.send().await.expect("an answer");
        assert_eq!(told.status(), 200, "the write is answered");
        bell.notify_waiters();
    };
    let (first, ()) = soon("the race", async { tokio::join!(lab.get(&path), write) }).await;
    // It began before the write: it may tell the old value.
    assert_eq!(
        (first.cache(), first.json()["data"].as_str()),
        ("MISS", Some("old"))
    );
    exercise.answers_json(json!({"data": "new"}));
    let second = async {
        let read = lab.call(1, Method::GET, &path, &[], "");
        let mut read = std::pin::pin!(read);
        loop {
            tokio::select! {
                answer = &mut read => return answer,
                () = tokio::time::sleep(std::time::Duration::from_millis(5)) => bell.notify_waiters(),
            }
        }
    };
    let second = soon("the second read", second).await;
    let value = second.json()["data"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    (second.cache().to_owned(), value)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_value_is_written_back_after_a_write_only_without_leases() {
    let _alone = ALONE.lock().await;
    let lab = lab(2).await;
    let right = ("MISS".to_owned(), "new".to_owned());
    let wrong = ("HIT".to_owned(), "old".to_owned());
    for round in 0..3 {
        assert_eq!(race(&lab, &format!("with-{round}")).await, right);
        let without = Without::new(Safeguard::Leases);
        assert_eq!(race(&lab, &format!("without-{round}")).await, wrong);
        drop(without);
        // The other switch that has this effect; the stampede it leaves alone.
        let without = Without::new(Safeguard::LeaseVoid);
        assert_eq!(race(&lab, &format!("not-void-{round}")).await, wrong);
        drop(without);
    }
    lab.stop().await;
}
