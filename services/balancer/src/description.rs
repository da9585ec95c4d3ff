//! Makes the services' descriptions one whole document: what holds for every call is said here once instead of by each of them.

use std::collections::BTreeSet;

use http::StatusCode;
use serde_json::{Map, Value, json};
use utoipa::openapi::OpenApi;

use crate::examples;

const PROBLEM: &str = "application/problem+json";
const METHODS: [&str; 6] = ["get", "put", "post", "delete", "head", "patch"];
/// The members that make an error's schema a problem's, wherever it was written out.
const PROBLEM_MEMBERS: [&str; 6] = ["type", "title", "status", "detail", "instance", "error"];

/// The document as it is served. Calls other than the balancer's own may be refused by what is between it and the service.
pub(crate) fn complete(document: &OpenApi) -> Result<Value, serde_json::Error> {
    let own: BTreeSet<String> = crate::openapi().paths.paths.into_keys().collect();
    let mut whole = serde_json::to_value(document)?;
    // What the system is for comes before its front door.
    if let Some(tags) = whole.get_mut("tags").and_then(Value::as_array_mut) {
        tags.sort_by_key(|tag| tag["name"] == crate::api::TAG);
    }
    let components = whole["components"].clone();
    let paths = whole.get_mut("paths").and_then(Value::as_object_mut);
    for (path, item) in paths.into_iter().flatten() {
        for method in METHODS {
            if let Some(operation) = item.get_mut(method).and_then(Value::as_object_mut) {
                complete_operation(method, path, operation, !own.contains(path));
                examples::fill_in(operation, &components);
            }
        }
    }
    Ok(whole)
}

fn complete_operation(
    method: &str,
    path: &str,
    operation: &mut Map<String, Value>,
    forwarded: bool,
) {
    operation.insert("operationId".to_owned(), operation_id(method, path).into());
    // Whoever asks for nothing lets everybody in, and passes a token on.
    let security = operation
        .entry("security")
        .or_insert_with(|| json!([{}, {"bearer": []}]));
    if *security == json!([{}]) {
        *security = json!([]);
    }
    let takes_token = security
        .as_array()
        .is_some_and(|ways| ways.iter().any(|way| way.get("bearer").is_some()));
    let has_body = operation.contains_key("requestBody");
    let Some(responses) = operation
        .get_mut("responses")
        .and_then(Value::as_object_mut)
    else {
        return;
    };
    if forwarded {
        let common = [
            ("401", "A token that is sent must be valid", takes_token),
            ("413", "The body is too large", has_body),
            ("429", "Too many requests; see Retry-After", true),
            ("503", "Nobody is there to serve it; see Retry-After", true),
            ("504", "There was no answer in time", true),
        ];
        for (status, description, applies) in common {
            if applies {
                responses.entry(status).or_insert_with(
                    || json!({"description": description, "content": {PROBLEM: {"schema": problem_schema()}}}),
                );
            }
        }
    }
    for (status, response) in responses {
        complete_response(status, response);
    }
}

/// `GET /cards/{id}/balance` is `get_cards_id_balance`: no two calls have one name, whichever service describes them.
fn operation_id(method: &str, path: &str) -> String {
    let words = path
        .split(|letter: char| !letter.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty());
    std::iter::once(method)
        .chain(words)
        .collect::<Vec<_>>()
        .join("_")
}

fn problem_schema() -> Value {
    json!({"$ref": "#/components/schemas/Problem"})
}

/// Gives problems their media type, one schema, and an example with their own status and words.
fn complete_response(status: &str, response: &mut Value) {
    let description = response["description"].clone();
    let Some(content) = response.get_mut("content").and_then(Value::as_object_mut) else {
        return;
    };
    let problems: Vec<String> = content
        .iter()
        .filter(|(_, media)| is_problem(&media["schema"]))
        .map(|(kind, _)| kind.clone())
        .collect();
    for kind in problems {
        let Some(mut media) = content.remove(&kind) else {
            continue;
        };
        media["schema"] = problem_schema();
        if media.get("example").is_none() && media.get("examples").is_none() {
            media["example"] = example(status, &description);
        }
        content.insert(PROBLEM.to_owned(), media);
    }
}

