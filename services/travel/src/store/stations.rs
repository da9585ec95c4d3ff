//! Stations and when the next vehicles come.

use chrono::{DateTime, Utc};
use kit::timing::timed;
use serde::Serialize;

use super::Store;
use crate::{
    page::{Page, StationCursor},
    values::{LocalityId, RouteId, StationId},
};

/// Where one boards.
#[derive(Debug, Serialize, sqlx::FromRow, utoipa::ToSchema)]
pub struct Station {
    pub id: StationId,
    #[schema(example = "Portal Norte")]
    pub name: String,
    /// `portal`, `station`, `stop` or `cable`.
    #[schema(example = "portal")]
    pub kind: String,
    pub locality_id: LocalityId,
    #[schema(example = "Usaquén")]
    pub locality: String,
}

/// A vehicle on its way.
#[derive(Debug, Serialize, sqlx::FromRow, utoipa::ToSchema)]
pub struct Arrival {
    pub route_id: RouteId,
    #[schema(example = "B10")]
    pub route_code: String,
    #[schema(example = "Portal Norte - Portal 80")]
    pub route_name: String,
    /// The station where it turns.
    #[schema(example = "Portal 80")]
    pub destination: String,
    pub arrives_at: DateTime<Utc>,
    /// Whole minutes from now.
    #[schema(example = 4)]
    pub minutes: i32,
}

impl Store {
    /// By id. A locality is given by its id, its code or its name, in any case; of one that does not exist there are none.
    pub async fn stations(
        &self,
        locality: Option<&str>,
        page: &Page<StationCursor>,
    ) -> Result<Vec<Station>, sqlx::Error> {
        let after = page.after.map_or(0, |last| last.id);
        let mut connection = self.connection().await?;
        let Some(locality) = locality else {
            let query = sqlx::query_as(
                "select s.id, s.name, s.kind, s.locality_id, l.name as locality
                 from travel.stations s join travel.localities l on l.id = s.locality_id
                 where s.id > $1 order by s.id limit $2",
            )
            .bind(after)
            .bind(page.fetch());
            return timed("pg", query.fetch_all(&mut *connection)).await;
        };
        let query = sqlx::query_as(
            "select s.id, s.name, s.kind, s.locality_id, l.name as locality
             from travel.stations s join travel.localities l on l.id = s.locality_id
             where s.locality_id = (
                 select id from travel.localities
                 where id = $1 or lower(name) = lower($2) or lower(code) = lower($2)
                 order by id = $1 desc nulls last, id limit 1)
             and s.id > $3 order by s.id limit $4",
        )
        .bind(locality.parse::<i64>().ok())
        .bind(locality)
        .bind(after)
        .bind(page.fetch());
        timed("pg", query.fetch_all(&mut *connection)).await
    }

    /// The station's name and the next vehicles there, soonest first; none when there is no such station.
    pub async fn arrivals(
        &self,
        station: StationId,
        now: DateTime<Utc>,
        limit: i32,
    ) -> Result<Option<(String, Vec<Arrival>)>, sqlx::Error> {
        let mut connection = self.connection().await?;
        let name =
            sqlx::query_scalar("select name from travel.stations where id = $1").bind(station);
        let Some(name) = timed("pg", name.fetch_optional(&mut *connection)).await? else {
            return Ok(None);
        };
        let query = sqlx::query_as("select * from travel.arrivals($1, $2, $3)")
            .bind(station)
            .bind(now)
            .bind(limit);
        let rows = timed("pg", query.fetch_all(&mut *connection)).await?;
        Ok(Some((name, rows)))
    }
}
