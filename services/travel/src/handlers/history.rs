//! `GET /cards/{id}/history`.

use axum::{Json, extract::State, response::Response};
use kit::{
    extract::{Id, Query},
    problem::ProblemBody,
};
use serde::Serialize;

use crate::{
    App,
    error::Error,
    page::{HistoryCursor, PageQuery},
    responses::{Always, SignedIn},
    store::Movement,
    values::CardId,
};

/// A page of what happened on a card, newest first.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct History {
    pub card_id: CardId,
    pub data: Vec<Movement>,
    /// The `cursor` of the next page; null on the last one.
    pub next_cursor: Option<String>,
}

/// The recharges and trips of a card, newest first
#[utoipa::path(get, path = "/cards/{id}/history", tag = "Cards", security(("bearer" = [])),
    params(("id" = i64, Path, description = "The card", example = 1, minimum = 1), PageQuery),
    responses(
        (status = 200, description = "A page of movements", body = History, example = json!({
            "card_id": 1,
            "data": [
                {"kind": "trip", "id": 7, "occurred_at": "2026-03-02T12:30:00Z", "amount": -2_950, "balance": 24_550,
                    "route_id": 1, "station_id": 1, "transfer": false},
                {"kind": "recharge", "id": 3, "occurred_at": "2026-03-02T12:00:00Z", "amount": 20_000, "balance": 27_500,
                    "recharge_point_id": 5}],
            "next_cursor": null})),
        (status = 404, description = "No such card", body = ProblemBody, content_type = "application/problem+json"),
        Always, SignedIn))]
pub async fn history(
    State(app): State<App>,
    id: Id,
    Query(query): Query<PageQuery>,
) -> Result<Response, Error> {
    let page = query.page::<HistoryCursor>()?;
    let card_id = CardId::from(id);
    let read = app
        .store
        .card_history(card_id, &page)
        .await?
        .ok_or(Error::CardNotFound)?;
    Ok(read.respond(|mut data| {
        let next_cursor = page.cut(&mut data, |last| HistoryCursor {
            at: last.occurred_at,
            kind: last.kind,
            id: last.id,
        });
        Json(History {
            card_id,
            data,
            next_cursor,
        })
    }))
}
