//! Cards, their history, and recharges.

use chrono::{DateTime, Utc};
use kit::timing::timed;
use serde::{Deserialize, Serialize};
use sqlx::{FromRow, Row};

use super::{Store, register::Read};
use crate::{
    keys,
    page::{HistoryCursor, Kind, Page, RechargeCursor, latest},
    values::{CardId, Pesos, RechargeId, RechargePointId, RouteId, StationId, UserId},
};

/// A card's money and whether it can be used.
#[derive(Debug, Serialize, sqlx::FromRow, utoipa::ToSchema)]
pub struct CardStatus {
    pub card_id: CardId,
    pub balance: Pesos,
    /// `active` or `blocked`.
    #[schema(example = "active")]
    pub status: String,
}

/// A recharge or a boarding, as it stands in the history of a card.
#[derive(Debug, Serialize, sqlx::FromRow, utoipa::ToSchema)]
pub struct Movement {
    pub kind: Kind,
    /// The recharge's or the trip's id.
    #[schema(example = 1)]
    pub id: i64,
    pub occurred_at: DateTime<Utc>,
    /// What the balance changed by: more than zero for a recharge, zero or less for a boarding.
    pub amount: Pesos,
    /// The balance afterwards.
    #[sqlx(rename = "balance_after")]
    pub balance: Pesos,
    /// Of a recharge, where it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recharge_point_id: Option<RechargePointId>,
    /// Of a trip.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route_id: Option<RouteId>,
    /// Of a trip: where it began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub station_id: Option<StationId>,
    /// Of a trip: whether it cost nothing because an earlier one was paid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transfer: Option<bool>,
    /// Of a trip that has ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<DateTime<Utc>>,
}

/// A recharge in the list of a user.
#[derive(Debug, Serialize, sqlx::FromRow, utoipa::ToSchema)]
pub struct UserRecharge {
    pub recharge_id: RechargeId,
    pub card_id: CardId,
    pub amount: Pesos,
    /// The card's balance afterwards.
    pub balance: Pesos,
    pub recharge_point_id: Option<RechargePointId>,
    pub created_at: DateTime<Utc>,
}

/// A recharge and whose it was.
#[derive(Debug, Serialize, Deserialize, sqlx::FromRow, utoipa::ToSchema)]
pub struct CardRecharge {
    pub recharge_id: RechargeId,
    pub card_id: CardId,
    /// Whose card it is.
    pub user_id: UserId,
    pub amount: Pesos,
    /// The balance right after this recharge.
    pub balance: Pesos,
    pub created_at: DateTime<Utc>,
}

impl Store {
    /// None when there is no such card.
    pub async fn card(&self, card: CardId) -> Result<Option<Read<CardStatus>>, sqlx::Error> {
        let mut connection = self.connection().await?;
        let query = sqlx::query("select * from travel.read_balance($1, $2)")
            .bind(keys::balance(card))
            .bind(card);
        let row = timed("pg", query.fetch_one(&mut *connection)).await?;
        if row.try_get::<Option<i64>, _>("card_id")?.is_none() {
            return Ok(None);
        }
        Ok(Some(Read {
            value: CardStatus::from_row(&row)?,
            registered: row.try_get("registered")?,
        }))
    }

    /// Newest first; none when there is no such card.
    pub async fn card_history(
        &self,
        card: CardId,
        page: &Page<HistoryCursor>,
    ) -> Result<Option<Read<Vec<Movement>>>, sqlx::Error> {
        let mut connection = self.connection().await?;
        let query = sqlx::query("select * from travel.read_history($1, $2, $3, $4, $5, $6)")
            .bind(keys::history(card))
            .bind(card)
            .bind(i32::try_from(page.fetch()).unwrap_or(i32::MAX))
            .bind(page.after.map(|last| last.at))
            .bind(page.after.map(|last| last.kind.as_str()))
            .bind(page.after.map(|last| last.id));
        let rows = timed("pg", query.fetch_all(&mut *connection)).await?;
        Read::list(&rows, "id")
    }

    /// Newest first; none when there is no such user.
    pub async fn user_recharges(
        &self,
        user: UserId,
        page: &Page<RechargeCursor>,
    ) -> Result<Option<Read<Vec<UserRecharge>>>, sqlx::Error> {
        // A first page starts behind everything: comparing with a null would cost the index.
        let after = page.after.unwrap_or(RechargeCursor {
            at: latest(),
            id: i64::MAX,
        });
        let mut connection = self.connection().await?;
        let query = sqlx::query("select * from travel.read_user_recharges($1, $2, $3, $4, $5)")
            .bind(keys::user_recharges(user))
            .bind(user)
            .bind(page.fetch())
            .bind(after.at)
            .bind(after.id);
        let rows = timed("pg", query.fetch_all(&mut *connection)).await?;
        Read::list(&rows, "recharge_id")
    }

    pub async fn recharge(
        &self,
        recharge: RechargeId,
    ) -> Result<Option<CardRecharge>, sqlx::Error> {
        let mut connection = self.connection().await?;
        let query = sqlx::query_as(
            "select id as recharge_id, card_id, user_id, amount, balance_after as balance, created_at
             from travel.recharges where id = $1",
        )
        .bind(recharge);
        timed("pg", query.fetch_optional(&mut *connection)).await
    }
}