fn is_problem(schema: &Value) -> bool {
    schema["$ref"] == problem_schema()["$ref"]
        || PROBLEM_MEMBERS
            .iter()
            .all(|member| schema["properties"].get(member).is_some())
}

fn example(status: &str, description: &Value) -> Value {
    let status = StatusCode::from_bytes(status.as_bytes()).unwrap_or_default();
    json!({
        "type": "about:blank",
        "title": status.canonical_reason(),
        "status": status.as_u16(),
        "detail": description,
        "instance": "1f6ab0c2-7c55-4d21-9a3f-0c6e1d2b7a90",
        "error": description,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A service's document, as they come: a name that others have too, a problem under the wrong type or written out.
    fn completed() -> Value {
        let inline: Map<String, Value> = PROBLEM_MEMBERS
            .iter()
            .map(|member| ((*member).to_owned(), json!({"type": "string"})))
            .collect();
        let service: OpenApi = serde_json::from_value(json!({
            "openapi": "3.1.0",
            "info": {"title": "travel", "version": "1"},
            "paths": {
                "/cards/{id}/balance": {"get": {"operationId": "read", "security": [{"bearer": []}], "responses": {
                    "200": {"description": "The balance", "content": {"application/json": {"schema": {"type": "object"}}}},
                    "404": {"description": "No such card", "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Problem"}}}},
                    "422": {"description": "Not a card", "content": {PROBLEM: {"schema": {"type": "object", "properties": inline}}}},
                }}},
                "/trips/{id}": {"get": {"operationId": "read", "responses": {"200": {"description": "The trip"}}}},
                "/token": {"post": {"security": [{}], "requestBody": {"content": {}}, "responses": {"200": {"description": "A token"}}}},
            }
        }))
        .unwrap();
        let mut document = crate::openapi();
        document.merge(service);
        complete(&document).unwrap()
    }

    #[test]
    fn every_call_has_a_name_of_its_own() {
        let document = completed();
        let mut names = BTreeSet::new();
        for (path, item) in document["paths"].as_object().unwrap() {
            for operation in item.as_object().unwrap().values() {
                let name = operation["operationId"].as_str().unwrap().to_owned();
                assert!(names.insert(name.clone()), "{path} is another {name}");
            }
        }
        assert!(names.contains("get_cards_id_balance") && names.contains("get"));
    }

    #[test]
    fn problems_look_alike() {
        let document = completed();
        let responses = &document["paths"]["/cards/{id}/balance"]["get"]["responses"];
        for (status, title, detail) in [
            ("404", "Not Found", "No such card"),
            ("422", "Unprocessable Entity", "Not a card"),
            ("504", "Gateway Timeout", "There was no answer in time"),
        ] {
            let content = responses[status]["content"].as_object().unwrap();
            assert_eq!(content.len(), 1, "{status}");
            assert_eq!(content[PROBLEM]["schema"], problem_schema(), "{status}");
            let example = &content[PROBLEM]["example"];
            assert_eq!(example["title"], title);
            assert_eq!(
                (&example["detail"], &example["error"]),
                (&json!(detail), &json!(detail))
            );
        }
        assert!(responses["200"]["content"].get(PROBLEM).is_none());
        assert!(document["components"]["schemas"]["Problem"].is_object());
    }

    #[test]
    fn every_call_says_who_may_make_it() {
        let document = completed();
        let call = |path: &str, method: &str| document["paths"][path][method].clone();
        assert_eq!(
            call("/cards/{id}/balance", "get")["security"],
            json!([{"bearer": []}])
        );
        let open = call("/trips/{id}", "get");
        assert_eq!(open["security"], json!([{}, {"bearer": []}]));
        assert!(open["responses"]["401"].is_object());
        let token = call("/token", "post");
        assert!(token["responses"].get("401").is_none());
        assert!(token["responses"]["413"].is_object());
        let own = call("/health", "get");
        assert_eq!(own["security"], json!([]));
        assert!(own["responses"].get("429").is_none());
        let scheme = &document["components"]["securitySchemes"]["bearer"];
        assert_eq!(
            (&scheme["type"], &scheme["scheme"]),
            (&json!("http"), &json!("bearer"))
        );
    }
}
