//! `recarga bench-upstream`: the built-in server behind what a benchmark measures.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Context as _, Result};
use load::raw::Stub;
use tokio::{net::TcpSocket, task::JoinSet};

use crate::{arguments::bench::BenchUpstream, exit};

/// Enough for all connections of a proxy to come at once.
const BACKLOG: u32 = 4096;

pub async fn run(arguments: BenchUpstream) -> Result<u8> {
    let shutdown = kit::Shutdown::on_signals()?;
    let mut servers = JoinSet::new();
    for port in arguments.ports {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        let listener = socket
            .bind(address)
            .and_then(|()| socket.listen(BACKLOG))
            .with_context(|| format!("listening on {address}"))?;
        let stub = Stub {
            bodies: arguments.bodies.iter().map(|body| *body as usize).collect(),
            service_time: arguments.service_time,
            at_a_time: arguments.at_a_time.map(usize::from),
        };
        servers.spawn(stub.serve(listener));
    }
    tokio::select! {
        () = shutdown.requested() => {}
        Some(ended) = servers.join_next() => ended.context("a server")?.context("serving")?,
    }
    servers.shutdown().await;
    Ok(exit::SUCCESS)
}
