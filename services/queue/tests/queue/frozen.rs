//! A relay that is frozen while it holds shards of the outbox: others take over, and nothing is sent twice when it wakes up.

use std::{
    net::SocketAddr,
    process::{Child, Command, Stdio},
};

use kit::{
    Common, Service, Shutdown,
    discovery::Source,
    lifecycle::EXIT_WITH_PARENT,
    messaging::Client,
    outbox::Relay,
    testing::{database_url, eventually},
};
use rustix::process::{Pid, Signal, kill_process};
use sqlx::{PgPool, postgres::PgPoolOptions};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::watch,
};

use crate::{
    outbox::{all, drained, relay_to, states, submit},
    support::start,
};

const DATABASE: &str = "RECARGA_TEST_RELAY_DATABASE";
const QUEUE: &str = "RECARGA_TEST_RELAY_QUEUE";

/// Not a test: what a child runs. Without a database it has nothing to do.
#[tokio::test]
async fn child() {
    let (Ok(database), Ok(queue)) = (std::env::var(DATABASE), std::env::var(QUEUE)) else {
        return;
    };
    let shutdown = Shutdown::on_signals().unwrap();
    let service = Service::new("worker", &Common::for_tests("worker-0"), shutdown.clone())
        .expect("a service");
    let instance = service.instance().clone();
    let queue: Source = queue.parse().unwrap();
    let client = Client::connect(instance.discover(queue).await, instance.tiers()).unwrap();
    let pool = PgPoolOptions::new().connect_lazy(&database).unwrap();
    let _relay = Relay::new(&instance, pool, "worker", client);
    shutdown.requested().await;
}

/// A relay in a process of its own: this program, run once more.
struct Process(Child);

impl Process {
    fn start(pool: &PgPool, queue: SocketAddr) -> Self {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "frozen::child", "--nocapture"])
            .env(DATABASE, database_url(pool))
            .env(QUEUE, queue.to_string())
            .env(EXIT_WITH_PARENT, "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self(child)
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Passes what is asked on to the queue, and its answers back while they may pass.
async fn way(queue: SocketAddr, answers: watch::Receiver<bool>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let mut answers = answers.clone();
            tokio::spawn(async move {
                let server = TcpStream::connect(queue).await.unwrap();
                let (mut from_client, mut to_client) = client.into_split();
                let (mut from_server, mut to_server) = server.into_split();
                let there = tokio::spawn(async move {
                    let _ = tokio::io::copy(&mut from_client, &mut to_server).await;
                });
                let mut buffer = vec![0; 16_384];
                while let Ok(count @ 1..) = from_server.read(&mut buffer).await {
                    if answers.wait_for(|pass| *pass).await.is_err()
                        || to_client.write_all(&buffer[..count]).await.is_err()
                    {
                        break;
                    }
                }
                there.abort();
            });
        }
    });
    address
}

/// The server's processes that hold shards of this database's outboxes.
async fn holders(pool: &PgPool) -> Vec<i32> {
    sqlx::query_scalar(
        "select distinct l.pid from pg_locks l join pg_database d on d.oid = l.database
         where l.locktype = 'advisory' and d.datname = current_database()",
    )
    .fetch_all(pool)
    .await
    .unwrap()
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_frozen_relay_gives_way_and_doubles_nothing(pool: PgPool) {
    let queue = start().await;
    let (let_answers, answers) = watch::channel(false);
    let process = Process::start(&pool, way(queue.address, answers).await);
    submit(&pool, 200).await;
    // The queue has some of them, and the one who sent them does not know yet.
    eventually("the relay has sent something", async || {
        let figures = queue.get("/queues/tasks").await.1;
        figures["depth"].as_u64().unwrap_or(0) > 0
    })
    .await;
    process.signal(Signal::STOP);
    let [frozen] = holders(&pool).await[..] else {
        panic!("the frozen relay holds shards");
    };
    let held = states(&pool).await.0;
    assert_eq!(held, 200);
    let other = relay_to("worker-1", &pool, queue.address).await;
    // What the frozen one holds waits for it; the bound is that of `eventually`.
    drained(&pool).await;
    assert_eq!(states(&pool).await, (0, 200, 0));
    assert!(!holders(&pool).await.contains(&frozen));
    assert_eq!(all(&queue).await.len(), 200, "each event once");

    // It wakes up, its answer comes, and it changes nothing any more; but it works again.
    other.shutdown.request();
    let_answers.send_replace(true);
    process.signal(Signal::CONT);
    submit(&pool, 100).await;
    drained(&pool).await;
    assert_eq!(states(&pool).await, (0, 300, 0));
    assert_eq!(all(&queue).await.len(), 100);
    let attempts: (i64, i64) =
        sqlx::query_as("select min(attempts)::bigint, max(attempts)::bigint from worker.outbox")
            .fetch_one(&pool)
            .await
            .unwrap();
    assert_eq!(attempts, (1, 1));
}
