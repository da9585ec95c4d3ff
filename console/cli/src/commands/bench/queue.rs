//! `recarga bench queue`: what the queue service takes and gives over HTTP, beside what the same Redis takes from
//! redis-benchmark, which does nothing but append.

use std::{
    fmt::Write as _,
    net::SocketAddr,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    aside,
    exchange::{Connection, request},
    machine::Machine,
    process::{Bench, Process, find, free_addresses, raise_open_files},
    report::Report,
    table::{Row, Table, decimal, whole},
};
use crate::{
    arguments::bench::{Method, Queue},
    exit,
    terminal::tell,
};

/// What redis-benchmark reaches on small machines; only how long its runs last depends on it.
const GUESS: [(u16, f64); 3] = [(1, 60_000.0), (16, 250_000.0), (100, 400_000.0)];
const CLASSES: [&str; 2] = ["fast", "durable"];

/// The figures of one batch size: messages a second, medians over the rounds.
#[derive(Clone, Copy, Debug, Default, Serialize)]
struct Line {
    batch: u16,
    /// redis-benchmark's XADD, as many in a pipeline.
    limit: f64,
    fast: Pace,
    durable: Pace,
}

#[derive(Clone, Copy, Debug, Default, Serialize)]
struct Pace {
    sends: f64,
    /// Received and acknowledged.
    cycles: f64,
}

pub async fn run(arguments: &Queue) -> Result<u8> {
    raise_open_files();
    let benchmark = find("redis-benchmark")
        .or_else(|| find("valkey-benchmark"))
        .context("redis-benchmark is not installed; it comes with Redis (Debian: apt install redis-tools)")?;
    let bench = Bench::new()?;
    let (redis, redis_address) = start_redis(&bench).await?;
    let (queue, target) = start_queue(&bench, redis_address).await?;
    let measured = measure(arguments, &benchmark, redis_address, target).await;
    queue.stop().await;
    redis.stop().await;
    let lines = measured?;
    let report = Report {
        machine: Machine::look(),
        tables: vec![table(&lines, arguments)],
        notes: notes(&lines),
        document: json!({"queue": lines, "connections": arguments.connections, "body_bytes": arguments.body}),
    };
    report.publish(arguments.method.json, arguments.method.output.as_deref())?;
    Ok(exit::SUCCESS)
}

