//! `POST /trips/{id}/end`.

use axum::{extract::State, response::Response};
use chrono::{DateTime, Utc};
use kit::{
    extract::{Caller, Id, IdempotencyKey, Json},
    problem::ProblemBody,
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sqlx::PgConnection;

use crate::{
    App,
    error::Error,
    keys,
    responses::{Always, SignedIn, WithBody},
    store::{Claim, Written},
    values::{CardId, Pesos, RouteId, StationId, TripId, UserId},
    write::{self, Single, Write, read_reply, unknown_outcome},
};

/// Where a trip ends.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[schema(example = json!({"station_id": 4}))]
pub struct EndRequest {
    pub station_id: StationId,
}

/// A trip that has ended.
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct EndedTrip {
    pub trip_id: TripId,
    pub card_id: CardId,
    /// Whose card it is.
    pub user_id: UserId,
    pub route_id: RouteId,
    /// Where it began.
    pub station_id: StationId,
    pub fare: Pesos,
    pub transfer: bool,
    /// The balance right after boarding.
    pub balance: Pesos,
    pub boarded_at: DateTime<Utc>,
    pub ended_at: DateTime<Utc>,
    pub alight_station_id: StationId,
}

/// The end of one trip.
struct End {
    trip: TripId,
    station: StationId,
}

impl Write for End {
    type Reply = EndedTrip;

    const ANNOUNCED: bool = false;

    fn canonical(&self) -> Vec<String> {
        vec![self.trip.to_string(), self.station.to_string()]
    }

    fn judge(&self, outcome: &str, reply: &RawValue) -> Result<EndedTrip, Error> {
        match outcome {
            "ended" => read_reply(outcome, reply),
            "trip_not_found" => Err(Error::TripNotFound),
            "station_not_found" => Err(Error::StationNotFound),
            "already_ended" => Err(Error::TripAlreadyEnded),
            other => Err(unknown_outcome(other)),
        }
    }

    fn stale(&self, reply: &EndedTrip) -> Vec<String> {
        vec![keys::trip(reply.trip_id), keys::history(reply.card_id)]
    }

    fn perhaps_stale(&self) -> Vec<String> {
        vec![keys::trip(self.trip)]
    }
}

impl Single for End {
    async fn call(
        &self,
        connection: &mut PgConnection,
        claim: &Claim,
    ) -> Result<Written, sqlx::Error> {
        Written::end_trip(connection, claim, self.trip, self.station).await
    }
}

/// End a trip
#[utoipa::path(post, path = "/trips/{id}/end", tag = "Trips", security(("bearer" = [])),
    params(("id" = i64, Path, description = "The trip", example = 7, minimum = 1),
        ("Idempotency-Key" = Option<String>, Header, description = "1 to 255 visible ASCII characters")),
    request_body = EndRequest,
    responses(
        (status = 200, description = "Ended", body = EndedTrip,
            headers(("Idempotency-Replayed" = bool, description = "`true` when this repeats the first answer")),
            example = json!({"trip_id": 7, "card_id": 1, "user_id": 1, "route_id": 1, "station_id": 1, "fare": 2_950,
                "transfer": false, "balance": 24_550, "boarded_at": "2026-03-02T12:30:00Z",
                "ended_at": "2026-03-02T13:02:11Z", "alight_station_id": 4})),
        (status = 404, description = "No such trip or station", body = ProblemBody,
            content_type = "application/problem+json"),
        (status = 409, description = "It has already ended, or a request with this key is still running", body = ProblemBody,
            content_type = "application/problem+json"),
        Always, SignedIn, WithBody))]
pub async fn end_trip(
    State(app): State<App>,
    id: Id,
    caller: Caller,
    key: IdempotencyKey,
    Json(request): Json<EndRequest>,
) -> Result<Response, Error> {
    let end = End {
        trip: id.into(),
        station: request.station_id,
    };
    let answer = write::execute(&app, &caller, key, end).await?;
    Ok(answer.respond(axum::Json))
}
