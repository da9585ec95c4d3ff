//! What happens when PostgreSQL or the cache service is away, and when time runs out.

use std::time::{Duration, Instant};

use http::Method;
use kit::testing::{eventually, free_address};
use serde_json::{Value, json};
use sqlx::{PgPool, postgres::PgPoolOptions};

use crate::support::{Cache, Lab, Setup, city};

#[tokio::test]
async fn without_a_database_every_call_is_refused_fast() {
    let address = free_address();
    let pool = PgPoolOptions::new()
        .acquire_timeout(Duration::from_secs(2))
        .connect_lazy(&format!("postgres://nobody@{address}/nothing"))
        .expect("a URL");
    let lab = Lab::with(Setup {
        pool,
        cache: None,
        now: None,
    })
    .await;
    let calls: [(&str, Option<Value>); 18] = [
        ("/recharges", Some(json!({"card_id": 1, "amount": 1_000}))),
        (
            "/trips",
            Some(json!({"card_id": 1, "route_id": 1, "station_id": 1})),
        ),
        ("/trips/1/end", Some(json!({"station_id": 1}))),
        (
            "/internal/login",
            Some(json!({"username": "student1", "password": "password"})),
        ),
        ("/recharges/1", None),
        ("/cards/1/balance", None),
        ("/cards/1/history", None),
        ("/users/1/recharges", None),
        ("/users/count", None),
        ("/users/active/count", None),
        ("/users/latest", None),
        ("/trips/1", None),
        ("/trips/total", None),
        ("/trips/total/localities", None),
        ("/finance/revenue", None),
        ("/finance/revenue/localities", None),
        ("/stations", None),
        ("/stations/1/arrivals", None),
    ];
    // The check has noticed as soon as a call fails fast.
    eventually("calls fail fast", async || {
        let started = Instant::now();
        lab.get("/trips/1").await.refused(503, "database");
        started.elapsed() < Duration::from_secs(1)
    })
    .await;
    for (path, body) in calls {
        let started = Instant::now();
        let answer = match body {
            Some(body) => lab.post(path, body).await,
            None => lab.get(path).await,
        };
        answer.refused(503, "database");
        assert_eq!(answer.header("retry-after"), Some("1"), "{path}");
        assert!(
            started.elapsed() < Duration::from_secs(1),
            "{path}: {:?}",
            started.elapsed()
        );
    }
    // What is wrong in itself is said all the same.
    lab.post("/recharges", json!({"card_id": 1, "amount": 1}))
        .await
        .refused(422, "amount");
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_write_whose_caller_gave_up_is_finished(pool: PgPool) {
    let lab = Lab::start(pool).await;
    let mut holder = lab.pool.begin().await.expect("a transaction");
    sqlx::query("select from travel.cards where id = 1 for update")
        .execute(&mut *holder)
        .await
        .expect("the lock");
    let body = json!({"card_id": 1, "amount": 1_000});
    let headers = [("x-recarga-deadline-ms", "300"), ("idempotency-key", "k")];
    let started = Instant::now();
    let answer = lab
        .send(Method::POST, "/recharges", &headers, Some(body.to_string()))
        .await;
    answer.refused(504, "deadline");
    assert!(
        started.elapsed() < Duration::from_secs(2),
        "{:?}",
        started.elapsed()
    );
    for path in ["/cards/1/balance", "/cards/1/history", "/users/1/recharges"] {
        assert_eq!(lab.get(path).await.status, 200);
    }
    assert!(lab.cache.take().is_empty());
    holder.commit().await.expect("released");

    eventually("the cache hears of it", async || lab.cache.hears()).await;
    assert_eq!(
        lab.cache.take(),
        ["card:1:balance", "card:1:history", "user:1:recharges"]
    );
    let again = lab.post_once("/recharges", "k", body).await;
    assert_eq!((again.status, again.replayed()), (201, true));
    assert_eq!(lab.count("select count(*) from travel.recharges").await, 1);
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_read_obeys_its_deadline(pool: PgPool) {
    let lab = Lab::start(pool).await;
    let mut holder = lab.pool.begin().await.expect("a transaction");
    sqlx::query("lock table travel.cards in access exclusive mode")
        .execute(&mut *holder)
        .await
        .expect("the lock");
    let started = Instant::now();
    let headers = [("x-recarga-deadline-ms", "200")];
    lab.send(Method::GET, "/cards/1/balance", &headers, None)
        .await
        .refused(504, "deadline");
    assert!(
        started.elapsed() < Duration::from_secs(2),
        "{:?}",
        started.elapsed()
    );
    holder.rollback().await.expect("released");
    assert_eq!(lab.get("/cards/1/balance").await.status, 200);
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_lost_connection_is_a_refusal_that_can_be_repeated(pool: PgPool) {
    let lab = Lab::start(pool).await;
    let mut holder = lab.pool.begin().await.expect("a transaction");
    sqlx::query("select from travel.cards where id = 1 for update")
        .execute(&mut *holder)
        .await
        .expect("the lock");
    let body = json!({"card_id": 1, "amount": 1_000});
    let write = async {
        let answer = lab.post_once("/recharges", "k", body.clone()).await;
        answer.refused(503, "database");
    };
    let cut = async {
        lab.somebody_waits().await;
        lab.count(
            "select count(pg_terminate_backend(pid)) from pg_stat_activity
             where datname = current_database() and wait_event_type = 'Lock'",
        )
        .await;
    };
    futures::future::join(write, cut).await;
    // Nobody can know here whether it was committed.
    assert_eq!(lab.cache.take(), ["card:1:balance", "card:1:history"]);
    holder.rollback().await.expect("released");
    let again = lab.post_once("/recharges", "k", body).await;
    assert_eq!((again.status, again.replayed()), (201, false));
    assert_eq!(lab.count("select count(*) from travel.recharges").await, 1);
}

#[sqlx::test(migrations = "../../migrations")]
async fn without_the_cache_service_writes_go_on(pool: PgPool) {
    city(&pool).await;
    let address = free_address();
    let lab = Lab::with(Setup {
        pool,
        cache: Some(address),
        now: None,
    })
    .await;
    for path in ["/cards/1/balance", "/cards/1/history", "/users/1/recharges"] {
        assert_eq!(lab.get(path).await.status, 200);
    }
    let started = Instant::now();
    let answer = lab
        .post("/recharges", json!({"card_id": 1, "amount": 1_000}))
        .await;
    assert_eq!(answer.status, 201);
    assert!(
        started.elapsed() < Duration::from_secs(2),
        "{:?}",
        started.elapsed()
    );

    let cache = Cache::default();
    cache.listen(&address.to_string()).await;
    eventually("the cache service hears of it", async || cache.hears()).await;
    assert_eq!(
        cache.take(),
        ["card:1:balance", "card:1:history", "user:1:recharges"]
    );
}
