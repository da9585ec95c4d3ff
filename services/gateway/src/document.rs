//! Routes as a JSON document: reading it, with everything that is wrong in it; writing it; its schema; what differs.
//!
//! JSON, because the same text is a file, the body of `PUT /admin/routes` and the answer of `GET`, because its schema is a
//! standard that editors know, and because its errors come with a line.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json, value::RawValue};
use sha2::{Digest, Sha256};
use utoipa::{OpenApi, ToSchema};

use crate::{
    flaw::{Flaw, Flaws},
    matching::Table,
    table::{CacheInfo, Level, LimitBy, LimitInfo, Period, RouteInfo, Shape, Upstream},
};

/// The largest document, in bytes; a thousand routes are a third of it.
pub const LIMIT: usize = 1024 * 1024;

/// All routes of a gateway.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Document<'a> {
    /// Where an editor finds this schema.
    #[serde(rename = "$schema", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub schema: Option<&'a str>,
    #[schema(value_type = Vec<RouteInfo>)]
    pub routes: &'a [RouteInfo],
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw<'a> {
    #[serde(rename = "$schema", default)]
    _schema: Option<String>,
    #[serde(borrow)]
    routes: Vec<&'a RawValue>,
}

/// Reads and checks a document, or says everything that is wrong with it.
pub fn read(text: &str) -> Result<(Vec<RouteInfo>, Table), Flaws> {
    if text.len() > LIMIT {
        return Err(Flaw::general(format!("a document has at most {LIMIT} bytes")).into());
    }
    if !text.trim_start().starts_with('{') {
        return Err(Flaw {
            line: Some(1),
            ..Flaw::general(r#"a document is one JSON object, {"routes": […]}"#)
        }
        .into());
    }
    let raw: Raw<'_> = serde_json::from_str(text).map_err(|error| Flaw {
        line: Some(error.line()),
        ..Flaw::general(without_position(&error))
    })?;
    let lines = lines(text, &raw.routes);
    let (mut routes, mut flaws) = (Vec::with_capacity(raw.routes.len()), Vec::new());
    // Positions of the routes that could be read, in the document.
    let mut positions = Vec::new();
    for (position, raw) in raw.routes.iter().enumerate() {
        match route(raw.get()) {
            Ok(route) => {
                routes.push(route);
                positions.push(position);
            }
            Err(flaw) => flaws.push(Flaw {
                line: Some(lines[position] + flaw.line.unwrap_or(0)),
                route: flaw.route.or_else(|| Some(format!("routes[{position}]"))),
                position: Some(position),
                ..flaw
            }),
        }
    }
    // Also when some cannot be read: who corrects a document wants to know everything at once.
    let table = match Table::compile(&routes) {
        Ok(table) if flaws.is_empty() => return Ok((routes, table)),
        Ok(_) => Vec::new(),
        Err(Flaws(flaws)) => flaws,
    };
    flaws.extend(table.into_iter().map(|flaw| {
        let position = flaw
            .position
            .and_then(|position| positions.get(position).copied());
        Flaw {
            line: position.map(|position| lines[position]),
            position,
            ..flaw
        }
    }));
    flaws.sort_by_key(|flaw| (flaw.position, flaw.line));
    Err(Flaws(flaws))
}

/// The line on which each value begins; they are slices of the text, in its order.
fn lines(text: &str, values: &[&RawValue]) -> Vec<usize> {
    let (mut line, mut seen) = (1, 0);
    let start = text.as_ptr().addr();
    values
        .iter()
        .map(|value| {
            let offset = value.get().as_ptr().addr().saturating_sub(start);
            let between = text.get(seen..offset).unwrap_or_default();
            line += between.matches('\n').count();
            seen = offset;
            line
        })
        .collect()
}

