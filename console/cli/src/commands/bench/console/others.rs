//! Other tools for terminals, where they are installed, in the same terminal and for the same time.

use std::{fmt::Write as _, path::Path, time::Duration};

use anyhow::Result;
use pty::{Program, Session};
use rustix::process::Signal;
use serde::Serialize;

use super::{
    Observable, console,
    measure::{PATIENCE, Stage, cost, kibibytes, mebibytes, milliseconds},
};
use crate::commands::bench::{
    process::find,
    table::{Row, Table, decimal},
};

const SIZES: [(u16, u16); 3] = [(80, 24), (120, 40), (200, 60)];

#[derive(Clone, Debug, Serialize)]
pub struct Tool {
    name: String,
    /// Nothing where it is not installed.
    figures: Option<Figures>,
    install: &'static str,
}

#[derive(Clone, Debug, Serialize)]
struct Figures {
    cpu_percent: Option<f64>,
    resident_mebibytes: Option<f64>,
    first_kibibyte_ms: Option<f64>,
    /// At 80x24, 120x40, 200x60.
    kibibytes_per_second: [f64; 3],
    /// Whether SIGTERM ends it and leaves the terminal as it was.
    restored_after_sigterm: bool,
}

pub fn measure(folder: Option<&Path>, duration: Duration) -> Result<Vec<Tool>> {
    let observable = Observable::new(folder)?;
    let stage = Stage::busy()?;
    let target = format!("http://{}/metrics", stage.instances[0].address());
    let log = stage.lab.path().join("a.log");
    let mut lines = String::new();
    for number in 0..100_000 {
        writeln!(
            lines,
            "2026-01-01T00:00:00Z INFO gateway-1 GET /cards/{number}/balance 200"
        )?;
    }
    std::fs::write(&log, lines)?;
    let log = log.to_string_lossy();
    let peers: [(&str, &str, Vec<&str>, &'static str); 6] = [
        ("htop, 2 Hz", "htop", vec!["-d", "5"], "apt install htop"),
        ("btop, 0.5 Hz", "btop", vec![], "apt install btop"),
        (
            "bottom, 2 Hz",
            "btm",
            vec!["-r", "500"],
            "cargo install bottom",
        ),
        (
            "oha, 16 fps",
            "oha",
            vec!["-z", "10m", "-q", "200", &target],
            "cargo install oha",
        ),
        (
            "oha, 4 fps",
            "oha",
            vec!["-z", "10m", "-q", "200", "--fps", "4", &target],
            "cargo install oha",
        ),
        ("lnav, a still file", "lnav", vec![&log], "apt install lnav"),
    ];
    let mut tools = vec![Tool {
        name: "recarga console, 4 fps".to_owned(),
        figures: Some(figures(console(observable.path())?, duration)?),
        install: "",
    }];
    for (name, program, arguments, install) in peers {
        let found = find(program);
        if found.is_some() {
            crate::terminal::tell(format_args!("{name} …"));
        }
        let figures = match found {
            Some(path) => figures(Program::new(path).arguments(arguments), duration).ok(),
            None => None,
        };
        tools.push(Tool {
            name: name.to_owned(),
            figures,
            install,
        });
    }
    Ok(tools)
}

fn figures(program: Program, duration: Duration) -> Result<Figures> {
    let home = tempfile::tempdir()?;
    // Settings of their own must neither count nor change.
    let program = program
        .environment("HOME", home.path())
        .environment("XDG_CONFIG_HOME", home.path())
        .size(120, 40);
    let session = program.start()?;
    let first = session.wait_for("it draws", PATIENCE, |seen| seen.first_after(1_023));
    let first = first
        .ok()
        .map(|at| milliseconds(at.saturating_duration_since(session.started())));
    std::thread::sleep(duration.min(Duration::from_secs(2)));
    let mut rates = [0.0; 3];
    let mut cpu = None;
    for ((columns, rows), rate) in SIZES.into_iter().zip(&mut rates) {
        session.resize(columns, rows)?;
        // What the resize itself draws is not measured.
        std::thread::sleep(Duration::from_secs(1));
        let cost = cost(&session, duration);
        *rate = kibibytes(cost.rate);
        if columns == 120 {
            cpu = cost.cpu;
        }
    }
    let resident = mebibytes(session.resident());
    Ok(Figures {
        cpu_percent: cpu,
        resident_mebibytes: resident,
        first_kibibyte_ms: first,
        kibibytes_per_second: rates,
        restored_after_sigterm: ends_in_order(&session),
    })
}

fn ends_in_order(session: &Session) -> bool {
    session.signal(Signal::TERM).is_ok()
        && session.until_left().is_ok()
        && session.not_restored().is_empty()
}

pub fn table(tools: &[Tool]) -> Table {
    let row = |tool: &Tool| match &tool.figures {
        None => Row::Words(
            tool.name.clone(),
            format!("not installed: {}", tool.install),
        ),
        Some(figures) => {
            let mut row = vec![
                tool.name.clone(),
                decimal(figures.cpu_percent, 2),
                decimal(figures.resident_mebibytes, 1),
                decimal(figures.first_kibibyte_ms, 0),
            ];
            let rates = figures.kibibytes_per_second;
            row.extend(rates.map(|rate| decimal(Some(rate), 1)));
            let restored = if figures.restored_after_sigterm {
                "yes"
            } else {
                "no"
            };
            row.push(restored.to_owned());
            Row::Cells(row)
        }
    };
    Table {
        title: "Beside other tools, without traffic".to_owned(),
        header: vec![
            "tool",
            "CPU %",
            "MiB",
            "first KiB ms",
            "KiB/s 80x24",
            "120x40",
            "200x60",
            "SIGTERM restores",
        ],
        rows: tools.iter().map(row).collect(),
    }
}
