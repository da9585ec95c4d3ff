//! The raw loops against servers with planted faults.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use load::raw::{Closed, Expected, Open, Request, Stub};
use load::{Error, Schedule};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What the planted server does with a request, by its number.
enum Deed {
    Answer(&'static str),
    /// And closes the connection after it.
    Last(&'static str),
    Wait(Duration),
    /// Until the test is over.
    Hang,
}

const GOOD: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
const CHUNKED: &str =
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n";
const BUSY: &str = "HTTP/1.1 503 Busy\r\nContent-Length: 5\r\n\r\nhello";
const SHORT: &str = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nhell";
const BROKEN: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel";
const BYE: &str = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello";

struct Server {
    address: SocketAddr,
    _runtime: tokio::runtime::Runtime,
    _turn: MutexGuard<'static, ()>,
}

/// One test at a time has a server: times are measured, and some of the tests take all there is.
static TURN: Mutex<()> = Mutex::new(());

fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap()
}

fn planted(deed: impl Fn(u64) -> Deed + Send + Sync + 'static) -> Server {
    let (turn, runtime) = (turn(), runtime());
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    let (deed, requests) = (Arc::new(deed), Arc::new(AtomicU64::new(0)));
    runtime.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(stream, Arc::clone(&deed), Arc::clone(&requests)));
        }
    });
    Server {
        address,
        _runtime: runtime,
        _turn: turn,
    }
}

async fn answer(
    mut stream: TcpStream,
    deed: Arc<impl Fn(u64) -> Deed>,
    requests: Arc<AtomicU64>,
) -> std::io::Result<()> {
    let mut buffer = [0; 1024];
    // One read is one request: the loops do not pipeline, and their requests are short.
    while stream.read(&mut buffer).await? > 0 {
        match deed(requests.fetch_add(1, Ordering::SeqCst)) {
            Deed::Answer(text) => stream.write_all(text.as_bytes()).await?,
            Deed::Last(text) => return stream.write_all(text.as_bytes()).await,
            Deed::Wait(time) => {
                tokio::time::sleep(time).await;
                stream.write_all(GOOD.as_bytes()).await?;
            }
            Deed::Hang => std::future::pending().await,
        }
    }
    Ok(())
}

fn stub(stub: Stub) -> Server {
    let (turn, runtime) = (turn(), runtime());
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    runtime.spawn(stub.serve(listener));
    Server {
        address,
        _runtime: runtime,
        _turn: turn,
    }
}

fn closed(server: &Server) -> Closed {
    Closed {
        target: server.address,
        request: Request::get(server.address, "/5", &[]).unwrap(),
        expected: Expected::ok(Some(5)),
        connections: 4,
        threads: 1,
        warm_up: Duration::ZERO,
        duration: Duration::from_millis(300),
        patience: Duration::from_secs(10),
    }
}

fn open(server: &Server, rate: f64) -> Open {
    Open {
        target: server.address,
        request: Request::get(server.address, "/5", &[]).unwrap(),
        expected: Expected::ok(Some(5)),
        rate,
        schedule: Schedule::Constant,
        seed: 1,
        connections: 200,
        patience: Duration::from_secs(10),
        warm_up: Duration::ZERO,
        duration: Duration::from_millis(500),
    }
}

#[test]
fn good_answers_are_counted_and_samples_taken_at_both_ends() {
    let server = stub(Stub {
        bodies: vec![5, 65_536],
        service_time: Duration::ZERO,
        at_a_time: None,
    });
    for (path, body, threads) in [("/5", 5, 1), ("/65536", 65_536, 1), ("/5", 5, 2)] {
        let plan = Closed {
            request: Request::get(server.address, path, &[]).unwrap(),
            expected: Expected::ok(Some(body)),
            threads,
            warm_up: Duration::from_millis(50),
            ..closed(&server)
        };
        let samples = AtomicU64::new(0);
        let run = plan.run(|| samples.fetch_add(1, Ordering::SeqCst)).unwrap();
        assert_eq!((run.begin, run.end), (0, 1));
        assert_eq!(run.tally.errors(), 0, "{:?}", run.tally.first_error);
        assert_eq!(run.tally.latency().count, run.tally.good);
        assert!(run.tally.good > 0);
        assert!((run.rate - run.tally.good as f64 / 0.3).abs() < 1.0);
        assert!(run.generator_cpu.is_some() || !cfg!(target_os = "linux"));
    }
}

#[test]
fn every_fault_is_counted_for_what_it_is() {
    let planted_faults = Arc::new([const { AtomicU64::new(0) }; 4]);
    let counts = Arc::clone(&planted_faults);
    let server = planted(move |number| {
        let (kind, deed) = match number % 10 {
            1 => (0, Deed::Answer(BUSY)),
            3 => (1, Deed::Answer(SHORT)),
            5 => (2, Deed::Last(BROKEN)),
            7 => (3, Deed::Last(BYE)),
            8 => return Deed::Answer(CHUNKED),
            _ => return Deed::Answer(GOOD),
        };
        counts[kind].fetch_add(1, Ordering::SeqCst);
        deed
    });
    let tally = closed(&server).run(|| ()).unwrap().tally;
    let planted: Vec<u64> = planted_faults
        .iter()
        .map(|count| count.load(Ordering::SeqCst))
        .collect();
    assert!(planted.iter().all(|count| *count > 0), "{planted:?}");
    assert_eq!(
        [tally.wrong_status, tally.wrong_length, tally.broken],
        planted[..3]
    );
    assert!(tally.good > 0);
    // Each connection that ended was opened again, but for those that ended with the run.
    let closes = planted[2] + planted[3];
    assert!((closes.saturating_sub(4)..=closes).contains(&tally.reconnects));
    assert_eq!(
        tally.first_error.as_deref(),
        Some("answered with status 503")
    );
}