/// Reads one route; a flaw's line counts from the route's own.
fn route(text: &str) -> Result<RouteInfo, Flaw> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let path = error.path().to_string();
        let inner = error.inner();
        let (mut field, mut reason) = (
            (!matches!(path.as_str(), "." | "?")).then_some(path),
            without_position(inner),
        );
        let mut line = inner.line().saturating_sub(1);
        // The path of what is missing or too much ends at the object.
        for (start, words) in [
            ("missing field `", "must be there"),
            ("unknown field `", "there is no such field"),
            ("duplicate field `", "is there twice"),
        ] {
            if let Some((name, more)) = reason
                .strip_prefix(start)
                .and_then(|rest| rest.split_once('`'))
            {
                let name = name.to_owned();
                if start.starts_with("missing") {
                    line = 0;
                }
                let known = more.strip_prefix(", expected ");
                reason = known.map_or_else(
                    || words.to_owned(),
                    |known| format!("{words}; expected {known}"),
                );
                field = Some(match field {
                    // The reader of unknown members has stepped into them already.
                    Some(parent) if parent == name || parent.ends_with(&format!(".{name}")) => {
                        parent
                    }
                    Some(parent) => format!("{parent}.{name}"),
                    None => name,
                });
                break;
            }
        }
        Flaw {
            line: Some(line),
            route: named(text),
            field,
            reason,
            position: None,
        }
    })
}

/// What a route that cannot be read calls itself.
fn named(text: &str) -> Option<String> {
    let members: serde_json::Map<String, Value> = serde_json::from_str(text).ok()?;
    let member = |name| members.get(name).and_then(Value::as_str);
    Some(format!("{} {}", member("method")?, member("path")?))
}

fn without_position(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rsplit_once(" at line ") {
        Some((reason, _)) => reason.to_owned(),
        None => text,
    }
}

/// The document that [`read`] takes, indented, with a line break at its end.
#[must_use]
pub fn write(routes: &[RouteInfo]) -> String {
    let document = Document {
        schema: None,
        routes,
    };
    // Of plain data with text for keys: this cannot fail.
    let mut text = serde_json::to_string_pretty(&document).unwrap_or_default();
    text.push('\n');
    text
}

/// What identifies the content of a table, however its document is laid out: 16 hexadecimal digits.
#[must_use]
pub fn hash(routes: &[RouteInfo]) -> String {
    let canonical = serde_json::to_vec(routes).unwrap_or_default();
    let mut text = String::with_capacity(16);
    for byte in &Sha256::digest(&canonical)[..8] {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[derive(OpenApi)]
#[openapi(components(schemas(
    Document, RouteInfo, Level, Upstream, CacheInfo, Shape, LimitInfo, LimitBy, Period
)))]
struct Schemas;

/// The JSON Schema (2020-12) of documents. It describes each route; what only all routes together tell (duplicates, shared
/// keys) is for [`read`] to find.
#[must_use]
pub fn schema() -> Value {
    let components = serde_json::to_value(Schemas::openapi().components).unwrap_or_default();
    let mut schemas = components["schemas"].clone();
    refer(&mut schemas);
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Routes of a Recarga gateway",
        "$ref": "#/$defs/Document",
        "$defs": schemas,
    })
}

/// OpenAPI keeps its schemas elsewhere.
fn refer(value: &mut Value) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                match value {
                    Value::String(target) if name == "$ref" => {
                        *target = target.replace("#/components/schemas/", "#/$defs/");
                    }
                    value => refer(value),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(refer),
        _ => {}
    }
}

/// Which routes differ between two tables, each as its method and path.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Changes {
    pub added: Vec<String>,
    pub removed: Vec<String>,
    pub changed: Vec<Change>,
}

/// A route that both tables have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    pub route: String,
    /// Which of its fields differ.
    pub fields: Vec<String>,
}

impl Changes {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.changed.is_empty()
    }

    /// From one table to another.
    #[must_use]
    pub fn between(before: &[RouteInfo], after: &[RouteInfo]) -> Self {
        let same = |a: &RouteInfo, b: &RouteInfo| (&a.method, &a.path) == (&b.method, &b.path);
        let mut changes = Self::default();
        for route in after {
            let Some(old) = before.iter().find(|old| same(old, route)) else {
                changes.added.push(route.name());
                continue;
            };
            if old != route {
                changes.changed.push(Change {
                    route: route.name(),
                    fields: differing(old, route),
                });
            }
        }
        changes.removed = before
            .iter()
            .filter(|old| !after.iter().any(|route| same(old, route)))
            .map(RouteInfo::name)
            .collect();
        changes
    }
}

