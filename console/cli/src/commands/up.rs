//! `recarga up`: the whole system on this machine, until it is told to stop.

use std::{path::Path, time::Duration};

use anyhow::{Context as _, Result};
use host::{Error, Outcome, Role, control::Client, ports::Wanted};
use kit::{Shutdown, Topology, topology::State};

use super::{console, doctor, note, status};
use crate::{
    arguments::{Console, Up},
    exit,
    progress::Printer,
    terminal::{self, say},
};

/// How long a lab that is just starting in another terminal is waited for.
const ATTACH_WITHIN: Duration = Duration::from_mins(2);

pub async fn run(directory: &Path, arguments: Up) -> Result<u8> {
    if arguments.database_url.is_none() || arguments.redis_url.is_none() {
        doctor::ensure(arguments.yes)?;
    }
    let shutdown = Shutdown::on_signals()?;
    let printer = Printer::new(terminal::is_fancy(arguments.plain));
    let with_console = !arguments.no_console && terminal::is_interactive();
    let options = options(directory, &arguments)?;
    let lab = match host::up(options, printer.events(), shutdown.clone()).await? {
        Outcome::Started(lab) => lab,
        Outcome::AlreadyRunning => return attach(directory, with_console, &shutdown).await,
    };
    let topology = lab.topology();
    say(format_args!(
        "ready: {} (student1 / password; operator / {})",
        topology.public_url,
        lab.secrets().operator_password
    ));
    let result = if with_console {
        printer.silence();
        let shown = console::open(directory, &Console::default(), &shutdown).await;
        printer.speak();
        shown
    } else {
        if !arguments.no_console {
            say(
                "no terminal, so no console: stop with Ctrl-C or `recarga down`, watch with `recarga console`",
            );
        }
        shutdown.requested().await;
        Ok(())
    };
    lab.stop().await;
    result.map(|()| exit::SUCCESS)
}

fn options(directory: &Path, arguments: &Up) -> Result<host::Options> {
    let program = std::env::current_exe().context("finding this program's own file")?;
    let published = [
        (Role::Balancer, arguments.port),
        (Role::Cache, arguments.cache_port),
        (Role::Worker, arguments.worker_port),
        (Role::Queue, arguments.queue_port),
    ];
    Ok(host::Options {
        directory: directory.to_owned(),
        program,
        counts: arguments.instances.clone(),
        ports: Wanted {
            address: arguments.address,
            published: published
                .into_iter()
                .filter_map(|(role, port)| Some((role, port?)))
                .collect(),
            free: arguments.free_ports,
        },
        database_url: arguments.database_url.clone(),
        redis_url: arguments.redis_url.clone(),
        queue_redis_url: arguments.queue_redis_url.clone(),
        plan: seed::Plan {
            scale: arguments.scale,
            seed: arguments.seed,
        },
        rewire: None,
        read_only: arguments.read_only,
        mutual_tls: arguments.mutual_tls,
    })
}

/// A lab runs here already: shows it instead of starting another.
async fn attach(directory: &Path, with_console: bool, shutdown: &Shutdown) -> Result<u8> {
    let topology = tokio::select! {
        topology = tokio::time::timeout(ATTACH_WITHIN, until_up(directory)) => {
            topology.unwrap_or_else(|_| Err(Error::Busy { path: directory.to_owned() }))?
        }
        () = shutdown.requested() => return Ok(exit::INTERRUPTED),
    };
    let supervisor = topology.supervisor_pid.unwrap_or_default();
    say(format_args!(
        "a lab runs here already (process {supervisor}), at {}",
        topology.public_url
    ));
    if with_console {
        console::open(directory, &Console::default(), shutdown).await?;
        return Ok(exit::SUCCESS);
    }
    status::show(&topology).await;
    Ok(exit::SUCCESS)
}

async fn until_up(directory: &Path) -> host::Result<Topology> {
    loop {
        let topology = async { Client::connect(directory, note).await?.status().await };
        match topology.await {
            Ok(topology)
                if !topology.instances.is_empty()
                    && topology
                        .instances
                        .iter()
                        .all(|instance| instance.state != State::Starting) =>
            {
                return Ok(topology);
            }
            Ok(_) | Err(Error::Busy { .. }) => {}
            Err(error) => return Err(error),
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
