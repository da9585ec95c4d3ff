//! The calls of the stored functions that write: each is one transaction.

use serde_json::Value;
use sqlx::PgConnection;

use crate::values::{CardId, RechargeAmount, RechargePointId, RouteId, StationId, TripId};

/// What makes a repeated write recognisable.
#[derive(Clone, Debug)]
pub struct Claim {
    /// Keys of different callers do not meet.
    pub caller: String,
    /// Without a key nothing is claimed.
    pub key: Option<String>,
    /// SHA-256 of what is asked for.
    pub body_hash: [u8; 32],
}

/// What a stored function answered.
#[derive(Debug, sqlx::FromRow)]
pub struct Written {
    pub outcome: String,
    pub reply: Value,
    pub replayed: bool,
}

impl Written {
    pub async fn recharge(
        connection: &mut PgConnection,
        claim: &Claim,
        card: CardId,
        amount: RechargeAmount,
        point: Option<RechargePointId>,
    ) -> Result<Self, sqlx::Error> {
        sqlx::query_as(
            "select outcome, reply, replayed from travel.recharge($1, $2, $3, $4, $5, $6)",
        )
        .bind(&claim.caller)
        .bind(&claim.key)
        .bind(&claim.body_hash[..])
        .bind(card)
        .bind(amount.pesos())
        .bind(point)
        .fetch_one(connection)
        .await
    }

    pub async fn board(
        connection: &mut PgConnection,
        claim: &Claim,
        card: CardId,
        route: RouteId,
        station: StationId,
    ) -> Result<Self, sqlx::Error> {
        sqlx::query_as("select outcome, reply, replayed from travel.board($1, $2, $3, $4, $5, $6)")
            .bind(&claim.caller)
            .bind(&claim.key)
            .bind(&claim.body_hash[..])
            .bind(card)
            .bind(route)
            .bind(station)
            .fetch_one(connection)
            .await
    }

    pub async fn end_trip(
        connection: &mut PgConnection,
        claim: &Claim,
        trip: TripId,
        station: StationId,
    ) -> Result<Self, sqlx::Error> {
        sqlx::query_as("select outcome, reply, replayed from travel.end_trip($1, $2, $3, $4, $5)")
            .bind(&claim.caller)
            .bind(&claim.key)
            .bind(&claim.body_hash[..])
            .bind(trip)
            .bind(station)
            .fetch_one(connection)
            .await
    }
}
