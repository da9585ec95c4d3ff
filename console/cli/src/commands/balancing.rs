//! `recarga balancing`: the levers of balancing in a running lab, read and pulled.

use std::{net::SocketAddr, path::Path, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use host::{Layout, Secrets};
use kit::topology::State;
use serde_json::{Map, Value};

use crate::{
    arguments::{Balancing, BalancingAction, Hop},
    exit,
    terminal::say,
};

/// How long an instance may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

pub async fn run(directory: &Path, arguments: &Balancing) -> Result<u8> {
    let hops = hops(directory, &arguments.hop)?;
    let http = reqwest::Client::builder().timeout(PATIENCE).build()?;
    match &arguments.action {
        BalancingAction::Show => {
            let url = url(hops[0], "balancing", &arguments.hop, None);
            print(&answer(http.get(url)).await?)
        }
        BalancingAction::Explain { limit } => {
            let url = url(hops[0], "explain", &arguments.hop, Some(*limit));
            print(&answer(http.get(url)).await?)
        }
        BalancingAction::Set { settings } => {
            let patch = patch(settings)?;
            let token = Secrets::load(&Layout::existing(directory)?)?.operator_token;
            let mut last = Value::Null;
            for hop in hops {
                let url = url(hop, "balancing", &arguments.hop, None);
                last = answer(http.put(url).bearer_auth(&token).json(&patch)).await?;
            }
            print(&last)
        }
    }
}

/// The admin ports of those that balance: the balancer's, or all gateways'.
fn hops(directory: &Path, hop: &Hop) -> Result<Vec<SocketAddr>> {
    let topology = host::running_topology(directory)?;
    let role = if hop.pool.is_some() {
        "gateway"
    } else {
        "balancer"
    };
    let hops: Vec<SocketAddr> = topology
        .of_role(role)
        .filter(|instance| instance.state == State::Running)
        .map(|instance| instance.admin)
        .collect();
    ensure!(!hops.is_empty(), "no {role} is running in this lab");
    Ok(hops)
}

fn url(hop: SocketAddr, what: &str, which: &Hop, limit: Option<usize>) -> String {
    let pool = which.pool.as_deref().unwrap_or("");
    let pool = if pool.is_empty() {
        String::new()
    } else {
        format!("pool={pool}&")
    };
    let limit = limit.map_or(String::new(), |limit| format!("limit={limit}"));
    format!("http://{hop}/admin/{what}?{pool}{limit}")
}

async fn answer(request: reqwest::RequestBuilder) -> Result<Value> {
    let response = request
        .send()
        .await
        .context("the instance does not answer")?;
    let status = response.status();
    let document: Value = response.json().await.context("the answer is no JSON")?;
    if status.is_success() {
        return Ok(document);
    }
    let detail = document.get("detail").and_then(Value::as_str);
    bail!("{}", detail.unwrap_or("it was refused"))
}

fn print(document: &Value) -> Result<u8> {
    say(serde_json::to_string_pretty(document)?);
    Ok(exit::SUCCESS)
}

/// `policy=p2c outlier.enabled=false` as the document that is merged over the present one.
fn patch(settings: &[String]) -> Result<Value> {
    let mut patch = Map::new();
    for setting in settings {
        let (path, value) = setting
            .split_once('=')
            .with_context(|| format!("{setting:?} is not NAME=VALUE, such as policy=p2c"))?;
        // What is no JSON is a word.
        let value = serde_json::from_str(value).unwrap_or_else(|_| Value::from(value));
        let mut names: Vec<&str> = path.split('.').collect();
        let last = names.pop().filter(|name| !name.is_empty());
        let last = last.with_context(|| format!("{setting:?} names nothing"))?;
        let mut here = &mut patch;
        for name in names {
            here = here
                .entry(name)
                .or_insert_with(|| Value::Object(Map::new()))
                .as_object_mut()
                .with_context(|| format!("{setting:?}: {name} has a value of its own already"))?;
        }
        here.insert(last.to_owned(), value);
    }
    Ok(Value::Object(patch))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn settings_become_one_document() {
        let settings = [
            "policy=p2c",
            "outlier.max_ejection_percent=0",
            "weights.gateway-1=3",
            "weights.gateway-2=1",
            "hash_on=header:x-user",
            "bound=1.5",
            "admission=null",
        ];
        let settings: Vec<String> = settings.map(str::to_owned).into();
        assert_eq!(
            patch(&settings).expect("they are good"),
            json!({
                "policy": "p2c",
                "outlier": {"max_ejection_percent": 0},
                "weights": {"gateway-1": 3, "gateway-2": 1},
                "hash_on": "header:x-user",
                "bound": 1.5,
                "admission": null,
            })
        );
        for bad in [&["policy"][..], &["=1"], &["a=1", "a.b=2"]] {
            let bad: Vec<String> = bad.iter().map(|&text| text.to_owned()).collect();
            assert!(patch(&bad).is_err(), "{bad:?}");
        }
    }
}
