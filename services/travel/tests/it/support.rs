//! A running service, a listener in the cache service's place, and a small city.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Json, Router, extract::State, routing::post};
use chrono::{DateTime, Utc};
use http::{HeaderMap, Method};
use kit::{
    Common, Listeners, Service, Shutdown, caching::Invalidator, client::Peer, discovery::Source,
};
use serde_json::{Value, json};
use sqlx::PgPool;
use tokio::net::TcpListener;

/// A running travel service.
pub struct Lab {
    pub pool: PgPool,
    pub url: String,
    pub cache: Cache,
    http: reqwest::Client,
    shutdown: Shutdown,
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.shutdown.request();
    }
}

/// Keeps what it is told to delete; stands where the cache service stands.
#[derive(Clone, Default)]
pub struct Cache {
    heard: Arc<Mutex<Vec<String>>>,
}

impl Cache {
    /// The keys heard of since this was last asked, in order of the alphabet.
    pub fn take(&self) -> Vec<String> {
        let mut keys = std::mem::take(&mut *self.heard.lock().expect("no panic"));
        keys.sort();
        keys
    }

    /// Whether there is something to take.
    pub fn hears(&self) -> bool {
        !self.heard.lock().expect("no panic").is_empty()
    }

    pub async fn listen(&self, address: &str) -> SocketAddr {
        let listener = TcpListener::bind(address).await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let router = Router::new()
            .route("/invalidate", post(invalidate))
            .with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        address
    }
}

async fn invalidate(State(cache): State<Cache>, Json(body): Json<Value>) -> Json<Value> {
    let keys: Vec<String> = serde_json::from_value(body["keys"].clone()).expect("keys");
    let count = keys.len();
    cache.heard.lock().expect("no panic").extend(keys);
    Json(json!({ "count": count }))
}

/// An answer, read to its end.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Value,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .get(name)
            .map(|value| value.to_str().expect("text"))
    }

    pub fn replayed(&self) -> bool {
        self.header("idempotency-replayed") == Some("true")
    }

    /// The cursor of the next page.
    pub fn next(&self) -> Option<String> {
        self.body["next_cursor"].as_str().map(str::to_owned)
    }

    /// Asserts a problem whose detail contains `part`.
    #[track_caller]
    pub fn refused(&self, status: u16, part: &str) {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(
            self.header("content-type"),
            Some("application/problem+json"),
            "{self:?}"
        );
        let detail = self.body["detail"].as_str().expect("a detail");
        assert!(detail.contains(part), "{detail:?} does not say {part:?}");
        assert_eq!(self.body["error"], self.body["detail"]);
        assert_eq!(self.body["instance"].as_str(), self.header("x-request-id"));
    }
}

/// How a lab is started.
pub struct Setup {
    pub pool: PgPool,
    /// Where the cache service is said to be; a listener is started without it.
    pub cache: Option<SocketAddr>,
    pub now: Option<DateTime<Utc>>,
}

impl Lab {
    /// On a database with the small city.
    pub async fn start(pool: PgPool) -> Self {
        city(&pool).await;
        Self::with(Setup {
            pool,
            cache: None,
            now: None,
        })
        .await
    }

    pub async fn with(setup: Setup) -> Self {
        let shutdown = Shutdown::new();
        let common = Common::for_tests("travel-1");
        let listeners = Listeners::bind(&common).await.expect("free ports");
        let url = format!("http://{}", listeners.public.local_addr().expect("bound"));
        let service =
            Service::new("travel", &common, shutdown.clone()).expect("nothing that cannot be read");
        let instance = service.instance();

        let cache = Cache::default();
        let address = match setup.cache {
            Some(address) => address,
            None => cache.listen("127.0.0.1:0").await,
        };
        let source = Source::List(vec![address.to_string()]);
        let peer = Peer::new(
            "cache",
            source.watch(shutdown.clone()).await,
            Duration::from_secs(5),
            instance.tiers(),
        )
        .expect("a client");
        let invalidator = Invalidator::new(peer);
        instance.spawn(invalidator.clone().settle(shutdown.clone()));
        kit::postgres::watch(instance, setup.pool.clone());
        let mut app = travel::App::new(instance, setup.pool.clone(), invalidator, 2);
        if let Some(now) = setup.now {
            app = app.clock(move || now);
        }
        tokio::spawn(service.public(travel::router(app)).run(listeners));
        Self {
            pool: setup.pool,
            url,
            cache,
            http: reqwest::Client::new(),
            shutdown,
        }
    }

