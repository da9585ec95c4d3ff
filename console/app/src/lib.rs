//! The terminal console: a client of the lab's public surfaces that shows where every request goes.
//!
//! Three places that know little of each other: `net` talks to the lab, `state` is the model and knows neither
//! terminal nor HTTP, `view` draws it and changes nothing. `console` is the one loop that connects them.

mod console;
mod export;
mod frames;
mod keys;
mod net;
mod options;
mod plain;
mod recording;
#[cfg(debug_assertions)]
mod rehearsal;
mod replay;
mod state;
mod terminal;
mod view;

use std::io::{IsTerminal as _, Write as _};

use anyhow::{Context, ensure};
use tokio_util::sync::CancellationToken;

pub use frames::time_frames;
use net::BASELINE;
pub use net::topology::{Names, TopologySource, whereabouts};
pub use options::{Options, Secrets, Settings};
pub use plain::{Form, Limit, Verdict, Watch, watch};
pub use recording::{Recording, What};
pub use replay::play;

/// Shows the console until the operator quits, the process is told to end, or `shutdown` is cancelled.
/// The terminal is given back however it ends; traffic started from the console ends with it.
pub async fn run(options: Options, shutdown: CancellationToken) -> anyhow::Result<()> {
    ensure!(
        std::io::stdout().is_terminal() && std::io::stdin().is_terminal(),
        "the console needs a terminal"
    );
    ensure!(
        std::env::var_os("TERM").is_none_or(|term| term != "dumb"),
        "this terminal can only print (TERM=dumb): `recarga status` and `recarga logs` show the same as text"
    );
    let rights = options.rights()?;
    options.check()?;
    let keymap = options.keymap()?;
    let look = options.look(|name| std::env::var(name).ok());
    let recorder = options
        .record
        .as_deref()
        .map(recording::Recorder::create)
        .transpose()?;
    let mut wire = net::Wire::start(
        options.topology.clone(),
        rights,
        options.labs.clone(),
        shutdown.child_token(),
    )
    .context("cannot prepare HTTP")?;
    let signals = console::Signals::new().context("cannot listen to signals")?;
    let result = {
        let mut screen =
            terminal::Screen::enter(recorder).context("cannot take over the terminal")?;
        #[cfg(debug_assertions)]
        rehearsal::in_a_task();
        let mut console = console::Console::new(look, &options, keymap);
        console
            .run(&mut screen, &mut wire, signals, &shutdown)
            .await
    };
    if wire.runs_a_lab() {
        // What cannot be told holds nothing up.
        let _ = writeln!(
            std::io::stderr(),
            "the lab that is being run is ended and everything taken back: at most {BASELINE:?}"
        );
    }
    wire.close().await;
    result
}

/// The keys and what they do, by chapter, as help and README print them.
#[must_use]
pub fn keys() -> Vec<(&'static str, Vec<(String, &'static str)>)> {
    let keymap = keys::Keymap::default();
    keys::CHAPTERS
        .iter()
        .map(|(chapter, names)| {
            let lines = names.iter().filter_map(|name| keymap.named(name));
            let lines = lines.map(|binding| (binding.printed(), binding.long));
            (
                *chapter,
                lines.filter(|(keys, _)| !keys.is_empty()).collect(),
            )
        })
        .collect()
}
