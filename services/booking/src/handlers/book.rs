//! `POST /book`: one stored function claims the key, checks, books, and leaves the event in the outbox.

use axum::{
    Json as Answer,
    extract::State,
    response::{IntoResponse, Response},
};
use chrono::{DateTime, Datelike, TimeDelta, Utc};
use kit::{
    extract::{Caller, IdempotencyKey, Json, replayed},
    problem::ProblemBody,
};
use serde::{Deserialize, Deserializer, Serialize, de};
use utoipa::ToSchema;

use crate::{AppState, Error, store::Wish};

const DEFAULT_MINUTES: i64 = 60;
/// A session that began this long ago may still be asked for: clocks differ, and requests are repeated.
const GRACE: TimeDelta = TimeDelta::minutes(5);

#[derive(Debug, Deserialize, ToSchema)]
#[schema(example = json!({"student_id": 1, "tutor_id": 1}))]
pub struct BookRequest {
    #[serde(deserialize_with = "kit::lenient::int")]
    #[schema(minimum = 1)]
    pub student_id: i64,
    #[serde(deserialize_with = "kit::lenient::int")]
    #[schema(minimum = 1)]
    pub tutor_id: i64,
    /// When the session begins, RFC 3339 and not in the past; the tutor's next free slot when absent.
    #[serde(default, deserialize_with = "optional_time")]
    pub starts_at: Option<DateTime<Utc>>,
    /// How long it takes, 15 to 240; 60 when absent.
    #[serde(default, deserialize_with = "kit::lenient::optional_int")]
    #[schema(value_type = Option<i64>, minimum = 15, maximum = 240)]
    pub minutes: Option<i64>,
}

/// A booking that was made.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Booked {
    #[schema(example = "success")]
    #[serde(default = "success")]
    pub status: String,
    #[schema(example = 17)]
    pub booking_id: i64,
    #[schema(example = 1)]
    pub student_id: i64,
    #[schema(example = 1)]
    pub tutor_id: i64,
    #[schema(example = "2026-03-02T15:00:00Z")]
    pub starts_at: DateTime<Utc>,
    #[schema(example = "2026-03-02T16:00:00Z")]
    pub ends_at: DateTime<Utc>,
}

fn success() -> String {
    "success".to_owned()
}

fn optional_time<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<DateTime<Utc>>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    match text.as_deref().map(str::trim) {
        None | Some("") => Ok(None),
        Some(text) => DateTime::parse_from_rfc3339(text)
            .map(|time| Some(time.to_utc()))
            .map_err(|_| {
                de::Error::custom("must be a time such as 2030-01-31T15:00:00Z (RFC 3339)")
            }),
    }
}

impl BookRequest {
    fn wish(self, now: DateTime<Utc>) -> Result<Wish, Error> {
        let invalid = |field, reason| Err(Error::Invalid { field, reason });
        if self.student_id < 1 {
            return invalid("student_id", "must be a positive whole number");
        }
        if self.tutor_id < 1 {
            return invalid("tutor_id", "must be a positive whole number");
        }
        let minutes = self.minutes.unwrap_or(DEFAULT_MINUTES);
        if !(15..=240).contains(&minutes) {
            return invalid("minutes", "must be 15 to 240");
        }
        if let Some(starts_at) = self.starts_at {
            if starts_at < now - GRACE {
                return invalid("starts_at", "must not lie in the past");
            }
            if starts_at.year() > 9998 {
                return invalid("starts_at", "must have a year of four digits");
            }
        }
        Ok(Wish {
            student_id: self.student_id,
            tutor_id: self.tutor_id,
            starts_at: self.starts_at,
            minutes: minutes as i32,
        })
    }
}

/// Books a session with a tutor; the student is notified.
#[utoipa::path(
    post, path = "/book", tag = "Tutors",
    params(("Idempotency-Key" = Option<String>, Header, description = "1 to 255 visible ASCII characters: the same key and body get the first answer again")),
    request_body = BookRequest,
    responses(
        (status = 200, description = "Booked; with `Idempotency-Replayed: true` when it was before", body = Booked),
        (status = 400, description = "Not JSON", body = ProblemBody),
        (status = 401, description = "No valid token", body = ProblemBody),
        (status = 404, description = "No such student or tutor", body = ProblemBody),
        (status = 409, description = "The tutor has another session then, or the same key is being worked on", body = ProblemBody),
        (status = 413, description = "Too large", body = ProblemBody),
        (status = 422, description = "A value cannot be used, or the key was used for another body", body = ProblemBody),
        (status = 429, description = "Too many requests", body = ProblemBody),
        (status = 503, description = "The database is away", body = ProblemBody),
    ),
    security(("bearer" = []))
)]
pub async fn book(
    State(state): State<AppState>,
    caller: Caller,
    IdempotencyKey(key): IdempotencyKey,
    Json(request): Json<BookRequest>,
) -> Result<Response, Error> {
    let wish = request.wish(Utc::now())?;
    let (outcome, repeated) = state
        .store
        .book(caller.scope(), key.as_deref(), &wish)
        .await?;
    if !repeated {
        state.relay.wake();
    }
    let response = match outcome {
        Ok(booked) => Answer(booked).into_response(),
        Err(refusal) => refusal.into_response(),
    };
    Ok(if repeated {
        replayed(response)
    } else {
        response
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(body: &str) -> String {
        let problem = match kit::extract::json::<BookRequest>(body.as_bytes()) {
            Err(problem) => problem,
            Ok(request) => request
                .wish(DateTime::from_timestamp_nanos(0))
                .map_or_else(Into::into, |_| kit::Problem::internal()),
        };
        assert_eq!(problem.status(), 422, "{body}");
        problem.body()["field"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    #[test]
    fn a_bad_value_is_named() {
        for (body, field) in [
            (r#"{"tutor_id": 1}"#, "student_id"),
            (r#"{"student_id": 1}"#, "tutor_id"),
            (r#"{"student_id": 0, "tutor_id": 1}"#, "student_id"),
            (r#"{"student_id": 1, "tutor_id": "-1"}"#, "tutor_id"),
            (
                r#"{"student_id": 1, "tutor_id": 1, "minutes": 14}"#,
                "minutes",
            ),
            (
                r#"{"student_id": 1, "tutor_id": 1, "minutes": 241}"#,
                "minutes",
            ),
            (
                r#"{"student_id": 1, "tutor_id": 1, "starts_at": 5}"#,
                "starts_at",
            ),
            (
                r#"{"student_id": 1, "tutor_id": 1, "starts_at": "tomorrow"}"#,
                "starts_at",
            ),
            (
                r#"{"student_id": 1, "tutor_id": 1, "starts_at": "1969-12-31T00:00:00Z"}"#,
                "starts_at",
            ),
            (
                r#"{"student_id": 1, "tutor_id": 1, "starts_at": "+12000-01-01T00:00:00Z"}"#,
                "starts_at",
            ),
        ] {
            assert_eq!(refusal(body), field, "{body}");
        }
    }

    #[test]
    fn text_and_absent_values_are_taken() {
        let body = br#"{"student_id": "2", "tutor_id": " 3 ", "starts_at": "", "minutes": ""}"#;
        let request: BookRequest = kit::extract::json(body).expect("valid");
        let wish = request
            .wish(DateTime::from_timestamp_nanos(0))
            .expect("valid");
        assert_eq!(
            (wish.student_id, wish.tutor_id, wish.starts_at, wish.minutes),
            (2, 3, None, 60)
        );
    }
}
