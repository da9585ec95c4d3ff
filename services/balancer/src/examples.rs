//! An example for every JSON body of the description: where a call gives none, one is put together from those of its members.

use serde_json::{Map, Value, json};

/// Schemas that refer to each other deeper than this are not followed.
const DEPTH: u8 = 12;

/// Gives the operation's request body and its answers the examples they lack.
pub(crate) fn fill_in(operation: &mut Map<String, Value>, components: &Value) {
    let request = operation.get_mut("requestBody");
    let request = request.and_then(|body| body.get_mut("content"));
    fill_in_content(request, components);
    let responses = operation
        .get_mut("responses")
        .and_then(Value::as_object_mut);
    for response in responses.into_iter().flat_map(Map::values_mut) {
        fill_in_content(response.get_mut("content"), components);
    }
}

fn fill_in_content(content: Option<&mut Value>, components: &Value) {
    for media in content
        .and_then(Value::as_object_mut)
        .into_iter()
        .flat_map(Map::values_mut)
    {
        if media.get("example").is_none()
            && media.get("examples").is_none()
            && let Some(example) = compose(&media["schema"], components, DEPTH)
        {
            media["example"] = example;
        }
    }
}

/// An example of a schema; none when a member that is required has none.
fn compose(schema: &Value, components: &Value, depth: u8) -> Option<Value> {
    let depth = depth.checked_sub(1)?;
    if let Some(example) = schema.get("example") {
        return Some(example.clone());
    }
    if let Some(name) = schema["$ref"].as_str() {
        let name = name.rsplit('/').next()?;
        return compose(components["schemas"].get(name)?, components, depth);
    }
    for several in ["oneOf", "anyOf", "allOf"] {
        if let Some(ways) = schema[several].as_array() {
            return ways
                .iter()
                .filter(|way| way["type"] != "null")
                .find_map(|way| compose(way, components, depth));
        }
    }
    if let Some(first) = schema["enum"].get(0) {
        return Some(first.clone());
    }
    let is = |kind: &str| match &schema["type"] {
        Value::Array(kinds) => kinds.iter().any(|one| one == kind),
        one => one == kind,
    };
    if is("object") {
        let properties = schema["properties"].as_object()?;
        let required = schema["required"].as_array();
        let mut members = Map::new();
        for (name, property) in properties {
            match compose(property, components, depth) {
                Some(example) => {
                    members.insert(name.clone(), example);
                }
                None if required.is_some_and(|names| names.contains(&json!(name))) => return None,
                None => {}
            }
        }
        return Some(members.into());
    }
    if is("array") {
        return compose(&schema["items"], components, depth).map(|item| json!([item]));
    }
    if is("boolean") {
        return Some(json!(false));
    }
    (schema["format"] == "date-time").then(|| json!("2026-03-02T12:00:00Z"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_example_is_made_of_those_of_the_members() {
        let components = json!({"schemas": {
            "Id": {"type": "integer", "example": 7},
            "Loop": {"type": "object", "required": ["next"], "properties": {"next": {"$ref": "#/components/schemas/Loop"}}},
        }});
        let id = json!({"$ref": "#/components/schemas/Id"});
        for (schema, expected) in [
            (id.clone(), Some(json!(7))),
            (json!({"type": "array", "items": id}), Some(json!([7]))),
            (
                json!({"type": "object", "required": ["id"], "properties": {
                    "id": id, "at": {"type": "string", "format": "date-time"}, "note": {"type": ["string", "null"]}}}),
                Some(json!({"id": 7, "at": "2026-03-02T12:00:00Z"})),
            ),
            (json!({"oneOf": [{"type": "null"}, id]}), Some(json!(7))),
            (
                json!({"type": "string", "enum": ["up", "down"]}),
                Some(json!("up")),
            ),
            (json!({"type": ["boolean", "null"]}), Some(json!(false))),
            (json!({"type": "string"}), None),
            (
                json!({"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}}),
                None,
            ),
            (json!({"$ref": "#/components/schemas/Loop"}), None),
            (json!({"$ref": "#/components/schemas/Nobody"}), None),
        ] {
            assert_eq!(compose(&schema, &components, DEPTH), expected, "{schema}");
        }
    }

    #[test]
    fn what_is_said_is_not_overruled() {
        let mut operation = json!({
            "requestBody": {"content": {"application/json": {"schema": {"type": "boolean"}}}},
            "responses": {"200": {"content": {"application/json": {"schema": {"type": "boolean"}, "example": true}}}},
        });
        let operation = operation.as_object_mut().unwrap();
        fill_in(operation, &json!({}));
        let example = |of: &Value| of["content"]["application/json"]["example"].clone();
        assert_eq!(example(&operation["requestBody"]), json!(false));
        assert_eq!(example(&operation["responses"]["200"]), json!(true));
    }
}
