//! Whether a lab is well again: every process runs and says that it is ready, and the front door takes a write.

use std::time::{Duration, Instant};

use kit::{Topology, topology::State};
use serde_json::{Value, json};

use super::client::{Client, Request};

/// How often it is looked at.
const LOOK: Duration = Duration::from_millis(100);
/// How long one answer may take.
const ANSWER: Duration = Duration::from_secs(3);

/// Waits until all is well; gives how long that took, or what is still wrong after `within`.
pub async fn recovered(
    topology: impl Fn() -> Topology,
    client: &Client,
    within: Duration,
) -> Result<Duration, String> {
    let began = Instant::now();
    loop {
        match well(&topology(), client).await {
            Ok(()) => return Ok(began.elapsed()),
            Err(why) if began.elapsed() >= within => return Err(why),
            Err(_) => tokio::time::sleep(LOOK).await,
        }
    }
}

async fn well(topology: &Topology, client: &Client) -> Result<(), String> {
    for store in &topology.stores {
        if store.managed && store.pid.is_none() {
            return Err(format!("{} is not running", store.kind));
        }
    }
    let asked = topology.instances.iter().map(|instance| async move {
        if instance.state != State::Running {
            return Err(format!("{} is not running", instance.name));
        }
        let admin = format!("http://{}", instance.admin);
        ready(client, &admin)
            .await
            .map_err(|why| format!("{}: {why}", instance.name))?;
        // Those who forward know their upstreams again.
        if matches!(instance.role.as_str(), "balancer" | "gateway") {
            reaches_all(client, &admin)
                .await
                .map_err(|why| format!("{}: {why}", instance.name))?;
        }
        Ok(())
    });
    futures::future::try_join_all(asked).await?;
    // Any write will do, and a task for nobody is the cheapest.
    let probe = Request::post("/longtask", None, json!({"task": {"name": "probe"}}));
    match answer(client, &probe).await? {
        (202, _) => Ok(()),
        (status, _) => Err(format!("a write at the front door is answered {status}")),
    }
}

async fn ready(client: &Client, admin: &str) -> Result<(), String> {
    match answer(client, &Request::get(format!("{admin}/readyz"))).await? {
        (200, _) => Ok(()),
        (_, body) => Err(format!("it is not ready ({})", body["checks"])),
    }
}

async fn reaches_all(client: &Client, admin: &str) -> Result<(), String> {
    let (_, pools) = answer(client, &Request::get(format!("{admin}/admin/upstreams"))).await?;
    let pools = match pools {
        Value::Array(pools) => pools,
        pool => vec![pool],
    };
    for pool in &pools {
        for upstream in pool["upstreams"].as_array().into_iter().flatten() {
            if upstream["state"] != "up" {
                return Err(format!(
                    "{} is {} for it",
                    upstream["name"], upstream["state"]
                ));
            }
        }
    }
    Ok(())
}

async fn answer(client: &Client, request: &Request) -> Result<(u16, Value), String> {
    let reply = tokio::time::timeout(ANSWER, client.send(request))
        .await
        .map_err(|_| "it does not answer".to_owned())??;
    Ok((reply.status.as_u16(), reply.body))
}
