//! Each queue's figures as metrics, and how fast they move: read from Redis once a second.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, PoisonError, atomic::AtomicU64},
    time::{Duration, Instant},
};

use kit::Instance;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
};

use crate::{
    Error, QueueName,
    store::{Figures, Store},
};

/// How often the figures are read.
const EVERY: Duration = Duration::from_secs(1);
/// Over how many readings a rate is taken.
const WINDOW: usize = 6;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Labels {
    queue: String,
}

/// Messages a second, over the last few seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rate {
    pub sent: f64,
    pub received: f64,
    pub acknowledged: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Reading {
    at: Instant,
    sent: u64,
    received: u64,
    acknowledged: u64,
}

/// The recent readings of all queues.
#[derive(Default)]
pub struct Rates(Mutex<HashMap<QueueName, VecDeque<Reading>>>);

impl Rates {
    pub fn of(&self, queue: &QueueName) -> Rate {
        let queues = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        queues.get(queue).map(rate).unwrap_or_default()
    }

    /// Drops the readings of queues that are gone; gives their names.
    fn forget_all_but(&self, queues: &[QueueName]) -> Vec<QueueName> {
        let mut readings = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        readings
            .extract_if(|queue, _| !queues.contains(queue))
            .map(|(queue, _)| queue)
            .collect()
    }

    fn note(&self, queue: &QueueName, reading: Reading) {
        let mut queues = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let readings = queues.entry(queue.clone()).or_default();
        if readings.len() == WINDOW {
            readings.pop_front();
        }
        readings.push_back(reading);
    }
}

fn rate(readings: &VecDeque<Reading>) -> Rate {
    let (Some(first), Some(last)) = (readings.front(), readings.back()) else {
        return Rate::default();
    };
    let seconds = (last.at - first.at).as_secs_f64();
    if seconds <= 0.0 {
        return Rate::default();
    }
    let per_second = |before: u64, after: u64| after.saturating_sub(before) as f64 / seconds;
    Rate {
        sent: per_second(first.sent, last.sent),
        received: per_second(first.received, last.received),
        acknowledged: per_second(first.acknowledged, last.acknowledged),
    }
}

#[derive(Clone, Default)]
struct Metrics {
    depth: Family<Labels, Gauge>,
    in_flight: Family<Labels, Gauge>,
    delayed: Family<Labels, Gauge>,
    waiting: Family<Labels, Gauge>,
    bytes: Family<Labels, Gauge>,
    dead: Family<Labels, Gauge>,
    oldest_age: Family<Labels, Gauge<f64, AtomicU64>>,
    sent: Family<Labels, Counter>,
    received: Family<Labels, Counter>,
    acknowledged: Family<Labels, Counter>,
    redelivered: Family<Labels, Counter>,
}

impl Metrics {
    fn register(instance: &Instance) -> Self {
        let metrics = Self::default();
        instance.metrics().register(|registry| {
            let gauges = [
                (
                    "depth",
                    "Messages waiting, delayed ones included",
                    &metrics.depth,
                ),
                (
                    "in_flight",
                    "Messages received and not yet acknowledged",
                    &metrics.in_flight,
                ),
                ("delayed", "Messages that are not due yet", &metrics.delayed),
                (
                    "waiting",
                    "Messages behind another one with their ordering key",
                    &metrics.waiting,
                ),
                (
                    "bytes",
                    "Bytes of the bodies of all messages that did not end",
                    &metrics.bytes,
                ),
                ("dead", "Messages given up", &metrics.dead),
            ];
            for (name, help, gauge) in gauges {
                registry.register(format!("recarga_queue_{name}"), help, gauge.clone());
            }
            registry.register(
                "recarga_queue_oldest_age_seconds",
                "How long the oldest waiting message has waited; 0 without one",
                metrics.oldest_age.clone(),
            );
            let counters = [
                ("sent", "Messages taken in", &metrics.sent),
                ("received", "Deliveries", &metrics.received),
                (
                    "acknowledged",
                    "Messages ended by their consumer",
                    &metrics.acknowledged,
                ),
                (
                    "redelivered",
                    "Deliveries after the first",
                    &metrics.redelivered,
                ),
            ];
            for (name, help, counter) in counters {
                registry.register(format!("recarga_queue_{name}"), help, counter.clone());
            }
        });
        metrics
    }

