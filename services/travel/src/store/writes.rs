//! The calls of the stored functions that write: each is one transaction.

use serde_json::value::RawValue;
use sqlx::{FromRow, PgConnection, Row, postgres::PgRow, types::Json};

use super::register::{Registered, registered};
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
    /// The trace that its event belongs to, where one is recorded.
    pub traceparent: Option<String>,
}

/// What a stored function answered.
#[derive(Debug, sqlx::FromRow)]
pub struct Written {
    pub outcome: String,
    pub reply: Json<Box<RawValue>>,
    pub replayed: bool,
    /// Which keys caches may hold, for those writes that look.
    #[sqlx(skip)]
    pub registered: Registered,
}

/// What a card is used for, in groups.
#[derive(Clone, Copy, Debug)]
pub enum CardWrite {
    Recharge {
        card: CardId,
        amount: RechargeAmount,
        point: Option<RechargePointId>,
    },
    Board {
        card: CardId,
        route: RouteId,
        station: StationId,
    },
}

impl CardWrite {
    #[must_use]
    pub fn card(&self) -> CardId {
        match self {
            Self::Recharge { card, .. } | Self::Board { card, .. } => *card,
        }
    }
}

/// The outcome of one whose card is locked by somebody else.
const BUSY: &str = "busy";

const RECHARGE: &str =
    "select outcome, reply, replayed, registered from travel.recharge($1, $2, $3, $4, $5, $6, $7)";
const RECHARGES: &str = "select outcome, reply, replayed, registered from travel.recharge_many($1, $2, $3, $4, $5, $6, $7, $8)";

impl Written {
    /// Does all of these, which are of one kind, in one transaction; `None` for those left out because they would have to
    /// wait for their card.
    pub async fn group(
        connection: &mut PgConnection,
        writes: &[(&Claim, CardWrite)],
        wait: bool,
    ) -> Result<Vec<Option<Self>>, sqlx::Error> {
        let written = match writes {
            [] => Vec::new(),
            // Alone, the function for one is twice as fast. It always waits.
            [(claim, write)] => vec![Self::one(connection, claim, *write).await?],
            [(_, CardWrite::Recharge { .. }), ..] => {
                Self::recharges(connection, writes, wait).await?
            }
            [(_, CardWrite::Board { .. }), ..] => Self::boardings(connection, writes, wait).await?,
        };
        let some = |written: Self| (written.outcome != BUSY).then_some(written);
        Ok(written.into_iter().map(some).collect())
    }

    async fn one(
        connection: &mut PgConnection,
        claim: &Claim,
        write: CardWrite,
    ) -> Result<Self, sqlx::Error> {
        match write {
            CardWrite::Recharge {
                card,
                amount,
                point,
            } => {
                let query = sqlx::query(RECHARGE)
                    .bind(&claim.caller)
                    .bind(&claim.key)
                    .bind(&claim.body_hash[..])
                    .bind(card)
                    .bind(amount.pesos())
                    .bind(point)
                    .bind(&claim.traceparent);
                let row = query.fetch_one(connection).await?;
                Ok(Self {
                    registered: registered(row.try_get("registered")?),
                    ..Self::from_row(&row)?
                })
            }
            CardWrite::Board {
                card,
                route,
                station,
            } => {
                sqlx::query_as(
                    "select outcome, reply, replayed from travel.board($1, $2, $3, $4, $5, $6)",
                )
                .bind(&claim.caller)
                .bind(&claim.key)
                .bind(&claim.body_hash[..])
                .bind(card)
                .bind(route)
                .bind(station)
                .fetch_one(connection)
                .await
            }
        }
    }

    async fn recharges(
        connection: &mut PgConnection,
        writes: &[(&Claim, CardWrite)],
        wait: bool,
    ) -> Result<Vec<Self>, sqlx::Error> {
        let claims = Claims::of(writes);
        let (mut cards, mut amounts, mut points) = (Vec::new(), Vec::new(), Vec::new());
        for (_, write) in writes {
            if let CardWrite::Recharge {
                card,
                amount,
                point,
            } = write
            {
                cards.push(card.0);
                amounts.push(amount.pesos());
                points.push(point.map(|point| point.0));
            }
        }
        // The register is looked at once for all of them, and told with the first.
        let traceparents: Vec<_> = writes.iter().map(|(claim, _)| &claim.traceparent).collect();
        let query = sqlx::query(RECHARGES)
            .bind(claims.callers)
            .bind(claims.keys)
            .bind(claims.hashes)
            .bind(cards)
            .bind(amounts)
            .bind(points)
            .bind(wait)
            .bind(traceparents);
        let rows = query.fetch_all(connection).await?;
        let found = match rows.first() {
            Some(first) => registered(first.try_get("registered")?),
            None => None,
        };
        let written = |row: &PgRow| {
            Ok(Self {
                registered: found.clone(),
                ..Self::from_row(row)?
            })
        };
        rows.iter().map(written).collect()
    }

    async fn boardings(
        connection: &mut PgConnection,
        writes: &[(&Claim, CardWrite)],
        wait: bool,
    ) -> Result<Vec<Self>, sqlx::Error> {
        let claims = Claims::of(writes);
        let (mut cards, mut routes, mut stations) = (Vec::new(), Vec::new(), Vec::new());
        for (_, write) in writes {
            if let CardWrite::Board {
                card,
                route,
                station,
            } = write
            {
                cards.push(card.0);
                routes.push(route.0);
                stations.push(station.0);
            }
        }
        sqlx::query_as(
            "select outcome, reply, replayed from travel.board_many($1, $2, $3, $4, $5, $6, $7)",
        )
        .bind(claims.callers)
        .bind(claims.keys)
        .bind(claims.hashes)
        .bind(cards)
        .bind(routes)
        .bind(stations)
        .bind(wait)
        .fetch_all(connection)
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

/// The claims of a group, as arrays.
struct Claims<'a> {
    callers: Vec<&'a str>,
    keys: Vec<Option<&'a str>>,
    hashes: Vec<&'a [u8]>,
}

impl<'a> Claims<'a> {
    fn of(writes: &[(&'a Claim, CardWrite)]) -> Self {
        let claims = || writes.iter().map(|(claim, _)| *claim);
        Self {
            callers: claims().map(|claim| claim.caller.as_str()).collect(),
            keys: claims().map(|claim| claim.key.as_deref()).collect(),
            hashes: claims().map(|claim| &claim.body_hash[..]).collect(),
        }
    }
}
