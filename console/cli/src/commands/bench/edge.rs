//! `recarga bench edge`: our balancer, nginx and HAProxy in turn before the same upstreams.

use std::path::Path;

use anyhow::Result;
use kit::Shutdown;
use load::raw::{Expected, Request};
use serde::Serialize;
use serde_json::json;

use super::{
    chain,
    machine::Machine,
    peers::Peer,
    process::{Bench, Process, raise_open_files},
    race::{Contender, Figures, Settings, race},
    report::{Report, errors, explanations, mebibytes, row},
    stage::balancer_takes,
    table::{Table, decimal, whole},
};
use crate::{arguments::bench::Edge, exit, terminal::tell};

/// The proxies beside ours, with and without the headers that a balancer must add.
const PEERS: [(&str, Peer, bool); 4] = [
    ("nginx", Peer::Nginx, false),
    ("nginx +h", Peer::Nginx, true),
    ("HAProxy", Peer::Haproxy, false),
    ("HAProxy +h", Peer::Haproxy, true),
];

/// One table: all proxies under the same conditions.
#[derive(Clone, Debug, Serialize)]
pub struct Cell {
    pub workers: u16,
    pub connections: u16,
    pub body_bytes: u32,
    pub upstreams: &'static str,
    pub rows: Vec<Line>,
}

/// One proxy's line: figures, or why there are none.
#[derive(Clone, Debug, Serialize)]
pub struct Line {
    pub proxy: &'static str,
    #[serde(flatten)]
    pub result: Outcome,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Figures(Figures),
    Absent(String),
}

impl From<Result<Figures, String>> for Outcome {
    fn from(result: Result<Figures, String>) -> Self {
        match result {
            Ok(figures) => Self::Figures(figures),
            Err(words) => Self::Absent(words),
        }
    }
}

impl Outcome {
    fn result(&self) -> Result<Figures, String> {
        match self {
            Self::Figures(figures) => Ok(figures.clone()),
            Self::Absent(words) => Err(words.clone()),
        }
    }
}

pub async fn run(directory: &Path, arguments: &Edge, shutdown: &Shutdown) -> Result<u8> {
    raise_open_files();
    let machine = Machine::look();
    tell(machine.line());
    let conditions: Vec<(u16, u16, u32)> = arguments
        .workers()
        .into_iter()
        .flat_map(|workers| {
            arguments.bodies().into_iter().flat_map(move |body| {
                let connections = arguments.connections();
                connections
                    .into_iter()
                    .map(move |count| (workers, count, body))
            })
        })
        .collect();
    let mut cells = Vec::new();
    for (number, (workers, connections, body)) in conditions.iter().copied().enumerate() {
        let settings = Settings::new(&arguments.method, connections);
        let heading = format!("table {} of {}", number + 1, conditions.len());
        cells.push(cell(arguments, settings, workers, connections, body, &heading).await?);
    }
    let lab = host::running_topology(directory).ok();
    let mut notes = notes(arguments, lab.is_some());
    let mut tables: Vec<Table> = cells.iter().map(table).collect();
    for cell in &cells {
        let results: Vec<_> = cell.rows.iter().map(|line| line.result.result()).collect();
        let names = cell.rows.iter().map(|line| line.proxy);
        notes.extend(explanations(names.zip(&results)));
    }
    let layers = if let Some(topology) = lab {
        let settings = Settings::new(&arguments.method, 64);
        let layers = chain::measure(directory, &topology, settings, shutdown).await?;
        tables.push(chain::table(&layers));
        notes.extend(chain::notes(&layers));
        Some(layers)
    } else {
        notes.push(format!(
            "No lab runs in {}, so the layers of the chain are not here: `recarga up --no-console` in another terminal, then `recarga bench chain`.",
            directory.display()
        ));
        None
    };
    let document = json!({"edge": cells, "chain": layers});
    let report = Report {
        machine,
        tables,
        notes,
        document,
    };
    let method = &arguments.method;
    report.publish(method.json, method.output.as_deref())?;
    Ok(exit::SUCCESS)
}

