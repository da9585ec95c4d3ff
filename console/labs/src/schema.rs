//! The JSON schema of a lab's file, for editors. Its tests hold it to the reader.

use serde_json::{Map, Value, json};

use crate::{
    metrics::ROLES,
    script::Caller,
    source::{KINDS, SCHEMA},
};

/// The schema, as `recarga lab schema` prints it.
#[must_use]
pub fn schema() -> Value {
    let kinds: Vec<&str> = KINDS.iter().map(|(kind, ..)| *kind).collect();
    let per_kind: Vec<Value> = KINDS
        .iter()
        .map(|(kind, needed, allowed)| {
            let mut fields = vec!["kind", "title", "text"];
            fields.extend(needed.iter().chain(allowed.iter()));
            let names: Map<String, Value> = fields
                .iter()
                .map(|field| ((*field).to_owned(), json!(true)))
                .collect();
            json!({
                "if": {"properties": {"kind": {"const": kind}}, "required": ["kind"]},
                "then": {"properties": names, "required": needed, "additionalProperties": false},
            })
        })
        .collect();
    let step: Map<String, Value> = step_fields(&kinds).into_iter().collect();
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A lab of Recarga",
        "type": "object",
        "additionalProperties": false,
        "required": ["schema", "name", "title", "goal", "minutes", "step"],
        "properties": {
            "schema": {"const": SCHEMA, "description": "The version of this format"},
            "name": {"type": "string", "pattern": "^[a-z0-9-]{1,40}$", "not": {"const": "all"}, "description": "What `recarga lab run` takes"},
            "title": {"type": "string", "minLength": 1},
            "goal": {"type": "string", "minLength": 1, "description": "What one knows afterwards"},
            "minutes": {"type": "integer", "minimum": 1, "maximum": 180, "description": "With somebody who reads and talks"},
            "needs": {
                "type": "array",
                "items": {"type": "string", "pattern": format!("^\\s*(supervisor|database|({})\\s+>=\\s+([1-9]|1[0-9]|20))\\s*$", ROLES.join("|"))},
                "description": "What must be there: \"gateway >= 2\", \"supervisor\" (restarts and scales), \"database\" (for holds)",
            },
            "clean_up": {"type": "array", "items": {"type": "string"}, "description": "Lines of `recarga do --list`, at the end; what was done is taken back without them"},
            "step": {"type": "array", "minItems": 1, "maxItems": 200, "items": {"$ref": "#/$defs/step"}},
            "series": {"type": "array", "items": {"$ref": "#/$defs/series"}, "description": "Figures to plot, twice a second"},
        },
        "$defs": {
            "step": {
                "type": "object",
                "required": ["kind"],
                "properties": step,
                "allOf": per_kind,
                "unevaluatedProperties": false,
            },
            "series": {
                "type": "object",
                "additionalProperties": false,
                "required": ["name", "of"],
                "properties": {
                    "name": {"type": "string", "minLength": 1},
                    "of": {"type": "string", "description": "An expression, such as rate(gateway.recarga_http_requests_total, 5s)"},
                    "unit": {"type": "string"},
                },
            },
            "time": {"type": "string", "pattern": "^\\s*[0-9]+(\\.[0-9]+)?(ms|s|m)\\s*$"},
        },
    })
}

