//! The one lab of this test binary, and what is true in it whatever the page says.

use std::{
    collections::HashSet,
    net::SocketAddr,
    sync::OnceLock,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tokio::sync::Mutex;

use crate::{driver::PATIENCE, whole::Whole};

/// Held while `/data` is asked, and while there is nobody to answer it.
pub static SLOW_READ: Mutex<()> = Mutex::const_new(());

pub struct Lab {
    whole: Whole,
    topology: kit::Topology,
}

/// The lab, started by whoever asks first.
pub fn lab() -> &'static Lab {
    static LAB: OnceLock<Lab> = OnceLock::new();
    LAB.get_or_init(Lab::start)
}

impl Lab {
    fn start() -> Self {
        let whole = Whole::start();
        let topology = kit::Topology::load(&whole.path().join("topology.json")).unwrap();
        Self { whole, topology }
    }

    /// Where the page is.
    pub fn url(&self) -> &str {
        self.topology.public_url.trim_end_matches('/')
    }

    pub fn address(&self) -> SocketAddr {
        self.url().rsplit('/').next().unwrap().parse().unwrap()
    }

    pub fn secret(&self, name: &str) -> String {
        let text = std::fs::read(self.whole.path().join("secrets.json")).unwrap();
        let secrets: Value = serde_json::from_slice(&text).unwrap();
        secrets[name].as_str().unwrap().to_owned()
    }

    /// Sends a command to every instance of a role, as an operator.
    pub async fn command(&self, role: &str, path: &str) {
        let instances = self.topology.instances.iter();
        for instance in instances.filter(|instance| instance.role == role) {
            let url = format!("http://{}{path}", instance.admin);
            let request = client()
                .post(url)
                .bearer_auth(self.secret("operator_token"));
            let answer = request.send().await.unwrap();
            assert!(answer.status().is_success(), "{path}: {answer:?}");
        }
    }

    /// Waits until every gateway answers the slow read with this status: each looks at its upstreams by itself.
    pub async fn slow_read_is(&self, status: u16) {
        let gateways = self.topology.instances.iter();
        let mut others: HashSet<&str> = gateways
            .filter(|instance| instance.role == "gateway")
            .map(|gateway| gateway.name.as_str())
            .collect();
        let started = Instant::now();
        let mut pause = tokio::time::interval(Duration::from_millis(50));
        // A key of its own each time: what was answered once would come from the cache.
        for key in 0_u32.. {
            let url = format!("{}/data?key={status}-{key}", self.url());
            let answer = client().get(url).send().await.unwrap();
            if answer.status().as_u16() == status {
                let gateway = &answer.headers()["x-gateway"];
                others.remove(gateway.to_str().unwrap());
            }
            if others.is_empty() {
                return;
            }
            let waited = started.elapsed();
            assert!(waited < PATIENCE, "{others:?} do not answer {status}");
            pause.tick().await;
        }
    }

    pub async fn log_in(&self, username: &str, password: &str) -> (u16, Value) {
        let form = [("username", username), ("password", password)];
        let request = client().post(format!("{}/token", self.url())).form(&form);
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    /// What is in the ledger, asked without a browser.
    pub async fn read(&self, path: &str) -> Value {
        let (_, granted) = self.log_in("student1", "password").await;
        let token = granted["access_token"].as_str().unwrap();
        let request = client().get(format!("{}{path}", self.url()));
        let answer = request.bearer_auth(token).send().await.unwrap();
        answer.error_for_status().unwrap().json().await.unwrap()
    }

    pub async fn balance(&self, card: u32) -> i64 {
        let body = self.read(&format!("/cards/{card}/balance")).await;
        body["balance"].as_i64().unwrap()
    }

    /// How many recharges of an amount a card's history has.
    pub async fn recharges(&self, card: u32, amount: i64) -> usize {
        let body = self.read(&format!("/cards/{card}/history?limit=100")).await;
        let rows = body["data"].as_array().unwrap().iter();
        rows.filter(|row| row["kind"] == json!("recharge") && row["amount"] == json!(amount))
            .count()
    }
}

/// Waits until something holds that no page tells of.
pub async fn eventually<F: Future<Output = bool>>(what: &str, mut condition: impl FnMut() -> F) {
    let started = Instant::now();
    let mut pause = tokio::time::interval(Duration::from_millis(50));
    while !condition().await {
        assert!(started.elapsed() < PATIENCE, "waited in vain: {what}");
        pause.tick().await;
    }
}

fn client() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().build().unwrap()
}
