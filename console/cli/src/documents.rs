//! One OpenAPI document out of those of all services.

use utoipa::openapi::OpenApi;

/// Every call of the public port, described by the service that answers it. Cache and queue have ports of their own.
pub fn merged() -> OpenApi {
    let mut document = balancer::openapi();
    for part in [
        gateway::openapi(),
        travel::openapi(),
        search::openapi(),
        booking::openapi(),
        exercise::openapi(),
        worker::openapi(),
    ] {
        document.merge(part);
    }
    document
}
