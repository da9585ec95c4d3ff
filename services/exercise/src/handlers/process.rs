//! `GET /process`: pretended business logic, to see which of several instances did it.

use axum::{Json as Answer, extract::State};
use kit::problem::ProblemBody;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::AppState;

/// What an instance says it did. The gateway adds `gateway_id`.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Processed {
    #[schema(example = "Processed by exercise-1")]
    pub message: String,
    /// The instance that did it.
    #[schema(example = "1")]
    pub service_id: String,
    /// The gateway that answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "1")]
    pub gateway_id: Option<String>,
}

/// About 100 ms of work (an operator may change it) by one of several instances.
#[utoipa::path(
    get, path = "/process", tag = "Exercise",
    responses(
        (status = 200, description = "Who did it", body = Processed),
        (status = 401, description = "The token that was sent is not valid", body = ProblemBody),
        (status = 429, description = "Too many requests", body = ProblemBody),
        (status = 503, description = "Nobody is there to do it", body = ProblemBody),
    ),
    security((), ("bearer" = []))
)]
pub async fn process(State(state): State<AppState>) -> Answer<Processed> {
    let delays = &state.delays;
    delays
        .capacity()
        .work(&state.instance, || delays.process())
        .await;
    Answer(Processed {
        message: format!("Processed by {}", state.instance.name()),
        service_id: state.instance.id().to_owned(),
        gateway_id: None,
    })
}
