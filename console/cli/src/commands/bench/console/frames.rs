//! Frames: how long they take to build, to compare with what is shown, and to encode.

use std::time::Duration;

use anyhow::Result;
use app::{Options, TopologySource};

use super::{
    measure::{Stage, milliseconds, quantile},
    target::Measured,
};
use crate::commands::bench::aside;

const SIZES: [((u16, u16), f64); 2] = [((200, 60), 4.0), ((300, 100), 8.0)];

/// Log lines a second meanwhile.
const RATE: u32 = 1_000;

pub async fn measure(quick: bool) -> Result<Vec<Measured>> {
    let count = if quick { 30 } else { 200 };
    let handle = tokio::runtime::Handle::current();
    aside(move || {
        let stage = Stage::busy()?;
        let topology = TopologySource::Path(stage.lab.path().join("topology.json"));
        let mut measured = Vec::new();
        for (size, target) in SIZES {
            let options = Options::new(topology.clone());
            let times = stage.flood(RATE, || {
                handle.block_on(app::time_frames(
                    options,
                    size,
                    Duration::from_secs(2),
                    count,
                ))
            })?;
            let (width, height) = size;
            for (name, part, target) in [("p50", 0.5, None), ("p99", 0.99, Some(target))] {
                measured.push(Measured::new(
                    format!("frame built, compared and encoded, {name}, {width}x{height}"),
                    "ms",
                    quantile(&times, part).map(milliseconds),
                    target,
                ));
            }
        }
        Ok(measured)
    })
    .await?
}
