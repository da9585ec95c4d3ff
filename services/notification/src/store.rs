//! The inbox and the notifications in PostgreSQL.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    time::Duration,
};

use kit::{Instance, messaging::Message, safeguards::Safeguard, timing::timed};
use sqlx::PgPool;
use uuid::Uuid;

use crate::{
    Error,
    event::{Notice, Subject},
    list::{Notification, Story},
};

/// Claims the events that nobody claimed before, and records their notifications as sent.
const RECORD: &str = "with notice as (
        select * from unnest($1::uuid[], $2::text[], $3::bigint[], $4::bigint[], $5::text[], $6::text[])
            as n (event_id, kind, booking_id, recharge_id, recipient, body)
    ), claimed as (
        insert into notification.inbox (event_id) select event_id from notice
            on conflict do nothing returning event_id
    )
    insert into notification.notifications
            (event_id, kind, booking_id, recharge_id, recipient, body, state, attempts, sent_at)
        select n.event_id, n.kind, n.booking_id, n.recharge_id, n.recipient, n.body, 'sent', 1, now()
            from notice n join claimed using (event_id)
        on conflict do nothing returning event_id";
/// The same for one who claims nothing: every delivery is sent, and counted.
const RECORD_WITHOUT_INBOX: &str = "insert into notification.notifications
            (event_id, kind, booking_id, recharge_id, recipient, body, state, attempts, sent_at)
        select n.event_id, n.kind, n.booking_id, n.recharge_id, n.recipient, n.body, 'sent', 1, now()
            from unnest($1::uuid[], $2::text[], $3::bigint[], $4::bigint[], $5::text[], $6::text[])
                as n (event_id, kind, booking_id, recharge_id, recipient, body)
        on conflict (event_id) do update set attempts = notifications.attempts + 1, sent_at = now() returning event_id";

#[derive(Clone)]
pub struct Store {
    instance: Instance,
    pool: PgPool,
}

/// How long the message of a pending notification may not be heard of before another one takes over: longer than any backoff.
pub const GONE: Duration = Duration::from_mins(30);

/// How a notification stands.
#[derive(Clone, Debug)]
pub struct Standing {
    /// It is yet to go out.
    pub pending: bool,
    /// The message that sees it through.
    pub carrier: Option<String>,
}

impl Standing {
    #[must_use]
    pub fn is_carried_by(&self, message: &Message) -> bool {
        self.carrier.as_deref() == Some(message.id.as_str())
    }
}

/// What became of an attempt.
#[derive(Clone, Copy, Debug)]
pub enum Outcome<'a> {
    Sent,
    /// It is tried again.
    Retry(&'a str),
    Failed(&'a str),
}

/// Notices as the arrays that the statements take.
#[derive(Default)]
struct Columns<'a> {
    events: Vec<Uuid>,
    kinds: Vec<&'static str>,
    bookings: Vec<Option<i64>>,
    recharges: Vec<Option<i64>>,
    recipients: Vec<&'a str>,
    bodies: Vec<&'a str>,
}

impl<'a> Columns<'a> {
    /// One row per event, in an order that all instances share, so that two batches cannot wait for each other.
    fn of(notices: impl Iterator<Item = &'a Notice>) -> Self {
        let distinct: BTreeMap<Uuid, &Notice> = notices.map(|n| (n.event_id, n)).collect();
        let mut columns = Self::default();
        for notice in distinct.into_values() {
            let (kind, booking, recharge) = match notice.subject {
                Subject::Booking(id) => ("booking", Some(id), None),
                Subject::Recharge(id) => ("recharge", None, Some(id)),
            };
            columns.events.push(notice.event_id);
            columns.kinds.push(kind);
            columns.bookings.push(booking);
            columns.recharges.push(recharge);
            columns.recipients.push(notice.recipient.as_str());
            columns.bodies.push(notice.body.as_str());
        }
        columns
    }
}

impl Store {
    #[must_use]
    pub fn new(instance: &Instance, pool: PgPool) -> Self {
        Self {
            instance: instance.clone(),
            pool,
        }
    }

    /// Claims the events nobody claimed before and records their notifications as sent, in one statement and so in one
    /// transaction. Gives the events claimed.
    pub async fn record(
        &self,
        notices: impl Iterator<Item = &Notice>,
    ) -> Result<HashSet<Uuid>, sqlx::Error> {
        let columns = Columns::of(notices);
        let statement = if Safeguard::Inbox.is_on() {
            RECORD
        } else {
            RECORD_WITHOUT_INBOX
        };
        let query = sqlx::query_scalar(statement)
            .bind(&columns.events)
            .bind(&columns.kinds)
            .bind(&columns.bookings)
            .bind(&columns.recharges)
            .bind(&columns.recipients)
            .bind(&columns.bodies)
            .fetch_all(&self.pool);
        let claimed: Vec<Uuid> = timed("pg", query).await?;
        Ok(claimed.into_iter().collect())
    }

