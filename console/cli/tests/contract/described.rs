//! The description against the truth: every call has examples, and what comes back when they are sent is what is described.

use std::collections::BTreeMap;

use reqwest::Method;
use serde_json::{Value, json};

use crate::api::{Answer, Api, send};
use crate::lab::lab;

/// One call of the description.
struct Operation<'a> {
    path: &'a str,
    method: &'a str,
    description: &'a Value,
}

fn operations(document: &Value) -> Vec<Operation<'_>> {
    let paths = document["paths"].as_object().unwrap().iter();
    let mut all: Vec<_> = paths
        .flat_map(|(path, item)| {
            let methods = item.as_object().unwrap().iter();
            methods.map(move |(method, description)| Operation {
                path,
                method,
                description,
            })
        })
        .collect();
    // What others read is made first, and money before it is spent.
    all.sort_by_key(|one| {
        (
            one.method != "post" || one.path.contains('{'),
            one.path != "/recharges",
        )
    });
    all
}

impl Operation<'_> {
    fn name(&self) -> String {
        format!("{} {}", self.method.to_uppercase(), self.path)
    }

    fn parameters(&self) -> impl Iterator<Item = &Value> {
        self.description["parameters"]
            .as_array()
            .into_iter()
            .flatten()
    }

    /// The path with its examples filled in, `own` before those of the description.
    fn target(&self, own: Option<&str>) -> String {
        let mut path = self.path.to_owned();
        let mut query = Vec::new();
        for parameter in self.parameters() {
            let name = parameter["name"].as_str().unwrap();
            let example = match &example_of(parameter) {
                Some(Value::String(text)) => text.clone(),
                Some(other) => other.to_string(),
                None => continue,
            };
            match parameter["in"].as_str() {
                Some("path") => {
                    path = path.replace(&format!("{{{name}}}"), own.unwrap_or(&example));
                }
                Some("query") => query.push(format!("{name}={example}")),
                _ => {}
            }
        }
        if query.is_empty() {
            path
        } else {
            format!("{path}?{}", query.join("&"))
        }
    }

    async fn send(&self, api: &Api, own: Option<&str>) -> Answer {
        let method = Method::from_bytes(self.method.to_uppercase().as_bytes()).unwrap();
        let mut request = api.request(method, &self.target(own));
        if let Some((_, media)) = self.description["requestBody"]["content"]
            .as_object()
            .and_then(|content| content.iter().next())
        {
            request = request.json(&example_of(media).unwrap());
        }
        send(request).await
    }

    /// The answer's status is described, and its body is of the type and shape that are described for it.
    fn check(&self, answer: &Answer, document: &Value) {
        let name = self.name();
        let response = &self.description["responses"][answer.status.to_string()];
        assert!(response.is_object(), "{name}: not described: {answer}");
        let kind = answer.header("content-type").unwrap_or_default();
        let kind = kind.split(';').next().unwrap();
        let media = &response["content"][kind];
        assert!(
            media.is_object(),
            "{name}: {kind} is not described: {answer}"
        );
        if kind.ends_with("json") {
            assert_eq!(
                flaws(&media["schema"], document, &answer.body),
                Vec::<String>::new(),
                "{name}: {answer}"
            );
        }
        for header in response["headers"]
            .as_object()
            .into_iter()
            .flat_map(|all| all.keys())
        {
            let only_replayed = header == "Idempotency-Replayed";
            assert!(
                only_replayed || answer.header(header).is_some(),
                "{name}: no {header}: {answer}"
            );
        }
    }
}

fn example_of(described: &Value) -> Option<Value> {
    let first = || {
        described["examples"]
            .as_object()?
            .values()
            .next()?
            .get("value")
    };
    let own = described.get("example").or_else(first);
    own.or_else(|| described["schema"].get("example")).cloned()
}

/// What is wrong with a value by a schema of the document.
fn flaws(schema: &Value, document: &Value, value: &Value) -> Vec<String> {
    let whole = json!({"allOf": [schema], "components": document["components"]});
    let validator = jsonschema::validator_for(&whole).unwrap();
    let flaws = validator.iter_errors(value);
    flaws
        .map(|flaw| format!("{}: {flaw}", flaw.instance_path()))
        .collect()
}

#[tokio::test]
async fn every_call_has_an_example_of_request_and_success() {
    let document = Api::anonymous().get("/openapi.json").await.expect(200).body;
    for operation in operations(&document) {
        let name = operation.name();
        for parameter in operation.parameters() {
            let is_required = parameter["required"] == true;
            match example_of(parameter) {
                Some(example) => {
                    let flaws = flaws(&parameter["schema"], &document, &example);
                    assert!(flaws.is_empty(), "{name}: {parameter}: {flaws:?}");
                }
                None => assert!(!is_required, "{name}: no example: {parameter}"),
            }
        }
        let responses = operation.description["responses"].as_object().unwrap();
        let bodies =
            std::iter::once(&operation.description["requestBody"]).chain(responses.values());
        for (kind, media) in bodies
            .filter_map(|body| body["content"].as_object())
            .flatten()
        {
            let example = example_of(media);
            let example =
                example.unwrap_or_else(|| panic!("{name}: no example of {kind}: {media}"));
            let flaws = flaws(&media["schema"], &document, &example);
            assert!(flaws.is_empty(), "{name}: {kind}: {example}: {flaws:?}");
        }
        assert!(
            responses.iter().any(
                |(status, response)| status.starts_with('2') && response["content"].is_object()
            ),
            "{name}: no success is described"
        );
    }
}

#[tokio::test]
async fn what_is_described_is_what_is_answered() {
    let _calm = lab().calm().await;
    let user = Api::user().await;
    let document = user.get("/openapi.json").await.expect(200).body;
    // What the examples made, for the calls whose own example is of the past.
    let mut made: BTreeMap<&str, String> = BTreeMap::new();
    for operation in operations(&document) {
        let name = operation.name();
        let mut answer = operation.send(&user, None).await;
        operation.check(&answer, &document);
        if answer.status >= 300 {
            let own = made.get(operation.path);
            let own = own.unwrap_or_else(|| panic!("{name}: its example does not work: {answer}"));
            answer = operation.send(&user, Some(own)).await;
            operation.check(&answer, &document);
            assert!(answer.status < 300, "{name}: {answer}");
        }
        for (path, member) in match operation.name().as_str() {
            "POST /trips" => &[("/trips/{id}/end", "trip_id")][..],
            "POST /book" => &[("/bookings/{id}", "booking_id")],
            "POST /longtask" => &[("/task/{id}", "task_id")],
            _ => &[],
        } {
            let id = &answer.body[member];
            made.insert(
                path,
                id.as_str().map_or_else(|| id.to_string(), str::to_owned),
            );
        }
        // Who has no token is told so as it is described.
        if operation.description["security"] == json!([{"bearer": []}]) {
            let refused = operation.send(&Api::anonymous(), None).await.problem(401);
            operation.check(&refused, &document);
        }
    }
}