    pub async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<String>,
    ) -> Answer {
        let mut request = self.http.request(method, format!("{}{path}", self.url));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.body(body);
        }
        let response = request.send().await.expect("an answer");
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = response.text().await.expect("a body");
        let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
        Answer {
            status,
            headers,
            body,
        }
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, &[], None).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.send(Method::POST, path, &[], Some(body.to_string()))
            .await
    }

    /// With an idempotency key.
    pub async fn post_once(&self, path: &str, key: &str, body: Value) -> Answer {
        self.send(
            Method::POST,
            path,
            &[("idempotency-key", key)],
            Some(body.to_string()),
        )
        .await
    }

    pub async fn count(&self, query: &'static str) -> i64 {
        sqlx::query_scalar(query)
            .fetch_one(&self.pool)
            .await
            .expect("a count")
    }

    /// Waits until some backend of this database waits for a lock.
    pub async fn somebody_waits(&self) {
        kit::testing::eventually("a write waits for the lock", async || {
            self.count(
                "select count(*) from pg_stat_activity
                 where datname = current_database() and wait_event_type = 'Lock'",
            )
            .await
                > 0
        })
        .await;
    }

    /// The books are in order: balances follow from movements, and the ledger agrees.
    pub async fn audit(&self) {
        assert_eq!(self.count("select travel.ledger_sum()").await, 0);
        assert_eq!(
            self.count("select count(*) from travel.card_discrepancies()")
                .await,
            0
        );
        assert_eq!(
            self.count("select count(*) from travel.ledger_discrepancies()")
                .await,
            0
        );
    }
}

/// Two localities; stations 1 to 3 on route 1 (2,950 pesos), station 4 on no route, feeder 2 for nothing; users 1 to 3;
/// card 1 with 10,000 pesos, card 2 blocked, card 3 empty and also of user 1.
pub async fn city(pool: &PgPool) {
    let statements = [
        "insert into travel.localities (code, name) values ('01', 'Usaquén'), ('02', 'Chapinero')",
        "insert into travel.stations (name, kind, locality_id) values
             ('Portal Norte', 'portal', 1), ('Calle 100', 'station', 1), ('Calle 72', 'station', 2), ('Calle 45', 'station', 2)",
        "insert into travel.fares (kind, amount) values ('troncal', 2950), ('feeder', 0)",
        "insert into travel.routes (code, name, kind, fare, headway_minutes, first_departure, last_departure) values
             ('B10', 'Portal Norte - Calle 72', 'troncal', 2950, 10, '05:00', '23:00'),
             ('A1', 'Feeder', 'feeder', 0, 15, '05:00', '23:00')",
        "insert into travel.route_stations (route_id, position, station_id, offset_minutes) values
             (1, 1, 1, 0), (1, 2, 2, 4), (1, 3, 3, 9), (2, 1, 1, 0), (2, 2, 2, 6)",
        "insert into travel.recharge_points (name, locality_id) values ('Kiosk', 1)",
        "insert into travel.users (username, full_name, created_at, last_active_at) values
             ('student1', 'Ana Rojas', now() - interval '2 years', now() - interval '1 day'),
             ('student2', 'Luis Mora', now() - interval '1 year', now() - interval '31 days'),
             ('operator', 'Eva Ruiz', now() - interval '3 years', now() - interval '40 days')",
        "insert into travel.cards (user_id, status, opening_balance, balance) values
             (1, 'active', 10000, 10000), (2, 'blocked', 10000, 10000), (1, 'active', 0, 0)",
    ];
    for statement in statements {
        sqlx::query(statement).execute(pool).await.expect(statement);
    }
}
