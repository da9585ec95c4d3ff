//! `POST /trips`.

use axum::extract::State;
use axum::response::Response;
use chrono::{DateTime, Utc};
use http::{StatusCode, header};
use kit::{
    extract::{Caller, IdempotencyKey, Json},
    problem::ProblemBody,
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{
    App,
    error::Error,
    group::{self, Grouped},
    keys,
    responses::{Always, SignedIn, WithBody},
    store::CardWrite,
    values::{CardId, Pesos, RouteId, StationId, TripId, UserId},
    write::{Write, read_reply, unknown_outcome},
};

/// A boarding that is asked for.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[schema(example = json!({"card_id": 1, "route_id": 1, "station_id": 1}))]
#[expect(clippy::struct_field_names, reason = "the names of the JSON members")]
pub struct BoardRequest {
    pub card_id: CardId,
    pub route_id: RouteId,
    /// Where; the route must serve it.
    pub station_id: StationId,
}

/// What a boarding came to.
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Boarding {
    pub trip_id: TripId,
    pub card_id: CardId,
    /// Whose card it is.
    pub user_id: UserId,
    pub route_id: RouteId,
    pub station_id: StationId,
    /// What was charged.
    pub fare: Pesos,
    /// Whether it was free because of a paid boarding in the last 110 minutes.
    pub transfer: bool,
    /// The balance afterwards.
    pub balance: Pesos,
    pub boarded_at: DateTime<Utc>,
}

/// What PostgreSQL says of a balance that is too small.
#[derive(Deserialize)]
struct Shortfall {
    balance: i64,
    fare: i64,
}

impl Write for BoardRequest {
    type Reply = Boarding;

    const ANNOUNCED: bool = false;

    fn canonical(&self) -> Vec<String> {
        vec![
            self.card_id.to_string(),
            self.route_id.to_string(),
            self.station_id.to_string(),
        ]
    }

    fn judge(&self, outcome: &str, reply: &RawValue) -> Result<Boarding, Error> {
        match outcome {
            "created" => read_reply(outcome, reply),
            "card_not_found" => Err(Error::CardNotFound),
            "card_blocked" => Err(Error::CardBlocked),
            "route_not_found" => Err(Error::RouteNotFound),
            "station_not_found" => Err(Error::StationNotOnRoute),
            "insufficient_balance" => {
                let Shortfall { balance, fare } = read_reply(outcome, reply)?;
                Err(Error::InsufficientBalance { balance, fare })
            }
            other => Err(unknown_outcome(other)),
        }
    }

    fn stale(&self, reply: &Boarding) -> Vec<String> {
        let mut stale = self.perhaps_stale();
        // Somebody may have asked for it before it was there.
        stale.push(keys::trip(reply.trip_id));
        stale
    }

    fn perhaps_stale(&self) -> Vec<String> {
        let mut stale = vec![keys::balance(self.card_id), keys::history(self.card_id)];
        stale.extend(keys::TOTALS.map(str::to_owned));
        stale
    }
}

impl Grouped for BoardRequest {
    fn card_write(&self) -> CardWrite {
        CardWrite::Board {
            card: self.card_id,
            route: self.route_id,
            station: self.station_id,
        }
    }
}

/// Board with a card
///
/// The route's fare is charged. Within 110 minutes of a paid boarding the next two are free transfers.
#[utoipa::path(post, path = "/trips", tag = "Trips", security(("bearer" = [])),
    params(("Idempotency-Key" = Option<String>, Header, description = "1 to 255 visible ASCII characters")),
    request_body = BoardRequest,
    responses(
        (status = 201, description = "On board", body = Boarding,
            headers(("Location" = String, description = "Where the trip can be read"),
                ("Idempotency-Replayed" = bool, description = "`true` when this repeats the first answer")),
            example = json!({"trip_id": 7, "card_id": 1, "user_id": 1, "route_id": 1, "station_id": 1, "fare": 2_950,
                "transfer": false, "balance": 24_550, "boarded_at": "2026-03-02T12:30:00Z"})),
        (status = 404, description = "No such card or route, or the route does not serve the station", body = ProblemBody,
            content_type = "application/problem+json"),
        (status = 409, description = "The card is blocked, the balance is too small (with `balance` and `fare`), or a \
            request with this key is still running", body = ProblemBody, content_type = "application/problem+json"),
        Always, SignedIn, WithBody))]
pub async fn board(
    State(app): State<App>,
    caller: Caller,
    key: IdempotencyKey,
    Json(request): Json<BoardRequest>,
) -> Result<Response, Error> {
    let answer = group::execute(&app, &caller, key, request).await?;
    Ok(answer.respond(|boarding| {
        let location = format!("/trips/{}", boarding.trip_id);
        (
            StatusCode::CREATED,
            [(header::LOCATION, location)],
            axum::Json(boarding),
        )
    }))
}
