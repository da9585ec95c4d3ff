use std::sync::atomic::AtomicUsize;

use kit::testing::eventually;

use super::*;

fn settings(limit: u32, queue: u32) -> AdmissionSettings {
    AdmissionSettings {
        enabled: true,
        min_limit: limit,
        max_limit: limit,
        initial_limit: limit,
        queue,
        max_wait_ms: 60_000,
        ..AdmissionSettings::default()
    }
}

fn admission(settings: &AdmissionSettings) -> Admission {
    Admission::new(settings, ShedCounters::default())
}

fn later() -> Instant {
    Instant::now() + Duration::from_mins(1)
}

async fn acquire(admission: &Admission) -> Result<Ticket, ShedReason> {
    let acquired = admission.acquire(Priority::Normal, later()).await;
    acquired.map_err(|shed| shed.reason)
}

/// Lets one wait in the background, and returns when it does.
async fn waiting(admission: &Admission) -> tokio::task::JoinHandle<Result<Ticket, ShedReason>> {
    let before = admission.snapshot().queued;
    let task = tokio::spawn({
        let admission = admission.clone();
        async move { acquire(&admission).await }
    });
    eventually("it waits", || async {
        admission.snapshot().queued > before
    })
    .await;
    task
}

#[tokio::test]
async fn off_means_free() {
    let admission = admission(&AdmissionSettings::default());
    let tickets: Vec<_> = futures::future::join_all((0..10_000).map(|_| acquire(&admission))).await;
    assert!(tickets.iter().all(Result::is_ok));
    assert_eq!(admission.snapshot().in_flight, 0);
}

#[tokio::test]
async fn a_place_given_back_goes_to_who_waits() {
    let admission = admission(&settings(1, 1));
    let mut held = acquire(&admission).await.unwrap();
    let next = waiting(&admission).await;
    assert_eq!(acquire(&admission).await.err(), Some(ShedReason::QueueFull));
    held.finish(Outcome::Answered);
    assert_eq!(
        admission.snapshot().queued,
        1,
        "the answer's body is still on its way"
    );
    drop(held);
    let ticket = next.await.unwrap().unwrap();
    assert_eq!(admission.snapshot().in_flight, 1);
    drop(ticket);
    let snapshot = admission.snapshot();
    assert_eq!(
        (snapshot.in_flight, snapshot.queued, snapshot.shed),
        (0, 0, 1)
    );
}

#[tokio::test]
async fn who_leaves_the_queue_is_not_let_in_for_nothing() {
    let admission = admission(&settings(1, 4));
    let held = acquire(&admission).await.unwrap();
    let left = waiting(&admission).await;
    let stays = waiting(&admission).await;
    left.abort();
    assert!(left.await.unwrap_err().is_cancelled());
    assert_eq!(admission.snapshot().queued, 1);
    drop(held);
    drop(stays.await.unwrap().unwrap());
    assert_eq!(admission.snapshot().in_flight, 0);
}

#[tokio::test]
async fn nobody_waits_beyond_the_bounds() {
    let short = AdmissionSettings {
        max_wait_ms: 10,
        ..settings(1, 4)
    };
    let admission = admission(&short);
    let held = acquire(&admission).await.unwrap();
    assert_eq!(
        acquire(&admission).await.err(),
        Some(ShedReason::WaitedTooLong)
    );
    let soon = Instant::now() + Duration::from_millis(5);
    let shed = admission.acquire(Priority::Normal, soon).await.unwrap_err();
    assert_eq!(shed.reason, ShedReason::Deadline);
    assert!((1..=3).contains(&shed.retry_after.as_secs()));
    let past = admission.acquire(Priority::Operator, Instant::now()).await;
    assert_eq!(past.unwrap_err().reason, ShedReason::Deadline);
    assert_eq!(admission.snapshot().queued, 0);
    drop(held);
    assert!(acquire(&admission).await.is_ok());
}

#[tokio::test]
async fn switched_off_it_lets_everybody_in_and_switched_on_it_counts_anew() {
    let admission = admission(&settings(1, 4));
    let held = acquire(&admission).await.unwrap();
    let waits = [waiting(&admission).await, waiting(&admission).await];
    admission.set(&AdmissionSettings {
        enabled: false,
        ..settings(1, 4)
    });
    let mut tickets = vec![held];
    for task in waits {
        tickets.push(task.await.unwrap().unwrap());
    }
    let free = acquire(&admission).await.unwrap();
    admission.set(&settings(1, 0));
    assert_eq!(acquire(&admission).await.err(), Some(ShedReason::QueueFull));
    drop(tickets);
    assert!(acquire(&admission).await.is_ok());
    drop(free);
    assert_eq!(admission.snapshot().in_flight, 0);
}

#[tokio::test]
async fn a_higher_limit_wakes_those_who_wait() {
    let admission = admission(&settings(1, 4));
    let _held = acquire(&admission).await.unwrap();
    let next = waiting(&admission).await;
    admission.set(&settings(2, 4));
    assert!(next.await.unwrap().is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_at_once_keep_the_limit_and_all_are_served() {
    let admission = admission(&settings(3, 10_000));
    let (inside, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let tasks: Vec<_> = (0..2_000)
        .map(|number| {
            let (admission, inside, most) = (admission.clone(), inside.clone(), most.clone());
            tokio::spawn(async move {
                let waiting = acquire(&admission);
                // Every seventh gives up at some point, most of them while they wait.
                let acquired = if number % 7 == 0 {
                    let patience = Duration::from_micros(number);
                    tokio::time::timeout(patience, waiting).await.ok()
                } else {
                    Some(waiting.await)
                };
                let Some(acquired) = acquired else { return };
                let mut ticket = acquired.unwrap();
                most.fetch_max(inside.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                tokio::task::yield_now().await;
                inside.fetch_sub(1, Ordering::SeqCst);
                ticket.finish(Outcome::Answered);
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert!(most.load(Ordering::SeqCst) <= 3, "{most:?}");
    let snapshot = admission.snapshot();
    assert_eq!(
        (snapshot.in_flight, snapshot.queued, snapshot.shed),
        (0, 0, 0)
    );
}
