//! How much work an instance does at a time: a lever for the operator, so that there is something that can be overloaded.

use std::{
    sync::{Arc, PoisonError, RwLock, atomic::AtomicI64},
    time::Duration,
};

use kit::Instance;
use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

/// The most places.
pub const MOST: u64 = 10_000;

/// The places where work is done, in the order of arrival; shared by all requests.
#[derive(Clone, Debug)]
pub struct Capacity(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// None while any number may work.
    places: RwLock<Option<(u64, Arc<Semaphore>)>>,
    waiting: Gauge<i64, AtomicI64>,
    working: Gauge<i64, AtomicI64>,
}

/// Counts as long as it lives.
struct Counted<'a>(&'a Gauge<i64, AtomicI64>);

impl<'a> Counted<'a> {
    fn new(gauge: &'a Gauge<i64, AtomicI64>) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Capacity {
    /// So many places, or any number of them for 0.
    #[must_use]
    pub fn new(places: u64) -> Self {
        let capacity = Self(Arc::new(Inner {
            places: RwLock::default(),
            waiting: Gauge::default(),
            working: Gauge::default(),
        }));
        capacity.set(places);
        capacity
    }

    /// Adds its gauges.
    pub fn register(&self, instance: &Instance) {
        instance.metrics().register(|registry| {
            registry.register(
                "recarga_work_waiting",
                "Requests that wait for a place to be worked on",
                self.0.waiting.clone(),
            );
            registry.register(
                "recarga_work_in_progress",
                "Places where work is done, also for those who have left",
                self.0.working.clone(),
            );
        });
    }

    /// How many places there are; 0 means any number.
    #[must_use]
    pub fn places(&self) -> u64 {
        let places = self.0.places.read().unwrap_or_else(PoisonError::into_inner);
        places.as_ref().map_or(0, |(count, _)| *count)
    }

    /// So many places from now on. What is being worked on goes on; who waits comes in by the new number.
    pub fn set(&self, count: u64) {
        let count = count.min(MOST);
        let places = usize::try_from(count).ok().filter(|count| *count > 0);
        let new = places.map(|places| (count, Arc::new(Semaphore::new(places))));
        let mut current = self
            .0
            .places
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some((_, old)) = std::mem::replace(&mut *current, new) {
            old.close();
        }
    }

    /// Waits for a place and does the work there. Who leaves while he waits is forgotten; work that was begun is finished and
    /// takes its place to the end, as a query does that nobody waits for any more.
    pub async fn work(&self, instance: &Instance, lasts: impl FnOnce() -> Duration) {
        let place = self.place().await;
        let lasts = lasts();
        let Some(place) = place else {
            // Even a timer of zero waits for the next millisecond.
            if !lasts.is_zero() {
                tokio::time::sleep(lasts).await;
            }
            return;
        };
        let (done, finished) = oneshot::channel();
        let (inner, stop) = (Arc::clone(&self.0), instance.shutdown().clone());
        instance.spawn(async move {
            let _counted = Counted::new(&inner.working);
            tokio::select! {
                () = tokio::time::sleep(lasts) => {}
                () = stop.requested() => {}
            }
            drop(place);
            // Nobody listens who has left.
            let _ = done.send(());
        });
        let _ = finished.await;
    }

    async fn place(&self) -> Option<OwnedSemaphorePermit> {
        let _counted = Counted::new(&self.0.waiting);
        loop {
            let places = {
                let places = self.0.places.read().unwrap_or_else(PoisonError::into_inner);
                Arc::clone(&places.as_ref()?.1)
            };
            // It is closed when the number of places changes.
            if let Ok(place) = places.acquire_owned().await {
                return Some(place);
            }
        }
    }
}