    fn show(&self, queue: &QueueName, figures: &Figures) {
        let labels = Labels {
            queue: queue.to_string(),
        };
        for (gauge, value) in [
            (&self.depth, figures.depth),
            (&self.in_flight, figures.in_flight),
            (&self.delayed, figures.delayed),
            (&self.waiting, figures.waiting),
            (&self.bytes, figures.bytes),
            (&self.dead, figures.dead),
        ] {
            gauge
                .get_or_create(&labels)
                .set(i64::try_from(value).unwrap_or(i64::MAX));
        }
        self.oldest_age
            .get_or_create(&labels)
            .set(figures.oldest_age.as_secs_f64());
        // The totals live in Redis and count for all instances; a total that went back was lost with its Redis.
        for (counter, total) in [
            (&self.sent, figures.sent),
            (&self.received, figures.received),
            (&self.acknowledged, figures.acknowledged),
            (&self.redelivered, figures.redelivered),
        ] {
            let counter = counter.get_or_create(&labels);
            counter.inc_by(total.saturating_sub(counter.get()));
        }
    }
}

impl Metrics {
    /// Takes a queue that is gone off the screen.
    fn remove(&self, queue: &QueueName) {
        let labels = Labels {
            queue: queue.to_string(),
        };
        for gauge in [
            &self.depth,
            &self.in_flight,
            &self.delayed,
            &self.waiting,
            &self.bytes,
            &self.dead,
        ] {
            gauge.remove(&labels);
        }
        self.oldest_age.remove(&labels);
        for counter in [
            &self.sent,
            &self.received,
            &self.acknowledged,
            &self.redelivered,
        ] {
            counter.remove(&labels);
        }
    }
}

/// Reads all queues' figures every second until the shutdown.
pub fn refresh(instance: &Instance, store: Store) -> Arc<Rates> {
    let rates = Arc::new(Rates::default());
    let metrics = Metrics::register(instance);
    let (kept, shutdown) = (rates.clone(), instance.shutdown().clone());
    instance.spawn(async move {
        loop {
            if let Err(error) = read(&store, &metrics, &kept).await {
                tracing::debug!(error = %error, "the queues' figures cannot be read");
            }
            tokio::select! {
                () = tokio::time::sleep(EVERY) => {}
                () = shutdown.requested() => return,
            }
        }
    });
    rates
}

async fn read(store: &Store, metrics: &Metrics, rates: &Rates) -> Result<(), Error> {
    let queues = store.queues().await?;
    for gone in rates.forget_all_but(&queues) {
        metrics.remove(&gone);
    }
    for queue in queues {
        let figures = store.figures(&queue).await?;
        metrics.show(&queue, &figures);
        rates.note(
            &queue,
            Reading {
                at: Instant::now(),
                sent: figures.sent,
                received: figures.received,
                acknowledged: figures.acknowledged,
            },
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_taken_over_the_window() {
        let start = Instant::now();
        let reading = |seconds, sent| Reading {
            at: start + Duration::from_secs(seconds),
            sent,
            received: 0,
            acknowledged: 0,
        };
        assert_eq!(rate(&VecDeque::new()), Rate::default());
        assert_eq!(rate(&VecDeque::from([reading(0, 5)])), Rate::default());
        let rate_of = |readings: &[Reading]| rate(&readings.iter().copied().collect()).sent;
        assert!((rate_of(&[reading(0, 10), reading(1, 15), reading(4, 30)]) - 5.0).abs() < 1e-9);
        // Redis came back empty.
        assert!(rate_of(&[reading(0, 10), reading(1, 0)]).abs() < 1e-9);
    }
}
