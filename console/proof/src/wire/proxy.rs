//! One listener on loopback that forwards to one target, through faults.

use std::{
    collections::VecDeque,
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{ReadHalf, WriteHalf},
    },
    sync::watch,
    time::Instant,
};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::Toxics;

/// Below the ports that systems give to outgoing connections, so that the port is still ours after a cut, and below those
/// that a lab chooses for services it has not started yet.
const PORTS: std::ops::Range<u16> = 10_000..20_000;
/// How many ports are tried.
const ATTEMPTS: usize = 500;
/// How long a cut proxy waits before it tries to listen again where it did.
const REBIND: Duration = Duration::from_millis(10);
/// How long the target may take to accept.
const CONNECT: Duration = Duration::from_secs(5);
/// How much is held back in one direction before the sender has to wait.
const HELD: usize = 256 * 1024;
/// How much is read at once.
const PIECE: usize = 16 * 1024;

/// A proxy that runs until it is dropped, and its connections with it.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    target: SocketAddr,
    toxics: watch::Sender<Toxics>,
    accepted: Arc<AtomicU64>,
    _stop: DropGuard,
}

impl Proxy {
    /// Listens on any free loopback port. `seed` decides every delay that is drawn.
    ///
    /// # Errors
    /// When no port is free.
    ///
    /// # Panics
    /// Outside a Tokio runtime.
    pub fn start(target: SocketAddr, seed: u64) -> io::Result<Self> {
        let listener = bind_any(seed)?;
        let address = listener.local_addr()?;
        let (toxics, watched) = watch::channel(Toxics::default());
        let stop = CancellationToken::new();
        let accepted = Arc::new(AtomicU64::new(0));
        let run = run(listener, target, seed, watched, accepted.clone());
        let stopped = stop.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = stopped.cancelled() => {}
                () = run => {}
            }
        });
        Ok(Self {
            address,
            target,
            toxics,
            accepted,
            _stop: stop.drop_guard(),
        })
    }

    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    #[must_use]
    pub fn target(&self) -> SocketAddr {
        self.target
    }

    /// From now on, for connections that are there too.
    pub fn set(&self, toxics: Toxics) {
        self.toxics.send_replace(toxics);
    }

    #[must_use]
    pub fn toxics(&self) -> Toxics {
        *self.toxics.borrow()
    }

    /// Connections accepted so far.
    #[must_use]
    pub fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }
}

fn bind_any(seed: u64) -> io::Result<TcpListener> {
    let mut chance = ChaCha8Rng::seed_from_u64(seed ^ u64::from(std::process::id()));
    let mut last = None;
    for _ in 0..ATTEMPTS {
        match bind(chance.random_range(PORTS)) {
            Ok(listener) => return Ok(listener),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| io::Error::other("no port was tried")))
}

