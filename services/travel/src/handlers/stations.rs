//! `GET /stations`.

use axum::{Json, extract::State};
use kit::extract::Query;
use serde::{Deserialize, Serialize};

use crate::{
    App,
    error::Error,
    page::{PageQuery, StationCursor},
    responses::Always,
    store::Station,
};

/// Which stations.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct StationsQuery {
    /// Only those of this locality: its id, code or name.
    #[serde(default)]
    #[param(example = "Chapinero")]
    locality: Option<String>,
}

/// A page of stations, by id.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Stations {
    pub data: Vec<Station>,
    /// The `cursor` of the next page; null on the last one.
    pub next_cursor: Option<String>,
}

/// The stations, all or of one locality
#[utoipa::path(get, path = "/stations", tag = "Stations",
    params(StationsQuery, PageQuery),
    responses(
        (status = 200, description = "A page of stations; empty for an unknown locality", body = Stations,
            example = json!({
                "data": [{"id": 1, "name": "Portal Norte", "kind": "portal", "locality_id": 1, "locality": "Usaquén"}],
                "next_cursor": null})),
        Always))]
pub async fn stations(
    State(app): State<App>,
    Query(filter): Query<StationsQuery>,
    Query(query): Query<PageQuery>,
) -> Result<Json<Stations>, Error> {
    let page = query.page::<StationCursor>()?;
    let locality = filter
        .locality
        .as_deref()
        .map(str::trim)
        .filter(|text| !text.is_empty());
    let mut data = match locality {
        // PostgreSQL's text cannot hold it, so no locality has it.
        Some(text) if text.contains('\0') => Vec::new(),
        locality => app.store.stations(locality, &page).await?,
    };
    let next_cursor = page.cut(&mut data, |last| StationCursor { id: last.id.0 });
    Ok(Json(Stations { data, next_cursor }))
}
