//! The wire against real sockets: an instance that answers, goes away, and comes back.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::*;
use crate::state::{State, instance::Status, intent::Intent};

const METRICS: &str =
    "process_start_time_seconds 1\nrecarga_http_requests_total{status=\"200\"} 5\n";
const INFO: &str = r#"{"instance":"gateway-7","ready":true,"checks":{"redis":true},"faults":[]}"#;

/// Serves the admin surface of one instance on this listener until it is dropped.
async fn serve(listener: TcpListener) {
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        connections.spawn(answer(stream));
    }
}

async fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    let mut buffer = Vec::new();
    loop {
        while !buffer.windows(4).any(|four| four == b"\r\n\r\n") {
            if stream.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
        }
        let request = String::from_utf8_lossy(&buffer).into_owned();
        buffer.clear();
        let path = request.split(' ').nth(1).unwrap_or_default();
        let body = match path {
            "/metrics" => METRICS,
            "/admin/info" => INFO,
            _ => {
                let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
                stream.write_all(head.as_bytes()).await?;
                for second in 0..3 {
                    let event = format!(
                        "data: {{\"timestamp\":\"2026-01-01T00:00:0{second}Z\",\"level\":\"INFO\",\"message\":\"line {second}\"}}\n\n"
                    );
                    stream.write_all(event.as_bytes()).await?;
                }
                stream.read_buf(&mut buffer).await?;
                return Ok(());
            }
        };
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
        stream.write_all((head + body).as_bytes()).await?;
    }
}

fn write_topology(folder: &std::path::Path, admin: std::net::SocketAddr) {
    let topology = serde_json::json!({
        "version": 1, "public_url": "http://127.0.0.1:1", "cache_url": "http://127.0.0.1:1",
        "queue_url": "http://127.0.0.1:1", "worker_url": "http://127.0.0.1:1",
        "supervisor_pid": null, "stores": [],
        "instances": [{"role": "gateway", "name": "gateway-1", "listen": "127.0.0.1:1",
            "admin": admin, "pid": null, "restarts": 0, "state": "running"}]
    });
    std::fs::write(folder.join("topology.json"), topology.to_string()).unwrap();
}

/// Feeds the model until the condition holds.
async fn until_it_holds(wire: &mut Wire, state: &mut State, holds: impl Fn(&State) -> bool) {
    let started = std::time::Instant::now();
    let waiting = async {
        while !holds(state) {
            tokio::select! {
                Some(update) = wire.updates.recv() => {
                    state.tick(started.elapsed());
                    state.apply(update);
                }
                Some(line) = wire.lines.recv() => state.log(line),
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), waiting)
        .await
        .expect("the condition should hold in time");
}

fn status(state: &State) -> Option<Status> {
    Some(state.instances.first()?.status(state.now))
}

#[tokio::test]
async fn an_instance_is_followed_through_its_death_and_return() {
    let folder = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(serve(listener));
    let rights = Rights {
        allow_remote: false,
        ..Rights::default()
    };
    let source = TopologySource::Path(folder.path().join("topology.json"));
    let mut wire = Wire::start(source, rights, None, CancellationToken::new()).unwrap();
    let mut state = State::default();

    until_it_holds(&mut wire, &mut state, |state| {
        state.topology_problem.is_some()
    })
    .await;
    write_topology(folder.path(), address);
    until_it_holds(&mut wire, &mut state, |state| {
        status(state) == Some(Status::Up)
            && state.instances[0].name() == "gateway-7"
            && state.logs.visible(9).len() == 3
    })
    .await;
    assert_eq!(state.topology_problem, None);

    server.abort();
    let _ = server.await;
    until_it_holds(&mut wire, &mut state, |state| {
        matches!(status(state), Some(Status::Down { .. }))
    })
    .await;

    let listener = TcpListener::bind(address).await.unwrap();
    let server = tokio::spawn(serve(listener));
    until_it_holds(&mut wire, &mut state, |state| {
        status(state) == Some(Status::Up)
    })
    .await;
    assert_eq!(state.logs.visible(9).len(), 3, "a replay is not told twice");
    server.abort();
    wire.close().await;
}

#[tokio::test]
async fn an_action_without_a_lab_fails_with_words() {
    let folder = tempfile::tempdir().unwrap();
    let rights = Rights {
        allow_remote: false,
        ..Rights::default()
    };
    let source = TopologySource::Path(folder.path().join("topology.json"));
    let mut wire = Wire::start(source, rights, None, CancellationToken::new()).unwrap();
    let mut state = State::default();
    for intent in [Intent::Recharge, Intent::Burst, Intent::ToggleTraffic] {
        state.intend(intent);
        for command in state.take_commands() {
            wire.commands.send(command).await.unwrap();
        }
        until_it_holds(&mut wire, &mut state, |state| {
            state
                .notice()
                .is_some_and(|notice| notice.text == "where the lab is, is not known yet")
        })
        .await;
        state.intend(Intent::Close);
    }
    until_it_holds(&mut wire, &mut state, |state| !state.traffic.is_on()).await;
    wire.close().await;
}
