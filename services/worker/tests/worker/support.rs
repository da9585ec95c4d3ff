//! A real queue, workers on it, and short words for both.

use std::net::SocketAddr;

use kit::testing::{OPERATOR_TOKEN, Process, database_url, eventually, redis_url};
use serde_json::{Value, json};
use sqlx::PgPool;

pub struct Lab {
    pub queue: Process,
    pub database: String,
    pub http: reqwest::Client,
}

pub async fn lab(pool: &PgPool) -> Lab {
    Lab {
        queue: Process::start(
            "queue-1",
            &["--redis-url", &redis_url().await, "--durability", "fast"],
            queue::run,
        ),
        database: database_url(pool),
        http: reqwest::Client::builder().no_proxy().build().unwrap(),
    }
}

impl Lab {
    pub fn worker(&self, name: &str, seconds: &str) -> Process {
        self.worker_through(self.queue.public, name, seconds)
    }

    /// One that reaches the queue through something else.
    pub fn worker_through(&self, queue: SocketAddr, name: &str, seconds: &str) -> Process {
        self.start(queue, name, seconds, ["0.6", "0.1"])
    }

    /// One that no slow machine makes give up what it has begun.
    pub fn patient_worker(&self, name: &str, seconds: &str) -> Process {
        self.start(self.queue.public, name, seconds, ["30", "30"])
    }

    fn start(
        &self,
        queue: SocketAddr,
        name: &str,
        seconds: &str,
        [visibility, finish]: [&str; 2],
    ) -> Process {
        let queue = queue.to_string();
        let flags = [
            "--database-url",
            &self.database,
            "--queue",
            &queue,
            "--task-seconds",
            seconds,
            "--visibility-seconds",
            visibility,
            "--attempts",
            "2",
            "--finish-seconds",
            finish,
        ];
        Process::start(name, &flags, worker::run)
    }

    pub async fn submit(&self, worker: &Process, task: Value) -> i64 {
        let url = format!("http://{}/task", worker.public);
        let response = self
            .http
            .post(url)
            .json(&json!({"task": task}))
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), 202);
        let location = response.headers()["location"].to_str().unwrap().to_owned();
        let body: Value = response.json().await.unwrap();
        assert_eq!(body["status"], "Started");
        let id = body["task_id"].as_i64().unwrap();
        assert_eq!(location, format!("/task/{id}"));
        id
    }

    pub async fn get(&self, worker: &Process, path: &str) -> (u16, Value) {
        let url = format!("http://{}{path}", worker.public);
        let response = self.http.get(url).send().await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap())
    }

    pub async fn reaches(&self, worker: &Process, id: i64, status: &str) -> Value {
        eventually(&format!("task {id} is {status}"), async || {
            self.get(worker, &format!("/task/{id}")).await.1["status"] == status
        })
        .await;
        self.get(worker, &format!("/task/{id}")).await.1
    }

    pub async fn admin(&self, worker: &Process, method: &str, path: &str, body: Value) -> u16 {
        let url = format!("http://{}{path}", worker.admin);
        let request = self.http.request(method.parse().unwrap(), url);
        let request = request.bearer_auth(OPERATOR_TOKEN).json(&body);
        request.send().await.unwrap().status().as_u16()
    }

    pub async fn figures(&self) -> Value {
        let url = format!("http://{}/queues/tasks", self.queue.public);
        self.http
            .get(url)
            .send()
            .await
            .unwrap()
            .json()
            .await
            .unwrap()
    }
}
