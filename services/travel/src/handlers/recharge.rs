//! `POST /recharges` and `GET /recharges/{id}`.

use axum::{extract::State, response::Response};
use http::{StatusCode, header};
use kit::{
    extract::{Caller, Id, IdempotencyKey, Json},
    problem::ProblemBody,
    safeguards::Safeguard,
};
use serde::Deserialize;
use serde_json::value::RawValue;
use sqlx::PgConnection;

use crate::{
    App,
    error::Error,
    group::{self, Grouped},
    keys,
    responses::{Always, SignedIn, WithBody},
    store::{CardRecharge, CardWrite, Claim, Written},
    values::{CardId, RechargeAmount, RechargePointId, optional_point},
    write::{self, Single, Write, read_reply, unknown_outcome},
};

/// A recharge that is asked for.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[schema(example = json!({"card_id": 1, "amount": 20_000}))]
pub struct RechargeRequest {
    pub card_id: CardId,
    pub amount: RechargeAmount,
    /// Where it happens, if that is known.
    #[serde(default, deserialize_with = "optional_point")]
    pub recharge_point_id: Option<RechargePointId>,
}

impl Write for RechargeRequest {
    type Reply = CardRecharge;

    const ANNOUNCED: bool = true;

    fn canonical(&self) -> Vec<String> {
        let point = self.recharge_point_id.map(|point| point.to_string());
        vec![
            self.card_id.to_string(),
            self.amount.pesos().to_string(),
            point.unwrap_or_default(),
        ]
    }

    fn judge(&self, outcome: &str, reply: &RawValue) -> Result<CardRecharge, Error> {
        match outcome {
            "created" => read_reply(outcome, reply),
            "card_not_found" => Err(Error::CardNotFound),
            "card_blocked" => Err(Error::CardBlocked),
            "point_not_found" => Err(Error::RechargePointNotFound),
            other => Err(unknown_outcome(other)),
        }
    }

    fn stale(&self, reply: &CardRecharge) -> Vec<String> {
        vec![
            keys::balance(reply.card_id),
            keys::history(reply.card_id),
            keys::user_recharges(reply.user_id),
        ]
    }

    fn perhaps_stale(&self) -> Vec<String> {
        vec![keys::balance(self.card_id), keys::history(self.card_id)]
    }
}

/// Without the stored function, to compare it with.
impl Single for RechargeRequest {
    async fn call(
        &self,
        connection: &mut PgConnection,
        claim: &Claim,
    ) -> Result<Written, sqlx::Error> {
        let point = self.recharge_point_id;
        Written::chatty_recharge(connection, claim, self.card_id, self.amount, point).await
    }
}

impl Grouped for RechargeRequest {
    fn card_write(&self) -> CardWrite {
        CardWrite::Recharge {
            card: self.card_id,
            amount: self.amount,
            point: self.recharge_point_id,
        }
    }
}

/// Recharge a card
///
/// Send an `Idempotency-Key` to repeat it without fear: the same key and body get the first answer again.
#[utoipa::path(post, path = "/recharges", tag = "Cards", security(("bearer" = [])),
    params(("Idempotency-Key" = Option<String>, Header, description = "1 to 255 visible ASCII characters")),
    request_body = RechargeRequest,
    responses(
        (status = 201, description = "Recharged", body = CardRecharge,
            headers(("Location" = String, description = "Where the recharge can be read"),
                ("Idempotency-Replayed" = bool, description = "`true` when this repeats the first answer")),
            example = json!({"recharge_id": 3, "card_id": 1, "user_id": 1, "amount": 20_000, "balance": 27_500,
                "created_at": "2026-03-02T12:00:00Z"})),
        (status = 404, description = "No such card or recharge point", body = ProblemBody,
            content_type = "application/problem+json"),
        (status = 409, description = "The card is blocked, or a request with this key is still running", body = ProblemBody,
            content_type = "application/problem+json"),
        Always, SignedIn, WithBody))]
pub async fn recharge(
    State(app): State<App>,
    caller: Caller,
    key: IdempotencyKey,
    Json(request): Json<RechargeRequest>,
) -> Result<Response, Error> {
    let answer = if Safeguard::SingleCall.is_on() {
        group::execute(&app, &caller, key, request).await?
    } else {
        write::execute(&app, &caller, key, request).await?
    };
    Ok(answer.respond(|recharge| {
        let location = format!("/recharges/{}", recharge.recharge_id);
        (
            StatusCode::CREATED,
            [(header::LOCATION, location)],
            axum::Json(recharge),
        )
    }))
}

/// A recharge
///
/// Never cached.
#[utoipa::path(get, path = "/recharges/{id}", tag = "Cards", security(("bearer" = [])),
    params(("id" = i64, Path, description = "The recharge", example = 3, minimum = 1)),
    responses(
        (status = 200, description = "As it was answered when it was made", body = CardRecharge,
            example = json!({"recharge_id": 3, "card_id": 1, "user_id": 1, "amount": 20_000, "balance": 27_500,
                "created_at": "2026-03-02T12:00:00Z"})),
        (status = 404, description = "No such recharge", body = ProblemBody, content_type = "application/problem+json"),
        Always, SignedIn))]
pub async fn read(State(app): State<App>, Id(id): Id) -> Result<axum::Json<CardRecharge>, Error> {
    let recharge = app.store.recharge(crate::values::RechargeId(id)).await?;
    recharge.map(axum::Json).ok_or(Error::RechargeNotFound)
}
