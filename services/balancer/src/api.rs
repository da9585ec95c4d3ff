//! The description of the calls that the balancer answers itself, and of the system as a whole.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::{
    Modify, OpenApi, ToSchema,
    openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
};

/// What the calls the balancer answers itself are listed under.
pub(crate) const TAG: &str = "Front door";

/// Whether there is anyone to serve.
#[derive(Serialize, ToSchema)]
#[schema(as = BalancerHealth, example = json!({"status": "up", "gateways": {"gateway-1": true, "gateway-2": true}}))]
pub(crate) struct HealthBody {
    /// `up`, `down` (no gateway takes requests) or `draining`.
    status: String,
    /// Every gateway by name, and whether it takes requests.
    gateways: BTreeMap<String, bool>,
}

/// What `/` says to a client that prefers JSON.
#[derive(Serialize, ToSchema)]
#[schema(as = BalancerDescription,
    example = json!({"service": "Load Balancer", "status": "running", "gateways": {"gateway-1": true, "gateway-2": true}}))]
pub(crate) struct Description {
    service: String,
    status: String,
    gateways: BTreeMap<String, bool>,
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Recarga",
        description = "Travel cards and tutoring behind a load balancer, API gateways, a cache and a queue.\n\n\
            `POST /token` with `student1` and `password` gives a token; calls that show a lock take it as `Authorization: Bearer …`. \
            Every answer says in its headers which gateway gave it (`X-Gateway`), where it came from (`X-Cache`) and how long each hop \
            took (`Server-Timing`). Writes take an `Idempotency-Key`, so that they can be sent again without being done again. \
            Money is whole Colombian pesos, times are RFC 3339 in UTC."
    ),
    servers((url = "/", description = "The load balancer this page came from")),
    paths(
        crate::page::index,
        crate::health::health,
        crate::metrics::metrics,
        crate::documents::document,
        crate::documents::docs,
        crate::documents::redoc
    ),
    components(schemas(HealthBody, Description, kit::problem::ProblemBody)),
    tags((name = TAG, description = "What the load balancer answers itself")),
    modifiers(&Bearer)
)]
struct Document;

/// The way to show a token that all services' calls refer to.
struct Bearer;

impl Modify for Bearer {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let scheme = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .bearer_format("JWT")
            .description(Some("The `access_token` of `POST /token`"))
            .build();
        document
            .components
            .get_or_insert_default()
            .add_security_scheme("bearer", SecurityScheme::Http(scheme));
    }
}

/// The calls the balancer answers itself; those of the services behind are merged in by whoever starts it.
#[must_use]
pub fn openapi() -> utoipa::openapi::OpenApi {
    Document::openapi()
}
