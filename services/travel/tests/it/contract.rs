//! The service as the binary runs it, and its description.

use std::time::Duration;

use kit::{
    Common, DatabaseArgs, Listeners, Shutdown, config::Secret, discovery::Source,
    testing::eventually,
};
use serde_json::{Value, json};
use sqlx::{ConnectOptions, PgPool};

use crate::support::{Cache, Lab, city};

#[sqlx::test(migrations = "../../migrations")]
async fn it_runs_announces_and_stops(pool: PgPool) {
    city(&pool).await;
    let cache = Cache::default();
    let queue = queue().await;
    let shutdown = Shutdown::new();
    let config = travel::Config {
        common: Common::for_tests("travel-1"),
        database: DatabaseArgs {
            database_url: Secret(pool.connect_options().to_url_lossy().to_string()),
            database_direct_url: None,
            database_connections: 4,
        },
        database_replica_url: None,
        cache: Source::List(vec![cache.listen("127.0.0.1:0").await.to_string()]),
        queue: Source::List(vec![queue.to_string()]),
        password_checks: 1,
        commit_lanes: 2,
        commit_group: 128,
        commit_waiting: 2048,
        retention: kit::retention::Retention::default(),
    };
    let listeners = Listeners::bind(&config.common).await.expect("free ports");
    let url = format!("http://{}", listeners.public.local_addr().expect("bound"));
    let running = tokio::spawn(travel::run(listeners, config, shutdown.clone()));

    let client = reqwest::Client::new();
    let read = client.get(format!("{url}/cards/1/balance")).send().await;
    assert_eq!(read.expect("an answer").status(), 200);
    let answer = client
        .post(format!("{url}/recharges"))
        .json(&json!({"card_id": 1, "amount": 1_000}))
        .send()
        .await
        .expect("an answer");
    assert_eq!(answer.status(), 201);
    assert_eq!(cache.take(), ["card:1:balance"]);
    eventually("the recharge is announced", async || {
        let delivered: i64 =
            sqlx::query_scalar("select count(*) from travel.outbox where state = 'delivered'")
                .fetch_one(&pool)
                .await
                .expect("a count");
        delivered == 1
    })
    .await;

    shutdown.request();
    tokio::time::timeout(Duration::from_secs(10), running)
        .await
        .expect("it stops")
        .expect("no panic")
        .expect("no error");
}

/// Takes every message, as the queue service does.
async fn queue() -> std::net::SocketAddr {
    use axum::{Json, Router, routing::post};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a free port");
    let address = listener.local_addr().expect("bound");
    let take = async |Json(body): Json<Value>| {
        let messages = body["messages"].as_array().expect("messages").len();
        let ids: Vec<String> = (0..messages).map(|number| number.to_string()).collect();
        Json(json!({ "ids": ids, "durability": "durable" }))
    };
    let router = Router::new().route("/queues/recharges/messages", post(take));
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

#[sqlx::test(migrations = "../../migrations")]
async fn other_paths_and_methods_are_problems(pool: PgPool) {
    let lab = Lab::start(pool).await;
    lab.get("/nothing").await.refused(404, "path");
    lab.get("/cards").await.refused(404, "path");
    lab.post("/stations", json!({}))
        .await
        .refused(405, "method");
    assert_eq!(lab.get("/health").await.status, 200);
}

#[test]
fn every_call_of_the_contract_is_described() {
    let described = serde_json::to_value(travel::openapi()).expect("JSON");
    let paths = described["paths"].as_object().expect("paths");
    let mut calls: Vec<String> = paths
        .iter()
        .flat_map(|(path, item)| {
            item.as_object()
                .expect("an item")
                .keys()
                .map(move |method| format!("{method} {path}"))
        })
        .collect();
    calls.sort();
    assert_eq!(
        calls,
        [
            "get /cards/{id}/balance",
            "get /cards/{id}/history",
            "get /finance/revenue",
            "get /finance/revenue/localities",
            "get /recharges/{id}",
            "get /stations",
            "get /stations/{id}/arrivals",
            "get /trips/finance/revenue",
            "get /trips/total",
            "get /trips/total/localities",
            "get /trips/{id}",
            "get /users/active/count",
            "get /users/count",
            "get /users/latest",
            "get /users/{id}/recharges",
            "post /recharges",
            "post /trips",
            "post /trips/{id}/end",
        ]
    );
    for (path, item) in paths {
        for (method, call) in item.as_object().expect("an item") {
            assert!(call["summary"].is_string(), "{method} {path}");
            let success = ["200", "201"]
                .map(|status| &call["responses"][status]["content"]["application/json"]);
            assert!(
                success.iter().any(|content| !content["example"].is_null()),
                "{method} {path} has no example"
            );
            assert!(call["responses"]["503"].is_object(), "{method} {path}");
        }
    }
}
