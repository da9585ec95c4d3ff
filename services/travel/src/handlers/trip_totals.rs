//! `GET /trips/total` and `GET /trips/total/localities`.

use axum::{Json, extract::State};
use serde::Serialize;

use crate::{App, error::Error, responses::Always, store::LocalityTrips};

/// How many trips there are.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct TripsTotal {
    #[schema(example = 1_000_000)]
    pub total_trips: i64,
}

/// How many trips there are, by where they began.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct TripsByLocality {
    pub data: Vec<LocalityTrips>,
}

/// The number of all trips
#[utoipa::path(get, path = "/trips/total", tag = "Totals",
    responses(
        (status = 200, description = "The total", body = TripsTotal, example = json!({"total_trips": 1_000_000})), Always))]
pub async fn total(State(app): State<App>) -> Result<Json<TripsTotal>, Error> {
    let total_trips = app.store.trips_total().await?;
    Ok(Json(TripsTotal { total_trips }))
}

/// The number of trips by the locality where they began
#[utoipa::path(get, path = "/trips/total/localities", tag = "Totals",
    responses(
        (status = 200, description = "Every locality, also without trips", body = TripsByLocality,
            example = json!({"data": [{"locality_id": 1, "locality": "Usaquén", "total_trips": 2_145}]})),
        Always))]
pub async fn by_locality(State(app): State<App>) -> Result<Json<TripsByLocality>, Error> {
    let data = app.store.trips_by_locality().await?;
    Ok(Json(TripsByLocality { data }))
}
