//! `recarga status`: what runs, as its supervisor knows it and as each instance says itself.

use std::{collections::BTreeMap, path::Path, time::Duration};

use anyhow::Result;
use host::{Error, control::Client};
use kit::{
    Topology,
    topology::{Instance, State},
};
use serde_json::{Value, json};

use super::note;
use crate::{
    arguments::Status,
    exit,
    terminal::{say, tell},
};

/// How long an instance may take to say how it is.
const PATIENCE: Duration = Duration::from_secs(2);

pub async fn run(directory: &Path, arguments: &Status) -> Result<u8> {
    let (topology, supervised) = match ask_supervisor(directory).await {
        Ok(topology) => (topology, true),
        // The services may well be there all the same.
        Err(error @ Error::Silent { .. }) => {
            tell(format_args!("recarga: {error}"));
            tell("This is what it wrote down last:");
            (host::running_topology(directory)?, false)
        }
        Err(error) => return Err(error.into()),
    };
    let healthy = if arguments.json {
        let answers = ask_all(&topology).await;
        let document = json!({
            "topology": topology,
            "instances": answers,
            "supervisor_answers": supervised,
            "healthy": supervised && is_healthy(&topology, &answers),
        });
        say(serde_json::to_string_pretty(&document)?);
        is_healthy(&topology, &answers)
    } else {
        show(&topology).await
    };
    Ok(if healthy && supervised {
        exit::SUCCESS
    } else {
        exit::FAILURE
    })
}

async fn ask_supervisor(directory: &Path) -> Result<Topology, Error> {
    Client::connect(directory, note).await?.status().await
}

/// Prints one screen; whether everything is as it should be.
pub async fn show(topology: &Topology) -> bool {
    let answers = ask_all(topology).await;
    say(format_args!("public   {}", topology.public_url));
    say(format_args!(
        "cache    {}   queue {}   worker {}",
        topology.cache_url, topology.queue_url, topology.worker_url
    ));
    if let Some(url) = &topology.supervisor_url {
        say(format_args!("topology {url}/admin/topology"));
    }
    if topology.mutual_tls.is_some() {
        say("tiers    speak by mutual TLS");
    }
    for store in &topology.stores {
        let whose = if store.managed { "private" } else { "yours" };
        let pid = store
            .pid
            .map(|pid| format!(", process {pid}"))
            .unwrap_or_default();
        say(format_args!(
            "{:8} {} ({whose}{pid})",
            store.kind, store.address
        ));
    }
    say("");
    say(format_args!(
        "{:16} {:12} {:>7} {:>8} {:21} {:21} {}",
        "INSTANCE", "STATE", "PROCESS", "RESTARTS", "LISTENS", "ADMIN", "UP"
    ));
    for instance in &topology.instances {
        let answer = answers.get(&instance.name).unwrap_or(&Value::Null);
        say(format_args!(
            "{:16} {:12} {:>7} {:>8} {:21} {:21} {}",
            instance.name,
            word(instance, answer),
            instance
                .pid
                .map_or_else(|| "-".to_owned(), |pid| pid.to_string()),
            instance.restarts,
            instance.listen,
            instance.admin,
            uptime(answer),
        ));
    }
    for instance in &topology.instances {
        let answer = answers.get(&instance.name).unwrap_or(&Value::Null);
        for safeguard in answer["safeguards_off"].as_array().into_iter().flatten() {
            let safeguard = safeguard.as_str().unwrap_or_default();
            let left = &answer["safeguards"][safeguard]["seconds_left"];
            let back = match left.as_u64() {
                Some(left) => format!("; it comes back in {left} s"),
                None => String::new(),
            };
            say(format_args!(
                "WARNING  {} runs without the safeguard {safeguard}{back}",
                instance.name
            ));
        }
    }
    is_healthy(topology, &answers)
}

async fn ask_all(topology: &Topology) -> BTreeMap<String, Value> {
    let Ok(client) = reqwest::Client::builder()
        .no_proxy()
        .timeout(PATIENCE)
        .build()
    else {
        return BTreeMap::new();
    };
    let mut tasks = tokio::task::JoinSet::new();
    for instance in &topology.instances {
        let (client, name, admin) = (client.clone(), instance.name.clone(), instance.admin);
        tasks.spawn(async move {
            let answer = async {
                let response = client
                    .get(format!("http://{admin}/admin/info"))
                    .send()
                    .await?;
                response.error_for_status()?.json::<Value>().await
            };
            (name, answer.await.unwrap_or(Value::Null))
        });
    }
    let mut answers = BTreeMap::new();
    while let Some(answer) = tasks.join_next().await {
        answers.extend(answer);
    }
    answers
}

fn is_ready(answer: &Value) -> bool {
    answer["ready"] == true
}

fn is_healthy(topology: &Topology, answers: &BTreeMap<String, Value>) -> bool {
    topology.instances.iter().all(|instance| {
        instance.state == State::Running && answers.get(&instance.name).is_some_and(is_ready)
    })
}

/// What the supervisor knows and what the process says, in one word.
fn word(instance: &Instance, answer: &Value) -> &'static str {
    match instance.state {
        State::Starting => "starting",
        State::Restarting => "restarting",
        State::Stopped => "stopped",
        State::Running if answer.is_null() => "silent",
        State::Running if answer["draining"] == true => "draining",
        State::Running if is_ready(answer) => "ready",
        State::Running => "not ready",
    }
}

fn uptime(answer: &Value) -> String {
    let Some(seconds) = answer["uptime_seconds"].as_u64() else {
        return "-".to_owned();
    };
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds} s"),
        (0, minutes, seconds) => format!("{minutes} min {seconds} s"),
        (hours, minutes, _) => format!("{hours} h {minutes} min"),
    }
}