/// A Redis that keeps what durable queues promise, as a lab's own does.
async fn start_redis(bench: &Bench) -> Result<(Process, SocketAddr)> {
    let tool = host::find::redis()
        .found()
        .context("Redis 7.0 or newer, or Valkey, is needed: `recarga doctor` helps")?;
    let address = free_addresses(1)?[0];
    let folder = bench.folder().join("redis");
    std::fs::create_dir_all(&folder)?;
    let mut configuration = String::new();
    let _ = write!(
        configuration,
        "bind 127.0.0.1\nport {}\ndir \"{}\"\nsave \"\"\nappendonly yes\nappendfsync always\n\
         # A rewrite in the middle of a measurement would be measured.\nauto-aof-rewrite-percentage 0\n",
        address.port(),
        folder.display(),
    );
    let file = folder.join("redis.conf");
    std::fs::write(&file, configuration)?;
    let process = bench.guarded("redis", &[tool.program.into(), file.into()])?;
    let deadline = Instant::now() + Duration::from_secs(20);
    while tokio::net::TcpStream::connect(address).await.is_err() {
        ensure!(Instant::now() < deadline, "Redis did not come up");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok((process, address))
}

async fn start_queue(bench: &Bench, redis: SocketAddr) -> Result<(Process, SocketAddr)> {
    let addresses = free_addresses(2)?;
    let arguments = [
        "serve",
        "queue",
        "--instance",
        "queue-1",
        "--listen",
        &addresses[0].to_string(),
        "--admin-listen",
        &addresses[1].to_string(),
        "--max-depth",
        "100000000",
        "--max-bytes",
        "100000000000",
    ]
    .map(str::to_owned);
    let environment = [
        ("RECARGA_REDIS_URL", format!("redis://{redis}")),
        (
            "RECARGA_OPERATOR_TOKEN",
            "a-token-for-one-benchmark".to_owned(),
        ),
    ];
    let mut process = bench.ours("queue", &arguments, &environment)?;
    bench
        .until_it_answers(&mut process, addresses[1], "/readyz", None)
        .await?;
    Ok((process, addresses[0]))
}

async fn measure(
    arguments: &Queue,
    benchmark: &Path,
    redis: SocketAddr,
    target: SocketAddr,
) -> Result<Vec<Line>> {
    let method = &arguments.method;
    let mut rounds: Vec<Vec<Line>> = Vec::new();
    for round in 0..method.rounds() {
        tell(format_args!(
            "round {} of {}: {} batch sizes, {} s each time",
            round + 1,
            method.rounds(),
            arguments.batches.len(),
            method.duration().as_secs_f64()
        ));
        let mut lines = Vec::new();
        for &batch in &arguments.batches {
            let mut line = Line {
                batch,
                limit: limit(benchmark, redis, arguments, batch).await?,
                ..Line::default()
            };
            for class in CLASSES {
                let pace = pace(target, arguments, batch, class).await?;
                match class {
                    "fast" => line.fast = pace,
                    _ => line.durable = pace,
                }
            }
            lines.push(line);
        }
        rounds.push(lines);
    }
    Ok((0..arguments.batches.len())
        .map(|at| {
            let median = |figure: &dyn Fn(&Line) -> f64| {
                let mut figures: Vec<f64> = rounds.iter().map(|lines| figure(&lines[at])).collect();
                figures.sort_by(f64::total_cmp);
                figures[figures.len() / 2]
            };
            Line {
                batch: rounds[0][at].batch,
                limit: median(&|line| line.limit),
                fast: Pace {
                    sends: median(&|line| line.fast.sends),
                    cycles: median(&|line| line.fast.cycles),
                },
                durable: Pace {
                    sends: median(&|line| line.durable.sends),
                    cycles: median(&|line| line.durable.cycles),
                },
            }
        })
        .collect())
}

/// What redis-benchmark reaches with bodies of the same size.
async fn limit(benchmark: &Path, redis: SocketAddr, arguments: &Queue, batch: u16) -> Result<f64> {
    let guess = GUESS
        .iter()
        .rev()
        .find(|(pipeline, _)| *pipeline <= batch)
        .map_or(60_000.0, |(_, rate)| *rate);
    let count = (guess * arguments.method.duration().as_secs_f64()) as u64;
    let run = async |words: &[&str]| -> Result<String> {
        let mut command = tokio::process::Command::new(benchmark);
        command
            .args(["-h", "127.0.0.1", "-p", &redis.port().to_string()])
            .args(words)
            .stdin(std::process::Stdio::null())
            .kill_on_drop(true);
        let output = command.output().await.context("running redis-benchmark")?;
        ensure!(
            output.status.success(),
            "redis-benchmark failed: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let body = "x".repeat(arguments.body as usize);
    let said = run(&[
        "-c",
        &arguments.connections.to_string(),
        "-n",
        &count.max(1000).to_string(),
        "-P",
        &batch.to_string(),
        "--csv",
        "XADD",
        "limit",
        "*",
        "b",
        &body,
    ])
    .await?;
    run(&["-n", "1", "UNLINK", "limit"]).await?;
    rate_of(&said)
}

/// The second field of the last line of redis-benchmark's CSV.
fn rate_of(csv: &str) -> Result<f64> {
    csv.lines()
        .rev()
        .find_map(|line| {
            let field = line.split("\",\"").nth(1)?;
            field.trim_matches('"').parse().ok()
        })
        .with_context(|| format!("redis-benchmark said something else than a rate: {csv:?}"))
}

/// Sends to a new queue, then empties it.
async fn pace(
    target: SocketAddr,
    arguments: &Queue,
    batch: u16,
    class: &'static str,
) -> Result<Pace> {
    let method: &Method = &arguments.method;
    let settings = Settings {
        target,
        connections: arguments.connections,
        batch,
        body: arguments.body,
        duration: method.duration(),
        warm_up: method.warm_up(),
        name: format!("bench-{class}-{batch}"),
        class,
    };
    aside(move || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("making a runtime")?
            .block_on(settings.pace())
    })
    .await?
}

struct Settings {
    target: SocketAddr,
    connections: u16,
    batch: u16,
    body: u32,
    duration: Duration,
    warm_up: Duration,
    name: String,
    class: &'static str,
}

#[derive(Deserialize)]
struct Sent {
    durability: String,
}

#[derive(Deserialize)]
struct Received<'a> {
    #[serde(borrow)]
    messages: Vec<Delivery<'a>>,
}

#[derive(Deserialize)]
struct Delivery<'a> {
    receipt: &'a str,
}

#[derive(Deserialize)]
struct Acknowledged {
    acknowledged: u64,
}

impl Settings {
    async fn pace(&self) -> Result<Pace> {
        let path = format!("/queues/{}", self.name);
        let mut control = Connection::open(self.target).await?;
        let class = json!({"durability": self.class}).to_string();
        control
            .exchange(&request("PUT", &path, class.as_bytes()))
            .await?;
        let sends = self.sends(&path).await?;
        let cycles = self.cycles(&path).await?;
        control.exchange(&request("DELETE", &path, b"")).await?;
        Ok(Pace { sends, cycles })
    }

    async fn sends(&self, path: &str) -> Result<f64> {
        let body = format!("\"{}\"", "x".repeat(self.body as usize - 2));
        let body = if self.batch == 1 {
            format!("{{\"body\":{body}}}")
        } else {
            let messages = vec![format!("{{\"body\":{body}}}"); self.batch.into()];
            format!("{{\"messages\":[{}]}}", messages.join(","))
        };
        let send = request("POST", &format!("{path}/messages"), body.as_bytes());
        let first = {
            let mut connection = Connection::open(self.target).await?;
            let answer = connection.exchange(&send).await?;
            serde_json::from_slice::<Sent>(answer)?.durability
        };
        ensure!(
            first == self.class,
            "a queue that was to be {} says that it is {first}",
            self.class
        );
        self.in_loops(async |connection| {
            connection.exchange(&send).await?;
            Ok(u64::from(self.batch))
        })
        .await
    }

