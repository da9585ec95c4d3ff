//! Reads one instance's metrics once a second, and what it says of itself every other time.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::StreamExt;
use serde::Deserialize;
use serde_json::Value;
use tokio::{
    sync::{Notify, mpsc},
    time::{MissedTickBehavior, interval},
};

use super::{line::Line, prometheus::Exposition};
use crate::state::{
    Update,
    instance::{Info, Reason},
    logs::printable,
    sample::Sample,
};

const EVERY: Duration = Duration::from_secs(1);

/// No admin answer is longer than this.
const MOST_BYTES: usize = 4 * 1024 * 1024;

#[derive(Deserialize)]
struct Wire {
    instance: Option<String>,
    ready: Option<bool>,
    #[serde(default)]
    checks: BTreeMap<String, bool>,
    #[serde(default)]
    faults: Vec<Value>,
    version: Option<String>,
    pid: Option<u64>,
    log_level: Option<String>,
    uptime_seconds: Option<u64>,
    #[serde(default)]
    levers: BTreeMap<String, Value>,
    #[serde(default)]
    safeguards_off: Vec<Value>,
    /// How those stand that an instance looks at; older ones do not tell.
    #[serde(default)]
    safeguards: BTreeMap<String, Value>,
}

/// Faults, levers and safeguards of one instance that are looked at.
const MOST_TOLD: usize = 32;

/// Reads until it is cancelled from outside. One reading at a time: a slow answer delays the next question.
/// `look` asks for a reading out of turn: somebody has reason to think that the instance died.
pub async fn watch(admin: String, updates: mpsc::Sender<Update>, look: Arc<Notify>) {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut line = Line::new(admin.clone());
    let mut round = 0_u32;
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = look.notified() => ticks.reset(),
        }
        let update = match metrics(&mut line).await {
            Ok(sample) => Update::Sample {
                admin: admin.clone(),
                sample: Box::new(sample),
            },
            Err(reason) => Update::Unreachable {
                admin: admin.clone(),
                reason,
            },
        };
        let answered = matches!(update, Update::Sample { .. });
        if updates.send(update).await.is_err() {
            return;
        }
        if answered
            && round.is_multiple_of(2)
            && let Ok(info) = info(&mut line).await
        {
            let admin = admin.clone();
            if updates.send(Update::Info { admin, info }).await.is_err() {
                return;
            }
        }
        // After a failure the next answer is asked for information at once.
        round = if answered { round.wrapping_add(1) } else { 0 };
    }
}

async fn metrics(line: &mut Line) -> Result<Sample, Reason> {
    let mut exposition = Exposition::default();
    line.get("/metrics", |piece| exposition.push(piece)).await?;
    exposition.finish().ok_or(Reason::Nonsense)
}

async fn info(line: &mut Line) -> Result<Info, Reason> {
    let mut body = Vec::new();
    line.get("/admin/info", |piece| body.extend_from_slice(piece))
        .await?;
    let wire: Wire = serde_json::from_slice(&body).map_err(|_| Reason::Nonsense)?;
    let short = |text: String| printable(&text).chars().take(40).collect::<String>();
    Ok(Info {
        instance: wire.instance.map(short),
        ready: wire.ready,
        checks: wire
            .checks
            .into_iter()
            .map(|(name, ok)| (short(name), ok))
            .collect(),
        faults: wire.faults.len(),
        faults_told: wire.faults.iter().take(MOST_TOLD).map(told).collect(),
        version: wire.version.map(short),
        pid: wire.pid,
        log_level: wire.log_level.map(short),
        uptime_seconds: wire.uptime_seconds,
        levers: wire
            .levers
            .into_iter()
            .take(MOST_TOLD)
            .map(|(name, value)| (short(name), short(plain(&value))))
            .collect(),
        safeguards_off: wire
            .safeguards_off
            .iter()
            .take(MOST_TOLD)
            .map(|value| {
                let name = plain(value);
                let left = wire.safeguards.get(&name);
                let left = left.and_then(|standing| standing["seconds_left"].as_u64());
                (short(name), left)
            })
            .collect(),
    })
}

/// A fault in words, and the seconds it has left.
fn told(fault: &Value) -> (String, Option<u64>) {
    let left = fault["expires_in_seconds"].as_u64();
    let fields = fault.as_object().into_iter().flatten();
    let idle = |value: &Value| {
        value.is_null() || value.as_f64() == Some(0.0) || value.as_bool() == Some(false)
    };
    let words: Vec<String> = fields
        .filter(|(name, value)| *name != "expires_in_seconds" && !idle(value))
        .map(|(name, value)| match value {
            Value::Bool(true) => name.clone(),
            value => format!("{name}={}", plain(value)),
        })
        .collect();
    let text = printable(&words.join(" ")).chars().take(80).collect();
    (text, left)
}

/// A value without quotes.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

pub(super) async fn fetch(client: &reqwest::Client, url: &str) -> Result<Vec<u8>, Reason> {
    let response = client.get(url).send().await.map_err(|e| reason(&e))?;
    if !response.status().is_success() {
        return Err(Reason::Status(response.status().as_u16()));
    }
    let mut body = Vec::new();
    let mut chunks = response.bytes_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|e| reason(&e))?;
        if body.len() + chunk.len() > MOST_BYTES {
            return Err(Reason::Nonsense);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

fn reason(error: &reqwest::Error) -> Reason {
    if error.is_timeout() {
        Reason::Timeout
    } else if error.is_connect() {
        Reason::Refused
    } else {
        Reason::Reset
    }
}
