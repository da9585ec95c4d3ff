//! Traffic against a real server with planted faults.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod server;

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use load::{
    Call, Client, Credentials, Error, Handle, Journal, Kind, Mix, Mode, Options, Outcome, Schedule,
    State, Traffic,
};
use server::Server;

fn options(server: &Server, mode: Mode, limit: Duration) -> Options {
    Options {
        mode,
        mix: Mix::only(Kind::Data),
        time_limit: limit,
        ..Options::new(server.url(), 1)
    }
}

fn open(rate: f64, connections: u32) -> Mode {
    Mode::Open {
        rate,
        schedule: Schedule::Constant,
        connections,
    }
}

/// Waits until the snapshot says so, for at most a minute.
async fn until(handle: &Handle, condition: impl Fn(&load::Snapshot) -> bool) {
    let mut pause = tokio::time::interval(Duration::from_millis(5));
    let wait = async {
        while !condition(&handle.snapshot()) {
            pause.tick().await;
        }
    };
    tokio::time::timeout(Duration::from_mins(1), wait)
        .await
        .expect("the condition comes true");
}

#[tokio::test]
async fn a_stall_shows_in_the_corrected_latency_where_the_raw_one_hides_it() {
    let stall = Some((200, Duration::from_millis(600)));
    let server = Server::start(server::State {
        stall_at: stall,
        ..Default::default()
    })
    .await;
    let report = Traffic::start(options(&server, open(400.0, 4), Duration::from_secs(3)))
        .unwrap()
        .wait()
        .await;

    let (raw, corrected) = (report.latency.service, report.latency.corrected);
    assert!(
        raw.p99 < 300_000,
        "only the four requests inside felt it: {raw:?}"
    );
    assert!(
        corrected.p99 > 400_000,
        "all that were due during it met it: {corrected:?}"
    );
    assert!(report.totals.late > 100, "{:?}", report.totals);
    assert_eq!(report.totals.dropped, 0);
    let worst = report
        .seconds
        .iter()
        .map(|second| second.p99)
        .max()
        .unwrap();
    assert!(worst > 400_000, "the series shows when: {worst}");
}

#[tokio::test]
async fn a_closed_loop_hides_the_same_stall() {
    let stall = Some((200, Duration::from_millis(600)));
    let server = Server::start(server::State {
        stall_at: stall,
        ..Default::default()
    })
    .await;
    let mode = Mode::Closed { connections: 4 };
    let report = Traffic::start(options(&server, mode, Duration::from_secs(2)))
        .unwrap()
        .wait()
        .await;
    assert!(
        report.latency.corrected.p99 < 300_000,
        "{:?}",
        report.latency.corrected
    );
    assert!(
        report.latency.corrected.max > 500_000,
        "{:?}",
        report.latency.corrected
    );
}

#[tokio::test]
async fn an_open_loop_keeps_its_rate_and_takes_a_new_one() {
    let server = Server::start(server::State::default()).await;
    let handle = Traffic::start(options(&server, open(250.0, 32), Duration::from_secs(4))).unwrap();
    until(&handle, |snapshot| snapshot.elapsed_seconds >= 2.0).await;
    handle.set_rate(1000.0);
    let changed = handle.snapshot();
    let report = handle.wait().await;

    let before = changed.totals.started as f64 / changed.elapsed_seconds;
    // Never more; a little less on a machine that has no time for it.
    assert!((200.0..=255.0).contains(&before), "{before}");
    let after =
        (report.totals.started - changed.totals.started) as f64 / (4.0 - changed.elapsed_seconds);
    assert!((600.0..=1020.0).contains(&after), "{after}");
    assert_eq!(report.totals.started, server.requests());
    assert_eq!(report.totals.statuses.success, report.totals.started);
}

