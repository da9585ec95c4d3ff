//! `GET /cards/{id}/balance`.

use axum::{Json, extract::State, response::Response};
use kit::{extract::Id, problem::ProblemBody};

use crate::{
    App,
    error::Error,
    responses::{Always, SignedIn},
    store::CardStatus,
};

/// The balance of a card
#[utoipa::path(get, path = "/cards/{id}/balance", tag = "Cards", security(("bearer" = [])),
    params(("id" = i64, Path, description = "The card", example = 1, minimum = 1)),
    responses(
        (status = 200, description = "The card's balance and status", body = CardStatus,
            example = json!({"card_id": 1, "balance": 24_550, "status": "active"})),
        (status = 404, description = "No such card", body = ProblemBody, content_type = "application/problem+json"),
        Always, SignedIn))]
pub async fn balance(State(app): State<App>, id: Id) -> Result<Response, Error> {
    let card = app.store.card(id.into()).await?;
    Ok(card.ok_or(Error::CardNotFound)?.respond(Json))
}
