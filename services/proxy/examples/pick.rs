//! What a pick costs: `cargo run --release -p proxy --example pick`, figures in nanoseconds, medians of seven rounds.

#![expect(clippy::print_stdout, reason = "it prints figures")]

use std::hint::black_box;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use kit::discovery::Endpoint;
use proxy::{
    Admission, Balancing, Metrics, Outcome, PolicyKind, Pool, PoolSettings, Priority, Selection,
};

const ROUNDS: usize = 7;

fn pool(upstreams: u16, policy: PolicyKind) -> Pool {
    let settings = PoolSettings {
        balancing: Balancing {
            policy,
            ..Balancing::default()
        },
        ..PoolSettings::new("gateway")
    };
    let pool = Pool::new(settings, &Metrics::default());
    let endpoints: Vec<Endpoint> = (1..=upstreams)
        .map(|number| Endpoint {
            name: Some(format!("gateway-{number}")),
            address: SocketAddr::from(([127, 0, 0, 1], number)),
        })
        .collect();
    pool.set_endpoints(&endpoints);
    pool
}

/// One request as the edge does it: count it, pick, answer, let go.
fn request(pool: &Pool, key: u64) {
    pool.count_request();
    let selection = Selection {
        key: Some(key),
        ..Selection::default()
    };
    let now = Instant::now();
    if let Ok(mut lease) = pool.pick(black_box(&selection), now) {
        lease.answered(200, None, Instant::now());
    }
}

/// The median time of one call on each of so many threads at once.
fn measure(threads: usize, calls: u32, call: impl Fn(u64) + Sync) -> f64 {
    let mut rounds: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let started = Instant::now();
            std::thread::scope(|scope| {
                for thread in 0..threads {
                    let call = &call;
                    scope.spawn(move || {
                        for number in 0..calls {
                            call(u64::from(number) + thread as u64);
                        }
                    });
                }
            });
            started.elapsed().as_nanos() as f64 / f64::from(calls) / threads as f64
        })
        .collect();
    rounds.sort_by(f64::total_cmp);
    rounds[ROUNDS / 2]
}

fn main() {
    for policy in [
        PolicyKind::RoundRobin,
        PolicyKind::Weighted,
        PolicyKind::Random,
        PolicyKind::LeastOutstanding,
        PolicyKind::P2c,
        PolicyKind::ConsistentHash,
    ] {
        let three = pool(3, policy);
        let thirty = pool(30, policy);
        let one = measure(1, 200_000, |key| request(&three, key));
        let many = measure(1, 50_000, |key| request(&thirty, key));
        println!(
            "pick + answered + drop, {:17} 3 upstreams {one:5.0}, 30 upstreams {many:5.0}",
            policy.name()
        );
    }
    for threads in [2, 4, 8] {
        let shared = pool(3, PolicyKind::P2c);
        let each = measure(threads, 100_000, |key| request(&shared, key));
        println!("p2c, 3 upstreams, {threads} threads: {each:5.0} a request over all threads");
    }
    let admission = |enabled| {
        let pool = pool(3, PolicyKind::RoundRobin);
        let patch = serde_json::json!({"admission": {"enabled": enabled}});
        pool.update_balancing(&patch).expect("valid settings");
        pool.admission().clone()
    };
    for (name, admission) in [("off", admission(false)), ("on", admission(true))] {
        let deadline = Instant::now() + Duration::from_hours(1);
        let acquired = measure(1, 200_000, |_| acquire(&admission, deadline));
        println!("acquire + finish + drop, admission {name}: {acquired:5.0}");
    }
}

/// Lets one in: with room there is nothing to wait for.
fn acquire(admission: &Admission, deadline: Instant) {
    let acquire = std::pin::pin!(admission.acquire(Priority::Normal, deadline));
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    if let std::task::Poll::Ready(Ok(mut ticket)) = acquire.poll(&mut context) {
        ticket.finish(Outcome::Answered);
    }
}