    /// Claims the events nobody claimed before and writes their notifications down as pending, in one transaction; those that
    /// failed and were taken back from the dead letters are opened again. Tells of each event what its message is to do.
    pub async fn register(
        &self,
        pairs: &[(&Message, &Notice)],
        channel: &str,
    ) -> Result<HashMap<Uuid, Standing>, sqlx::Error> {
        let columns = Columns::of(pairs.iter().map(|(_, notice)| *notice));
        // The first message about an event sees it through.
        let mut carriers: HashMap<Uuid, &str> = HashMap::new();
        for (message, notice) in pairs {
            carriers.entry(notice.event_id).or_insert(&message.id);
        }
        let carriers: Vec<&str> = columns.events.iter().map(|event| carriers[event]).collect();
        let redriven: Vec<Uuid> = pairs
            .iter()
            .filter(|(message, _)| message.redrives > 0)
            .map(|(_, notice)| notice.event_id)
            .collect();
        let mut transaction = self.pool.begin().await?;
        sqlx::query(
            "with notice as (
                 select * from unnest($1::uuid[], $2::text[], $3::bigint[], $4::bigint[], $5::text[], $6::text[], $7::text[])
                     as n (event_id, kind, booking_id, recharge_id, recipient, body, message_id)
             ), claimed as (
                 insert into notification.inbox (event_id) select event_id from notice
                     on conflict do nothing returning event_id
             )
             insert into notification.notifications
                     (event_id, kind, booking_id, recharge_id, recipient, body, state, attempts, channel, message_id, touched_at)
                 select n.event_id, n.kind, n.booking_id, n.recharge_id, n.recipient, n.body, 'pending', 0, $8, n.message_id, now()
                     from notice n join claimed using (event_id)
                 on conflict do nothing",
        )
        .bind(&columns.events)
        .bind(&columns.kinds)
        .bind(&columns.bookings)
        .bind(&columns.recharges)
        .bind(&columns.recipients)
        .bind(&columns.bodies)
        .bind(&carriers)
        .bind(channel)
        .execute(&mut *transaction)
        .await?;
        if !redriven.is_empty() {
            sqlx::query(
                "update notification.notifications set state = 'pending', last_error = null \
                 where event_id = any($1) and state = 'failed'",
            )
            .bind(redriven)
            .execute(&mut *transaction)
            .await?;
        }
        sqlx::query(
            "update notification.notifications n set message_id = c.message_id, touched_at = now() \
             from unnest($1::uuid[], $2::text[]) c (event_id, message_id) where n.event_id = c.event_id and n.state = 'pending' \
             and (n.message_id is not distinct from c.message_id or n.touched_at < now() - make_interval(secs => $3))",
        )
        .bind(&columns.events)
        .bind(&carriers)
        .bind(GONE.as_secs_f64())
        .execute(&mut *transaction)
        .await?;
        let states: Vec<(Uuid, bool, Option<String>)> = sqlx::query_as(
            "select event_id, state = 'pending', message_id from notification.notifications where event_id = any($1)",
        )
        .bind(&columns.events)
        .fetch_all(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(states
            .into_iter()
            .map(|(event, pending, carrier)| (event, Standing { pending, carrier }))
            .collect())
    }

    /// Writes an attempt down, and what it means for the notification.
    pub async fn note(
        &self,
        event: Uuid,
        channel: &str,
        outcome: Outcome<'_>,
        took: Duration,
    ) -> Result<(), sqlx::Error> {
        let (name, state, detail) = match outcome {
            Outcome::Sent => ("sent", "sent", None),
            Outcome::Retry(reason) => ("retry", "pending", Some(reason)),
            Outcome::Failed(reason) => ("failed", "failed", Some(reason)),
        };
        let query = sqlx::query(
            "with noted as (
                 update notification.notifications set attempts = attempts + 1, state = $3, last_error = $4, channel = $2, touched_at = now(),
                     sent_at = case when $3 = 'sent' then clock_timestamp() end
                     where event_id = $1 and state = 'pending' returning attempts
             )
             insert into notification.deliveries (event_id, attempt, channel, outcome, detail, took_ms)
                 select $1, attempts, $2, $5, $4, $6 from noted",
        )
        .bind(event)
        .bind(channel)
        .bind(state)
        .bind(detail)
        .bind(name)
        .bind(i32::try_from(took.as_millis()).unwrap_or(i32::MAX))
        .execute(&self.pool);
        timed("pg", query).await?;
        Ok(())
    }

    /// Ends a notification whose message the queue gave up; true when it was open until now.
    pub async fn bury(&self, event: Uuid, reason: &str) -> Result<bool, sqlx::Error> {
        let done = sqlx::query(
            "update notification.notifications set state = 'failed', last_error = $2 \
             where event_id = $1 and state = 'pending'",
        )
        .bind(event)
        .bind(reason)
        .execute(&self.pool)
        .await?;
        Ok(done.rows_affected() == 1)
    }

    /// One notification with its attempts.
    pub async fn story(&self, id: i64) -> Result<Option<Story>, Error> {
        if !self.instance.check("postgres") {
            return Err(Error::Away);
        }
        let query = sqlx::query_as(
            "select id, event_id::text as event_id, kind, booking_id, recharge_id, recipient, body, state, attempts, channel, last_error, created_at, sent_at \
             from notification.notifications where id = $1",
        )
        .bind(id)
        .fetch_optional(&self.pool);
        let Some(notification) = timed("pg", query).await? else {
            return Ok(None);
        };
        let query = sqlx::query_as(
            "select d.attempt, d.channel, d.outcome, d.detail, d.took_ms, d.created_at from notification.deliveries d \
             join notification.notifications n using (event_id) where n.id = $1 order by d.attempt",
        )
        .bind(id)
        .fetch_all(&self.pool);
        Ok(Some(Story {
            notification,
            deliveries: timed("pg", query).await?,
        }))
    }

    /// The newest notifications, of one recipient or of all.
    pub async fn newest(
        &self,
        recipient: Option<&str>,
        limit: i64,
    ) -> Result<Vec<Notification>, Error> {
        if !self.instance.check("postgres") {
            return Err(Error::Away);
        }
        let query = sqlx::query_as(
            "select id, event_id::text as event_id, kind, booking_id, recharge_id, recipient, body, state, attempts, channel, last_error, created_at, sent_at \
             from notification.notifications where $1::text is null or recipient = $1 order by id desc limit $2",
        )
        .bind(recipient)
        .bind(limit)
        .fetch_all(&self.pool);
        Ok(timed("pg", query).await?)
    }
}
