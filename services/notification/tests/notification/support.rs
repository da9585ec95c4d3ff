//! A real queue, notification services on it, and short words for both.

use std::net::SocketAddr;

use kit::{
    Shutdown,
    discovery::Source,
    messaging::{Client, Outgoing},
    testing::{OPERATOR_TOKEN, Process, database_url, eventually, redis_url},
};
use serde_json::{Value, json};
use sqlx::PgPool;
use uuid::Uuid;

pub struct Lab {
    pub queue: Process,
    pub client: Client,
    pub http: reqwest::Client,
}

pub async fn lab() -> Lab {
    let queue = Process::start(
        "queue-1",
        &["--redis-url", &redis_url().await, "--durability", "fast"],
        queue::run,
    );
    let source: Source = queue.public.to_string().parse().unwrap();
    Lab {
        client: Client::connect(
            source.watch(Shutdown::new()).await,
            &kit::tls::Tiers::default(),
        )
        .unwrap(),
        queue,
        http: reqwest::Client::builder().no_proxy().build().unwrap(),
    }
}

impl Lab {
    pub fn notification(&self, pool: &PgPool, name: &str) -> Process {
        let queue = self.queue.public.to_string();
        let flags = ["--database-url", &database_url(pool), "--queue", &queue];
        Process::start(name, &flags, notification::run)
    }

    pub async fn configure(&self, queue: &str, settings: &Value) {
        let url = format!("http://{}/queues/{queue}", self.queue.public);
        let answer = self.http.put(url).json(settings).send().await.unwrap();
        assert_eq!(answer.status(), 200);
    }

    pub async fn send(&self, queue: &str, bodies: &[Value]) {
        let messages: Vec<Outgoing> = bodies.iter().map(|b| Outgoing::new(b).unwrap()).collect();
        self.client.send_batch(queue, &messages).await.unwrap();
    }

    pub async fn get(&self, address: SocketAddr, path: &str) -> (u16, Value) {
        let response = self
            .http
            .get(format!("http://{address}{path}"))
            .send()
            .await
            .unwrap();
        let status = response.status().as_u16();
        (status, response.json().await.unwrap())
    }

    pub async fn switch(&self, process: &Process, path: &str) {
        let url = format!("http://{}/admin/{path}", process.admin);
        let answer = self.http.post(url).bearer_auth(OPERATOR_TOKEN).send().await;
        assert_eq!(answer.unwrap().status(), 200);
    }

    pub async fn settled(&self, queue: &str) {
        eventually("everything is acknowledged", async || {
            let (_, figures) = self
                .get(self.queue.public, &format!("/queues/{queue}"))
                .await;
            figures["depth"] == 0 && figures["in_flight"] == 0
        })
        .await;
    }
}

pub fn recharge(id: i64, event_id: Uuid) -> Value {
    json!({"event_id": event_id, "type": "recharge", "recharge_id": id, "card_id": 1, "user_id": 7, "amount": 5_000, "balance": 9_000})
}

pub fn booking(id: i64, event_id: Uuid) -> Value {
    json!({
        "event_id": event_id, "type": "booking", "booking_id": id, "student_id": 1, "student": "Ana", "tutor_id": 2,
        "tutor": "Luis", "subject": "Math", "starts_at": "2030-01-02T15:00:00.000000Z", "ends_at": "2030-01-02T16:00:00.000000Z",
    })
}

pub async fn count(pool: &PgPool, state: &str) -> i64 {
    sqlx::query_scalar("select count(*) from notification.notifications where state = $1")
        .bind(state)
        .fetch_one(pool)
        .await
        .unwrap()
}

/// One with further flags, which may reach the queue through something else.
pub fn notification(pool: &PgPool, name: &str, queue: SocketAddr, more: &[&str]) -> Process {
    let (url, queue) = (database_url(pool), queue.to_string());
    let mut flags = vec![
        "--database-url",
        &url,
        "--queue",
        &queue,
        "--visibility-seconds",
        "1",
        "--concurrency",
        "1",
    ];
    flags.extend(more);
    Process::start(name, &flags, notification::run)
}
