//! The inbox and the notifications in PostgreSQL.

use std::collections::{HashMap, HashSet};

use kit::{Instance, safeguards::Safeguard, timing::timed};
use sqlx::PgPool;
use uuid::Uuid;

use crate::{
    Error,
    event::{Notice, Subject},
    list::Notification,
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
        // One row per event, in an order that all instances share, so that two batches cannot wait for each other.
        let distinct: HashMap<Uuid, &Notice> = notices.map(|n| (n.event_id, n)).collect();
        let mut notices: Vec<&Notice> = distinct.into_values().collect();
        notices.sort_unstable_by_key(|notice| notice.event_id);
        let (mut events, mut kinds, mut bookings, mut recharges, mut recipients, mut bodies) =
            (vec![], vec![], vec![], vec![], vec![], vec![]);
        for notice in notices {
            let (kind, booking, recharge) = match notice.subject {
                Subject::Booking(id) => ("booking", Some(id), None),
                Subject::Recharge(id) => ("recharge", None, Some(id)),
            };
            events.push(notice.event_id);
            kinds.push(kind);
            bookings.push(booking);
            recharges.push(recharge);
            recipients.push(notice.recipient.as_str());
            bodies.push(notice.body.as_str());
        }
        let statement = if Safeguard::Inbox.is_on() {
            RECORD
        } else {
            RECORD_WITHOUT_INBOX
        };
        let claimed: Vec<Uuid> = sqlx::query_scalar(statement)
            .bind(events)
            .bind(kinds)
            .bind(bookings)
            .bind(recharges)
            .bind(recipients)
            .bind(bodies)
            .fetch_all(&self.pool)
            .await?;
        Ok(claimed.into_iter().collect())
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
            "select id, event_id::text as event_id, kind, booking_id, recharge_id, recipient, body, state, attempts, created_at, sent_at \
             from notification.notifications where $1::text is null or recipient = $1 order by id desc limit $2",
        )
        .bind(recipient)
        .bind(limit)
        .fetch_all(&self.pool);
        Ok(timed("pg", query).await?)
    }
}