fn step_fields(kinds: &[&str]) -> Vec<(String, Value)> {
    let callers = Caller::ALL.map(Caller::name);
    let time = |text: &str| json!({"$ref": "#/$defs/time", "description": text});
    let text = |text: &str| json!({"type": "string", "description": text});
    let fields = [
        ("kind", json!({"enum": kinds})),
        ("title", text("A headline")),
        ("text", text("What is told about the step")),
        ("question", text("What will happen?")),
        (
            "choices",
            json!({"type": "array", "items": {"type": "string"}, "minItems": 2, "maxItems": 6}),
        ),
        (
            "right",
            json!({"type": "integer", "minimum": 1, "maximum": 6, "description": "The right choice, counted from 1"}),
        ),
        (
            "do",
            text("A line of `recarga do --list`, such as kill gateway-2"),
        ),
        (
            "name",
            json!({"type": "string", "pattern": "^[a-z][a-z0-9_]{0,29}$", "description": "Under which samples or an answer are kept"}),
        ),
        (
            "calls",
            json!({"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": 50, "description": "METHOD PATH [body=JSON], in turn; <n>, <run>, <1..100> and <name:/pointer> are filled in"}),
        ),
        (
            "as",
            json!({"enum": callers, "description": "Who calls; demo unless said"}),
        ),
        (
            "times",
            json!({"type": "integer", "minimum": 1, "maximum": 20_000, "description": "How many calls; one unless said"}),
        ),
        ("for", time("Instead of times: how long")),
        (
            "at_once",
            json!({"type": "integer", "minimum": 1, "maximum": 500, "description": "The most in flight: 1 unless said, 64 with a rate"}),
        ),
        (
            "rate",
            json!({"type": "number", "minimum": 0.1, "maximum": 2_000, "description": "Calls a second by a schedule (open loop)"}),
        ),
        (
            "key",
            json!({"enum": ["each", "same", "none"], "description": "The idempotency key of writes: one for each call and its repetitions, the same for all, or none"}),
        ),
        (
            "timeout",
            time("A call is given up after this; 10s unless said"),
        ),
        (
            "retries",
            json!({"type": "integer", "minimum": 0, "maximum": 20, "description": "How often a call is sent again that got 5xx or no answer"}),
        ),
        (
            "budget",
            json!({"type": "integer", "minimum": 0, "maximum": 100, "description": "Of a hundred calls, how many may be sent again, over all of them; any number unless said"}),
        ),
        ("pause", time("Before it is sent again")),
        (
            "keep",
            json!({"type": "object", "propertyNames": {"pattern": "^[a-z][a-z0-9_]{0,29}$"}, "additionalProperties": {"type": "string", "pattern": "^\\s*(header\\s+\\S+|json\\s+/\\S*)\\s*$"}, "description": "Texts to keep of each answer: service = \"json /service_id\""}),
        ),
        (
            "background",
            json!({"type": "boolean", "description": "Go on to the next step while it runs; a step of kind stop ends it"}),
        ),
        (
            "call",
            text("A call that is made before each look; its answer is response"),
        ),
        (
            "that",
            text("The condition, such as slow.p99 < fast.p99 * 2"),
        ),
        (
            "within",
            time("How long it may take to hold; one look unless said"),
        ),
        (
            "table",
            json!({
                "type": "object",
                "additionalProperties": false,
                "required": ["columns", "rows"],
                "properties": {
                    "columns": {"type": "array", "items": {"type": "string"}, "minItems": 2},
                    "rows": {"type": "array", "items": {"type": "array", "items": {"type": "string"}, "minItems": 2}, "description": "A name, then an expression for each other column"},
                },
            }),
        ),
    ];
    fields
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::source::fields;

    fn names(value: &Value) -> BTreeSet<String> {
        value.as_object().unwrap().keys().cloned().collect()
    }

    #[test]
    fn the_schema_has_the_fields_that_the_reader_has() {
        let schema = schema();
        for (table, properties) in [
            ("lab", &schema["properties"]),
            ("step", &schema["$defs"]["step"]["properties"]),
            ("series", &schema["$defs"]["series"]["properties"]),
        ] {
            let (_, known) = fields()
                .into_iter()
                .find(|(name, _)| *name == table)
                .unwrap();
            let known: BTreeSet<String> = known.iter().map(|field| (*field).to_owned()).collect();
            assert_eq!(names(properties), known, "{table}");
        }
    }

    #[test]
    fn what_the_schema_calls_fields_the_reader_takes() {
        // The reader's own list, out of its words about a field that it does not know.
        for (table, text) in [
            ("lab", "nonsense = 1"),
            (
                "step",
                "schema = 1\nname = \"a\"\ntitle = \"a\"\ngoal = \"a\"\nminutes = 1\n[[step]]\nkind = \"act\"\nnonsense = 1",
            ),
            (
                "series",
                "schema = 1\nname = \"a\"\ntitle = \"a\"\ngoal = \"a\"\nminutes = 1\n[[series]]\nnonsense = 1",
            ),
        ] {
            let told = crate::source::unknown_field(text);
            let (_, known) = fields()
                .into_iter()
                .find(|(name, _)| *name == table)
                .unwrap();
            let known: BTreeSet<&str> = known.iter().copied().collect();
            let told: BTreeSet<&str> = told
                .split('`')
                .skip(1)
                .step_by(2)
                .filter(|word| *word != "nonsense")
                .collect();
            assert_eq!(told, known, "{table}");
        }
    }
}