fn bind(port: u16) -> io::Result<TcpListener> {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

async fn run(
    listener: TcpListener,
    target: SocketAddr,
    seed: u64,
    mut toxics: watch::Receiver<Toxics>,
    accepted: Arc<AtomicU64>,
) {
    let Ok(address) = listener.local_addr() else {
        return;
    };
    let mut listener = Some(listener);
    loop {
        let cut = toxics.borrow_and_update().cut;
        if cut {
            // With the listener gone, the system refuses by itself.
            listener = None;
            if toxics.changed().await.is_err() {
                return;
            }
            continue;
        }
        let Some(open) = &listener else {
            match bind(address.port()) {
                Ok(again) => listener = Some(again),
                Err(_) => tokio::time::sleep(REBIND).await,
            }
            continue;
        };
        tokio::select! {
            changed = toxics.changed() => {
                if changed.is_err() {
                    return;
                }
            }
            client = open.accept() => match client {
                Ok((client, _)) => {
                    let number = accepted.fetch_add(1, Ordering::Relaxed);
                    // Its own draws, whatever others do meanwhile.
                    let seed = seed.wrapping_add(number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
                    tokio::spawn(serve(client, target, seed, toxics.clone()));
                }
                Err(_) => tokio::time::sleep(REBIND).await,
            },
        }
    }
}

/// One connection, to its end.
async fn serve(
    mut client: TcpStream,
    target: SocketAddr,
    seed: u64,
    toxics: watch::Receiver<Toxics>,
) {
    let poisoned = AtomicBool::new(false);
    let broken_before = broken(toxics.clone(), &poisoned);
    let mut server = tokio::select! {
        () = broken_before => return reset(&client),
        connected = tokio::time::timeout(CONNECT, TcpStream::connect(target)) => match connected {
            Ok(Ok(server)) => server,
            // The client of a target that refuses is refused, only a little later.
            Ok(Err(_)) | Err(_) => return reset(&client),
        },
    };
    let _ = client.set_nodelay(true);
    let _ = server.set_nodelay(true);
    let in_order = {
        let (client_read, client_write) = client.split();
        let (server_read, server_write) = server.split();
        let pump = |up| Pump {
            up,
            toxics: toxics.clone(),
            chance: ChaCha8Rng::seed_from_u64(seed ^ u64::from(up)),
            poisoned: &poisoned,
            held: VecDeque::new(),
            bytes: 0,
            last_due: Instant::now(),
        };
        let both = async {
            tokio::try_join!(
                pump(true).run(client_read, server_write),
                pump(false).run(server_read, client_write)
            )
        };
        tokio::select! {
            () = broken(toxics.clone(), &poisoned) => false,
            ended = both => ended.is_ok(),
        }
    };
    if !in_order {
        reset(&client);
        reset(&server);
    }
}

/// Closes so that the other side hears of an error and not of an end.
fn reset(stream: &TcpStream) {
    let _ = stream.set_zero_linger();
}

/// Until the connection has to end: it is reset or cut, or something of it was swallowed and no longer is, which is how
/// a path that comes back finds that the other end has forgotten.
async fn broken(mut toxics: watch::Receiver<Toxics>, poisoned: &AtomicBool) {
    loop {
        let now = *toxics.borrow_and_update();
        if now.breaks() || (poisoned.load(Ordering::Acquire) && !now.swallows()) {
            return;
        }
        // The proxy is gone.
        if toxics.changed().await.is_err() {
            return;
        }
    }
}

/// One direction.
struct Pump<'a> {
    up: bool,
    toxics: watch::Receiver<Toxics>,
    chance: ChaCha8Rng,
    poisoned: &'a AtomicBool,
    /// What was read, with when it may be written.
    held: VecDeque<(Instant, Vec<u8>)>,
    bytes: usize,
    last_due: Instant,
}

impl Pump<'_> {
    /// Until the sender has ended and everything of it is passed on.
    async fn run(mut self, mut from: ReadHalf<'_>, mut to: WriteHalf<'_>) -> io::Result<()> {
        let mut piece = vec![0; PIECE];
        let mut ended = false;
        loop {
            let due = self.held.front().map(|(due, _)| *due);
            if ended && due.is_none() {
                if self.swallows() {
                    // An end is swallowed like anything else.
                    self.poisoned.store(true, Ordering::Release);
                    std::future::pending::<()>().await;
                }
                return to.shutdown().await;
            }
            tokio::select! {
                read = from.read(&mut piece), if !ended && self.bytes < HELD => match read? {
                    0 => ended = true,
                    count => self.hold(&piece[..count]),
                },
                () = tokio::time::sleep_until(due.unwrap_or(self.last_due)), if due.is_some() => {
                    self.pass(&mut to).await?;
                }
            }
        }
    }

    fn swallows(&self) -> bool {
        let toxics = *self.toxics.borrow();
        if self.up {
            toxics.swallow_up
        } else {
            toxics.swallow_down
        }
    }

    fn hold(&mut self, piece: &[u8]) {
        let toxics = *self.toxics.borrow();
        let jitter = toxics.jitter.mul_f64(self.chance.random::<f64>());
        let due = (Instant::now() + toxics.latency + jitter).max(self.last_due);
        self.last_due = due;
        self.bytes += piece.len();
        self.held.push_back((due, piece.to_vec()));
    }

    async fn pass(&mut self, to: &mut WriteHalf<'_>) -> io::Result<()> {
        let Some((_, piece)) = self.held.pop_front() else {
            return Ok(());
        };
        self.bytes -= piece.len();
        if self.swallows() {
            self.poisoned.store(true, Ordering::Release);
            return Ok(());
        }
        let bandwidth = self.toxics.borrow().bandwidth;
        to.write_all(&piece).await?;
        if let Some(bandwidth) = bandwidth {
            let seconds = piece.len() as f64 / f64::from(bandwidth.get());
            tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
        }
        Ok(())
    }
}
