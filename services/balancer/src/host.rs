//! The machine's load, as the balancer's metrics tell it once for the whole lab.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use kit::{Instance, Shutdown, process};
use prometheus_client::metrics::gauge::Gauge;

/// How often the machine is looked at; the processor's share is the mean over this time.
const INTERVAL: Duration = Duration::from_secs(1);

#[derive(Clone, Debug, Default)]
struct HostMetrics {
    cpu: Gauge<f64, AtomicU64>,
    memory_used: Gauge,
    memory_total: Gauge,
    cores: Gauge,
}

impl HostMetrics {
    fn read(&self) {
        let host = process::host();
        let signed = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        self.cpu.set(host.cpu_ratio);
        self.memory_used.set(signed(host.memory_used_bytes));
        self.memory_total.set(signed(host.memory_total_bytes));
        self.cores.set(signed(host.cores));
    }
}

/// Registers the figures and keeps them fresh until the shutdown.
pub(crate) fn watch(instance: &Instance, shutdown: Shutdown) {
    let metrics = HostMetrics::default();
    instance.metrics().register(|registry| {
        registry.register(
            "recarga_host_cpu_ratio",
            "Busy share of all cores of this machine, 0 to 1",
            metrics.cpu.clone(),
        );
        registry.register(
            "recarga_host_memory_used_bytes",
            "Memory in use on this machine",
            metrics.memory_used.clone(),
        );
        registry.register(
            "recarga_host_memory_total_bytes",
            "Memory of this machine",
            metrics.memory_total.clone(),
        );
        registry.register(
            "recarga_host_cores",
            "Cores of this machine",
            metrics.cores.clone(),
        );
    });
    instance.spawn(async move {
        loop {
            metrics.read();
            tokio::select! {
                () = tokio::time::sleep(INTERVAL) => {}
                () = shutdown.requested() => return,
            }
        }
    });
}
