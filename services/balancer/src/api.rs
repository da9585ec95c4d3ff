//! The description of the calls that the balancer answers itself.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::{OpenApi, ToSchema};

/// Whether there is anyone to serve.
#[derive(Serialize, ToSchema)]
#[schema(as = BalancerHealth)]
pub(crate) struct HealthBody {
    /// `up`, `down` (no gateway takes requests) or `draining`.
    #[schema(example = "up")]
    status: String,
    /// Every gateway by name, and whether it takes requests.
    gateways: BTreeMap<String, bool>,
}

/// What `/` says to a client that prefers JSON.
#[derive(Serialize, ToSchema)]
#[schema(as = BalancerDescription)]
pub(crate) struct Description {
    #[schema(example = "Load Balancer")]
    service: String,
    #[schema(example = "running")]
    status: String,
    gateways: BTreeMap<String, bool>,
}

#[derive(OpenApi)]
#[openapi(
    paths(crate::page::index, crate::health::health, crate::metrics::metrics),
    components(schemas(HealthBody, Description))
)]
struct Document;

/// The calls the balancer answers itself; those of the services behind are merged in by whoever starts it.
#[must_use]
pub fn openapi() -> utoipa::openapi::OpenApi {
    Document::openapi()
}