#[tokio::test]
async fn poisson_keeps_its_rate_on_average() {
    let server = Server::start(server::State::default()).await;
    let mode = Mode::Open {
        rate: 1000.0,
        schedule: Schedule::Poisson,
        connections: 64,
    };
    let report = Traffic::start(options(&server, mode, Duration::from_secs(2)))
        .unwrap()
        .wait()
        .await;
    assert!(
        (1400..=2200).contains(&report.totals.started),
        "{:?}",
        report.totals
    );
}

#[tokio::test]
async fn a_rate_of_zero_pauses() {
    let server = Server::start(server::State::default()).await;
    let handle = Traffic::start(options(&server, open(0.0, 4), Duration::from_mins(1))).unwrap();
    until(&handle, |snapshot| snapshot.state == State::Running).await;
    assert_eq!(handle.snapshot().totals.started, 0);
    handle.set_rate(500.0);
    until(&handle, |snapshot| snapshot.totals.answered > 10).await;
    handle.stop().await;
}

#[tokio::test]
async fn stop_is_prompt_though_nothing_answers() {
    for mode in [Mode::Closed { connections: 8 }, open(200.0, 8)] {
        let server = Server::start(server::State::default()).await;
        server.state.stalled.send_replace(true);
        let handle = Traffic::start(options(&server, mode, Duration::from_mins(1))).unwrap();
        until(&handle, |snapshot| snapshot.in_flight == 8).await;
        let asked = Instant::now();
        let report = handle.stop().await;
        assert!(
            asked.elapsed() <= Duration::from_secs(1),
            "{:?}",
            asked.elapsed()
        );
        assert_eq!(report.totals.abandoned, 8);
        assert_eq!(
            report.latency.service.count, 8,
            "what was given up is not left out of the latencies"
        );
        assert!(!report.is_sound());
        let sent = server.requests();
        tokio::task::yield_now().await;
        assert_eq!(sent, server.requests());
    }
}

#[tokio::test]
async fn dropping_the_handle_stops_too() {
    let server = Server::start(server::State::default()).await;
    let told = Arc::new(Mutex::new(0));
    let counter = Arc::clone(&told);
    let journal = Journal::new(move |_| *counter.lock().unwrap() += 1);
    let mut options = options(&server, open(200.0, 2), Duration::from_mins(1));
    options.mix = Mix::only(Kind::Recharge);
    options.journal = Some(journal);
    let handle = Traffic::start(options).unwrap();
    until(&handle, |snapshot| snapshot.totals.answered > 5).await;
    drop(handle);
    let gone = async {
        while Arc::strong_count(&told) > 1 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(2), gone)
        .await
        .expect("everything that held the journal is gone");
}

#[tokio::test]
async fn the_time_limit_ends_it() {
    let server = Server::start(server::State::default()).await;
    let mode = Mode::Closed { connections: 2 };
    let report = Traffic::start(options(&server, mode, Duration::from_millis(300)))
        .unwrap()
        .wait()
        .await;
    assert!(
        (0.3..1.5).contains(&report.elapsed_seconds),
        "{}",
        report.elapsed_seconds
    );
    assert_eq!(report.totals.answered, server.requests());
}

#[tokio::test]
async fn what_cannot_start_in_time_is_dropped_and_said() {
    let server = Server::start(server::State::default()).await;
    server.state.stalled.send_replace(true);
    let mut options = options(&server, open(200.0, 2), Duration::from_mins(1));
    options.patience = Duration::from_millis(100);
    let handle = Traffic::start(options).unwrap();
    until(&handle, |snapshot| snapshot.totals.dropped > 20).await;
    let snapshot = handle.snapshot();
    assert!(snapshot.generator.waiting > 0);
    assert_eq!(snapshot.totals.started, 2);
    let report = handle.stop().await;
    assert!(
        report
            .warnings
            .iter()
            .any(|warning| warning.contains("never sent")),
        "{:?}",
        report.warnings
    );
}

