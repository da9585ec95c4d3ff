//! `recarga bench`: the edge beside nginx and HAProxy, the layers of a running lab, durable writes, the queue, overload, the
//! console.

mod chain;
mod console;
mod durable;
mod edge;
mod exchange;
mod freshness;
mod machine;
mod overload;
mod peers;
mod process;
mod queue;
mod race;
pub mod recharges;
mod report;
mod stage;
mod table;
pub mod upstream;
mod url;
mod usage;

use std::path::Path;

use anyhow::{Context as _, Result};

use crate::{arguments::bench::Measure, exit};

pub async fn run(directory: &Path, what: Measure) -> Result<u8> {
    let shutdown = kit::Shutdown::on_signals()?;
    let work = async {
        match what {
            Measure::Edge(edge) => edge::run(directory, &edge, &shutdown).await,
            Measure::Chain(chain) => chain::run(directory, &chain, &shutdown).await,
            Measure::Recharges(recharges) => recharges::run(directory, &recharges).await,
            Measure::Durable(durable) => durable::run(&durable).await,
            Measure::Queue(queue) => queue::run(&queue).await,
            Measure::Overload(overload) => overload::run(&overload).await,
            Measure::Freshness(freshness) => freshness::run(directory, &freshness).await,
            Measure::Console(console) => console::run(directory, &console).await,
            Measure::Url(url) => url::run(&url).await,
        }
    };
    tokio::pin!(work);
    tokio::select! {
        result = &mut work => return result,
        () = shutdown.requested() => {}
    }
    // What was changed in a lab is put back; what was started ends with its pipe.
    let put_back = std::time::Duration::from_secs(2);
    let _ = tokio::time::timeout(put_back, work).await;
    Ok(exit::INTERRUPTED)
}

/// Runs what blocks on a thread of its own, which, unlike a runtime's, nobody waits for when the benchmark is interrupted.
async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    let (sender, result) = tokio::sync::oneshot::channel();
    std::thread::Builder::new()
        .name("load".to_owned())
        .spawn(move || {
            let _ = sender.send(work());
        })
        .context("starting a thread for the load")?;
    result.await.context("the load generator ended too early")
}
