//! Asks for what somebody looks at, once a second, and for nothing else.

use std::{collections::BTreeSet, fmt::Write as _, time::Duration};

use serde_json::{Value, json};
use tokio::{
    sync::{mpsc, watch},
    time::{MissedTickBehavior, interval},
};

use super::{scrape::fetch, topology::Lab};
use crate::state::{Update, details::Topic};

const EVERY: Duration = Duration::from_secs(1);

/// Keys asked for at a time, and how often more are asked for when few begin as wanted.
const MOST_KEYS: usize = 500;
const MOST_PAGES: usize = 4;

/// Dead letters asked for: as many as the queue service shows at a time.
const MOST_LETTERS: usize = 100;

/// Asks until it is cancelled from outside.
pub async fn watch(
    client: reqwest::Client,
    lab: watch::Receiver<Option<Lab>>,
    mut wanted: watch::Receiver<BTreeSet<Topic>>,
    updates: mpsc::Sender<Update>,
) {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let topics = wanted.borrow_and_update().clone();
        if topics.is_empty() {
            if wanted.changed().await.is_err() {
                return;
            }
            continue;
        }
        // What is newly looked at is asked for at once.
        tokio::select! {
            _ = ticks.tick() => {}
            changed = wanted.changed() => {
                if changed.is_err() {
                    return;
                }
                ticks.reset();
                wanted.mark_changed();
            }
        }
        let topics = wanted.borrow_and_update().clone();
        let Some(lab) = lab.borrow().clone() else {
            continue;
        };
        for topic in topics {
            let answer = ask(&client, &lab, &topic).await;
            if updates
                .send(Update::Detail { topic, answer })
                .await
                .is_err()
            {
                return;
            }
        }
    }
}

async fn ask(client: &reqwest::Client, lab: &Lab, topic: &Topic) -> Result<Value, String> {
    let cache = &lab.levers.cache_url;
    let queue = &lab.levers.queue_url;
    match topic {
        Topic::Upstreams => of_balancers(client, lab, "/admin/upstreams").await,
        Topic::Balancing => of_balancers(client, lab, "/admin/balancing").await,
        Topic::Picks => of_balancers(client, lab, "/admin/explain?limit=20").await,
        Topic::Requests => of_balancers(client, lab, "/admin/requests?limit=100").await,
        Topic::Keys(prefix) => keys(client, cache, &escaped(prefix)).await,
        Topic::Queues => get(client, &format!("{queue}/queues")).await,
        Topic::DeadLetters(name) => {
            let name = escaped(name);
            get(
                client,
                &format!("{queue}/queues/{name}/dead?limit={MOST_LETTERS}"),
            )
            .await
        }
    }
}

/// Keys that begin so: pages are put together until there are enough, or none is left.
async fn keys(client: &reqwest::Client, cache: &str, prefix: &str) -> Result<Value, String> {
    let mut found = Vec::new();
    let mut cursor = String::new();
    for _ in 0..MOST_PAGES {
        let limit = MOST_KEYS - found.len();
        let url = format!("{cache}/entries?prefix={prefix}&limit={limit}{cursor}");
        let mut page = get(client, &url).await?;
        if let Some(entries) = page.get_mut("entries").and_then(Value::as_array_mut) {
            found.append(entries);
        }
        match page["cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={}", escaped(next)),
            None => return Ok(json!({"entries": found, "cursor": null})),
        }
        if found.len() >= MOST_KEYS {
            break;
        }
    }
    Ok(json!({"entries": found, "cursor": "more"}))
}

/// An object with the answer of every balancer under its name.
async fn of_balancers(client: &reqwest::Client, lab: &Lab, path: &str) -> Result<Value, String> {
    let mut answers = serde_json::Map::new();
    let mut problem = None;
    for place in lab.levers.of_role("balancer") {
        match get(client, &format!("http://{}{path}", place.admin)).await {
            Ok(answer) => {
                answers.insert(place.name.clone(), answer);
            }
            Err(why) => problem = Some(format!("{}: {why}", place.name)),
        }
    }
    match problem {
        Some(problem) if answers.is_empty() => Err(problem),
        _ => Ok(json!(answers)),
    }
}

async fn get(client: &reqwest::Client, url: &str) -> Result<Value, String> {
    let body = fetch(client, url)
        .await
        .map_err(|reason| reason.to_string())?;
    serde_json::from_slice(&body).map_err(|_| "unreadable answer".to_owned())
}

/// A name as a part of a path or query.
fn escaped(text: &str) -> String {
    let plain =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~');
    text.bytes().fold(String::new(), |mut escaped, byte| {
        if plain(byte) {
            escaped.push(char::from(byte));
        } else {
            // Writing into a text does not fail.
            let _ = write!(escaped, "%{byte:02X}");
        }
        escaped
    })
}

#[cfg(test)]
mod tests {
    use super::escaped;

    #[test]
    fn hostile_names_stay_names() {
        assert_eq!(escaped("card:7/..?x=é"), "card%3A7%2F..%3Fx%3D%C3%A9");
    }
}