    async fn cycles(&self, path: &str) -> Result<f64> {
        let receive = request(
            "GET",
            &format!("{path}/messages?max={}&visibility_seconds=600", self.batch),
            b"",
        );
        let acknowledge = format!("{path}/acknowledge");
        self.in_loops(async |connection| {
            let answer = connection.exchange(&receive).await?;
            let received: Received = serde_json::from_slice(answer)?;
            if received.messages.is_empty() {
                // Emptied before the time was over.
                return Ok(0);
            }
            let receipts: Vec<&str> = received.messages.iter().map(|m| m.receipt).collect();
            let body = serde_json::to_vec(&json!({"receipts": receipts}))?;
            let request = request("POST", &acknowledge, &body);
            let answer = connection.exchange(&request).await?;
            let ended: Acknowledged = serde_json::from_slice(answer)?;
            Ok(ended.acknowledged)
        })
        .await
    }

    /// Messages a second, over all connections, between the end of the warm-up and the end of the time, or the moment when
    /// nothing was left.
    async fn in_loops(&self, work: impl AsyncFn(&mut Connection) -> Result<u64>) -> Result<f64> {
        let began = Instant::now();
        let (from, to) = (began + self.warm_up, began + self.warm_up + self.duration);
        let one = async || -> Result<(u64, Instant)> {
            let mut connection = Connection::open(self.target).await?;
            let mut count = 0;
            loop {
                let done = work(&mut connection).await?;
                let now = Instant::now();
                if done == 0 || now >= to {
                    return Ok((count, now.min(to)));
                }
                if now >= from {
                    count += done;
                }
            }
        };
        let all = (0..self.connections).map(|_| one());
        let results = futures::future::join_all(all).await;
        let mut count = 0;
        let mut last = from;
        for result in results {
            let (done, ended) = result?;
            count += done;
            last = last.max(ended);
        }
        if count == 0 {
            bail!(
                "nothing was left to measure after the warm-up; give it more time with --duration"
            );
        }
        Ok(count as f64 / (last - from).as_secs_f64().max(0.001))
    }
}

fn table(lines: &[Line], arguments: &Queue) -> Table {
    let of = |figure: f64, line: &Line| decimal((line.limit > 0.0).then(|| figure / line.limit), 2);
    Table {
        title: format!(
            "The queue: messages a second, {} connections, bodies of {} bytes, Redis with appendfsync always",
            arguments.connections, arguments.body
        ),
        header: vec![
            "a batch",
            "XADD limit",
            "fast sends",
            "of limit",
            "durable sends",
            "of limit",
            "fast cycles",
            "of limit",
            "durable cycles",
            "of limit",
        ],
        rows: lines
            .iter()
            .map(|line| {
                let mut cells = vec![line.batch.to_string(), whole(line.limit)];
                for figure in [
                    line.fast.sends,
                    line.durable.sends,
                    line.fast.cycles,
                    line.durable.cycles,
                ] {
                    cells.push(whole(figure));
                    cells.push(of(figure, line));
                }
                Row::Cells(cells)
            })
            .collect(),
    }
}

fn notes(lines: &[Line]) -> Vec<String> {
    let mut notes = vec![
        "limit: redis-benchmark's XADD of the bare body, as many in a pipeline as the service gets in a call".to_owned(),
        "a cycle is a message received and acknowledged; both answers are waited for".to_owned(),
    ];
    if let Some(line) = lines.iter().find(|line| line.batch == 100) {
        let share = line.fast.sends / line.limit;
        let verdict = if share > 0.5 { "met" } else { "missed" };
        notes.push(format!(
            "target, above half of the limit with 100 a batch in the fast class: {verdict} ({share:.2})"
        ));
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_read_of_either_csv() {
        let new = "\"test\",\"rps\",\"avg_latency_ms\",\"min_latency_ms\",\"p50_latency_ms\",\"p95_latency_ms\",\"p99_latency_ms\",\"max_latency_ms\"\n\
                   \"XADD limit * b xxx\",\"61234.50\",\"0.5\",\"0.1\",\"0.4\",\"0.9\",\"1.0\",\"2.0\"\n";
        assert!((rate_of(new).unwrap() - 61_234.5).abs() < 0.01);
        let old = "\"XADD limit * b xxx\",\"500.00\"\n";
        assert!((rate_of(old).unwrap() - 500.0).abs() < 0.01);
        assert!(rate_of("nothing").is_err());
    }

    #[test]
    fn a_target_that_is_missed_is_said_so() {
        let mut line = Line {
            batch: 100,
            limit: 100.0,
            ..Line::default()
        };
        line.fast.sends = 40.0;
        assert!(notes(&[line])[2].contains("missed (0.40)"));
        line.fast.sends = 60.0;
        assert!(notes(&[line])[2].contains("met (0.60)"));
    }
}
