//! Deletions are confirmed when no first level serves a copy: each holder of a lease has acknowledged, or holds none.

use std::time::{Duration, Instant};

use futures::StreamExt;
use http::Method;
use kit::{
    caching::first_level::{ALIVE, Channels, Gone, HOLDERS, LEASE, acknowledgement},
    testing::eventually,
};
use redis::{AsyncCommands, aio::MultiplexedConnection};

use crate::support::Cache;

/// A pretended gateway: in the table of holders, and subscribed.
struct Gateway {
    name: String,
    connection: MultiplexedConnection,
    channels: Channels,
    subscription: redis::aio::PubSub,
}

impl Gateway {
    async fn join(redis: &str, name: &str) -> Self {
        let client = redis::Client::open(redis).expect("a URL");
        let channels = Channels::new(&kit::redis::Servers::one(client.clone()));
        let mut subscription = client.get_async_pubsub().await.expect("Redis answers");
        subscription
            .subscribe(&channels.gone)
            .await
            .expect("it subscribes");
        let connection = client
            .get_multiplexed_async_connection()
            .await
            .expect("Redis answers");
        let mut gateway = Self {
            name: name.to_owned(),
            connection,
            channels,
            subscription,
        };
        gateway.renew("1").await;
        gateway
    }

    async fn renew(&mut self, renewal: &str) {
        let _: () = self
            .connection
            .hset(HOLDERS, &self.name, renewal)
            .await
            .expect("it is written");
    }

    async fn acknowledge(&mut self, sequence: u64) {
        let message = acknowledgement(&self.name, sequence);
        let _: () = self
            .connection
            .publish(&self.channels.acknowledged, message)
            .await
            .expect("it is published");
    }

    /// The next deletion: its number, and its keys if they are told.
    async fn next(&mut self) -> (u64, Option<Vec<String>>) {
        let mut messages = self.subscription.on_message();
        let message = tokio::time::timeout(Duration::from_secs(10), messages.next()).await;
        let message = message.expect("in time").expect("it stands");
        let text: String = message.get_payload().expect("text");
        let gone = Gone::parse(&text).unwrap_or_else(|| panic!("{text:?}"));
        let keys = gone.each().map(|keys| keys.map(str::to_owned).collect());
        (gone.sequence, keys)
    }

    async fn is_holder(&mut self) -> bool {
        self.connection
            .hexists(HOLDERS, &self.name)
            .await
            .expect("Redis answers")
    }
}

