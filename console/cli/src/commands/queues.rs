//! `recarga queues`: what the lab's queues hold, and the levers on them. Everything here is a call of the queue service that
//! `curl` can make too.

use std::{path::Path, time::Duration};

use anyhow::{Context as _, Result, bail};
use kit::{client::Transport, messaging::DeadLetters};
use queue::{QueueFigures, Queues as Listed};
use reqwest::Method;
use serde_json::{Map, Value, json};

use crate::{
    arguments::{QueueAction, Queues},
    exit,
    terminal::say,
};

/// The longest that an answer may take.
const PATIENCE: Duration = Duration::from_secs(30);

pub async fn run(directory: &Path, arguments: &Queues) -> Result<u8> {
    let topology = host::running_topology(directory)?;
    let service = Service {
        url: topology.queue_url.clone(),
        transport: Transport::to("queue", &topology.tiers()?)?,
    };
    let answer = match &arguments.what {
        None => service.call(Method::GET, "", None).await?,
        Some(QueueAction::Pause { queue }) => {
            let path = format!("/{queue}/pause");
            service.call(Method::POST, &path, None).await?
        }
        Some(QueueAction::Resume { queue }) => {
            let path = format!("/{queue}/resume");
            service.call(Method::POST, &path, None).await?
        }
        Some(QueueAction::Set { queue, settings }) => {
            let settings: Map<String, Value> = settings.iter().cloned().collect();
            let path = format!("/{queue}");
            service
                .call(Method::PUT, &path, Some(settings.into()))
                .await?
        }
        Some(QueueAction::Dead { queue, limit }) => {
            let path = format!("/{queue}/dead?limit={limit}");
            service.call(Method::GET, &path, None).await?
        }
        Some(QueueAction::Redrive {
            queue,
            limit,
            per_second,
            dry_run,
        }) => {
            let mut request = json!({"limit": limit, "dry_run": dry_run});
            if let Some(rate) = per_second {
                request["per_second"] = json!(rate);
            }
            let path = format!("/{queue}/dead/redrive");
            service.call(Method::POST, &path, Some(request)).await?
        }
        Some(QueueAction::Purge { queue, dead }) => {
            let what = if *dead { "dead" } else { "messages" };
            let path = format!("/{queue}/{what}");
            service.call(Method::DELETE, &path, None).await?
        }
    };
    if arguments.json {
        say(serde_json::to_string_pretty(&answer)?);
    } else {
        show(arguments.what.as_ref(), answer)?;
    }
    Ok(exit::SUCCESS)
}

struct Service {
    url: String,
    transport: Transport,
}

impl Service {
    async fn call(&self, method: Method, path: &str, body: Option<Value>) -> Result<Value> {
        let mut request = self
            .transport
            .request(method, format!("{}/queues{path}", self.url));
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = self
            .transport
            .send(request, PATIENCE)
            .await
            .context("the queue service does not answer")?;
        let status = response.status();
        let answer: Value = response
            .json()
            .await
            .context("an answer that is not JSON")?;
        if !status.is_success() {
            let detail = answer["detail"].as_str().unwrap_or("no reason was given");
            bail!("the queue service refused ({status}): {detail}");
        }
        Ok(answer)
    }
}

fn show(what: Option<&QueueAction>, answer: Value) -> Result<()> {
    match what {
        None => {
            let listed: Listed = serde_json::from_value(answer)?;
            list(&listed.queues);
        }
        Some(QueueAction::Pause { .. } | QueueAction::Resume { .. } | QueueAction::Set { .. }) => {
            list(&[serde_json::from_value(answer)?]);
        }
        Some(QueueAction::Dead { .. }) => {
            let dead: DeadLetters = serde_json::from_value(answer)?;
            for letter in &dead.messages {
                say(format_args!(
                    "{}  {}  {} deliveries  {}",
                    letter.died_at.format("%Y-%m-%d %H:%M:%S"),
                    letter.id,
                    letter.deliveries,
                    letter.reason
                ));
            }
            if dead.messages.is_empty() {
                say("there are no dead letters");
            }
        }
        Some(QueueAction::Redrive { dry_run, .. }) => {
            let verb = if *dry_run { "would be" } else { "were" };
            say(format_args!(
                "{} dead letters {verb} sent again over {} s; {} stay",
                answer["count"], answer["takes_seconds"], answer["remaining"]
            ));
        }
        Some(QueueAction::Purge { .. }) => say(format_args!("{} ended", answer["count"])),
    }
    Ok(())
}

fn list(queues: &[QueueFigures]) {
    say(format_args!(
        "{:24} {:8} {:>8} {:>9} {:>8} {:>6} {:>9} {:>9}",
        "QUEUE", "CLASS", "WAITING", "IN FLIGHT", "DELAYED", "DEAD", "OLDEST S", "SENT/S"
    ));
    for queue in queues {
        let class = queue
            .settings
            .durability
            .map_or_else(String::new, |durability| durability.to_string());
        say(format_args!(
            "{:24} {:8} {:>8} {:>9} {:>8} {:>6} {:>9.1} {:>9.1}{}",
            queue.name,
            class,
            queue.depth,
            queue.in_flight,
            queue.delayed,
            queue.dead,
            queue.oldest_age_seconds,
            queue.sent_per_second,
            if queue.paused { "  paused" } else { "" }
        ));
    }
}
