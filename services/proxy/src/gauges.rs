//! The gauges of all pools, read from them when they are asked for.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeGaugeValue, EncodeLabelSet},
    metrics::MetricType,
};

use crate::{
    breaker::BreakerState,
    health::State,
    metrics::{PoolLabels, UpstreamLabels},
    pool::{Pool, WeakPool},
    snapshot::{PoolSnapshot, UpstreamSnapshot},
};

/// The pools that are told.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gauges {
    pools: Arc<Mutex<Vec<WeakPool>>>,
}

impl Gauges {
    pub fn add(&self, pool: &Pool) {
        let mut pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        pools.retain(|pool| pool.upgrade().is_some());
        pools.push(pool.downgrade());
    }

    fn snapshots(&self) -> Vec<PoolSnapshot> {
        let pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        let pools: Vec<Pool> = pools.iter().filter_map(WeakPool::upgrade).collect();
        let mut snapshots: Vec<PoolSnapshot> = pools.iter().map(Pool::snapshot).collect();
        for snapshot in &mut snapshots {
            // While an instance moves there may be two of its name; a series may be told once only, and the one that takes
            // requests is the true one.
            snapshot
                .upstreams
                .sort_by_key(|upstream| upstream.state != State::Up);
            let mut names = BTreeSet::new();
            snapshot
                .upstreams
                .retain(|upstream| names.insert(upstream.name.clone()));
        }
        snapshots
    }
}

impl Collector for Gauges {
    fn encode(&self, mut encoder: DescriptorEncoder) -> std::fmt::Result {
        let pools = self.snapshots();
        let flag = i64::from;
        let mut upstream = Each {
            encoder: &mut encoder,
            pools: &pools,
        };
        upstream.of_upstreams(
            "recarga_upstream_up",
            "1 when the upstream takes requests",
            |upstream| Some(flag(upstream.state == State::Up)),
        )?;
        upstream.of_upstreams(
            "recarga_upstream_in_flight",
            "Requests an upstream is serving now, as seen from here",
            |upstream| Some(count(upstream.in_flight)),
        )?;
        upstream.of_upstreams(
            "recarga_upstream_weight",
            "An upstream's share relative to the others that are up, as configured",
            |upstream| Some(i64::from(upstream.weight)),
        )?;
        upstream.of_upstreams(
            "recarga_upstream_effective_weight",
            "An upstream's weight as the policy sees it: less while it starts slowly",
            |upstream| Some(upstream.effective_weight),
        )?;
        upstream.of_upstreams(
            "recarga_upstream_ejected",
            "1 while an upstream is left out because it failed more than the others",
            |upstream| Some(flag(upstream.ejected)),
        )?;
        upstream.of_upstreams(
            "recarga_upstream_breaker_state",
            "The circuit breaker of an upstream: 0 closed, 1 half open, 2 open",
            |upstream| {
                Some(match upstream.breaker {
                    BreakerState::Closed => 0_i64,
                    BreakerState::HalfOpen => 1,
                    BreakerState::Open => 2,
                })
            },
        )?;
        upstream.of_upstreams(
            "recarga_upstream_ewma_seconds",
            "The latency expected of an upstream: peak-sensitive moving average of its answers",
            |upstream| upstream.ewma_ms.map(|ms| ms / 1_000.0),
        )?;
        upstream.of_pools(
            "recarga_panic",
            "1 while ejections are ignored because too few upstreams would be left",
            |pool| flag(pool.panic),
        )?;
        upstream.of_pools(
            "recarga_admission_limit",
            "Requests that may be in flight now; 0 while there is no limit",
            |pool| {
                if pool.admission.enabled {
                    count(pool.admission.limit)
                } else {
                    0
                }
            },
        )?;
        upstream.of_pools(
            "recarga_admission_in_flight",
            "Requests in flight of those that were let in under a limit",
            |pool| count(pool.admission.in_flight),
        )?;
        upstream.of_pools(
            "recarga_admission_queued",
            "Requests that wait to be let in",
            |pool| count(pool.admission.queued),
        )
    }
}

fn count(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

struct Each<'a, 'e> {
    encoder: &'a mut DescriptorEncoder<'e>,
    pools: &'a [PoolSnapshot],
}

impl Each<'_, '_> {
    fn of_upstreams<V: EncodeGaugeValue>(
        &mut self,
        name: &str,
        help: &str,
        value: impl Fn(&UpstreamSnapshot) -> Option<V>,
    ) -> std::fmt::Result {
        let values = self.pools.iter().flat_map(|pool| {
            let value = &value;
            pool.upstreams.iter().filter_map(move |upstream| {
                let labels = UpstreamLabels {
                    pool: pool.pool.clone(),
                    upstream: upstream.name.clone(),
                };
                Some((labels, value(upstream)?))
            })
        });
        encode(self.encoder, name, help, values)
    }

    fn of_pools<V: EncodeGaugeValue>(
        &mut self,
        name: &str,
        help: &str,
        value: impl Fn(&PoolSnapshot) -> V,
    ) -> std::fmt::Result {
        let values = self.pools.iter().map(|pool| {
            let labels = PoolLabels {
                pool: pool.pool.clone(),
            };
            (labels, value(pool))
        });
        encode(self.encoder, name, help, values)
    }
}

fn encode<L: EncodeLabelSet, V: EncodeGaugeValue>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    values: impl Iterator<Item = (L, V)>,
) -> std::fmt::Result {
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for (labels, value) in values {
        family.encode_family(&labels)?.encode_gauge(&value)?;
    }
    Ok(())
}
