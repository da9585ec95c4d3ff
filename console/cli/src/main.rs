//! The binary `recarga`: parses the command line, builds what it asks for, runs it.

mod arguments;
mod commands;
mod documents;
mod exit;
mod progress;
mod terminal;

use std::process::ExitCode;

use clap::Parser as _;

use crate::arguments::{Arguments, Command, Deferred};

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // Before anything else: this becomes the store, in this very process.
    if let Command::GuardChild(Deferred(child)) = arguments.command {
        let error = host::guard::become_child(child.signal, child.guard, &child.command);
        return exit::report(&error.into());
    }
    match runtime(&arguments.command).map(|runtime| runtime.block_on(commands::run(arguments))) {
        // Not returned from: a thread that waits for standard input would hold the runtime open.
        Ok(Ok(code)) => std::process::exit(i32::from(code)),
        Ok(Err(error)) => exit::report(&error),
        Err(error) => exit::report(&error.into()),
    }
}

/// Says how many threads a runtime has; tokio reads it.
const THREADS: &str = "TOKIO_WORKER_THREADS";

/// A guard only waits, so one thread does; with one, the kernel also knows it as the parent of its child. An upstream of a
/// benchmark must not take more than one core. The console has little to do, often: threads would mostly wake each other. So
/// would those of a service, where its callers and its stores are on the same few cores: it takes half of them.
fn runtime(command: &Command) -> std::io::Result<tokio::runtime::Runtime> {
    match command {
        Command::Serve(_) if std::env::var_os(THREADS).is_none() => {
            let cores = std::thread::available_parallelism().map_or(1, usize::from);
            let mut runtime = tokio::runtime::Builder::new_multi_thread();
            runtime.worker_threads((cores / 2).max(1));
            runtime
        }
        Command::Guard(_)
        | Command::Health(_)
        | Command::BenchUpstream(_)
        | Command::Console(_)
        | Command::Replay(_) => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    }
    .enable_all()
    .build()
}
