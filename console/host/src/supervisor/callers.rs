//! What those who forward requests think of an instance, as their admin ports tell.

use std::net::SocketAddr;

use kit::{Topology, topology::State};
use serde_json::Value;

/// What one caller has to do with one instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum View {
    /// It does not call this role at all.
    NoCaller,
    /// It calls the role, and does not know the instance.
    Unknown,
    /// It may send requests.
    Sends,
    /// It sends nothing new, and waits for no answer.
    Done,
    /// It sends nothing new, and waits for answers.
    Waits,
}

/// Whether an instance that forwards has found someone to forward to, in each of its pools.
pub(crate) async fn reaches_upstreams(http: &reqwest::Client, admin: SocketAddr) -> bool {
    let Some(pools) = pools(http, admin).await else {
        return false;
    };
    pools.iter().all(|pool| {
        let upstreams = pool["upstreams"].as_array();
        upstreams.is_some_and(|all| all.iter().any(|upstream| upstream["state"] == "up"))
    })
}

/// Whether nobody sends anything to the instance, nor waits for an answer of it.
pub(super) async fn have_left(http: &reqwest::Client, topology: &Topology, name: &str) -> bool {
    views(http, topology, name)
        .await
        .into_iter()
        .all(|view| matches!(view, View::NoCaller | View::Unknown | View::Done))
}

/// Whether everybody who calls the role sends to the instance.
pub(super) async fn are_back(http: &reqwest::Client, topology: &Topology, name: &str) -> bool {
    views(http, topology, name)
        .await
        .into_iter()
        .all(|view| matches!(view, View::NoCaller | View::Sends))
}

/// The views of all that run and answer.
async fn views(http: &reqwest::Client, topology: &Topology, name: &str) -> Vec<View> {
    let role = name.rsplit_once('-').map_or(name, |(role, _)| role);
    let mut views = Vec::new();
    for caller in &topology.instances {
        let forwards = caller.role.parse().is_ok_and(crate::Role::forwards);
        if !forwards || caller.state != State::Running || caller.name == name {
            continue;
        }
        if let Some(pools) = pools(http, caller.admin).await {
            views.push(view(&pools, role, name));
        }
    }
    views
}

fn view(pools: &[Value], role: &str, name: &str) -> View {
    let Some(pool) = pools.iter().find(|pool| pool["pool"] == role) else {
        return View::NoCaller;
    };
    let upstream = pool["upstreams"]
        .as_array()
        .and_then(|all| all.iter().find(|upstream| upstream["name"] == name));
    match upstream {
        None => View::Unknown,
        Some(upstream) if upstream["state"] == "up" => View::Sends,
        Some(upstream) if upstream["in_flight"] == 0 => View::Done,
        Some(_) => View::Waits,
    }
}

/// A balancer has one pool, a gateway one for each role that it calls.
async fn pools(http: &reqwest::Client, admin: SocketAddr) -> Option<Vec<Value>> {
    let url = format!("http://{admin}/admin/upstreams");
    match http.get(url).send().await.ok()?.json().await.ok()? {
        Value::Array(pools) => Some(pools),
        pool => Some(vec![pool]),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pool_tells_what_its_owner_does() {
        let upstream = |name: &str, state: &str, in_flight: u32| json!({"name": name, "state": state, "in_flight": in_flight});
        let pools = [json!({"pool": "travel", "upstreams": [
            upstream("travel-1", "up", 3),
            upstream("travel-2", "draining", 2),
            upstream("travel-3", "draining", 0),
            upstream("travel-4", "unknown", 0),
        ]})];
        for (role, name, expected) in [
            ("travel", "travel-1", View::Sends),
            ("travel", "travel-2", View::Waits),
            ("travel", "travel-3", View::Done),
            ("travel", "travel-4", View::Done),
            ("travel", "travel-5", View::Unknown),
            ("queue", "queue-1", View::NoCaller),
        ] {
            assert_eq!(view(&pools, role, name), expected, "{name}");
        }
    }
}
