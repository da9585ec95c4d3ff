//! The channel `webhook` against a real listener: signed, tried again, given up.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Router, extract::State, http::HeaderMap, response::IntoResponse, routing::post};
use chrono::Utc;
use hmac::{Hmac, KeyInit, Mac};
use http::StatusCode;
use kit::testing::eventually;
use serde_json::{Value, json};
use sha2::Sha256;
use sqlx::PgPool;
use uuid::Uuid;

use crate::support::{booking, count, lab, notification, recharge};

const SECRET: &str = "a-webhook-key-for-tests";

/// What arrived.
#[derive(Clone, Debug)]
pub struct Post {
    pub key: String,
    pub signature: String,
    pub body: String,
}

#[derive(Clone, Copy)]
enum Deed {
    Answer(u16),
    Hang,
}

#[derive(Default)]
struct Book {
    posts: Vec<Post>,
    deeds: VecDeque<Deed>,
}

/// A far side that answers as it is told, and 200 otherwise.
pub struct Receiver {
    url: String,
    book: Arc<Mutex<Book>>,
}

impl Receiver {
    pub async fn start() -> Self {
        let book = Arc::new(Mutex::new(Book::default()));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address: SocketAddr = listener.local_addr().unwrap();
        let router = Router::new()
            .route("/notify", post(receive))
            .with_state(book.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self {
            url: format!("http://{address}/notify?from=recarga"),
            book,
        }
    }

    pub fn flags(&self) -> Vec<&str> {
        vec![
            "--channel",
            "webhook",
            "--webhook-url",
            &self.url,
            "--webhook-secret",
            SECRET,
            "--webhook-timeout-seconds",
            "0.5",
        ]
    }

    pub fn posts(&self) -> Vec<Post> {
        self.book.lock().unwrap().posts.clone()
    }

    pub fn hang_once(&self) {
        self.then(&[Deed::Hang]);
    }

    fn then(&self, deeds: &[Deed]) {
        self.book.lock().unwrap().deeds.extend(deeds);
    }
}

async fn receive(
    State(book): State<Arc<Mutex<Book>>>,
    headers: HeaderMap,
    body: String,
) -> impl IntoResponse {
    let header = |name: &str| {
        headers
            .get(name)
            .map_or_else(String::new, |value| value.to_str().unwrap().to_owned())
    };
    let deed = {
        let mut book = book.lock().unwrap();
        book.posts.push(Post {
            key: header("idempotency-key"),
            signature: header("x-recarga-signature"),
            body,
        });
        book.deeds.pop_front().unwrap_or(Deed::Answer(200))
    };
    match deed {
        Deed::Answer(status) => (
            StatusCode::from_u16(status).unwrap(),
            [("location", "http://127.0.0.1:1/elsewhere")],
            "because",
        ),
        Deed::Hang => std::future::pending().await,
    }
}

async fn story(lab: &crate::support::Lab, process: &kit::testing::Process) -> Value {
    let (_, list) = lab.get(process.public, "/notifications").await;
    let id = &list["notifications"][0]["id"];
    let (status, story) = lab
        .get(process.public, &format!("/notifications/{id}"))
        .await;
    assert_eq!(status, 200);
    story
}

#[sqlx::test(migrations = "../../migrations")]
async fn each_notification_is_posted_once_and_signed(pool: PgPool) {
    let (lab, receiver) = (lab().await, Receiver::start().await);
    let process = notification(&pool, "notification-1", lab.queue.public, &receiver.flags());
    let event = Uuid::new_v4();
    lab.send("bookings", &[booking(5, event), booking(5, event)])
        .await;
    lab.send("bookings", &[booking(5, event)]).await;
    eventually("it is sent", async || count(&pool, "sent").await == 1).await;
    lab.settled("bookings").await;
    let posts = receiver.posts();
    assert_eq!(posts.len(), 1);
    let post = &posts[0];
    assert_eq!(post.key, event.to_string());
    let body: Value = serde_json::from_str(&post.body).unwrap();
    assert_eq!(
        (
            &body["kind"],
            &body["booking_id"],
            &body["recipient"],
            &body["event_id"]
        ),
        (
            &json!("booking"),
            &json!(5),
            &json!("student:1"),
            &json!(event)
        )
    );
    let (time, hex_mac) = post
        .signature
        .strip_prefix("t=")
        .and_then(|rest| rest.split_once(",v1="))
        .unwrap();
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(format!("{time}.{}", post.body).as_bytes());
    assert_eq!(hex::encode(mac.finalize().into_bytes()), hex_mac);
    let age = Utc::now().timestamp() - time.parse::<i64>().unwrap();
    assert!((0..60).contains(&age), "{age} s");
    let told = story(&lab, &process).await;
    assert_eq!(
        (&told["channel"], &told["attempts"]),
        (&json!("webhook"), &json!(1))
    );
    assert_eq!(told["deliveries"][0]["outcome"], "sent");
    assert_eq!(lab.get(process.public, "/notifications/999").await.0, 404);
}

#[sqlx::test(migrations = "../../migrations")]
async fn what_fails_for_a_while_is_tried_again(pool: PgPool) {
    let (lab, receiver) = (lab().await, Receiver::start().await);
    lab.configure("recharges", &json!({"backoff_seconds": 0.05}))
        .await;
    receiver.then(&[Deed::Answer(503), Deed::Answer(429), Deed::Hang]);
    let process = notification(&pool, "notification-1", lab.queue.public, &receiver.flags());
    lab.send("recharges", &[recharge(1, Uuid::new_v4())]).await;
    eventually("it is sent", async || count(&pool, "sent").await == 1).await;
    lab.settled("recharges").await;
    assert_eq!(receiver.posts().len(), 4);
    let told = story(&lab, &process).await;
    let outcomes: Vec<(&Value, &Value)> = told["deliveries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|d| (&d["outcome"], &d["detail"]))
        .collect();
    let retry = json!("retry");
    assert_eq!(
        outcomes,
        [
            (&retry, &json!("the webhook answered 503: because")),
            (&retry, &json!("the webhook answered 429: because")),
            (&retry, &json!("the webhook did not answer within 0.5 s")),
            (&json!("sent"), &Value::Null),
        ]
    );
}

#[sqlx::test(migrations = "../../migrations")]
async fn what_cannot_help_is_given_up_with_the_reason_and_may_be_taken_back(pool: PgPool) {
    let (lab, receiver) = (lab().await, Receiver::start().await);
    lab.configure("recharges", &json!({"backoff_seconds": 0.02}))
        .await;
    // Refused; a redirect, which is not followed; and one that fails as often as it may.
    receiver.then(&[Deed::Answer(410), Deed::Answer(307)]);
    receiver.then(&[Deed::Answer(500); 3]);
    let mut flags = receiver.flags();
    flags.extend(["--attempts", "3"]);
    let _process = notification(&pool, "notification-1", lab.queue.public, &flags);
    for (id, reason) in [(1, "410"), (2, "307"), (3, "tried 3 times")] {
        lab.send("recharges", &[recharge(id, Uuid::new_v4())]).await;
        eventually("it is a dead letter", async || {
            let dead = lab
                .client
                .dead_letters("recharges", None, 10)
                .await
                .unwrap();
            i64::try_from(dead.len()).unwrap() == id && dead.last().unwrap().reason.contains(reason)
        })
        .await;
        assert_eq!(count(&pool, "failed").await, id);
    }
    assert_eq!(receiver.posts().len(), 5);
    let url = format!("http://{}/queues/recharges/dead/redrive", lab.queue.public);
    lab.http.post(url).send().await.unwrap();
    eventually("all are sent", async || count(&pool, "sent").await == 3).await;
    assert_eq!(receiver.posts().len(), 8);
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_notification_that_the_queue_gives_up_ends_as_failed(pool: PgPool) {
    let (lab, receiver) = (lab().await, Receiver::start().await);
    // The queue's patience ends before the service's.
    lab.configure("recharges", &json!({"max_deliveries": 1}))
        .await;
    receiver.then(&[Deed::Answer(500)]);
    let _process = notification(&pool, "notification-1", lab.queue.public, &receiver.flags());
    lab.send("recharges", &[recharge(1, Uuid::new_v4())]).await;
    eventually("it has failed", async || count(&pool, "failed").await == 1).await;
}

#[tokio::test]
async fn a_channel_without_its_settings_is_refused() {
    use clap::Args as _;
    let command = notification::Config::augment_args(clap::Command::new("test"));
    let matches = command
        .try_get_matches_from([
            "test",
            "--operator-token",
            kit::testing::OPERATOR_TOKEN,
            "--database-url",
            "postgres://127.0.0.1:1/none",
            "--channel",
            "webhook",
        ])
        .unwrap();
    let config =
        <notification::Config as clap::FromArgMatches>::from_arg_matches(&matches).unwrap();
    let listeners = kit::Listeners::bind(&config.common).await.unwrap();
    let run = notification::run(listeners, config, kit::Shutdown::new());
    let ended = tokio::time::timeout(Duration::from_secs(5), run)
        .await
        .unwrap();
    let reason = ended.unwrap_err().to_string();
    assert!(reason.contains("--webhook-url"), "{reason}");
}
