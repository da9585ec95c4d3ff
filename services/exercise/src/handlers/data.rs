//! `GET /data`: a slow read that a cache in front makes fast.

use axum::{Json as Answer, extract::State};
use kit::{extract::Query, problem::ProblemBody, timing::timed};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{AppState, Error};

#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Read {
    /// What is read, 1 to 256 characters; the cache keeps it under exactly this key.
    #[serde(default = "default_key")]
    #[param(value_type = Option<String>, default = "my_data", example = "my_data")]
    key: String,
}

fn default_key() -> String {
    "my_data".to_owned()
}

/// What was read. The gateway adds `cached` and `gateway_id`.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Data {
    #[schema(example = "my_data, read at 2026-01-01T12:00:00.000000Z")]
    pub data: String,
    /// Whether the cache had it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cached: Option<bool>,
    /// The gateway that answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "1")]
    pub gateway_id: Option<String>,
}

/// A read that takes its time (100 ms at first, an operator may change it), unless the cache has the answer.
#[utoipa::path(
    get, path = "/data", tag = "Exercise",
    params(Read),
    responses(
        (status = 200, description = "The data, and when it was read", body = Data),
        (status = 401, description = "The token that was sent is not valid", body = ProblemBody),
        (status = 422, description = "The key cannot be used", body = ProblemBody),
        (status = 429, description = "Too many requests", body = ProblemBody),
        (status = 503, description = "The database is away", body = ProblemBody),
    ),
    security((), ("bearer" = []))
)]
pub async fn data(
    State(state): State<AppState>,
    Query(read): Query<Read>,
) -> Result<Answer<Data>, Error> {
    let key = read.key;
    if !(1..=256).contains(&key.chars().count()) || key.chars().any(char::is_control) {
        return Err(Error::Key);
    }
    if !state.instance.check("postgres") {
        return Err(Error::Away);
    }
    let query =
        sqlx::query_scalar("select $1::text || ', read at ' || travel.rfc3339(clock_timestamp())")
            .bind(&key)
            .fetch_one(&state.pool);
    let data: String = timed("pg", query).await?;
    // Not within the query: slow reads must not use up the connections.
    tokio::time::sleep(state.delays.data()).await;
    Ok(Answer(Data {
        data,
        cached: None,
        gateway_id: None,
    }))
}
