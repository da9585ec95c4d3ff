//! The vitals of the stores, read every few seconds by those who hold a connection anyway, and told as metrics.
//!
//! What was read last is told until the next time; while a store does not answer, nothing is told of it.

mod postgres;
mod redis;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
};
use sqlx::postgres::{PgPool, PgPoolOptions};

use ::redis::aio::MultiplexedConnection;

use crate::{
    Instance,
    redis::{Primary, Servers},
};

/// How often a store is asked.
const INTERVAL: Duration = Duration::from_secs(5);
/// How long it may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// Tells the vitals of the PostgreSQL that a pool is for, over a connection of its own: a busy pool must not hide them.
pub fn postgres(instance: &Instance, pool: &PgPool) {
    let followed = pool.clone();
    let pool = PgPoolOptions::new()
        .max_connections(1)
        .acquire_timeout(PATIENCE)
        .test_before_acquire(false)
        .connect_lazy_with((*pool.connect_options()).clone());
    keep(instance, "postgres", move || {
        pool.set_connect_options((*followed.connect_options()).clone());
        let pool = pool.clone();
        async move { postgres::read(&pool).await.ok() }
    });
}

/// Tells the vitals of a Redis; `store` says which: `redis` or `queue`. Of several servers, those of the one that is written to.
pub fn redis(instance: &Instance, servers: &Servers, store: &'static str) {
    let open: Arc<tokio::sync::Mutex<Option<(Primary, MultiplexedConnection)>>> = Arc::default();
    let servers = servers.clone();
    keep(instance, store, move || {
        let (servers, open) = (servers.clone(), open.clone());
        async move {
            let mut open = open.lock().await;
            // Taken, so that what fails or is given up is not used again.
            let (primary, mut connection) = match open.take() {
                Some(known) if servers.agree(&known.0).await => known,
                _ => {
                    let primary = servers.primary().await.ok()?;
                    let connection = primary.connect().await.ok()?;
                    (primary, connection)
                }
            };
            let readings = redis::read(&mut connection).await.ok()?;
            *open = Some((primary, connection));
            Some(readings)
        }
    });
}

fn keep<F>(instance: &Instance, store: &'static str, read: impl Fn() -> F + Send + Sync + 'static)
where
    F: Future<Output = Option<Vec<Reading>>> + Send + 'static,
{
    let board = Board {
        store,
        readings: Arc::default(),
    };
    let told = board.clone();
    instance
        .metrics()
        .register(|registry| registry.register_collector(Box::new(told)));
    let shutdown = instance.shutdown().clone();
    instance.spawn(async move {
        loop {
            let asked = tokio::time::timeout(PATIENCE, read());
            let readings = tokio::select! {
                readings = asked => readings.ok().flatten(),
                () = shutdown.requested() => return,
            };
            board.set(readings.unwrap_or_default());
            tokio::select! {
                () = tokio::time::sleep(INTERVAL) => {}
                () = shutdown.requested() => return,
            }
        }
    });
}

/// One figure.
#[derive(Clone, Debug, PartialEq)]
struct Reading {
    name: &'static str,
    help: &'static str,
    is_counter: bool,
    label: Option<(&'static str, String)>,
    value: f64,
}

impl Reading {
    fn gauge(name: &'static str, help: &'static str, value: f64) -> Self {
        Self {
            name,
            help,
            is_counter: false,
            label: None,
            value,
        }
    }

    fn counter(name: &'static str, help: &'static str, value: f64) -> Self {
        Self {
            is_counter: true,
            ..Self::gauge(name, help, value)
        }
    }

    fn of(mut self, label: &'static str, value: impl Into<String>) -> Self {
        self.label = Some((label, value.into()));
        self
    }
}

/// What was read last of one store. Readings of one name stand together.
#[derive(Clone, Debug)]
struct Board {
    store: &'static str,
    readings: Arc<Mutex<Vec<Reading>>>,
}

impl Board {
    fn set(&self, readings: Vec<Reading>) {
        *self.readings.lock().unwrap_or_else(PoisonError::into_inner) = readings;
    }
}

impl Collector for Board {
    fn encode(&self, mut encoder: DescriptorEncoder) -> std::fmt::Result {
        let readings = self.readings.lock().unwrap_or_else(PoisonError::into_inner);
        for group in readings.chunk_by(|a, b| a.name == b.name) {
            let Reading {
                name,
                help,
                is_counter,
                ..
            } = group[0];
            let kind = if is_counter {
                MetricType::Counter
            } else {
                MetricType::Gauge
            };
            let mut family = encoder.encode_descriptor(name, help, None, kind)?;
            for reading in group {
                let mut labels = vec![("store", self.store.to_owned())];
                labels.extend(reading.label.clone());
                let metric = family.encode_family(&labels)?;
                if is_counter {
                    ConstCounter::new(reading.value).encode(metric)?;
                } else {
                    ConstGauge::new(reading.value).encode(metric)?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Common, Service, Shutdown, testing::eventually};

    fn service() -> Service {
        Service::new("demo", &Common::for_tests("demo-1"), Shutdown::new()).unwrap()
    }

    fn redis_at(url: &str) -> Servers {
        Servers::parse(url, "demo").unwrap()
    }

    #[sqlx::test]
    async fn stores_that_answer_are_told_by_name(pool: PgPool) {
        let service = service();
        let instance = service.instance();
        postgres(instance, &pool);
        let url = crate::testing::redis_url().await;
        redis(instance, &redis_at(&url), "redis");
        redis(instance, &redis_at(&url), "queue");
        eventually("all three are told", || async {
            let text = instance.metrics().encode();
            [
                r#"recarga_postgres_transactions_total{role="demo",instance="demo-1",store="postgres",outcome="committed"}"#,
                r#"recarga_redis_memory_used_bytes{role="demo",instance="demo-1",store="redis"}"#,
                r#"recarga_redis_memory_used_bytes{role="demo",instance="demo-1",store="queue"}"#,
            ]
            .iter()
            .all(|series| text.contains(series))
        })
        .await;
        instance.shutdown().request();
    }

    #[tokio::test]
    async fn of_a_store_that_went_nothing_is_told() {
        let board = Board {
            store: "redis",
            readings: Arc::default(),
        };
        let service = service();
        let metrics = service.instance().metrics();
        let told = board.clone();
        metrics.register(|registry| registry.register_collector(Box::new(told)));
        board.set(vec![
            Reading::gauge("recarga_demo", "A figure", 1.0).of("kind", "a"),
            Reading::gauge("recarga_demo", "A figure", 2.5).of("kind", "b"),
        ]);
        let text = metrics.encode();
        assert_eq!(text.matches("# HELP recarga_demo").count(), 1, "{text}");
        assert!(text.contains(r#"store="redis",kind="b"} 2.5"#), "{text}");
        board.set(Vec::new());
        assert!(!metrics.encode().contains("recarga_demo"));
        // Nobody listens there: the task goes on asking, and stops when told.
        redis(service.instance(), &redis_at("redis://127.0.0.1:1"), "gone");
        service.instance().shutdown().request();
        let tasks = service.instance().tasks();
        tasks.close();
        tasks.wait().await;
        assert!(!metrics.encode().contains("recarga_redis"));
    }
}
