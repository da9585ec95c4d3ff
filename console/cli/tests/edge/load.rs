//! Clients that repeat nothing: raw connections kept alive, each request sent once, every failure counted.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpStream,
    task::JoinHandle,
    time::MissedTickBehavior,
};

/// How many clients there are.
pub const CONNECTIONS: usize = 32;
/// What a client does between an answer and its next request: nothing, for so long. Without it the clients would measure how much
/// an unoptimised build can do at the most, and not how it does what it can.
const THINKING: Duration = Duration::from_millis(20);
/// An answer that takes longer is a failure. Longer than anything in the lab may take.
const ANSWER_LIMIT: Duration = Duration::from_secs(35);
/// How many answers the warm-up takes.
const WARM_UP: u64 = 600;
/// Failures that are kept in words; all are counted.
const KEPT_FAILURES: usize = 20;

/// One request, without the headers that every request has.
#[derive(Clone, Debug)]
pub struct Call {
    pub method: &'static str,
    pub path: String,
    /// Whole lines, each with its end.
    pub headers: String,
    pub body: String,
}

impl Call {
    pub fn get(path: impl Into<String>) -> Self {
        Self {
            method: "GET",
            path: path.into(),
            headers: String::new(),
            body: String::new(),
        }
    }

    pub fn post(path: impl Into<String>, body: &serde_json::Value) -> Self {
        Self {
            method: "POST",
            path: path.into(),
            headers: "Content-Type: application/json\r\n".to_owned(),
            body: body.to_string(),
        }
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        write!(self.headers, "{name}: {value}\r\n").unwrap();
        self
    }
}

/// What was answered.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    pub answered: u64,
    /// Those of them with the status 201.
    pub created: u64,
    /// Neither a success nor anything else that the contract promises: every other status, and every broken connection.
    pub failed: u64,
    /// The first of them, in words.
    pub failures: Vec<String>,
    /// Answers by who gave them.
    pub gateways: BTreeMap<String, u64>,
    /// From the first byte sent to the last received.
    pub times: Vec<Duration>,
}

impl Tally {
    /// The time within which this part (0 to 1) of the requests was answered.
    pub fn quantile(&self, part: f64) -> Duration {
        let mut times = self.times.clone();
        times.sort_unstable();
        let index = ((times.len() as f64 * part) as usize).min(times.len().saturating_sub(1));
        times.get(index).copied().unwrap_or_default()
    }

    fn fail(&mut self, words: String) {
        self.failed += 1;
        if self.failures.len() < KEPT_FAILURES {
            self.failures.push(words);
        }
    }
}

/// Clients at work.
pub struct Load {
    shared: Arc<Shared>,
    clients: Vec<JoinHandle<()>>,
}

struct Shared {
    address: SocketAddr,
    make: Box<dyn Fn(u64) -> Call + Send + Sync>,
    next: AtomicU64,
    stop: AtomicBool,
    started: Instant,
    tally: Mutex<Tally>,
}

/// Sends requests until connections are open on all ways and the cache is filled; nothing is counted.
pub async fn warm_up(address: SocketAddr, make: impl Fn(u64) -> Call + Send + Sync + 'static) {
    let load = Load::start(address, make);
    load.answers(WARM_UP).await;
    load.stop().await;
}

impl Load {
    /// Starts the clients; `make` gives the call of each number.
    pub fn start(address: SocketAddr, make: impl Fn(u64) -> Call + Send + Sync + 'static) -> Self {
        let shared = Arc::new(Shared {
            address,
            make: Box::new(make),
            next: AtomicU64::new(0),
            stop: AtomicBool::new(false),
            started: Instant::now(),
            tally: Mutex::default(),
        });
        let clients = (0..CONNECTIONS)
            .map(|_| tokio::spawn(Arc::clone(&shared).client()))
            .collect();
        Self { shared, clients }
    }

    /// Waits until so many more requests were answered.
    pub async fn answers(&self, more: u64) {
        let goal = self.shared.tally.lock().unwrap().answered + more;
        crate::lab::eventually("requests are answered", || {
            self.shared.tally.lock().unwrap().answered >= goal
        })
        .await;
    }

