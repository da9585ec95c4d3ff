//! The pools' part of the admin port: what they do and why, and the levers of the operator.
//!
//! | call | answers |
//! | --- | --- |
//! | `GET /admin/upstreams?pool=` | a pool and its upstreams; where there are several pools and none is named, all of them |
//! | `GET /admin/explain?pool=&limit=` | why the last picks fell as they did, the newest first (20 unless told, 128 at most) |
//! | `GET /admin/balancing?pool=` | the settings in force |
//! | `PUT /admin/balancing?pool=` | merges a partial document over them (JSON Merge Patch); the whole document |
//! | `PUT /admin/policy?pool=` `{"policy": "p2c"}` | the same for the policy alone |
//! | `PUT /admin/weights?pool=` `{"gateway-1": 3}` | the same for weights alone; `null` means 1 |
//! | `PUT /admin/upstreams/{name}?pool=` `{"drain": true}` | no new requests go there until it is taken back; the upstream |
//!
//! `pool` may be left out where there is one pool. Changes last until the process ends: what it is started with is in its flags.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::State,
    response::{IntoResponse, Response},
    routing::{get, put},
};
use kit::{Problem, extract};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    explain::{ExplainedPick, PICKS},
    policy::PolicyKind,
    pool::Pool,
    settings::{Balancing, Invalid},
    snapshot::{PoolSnapshot, UpstreamSnapshot},
};

/// What may be read by anybody who reaches the admin port.
pub fn open(pools: Vec<Pool>) -> Router {
    Router::new()
        .route("/admin/upstreams", get(upstreams))
        .route("/admin/explain", get(explain))
        .route("/admin/balancing", get(balancing))
        .with_state(Pools::new(pools))
}

/// What needs the operator's token.
pub fn operator(pools: Vec<Pool>) -> Router {
    Router::new()
        .route("/admin/balancing", put(set_balancing))
        .route("/admin/policy", put(set_policy))
        .route("/admin/weights", put(set_weights))
        .route("/admin/upstreams/{name}", put(set_upstream))
        .with_state(Pools::new(pools))
}

#[derive(Clone)]
struct Pools(Arc<[Pool]>);

impl Pools {
    fn new(mut pools: Vec<Pool>) -> Self {
        pools.sort_by(|a, b| a.name().cmp(b.name()));
        Self(pools.into())
    }

    /// The pool that is named, or the only one.
    fn find(&self, named: Option<&str>) -> Result<&Pool, Problem> {
        let names = || {
            let names: Vec<&str> = self.0.iter().map(Pool::name).collect();
            names.join(", ")
        };
        match (named, &*self.0) {
            (Some(named), pools) => {
                pools
                    .iter()
                    .find(|pool| pool.name() == named)
                    .ok_or_else(|| {
                        Problem::not_found(format!(
                            "There is no pool {named:?}; there are {}",
                            names()
                        ))
                    })
            }
            (None, [only]) => Ok(only),
            (None, _) => Err(Problem::invalid(
                "pool",
                format!("must be one of {}", names()),
            )),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Which {
    pool: Option<String>,
}

async fn upstreams(
    State(pools): State<Pools>,
    extract::Query(which): extract::Query<Which>,
) -> Result<Response, Problem> {
    if which.pool.is_none() && pools.0.len() != 1 {
        let all: Vec<PoolSnapshot> = pools.0.iter().map(Pool::snapshot).collect();
        return Ok(Json(all).into_response());
    }
    let pool = pools.find(which.pool.as_deref())?;
    Ok(Json(pool.snapshot()).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WhichPicks {
    pool: Option<String>,
    limit: Option<usize>,
}

/// Why the last picks fell as they did.
#[derive(Debug, Serialize, Deserialize)]
pub struct Explanation {
    pub pool: String,
    /// The newest first.
    pub picks: Vec<ExplainedPick>,
}

async fn explain(
    State(pools): State<Pools>,
    extract::Query(which): extract::Query<WhichPicks>,
) -> Result<Json<Explanation>, Problem> {
    let pool = pools.find(which.pool.as_deref())?;
    let limit = which.limit.unwrap_or(20);
    if !(1..=PICKS).contains(&limit) {
        return Err(Problem::invalid(
            "limit",
            format!("must be 1 to {PICKS}, not {limit}"),
        ));
    }
    Ok(Json(Explanation {
        pool: pool.name().to_owned(),
        picks: pool.explain(limit),
    }))
}

async fn balancing(
    State(pools): State<Pools>,
    extract::Query(which): extract::Query<Which>,
) -> Result<Json<Balancing>, Problem> {
    let pool = pools.find(which.pool.as_deref())?;
    Ok(Json(Balancing::clone(&pool.balancing())))
}

async fn set_balancing(
    State(pools): State<Pools>,
    extract::Query(which): extract::Query<Which>,
    extract::Json(patch): extract::Json<Value>,
) -> Result<Json<Balancing>, Problem> {
    let pool = pools.find(which.pool.as_deref())?;
    pool.update_balancing(&patch).map(Json).map_err(refused)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WantedPolicy {
    policy: PolicyKind,
}

async fn set_policy(
    State(pools): State<Pools>,
    extract::Query(which): extract::Query<Which>,
    extract::Json(wanted): extract::Json<WantedPolicy>,
) -> Result<Json<Balancing>, Problem> {
    let pool = pools.find(which.pool.as_deref())?;
    let patch = json!({"policy": wanted.policy});
    pool.update_balancing(&patch).map(Json).map_err(refused)
}

async fn set_weights(
    State(pools): State<Pools>,
    extract::Query(which): extract::Query<Which>,
    extract::Json(weights): extract::Json<Value>,
) -> Result<Json<Balancing>, Problem> {
    let pool = pools.find(which.pool.as_deref())?;
    let patch = json!({"weights": weights});
    pool.update_balancing(&patch).map(Json).map_err(refused)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WantedUpstream {
    drain: bool,
}

/// An upstream after a change; `null` when it is away just now.
#[derive(Debug, Serialize, Deserialize)]
pub struct ChangedUpstream {
    pub name: String,
    pub drain: bool,
    /// What `drain` was before.
    pub previous: bool,
    pub upstream: Option<UpstreamSnapshot>,
}

async fn set_upstream(
    State(pools): State<Pools>,
    extract::Path(name): extract::Path<String>,
    extract::Query(which): extract::Query<Which>,
    extract::Json(wanted): extract::Json<WantedUpstream>,
) -> Result<Json<ChangedUpstream>, Problem> {
    let pool = pools.find(which.pool.as_deref())?;
    let previous = pool.drain(&name, wanted.drain).ok_or_else(|| {
        Problem::not_found(format!(
            "{} has no upstream {name:?}; GET /admin/upstreams lists them",
            pool.name()
        ))
    })?;
    let upstreams = pool.snapshot().upstreams;
    Ok(Json(ChangedUpstream {
        upstream: upstreams.into_iter().find(|upstream| upstream.name == name),
        name,
        drain: wanted.drain,
        previous,
    }))
}

fn refused(error: Invalid) -> Problem {
    Problem::invalid(&error.field, error.reason)
}

#[cfg(test)]
mod tests;
