//! A span that has ended, and how OTLP says it.

use std::borrow::Cow;

use http::HeaderValue;
use opentelemetry_proto::tonic::{
    common::v1::{AnyValue, KeyValue, any_value},
    trace::v1::{Span, Status, span::SpanKind, status::StatusCode},
};

use super::traceparent::{SpanId, TraceId};

/// Longer texts (a path, for one) are cut.
const TEXT_LIMIT: usize = 1_024;
/// Of [`Span::flags`]: whether it is known where the parent was, and whether that was elsewhere.
const HAS_IS_REMOTE: u32 = 0x100;
const IS_REMOTE: u32 = 0x200;

/// What a span is to those around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A request being served.
    Server,
    /// A call of another tier, or of a store.
    Client,
    /// A message being made.
    Producer,
    /// A message being worked on.
    Consumer,
}

/// What is said of a span under one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    Text(Cow<'static, str>),
    Number(i64),
}

impl From<&'static str> for Value {
    fn from(text: &'static str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(Cow::Owned(text))
    }
}

impl From<u16> for Value {
    fn from(number: u16) -> Self {
        Self::Number(number.into())
    }
}

impl From<u32> for Value {
    fn from(number: u32) -> Self {
        Self::Number(number.into())
    }
}

/// A text of somebody else's, as long as it may be.
#[must_use]
pub fn text(text: &str) -> Value {
    Value::Text(Cow::Owned(
        text[..text.floor_char_boundary(TEXT_LIMIT)].to_owned(),
    ))
}

pub type Attributes = Vec<(&'static str, Value)>;

/// One span.
#[derive(Debug)]
pub struct Record {
    pub trace: TraceId,
    pub span: SpanId,
    pub parent: Option<SpanId>,
    /// Whether the parent belongs to another process.
    pub is_remote: bool,
    pub state: Option<HeaderValue>,
    pub name: Cow<'static, str>,
    pub kind: Kind,
    /// Nanoseconds since 1970.
    pub start: u64,
    pub end: u64,
    pub attributes: Attributes,
    pub failed: bool,
}

impl From<Record> for Span {
    fn from(record: Record) -> Self {
        let kind = match record.kind {
            Kind::Server => SpanKind::Server,
            Kind::Client => SpanKind::Client,
            Kind::Producer => SpanKind::Producer,
            Kind::Consumer => SpanKind::Consumer,
        };
        let remote = if record.is_remote { IS_REMOTE } else { 0 };
        let state = record.state.as_ref().and_then(|state| state.to_str().ok());
        let attributes = record.attributes.into_iter();
        Self {
            trace_id: record.trace.bytes().to_vec(),
            span_id: record.span.bytes().to_vec(),
            parent_span_id: record
                .parent
                .map_or_else(Vec::new, |parent| parent.bytes().to_vec()),
            trace_state: state.unwrap_or_default().to_owned(),
            flags: 1 | HAS_IS_REMOTE | remote,
            name: record.name.into_owned(),
            kind: kind.into(),
            start_time_unix_nano: record.start,
            end_time_unix_nano: record.end,
            attributes: attributes
                .map(|(key, value)| key_value(key, value))
                .collect(),
            status: record.failed.then(|| Status {
                code: StatusCode::Error.into(),
                message: String::new(),
            }),
            ..Self::default()
        }
    }
}

/// One attribute.
#[must_use]
pub fn key_value(key: impl Into<String>, value: Value) -> KeyValue {
    let value = match value {
        Value::Text(text) => any_value::Value::StringValue(text.into_owned()),
        Value::Number(number) => any_value::Value::IntValue(number),
    };
    KeyValue {
        key: key.into(),
        value: Some(AnyValue { value: Some(value) }),
        ..KeyValue::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_cut_between_two_characters() {
        let Value::Text(cut) = text(&"ñ".repeat(1_000)) else {
            panic!("not a text");
        };
        assert_eq!(cut.len(), TEXT_LIMIT);
        assert_eq!(text("short"), Value::Text("short".into()));
    }
}