    /// What was counted since the last call of this.
    pub fn take(&self) -> Tally {
        std::mem::take(&mut self.shared.tally.lock().unwrap())
    }

    /// Lets every client finish its request; what was counted since the last [`Self::take`].
    pub async fn stop(self) -> Tally {
        self.shared.stop.store(true, Ordering::Relaxed);
        for client in self.clients {
            client.await.unwrap();
        }
        std::mem::take(&mut self.shared.tally.lock().unwrap())
    }
}

impl Shared {
    async fn client(self: Arc<Self>) {
        let mut connection = None;
        let mut thinking = tokio::time::interval(THINKING);
        thinking.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !self.stop.load(Ordering::Relaxed) {
            thinking.tick().await;
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let call = (self.make)(number);
            let began = Instant::now();
            let kept = connection.take();
            let exchange = tokio::time::timeout(ANSWER_LIMIT, exchange(self.address, kept, &call));
            let answered = exchange.await.unwrap_or_else(|_| {
                let words = format!("no answer within {ANSWER_LIMIT:?}");
                Err(io::Error::new(io::ErrorKind::TimedOut, words))
            });
            let took = began.elapsed();
            let when = format!("{took:?}, {:?} after the start", self.started.elapsed());
            let mut tally = self.tally.lock().unwrap();
            match answered {
                Ok((answer, kept)) => {
                    tally.answered += 1;
                    tally.created += u64::from(answer.status == 201);
                    tally.times.push(took);
                    *tally.gateways.entry(answer.gateway.clone()).or_default() += 1;
                    if !(200..300).contains(&answer.status) {
                        tally.fail(format!(
                            "{} {}: {} by {:?} after {when}: {}",
                            call.method, call.path, answer.status, answer.gateway, answer.body
                        ));
                    }
                    connection = kept;
                }
                Err(error) => tally.fail(format!(
                    "{} {}: {error} after {when}",
                    call.method, call.path
                )),
            }
        }
    }
}

struct Answer {
    status: u16,
    gateway: String,
    body: String,
}

type Connection = BufReader<TcpStream>;

/// One request and its answer; the connection, when the answer lets it be used again.
async fn exchange(
    address: SocketAddr,
    kept: Option<Connection>,
    call: &Call,
) -> io::Result<(Answer, Option<Connection>)> {
    let mut connection = if let Some(kept) = kept {
        kept
    } else {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        BufReader::new(stream)
    };
    let text = format!(
        "{} {} HTTP/1.1\r\nHost: lab\r\n{}Content-Length: {}\r\n\r\n{}",
        call.method,
        call.path,
        call.headers,
        call.body.len(),
        call.body
    );
    connection.write_all(text.as_bytes()).await?;

    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if connection.read_line(&mut line).await? == 0 {
            let words = format!(
                "the connection ended after {} lines of the head",
                lines.len()
            );
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, words));
        }
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let malformed = |words: &str| io::Error::new(io::ErrorKind::InvalidData, words.to_owned());
    let status = lines[0]
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .ok_or_else(|| malformed(&lines[0]))?;
    let header = |name: &str| {
        lines[1..].iter().find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    };
    let body = if header("transfer-encoding") == Some("chunked") {
        chunked(&mut connection).await?
    } else {
        let length = header("content-length").ok_or_else(|| malformed("a body without an end"))?;
        let length = length.parse().map_err(|_| malformed(length))?;
        exactly(&mut connection, length).await?
    };
    let keep = header("connection").is_none_or(|value| !value.eq_ignore_ascii_case("close"));
    let answer = Answer {
        status,
        gateway: header("x-gateway").unwrap_or_default().to_owned(),
        body: String::from_utf8_lossy(&body).into_owned(),
    };
    Ok((answer, keep.then_some(connection)))
}

async fn exactly(connection: &mut Connection, length: usize) -> io::Result<Vec<u8>> {
    let mut body = vec![0; length];
    connection.read_exact(&mut body).await?;
    Ok(body)
}

async fn chunked(connection: &mut Connection) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let mut line = String::new();
        connection.read_line(&mut line).await?;
        let length = usize::from_str_radix(line.trim_end(), 16)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        body.extend(exactly(connection, length).await?);
        exactly(connection, 2).await?;
        if length == 0 {
            return Ok(body);
        }
    }
}
