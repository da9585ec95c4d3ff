//! One OpenAPI document out of those of all services.

use utoipa::openapi::OpenApi;

/// Every call of the public port, described by the service that answers it. Cache and queue serve theirs on ports of their own.
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn what_is_described_is_what_is_routed() {
        let calls = |document: &OpenApi| -> BTreeSet<(String, String)> {
            let paths = serde_json::to_value(&document.paths).unwrap();
            let each = paths.as_object().unwrap().iter();
            each.flat_map(|(path, item)| {
                let methods = item.as_object().unwrap().keys();
                methods.map(|method| (method.to_uppercase(), path.clone()))
            })
            .collect()
        };
        let routed: BTreeSet<_> = gateway::routes()
            .into_iter()
            .map(|route| (route.method, route.path))
            .chain(calls(&balancer::openapi()))
            .collect();
        assert_eq!(calls(&merged()), routed);
    }

    #[test]
    fn the_lock_is_shown_where_a_token_is_needed() {
        let document = serde_json::to_value(merged()).unwrap();
        for route in gateway::routes() {
            let method = route.method.to_lowercase();
            let security = &document["paths"][&route.path][&method]["security"];
            let needed = *security == serde_json::json!([{"bearer": []}]);
            assert_eq!(
                needed,
                route.level == gateway::Level::User,
                "{} {}",
                route.method,
                route.path
            );
        }
    }
}