/// A cache service whose first deletions wait for nobody unknown any more.
async fn settled() -> (Cache, String) {
    let redis = kit::testing::redis_url().await;
    let cache = Cache::start_with(crate::support::config("cache-1", &redis)).await;
    cache.post("/invalidate", r#"{"keys": ["nothing"]}"#).await;
    (cache, redis)
}

#[tokio::test]
async fn a_deletion_waits_for_each_holder() {
    let (cache, redis) = settled().await;
    let mut one = Gateway::join(&redis, "gateway-1:a").await;
    let mut two = Gateway::join(&redis, "gateway-2:b").await;
    let mut took = Duration::ZERO;
    for (method, path, body, keys) in [
        (Method::POST, "/cache/a", r#"{"value": 1}"#, Some(vec!["a"])),
        (
            Method::POST,
            "/invalidate",
            r#"{"keys": ["a", "b c", "a"]}"#,
            Some(vec!["a", "b c"]),
        ),
        (Method::POST, "/cache/a", r#"{"value": 1}"#, Some(vec!["a"])),
        (Method::DELETE, "/cache/a", "", Some(vec!["a"])),
        (Method::DELETE, "/cache?prefix=a", "", None),
        (Method::POST, "/cache/flush", "", None),
    ] {
        let mut call = Box::pin(cache.call(method.clone(), path, &[], body));
        let heard = async {
            let (number, told) = one.next().await;
            let told = told.map(|mut keys| {
                keys.sort();
                keys
            });
            let keys = keys.map(|keys| keys.into_iter().map(str::to_owned).collect());
            assert_eq!(told, keys, "{method} {path}");
            assert_eq!(two.next().await.0, number);
            one.acknowledge(number).await;
            number
        };
        let number = tokio::select! {
            number = heard => number,
            answer = &mut call => panic!("{method} {path} did not wait: {answer:?}"),
        };
        // A later number says as much, and an earlier one nothing.
        two.acknowledge(number - 1).await;
        let early = tokio::time::timeout(Duration::from_millis(100), &mut call).await;
        assert!(early.is_err(), "{method} {path}: {early:?}");
        two.acknowledge(number + 1).await;
        let started = Instant::now();
        assert_eq!(call.await.status, 200, "{method} {path}");
        took += started.elapsed();
    }
    // Each was woken, none timed out.
    assert!(took < LEASE * 4, "{took:?}");
    cache.stop().await;
}

/// Several deletions, so that a moment without a processor is not taken for a lease.
async fn assert_nobody_is_waited_for(cache: &Cache) {
    let started = Instant::now();
    for _ in 0..5 {
        cache.post("/invalidate", r#"{"keys": ["a"]}"#).await;
    }
    assert!(started.elapsed() < LEASE * 5, "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_dead_holder_delays_deletions_once() {
    let (cache, redis) = settled().await;
    let mut dead = Gateway::join(&redis, "gateway-1:dead").await;
    let started = Instant::now();
    let answers = futures::future::join_all((0..5).map(|number| async move { number }).map(
        |number| async {
            (
                number.await,
                cache.post("/invalidate", r#"{"keys": ["a"]}"#).await,
            )
        },
    ))
    .await;
    assert!(answers.iter().all(|(_, answer)| answer.status == 200));
    assert!(started.elapsed() >= LEASE);
    assert!(!dead.is_holder().await, "nobody waits for it again");
    assert_nobody_is_waited_for(&cache).await;
    cache.stop().await;
}

#[tokio::test]
async fn a_holder_that_renews_while_it_is_waited_for_stays_in_the_table() {
    let (cache, redis) = settled().await;
    let mut slow = Gateway::join(&redis, "gateway-1:slow").await;
    let call = cache.post("/invalidate", r#"{"keys": ["a"]}"#);
    let renew = async {
        slow.next().await;
        slow.renew("2").await;
    };
    let (answer, ()) = tokio::join!(call, renew);
    assert_eq!(answer.status, 200);
    assert!(slow.is_holder().await);
    cache.stop().await;
}

#[tokio::test]
async fn deletions_that_arrive_together_are_announced_together() {
    let (cache, redis) = settled().await;
    let mut gateway = Gateway::join(&redis, "gateway-1:a").await;
    let calls = futures::future::join_all((0..200).map(|number| {
        let body = format!(r#"{{"keys": ["k{number}"]}}"#);
        let cache = &cache;
        async move { cache.post("/invalidate", &body).await.status.as_u16() }
    }));
    let hear = async {
        let (mut keys, mut messages) = (std::collections::BTreeSet::new(), 0);
        while keys.len() < 200 {
            let (number, told) = gateway.next().await;
            keys.extend(told.expect("keys"));
            messages += 1;
            gateway.acknowledge(number).await;
        }
        messages
    };
    let (statuses, messages) = tokio::join!(calls, hear);
    assert!(statuses.iter().all(|status| *status == 200), "{statuses:?}");
    assert!(messages < 150, "{messages}");
    cache.stop().await;
}

#[tokio::test]
async fn a_lost_table_is_waited_out() {
    let (cache, redis) = settled().await;
    let client = redis::Client::open(redis.as_str()).expect("a URL");
    let mut connection = client
        .get_multiplexed_async_connection()
        .await
        .expect("Redis answers");
    // As an eviction would.
    let _: () = connection.unlink(HOLDERS).await.expect("it goes");
    let started = Instant::now();
    cache.post("/invalidate", r#"{"keys": ["a"]}"#).await;
    assert!(started.elapsed() >= LEASE);
    assert_nobody_is_waited_for(&cache).await;
    cache.stop().await;
}

#[tokio::test]
async fn a_living_service_gives_its_sign_of_life_after_it_had_all_forget() {
    let redis = kit::testing::redis_url().await;
    let mut gateway = Gateway::join(&redis, "gateway-1:a").await;
    let alive = async |gateway: &mut Gateway| -> bool {
        gateway
            .connection
            .exists(ALIVE)
            .await
            .expect("Redis answers")
    };
    assert!(!alive(&mut gateway).await);
    let cache = Cache::start_with(crate::support::config("cache-1", &redis)).await;
    assert_eq!(gateway.next().await.1, None);
    assert!(alive(&mut gateway).await);
    cache.stop().await;
    eventually("it is not taken for alive for long", async || {
        let mut connection = gateway.connection.clone();
        let there: bool = connection.exists(ALIVE).await.expect("Redis answers");
        !there
    })
    .await;
}

#[tokio::test]
async fn injected_faults_do_not_touch_invalidations() {
    let (cache, _) = settled().await;
    let client = reqwest::Client::new();
    let fault = serde_json::json!({"faults": [{"error_rate": 1.0, "refuse": false}]});
    let put = client
        .put(format!("{}/admin/faults", cache.admin))
        .bearer_auth(kit::testing::OPERATOR_TOKEN)
        .json(&fault);
    assert!(put.send().await.expect("an answer").status().is_success());
    assert_eq!(cache.get("/cache/a").await.status, 500);
    let told = cache.post("/invalidate", r#"{"keys": ["a"]}"#).await;
    assert_eq!(told.status, 200);
    cache.stop().await;
}
