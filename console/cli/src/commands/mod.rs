//! The subcommands, one module each.

mod backup;
mod balancing;
mod bench;
mod certificates;
mod chaos;
mod completions;
mod console;
mod database;
mod doctor;
mod down;
mod guard;
mod health;
pub mod lab;
mod load;
mod logs;
mod man;
mod perform;
mod queues;
mod replay;
mod restart;
mod restore;
mod routes;
mod scale;
pub mod serve;
mod status;
mod test;
mod top;
mod up;
mod verify;

use std::path::Path;

use anyhow::Result;
use host::control::Note;

use crate::{
    arguments::{Arguments, Command, Deferred},
    terminal::{say, tell},
};

/// Runs what was asked for; the exit code.
pub async fn run(arguments: Arguments) -> Result<u8> {
    let directory = arguments.dir;
    match arguments.command {
        Command::Up(Deferred(up)) => up::run(&directory, up).await,
        Command::Down => down::run(&directory).await,
        Command::Status(Deferred(status)) => status::run(&directory, &status).await,
        Command::Doctor(Deferred(doctor)) => doctor::run(&directory, &doctor),
        Command::Serve(Deferred(serve)) => serve::run(serve.service).await,
        Command::Migrate(Deferred(database)) => database::migrate(&directory, database).await,
        Command::Seed(Deferred(seed)) => database::fill(&directory, seed).await,
        Command::Console(Deferred(console)) => console::run(&directory, &console).await,
        Command::Replay(Deferred(replay)) => replay::run(&replay).await,
        Command::Top(Deferred(top)) => top::run(&directory, &top).await,
        Command::Do(Deferred(action)) => perform::run(&directory, action).await,
        Command::Load(Deferred(load)) => load::run(&directory, load).await,
        Command::Logs(Deferred(logs)) => logs::run(&directory, &logs).await,
        Command::Scale(Deferred(scale)) => scale::run(&directory, &scale).await,
        Command::Restart(Deferred(restart)) => restart::run(&directory, &restart).await,
        Command::Balancing(Deferred(balancing)) => balancing::run(&directory, &balancing).await,
        Command::Queues(Deferred(queues)) => queues::run(&directory, &queues).await,
        Command::Lab(Deferred(lab)) => lab::run(&directory, lab.what).await,
        Command::Bench(Deferred(bench)) => bench::run(&directory, bench.what).await,
        Command::Verify(Deferred(verify)) => verify::run(&directory, verify).await,
        Command::Backup(Deferred(backup)) => backup::run(&directory, backup).await,
        Command::Restore(Deferred(restore)) => restore::run(&directory, restore).await,
        Command::Chaos(Deferred(chaos)) => chaos::run(chaos).await,
        Command::Routes(Deferred(routes)) => routes::run(&routes),
        Command::Completions(Deferred(completions)) => completions::run(&completions),
        Command::Certificates(Deferred(certificates)) => certificates::run(&certificates),
        Command::Man(Deferred(man)) => man::run(&man),
        Command::Test(Deferred(test)) => test::run(test).await,
        Command::Health(Deferred(health)) => health::run(&health).await,
        Command::BenchUpstream(Deferred(upstream)) => bench::upstream::run(upstream).await,
        Command::Guard(Deferred(guard)) => guard::run(guard).await,
        Command::GuardChild(_) => unreachable!("handled before the runtime was made"),
    }
}

/// Prints what happens while a running lab carries out a command.
fn note(note: Note) {
    match note {
        Note::Step(step) => say(step),
        Note::Silent(supervisor) => {
            let process = supervisor.map_or_else(String::new, |pid| format!(" (process {pid})"));
            tell(format_args!(
                "waiting: the lab's supervisor{process} does not answer"
            ));
        }
    }
}

/// The given address, or the front door of the lab that runs in the folder.
fn target(given: Option<String>, directory: &Path) -> Result<String> {
    match given {
        Some(target) => Ok(target),
        None => Ok(host::running_topology(directory)?.public_url),
    }
}