fn differing(before: &RouteInfo, after: &RouteInfo) -> Vec<String> {
    let members = |route| match serde_json::to_value(route) {
        Ok(Value::Object(members)) => members,
        _ => serde_json::Map::new(),
    };
    let (before, after) = (members(before), members(after));
    let mut names: Vec<String> = before.keys().chain(after.keys()).cloned().collect();
    names.sort_unstable();
    names.dedup();
    names.retain(|name| before.get(name) != after.get(name));
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builtin::routes;

    fn flaws(text: &str) -> Vec<String> {
        match read(text) {
            Ok(_) => Vec::new(),
            Err(Flaws(flaws)) => flaws.iter().map(ToString::to_string).collect(),
        }
    }

    /// A document of these routes, each on a line of its own from the third.
    fn document(routes: &[&str]) -> String {
        format!("{{\n\"routes\": [\n{}\n]}}", routes.join(",\n"))
    }

    const GOOD: &str = r#"{"method": "GET", "path": "/a", "level": "open", "upstream": "travel", "timeout_ms": 5000}"#;

    #[test]
    fn what_is_written_can_be_read() {
        let (read, _) = read(&write(&routes())).expect("our own");
        assert_eq!(read, routes());
        assert_eq!(hash(&read), hash(&routes()));
        assert_eq!(hash(&read).len(), 16);
    }

    #[test]
    fn the_layout_does_not_change_the_hash() {
        let loose = format!(r#"{{"$schema": "x", "routes": [ {GOOD} ]}}"#);
        let spelled = document(&[
            r#"{"path":"/a","method":"GET","upstream":"travel","level":"open","limit":null,"adds_gateway_id":false,"timeout_ms":5000}"#,
        ]);
        let (a, _) = read(&loose).expect("good");
        let (b, _) = read(&spelled).expect("good");
        assert_eq!(hash(&a), hash(&b));
        assert_ne!(hash(&a), hash(&[]));
    }

    #[test]
    fn what_is_wrong_is_told_by_line_route_and_field() {
        for (bad, expected) in [
            (
                r#"{"method": "GET", "path": "/b", "level": "all", "upstream": "travel", "timeout_ms": 1}"#,
                "line 4: GET /b: level: unknown variant `all`, expected one of `public`, `open`, `user`, `operator`",
            ),
            (
                r#"{"method": "GET", "path": "/b", "level": "open", "upstream": "moon", "timeout_ms": 1}"#,
                "line 4: GET /b: upstream: unknown variant `moon`",
            ),
            (
                "{\"method\": \"GET\", \"path\": \"/b\", \"level\": \"open\",\n \"upstream\": \"travel\",\n \"timeout_ms\": \"1\"}",
                "line 6: GET /b: timeout_ms: invalid type",
            ),
            (
                r#"{"method": "GET", "path": "/b", "level": "open", "upstream": "travel"}"#,
                "line 4: GET /b: timeout_ms: must be there",
            ),
            (
                r#"{"method": "GET", "path": "/b", "level": "open", "upstream": "travel", "timeout_ms": 1, "ttl": 5}"#,
                "line 4: GET /b: ttl: there is no such field; expected one of `method`",
            ),
            (
                r#"{"method": "GET", "path": "/b", "level": "open", "upstream": "travel", "timeout_ms": 1, "cache": {"key": "k"}}"#,
                "line 4: GET /b: cache.ttl_seconds: must be there",
            ),
            (
                r#"{"method": "GET", "path": "/b", "level": "open", "upstream": "travel", "timeout_ms": 1, "cache": {"key": "k", "ttl_seconds": 1, "tll": 1}}"#,
                "line 4: GET /b: cache.tll: there is no such field",
            ),
            (
                r#"{"method": "GET", "path": "/b", "level": "open", "upstream": "travel", "timeout_ms": 1, "limit": {"requests": 1.5, "per": "second", "by": "all"}}"#,
                "line 4: GET /b: limit.requests: invalid type",
            ),
            (
                r#"{"method": "GET", "path": "/b", "level": "open", "upstream": "travel", "timeout_ms": 99999}"#,
                "line 4: GET /b: timeout_ms: 99999 is not 1 to 25000",
            ),
            (GOOD, "line 4: GET /a: path: there are two of it"),
            ("7", "line 4: routes[1]: invalid type"),
            (
                r#"{"path": "/b", "level": "open"}"#,
                "line 4: routes[1]: method: must be there",
            ),
        ] {
            let found = flaws(&document(&[GOOD, bad]));
            assert!(
                found.len() == 1 && found[0].starts_with(expected),
                "{expected}: {found:?}"
            );
        }
        // The field twice: the member itself is what is wrong.
        let twice = GOOD.replace('}', r#", "level": "user"}"#);
        let found = flaws(&document(&[&twice]));
        assert!(found[0].contains("level: is there twice"), "{found:?}");
    }

    /// What a schema can tell, it tells as the reader does.
    #[test]
    fn the_schema_and_the_reader_agree() {
        let validator = jsonschema::validator_for(&schema()).expect("a schema");
        let own: Value = serde_json::from_str(&write(&routes())).expect("JSON");
        assert!(validator.is_valid(&own));
        let good = json!({
            "method": "GET", "path": "/a/{id}", "level": "user", "upstream": "travel", "timeout_ms": 25_000,
            "upstream_path": null, "adds_gateway_id": true,
            "limit": {"requests": 100_000, "per": "minute", "burst": 1, "by": "user", "shared": true},
            "cache": {"key": "k:{id}", "ttl_seconds": 86_400, "variant": ["limit"], "shape": {"wrapped": "data"},
                "swr_seconds": 0, "sie_seconds": 86_400, "negative_ttl_seconds": 3600},
        });
        let with = |pointer: &str, value: Value| {
            let mut route = good.clone();
            let (parent, name) = pointer.rsplit_once('/').expect("a pointer");
            let parent = route.pointer_mut(parent).expect("a parent");
            match value {
                // A word for taking the member away: null has a meaning.
                Value::String(word) if word == "(none)" => {
                    parent.as_object_mut().expect("an object").remove(name);
                }
                value => parent[name] = value,
            }
            json!({"routes": [route]})
        };
        let check = |document: &Value, expected: bool| {
            assert_eq!(validator.is_valid(document), expected, "schema: {document}");
            let found = flaws(&document.to_string());
            assert_eq!(found.is_empty(), expected, "{found:?}: {document}");
        };
        check(&json!({"$schema": "x", "routes": [good]}), true);
        check(&json!({"routes": []}), true);
        for document in [
            json!({}),
            json!([]),
            json!({"routes": {}}),
            json!({"routes": [], "x": 1}),
        ] {
            check(&document, false);
        }
        for optional in [
            "/upstream_path",
            "/cache",
            "/limit",
            "/adds_gateway_id",
            "/limit/burst",
            "/limit/shared",
            "/cache/variant",
            "/cache/shape",
            "/cache/swr_seconds",
            "/cache/sie_seconds",
            "/cache/negative_ttl_seconds",
        ] {
            check(&with(optional, json!("(none)")), true);
        }
        for required in [
            "/method",
            "/path",
            "/level",
            "/upstream",
            "/timeout_ms",
            "/cache/key",
            "/cache/ttl_seconds",
            "/limit/requests",
            "/limit/per",
            "/limit/by",
        ] {
            check(&with(required, json!("(none)")), false);
            check(&with(required, json!(null)), false);
            check(&with(required, json!([])), false);
        }
        for (pointer, value, expected) in [
            ("/unknown", json!(1), false),
            ("/cache/unknown", json!(1), false),
            ("/limit/unknown", json!(1), false),
            ("/method", json!("HEAD"), false),
            ("/method", json!("get"), false),
            ("/path", json!("a"), false),
            ("/level", json!("all"), false),
            ("/upstream", json!("queue"), false),
            ("/timeout_ms", json!(0), false),
            ("/timeout_ms", json!(1), true),
            ("/timeout_ms", json!(25_001), false),
            ("/timeout_ms", json!(1.5), false),
            ("/timeout_ms", json!("1"), false),
            ("/adds_gateway_id", json!("yes"), false),
            ("/cache/key", json!(""), false),
            ("/cache/ttl_seconds", json!(0), false),
            ("/cache/ttl_seconds", json!(86_401), false),
            ("/cache/swr_seconds", json!(86_401), false),
            ("/cache/sie_seconds", json!(86_401), false),
            ("/cache/negative_ttl_seconds", json!(0), false),
            ("/cache/negative_ttl_seconds", json!(3601), false),
            ("/cache/shape", json!("plain"), true),
            ("/cache/shape", json!("round"), false),
            ("/cache/shape", json!({"wrapped": 1}), false),
            ("/limit/requests", json!(0), false),
            ("/limit/requests", json!(100_001), false),
            ("/limit/burst", json!(0), false),
            ("/limit/per", json!("hour"), false),
            ("/limit/by", json!("ip"), false),
            ("/limit/shared", json!(1), false),
        ] {
            check(&with(pointer, value), expected);
        }
    }

    #[test]
    fn everything_is_told_at_once() {
        let found = flaws(&document(&[
            r#"{"method": "GET", "path": "/a"}"#,
            GOOD,
            GOOD,
            r#"{"method": "BREW", "path": "b", "level": "open", "upstream": "travel", "timeout_ms": 0}"#,
        ]));
        let lines: Vec<_> = found.iter().map(|flaw| &flaw[..8]).collect();
        assert_eq!(
            lines,
            ["line 3: ", "line 5: ", "line 6: ", "line 6: ", "line 6: "],
            "{found:?}"
        );
    }

    #[test]
    fn other_documents_are_refused() {
        for (text, part) in [
            ("", "one JSON object"),
            ("[]", "one JSON object"),
            ("{}", "line 1: missing field `routes`"),
            ("{\n\"routes\": [],\n}", "line 3: "),
            ("{\"routes\": []} {}", "line 1: trailing"),
            ("{\"routes\": [], \"rules\": []}", "unknown field `rules`"),
            ("{\"routes\": [], \"routes\": []}", "duplicate field"),
        ] {
            let found = flaws(text);
            assert!(
                found.len() == 1 && found[0].contains(part),
                "{text}: {found:?}"
            );
        }
        let large = format!("{{\"routes\": []{}}}", " ".repeat(LIMIT));
        assert!(flaws(&large)[0].contains("at most"));
        assert_eq!(flaws("{\"routes\": []}"), [""; 0]);
    }

    #[test]
    fn a_thousand_routes_fit() {
        let routes: Vec<_> = (0..1000)
            .map(|number| {
                let mut route = routes().remove(11);
                route.path = format!("/number{number}/{{id}}");
                if let Some(cache) = &mut route.cache {
                    cache.key = format!("number{number}:{{id}}");
                }
                route
            })
            .collect();
        let text = write(&routes);
        assert!(text.len() < LIMIT / 2, "{}", text.len());
        assert!(read(&text).is_ok());
    }

    #[test]
    fn differences_are_named() {
        let before = routes();
        let mut after = routes();
        after.remove(0);
        after[3].timeout_ms = 1;
        if let Some(cache) = &mut after[4].cache {
            cache.ttl_seconds = 7;
        }
        after[5].path = "/proceed".to_owned();
        let changes = Changes::between(&before, &after);
        assert_eq!(changes.added, ["GET /proceed"]);
        assert_eq!(changes.removed, ["POST /token", "GET /process"]);
        let changed: Vec<_> = changes
            .changed
            .iter()
            .map(|change| format!("{} {}", change.route, change.fields.join(",")))
            .collect();
        assert_eq!(
            changed,
            ["GET /bookings/{id} timeout_ms", "GET /data cache"]
        );
        assert!(Changes::between(&before, &before).is_empty());
    }
}
