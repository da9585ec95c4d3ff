//! `recarga top`: the console's numbers without a terminal, for pipes, screen readers and scripts.

use std::{io, path::Path};

use anyhow::Result;
use app::{Form, Options, Secrets, TopologySource, Verdict, Watch};
use host::Layout;
use kit::Shutdown;

use super::console;
use crate::{
    arguments::{Console, Top},
    exit, terminal,
};

pub async fn run(directory: &Path, arguments: &Top) -> Result<u8> {
    let shutdown = Shutdown::on_signals()?;
    if is_for_eyes(arguments) && terminal::is_interactive() {
        let arguments = Console {
            elsewhere: arguments.elsewhere.clone(),
            read_only: true,
            ..Console::default()
        };
        return console::run(directory, &arguments).await;
    }
    let source = if let Some(source) = console::elsewhere(&arguments.elsewhere) {
        source
    } else {
        host::running_topology(directory)?;
        TopologySource::Path(Layout::existing(directory)?.topology())
    };
    let options = Options {
        secrets: Secrets::None,
        ascii: arguments.ascii.then_some(true),
        read_only: true,
        ..Options::new(source)
    };
    let form = match &arguments.view {
        Some(view) => Form::View(view.clone(), arguments.width, arguments.height),
        None if arguments.json => Form::Json,
        None => Form::Lines,
    };
    let watch = Watch {
        form,
        every: arguments.every,
        times: if arguments.once {
            Some(1)
        } else {
            arguments.times
        },
        limits: arguments.limits.clone(),
        logs: arguments.logs,
        export: arguments.export.clone(),
    };
    let mut out = io::stdout();
    let verdict = app::watch(options, watch, shutdown.token(), &mut out).await?;
    Ok(match verdict {
        Verdict::WithinLimits => exit::SUCCESS,
        Verdict::LimitBroken => exit::LIMIT,
    })
}

/// Whether nothing was asked for that only lines can give.
fn is_for_eyes(arguments: &Top) -> bool {
    let lines = arguments.plain || arguments.json || arguments.once || arguments.logs;
    let more = arguments.view.is_some() || arguments.times.is_some() || arguments.export.is_some();
    !lines && !more && arguments.limits.is_empty()
}
