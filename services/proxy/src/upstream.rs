//! What the pool, the checks and the requests on their way share of one upstream.

use std::net::SocketAddr;
use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicUsize, Ordering},
};

use http::uri::Authority;

/// One upstream: where it is, what it is called, how much it is doing for us. What is known of it is in the pool's `Host`.
#[derive(Debug)]
pub(crate) struct Upstream {
    pub id: u64,
    pub address: SocketAddr,
    pub authority: Authority,
    in_flight: AtomicUsize,
    name: Mutex<Arc<str>>,
}

impl Upstream {
    pub fn new(id: u64, address: SocketAddr, name: Arc<str>) -> Self {
        Self {
            id,
            address,
            authority: address
                .to_string()
                .parse()
                .expect("a socket address is a valid authority"),
            in_flight: AtomicUsize::new(0),
            name: Mutex::new(name),
        }
    }

    pub fn name(&self) -> Arc<str> {
        Arc::clone(&self.name.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub fn rename(&self, name: Arc<str>) {
        *self.name.lock().unwrap_or_else(PoisonError::into_inner) = name;
    }

    pub fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    pub fn begin(&self) {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
    }

    pub fn end(&self) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}
