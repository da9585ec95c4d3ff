//! The count of all gateways together: one script in Redis, which is never waited for longer than a moment.
//!
//! While Redis is away, slow or refuses, every gateway counts by itself and an alarm is on. Requests do not find out that it is
//! back: a task of its own does, with a new connection, on which it runs the very script.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwapOption;
use kit::{Shutdown, outage::Outage, redis::Servers};
use prometheus_client::metrics::gauge::Gauge;
use redis::{RedisError, Script, aio::MultiplexedConnection};
use tokio::sync::Notify;

use crate::gcra::Rate;

/// Between two attempts to get Redis back.
const AGAIN: Duration = Duration::from_millis(250);
/// So many in a row may be late before Redis counts as slow.
const LATE: u32 = 3;
/// The cell that attempts count in.
const PROBE: &str = "limit:probe";

/// Admitted or not, and how many microseconds the cell is ahead.
pub type Answer = (bool, u64);

/// Cheap to clone.
#[derive(Clone)]
pub struct Shared(Arc<Inner>);

struct Inner {
    servers: Servers,
    script: Script,
    patience: Duration,
    /// None while Redis cannot be asked.
    connection: ArcSwapOption<MultiplexedConnection>,
    late: AtomicU32,
    lost: Notify,
    outage: Mutex<Outage>,
    degraded: Gauge,
}

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("Redis was late")]
    Late,
    #[error(transparent)]
    Redis(#[from] RedisError),
}

impl Shared {
    /// Waits at most `patience` for each answer. Nothing is counted before [`Self::open`].
    #[must_use]
    pub fn new(servers: Servers, patience: Duration, degraded: Gauge) -> Self {
        degraded.set(1);
        Self(Arc::new(Inner {
            servers,
            script: Script::new(include_str!("limit.lua")),
            patience,
            connection: ArcSwapOption::empty(),
            late: AtomicU32::new(0),
            lost: Notify::new(),
            outage: Mutex::new(Outage::new("counting together with the other gateways")),
            degraded,
        }))
    }

    /// Whether every gateway counts by itself at the moment.
    #[must_use]
    pub fn is_degraded(&self) -> bool {
        self.0.connection.load().is_none()
    }

    /// Counts a request in each of the cells, at once; none when that cannot be done now.
    pub async fn take(&self, cells: &[(String, Rate)]) -> Option<Vec<Answer>> {
        let connection = self.0.connection.load_full()?;
        let answered = self.run(&connection, cells).await;
        match answered {
            Ok(answers) => {
                // Almost always zero: a write would be shared by all threads.
                if self.0.late.load(Ordering::Relaxed) > 0 {
                    self.0.late.store(0, Ordering::Relaxed);
                }
                Some(answers)
            }
            Err(failure) => {
                let late = matches!(failure, Failure::Late)
                    && self.0.late.fetch_add(1, Ordering::Relaxed) + 1 < LATE;
                if !late {
                    self.lose(&connection, &failure);
                }
                None
            }
        }
    }

    async fn run(
        &self,
        connection: &MultiplexedConnection,
        cells: &[(String, Rate)],
    ) -> Result<Vec<Answer>, Failure> {
        let mut call = self.0.script.prepare_invoke();
        for (key, rate) in cells {
            call.key(&*self.0.servers.key(key))
                .arg(rate.interval)
                .arg(rate.tolerance());
        }
        let mut connection = connection.clone();
        let numbers: Vec<u64> =
            tokio::time::timeout(self.0.patience, call.invoke_async(&mut connection))
                .await
                .map_err(|_| Failure::Late)??;
        Ok(numbers
            .chunks_exact(2)
            .map(|pair| (pair[0] == 1, pair[1]))
            .collect())
    }

    /// Goes on without Redis, unless another request has noticed the loss of this connection already.
    fn lose(&self, connection: &Arc<MultiplexedConnection>, failure: &Failure) {
        let before = self.0.connection.compare_and_swap(connection, None);
        if before
            .as_ref()
            .is_some_and(|before| Arc::ptr_eq(before, connection))
        {
            self.failed(failure);
            self.0.lost.notify_one();
        }
    }

    fn failed(&self, failure: &Failure) {
        self.0.degraded.set(1);
        self.outage().failed(failure);
    }

    fn outage(&self) -> std::sync::MutexGuard<'_, Outage> {
        self.0.outage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tries to connect.
    pub async fn open(&self) {
        match self.connect().await {
            Ok(connection) => {
                self.0.late.store(0, Ordering::Relaxed);
                self.0.connection.store(Some(Arc::new(connection)));
                self.0.degraded.set(0);
                self.outage().over();
            }
            Err(failure) => self.failed(&failure),
        }
    }

