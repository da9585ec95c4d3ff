//! `GET /tasks`: how many wait and how many are done.

use axum::{Json as Answer, extract::State};
use serde::{Deserialize, Serialize};

use crate::{AppState, Error};

/// All tasks, counted.
#[derive(Debug, Serialize, Deserialize)]
pub struct Tasks {
    /// Accepted and not begun.
    pub queue_length: i64,
    pub completed_tasks: i64,
    pub processing_tasks: i64,
    pub failed_tasks: i64,
}

pub async fn tasks(State(state): State<AppState>) -> Result<Answer<Tasks>, Error> {
    state.store.tasks().await.map(Answer)
}
