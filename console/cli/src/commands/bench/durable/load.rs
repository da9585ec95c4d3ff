//! Recharges as fast as answers come: over HTTP, or straight into the stored function. No two have the same key.

use std::{
    fmt::Write as _,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use sqlx::{Connection as _, PgConnection};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    runtime,
    task::JoinSet,
};

/// How long a client waits for one answer.
const PATIENCE: Duration = Duration::from_secs(15);

/// The pesos of each recharge.
pub const AMOUNT: i64 = 1_000;

/// Which cards, and how long.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub clients: usize,
    /// Cards 1 to this one, at random.
    pub cards: u64,
    pub warm_up: Duration,
    pub duration: Duration,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Good answers in the time that counted.
    pub good: u64,
    pub seconds: f64,
    /// Microseconds of each good answer.
    pub latencies: Vec<u32>,
    pub errors: u64,
    pub first_error: Option<String>,
}

impl Outcome {
    /// The latency that this part of the answers stayed below, in microseconds.
    pub fn percentile(&self, part: f64) -> f64 {
        let mut sorted = self.latencies.clone();
        sorted.sort_unstable();
        let last = sorted.len().saturating_sub(1);
        let at = (last as f64 * part).round() as usize;
        sorted.get(at).copied().map_or(0.0, f64::from)
    }

    /// Together with what came of another piece of time, or of another client.
    pub fn add(&mut self, other: Self) {
        self.good += other.good;
        self.seconds += other.seconds;
        self.latencies.extend(other.latencies);
        self.errors += other.errors;
        self.first_error = self.first_error.take().or(other.first_error);
    }
}

/// Numbers and cards of recharges.
#[derive(Clone)]
struct Draw {
    run: u64,
    next: Arc<AtomicU64>,
    cards: u64,
}

impl Draw {
    fn new(cards: u64) -> Self {
        Self {
            run: super::super::recharges::run_number(),
            next: Arc::default(),
            cards,
        }
    }

    /// A number that no other recharge has, and a card.
    fn next(&self) -> (u64, u64) {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        // A full period of a well mixed sequence: as good as random here, and cheap.
        let mixed = (number + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 20;
        (number, 1 + mixed % self.cards)
    }
}

/// When counting begins and ends.
#[derive(Clone, Copy)]
struct Window {
    begin: Instant,
    end: Instant,
}

impl Window {
    fn of(plan: Plan) -> Self {
        let begin = Instant::now() + plan.warm_up;
        Self {
            begin,
            end: begin + plan.duration,
        }
    }

    fn count(&self, outcome: &mut Outcome, began: Instant, result: Result<()>) {
        let now = Instant::now();
        match result {
            Ok(()) if now >= self.begin && now < self.end => {
                outcome.good += 1;
                outcome
                    .latencies
                    .push(u32::try_from((now - began).as_micros()).unwrap_or(u32::MAX));
            }
            Ok(()) => {}
            Err(error) => {
                outcome.errors += 1;
                outcome
                    .first_error
                    .get_or_insert_with(|| format!("{error:#}"));
            }
        }
    }
}

fn on_one_thread<F: Future<Output = Result<Outcome>>>(work: F) -> Result<Outcome> {
    runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("starting a runtime")?
        .block_on(work)
}

async fn together(mut clients: JoinSet<Result<Outcome>>, plan: Plan) -> Result<Outcome> {
    let mut all = Outcome {
        seconds: plan.duration.as_secs_f64(),
        ..Outcome::default()
    };
    while let Some(outcome) = clients.join_next().await {
        // Clients have no seconds of their own.
        all.add(outcome.context("a client broke down")??);
    }
    Ok(all)
}

/// Through HTTP; `header` is a whole line that says who calls. Blocks this thread.
pub fn over_http(target: SocketAddr, header: &str, plan: Plan) -> Result<Outcome> {
    let draw = Draw::new(plan.cards);
    on_one_thread(async move {
        let mut clients = JoinSet::new();
        let window = Window::of(plan);
        for _ in 0..plan.clients {
            clients.spawn(http_client(target, header.to_owned(), draw.clone(), window));
        }
        together(clients, plan).await
    })
}

async fn http_client(
    target: SocketAddr,
    header: String,
    draw: Draw,
    window: Window,
) -> Result<Outcome> {
    let mut outcome = Outcome::default();
    let (mut connection, mut request, mut body) = (None, String::new(), String::new());
    while Instant::now() < window.end {
        let (number, card) = draw.next();
        body.clear();
        request.clear();
        let _ = write!(body, "{{\"card_id\":{card},\"amount\":{AMOUNT}}}");
        let _ = write!(
            request,
            "POST /recharges HTTP/1.1\r\nHost: bench\r\n{header}\r\nContent-Type: application/json\r\n\
             Idempotency-Key: b{}-{number}\r\nContent-Length: {}\r\n\r\n{body}",
            draw.run,
            body.len()
        );
        let began = Instant::now();
        let exchange = exchange(&mut connection, target, request.as_bytes());
        let result = tokio::time::timeout(PATIENCE, exchange)
            .await
            .unwrap_or_else(|_| bail!("no answer within {PATIENCE:?}"));
        if result.is_err() {
            connection = None;
        }
        window.count(&mut outcome, began, result);
    }
    Ok(outcome)
}

struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

async fn exchange(
    connection: &mut Option<Connection>,
    target: SocketAddr,
    request: &[u8],
) -> Result<()> {
    let connection = match connection {
        Some(connection) => connection,
        none => {
            let stream = TcpStream::connect(target).await.context("connecting")?;
            stream.set_nodelay(true)?;
            none.insert(Connection {
                stream,
                buffer: Vec::with_capacity(8192),
            })
        }
    };
    connection.stream.write_all(request).await?;
    connection.buffer.clear();
    loop {
        if connection.stream.read_buf(&mut connection.buffer).await? == 0 {
            bail!("the connection was closed before an answer");
        }
        if let Some(status) = whole(&connection.buffer)? {
            if status == 201 {
                return Ok(());
            }
            let text = String::from_utf8_lossy(&connection.buffer);
            let last = text.lines().last().unwrap_or_default();
            bail!("{status}: {last}");
        }
    }
}

/// The status of an answer that is there to its end.
fn whole(bytes: &[u8]) -> Result<Option<u16>> {
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
        return Ok(None);
    };
    let head = std::str::from_utf8(&bytes[..end]).context("a head that is not text")?;
    let status = head.get(9..12).and_then(|status| status.parse().ok());
    let status = status.context("an answer without a status")?;
    let length: Option<usize> = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length")
            .then(|| value.trim().parse().ok())?
    });
    let length = length.context("an answer without a length")?;
    Ok((bytes.len() >= end + 4 + length).then_some(status))
}

