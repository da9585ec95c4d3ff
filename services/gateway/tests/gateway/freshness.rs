//! After a write's 2xx no read through any gateway shows the value from before it, whatever stops, dies and comes back.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Json, Router,
    extract::{Path, State},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use http::{HeaderMap, StatusCode};
use kit::{
    Common, Listeners, Problem, Service, Shutdown,
    caching::{Invalidator, first_level::LEASE},
    client::Peer,
    discovery::Source,
    testing::eventually,
};
use load::{Credentials, Freshness, FreshnessOptions, check_freshness};
use serde::Deserialize;
use serde_json::json;

use crate::children::Fleet;

/// Balances, and what was answered under which key: a service that commits in memory.
#[derive(Default)]
struct Ledger {
    balances: HashMap<u64, i64>,
    replies: HashMap<String, i64>,
}

#[derive(Clone)]
struct Origin {
    ledger: Arc<Mutex<Ledger>>,
    cache: Invalidator,
}

#[derive(Deserialize)]
struct Recharge {
    card_id: u64,
    amount: i64,
}

/// Reads, and then takes its time to answer, so that writes overtake it.
async fn balance(State(origin): State<Origin>, Path(card): Path<u64>) -> Response {
    let balance = {
        let ledger = origin.ledger.lock().expect("no panic");
        ledger.balances.get(&card).copied().unwrap_or(0)
    };
    let pause = u64::from(rand::random::<u8>() % 6);
    tokio::time::sleep(Duration::from_millis(pause)).await;
    Json(json!({"card_id": card, "balance": balance, "status": "active"})).into_response()
}

/// As the travel service does it: commit, have the cache forget, answer.
async fn recharge(
    State(origin): State<Origin>,
    headers: HeaderMap,
    Json(Recharge { card_id, amount }): Json<Recharge>,
) -> Response {
    let key = headers["idempotency-key"]
        .to_str()
        .expect("text")
        .to_owned();
    let balance = {
        let mut ledger = origin.ledger.lock().expect("no panic");
        if let Some(balance) = ledger.replies.get(&key) {
            *balance
        } else {
            let balance = ledger.balances.entry(card_id).or_default();
            *balance += amount;
            let balance = *balance;
            ledger.replies.insert(key, balance);
            balance
        }
    };
    let forgotten = origin
        .cache
        .invalidate(&[format!("card:{card_id}:balance")])
        .await;
    match forgotten {
        Ok(_) => (
            StatusCode::CREATED,
            Json(json!({"card_id": card_id, "balance": balance})),
        )
            .into_response(),
        Err(unconfirmed) => Problem::from(unconfirmed).into_response(),
    }
}

/// Starts the service that everything is about; the cache service need not run yet.
async fn origin(cache: tokio::sync::oneshot::Receiver<SocketAddr>) -> (SocketAddr, Shutdown) {
    let common = Common::for_tests("travel-1");
    let listeners = Listeners::bind(&common).await.expect("free ports");
    let address = listeners.public.local_addr().expect("bound");
    let shutdown = Shutdown::new();
    let service = Service::new("travel", &common, shutdown.clone()).expect("a service");
    let stop = shutdown.clone();
    tokio::spawn(async move {
        let cache = cache.await.expect("the cache service's address");
        let source = Source::List(vec![cache.to_string()]);
        let peer = Peer::new(
            "cache",
            source.watch(stop.clone()).await,
            Duration::from_secs(5),
            service.instance().tiers(),
        );
        let cache = Invalidator::new(peer.expect("a client"));
        service.instance().spawn(cache.clone().settle(stop));
        let router = Router::new()
            .route("/cards/{id}/balance", get(balance))
            .route("/recharges", post(recharge))
            .with_state(Origin {
                ledger: Arc::default(),
                cache,
            });
        service.public(router).run(listeners).await
    });
    (address, shutdown)
}

struct Lab {
    fleet: Fleet,
    shutdown: Shutdown,
}

impl Lab {
    async fn start() -> Self {
        let (tell, cache) = tokio::sync::oneshot::channel();
        let (service, shutdown) = origin(cache).await;
        let fleet = Fleet::start(service, &["--default-ttl-seconds", "2"]).await;
        tell.send(fleet.cache.public).expect("it waits");
        // A cache service that has just begun has writers wait for leases that it may not know of.
        tokio::time::sleep(LEASE).await;
        Self { fleet, shutdown }
    }

    fn options(&self, reads: u64) -> FreshnessOptions {
        FreshnessOptions {
            gateways: self
                .fleet
                .gateways
                .iter()
                .map(super::children::Child::url)
                .collect(),
            allow_remote: false,
            tls: None,
            credentials: Credentials::Demo,
            cards: (1..=12).collect(),
            reads,
            readers: 4,
            writers: 4,
            pause: Duration::from_millis(10),
            timeout: Duration::from_secs(20),
            run: u64::from(std::process::id()),
        }
    }
}

fn promise_kept(freshness: &Freshness) {
    assert_eq!(freshness.violations, 0, "{freshness:#?}");
    let count = |how: &str| freshness.by_cache.get(how).copied().unwrap_or(0);
    // It was about something.
    assert!(freshness.writes > 100, "{freshness:#?}");
    assert!(count("HIT") > freshness.reads / 10, "{freshness:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_read_is_older_than_an_answered_write() {
    let lab = Lab::start().await;
    let freshness = check_freshness(lab.options(16_000), std::future::ready(()))
        .await
        .expect("a measurement");
    promise_kept(&freshness);
    assert_eq!(
        (freshness.reads_failed, freshness.writes_repeated),
        (0, 0),
        "{freshness:#?}"
    );
    lab.shutdown.request();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn not_even_while_everything_stops_dies_and_comes_back() {
    let mut lab = Lab::start().await;
    let options = lab.options(20_000);
    let faults = async {
        let pause = async |milliseconds| {
            tokio::time::sleep(Duration::from_millis(milliseconds)).await;
        };
        let fleet = &mut lab.fleet;
        for _ in 0..2 {
            // The cache service is stopped for longer than anybody waits for it, and goes on.
            fleet.cache.freeze();
            pause(3_000).await;
            fleet.cache.go_on();
            pause(1_500).await;
            // For so long that nobody gives it up.
            fleet.cache.freeze();
            pause(600).await;
            fleet.cache.go_on();
            pause(1_000).await;
            fleet.cache.kill();
            pause(700).await;
            fleet.cache.restart();
            pause(2_500).await;
            // Redis comes back from its log.
            fleet.redis.kill();
            fleet.redis.restart().await;
            pause(2_500).await;
            fleet.redis.freeze();
            pause(2_500).await;
            fleet.redis.go_on();
            pause(2_500).await;
            // A gateway with copies and a lease is stopped, and goes on.
            fleet.gateways[0].freeze();
            pause(400).await;
            fleet.gateways[0].go_on();
            pause(500).await;
            fleet.gateways[1].freeze();
            pause(1_800).await;
            fleet.gateways[1].go_on();
            pause(1_000).await;
        }
    };
    let freshness = check_freshness(options, faults)
        .await
        .expect("a measurement");
    promise_kept(&freshness);
    for gateway in &lab.fleet.gateways {
        eventually("every gateway holds its lease again", || async {
            let metrics = gateway.metrics().await;
            crate::support::gauge(&metrics, "recarga_first_level_lease") == Some(1)
        })
        .await;
    }
    lab.shutdown.request();
}
