//! Extractors whose refusals follow the contract: 400 for unreadable, 413 for too large, 422 naming the field.

use std::time::Duration;

use axum::{
    body::Bytes,
    extract::{FromRequest, FromRequestParts, Request},
    response::{IntoResponse, Response},
};
use futures::StreamExt;
use http::request::Parts;
use serde::de::DeserializeOwned;

use crate::{
    Problem,
    context::{ROLE, USER},
};

/// The JSON body; the content type is not asked for, because older clients do not send one.
#[derive(Debug)]
pub struct Json<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let body = body(request, state).await?;
        json(&body).map(Self)
    }
}

/// Parses a JSON object: bad syntax is 400, anything but an object and a bad value are 422, and a bad value names its
/// field.
pub fn json<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    let Some(first) = body.trim_ascii_start().first() else {
        return Err(Problem::bad_request(
            "The body is empty; send a JSON object",
        ));
    };
    // A list would pass for a struct otherwise, its items taken for fields in the order of their declaration.
    if *first != b'{' && serde_json::from_slice::<serde::de::IgnoredAny>(body).is_ok() {
        return Err(Problem::new(
            http::StatusCode::UNPROCESSABLE_ENTITY,
            "The body must be a JSON object",
        ));
    }
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let inner = error.inner();
        if inner.is_data() {
            let message = without_position(&inner.to_string());
            match error.path().to_string().as_str() {
                "." | "?" => missing_field(&message).map_or_else(
                    || Problem::new(http::StatusCode::UNPROCESSABLE_ENTITY, message.clone()),
                    |field| Problem::invalid(field, "this field is required"),
                ),
                path => Problem::invalid(path, message),
            }
        } else {
            Problem::bad_request(format!("The body is not JSON: {inner}"))
        }
    })?;
    deserializer
        .end()
        .map_err(|error| Problem::bad_request(format!("The body is not JSON: {error}")))?;
    Ok(value)
}

fn without_position(message: &str) -> String {
    message
        .split(" at line ")
        .next()
        .unwrap_or(message)
        .to_owned()
}

fn missing_field(message: &str) -> Option<&str> {
    message.strip_prefix("missing field `")?.strip_suffix('`')
}

/// The whole body, bounded by the server's limit (413 beyond it).
pub async fn body<S: Send + Sync>(request: Request, state: &S) -> Result<Bytes, Problem> {
    Bytes::from_request(request, state)
        .await
        .map_err(|rejection| {
            let response = rejection.into_response();
            if response.status() == http::StatusCode::PAYLOAD_TOO_LARGE {
                Problem::new(http::StatusCode::PAYLOAD_TOO_LARGE, "The body is too large")
            } else {
                Problem::bad_request("The body could not be read to its end")
            }
        })
}

/// How much of a body that is refused anyway is read, and for how long.
const DRAIN_BYTES: usize = 32 * 1024 * 1024;
const DRAIN_TIME: Duration = Duration::from_secs(2);

/// Reads a body to its end and throws it away, within bounds: a client that is still sending when the connection closes
/// often does not see the refusal.
pub async fn drain(body: axum::body::Body) {
    let mut chunks = body.into_data_stream();
    let discard = async {
        let mut read = 0;
        while let Some(Ok(chunk)) = chunks.next().await {
            read += chunk.len();
            if read > DRAIN_BYTES {
                break;
            }
        }
    };
    let _ = tokio::time::timeout(DRAIN_TIME, discard).await;
}

/// The query string; a bad value is 422 and names the parameter.
#[derive(Debug)]
pub struct Query<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        form(parts.uri.query().unwrap_or("").as_bytes()).map(Self)
    }
}

/// Parses a form or query string; a bad value is 422 and names the field.
pub fn form<T: DeserializeOwned>(text: &[u8]) -> Result<T, Problem> {
    let pairs = serde_urlencoded::Deserializer::new(url::form_urlencoded::parse(text));
    serde_path_to_error::deserialize(pairs).map_err(|error| {
        let message = error.inner().to_string();
        match error.path().to_string().as_str() {
            "." | "?" => missing_field(&message).map_or_else(
                || Problem::new(http::StatusCode::UNPROCESSABLE_ENTITY, message.clone()),
                |field| Problem::invalid(field, "this field is required"),
            ),
            path => Problem::invalid(path, message),
        }
    })
}