#[tokio::test]
async fn a_slow_answer_times_out_and_the_connection_is_replaced() {
    let server = Server::start(server::State {
        stall_at: Some((1, Duration::from_millis(300))),
        ..Default::default()
    })
    .await;
    let mut options = options(
        &server,
        Mode::Closed { connections: 1 },
        Duration::from_mins(1),
    );
    options.request_timeout = Duration::from_millis(100);
    let handle = Traffic::start(options).unwrap();
    until(&handle, |snapshot| snapshot.totals.answered > 3).await;
    let report = handle.stop().await;
    assert!(report.totals.timed_out >= 1, "{:?}", report.totals);
    assert!(report.generator.connects >= 2);
    assert!(report.last_error.unwrap().contains("no answer"));
}

#[tokio::test]
async fn nothing_goes_to_another_machine_without_leave() {
    for remote in [
        "http://192.0.2.1:8000",
        "http://example.org",
        "http://[2001:db8::1]:8000",
    ] {
        let refused = Traffic::start(Options::new(remote, 1)).unwrap_err();
        assert!(matches!(refused, Error::Remote { .. }), "{refused}");
        assert!(refused.to_string().contains("--allow-remote"));
        let refused =
            Client::new(remote, false, Credentials::Demo, Duration::from_secs(1), 1).unwrap_err();
        assert!(matches!(refused, Error::Remote { .. }), "{refused}");
    }
}

#[tokio::test]
async fn senseless_options_are_refused_by_name() {
    type Change = fn(&mut Options);
    let server = Server::start(server::State::default()).await;
    let cases: [(&str, Change); 6] = [
        ("time limit", |options| options.time_limit = Duration::ZERO),
        ("time limit", |options| {
            options.time_limit = Duration::from_hours(25);
        }),
        ("rate cap", |options| options.rate_cap = 0.0),
        ("connections", |options| {
            options.mode = Mode::Closed { connections: 0 }
        }),
        ("rate", |options| options.mode = open(f64::NAN, 1)),
        ("mix", |options| options.mix = Mix::of(&[])),
    ];
    for (name, change) in cases {
        let mut options = Options::new(server.url(), 1);
        change(&mut options);
        let Err(Error::Option { option, .. }) = Traffic::start(options) else {
            panic!("{name} passed")
        };
        assert_eq!(option, name);
    }
}

#[tokio::test]
async fn the_cap_holds_in_both_loops() {
    let server = Server::start(server::State::default()).await;
    for mode in [Mode::Closed { connections: 16 }, open(5000.0, 16)] {
        let mut options = options(&server, mode, Duration::from_secs(1));
        options.rate_cap = 200.0;
        let report = Traffic::start(options).unwrap().wait().await;
        assert!(
            (120..=210).contains(&report.totals.started),
            "{mode:?}: {:?}",
            report.totals
        );
    }
}

#[tokio::test]
async fn results_are_kept_by_gateway_cache_and_kind() {
    let server = Server::start(server::State::default()).await;
    let mut options = options(
        &server,
        Mode::Closed { connections: 4 },
        Duration::from_mins(1),
    );
    options.mix = Mix::of(&Kind::ALL.map(|kind| (kind, 1)));
    let handle = Traffic::start(options).unwrap();
    until(&handle, |snapshot| {
        snapshot.totals.answered > 3000 && snapshot.window.seconds > 0
    })
    .await;
    let report = handle.stop().await;

    assert_eq!(report.gateways.len(), 3);
    let all: u64 = report.gateways.values().sum();
    assert!(
        report
            .gateways
            .values()
            .all(|count| count * 3 > all * 9 / 10),
        "{:?}",
        report.gateways
    );
    assert_eq!(
        report
            .cache
            .iter()
            .map(|count| count.result.as_str())
            .collect::<Vec<_>>(),
        ["HIT", "MISS"]
    );
    assert_eq!(
        report
            .calls
            .iter()
            .map(|call| call.totals.answered)
            .sum::<u64>(),
        report.totals.answered
    );
    assert_eq!(report.calls.len(), Kind::ALL.len());
    let text = report.to_string();
    assert!(
        text.contains("POST /recharges") && text.contains("gateway-2"),
        "{text}"
    );
    let again: load::Report =
        serde_json::from_str(&serde_json::to_string(&report).unwrap()).unwrap();
    assert_eq!(again.totals, report.totals);
}

