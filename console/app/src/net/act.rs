//! Does what the operator asked: single calls, bursts, steady traffic, the flush. All through public ports.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use load::{Call, Client, Credentials, Mode, Schedule};
use rand::RngExt;
use serde::Deserialize;
use tokio::sync::{mpsc, watch};
use tokio_util::task::TaskTracker;

use super::topology::Lab;
use crate::state::{
    Update,
    action::Command,
    traffic::{Outcome, Recharge, SPEEDS, Seen},
};

/// How often running traffic is asked how it does.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// A single call's time limit.
const PATIENCE: Duration = Duration::from_secs(10);

/// Steady traffic ends by itself after this time.
const TRAFFIC_FOR: Duration = Duration::from_hours(1);

/// Connections that steady traffic may hold.
const CONNECTIONS: u32 = 64;

/// What the desk needs to know once.
#[derive(Clone)]
pub struct Rights {
    /// For labs whose auth is strict, where nobody gets a demo token.
    pub operator_password: Option<String>,
    /// Whether the target may be another machine than this one.
    pub allow_remote: bool,
}

/// Takes commands until there are no more.
pub struct Desk {
    pub http: reqwest::Client,
    pub lab: watch::Receiver<Option<Lab>>,
    pub rights: Rights,
    pub updates: mpsc::Sender<Update>,
    pub tasks: TaskTracker,
    pub client: Option<(String, Arc<Client>)>,
    pub traffic: Option<load::Handle>,
}

impl Desk {
    pub async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        let mut looks = tokio::time::interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                command = commands.recv() => match command {
                    Some(command) => self.obey(command).await,
                    None => return,
                },
                _ = looks.tick(), if self.traffic.is_some() => self.look().await,
            }
        }
    }

    async fn obey(&mut self, command: Command) {
        let result = match command {
            Command::Recharge => self.recharge().await,
            Command::Burst { requests } => self.burst(requests).await,
            Command::Traffic { rate } => self.drive(rate).await,
            Command::StopTraffic => {
                // Dropping the handle ends the traffic.
                self.traffic = None;
                Ok(())
            }
            Command::Flush => self.flush(),
            Command::Quit | Command::Repaint | Command::Suspend => Ok(()),
        };
        if let Err((what, why)) = result {
            self.tell(Update::Outcome(Outcome::Failed { what, why }))
                .await;
            if what == "traffic" {
                self.tell(Update::Traffic(None)).await;
            }
        }
    }

    async fn tell(&self, update: Update) {
        // A closed channel means that the console is closing.
        let _ = self.updates.send(update).await;
    }

    fn target(&self) -> Result<Lab, String> {
        self.lab
            .borrow()
            .clone()
            .ok_or_else(|| "where the lab is, is not known yet".to_owned())
    }

    async fn credentials(&self, public_url: &str) -> Credentials {
        let Some(password) = &self.rights.operator_password else {
            return Credentials::Demo;
        };
        let demo = self.http.get(format!("{public_url}/token")).send().await;
        match demo {
            Ok(answer) if !answer.status().is_success() => Credentials::Password {
                username: "operator".into(),
                password: password.clone(),
            },
            _ => Credentials::Demo,
        }
    }

    async fn client(&mut self) -> Result<Arc<Client>, String> {
        let lab = self.target()?;
        if let Some((url, client)) = &self.client
            && *url == lab.public_url
        {
            return Ok(Arc::clone(client));
        }
        let credentials = self.credentials(&lab.public_url).await;
        let client = Client::new(
            &lab.public_url,
            self.rights.allow_remote,
            credentials,
            PATIENCE,
            run_number(),
        )
        .map(Arc::new)
        .map_err(|error| error.to_string())?;
        self.client = Some((lab.public_url, Arc::clone(&client)));
        Ok(client)
    }

    async fn recharge(&mut self) -> Result<(), (&'static str, String)> {
        let client = self.client().await.map_err(|why| ("recharge", why))?;
        let updates = self.updates.clone();
        self.tasks.spawn(async move {
            let (card, amount) = {
                let mut random = rand::rng();
                (
                    random.random_range(1..=100_u64),
                    random.random_range(2..=40_u64) * 1_000,
                )
            };
            let outcome = recharge(&client, card, amount)
                .await
                .map_or_else(|why| failed("recharge", why), Outcome::Recharged);
            let _ = updates.send(Update::Outcome(outcome)).await;
        });
        Ok(())
    }

    async fn burst(&mut self, requests: u32) -> Result<(), (&'static str, String)> {
        let client = self.client().await.map_err(|why| ("burst", why))?;
        let updates = self.updates.clone();
        self.tasks.spawn(async move {
            let requests = requests as usize;
            // The mix of the steady traffic.
            let calls =
                load::Mix::contract().calls(load::Population::default(), run_number(), requests);
            let outcome = match client.burst(calls, requests).await {
                Err(error) => failed("burst", error.to_string()),
                Ok(burst) => Outcome::Burst {
                    answered: u64::from(burst.succeeded + burst.refused),
                    errors: u64::from(burst.failed),
                    refused: u64::from(burst.refused),
                    took: burst.elapsed.as_secs_f64(),
                    p95: (burst.latency.count > 0).then(|| burst.latency.p95 as f64 / 1e6),
                    why: burst.last_error,
                },
            };
            let _ = updates.send(Update::Outcome(outcome)).await;
        });
        Ok(())
    }

    fn flush(&self) -> Result<(), (&'static str, String)> {
        let lab = self.target().map_err(|why| ("flush", why))?;
        let (http, updates) = (self.http.clone(), self.updates.clone());
        self.tasks.spawn(async move {
            let outcome = flush(&http, &lab.cache_url).await.map_or_else(
                |why| failed("flush", why),
                |entries| Outcome::Flushed { entries },
            );
            let _ = updates.send(Update::Outcome(outcome)).await;
        });
        Ok(())
    }

    async fn drive(&mut self, rate: f64) -> Result<(), (&'static str, String)> {
        if let Some(traffic) = &self.traffic
            && traffic.state() != load::State::Finished
        {
            traffic.set_rate(rate);
            return Ok(());
        }
        let lab = self.target().map_err(|why| ("traffic", why))?;
        let credentials = self.credentials(&lab.public_url).await;
        let options = load::Options {
            allow_remote: self.rights.allow_remote,
            mode: Mode::Open {
                rate,
                schedule: Schedule::Constant,
                connections: CONNECTIONS,
            },
            time_limit: TRAFFIC_FOR,
            rate_cap: SPEEDS[SPEEDS.len() - 1],
            credentials,
            seed: run_number(),
            ..load::Options::new(lab.public_url, run_number())
        };
        let handle =
            load::Traffic::start(options).map_err(|error| ("traffic", error.to_string()))?;
        self.traffic = Some(handle);
        Ok(())
    }

    async fn look(&mut self) {
        let Some(traffic) = &self.traffic else { return };
        let snapshot = traffic.snapshot();
        let finished = snapshot.state == load::State::Finished;
        let window = &snapshot.window;
        let latency = &window.latency.corrected;
        let seen = Seen {
            rate: (window.seconds > 0).then_some(window.answered_per_second),
            answered: snapshot.totals.answered,
            errors: snapshot.totals.errors(),
            p95: (latency.count > 0).then(|| latency.p95 as f64 / 1e6),
            finished,
            last_error: snapshot.last_error,
        };
        self.tell(Update::Traffic(Some(seen))).await;
        if finished {
            self.traffic = None;
        }
    }
}