#[test]
fn a_stall_is_seen_and_a_request_without_an_answer_is_missed() {
    let stall = Duration::from_millis(150);
    let server = planted(move |number| match number {
        7 => Deed::Wait(stall),
        9 => Deed::Hang,
        _ => Deed::Answer(GOOD),
    });
    let plan = Closed {
        patience: Duration::from_millis(200),
        ..closed(&server)
    };
    let tally = plan.run(|| ()).unwrap().tally;
    assert!(tally.latency().max >= 150_000, "{:?}", tally.latency());
    assert_eq!((tally.unanswered, tally.errors()), (1, 1));
}

#[test]
fn load_stays_on_this_machine_and_needs_a_server() {
    let server = planted(|_| Deed::Answer(GOOD));
    let mut plan = closed(&server);
    plan.target = "192.0.2.1:80".parse().unwrap();
    assert!(matches!(plan.run(|| ()), Err(Error::Remote { .. })));
    let mut plan = open(&server, 10.0);
    plan.target = "192.0.2.1:80".parse().unwrap();
    assert!(matches!(plan.run(), Err(Error::Remote { .. })));

    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut plan = closed(&server);
    plan.target = nobody.local_addr().unwrap();
    plan.threads = 2;
    drop(nobody);
    assert!(matches!(
        plan.run(|| ()),
        Err(Error::NoAnswer { .. } | Error::Start(_))
    ));
}

#[test]
fn an_open_loop_sends_what_is_due_and_no_more() {
    let server = stub(Stub {
        bodies: vec![5],
        service_time: Duration::from_millis(5),
        at_a_time: None,
    });
    let arrivals = Open {
        warm_up: Duration::from_millis(100),
        ..open(&server, 400.0)
    }
    .run()
    .unwrap();
    assert!((199..=201).contains(&arrivals.due), "{arrivals:?}");
    assert_eq!(arrivals.accepted, arrivals.due, "{arrivals:?}");
    assert!(arrivals.accepted_latency.p50 >= 5_000, "{arrivals:?}");
    assert!((arrivals.goodput() - arrivals.accepted as f64 / 0.5).abs() < 1e-9);
}

#[test]
fn refusals_are_told_from_failures() {
    let server = planted(|number| match number % 3 {
        0 => Deed::Answer(BUSY),
        1 => Deed::Answer("HTTP/1.1 429 Slowly\r\nContent-Length: 0\r\n\r\n"),
        _ => Deed::Answer("HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n"),
    });
    let arrivals = open(&server, 600.0).run().unwrap();
    assert_eq!(arrivals.accepted, 0);
    assert_eq!(arrivals.refused, 200, "{arrivals:?}");
    assert_eq!(arrivals.failed, arrivals.due - 200, "{arrivals:?}");
    assert_eq!(
        arrivals.first_error.as_deref(),
        Some("answered with status 500")
    );
}

#[test]
fn more_than_a_server_can_do_is_given_up() {
    // A hundred a second at the most, and ten times that are due.
    let server = stub(Stub {
        bodies: vec![5],
        service_time: Duration::from_millis(10),
        at_a_time: Some(1),
    });
    let arrivals = Open {
        connections: 60,
        patience: Duration::from_millis(150),
        ..open(&server, 1000.0)
    }
    .run()
    .unwrap();
    let Open { duration, .. } = open(&server, 1000.0);
    let most = duration.as_millis() as u64 / 10 + 150 / 10 + 1;
    assert!((1..=most).contains(&arrivals.accepted), "{arrivals:?}");
    assert!(arrivals.given_up > arrivals.due / 2, "{arrivals:?}");
    // Without patience the last of sixty in line would be answered after 600 ms; an answer that is read late counts.
    assert!(arrivals.accepted_latency.max <= 400_000, "{arrivals:?}");
    let fates = [
        arrivals.accepted,
        arrivals.refused,
        arrivals.failed,
        arrivals.given_up,
    ];
    assert_eq!(fates.iter().sum::<u64>(), arrivals.due, "{arrivals:?}");
}

#[test]
fn the_stub_knows_its_paths() {
    let server = stub(Stub {
        bodies: vec![5],
        service_time: Duration::ZERO,
        at_a_time: Some(0),
    });
    // With no turn to be had only what needs none is answered.
    for (path, status, body) in [("/health", 200, 15), ("/6", 404, 0), ("/", 404, 0)] {
        let plan = Closed {
            request: Request::get(server.address, path, &[("X-A", "b")]).unwrap(),
            expected: Expected {
                status,
                body: Some(body),
            },
            duration: Duration::from_millis(50),
            ..closed(&server)
        };
        let tally = plan.run(|| ()).unwrap().tally;
        assert!(tally.good > 0 && tally.errors() == 0, "{path}: {tally:?}");
    }
    let plan = Closed {
        request: Request::get(server.address, "/5", &[("Content-Length", "1")]).unwrap(),
        expected: Expected {
            status: 400,
            body: Some(0),
        },
        duration: Duration::from_millis(50),
        ..closed(&server)
    };
    let tally = plan.run(|| ()).unwrap().tally;
    assert!(tally.good > 0 && tally.errors() == 0, "{tally:?}");
}
