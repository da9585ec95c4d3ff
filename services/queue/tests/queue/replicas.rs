//! Durable queues whose Redis may be replaced by a replica: what was answered must be there too.

use kit::testing::eventually;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use crate::{
    disk::{Redis, durable},
    support::{LONG, Running, start_with, value},
};

const DURABLE: [&str; 4] = ["--appendonly", "yes", "--appendfsync", "always"];

async fn pair(fsync_of_replica: &str) -> (Redis, Redis) {
    let master = Redis::start(&DURABLE).await;
    let port = master.port().to_string();
    let replica = Redis::start(&[
        "--appendonly",
        "yes",
        "--appendfsync",
        fsync_of_replica,
        "--replicaof",
        "127.0.0.1",
        &port,
    ])
    .await;
    (master, replica)
}

async fn queue_on(redis: &Redis) -> Running {
    let queue = start_with(queue::Config {
        replicas: 1,
        ..durable("queue-1", &redis.url())
    })
    .await;
    // It refuses until the replica has caught up, which is no fault of anybody's.
    eventually("the replica follows", async || {
        queue.admin_status("/readyz").await == 200
    })
    .await;
    queue
}

async fn send(queue: &Running, body: u32) -> (u16, String) {
    let (status, answer) = queue
        .post("/queues/lab/messages", json!({"body": body}))
        .await;
    (
        status,
        answer["detail"].as_str().unwrap_or_default().to_owned(),
    )
}

fn signal(redis: &Redis, signal: Signal) {
    let pid = i32::try_from(redis.pid()).ok().and_then(Pid::from_raw);
    kill_process(pid.unwrap(), signal).unwrap();
}

#[tokio::test]
async fn what_was_answered_is_there_when_the_replica_takes_over() {
    let (mut master, replica) = pair("always").await;
    let queue = queue_on(&master).await;
    let mut answered = Vec::new();
    for body in 0..20 {
        assert_eq!(send(&queue, body).await.0, 200);
        answered.push(json!(body));
    }
    master.kill();
    replica.command(&["REPLICAOF", "NO", "ONE"]).await;
    let queue = start_with(durable("queue-2", &replica.url())).await;
    let received = queue.receive("lab", 100, LONG).await;
    let found: Vec<_> = received.iter().map(value).collect();
    assert_eq!(found, answered);
}

#[tokio::test]
async fn nothing_is_answered_that_no_replica_has() {
    let (master, replica) = pair("always").await;
    let queue = queue_on(&master).await;
    queue
        .configure("quick", json!({"durability": "fast"}))
        .await;
    assert_eq!(send(&queue, 1).await.0, 200);
    signal(&replica, Signal::STOP);
    assert_eq!(send(&queue, 2).await.0, 503, "a replica that stands still");
    // What promises less goes on.
    queue.send("quick", [json!(1)]).await;
    signal(&replica, Signal::CONT);
    eventually("the replica has it", async || {
        send(&queue, 3).await.0 == 200
    })
    .await;
    drop(replica);
    eventually("the reason is told", async || {
        let (status, detail) = send(&queue, 4).await;
        status == 503 && detail.contains("0 replicas")
    })
    .await;
}

/// Where the servers cannot say what their disks have, the replica must be one that writes before it speaks.
#[tokio::test]
async fn a_replica_that_is_slow_to_write_is_counted_only_by_its_disk() {
    let (master, replica) = pair("everysec").await;
    let known = master.command(&["COMMAND", "INFO", "WAITAOF"]).await;
    let counts = !format!("{known:?}").contains("nil");
    let config = queue::Config {
        replicas: 1,
        ..durable("queue-1", &master.url())
    };
    if counts {
        let queue = start_with(config).await;
        eventually("the replica's disk has it", async || {
            send(&queue, 1).await.0 == 200
        })
        .await;
    } else {
        eventually("the replica follows", async || {
            let report = master.command(&["INFO", "replication"]).await;
            format!("{report:?}").contains("state=online")
        })
        .await;
        let reason = crate::disk::refusal(config).await;
        assert!(
            reason.contains("of a replica") && reason.contains("CONFIG SET appendfsync always"),
            "{reason}"
        );
    }
    drop(replica);
}