/// Straight into the stored function, one call and one commit each, a connection per client. Blocks this thread.
pub fn into_the_function(url: &str, plan: Plan) -> Result<Outcome> {
    let draw = Draw::new(plan.cards);
    on_one_thread(async move {
        let mut connections = Vec::new();
        for _ in 0..plan.clients {
            connections.push(PgConnection::connect(url).await?);
        }
        let mut clients = JoinSet::new();
        let window = Window::of(plan);
        for connection in connections {
            clients.spawn(function_client(connection, draw.clone(), window));
        }
        together(clients, plan).await
    })
}

async fn function_client(
    mut connection: PgConnection,
    draw: Draw,
    window: Window,
) -> Result<Outcome> {
    let mut outcome = Outcome::default();
    let hash = [7_u8; 32];
    while Instant::now() < window.end {
        let (number, card) = draw.next();
        let began = Instant::now();
        let came_to: Result<String, sqlx::Error> = sqlx::query_scalar(
            "select outcome from travel.recharge('student1', $1, $2, $3, $4, null, null)",
        )
        .bind(format!("f{}-{number}", draw.run))
        .bind(&hash[..])
        .bind(card.cast_signed())
        .bind(AMOUNT)
        .fetch_one(&mut connection)
        .await;
        let result = match came_to {
            Ok(outcome) if outcome == "created" => Ok(()),
            Ok(outcome) => Err(anyhow::anyhow!("{outcome}")),
            Err(error) => Err(error.into()),
        };
        window.count(&mut outcome, began, result);
    }
    connection.close().await?;
    Ok(outcome)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_whole_when_its_body_is() {
        let text = "HTTP/1.1 201 Created\r\ncontent-length: 2\r\n\r\n{}";
        assert_eq!(whole(text.as_bytes()).unwrap(), Some(201));
        assert_eq!(whole(&text.as_bytes()[..text.len() - 1]).unwrap(), None);
        assert_eq!(whole(b"HTTP/1.1 20").unwrap(), None);
        assert!(whole(b"HTTP/1.1 201 Created\r\n\r\n").is_err());
    }

    #[test]
    fn percentiles_are_of_the_sorted() {
        let outcome = Outcome {
            latencies: vec![5, 1, 4, 2, 3],
            ..Outcome::default()
        };
        assert_eq!(outcome.percentile(0.5).to_string(), "3");
        assert_eq!(outcome.percentile(0.99).to_string(), "5");
        assert_eq!(Outcome::default().percentile(0.5).to_string(), "0");
    }

    #[test]
    fn cards_are_spread_and_numbers_differ() {
        let draw = Draw::new(100);
        let drawn: Vec<_> = (0..10_000).map(|_| draw.next()).collect();
        let mut each = [0; 101];
        for (expected, (number, card)) in drawn.iter().enumerate() {
            assert_eq!(*number, expected as u64);
            each[*card as usize] += 1;
        }
        assert!(each[0] == 0 && each[1..].iter().all(|count| (50..200).contains(count)));
    }
}