/// Starts everything afresh, so that the memory is that of these conditions, and runs the rounds.
async fn cell(
    arguments: &Edge,
    settings: Settings,
    workers: u16,
    connections: u16,
    body: u32,
    heading: &str,
) -> Result<Cell> {
    let bench = Bench::new()?;
    let upstreams = bench
        .upstreams(&[body], arguments.built_in_upstreams)
        .await?;
    let path = format!("/{body}");
    let probe = (&path[..], Some(u64::from(body)));
    let contender = |target, role, process: &Process| {
        anyhow::Ok(Contender {
            target,
            request: Request::get(target, &path, &[])?,
            expected: Expected::ok(Some(u64::from(body))),
            roles: vec![(role, process.pids())],
        })
    };
    let mut names = vec!["direct", "recarga"];
    let balancer = bench
        .balancer(&upstreams.addresses, Some(workers), probe)
        .await?
        .proxy;
    let mut contenders = vec![
        contender(upstreams.addresses[0], "upstream", &upstreams.process)?,
        contender(balancer.address, "proxy", &balancer.process)?,
    ];
    let mut running = vec![balancer.process];
    let mut absent = Vec::new();
    for (name, peer, headers) in PEERS {
        let started = bench.peer(peer, headers, &upstreams.addresses, workers, probe);
        match started.await {
            Ok(proxy) => {
                contenders.push(contender(proxy.address, "proxy", &proxy.process)?);
                running.push(proxy.process);
                names.push(name);
            }
            Err(words) => absent.push((name, words)),
        }
    }
    let takes = settings.takes(contenders.len()).as_secs();
    let results = race(&contenders, Some(0), settings, |round| {
        tell(format_args!(
            "{heading}: {workers} workers, {connections} connections, {body} bytes: round {round} of {} (the table takes {takes} s)",
            settings.rounds
        ));
    })
    .await?;
    for process in running.into_iter().chain([upstreams.process]) {
        process.stop().await;
    }
    let measured = names.into_iter().zip(results);
    let mut rows: Vec<Line> = measured
        .map(|(proxy, result)| Line {
            proxy,
            result: result.into(),
        })
        .collect();
    rows.extend(absent.into_iter().map(|(proxy, words)| Line {
        proxy,
        result: Outcome::Absent(words),
    }));
    Ok(Cell {
        workers,
        connections,
        body_bytes: body,
        upstreams: upstreams.kind,
        rows,
    })
}

fn table(cell: &Cell) -> Table {
    let plural = if cell.workers == 1 { "" } else { "s" };
    let cells = |figures: &Figures| {
        let cpu = figures.cpu();
        vec![
            whole(figures.rate),
            decimal(figures.of_reference, 2),
            whole(figures.p50_us),
            decimal(Some(figures.p99_us / 1000.0), 2),
            decimal(cpu.map(|cpu| cpu.total), 1),
            decimal(cpu.map(|cpu| cpu.user), 1),
            mebibytes(figures),
            errors(figures),
        ]
    };
    Table {
        title: format!(
            "{} worker{plural}, {} connections, {} bytes; upstreams: {}",
            cell.workers,
            cell.connections,
            whole(cell.body_bytes.into()),
            cell.upstreams
        ),
        header: vec![
            "proxy",
            "requests/s",
            "of direct",
            "p50 µs",
            "p99 ms",
            "CPU µs/request",
            "in user code",
            "memory MiB",
            "errors",
        ],
        rows: cell
            .rows
            .iter()
            .map(|line| row(line.proxy, &line.result.result(), cells))
            .collect(),
    }
}

fn notes(arguments: &Edge, lab: bool) -> Vec<String> {
    let method = &arguments.method;
    let mut notes = vec![format!(
        "Medians of {} rounds of {:?}, in turn; closed loop, {} thread(s) of load. direct = the upstream itself. CPU and memory are those of the proxy's processes (direct: the upstream's); shared memory counts in part.",
        method.rounds(),
        method.duration(),
        method.threads
    )];
    notes.push("nginx and HAProxy: keep-alive and reuse (pools of 2,048), no logs, no health checks; +h = told to add X-Forwarded-For and X-Request-Id, as a balancer must. recarga: as in a lab, with metrics, logs and health checks.".to_owned());
    if !balancer_takes("workers") {
        notes.push("recarga's balancer has no workers of its own yet: its runtime got as many threads (TOKIO_WORKER_THREADS).".to_owned());
    }
    if lab {
        notes.push("A lab was running beside all this.".to_owned());
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::bench::race::CpuFigure;

    #[test]
    fn a_table_of_figures_and_of_who_is_not_there() {
        let figures = Figures {
            rate: 91_234.4,
            of_reference: Some(0.456),
            p50_us: 496.0,
            p99_us: 1250.0,
            cpu_us: [(
                "proxy",
                CpuFigure {
                    total: 8.54,
                    user: 0.91,
                },
            )]
            .into(),
            memory_bytes: Some(10_485_760.0),
            generator_us: None,
            errors: 0,
            first_error: None,
        };
        let cell = Cell {
            workers: 1,
            connections: 64,
            body_bytes: 65_536,
            upstreams: "nginx, one worker",
            rows: vec![
                Line {
                    proxy: "recarga",
                    result: Ok(figures).into(),
                },
                Line {
                    proxy: "HAProxy +h",
                    result: Err("not installed".to_owned()).into(),
                },
            ],
        };
        let expected = "\
1 worker, 64 connections, 65,536 bytes; upstreams: nginx, one worker
proxy       requests/s  of direct  p50 µs  p99 ms  CPU µs/request  in user code  memory MiB  errors
recarga         91,234       0.46     496    1.25             8.5           0.9        10.0       0
HAProxy +h  not installed
";
        assert_eq!(table(&cell).text(), expected);
        let document = serde_json::to_value(&cell).unwrap();
        assert_eq!(document["rows"][0]["figures"]["p99_us"], 1250.0);
        assert_eq!(document["rows"][1]["absent"], "not installed");
    }
}
