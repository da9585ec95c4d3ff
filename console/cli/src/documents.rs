//! One OpenAPI document out of those of all services.

use utoipa::openapi::OpenApi;

/// Every public call, described by the service that answers it.
pub fn merged() -> OpenApi {
    let mut document = balancer::openapi();
    for part in [
        gateway::openapi(),
        travel::openapi(),
        search::openapi(),
        booking::openapi(),
        exercise::openapi(),
        worker::openapi(),
        cache::openapi(),
        queue::openapi(),
    ] {
        document.merge(part);
    }
    document
}
