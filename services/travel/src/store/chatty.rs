//! A recharge the way it is often written: one transaction, a round trip for each of its statements, and the card locked
//! between them. It comes to what `travel.recharge` comes to, for comparison with it.

use chrono::{DateTime, Utc};
use serde_json::value::RawValue;
use sqlx::{Connection, PgConnection, types::Json};

use super::{Claim, Written};
use crate::values::{CardId, RechargeAmount, RechargePointId};

/// The route of the claim, as the stored function has it.
const ROUTE: &str = "recharge";

type Reply = Json<Box<RawValue>>;

impl Written {
    /// Recharges a card, one statement after the other.
    pub async fn chatty_recharge(
        connection: &mut PgConnection,
        claim: &Claim,
        card: CardId,
        amount: RechargeAmount,
        point: Option<RechargePointId>,
    ) -> Result<Self, sqlx::Error> {
        let mut transaction = connection.begin().await?;
        if let Some(earlier) = earlier(&mut transaction, claim).await? {
            transaction.commit().await?;
            return Ok(earlier);
        }
        if let Some(traceparent) = &claim.traceparent {
            sqlx::query("select set_config('recarga.traceparent', $1, true)")
                .bind(traceparent)
                .execute(&mut *transaction)
                .await?;
        }
        let (outcome, reply) = recharge(&mut transaction, card, amount, point).await?;
        if let Some(key) = &claim.key {
            sqlx::query("select travel.keep_claim($1, $2, $3, $4, $5, $6)")
                .bind(&claim.caller)
                .bind(ROUTE)
                .bind(key)
                .bind(&claim.body_hash[..])
                .bind(outcome)
                .bind(&reply)
                .execute(&mut *transaction)
                .await?;
        }
        transaction.commit().await?;
        Ok(Self {
            outcome: outcome.to_owned(),
            reply,
            replayed: false,
            registered: None,
        })
    }
}

/// What the key was answered with before, if it was.
async fn earlier(
    transaction: &mut PgConnection,
    claim: &Claim,
) -> Result<Option<Written>, sqlx::Error> {
    let Some(key) = &claim.key else {
        return Ok(None);
    };
    // The same lock as the stored functions take: who comes by either way meets who came by the other.
    let free: bool = sqlx::query_scalar(
        "select pg_try_advisory_xact_lock(hashtextextended($1, hashtextextended($2, hashtextextended($3, 0))))",
    )
    .bind(key)
    .bind(&claim.caller)
    .bind(ROUTE)
    .fetch_one(&mut *transaction)
    .await?;
    let found: Option<(Vec<u8>, String, Reply)> = sqlx::query_as(
        "select body_hash, outcome, reply from travel.idempotency_claims
         where caller = $1 and route = $2 and key = $3",
    )
    .bind(&claim.caller)
    .bind(ROUTE)
    .bind(key)
    .fetch_optional(transaction)
    .await?;
    let refused = |outcome: &str| Written {
        outcome: outcome.to_owned(),
        reply: Json(RawValue::NULL.to_owned()),
        replayed: false,
        registered: None,
    };
    Ok(match found {
        None if free => None,
        None => Some(refused("in_progress")),
        Some((hash, ..)) if hash != claim.body_hash => Some(refused("key_reused")),
        Some((_, outcome, reply)) => Some(Written {
            outcome,
            reply,
            replayed: true,
            registered: None,
        }),
    })
}

/// The effect, or why there is none.
async fn recharge(
    transaction: &mut PgConnection,
    card: CardId,
    amount: RechargeAmount,
    point: Option<RechargePointId>,
) -> Result<(&'static str, Reply), sqlx::Error> {
    let found: Option<(i64, String)> =
        sqlx::query_as("select user_id, status from travel.cards where id = $1 for no key update")
            .bind(card)
            .fetch_optional(&mut *transaction)
            .await?;
    // After the lock, so that times on one card follow the order of its balances.
    let now: DateTime<Utc> = sqlx::query_scalar("select clock_timestamp()")
        .fetch_one(&mut *transaction)
        .await?;
    let user = match found {
        None => return refusal(transaction, "card_not_found", "card_id", card.0).await,
        Some((_, status)) if status != "active" => {
            return refusal(transaction, "card_blocked", "card_id", card.0).await;
        }
        Some((user, _)) => user,
    };
    if let Some(point) = point {
        let exists: bool =
            sqlx::query_scalar("select exists (select from travel.recharge_points where id = $1)")
                .bind(point)
                .fetch_one(&mut *transaction)
                .await?;
        if !exists {
            let name = "recharge_point_id";
            return refusal(transaction, "point_not_found", name, point.0).await;
        }
    }
    let balance: i64 = sqlx::query_scalar(
        "update travel.cards set balance = balance + $2 where id = $1 returning balance",
    )
    .bind(card)
    .bind(amount.pesos())
    .fetch_one(&mut *transaction)
    .await?;
    let id: i64 = sqlx::query_scalar(
        "insert into travel.recharges (card_id, user_id, recharge_point_id, amount, balance_after, created_at)
         values ($1, $2, $3, $4, $5, $6) returning id",
    )
    .bind(card)
    .bind(user)
    .bind(point)
    .bind(amount.pesos())
    .bind(balance)
    .bind(now)
    .fetch_one(&mut *transaction)
    .await?;
    let account: i64 = sqlx::query_scalar("select id from travel.accounts where card_id = $1")
        .bind(card)
        .fetch_one(&mut *transaction)
        .await?;
    sqlx::query(
        "insert into travel.ledger_entries (debit_account, credit_account, amount, kind, reference, created_at)
         values (1, $1, $2, 'recharge', $3, $4)",
    )
    .bind(account)
    .bind(amount.pesos())
    .bind(id)
    .bind(now)
    .execute(&mut *transaction)
    .await?;
    sqlx::query(
        "insert into travel.outbox (topic, payload) values ('recharges', jsonb_build_object(
             'type', 'recharge', 'recharge_id', $1::bigint, 'card_id', $2::bigint, 'user_id', $3::bigint,
             'amount', $4::bigint, 'balance', $5::bigint))",
    )
    .bind(id)
    .bind(card)
    .bind(user)
    .bind(amount.pesos())
    .bind(balance)
    .execute(&mut *transaction)
    .await?;
    sqlx::query(
        "update travel.users set last_active_at = $2
         where id = $1 and last_active_at < $2 - interval '1 hour'",
    )
    .bind(user)
    .bind(now)
    .execute(&mut *transaction)
    .await?;
    // In the database's own words, so that a replay cannot be told from one of the stored function's.
    let reply: Reply = sqlx::query_scalar(
        "select jsonb_build_object('recharge_id', $1::bigint, 'card_id', $2::bigint, 'user_id', $3::bigint,
             'amount', $4::bigint, 'balance', $5::bigint, 'created_at', travel.rfc3339($6))",
    )
    .bind(id)
    .bind(card)
    .bind(user)
    .bind(amount.pesos())
    .bind(balance)
    .bind(now)
    .fetch_one(transaction)
    .await?;
    Ok(("created", reply))
}

async fn refusal(
    transaction: &mut PgConnection,
    outcome: &'static str,
    name: &str,
    id: i64,
) -> Result<(&'static str, Reply), sqlx::Error> {
    let reply = sqlx::query_scalar("select jsonb_build_object($1::text, $2::bigint)")
        .bind(name)
        .bind(id)
        .fetch_one(transaction)
        .await?;
    Ok((outcome, reply))
}
