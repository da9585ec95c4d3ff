//! `GET /finance/revenue`, its older name, and `GET /finance/revenue/localities`.

use axum::{Json, extract::State};
use serde::Serialize;

use crate::{App, error::Error, responses::Always, store::LocalityRevenue, values::Pesos};

/// All fares charged.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct RevenueTotal {
    pub total_revenue: Pesos,
}

/// All fares charged, by where the trips began.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct RevenueByLocality {
    pub data: Vec<LocalityRevenue>,
}

/// The sum of all fares charged
#[utoipa::path(get, path = "/finance/revenue", tag = "Totals",
    responses(
        (status = 200, description = "In pesos", body = RevenueTotal, example = json!({"total_revenue": 2_500_000_000_i64})),
        Always))]
pub async fn total(State(app): State<App>) -> Result<Json<RevenueTotal>, Error> {
    let total_revenue = app.store.revenue_total().await?;
    Ok(Json(RevenueTotal { total_revenue }))
}

/// The sum of all fares charged, under its older name
#[utoipa::path(get, path = "/trips/finance/revenue", tag = "Totals",
    responses(
        (status = 200, description = "In pesos", body = RevenueTotal, example = json!({"total_revenue": 2_500_000_000_i64})),
        Always))]
pub async fn total_by_older_name(app: State<App>) -> Result<Json<RevenueTotal>, Error> {
    total(app).await
}

/// The fares charged by the locality where the trips began
#[utoipa::path(get, path = "/finance/revenue/localities", tag = "Totals",
    responses(
        (status = 200, description = "Every locality, also without trips; in pesos", body = RevenueByLocality,
            example = json!({"data": [{"locality_id": 1, "locality": "Usaquén", "total_revenue": 5_310_000}]})),
        Always))]
pub async fn by_locality(State(app): State<App>) -> Result<Json<RevenueByLocality>, Error> {
    let data = app.store.revenue_by_locality().await?;
    Ok(Json(RevenueByLocality { data }))
}
