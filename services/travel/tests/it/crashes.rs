//! A write dies right before and right after each of its steps; nothing of it is left, and repeated it happens once.

use std::sync::{
    Arc,
    atomic::{AtomicU8, AtomicUsize, Ordering},
};

use http::Method;
use kit::testing::{deaths::Mortal, eventually};
use serde_json::{Value, json};
use sqlx::{PgPool, postgres::PgPoolOptions};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::support::{Lab, Setup, city};

/// `effect` counts what a call leaves.
async fn dies_everywhere(
    pool: PgPool,
    path: &str,
    body: impl Fn(usize) -> Value,
    steps: &[(&str, &str)],
    effect: &'static str,
) {
    let lab = Lab::start(pool).await;
    for card in [1, 3] {
        lab.post("/recharges", json!({"card_id": card, "amount": 200_000}))
            .await;
    }
    let write = Mortal {
        steps,
        kept: "select (select count(*) from travel.recharges) + (select count(*) from travel.trips)
            + (select count(*) from travel.ledger_entries) + (select count(*) from travel.outbox)
            + (select count(*) from travel.idempotency_claims) + (select sum(balance) from travel.cards)::bigint",
        effect,
        status: 201,
        call: async |key: String, number: usize| {
            let answer = lab.post_once(path, &key, body(number)).await;
            (answer.status, answer.replayed())
        },
        audit: async || lab.audit().await,
    };
    write.dies_everywhere(&lab.pool).await;
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_recharge_dies_at_every_step(pool: PgPool) {
    let steps = [
        ("update", "travel.cards"),
        ("insert", "travel.recharges"),
        ("insert", "travel.ledger_entries"),
        ("insert", "travel.outbox"),
        ("insert", "travel.idempotency_claims"),
    ];
    let body = |number| json!({"card_id": 1 + 2 * (number % 2), "amount": 1_000});
    let effect = "select count(*) from travel.recharges";
    dies_everywhere(pool, "/recharges", body, &steps, effect).await;
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_boarding_dies_at_every_step(pool: PgPool) {
    let steps = [
        ("insert", "travel.trips"),
        ("insert", "travel.idempotency_claims"),
    ];
    let body = |number| json!({"card_id": 1 + 2 * (number % 2), "route_id": 1, "station_id": 1});
    let effect = "select count(*) from travel.trips";
    dies_everywhere(pool, "/trips", body, &steps, effect).await;
}

/// Passes bytes on.
const PASS: u8 = 0;
/// What the server answers is thrown away, and the connection ends.
const CUT: u8 = 1;
/// What the server answers is thrown away, then and later, and nobody is told.
const MUTE: u8 = 2;

/// What stands between the service and PostgreSQL.
#[derive(Clone, Default)]
struct Way {
    mode: Arc<AtomicU8>,
    muted: Arc<AtomicUsize>,
}

impl Way {
    fn set(&self, mode: u8) {
        self.mode.store(mode, Ordering::SeqCst);
    }

    /// A lab whose service reaches this database through here.
    async fn lab(&self, pool: &PgPool) -> Lab {
        city(pool).await;
        let mut url = reqwest::Url::parse(&kit::testing::database_url(pool)).expect("a URL");
        let host = url.host_str().expect("a host");
        let server = format!("{host}:{}", url.port().unwrap_or(5432));
        let address = proxy(server, self.clone()).await;
        url.set_host(Some("127.0.0.1")).expect("a host");
        url.set_port(Some(address.port())).expect("a port");
        let pool = PgPoolOptions::new()
            .connect_lazy(url.as_str())
            .expect("a URL");
        Lab::with(Setup {
            pool,
            cache: None,
            now: None,
        })
        .await
    }
}

async fn proxy(to: String, way: Way) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let (to, way) = (to.clone(), way.clone());
            tokio::spawn(async move {
                let server = TcpStream::connect(to).await.expect("the server");
                let (mut from_client, mut to_client) = client.into_split();
                let (mut from_server, mut to_server) = server.into_split();
                let there = tokio::spawn(async move {
                    let _ = tokio::io::copy(&mut from_client, &mut to_server).await;
                });
                let mut buffer = vec![0; 16_384];
                let mut dead = false;
                while let Ok(count @ 1..) = from_server.read(&mut buffer).await {
                    let mode = way.mode.load(Ordering::SeqCst);
                    dead |= mode == MUTE;
                    if dead {
                        way.muted.fetch_add(1, Ordering::SeqCst);
                    } else if mode == CUT || to_client.write_all(&buffer[..count]).await.is_err() {
                        break;
                    }
                }
                there.abort();
            });
        }
    });
    address
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_commit_whose_answer_is_lost_is_told_as_unknown_and_happens_once(pool: PgPool) {
    let way = Way::default();
    let lab = way.lab(&pool).await;
    let count = async || -> i64 {
        sqlx::query_scalar("select count(*) from travel.recharges")
            .fetch_one(&pool)
            .await
            .expect("a count")
    };
    let call = |key: &'static str| {
        lab.post_once("/recharges", key, json!({"card_id": 1, "amount": 1_000}))
    };
    // Both lanes have prepared the statement: from now on a call is one message there and one back.
    let mut warm = 0;
    for (one, other) in [("a", "b"), ("c", "d"), ("e", "f"), ("g", "h")] {
        for answer in [call(one).await, call(other).await] {
            assert_eq!(answer.status, 201, "{answer:?}");
            warm += 1;
        }
    }
    lab.cache.take();
    way.set(CUT);
    let lost = call("lost").await;
    lost.refused(503, "same Idempotency-Key");
    assert_eq!(lost.header("retry-after"), Some("1"));
    eventually("it is committed all the same", async || {
        count().await == warm + 1
    })
    .await;
    // It may be there, so the cache forgot what it may have changed.
    assert_eq!(lab.cache.take(), ["card:1:balance", "card:1:history"]);
    way.set(PASS);
    let again = call("lost").await;
    assert_eq!((again.status, again.replayed()), (201, true), "{again:?}");
    assert_eq!(count().await, warm + 1);
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_connection_that_went_dead_holds_nobody_else_up(pool: PgPool) {
    let way = Way::default();
    let lab = way.lab(&pool).await;
    let body = |card: i64| json!({"card_id": card, "amount": 1_000});
    assert_eq!(lab.post("/recharges", body(1)).await.status, 201);
    way.set(MUTE);
    let headers = [("x-recarga-deadline-ms", "3000"), ("idempotency-key", "k")];
    let lost = lab.send(
        Method::POST,
        "/recharges",
        &headers,
        Some(body(1).to_string()),
    );
    let others = async {
        eventually("an answer is lost", async || {
            way.muted.load(Ordering::SeqCst) > 0
        })
        .await;
        way.set(PASS);
        for card in [3, 1, 3, 1] {
            let answer = lab.post("/recharges", body(card)).await;
            assert_eq!(answer.status, 201, "{answer:?}");
        }
    };
    let (lost, ()) = futures::future::join(lost, others).await;
    assert!(matches!(lost.status, 201 | 503 | 504), "{lost:?}");
    let again = lab.post_once("/recharges", "k", body(1)).await;
    assert_eq!(again.status, 201, "{again:?}");
    let done: i64 = sqlx::query_scalar("select count(*) from travel.recharges")
        .fetch_one(&pool)
        .await
        .expect("a count");
    assert_eq!(done, 6);
}