    /// Connects again after each loss, until the shutdown.
    pub async fn keep(self, shutdown: Shutdown) {
        while !shutdown.is_requested() {
            if self.is_degraded() {
                self.open().await;
            }
            let lost = async {
                if self.is_degraded() {
                    tokio::time::sleep(AGAIN).await;
                } else {
                    self.0.lost.notified().await;
                }
            };
            tokio::select! {
                () = lost => {}
                () = shutdown.requested() => return,
            }
        }
    }

    /// A new connection, on which the script has run in time.
    async fn connect(&self) -> Result<MultiplexedConnection, Failure> {
        let mut connection = self.0.servers.connect().await?;
        // Not against the clock: the first call of a script is two.
        self.0.script.load_async(&mut connection).await?;
        let rate = Rate {
            interval: 1,
            burst: 1,
        };
        self.run(&connection, &[(PROBE.to_owned(), rate)]).await?;
        Ok(connection)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use redis::Client;

    use super::*;
    use crate::table::Period;

    /// One call of a sequence: which cell, at which rate, how long after the one before.
    type Step = (u8, u32, u32, u64);

    /// Runs the script on a clock of our own, and compares with the rule step by step.
    async fn compare(client: &Client, steps: &[Step]) -> Result<(), TestCaseError> {
        let text = include_str!("limit.lua");
        let ours = text
            .replace("redis.call('TIME')", "{ARGV[3], ARGV[4]}")
            // Their clock does not know of ours.
            .replace("math.ceil((cell - now) / 1000)", "600000");
        assert_ne!(text, ours);
        let script = Script::new(&ours);
        let mut connection = client
            .get_multiplexed_async_connection()
            .await
            .expect("the test Redis answers");
        redis::cmd("FLUSHDB")
            .query_async::<()>(&mut connection)
            .await
            .expect("an empty database");
        let mut cells = std::collections::HashMap::new();
        let mut now = 1_790_000_000_000_000_u64;
        for (cell, requests, burst, gap) in steps {
            let rate = Rate::new(*requests, Period::Second, *burst);
            now += gap;
            let numbers: Vec<u64> = script
                .key(format!("cell{cell}"))
                .arg(rate.interval)
                .arg(rate.tolerance())
                .arg(now / 1_000_000)
                .arg(now % 1_000_000)
                .invoke_async(&mut connection)
                .await
                .expect("the script runs");
            let (standing, after) = rate.decide(cells.get(cell).copied(), now);
            cells.insert(*cell, after);
            prop_assert_eq!(numbers, [u64::from(standing.admitted), after - now]);
        }
        Ok(())
    }

    #[test]
    fn the_script_decides_like_the_rule() {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let url = runtime.block_on(kit::testing::redis_url());
        let client = Client::open(url).expect("a URL");
        let step = (0_u8..3, 1_u32..2000, 1_u32..9, 0_u64..400_000);
        // A slower rate has brought the cell further than the next one can: that must not last.
        runtime
            .block_on(compare(
                &client,
                &[(1, 1, 1, 0), (1, 9, 1, 0), (1, 1, 1, 0)],
            ))
            .expect("they agree");
        let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
            cases: 40,
            failure_persistence: None,
            ..ProptestConfig::default()
        });
        runner
            .run(&proptest::collection::vec(step, 1..60), |steps| {
                runtime.block_on(compare(&client, &steps))
            })
            .expect("they agree");
    }

    #[tokio::test]
    async fn cells_of_one_trip_count_apart_and_go_away() {
        let url = kit::testing::redis_url().await;
        let client = Client::open(url).expect("a URL");
        let degraded = Gauge::default();
        let shared = Shared::new(
            Servers::one(client.clone()),
            Duration::from_secs(5),
            degraded.clone(),
        );
        let rate = Rate::new(1, Period::Minute, 1);
        let cells = [("a".to_owned(), rate), ("b".to_owned(), rate)];
        assert_eq!(shared.take(&cells).await, None, "not open yet");
        assert_eq!(degraded.get(), 1);
        shared.open().await;
        assert_eq!(degraded.get(), 0);
        let first = shared.take(&cells[..1]).await.expect("counted");
        assert_eq!(first, [(true, 60_000_000)]);
        let second = shared.take(&cells).await.expect("counted");
        assert!(!second[0].0 && second[0].1 <= 60_000_000, "{second:?}");
        assert_eq!(second[1], (true, 60_000_000));
        let mut connection = client
            .get_multiplexed_async_connection()
            .await
            .expect("the test Redis answers");
        for key in ["a", "b"] {
            let left: i64 = redis::cmd("PTTL")
                .arg(key)
                .query_async(&mut connection)
                .await
                .expect("a time");
            assert!((1..=60_000).contains(&left), "{key}: {left}");
        }
    }
}