#[tokio::test]
async fn the_journal_hears_of_every_write_under_its_own_key() {
    let server = Server::start(server::State::default()).await;
    let heard = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&heard);
    let mut options = options(
        &server,
        Mode::Closed { connections: 4 },
        Duration::from_mins(1),
    );
    options.mix = Mix::of(&[(Kind::Recharge, 3), (Kind::Balance, 1)]);
    options.journal = Some(Journal::new(move |write| sink.lock().unwrap().push(write)));
    let handle = Traffic::start(options).unwrap();
    until(&handle, |snapshot| snapshot.totals.answered > 500).await;
    let report = handle.stop().await;

    let heard = heard.lock().unwrap();
    let recharges = report
        .calls
        .iter()
        .find(|call| call.kind == Kind::Recharge)
        .unwrap();
    assert_eq!(heard.len() as u64, recharges.totals.started);
    let keys = server.state.keys.lock().unwrap();
    assert_eq!(
        keys.len(),
        server.state.bodies.lock().unwrap().len(),
        "no key is used twice"
    );
    for write in heard.iter() {
        assert!(keys.contains(&write.idempotency_key));
        assert!(
            matches!(&write.outcome, Outcome::Acknowledged { status: 200, body } if !body.is_empty())
        );
    }
}

#[tokio::test]
async fn a_server_error_leaves_the_outcome_unknown() {
    let server = Server::start(server::State {
        status: 503,
        ..Default::default()
    })
    .await;
    let heard = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&heard);
    let mut options = options(
        &server,
        Mode::Closed { connections: 1 },
        Duration::from_mins(1),
    );
    options.mix = Mix::only(Kind::Recharge);
    options.journal = Some(Journal::new(move |write| sink.lock().unwrap().push(write)));
    let handle = Traffic::start(options).unwrap();
    until(&handle, |snapshot| {
        snapshot.totals.statuses.server_error > 3
    })
    .await;
    handle.stop().await;
    assert!(
        heard
            .lock()
            .unwrap()
            .iter()
            .any(|write| matches!(write.outcome, Outcome::Unknown { status: Some(503) }))
    );
}

#[tokio::test]
async fn a_refused_token_is_replaced() {
    let server = Server::start(server::State::default()).await;
    server.state.newest_token_only.store(true, Ordering::SeqCst);
    let handle = Traffic::start(options(&server, open(50.0, 2), Duration::from_mins(1))).unwrap();
    until(&handle, |snapshot| snapshot.totals.statuses.success > 5).await;
    server.state.tokens.fetch_add(1, Ordering::SeqCst);
    until(&handle, |snapshot| {
        snapshot.totals.statuses.client_error > 0
    })
    .await;
    until(&handle, |snapshot| snapshot.generator.tokens == 2).await;
    let refused = handle.snapshot().totals.statuses.success;
    until(&handle, |snapshot| {
        snapshot.totals.statuses.success > refused + 5
    })
    .await;
    handle.stop().await;
}

#[tokio::test]
async fn a_server_that_closes_each_connection_is_no_failure() {
    let server = Server::start(server::State::default()).await;
    server.state.close.store(true, Ordering::SeqCst);
    let handle = Traffic::start(options(
        &server,
        Mode::Closed { connections: 2 },
        Duration::from_mins(1),
    ))
    .unwrap();
    until(&handle, |snapshot| snapshot.totals.answered > 100).await;
    let report = handle.stop().await;
    assert_eq!(report.totals.failed, 0, "{:?}", report.last_error);
    assert!(report.generator.connects >= 100);
}

