//! The subcommands, one module each.

mod balancing;
mod bench;
mod chaos;
mod completions;
mod console;
mod database;
mod doctor;
mod down;
mod guard;
mod health;
mod load;
mod logs;
mod perform;
mod queues;
mod restart;
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
    arguments::{Arguments, Command},
    terminal::{say, tell},
};

/// Runs what was asked for; the exit code.
pub async fn run(arguments: Arguments) -> Result<u8> {
    let directory = arguments.dir;
    match arguments.command {
        Command::Up(up) => up::run(&directory, up).await,
        Command::Down => down::run(&directory).await,
        Command::Status(status) => status::run(&directory, &status).await,
        Command::Doctor(doctor) => doctor::run(&directory, &doctor),
        Command::Serve(serve) => serve::run(serve.service).await,
        Command::Migrate(database) => database::migrate(&directory, database).await,
        Command::Seed(seed) => database::fill(&directory, seed).await,
        Command::Console(console) => console::run(&directory, &console).await,
        Command::Top(top) => top::run(&directory, &top).await,
        Command::Do(action) => perform::run(&directory, action).await,
        Command::Load(load) => load::run(&directory, load).await,
        Command::Logs(logs) => logs::run(&directory, &logs).await,
        Command::Scale(scale) => scale::run(&directory, &scale).await,
        Command::Restart(restart) => restart::run(&directory, &restart).await,
        Command::Balancing(balancing) => balancing::run(&directory, &balancing).await,
        Command::Queues(queues) => queues::run(&directory, &queues).await,
        Command::Bench(bench) => bench::run(&directory, bench.what).await,
        Command::Verify(verify) => verify::run(&directory, verify).await,
        Command::Chaos(chaos) => chaos::run(chaos).await,
        Command::Routes(routes) => routes::run(&routes),
        Command::Completions(completions) => completions::run(&completions),
        Command::Test(test) => test::run(test).await,
        Command::Health(health) => health::run(&health).await,
        Command::BenchUpstream(upstream) => bench::upstream::run(upstream).await,
        Command::Guard(guard) => guard::run(guard).await,
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
