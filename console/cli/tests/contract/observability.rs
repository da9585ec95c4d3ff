//! What the dashboard shows and the alerts watch is told by a running lab.

use std::{collections::BTreeSet, time::Duration};

use serde_json::json;

use crate::{
    api::Api,
    lab::{eventually, lab},
};

const FILES: [(&str, &str); 2] = [
    (
        "the dashboard",
        include_str!("../../../../packaging/observability/grafana/dashboards/recarga.json"),
    ),
    (
        "the rules",
        include_str!("../../../../packaging/observability/rules.yaml"),
    ),
];

/// The names of metrics in a text.
fn named(text: &str) -> BTreeSet<&str> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':'))
        .filter(|word| word.starts_with("recarga_") || word.starts_with("process_"))
        .collect()
}

/// A family's name: that of a metric without what its kind adds.
fn family(name: &str) -> &str {
    ["_total", "_bucket", "_sum", "_count"]
        .iter()
        .find_map(|end| name.strip_suffix(end))
        .unwrap_or(name)
}

/// Every family that an instance tells.
async fn told() -> BTreeSet<String> {
    let mut told = BTreeSet::new();
    for instance in lab().topology().instances {
        let api = Api::at(&format!("http://{}", instance.admin));
        let metrics = api.get("/metrics").await.expect(200);
        let families = metrics.text.lines().filter_map(|line| {
            let name = line.strip_prefix("# TYPE ")?.split(' ').next()?;
            Some(name.to_owned())
        });
        told.extend(families);
    }
    told
}

#[tokio::test]
async fn the_dashboard_shows_what_there_is() {
    let _calm = lab().calm().await;
    // Of what never happened nothing is told.
    let user = Api::user().await;
    let card = lab().own_card().await;
    let recharge = json!({"card_id": card, "amount": 5000});
    user.post("/recharges", recharge).await.expect(201);
    user.get(&format!("/cards/{card}/balance"))
        .await
        .expect(200);
    let names: BTreeSet<&str> = FILES.iter().flat_map(|(_, text)| named(text)).collect();
    assert!(names.len() > 20, "{names:?}");
    eventually(Duration::from_secs(10), "all of it is told", || async {
        let told = told().await;
        let is_told = |name: &&str| told.contains(*name) || told.contains(family(name));
        let missing: Vec<_> = names.iter().filter(|name| !is_told(name)).collect();
        if !missing.is_empty() {
            eprintln!("nobody tells {missing:?} yet");
        }
        missing.is_empty().then_some(())
    })
    .await;
    // What one file computes for the other is computed.
    let [(_, dashboard), (_, rules)] = FILES;
    for word in dashboard
        .split('"')
        .filter(|word| word.starts_with("recarga:"))
    {
        assert!(rules.contains(&format!("record: {word}")), "{word}");
    }
}
