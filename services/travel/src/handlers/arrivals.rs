//! `GET /stations/{id}/arrivals`.

use axum::{Json, extract::State};
use kit::{extract::Id, problem::ProblemBody};
use serde::Serialize;

use crate::{App, error::Error, responses::Always, store::Arrival, values::StationId};

/// How many vehicles are shown.
const SHOWN: i32 = 10;

/// The next vehicles at a station.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Arrivals {
    pub station_id: StationId,
    #[schema(example = "Portal Norte")]
    pub station: String,
    /// Soonest first, at most ten.
    pub data: Vec<Arrival>,
}

/// The next vehicles at a station
#[utoipa::path(get, path = "/stations/{id}/arrivals", tag = "Stations",
    params(("id" = i64, Path, description = "The station", example = 1, minimum = 1)),
    responses(
        (status = 200, description = "Soonest first, at most ten, in both directions", body = Arrivals, example = json!({
            "station_id": 1, "station": "Portal Norte",
            "data": [{"route_id": 1, "route_code": "B10", "route_name": "Portal Norte - Portal 80",
                "destination": "Portal 80", "arrives_at": "2026-03-02T12:34:00Z", "minutes": 4}]})),
        (status = 404, description = "No such station", body = ProblemBody, content_type = "application/problem+json"),
        Always))]
pub async fn arrivals(State(app): State<App>, id: Id) -> Result<Json<Arrivals>, Error> {
    let station_id = StationId::from(id);
    let (station, data) = app
        .store
        .arrivals(station_id, (app.now)(), SHOWN)
        .await?
        .ok_or(Error::StationNotFound)?;
    Ok(Json(Arrivals {
        station_id,
        station,
        data,
    }))
}
