//! The folder of a lab whose instances are where the caller wants them: on closed ports, or on servers that speak the admin
//! surface (`/metrics`, `/admin/info`, `/logs`) and log what they are told, as fast and as hostile as they are told.

use std::{
    collections::HashMap,
    fmt::Write as _,
    io::{self, BufRead as _, BufReader, Write as _},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant, SystemTime},
};

use host::{Layout, Lock};
use kit::{Topology, topology};
use tempfile::TempDir;

/// How often lines are written in a flood.
const BEAT: Duration = Duration::from_millis(10);

/// A folder that looks like that of a running lab, because its lock is held. Removed when dropped.
pub struct Lab {
    folder: TempDir,
    _lock: Lock,
    layout: Layout,
}

impl Lab {
    /// A lab without a topology yet.
    pub fn new() -> io::Result<Self> {
        let folder = tempfile::Builder::new().prefix("recarga-pty-").tempdir()?;
        let layout = Layout::open(folder.path()).map_err(io::Error::other)?;
        let lock = layout
            .try_lock()
            .map_err(io::Error::other)?
            .ok_or_else(|| io::Error::other("somebody else has the lock of a new folder"))?;
        Ok(Self {
            folder,
            _lock: lock,
            layout,
        })
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Writes where the instances are: role, name, and the admin address.
    pub fn place(&self, instances: &[(&str, String, SocketAddr)]) -> io::Result<()> {
        let nowhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        let instance = |(role, name, admin): &(&str, String, SocketAddr)| topology::Instance {
            role: (*role).to_owned(),
            name: name.clone(),
            listen: nowhere,
            admin: *admin,
            pid: None,
            restarts: 0,
            state: topology::State::Running,
        };
        let url = format!("http://{nowhere}");
        let topology = Topology {
            version: topology::VERSION,
            public_url: url.clone(),
            cache_url: url.clone(),
            queue_url: url.clone(),
            worker_url: url,
            supervisor_pid: None,
            supervisor_url: None,
            mutual_tls: None,
            read_only: false,
            stores: Vec::new(),
            instances: instances.iter().map(instance).collect(),
        };
        topology
            .store(&self.layout.topology())
            .map_err(io::Error::other)
    }

    /// A whole lab, as many instances as `recarga up` starts, of which none is there.
    pub fn place_all_away(&self) -> io::Result<()> {
        let mut instances = Vec::new();
        // All at once: a port that is let go may be given out again.
        let mut held = Vec::new();
        for (role, count) in ROLES {
            for number in 1..=count {
                let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
                instances.push((role, format!("{role}-{number}"), listener.local_addr()?));
                held.push(listener);
            }
        }
        drop(held);
        self.place(&instances)
    }
}

/// The roles of a lab and how many instances each has.
pub const ROLES: [(&str, usize); 10] = [
    ("balancer", 1),
    ("gateway", 3),
    ("cache", 1),
    ("travel", 2),
    ("exercise", 3),
    ("search", 1),
    ("booking", 1),
    ("notification", 1),
    ("worker", 1),
    ("queue", 1),
];

enum Metrics {
    Still(String),
    /// Requests a second.
    Busy(f64),
}

/// As many series as a gateway has, of which all grow.
fn busy(up: Duration, rate: f64) -> String {
    const ROUTES: [&str; 8] = [
        "balance", "history", "recharge", "data", "tutors", "book", "tasks", "trips",
    ];
    const BOUNDS: [&str; 12] = [
        "0.0005", "0.001", "0.0025", "0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1",
        "+Inf",
    ];
    let seconds = up.as_secs_f64();
    let requests = (seconds * rate) as u64;
    let mut text = format!(
        "process_start_time_seconds 1\nprocess_cpu_seconds_total {:.2}\nprocess_resident_memory_bytes {}\n\
         recarga_http_requests_in_flight {}\nrecarga_host_cpu_ratio 0.{:02}\nrecarga_host_cores 2\n",
        seconds * 0.1,
        20_000_000 + requests % 1_000_000,
        requests % 7,
        requests % 97,
    );
    for (at, route) in ROUTES.into_iter().enumerate() {
        let share = requests / (at as u64 + 1);
        for (status, part) in [("200", share), ("404", share / 50), ("503", share / 1000)] {
            let _ = writeln!(
                text,
                r#"recarga_http_requests_total{{role="gateway",route="{route}",status="{status}"}} {part}"#
            );
        }
        for (of, cache) in ["hit", "miss", "none"].into_iter().enumerate() {
            for (bound, le) in BOUNDS.into_iter().enumerate() {
                let count = share * (bound as u64 + 1) / (12 * (of as u64 + 1));
                let _ = writeln!(
                    text,
                    r#"recarga_http_request_duration_seconds_bucket{{role="gateway",route="{route}",cache="{cache}",le="{le}"}} {count}"#
                );
            }
        }
    }
    for upstream in 0..12 {
        let _ = writeln!(
            text,
            "recarga_upstream_requests_total{{pool=\"gateway\",upstream=\"127.0.0.1:{}\"}} {}\nrecarga_upstream_up{{upstream=\"127.0.0.1:{}\"}} 1",
            8100 + upstream,
            requests / 12,
            8100 + upstream,
        );
    }
    text
}

/// What an instance says; shared by its connections.
struct Said {
    name: String,
    metrics: Mutex<Metrics>,
    started: Instant,
    /// Every reader of the log, by a number.
    readers: Mutex<HashMap<u64, TcpStream>>,
    open: Mutex<Vec<TcpStream>>,
    next: AtomicU64,
    asked: AtomicU64,
    written: AtomicU64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A server that speaks the admin surface of one instance.
pub struct Instance {
    address: SocketAddr,
    said: Arc<Said>,
    accepting: Option<JoinHandle<()>>,
    stop: Arc<AtomicU64>,
}

impl Instance {
    /// Listens on a port of its own.
    pub fn start(name: &str) -> io::Result<Self> {
        Self::start_at(name, SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
    }

    /// Listens where an instance was before.
    pub fn start_at(name: &str, address: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        let address = listener.local_addr()?;
        let said = Arc::new(Said {
            name: name.to_owned(),
            metrics: Mutex::new(Metrics::Still(
                "process_start_time_seconds 1\nrecarga_http_requests_total{status=\"200\"} 5\n"
                    .to_owned(),
            )),
            started: Instant::now(),
            readers: Mutex::default(),
            open: Mutex::default(),
            next: AtomicU64::new(0),
            asked: AtomicU64::new(0),
            written: AtomicU64::new(0),
        });
        let stop = Arc::new(AtomicU64::new(0));
        let accepting = {
            let (said, stop) = (Arc::clone(&said), Arc::clone(&stop));
            std::thread::spawn(move || {
                for stream in listener.incoming().flatten() {
                    if stop.load(Ordering::SeqCst) > 0 {
                        return;
                    }
                    if let Ok(stream) = stream.try_clone() {
                        lock(&said.open).push(stream);
                    }
                    let said = Arc::clone(&said);
                    std::thread::spawn(move || {
                        // A console that leaves is no concern of ours.
                        let _ = said.serve(stream);
                    });
                }
            })
        };
        Ok(Self {
            address,
            said,
            accepting: Some(accepting),
            stop,
        })
    }

    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What `/metrics` answers from now on.
    pub fn set_metrics(&self, text: &str) {
        *lock(&self.said.metrics) = Metrics::Still(text.to_owned());
    }

    /// `/metrics` answers from now on as a gateway does that serves so many requests a second.
    pub fn serve_at(&self, rate: f64) {
        *lock(&self.said.metrics) = Metrics::Busy(rate);
    }

    /// How many read the log.
    #[must_use]
    pub fn readers(&self) -> usize {
        lock(&self.said.readers).len()
    }

    /// Questions answered so far; readers of the log do not count.
    #[must_use]
    pub fn asked(&self) -> u64 {
        self.said.asked.load(Ordering::Relaxed)
    }

    /// Log lines written so far.
    #[must_use]
    pub fn lines(&self) -> u64 {
        self.said.written.load(Ordering::Relaxed)
    }

    /// Sends bytes to every reader of the log as they are.
    pub fn send(&self, bytes: &[u8]) {
        self.said.send(bytes);
    }

    /// Logs one line.
    pub fn log(&self, level: &str, message: &str) {
        let event = event(&self.said.name, level, message, self.lines());
        self.said.send(event.as_bytes());
        self.said.written.fetch_add(1, Ordering::Relaxed);
    }

    /// Logs so many lines a second for so long. Blocks.
    pub fn flood(&self, rate: u32, duration: Duration, until: impl Fn() -> bool) {
        let started = Instant::now();
        let mut sent = 0_u64;
        let mut batch = String::new();
        while started.elapsed() < duration && !until() {
            let due = (started.elapsed().as_secs_f64() * f64::from(rate)) as u64;
            batch.clear();
            for number in sent..due {
                let message = format!(
                    "GET /cards/{}/balance 200 {}.{} ms",
                    number % 997,
                    number % 9,
                    number % 10
                );
                let level = match number % 500 {
                    0 => "ERROR",
                    1..10 => "WARN",
                    _ => "INFO",
                };
                batch.push_str(&event(&self.said.name, level, &message, number));
            }
            self.said.send(batch.as_bytes());
            self.said.written.fetch_add(due - sent, Ordering::Relaxed);
            sent = due;
            std::thread::sleep(BEAT);
        }
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.stop.store(1, Ordering::SeqCst);
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(self.address);
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
        for stream in lock(&self.said.open).drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Said {
    fn serve(&self, mut stream: TcpStream) -> io::Result<()> {
        let mut requests = BufReader::new(stream.try_clone()?);
        loop {
            let mut line = String::new();
            if requests.read_line(&mut line)? == 0 {
                return Ok(());
            }
            let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
            while line.trim_end() != "" {
                line.clear();
                if requests.read_line(&mut line)? == 0 {
                    return Ok(());
                }
            }
            let body = match path.as_str() {
                "/metrics" => match &*lock(&self.metrics) {
                    Metrics::Still(text) => text.clone(),
                    Metrics::Busy(rate) => busy(self.started.elapsed(), *rate),
                },
                "/admin/info" => format!(
                    r#"{{"instance":"{}","ready":true,"checks":{{}},"faults":[]}}"#,
                    self.name
                ),
                _ => {
                    stream
                        .write_all(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n")?;
                    let number = self.next.fetch_add(1, Ordering::Relaxed);
                    lock(&self.readers).insert(number, stream.try_clone()?);
                    // It says nothing more; its end is the reader's.
                    let ended = requests.read_line(&mut line);
                    lock(&self.readers).remove(&number);
                    return ended.map(drop);
                }
            };
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
            stream.write_all((head + &body).as_bytes())?;
            self.asked.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn send(&self, bytes: &[u8]) {
        lock(&self.readers).retain(|_, stream| stream.write_all(bytes).is_ok());
    }
}

/// One event of the log stream, as the services write it.
#[must_use]
pub fn event(instance: &str, level: &str, message: &str, number: u64) -> String {
    let since = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let seconds = since.as_secs() % 86_400;
    let mut text = String::with_capacity(300 + message.len());
    let _ = write!(
        text,
        r#"data: {{"timestamp":"2026-01-01T{:02}:{:02}:{:02}.{:09}Z","level":"{level}","target":"access","service":"recarga","instance":"{instance}","request_id":"{number:032x}","message":{},"fields":{{"status":200,"method":"GET","milliseconds":1.25}}}}"#,
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60,
        since.subsec_nanos(),
        serde_json::Value::from(message),
    );
    text.push_str("\n\n");
    text
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn an_instance_speaks_the_admin_surface() {
        let instance = Instance::start("gateway-1").unwrap();
        let mut stream = TcpStream::connect(instance.address()).unwrap();
        stream
            .write_all(b"GET /admin/info HTTP/1.1\r\nhost: x\r\n\r\n")
            .unwrap();
        let mut buffer = [0; 1024];
        let count = stream.read(&mut buffer).unwrap();
        assert!(String::from_utf8_lossy(&buffer[..count]).contains("gateway-1"));
        stream
            .write_all(b"GET /logs HTTP/1.1\r\nhost: x\r\n\r\n")
            .unwrap();
        while instance.readers() == 0 {
            std::thread::yield_now();
        }
        instance.flood(5_000, Duration::from_mins(1), || instance.lines() >= 100);
        instance.log("ERROR", "last \"words\"");
        drop(instance);
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let lines: Vec<serde_json::Value> = text
            .lines()
            .filter_map(|line| line.strip_prefix("data: "))
            .map(|data| serde_json::from_str(data).unwrap())
            .collect();
        assert!(lines.len() > 100);
        assert_eq!(lines[lines.len() - 1]["message"], "last \"words\"");
    }

    #[test]
    fn a_lab_looks_like_one_that_runs() {
        let lab = Lab::new().unwrap();
        lab.place_all_away().unwrap();
        let topology = host::running_topology(lab.path()).unwrap();
        assert_eq!(topology.instances.len(), 15);
        TcpStream::connect(topology.instances[0].admin).unwrap_err();
    }
}
