//! A worker's connections to upstreams: those that wait for a request, and the making of new ones.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use kit::tls::Link;
use prometheus_client::metrics::gauge::Gauge;
use rustls::ClientConfig;
use tokio::io::{AsyncRead as _, ReadBuf};

/// A connection to an upstream.
#[derive(Debug)]
pub(super) struct Upstream {
    pub stream: Link,
    /// Whether it has carried a request before.
    pub is_reused: bool,
}

#[derive(Debug)]
struct Idle {
    stream: Link,
    since: Instant,
}

/// The unused connections of one worker. The one used last is used first, so that those too many grow old and go.
#[derive(Debug)]
pub(super) struct Upstreams {
    /// By address; a role has few instances, so that looking through them is quicker than hashing.
    idle: Mutex<Vec<(SocketAddr, Vec<Idle>)>>,
    most: usize,
    longest: Duration,
    gauge: Gauge,
}

impl Upstreams {
    pub fn new(most: usize, longest: Duration, gauge: Gauge) -> Self {
        Self {
            idle: Mutex::default(),
            most,
            longest,
            gauge,
        }
    }

    /// A connection that is there and, as far as this process knows, still open.
    pub fn take(&self, address: SocketAddr, now: Instant) -> Option<Upstream> {
        let mut idle = self.idle();
        let (_, list) = idle.iter_mut().find(|(known, _)| *known == address)?;
        while let Some(mut candidate) = list.pop() {
            self.gauge.dec();
            let waited = now.saturating_duration_since(candidate.since);
            if waited < self.longest && is_quiet(&mut candidate.stream) {
                return Some(Upstream {
                    stream: candidate.stream,
                    is_reused: true,
                });
            }
        }
        None
    }

    /// Keeps a connection whose last answer was read to its end.
    pub fn put(&self, address: SocketAddr, stream: Link, now: Instant) {
        let mut idle = self.idle();
        let known = idle.iter().position(|(known, _)| *known == address);
        let position = known.unwrap_or_else(|| {
            idle.push((address, Vec::new()));
            idle.len() - 1
        });
        let (_, list) = &mut idle[position];
        if list.len() < self.most {
            list.push(Idle { stream, since: now });
            self.gauge.inc();
        }
    }

    /// Closes what has waited for too long.
    pub fn sweep(&self, now: Instant) {
        let longest = self.longest;
        self.idle().retain_mut(|(_, list)| {
            let before = list.len();
            list.retain(|idle| now.saturating_duration_since(idle.since) < longest);
            self.gauge
                .dec_by(i64::try_from(before - list.len()).unwrap_or(0));
            !list.is_empty()
        });
    }

    /// Forgets every connection.
    pub fn clear(&self) {
        let mut idle = self.idle();
        let count: usize = idle.iter().map(|(_, list)| list.len()).sum();
        self.gauge.dec_by(i64::try_from(count).unwrap_or(0));
        idle.clear();
    }

    fn idle(&self) -> MutexGuard<'_, Vec<(SocketAddr, Vec<Idle>)>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Upstreams {
    fn drop(&mut self) {
        self.clear();
    }
}

/// Whether an unused connection has neither ended nor said anything. Asks what the runtime has been told already: there is
/// no system call unless there is something to read.
fn is_quiet(stream: &mut Link) -> bool {
    let mut byte = [0];
    let mut buffer = ReadBuf::new(&mut byte);
    let mut context = Context::from_waker(Waker::noop());
    matches!(
        Pin::new(stream).poll_read(&mut context, &mut buffer),
        Poll::Pending
    )
}

/// Makes a connection.
pub(super) async fn connect(
    address: SocketAddr,
    tls: Option<&Arc<ClientConfig>>,
    limit: Duration,
) -> io::Result<Upstream> {
    let stream = tokio::time::timeout(limit, Link::connect(address, tls))
        .await
        .map_err(|_| {
            io::Error::new(
                io::ErrorKind::TimedOut,
                format!("no connection within {} ms", limit.as_millis()),
            )
        })??;
    Ok(Upstream {
        stream,
        is_reused: false,
    })
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::AsyncWriteExt as _,
        net::{TcpListener, TcpStream},
    };

    use super::*;

    async fn pair(listener: &TcpListener) -> (TcpStream, TcpStream) {
        let address = listener.local_addr().unwrap();
        let (near, far) = tokio::join!(TcpStream::connect(address), listener.accept());
        (near.unwrap(), far.unwrap().0)
    }

    #[tokio::test]
    async fn the_last_used_comes_first_and_what_ended_or_spoke_is_dropped() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let gauge = Gauge::default();
        let upstreams = Upstreams::new(8, Duration::from_mins(1), gauge.clone());
        let (good, _far) = pair(&listener).await;
        let (ended, gone) = pair(&listener).await;
        let (noisy, mut talker) = pair(&listener).await;
        let port = good.local_addr().unwrap().port();
        drop(gone);
        talker.write_all(b"?").await.unwrap();
        ended.readable().await.unwrap();
        noisy.readable().await.unwrap();
        let now = Instant::now();
        for stream in [good, ended, noisy] {
            upstreams.put(address, stream.into(), now);
        }
        assert_eq!(gauge.get(), 3);
        let taken = upstreams.take(address, now).expect("the good one");
        let Link::Plain(stream) = taken.stream else {
            panic!("it was plain");
        };
        assert_eq!(stream.local_addr().unwrap().port(), port);
        assert!(taken.is_reused);
        assert!(upstreams.take(address, now).is_none());
        assert_eq!(gauge.get(), 0);
    }

    #[tokio::test]
    async fn few_are_kept_and_not_for_long() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let gauge = Gauge::default();
        let upstreams = Upstreams::new(1, Duration::from_secs(5), gauge.clone());
        let (first, _one) = pair(&listener).await;
        let (second, _two) = pair(&listener).await;
        let now = Instant::now();
        upstreams.put(address, first.into(), now);
        upstreams.put(address, second.into(), now);
        assert_eq!(gauge.get(), 1);
        upstreams.sweep(now + Duration::from_secs(4));
        assert_eq!(gauge.get(), 1);
        upstreams.sweep(now + Duration::from_secs(6));
        assert_eq!(gauge.get(), 0);
    }
}
