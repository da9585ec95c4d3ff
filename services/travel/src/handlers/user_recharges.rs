//! `GET /users/{id}/recharges`.

use axum::{Json, extract::State, response::Response};
use kit::{
    extract::{Id, Query},
    problem::ProblemBody,
};
use serde::Serialize;

use crate::{
    App,
    error::Error,
    page::{PageQuery, RechargeCursor},
    responses::{Always, SignedIn},
    store::UserRecharge,
    values::UserId,
};

/// A page of a user's recharges, newest first.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct UserRecharges {
    pub user_id: UserId,
    pub data: Vec<UserRecharge>,
    /// The `cursor` of the next page; null on the last one.
    pub next_cursor: Option<String>,
}

/// The recharges of all cards of a user, newest first
#[utoipa::path(get, path = "/users/{id}/recharges", tag = "Users", security(("bearer" = [])),
    params(("id" = i64, Path, description = "The user", example = 1, minimum = 1), PageQuery),
    responses(
        (status = 200, description = "A page of recharges", body = UserRecharges, example = json!({
            "user_id": 1,
            "data": [{"recharge_id": 3, "card_id": 1, "amount": 20_000, "balance": 27_500, "recharge_point_id": 5,
                "created_at": "2026-03-02T12:00:00Z"}],
            "next_cursor": null})),
        (status = 404, description = "No such user", body = ProblemBody, content_type = "application/problem+json"),
        Always, SignedIn))]
pub async fn user_recharges(
    State(app): State<App>,
    id: Id,
    Query(query): Query<PageQuery>,
) -> Result<Response, Error> {
    let page = query.page::<RechargeCursor>()?;
    let user_id = UserId::from(id);
    let read = app
        .store
        .user_recharges(user_id, &page)
        .await?
        .ok_or(Error::UserNotFound)?;
    Ok(read.respond(|mut data| {
        let next_cursor = page.cut(&mut data, |last| RechargeCursor {
            at: last.created_at,
            id: last.recharge_id.0,
        });
        Json(UserRecharges {
            user_id,
            data,
            next_cursor,
        })
    }))
}
