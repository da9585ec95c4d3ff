//! `GET /trips/{id}`.

use axum::{Json, extract::State};
use kit::{extract::Id, problem::ProblemBody};

use crate::{App, error::Error, responses::Always, store::Trip};

/// A trip
#[utoipa::path(get, path = "/trips/{id}", tag = "Trips",
    params(("id" = i64, Path, description = "The trip", example = 7, minimum = 1)),
    responses(
        (status = 200, description = "The trip; `ended_at` is null while it is under way", body = Trip,
            example = json!({"trip_id": 7, "card_id": 1, "route_id": 1, "station_id": 1, "fare": 2_950, "transfer": false,
                "boarded_at": "2026-03-02T12:30:00Z", "ended_at": null, "alight_station_id": null})),
        (status = 404, description = "No such trip", body = ProblemBody, content_type = "application/problem+json"),
        Always))]
pub async fn trip(State(app): State<App>, id: Id) -> Result<Json<Trip>, Error> {
    let trip = app.store.trip(id.into()).await?;
    trip.map(Json).ok_or(Error::TripNotFound)
}