fn failed(what: &'static str, why: impl Into<String>) -> Outcome {
    Outcome::Failed {
        what,
        why: why.into(),
    }
}

/// Differs from run to run: it goes into idempotency keys.
fn run_number() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_micros() as u64)
}

async fn recharge(client: &Client, card: u64, amount: u64) -> Result<Recharge, String> {
    let before = client.once(&Call::Balance { card }).await;
    let before = before
        .ok()
        .filter(load::Answer::is_success)
        .and_then(|answer| answer.body["balance"].as_i64());
    let answer = client
        .once(&Call::Recharge { card, amount })
        .await
        .map_err(|error| error.to_string())?;
    if !answer.is_success() {
        let detail = answer.body["detail"].as_str().unwrap_or("no reason given");
        return Err(format!("{} {detail}", answer.status));
    }
    Ok(Recharge {
        card,
        amount: amount.cast_signed(),
        before,
        after: answer.body["balance"]
            .as_i64()
            .ok_or("the answer has no balance")?,
        gateway: answer.gateway,
        milliseconds: answer.elapsed.as_secs_f64() * 1e3,
    })
}

#[derive(Deserialize)]
struct Flushed {
    count: u64,
}

async fn flush(http: &reqwest::Client, cache_url: &str) -> Result<u64, String> {
    let plain = |error: reqwest::Error| {
        if error.is_connect() {
            "the cache service cannot be reached".to_owned()
        } else if error.is_timeout() {
            format!("no answer within {PATIENCE:?}; it may have happened nevertheless")
        } else if error.is_request() || error.is_body() {
            "the connection to the cache service broke".to_owned()
        } else {
            error.without_url().to_string()
        }
    };
    let answer = http
        .post(format!("{cache_url}/cache/flush"))
        .timeout(PATIENCE)
        .send()
        .await
        .and_then(reqwest::Response::error_for_status)
        .map_err(plain)?;
    let flushed: Flushed = answer.json().await.map_err(plain)?;
    Ok(flushed.count)
}
