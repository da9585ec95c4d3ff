//! What an operator does and sees on the admin ports, and the reads that everybody does.

use std::net::SocketAddr;

use serde_json::Value;

use crate::{lab::Lab, load::Call};

/// Held by a test that is at work: several labs under load at once would have too little of the machine each.
pub type Alone = tokio::sync::MutexGuard<'static, ()>;

pub async fn alone() -> Alone {
    static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
    ALONE.lock().await
}

/// A lab with its operator.
pub struct Operator {
    token: String,
    http: reqwest::Client,
}

impl Operator {
    pub fn of(lab: &Lab) -> Self {
        let secrets = std::fs::read(lab.path().join("secrets.json")).unwrap();
        let secrets: Value = serde_json::from_slice(&secrets).unwrap();
        Self {
            token: secrets["operator_token"].as_str().unwrap().to_owned(),
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
        }
    }

    /// Puts a setting on an instance's admin port.
    pub async fn put(&self, lab: &Lab, instance: &str, path: &str, body: &Value) {
        let admin = lab.instance(instance).unwrap().admin;
        let answer = self
            .http
            .put(format!("http://{admin}{path}"))
            .bearer_auth(&self.token)
            .json(body)
            .send()
            .await
            .unwrap();
        assert!(answer.status().is_success(), "{path}: {}", answer.status());
    }

    /// The balancer's pool of gateways.
    pub async fn gateways(&self, lab: &Lab) -> Vec<Value> {
        let admin = lab.instance("balancer-1").unwrap().admin;
        let url = format!("http://{admin}/admin/upstreams");
        let pool: Value = self
            .http
            .get(url)
            .send()
            .await
            .unwrap()
            .json()
            .await
            .unwrap();
        pool["upstreams"].as_array().unwrap().clone()
    }

    /// Waits until the balancer sends to so many gateways.
    pub async fn up(&self, lab: &Lab, count: usize) {
        kit::testing::eventually("the balancer sends to all gateways", async || {
            let gateways = self.gateways(lab).await;
            gateways
                .iter()
                .filter(|gateway| gateway["state"] == "up")
                .count()
                == count
        })
        .await;
    }

    /// A user's token, as the front door gives it.
    pub async fn demo_token(&self, lab: &Lab) -> String {
        let url = format!("{}/token", lab.topology().public_url);
        let answer: Value = self
            .http
            .get(url)
            .send()
            .await
            .unwrap()
            .json()
            .await
            .unwrap();
        answer["token"].as_str().unwrap().to_owned()
    }
}

/// Where the clients send to.
pub fn front(lab: &Lab) -> SocketAddr {
    lab.instance("balancer-1").unwrap().listen
}

/// Reads of every kind in turn.
pub fn reading(token: &str) -> impl Fn(u64) -> Call + Send + Sync + Clone + use<> {
    let reads = reads(token);
    move |number| reads[number as usize % reads.len()].clone()
}

/// Reads of every kind: cached, never cached, slow, with and without a token.
pub fn reads(token: &str) -> Vec<Call> {
    let open = [
        "/data?key=edge",
        "/process",
        "/trips/total",
        "/finance/revenue/localities",
        "/users/count",
        "/users/latest",
        "/stations?limit=20",
        "/stations/1/arrivals",
    ];
    let user = [
        "/cards/1/balance",
        "/cards/2/history",
        "/search?subject=Math",
        "/users/1/recharges",
    ];
    let bearer = format!("Bearer {token}");
    let user = user
        .into_iter()
        .map(|path| Call::get(path).header("Authorization", &bearer));
    open.into_iter().map(Call::get).chain(user).collect()
}
