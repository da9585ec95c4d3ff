//! `GET /openapi.json` of a service that clients call on its own port.

use axum::{Router, routing::get};
use bytes::Bytes;
use http::header;
use serde_json::{Value, json};
use utoipa::openapi::OpenApi;

/// The route; calls of the document are relative to where it was read.
///
/// What holds for every call here is said once: a refusal is a problem, and a body that cannot be read is a 400, a wrong value a 422.
pub fn router<S: Clone + Send + Sync + 'static>(document: &OpenApi) -> Router<S> {
    let mut document = serde_json::to_value(document).expect("a description serialises");
    for path in members(&mut document["paths"]) {
        for operation in members(path) {
            complete(operation);
        }
    }
    let text = Bytes::from(document.to_string());
    Router::new().route(
        "/openapi.json",
        get(async move || ([(header::CONTENT_TYPE, "application/json")], text)),
    )
}

fn members(value: &mut Value) -> impl Iterator<Item = &mut Value> {
    value
        .as_object_mut()
        .into_iter()
        .flat_map(|object| object.values_mut())
}

fn complete(operation: &mut Value) {
    let has_body = operation.get("requestBody").is_some();
    let has_input = has_body || operation.get("parameters").is_some();
    let Some(responses) = operation
        .get_mut("responses")
        .and_then(Value::as_object_mut)
    else {
        return;
    };
    let problem = |description: &str| {
        json!({
            "description": description,
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/ProblemBody"}}},
        })
    };
    if has_body {
        responses
            .entry("400")
            .or_insert_with(|| problem("The body cannot be read"));
        responses
            .entry("413")
            .or_insert_with(|| problem("The body is too large"));
    }
    if has_input {
        responses
            .entry("422")
            .or_insert_with(|| problem("A value cannot be used"));
    }
    for (status, response) in responses {
        if !status.starts_with(['4', '5']) {
            continue;
        }
        if let Some(content) = response.get_mut("content").and_then(Value::as_object_mut)
            && let Some(body) = content.remove("application/json")
        {
            content.insert("application/problem+json".to_owned(), body);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_problems_and_bodies_may_be_unreadable() {
        let mut operation = json!({
            "requestBody": {},
            "responses": {
                "200": {"content": {"application/json": {"schema": 1}}},
                "422": {"description": "No", "content": {"application/json": {"schema": 2}}},
            },
        });
        complete(&mut operation);
        let responses = &operation["responses"];
        assert!(
            responses["200"]["content"]
                .get("application/json")
                .is_some()
        );
        for status in ["400", "413", "422"] {
            let content = responses[status]["content"].as_object().expect("content");
            assert!(content.keys().eq(["application/problem+json"]), "{status}");
        }
        assert_eq!(responses["422"]["description"], "No");
    }
}