#[tokio::test]
async fn connections_come_and_go() {
    for mode in [Mode::Closed { connections: 2 }, open(2000.0, 2)] {
        let server = Server::start(server::State::default()).await;
        server.state.stalled.send_replace(true);
        let handle = Traffic::start(options(&server, mode, Duration::from_mins(1))).unwrap();
        until(&handle, |snapshot| snapshot.in_flight == 2).await;
        handle.set_connections(7);
        until(&handle, |snapshot| snapshot.in_flight == 7).await;
        handle.set_connections(3);
        server.state.stalled.send_replace(false);
        until(&handle, |snapshot| snapshot.totals.answered > 50).await;
        server.state.stalled.send_replace(true);
        until(&handle, |snapshot| snapshot.in_flight == 3).await;
        handle.stop().await;
    }
}

#[tokio::test]
async fn a_target_that_is_not_there_is_reported_without_a_storm() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let mut options = Options::new(format!("http://{address}"), 1);
    options.mode = Mode::Closed { connections: 4 };
    let handle = Traffic::start(options).unwrap();
    until(&handle, |snapshot| snapshot.elapsed_seconds > 1.0).await;
    let report = handle.stop().await;
    assert!(
        (4..400).contains(&report.totals.failed),
        "{:?}",
        report.totals
    );
    assert!(report.last_error.unwrap().contains("cannot connect"));
}

#[tokio::test]
async fn a_client_makes_single_calls_and_bursts() {
    let server = Server::start(server::State::default()).await;
    let client = Client::new(
        &server.url(),
        false,
        Credentials::Demo,
        Duration::from_secs(2),
        7,
    )
    .unwrap();
    let recharge = Call::Recharge {
        card: 1,
        amount: 5000,
    };
    let answer = client.once(&recharge).await.unwrap();
    assert!(answer.is_success() && answer.gateway.is_some() && answer.body["task_id"] == 1);
    let burst = client.burst(vec![recharge; 40], 8).await.unwrap();
    assert_eq!((burst.sent, burst.succeeded), (40, 40));
    assert_eq!(server.state.keys.lock().unwrap().len(), 41);
    assert_eq!(
        server.state.bodies.lock().unwrap()[0],
        r#"{"card_id":1,"amount":5000}"#
    );
    assert_eq!(server.state.tokens.load(Ordering::SeqCst), 1);
}

/// What a server that always fails gets of five hundred requests, and how many keys they carry.
async fn storm(retries: load::Retries, keyed: bool) -> (load::Totals, u64, usize) {
    let server = Server::start(server::State {
        status: 503,
        ..Default::default()
    })
    .await;
    let options = Options {
        retries,
        keyed,
        mix: load::Mix::of(&[(load::Kind::Recharge, 1)]),
        ..options(&server, open(500.0, 8), Duration::from_secs(1))
    };
    let report = Traffic::start(options).unwrap().wait().await;
    let keys = server.state.keys.lock().unwrap().len();
    let requests = server
        .state
        .requests
        .load(std::sync::atomic::Ordering::SeqCst);
    (report.totals, requests, keys)
}

#[tokio::test]
async fn retries_multiply_the_load_and_a_budget_bounds_them() {
    let none = load::Retries::default();
    let careless = load::Retries {
        most: 3,
        budget_percent: None,
    };
    let careful = load::Retries {
        budget_percent: Some(10.0),
        ..careless
    };
    let (totals, requests, keys) = storm(none, true).await;
    assert_eq!((totals.started, totals.retried), (requests, 0));
    assert_eq!(keys as u64, requests);
    let (totals, requests, keys) = storm(careless, true).await;
    let first = totals.started - totals.retried;
    assert_eq!((totals.started, totals.retries_denied), (requests, 0));
    assert!(totals.retried >= 3 * (first - 8), "{totals:?}");
    assert_eq!(keys as u64, first, "a request keeps its key");
    let (totals, _, _) = storm(careful, true).await;
    let first = totals.started - totals.retried;
    assert!(totals.retried * 10 <= first, "{totals:?}");
    assert!(
        totals.retried > 0 && totals.retries_denied > 0,
        "{totals:?}"
    );
    let (_, _, keys) = storm(careless, false).await;
    assert_eq!(keys, 0, "none carries a key");
}
