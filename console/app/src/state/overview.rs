//! The numbers of the overview, derived from the instances: sums, shares, ratios, merged percentiles.

use super::{
    State,
    histogram::{Histogram, Percentiles},
    instance::{Instance, Role},
    sample::{Counter, Gauge, Lookup},
};

/// The stores as an operator calls them, and the gauges that tell of them.
pub const STORES: [(&str, Gauge); 3] = [
    ("PostgreSQL", Gauge::PostgresUp),
    ("Redis", Gauge::RedisUp),
    ("queue's Redis", Gauge::QueueRedisUp),
];

/// A ratio with the number of events it stands on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ratio {
    pub value: f64,
    pub events: u64,
}

impl Ratio {
    fn of(part: f64, rest: f64) -> Option<Self> {
        let whole = part + rest;
        (whole > 0.0).then(|| Self {
            value: part / whole,
            events: whole as u64,
        })
    }
}

/// A gateway's part of the requests, 0 to 1.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Share {
    pub observed: Option<f64>,
    /// Its weight over the weights of all that are up.
    pub expected: Option<f64>,
}

impl Share {
    /// Whether the balancers know it and send it nothing.
    pub fn is_left_out(self) -> bool {
        self.expected == Some(0.0)
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Latency {
    pub cached: Option<Percentiles>,
    pub uncached: Option<Percentiles>,
    /// At the front door, everything.
    pub all: Option<Percentiles>,
    /// How many gateways the first two were merged from.
    pub gateways: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CacheView {
    /// Over the window.
    pub now: Option<Ratio>,
    /// Since the cache service started, restarts that this console saw included.
    pub ever: Option<Ratio>,
    pub entries: Option<u64>,
    pub bytes: Option<f64>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct QueueView {
    pub name: String,
    pub depth: Option<f64>,
    pub in_flight: Option<f64>,
    pub dead: Option<f64>,
    /// Seconds.
    pub oldest_age: Option<f64>,
    /// Sent and acknowledged per second.
    pub sent: Option<f64>,
    pub acknowledged: Option<f64>,
}

/// Whether those who use a store reach it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Store {
    #[default]
    Unknown,
    Up,
    /// So many of its users do not reach it.
    Away {
        failing: usize,
        users: usize,
    },
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Host {
    /// 0 to 1, over all cores.
    pub cpu: Option<f64>,
    pub cores: Option<f64>,
    pub memory_used: Option<f64>,
    pub memory_total: Option<f64>,
}

impl State {
    fn of_role(&self, role: &Role) -> impl Iterator<Item = &Instance> {
        let role = role.clone();
        self.instances
            .iter()
            .filter(move |instance| instance.place.role == role)
    }

    /// A sum over instances of one role; unknown if none of them knows.
    fn sum(&self, role: &Role, value: impl Fn(&Instance) -> Option<f64>) -> Option<f64> {
        self.of_role(role).filter_map(value).reduce(|a, b| a + b)
    }

    /// Requests per second at the front door, over the window.
    pub fn request_rate(&self) -> Option<f64> {
        self.sum(&Role::Balancer, |i| i.rate(&Counter::Requests, self.lens()))
    }

    /// 5xx answers per second at the front door, over the window.
    pub fn error_rate(&self) -> Option<f64> {
        self.sum(&Role::Balancer, |i| i.rate(&Counter::Errors, self.lens()))
    }

    /// What the balancers sent to this gateway, of all they sent in the window, against what its weight promises.
    pub fn share(&self, gateway: &Instance) -> Share {
        let mut sent = 0.0;
        let mut all = 0.0;
        let mut weight = None;
        let mut weights = 0.0;
        for balancer in self.of_role(&Role::Balancer) {
            if !balancer.is_fresh(self.at()) {
                continue;
            }
            let labels = balancer.history.labels(|counter| match counter {
                Counter::Upstream(label) => Some(label.as_str()),
                _ => None,
            });
            for label in labels {
                let grown = balancer
                    .history
                    .grown(&Counter::Upstream(label.to_owned()), self.lens())
                    .unwrap_or(0.0);
                all += grown;
                if gateway.is_called(label) {
                    sent += grown;
                }
            }
            for (gauge, &own) in balancer.history.gauges() {
                let Gauge::UpstreamWeight(label) = gauge else {
                    continue;
                };
                let up = balancer.history.gauge(&Gauge::UpstreamUp(label.clone()));
                let counted = if up == Some(0.0) { 0.0 } else { own };
                weights += counted;
                if gateway.is_called(label) {
                    weight = Some(weight.unwrap_or(0.0) + counted);
                }
            }
        }
        Share {
            observed: (all > 0.0).then(|| sent / all),
            expected: weight.filter(|_| weights > 0.0).map(|own| own / weights),
        }
    }

    /// Percentiles of the window, from histograms merged over all gateways (and at the balancer for the total).
    pub fn latency(&self) -> Latency {
        let mut cached = Histogram::default();
        let mut uncached = Histogram::default();
        let mut gateways = 0;
        for (hits, rest) in self.windows_of(&Role::Gateway) {
            cached.merge(&hits);
            uncached.merge(&rest);
            gateways += 1;
        }
        let mut all = Histogram::default();
        for (hits, rest) in self.windows_of(&Role::Balancer) {
            all.merge(&hits);
            all.merge(&rest);
        }
        Latency {
            cached: cached.percentiles(),
            uncached: uncached.percentiles(),
            all: all.percentiles(),
            gateways,
        }
    }

    fn windows_of(&self, role: &Role) -> impl Iterator<Item = (Histogram, Histogram)> {
        self.of_role(role)
            .filter(|instance| instance.is_fresh(self.at()))
            .filter_map(|instance| instance.history.latencies(self.lens()))
    }

    /// The window's percentiles of one instance, everything it answered.
    pub fn latency_of(&self, instance: &Instance) -> Option<Percentiles> {
        if !instance.is_fresh(self.at()) {
            return None;
        }
        let (mut all, rest) = instance.history.latencies(self.lens())?;
        all.merge(&rest);
        all.percentiles()
    }

    pub fn cache(&self) -> CacheView {
        // Without its store the service only repeats what it saw last.
        let knows = |i: &Instance| i.gauge(&Gauge::RedisUp, self.at()) != Some(0.0);
        let gauge = |gauge: Gauge| {
            self.sum(&Role::Cache, |i| {
                i.gauge(&gauge, self.at()).filter(|_| knows(i))
            })
        };
        CacheView {
            now: self.hit_ratio(|i, counter| i.history.grown(counter, self.lens())),
            ever: self.hit_ratio(|i, counter| i.history.total(counter)),
            entries: gauge(Gauge::CacheEntries).map(|count| count as u64),
            bytes: gauge(Gauge::CacheBytes),
        }
    }

    /// Hits over hits and misses, as the gateways gave them: from their own memory or from the cache service.
    fn hit_ratio(&self, value: impl Fn(&Instance, &Counter) -> Option<f64>) -> Option<Ratio> {
        let fresh = |counter: &Counter| {
            self.sum(&Role::Gateway, |instance| {
                instance
                    .is_fresh(self.at())
                    .then(|| value(instance, counter))
                    .flatten()
            })
        };
        let hits = fresh(&Counter::Lookup(Lookup::Hit));
        let stale = fresh(&Counter::Lookup(Lookup::Stale));
        let misses = fresh(&Counter::Lookup(Lookup::Miss));
        if hits.is_none() && misses.is_none() {
            return None;
        }
        let hits = hits.unwrap_or(0.0) + stale.unwrap_or(0.0);
        Ratio::of(hits, misses.unwrap_or(0.0))
    }

    /// Every queue of the queue service, by name.
    pub fn queues(&self) -> Vec<QueueView> {
        let Some(queue) = self.of_role(&Role::Queue).find(|i| i.is_fresh(self.at())) else {
            return Vec::new();
        };
        // Without its store the service only repeats what it saw last.
        let knows = queue.gauge(&Gauge::RedisUp, self.at()) != Some(0.0);
        let of = |gauge: Gauge| queue.gauge(&gauge, self.at()).filter(|_| knows);
        let per_second = |counter: Counter| queue.rate(&counter, self.lens());
        queue
            .history
            .gauges()
            .keys()
            .filter_map(|gauge| match gauge {
                Gauge::QueueDepth(name) => Some(name),
                _ => None,
            })
            .map(|name| QueueView {
                name: name.clone(),
                depth: of(Gauge::QueueDepth(name.clone())),
                in_flight: of(Gauge::QueueInFlight(name.clone())),
                dead: of(Gauge::QueueDead(name.clone())),
                oldest_age: of(Gauge::QueueOldestAge(name.clone())),
                sent: per_second(Counter::QueueSent(name.clone())),
                acknowledged: per_second(Counter::QueueAcknowledged(name.clone())),
            })
            .collect()
    }

    /// All queues as one; the oldest age is the greatest.
    pub fn queue_total(&self) -> QueueView {
        let add = |a: Option<f64>, b: Option<f64>| match (a, b) {
            (Some(a), Some(b)) => Some(a + b),
            (a, b) => a.or(b),
        };
        // A service that reaches its store and shows no queue has none yet: nothing waits.
        let knows = self
            .of_role(&Role::Queue)
            .any(|queue| queue.gauge(&Gauge::RedisUp, self.at()) == Some(1.0));
        let none = QueueView {
            depth: knows.then_some(0.0),
            in_flight: knows.then_some(0.0),
            ..QueueView::default()
        };
        self.queues()
            .into_iter()
            .fold(none, |total, queue| QueueView {
                name: String::new(),
                depth: add(total.depth, queue.depth),
                in_flight: add(total.in_flight, queue.in_flight),
                dead: add(total.dead, queue.dead),
                oldest_age: match (total.oldest_age, queue.oldest_age) {
                    (Some(a), Some(b)) => Some(a.max(b)),
                    (a, b) => a.or(b),
                },
                sent: add(total.sent, queue.sent),
                acknowledged: add(total.acknowledged, queue.acknowledged),
            })
    }

    /// How a store does, by the word of the services that use it. `gauge` is the store's.
    pub fn store(&self, gauge: &Gauge) -> Store {
        let words: Vec<f64> = self
            .instances
            .iter()
            .filter_map(|instance| Some((instance, instance.gauge(gauge, self.at())?)))
            .filter(|(instance, up)| *up > 0.0 || !instance.is_settling(self.at()))
            .map(|(_, up)| up)
            .collect();
        let failing = words.iter().filter(|&&up| up <= 0.0).count();
        match (words.len(), failing) {
            (0, _) => Store::Unknown,
            (_, 0) => Store::Up,
            (users, failing) => Store::Away { failing, users },
        }
    }

    pub fn host(&self) -> Host {
        let gauge = |gauge: Gauge| {
            self.of_role(&Role::Balancer)
                .find_map(|instance| instance.gauge(&gauge, self.at()))
        };
        Host {
            cpu: gauge(Gauge::HostCpu),
            cores: gauge(Gauge::HostCores),
            memory_used: gauge(Gauge::HostMemoryUsed),
            memory_total: gauge(Gauge::HostMemoryTotal),
        }
    }
}
