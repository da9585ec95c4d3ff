//! What looking costs those who are looked at: every service of the lab with and without the console.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use kit::Topology;
use serde::Serialize;

use super::{console, measure::first_frame, target::Measured};
use crate::commands::bench::{
    table::{Row, Table, decimal},
    usage::Cpu,
};

/// After the start and the end of a console, before anything is counted.
const SETTLE: Duration = Duration::from_secs(2);

/// One process, in per cent of a core.
#[derive(Clone, Debug, Serialize)]
pub struct Service {
    name: String,
    without: f64,
    with: f64,
}

#[derive(Clone, Debug)]
pub struct Observed {
    services: Vec<Service>,
}

/// Looks at the services without, with, and once more without a console.
pub fn measure(folder: &Path, topology: &Topology, duration: Duration) -> Result<Observed> {
    let services: Vec<(String, u32)> = topology
        .instances
        .iter()
        .filter_map(|instance| Some((instance.name.clone(), instance.pid?)))
        .collect();
    let before = shares(&services, duration);
    let session = console(folder)?.size(120, 40).start()?;
    first_frame(&session)?;
    std::thread::sleep(SETTLE);
    let with = shares(&services, duration);
    session.keys("\x03")?;
    ensure!(session.until_left()? == 0, "the console failed");
    std::thread::sleep(SETTLE);
    let after = shares(&services, duration);
    let services = services
        .into_iter()
        .zip(before.into_iter().zip(after))
        .zip(with)
        .filter_map(|(((name, _), (before, after)), with)| {
            Some(Service {
                name,
                without: f64::midpoint(before?, after?),
                with: with?,
            })
        })
        .collect();
    Ok(Observed { services })
}

/// The share of a core that each process takes for a while.
fn shares(services: &[(String, u32)], duration: Duration) -> Vec<Option<f64>> {
    let look = || -> Vec<Option<Cpu>> {
        let each = services.iter().map(|(_, pid)| Cpu::of(&[*pid]));
        each.collect()
    };
    let (started, before) = (Instant::now(), look());
    std::thread::sleep(duration);
    let (after, seconds) = (look(), started.elapsed().as_secs_f64());
    let each = before.into_iter().zip(after);
    each.map(|(before, after)| Some(after?.since(before?, 1).0 / 1e4 / seconds))
        .collect()
}

impl Observed {
    pub fn summary(&self) -> Measured {
        let added = self.services.iter().map(|one| one.with - one.without);
        Measured::new(
            "CPU that looking adds to a service, at most",
            "% of a core",
            added.reduce(f64::max),
            1.0,
        )
    }

    pub fn table(&self) -> Table {
        let row = |one: &Service| {
            let cells = [one.without, one.with, one.with - one.without];
            let mut row = vec![one.name.clone()];
            row.extend(cells.map(|cell| decimal(Some(cell), 2)));
            Row::Cells(row)
        };
        Table {
            title: "CPU of the services, % of a core".to_owned(),
            header: vec!["service", "without a console", "with one", "added"],
            rows: self.services.iter().map(row).collect(),
        }
    }

    pub fn document(self) -> Vec<Service> {
        self.services
    }
}
