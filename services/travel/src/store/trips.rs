//! Trips, and the totals over all of them.

use chrono::{DateTime, Utc};
use kit::timing::timed;
use serde::Serialize;

use super::Store;
use crate::values::{CardId, LocalityId, Pesos, RouteId, StationId, TripId};

/// A trip, without the balance and the owner of its card: anybody may read it.
#[derive(Debug, Serialize, sqlx::FromRow, utoipa::ToSchema)]
#[expect(clippy::struct_field_names, reason = "the names of the JSON members")]
pub struct Trip {
    pub trip_id: TripId,
    pub card_id: CardId,
    pub route_id: RouteId,
    /// Where it began.
    pub station_id: StationId,
    pub fare: Pesos,
    /// Whether it was free because an earlier boarding was paid.
    pub transfer: bool,
    pub boarded_at: DateTime<Utc>,
    /// None while under way.
    pub ended_at: Option<DateTime<Utc>>,
    /// None while under way.
    pub alight_station_id: Option<StationId>,
}

/// How many trips began in a locality.
#[derive(Debug, Serialize, sqlx::FromRow, utoipa::ToSchema)]
pub struct LocalityTrips {
    pub locality_id: LocalityId,
    #[schema(example = "Chapinero")]
    pub locality: String,
    #[schema(example = 2_145)]
    pub total_trips: i64,
}

/// The fares charged in a locality.
#[derive(Debug, Serialize, sqlx::FromRow, utoipa::ToSchema)]
pub struct LocalityRevenue {
    pub locality_id: LocalityId,
    #[schema(example = "Chapinero")]
    pub locality: String,
    pub total_revenue: Pesos,
}

impl Store {
    pub async fn trip(&self, trip: TripId) -> Result<Option<Trip>, sqlx::Error> {
        let mut connection = self.connection().await?;
        let query = sqlx::query_as(
            "select id as trip_id, card_id, route_id, station_id, fare, transfer, boarded_at, ended_at, alight_station_id
             from travel.trips where id = $1",
        )
        .bind(trip);
        timed("pg", query.fetch_optional(&mut *connection)).await
    }

    pub async fn trips_total(&self) -> Result<i64, sqlx::Error> {
        let mut connection = self.connection_for_sums().await?;
        let query = sqlx::query_scalar("select travel.trips_total()");
        timed("pg", query.fetch_one(&mut *connection)).await
    }

    pub async fn trips_by_locality(&self) -> Result<Vec<LocalityTrips>, sqlx::Error> {
        let mut connection = self.connection_for_sums().await?;
        let query = sqlx::query_as("select * from travel.trips_by_locality()");
        timed("pg", query.fetch_all(&mut *connection)).await
    }

    pub async fn revenue_total(&self) -> Result<Pesos, sqlx::Error> {
        let mut connection = self.connection_for_sums().await?;
        let query = sqlx::query_scalar("select travel.revenue_total()");
        timed("pg", query.fetch_one(&mut *connection)).await
    }

    pub async fn revenue_by_locality(&self) -> Result<Vec<LocalityRevenue>, sqlx::Error> {
        let mut connection = self.connection_for_sums().await?;
        let query = sqlx::query_as("select * from travel.revenue_by_locality()");
        timed("pg", query.fetch_all(&mut *connection)).await
    }
}