/// Path parameters; one that does not fit its type is 422.
#[derive(Debug)]
pub struct Path<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match axum::extract::Path::<T>::from_request_parts(parts, state).await {
            Ok(axum::extract::Path(value)) => Ok(Self(value)),
            Err(rejection) => Err(Problem::invalid("path", rejection.body_text())),
        }
    }
}

/// A positive integer id from the path: 422 when it is not one.
#[derive(Clone, Copy, Debug)]
pub struct Id(pub i64);

impl<S: Send + Sync> FromRequestParts<S> for Id {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Path(text) = Path::<String>::from_request_parts(parts, state).await?;
        match text.parse() {
            Ok(id) if id > 0 => Ok(Self(id)),
            _ => Err(Problem::invalid("id", "must be a positive whole number")),
        }
    }
}

/// Who calls, as the gateway established it: the user's name and role, or nobody.
#[derive(Clone, Debug, Default)]
pub struct Caller {
    pub user: Option<String>,
    pub role: Option<String>,
}

impl Caller {
    /// The name that scopes idempotency keys.
    #[must_use]
    pub fn scope(&self) -> &str {
        self.user.as_deref().unwrap_or("anonymous")
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        let text = |name| {
            parts
                .headers
                .get(name)
                .and_then(|v: &http::HeaderValue| v.to_str().ok())
                .map(str::to_owned)
        };
        Ok(Self {
            user: text(USER),
            role: text(ROLE),
        })
    }
}

/// The `Idempotency-Key` header: 1 to 255 visible ASCII characters, or none.
#[derive(Clone, Debug)]
pub struct IdempotencyKey(pub Option<String>);

impl<S: Send + Sync> FromRequestParts<S> for IdempotencyKey {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let mut values = parts.headers.get_all("idempotency-key").iter();
        let Some(value) = values.next() else {
            return Ok(Self(None));
        };
        if values.next().is_some() {
            return Err(Problem::bad_request(
                "Send one Idempotency-Key, not several",
            ));
        }
        let bytes = value.as_bytes();
        if (1..=255).contains(&bytes.len()) && bytes.iter().all(u8::is_ascii_graphic) {
            Ok(Self(Some(String::from_utf8_lossy(bytes).into_owned())))
        } else {
            Err(Problem::invalid(
                "Idempotency-Key",
                "must be 1 to 255 visible ASCII characters",
            ))
        }
    }
}

/// Marks an answer that repeats an earlier one.
#[must_use]
pub fn replayed(mut response: Response) -> Response {
    response.headers_mut().insert(
        "idempotency-replayed",
        http::HeaderValue::from_static("true"),
    );
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    struct Body {
        #[serde(deserialize_with = "crate::lenient::int")]
        amount: i64,
    }

    fn refusal(text: &str) -> (u16, String) {
        let problem = json::<Body>(text.as_bytes()).expect_err(text);
        (problem.status().as_u16(), problem.detail().to_owned())
    }

    #[test]
    fn bodies_are_refused_by_kind() {
        assert_eq!(
            json::<Body>(br#"{"amount": "7"}"#).expect("valid").amount,
            7
        );
        assert_eq!(refusal("").0, 400);
        assert_eq!(refusal("{").0, 400);
        assert_eq!(refusal("not json").0, 400);
        assert_eq!(refusal(r#"{"amount": 1} trailing"#).0, 400);
        assert_eq!(
            refusal("{}"),
            (422, "amount: this field is required".to_owned())
        );
        assert_eq!(
            refusal(r#"{"amount": "x"}"#),
            (422, "amount: \"x\" is not a whole number".to_owned())
        );
        assert_eq!(refusal("[5]").0, 422);
        assert_eq!(refusal(" ").0, 400);
        assert_eq!(refusal("null").0, 422);
    }

    #[derive(Debug, serde::Deserialize)]
    struct Page {
        #[serde(default, deserialize_with = "crate::lenient::optional_int")]
        limit: Option<i64>,
    }

    #[test]
    fn query_strings_name_the_bad_parameter() {
        assert_eq!(form::<Page>(b"limit=5").expect("valid").limit, Some(5));
        assert_eq!(form::<Page>(b"").expect("valid").limit, None);
        let problem = form::<Page>(b"limit=many").expect_err("not a number");
        assert_eq!(
            (problem.status().as_u16(), problem.detail()),
            (422, "limit: \"many\" is not a whole number")
        );
    }
}
