//! Bookings in PostgreSQL.

use chrono::{DateTime, Utc};
use kit::{Instance, timing::timed, traces};
use serde_json::Value;
use sha2::{Digest, Sha256};
use sqlx::PgPool;

use crate::{
    Error,
    handlers::{
        book::Booked,
        read::{Booking, Notification},
    },
};

/// A session that is asked for, checked.
#[derive(Clone, Debug)]
pub struct Wish {
    pub student_id: i64,
    pub tutor_id: i64,
    pub starts_at: Option<DateTime<Utc>>,
    pub minutes: i32,
}

impl Wish {
    /// The same for every way of writing the same wish.
    fn hash(&self) -> Vec<u8> {
        let starts_at = self.starts_at.map(|time| time.timestamp_micros());
        let text = format!(
            "{} {} {starts_at:?} {}",
            self.student_id, self.tutor_id, self.minutes
        );
        Sha256::digest(text).to_vec()
    }
}

const BOOK: &str = "select outcome, reply, replayed from tutoring.book($1, $2, $3, $4, $5, $6, $7)";
/// The same with the trace that its event belongs to; told before, because the call depends on it.
const BOOK_TRACED: &str = "select b.outcome, b.reply, b.replayed
    from (select set_config('recarga.traceparent', $8, true) as trace) told
    cross join lateral tutoring.book(case when told.trace is not null then $1::text end, $2, $3, $4, $5, $6, $7) b";

#[derive(Clone)]
pub struct Store {
    instance: Instance,
    pool: PgPool,
}

#[derive(sqlx::FromRow)]
struct Row {
    booking_id: i64,
    student_id: i64,
    student: String,
    tutor_id: i64,
    tutor: String,
    subject: String,
    starts_at: DateTime<Utc>,
    ends_at: DateTime<Utc>,
    created_at: DateTime<Utc>,
    state: Option<String>,
    sent_at: Option<DateTime<Utc>>,
}

impl Store {
    #[must_use]
    pub fn new(instance: &Instance, pool: PgPool) -> Self {
        Self {
            instance: instance.clone(),
            pool,
        }
    }

    /// Books, or says why not; true when this repeats what was said to the same key before.
    pub async fn book(
        &self,
        caller: &str,
        key: Option<&str>,
        wish: &Wish,
    ) -> Result<(Result<Booked, Error>, bool), Error> {
        self.available()?;
        let event = traces::create("bookings");
        let call = sqlx::query_as(if event.is_some() { BOOK_TRACED } else { BOOK })
            .bind(caller)
            .bind(key)
            .bind(wish.hash())
            .bind(wish.student_id)
            .bind(wish.tutor_id)
            .bind(wish.starts_at)
            .bind(wish.minutes);
        let call = match &event {
            Some(event) => call.bind(event.traceparent()),
            None => call,
        };
        let (outcome, reply, replayed): (String, Value, bool) =
            timed("pg", call.fetch_one(&self.pool)).await?;
        if let Some(event) = event {
            event.end(outcome == "created" && !replayed);
        }
        let outcome = match outcome.as_str() {
            "created" => Ok(serde_json::from_value(reply).map_err(|_| Error::Unknown(outcome))?),
            "student_not_found" => Err(Error::StudentNotFound),
            "tutor_not_found" => Err(Error::TutorNotFound),
            "overlap" => Err(Error::Overlap),
            "key_reused" => Err(Error::KeyReused),
            "in_progress" => Err(Error::InProgress),
            _ => return Err(Error::Unknown(outcome)),
        };
        Ok((outcome, replayed))
    }

    pub async fn booking(&self, id: i64) -> Result<Option<Booking>, Error> {
        self.available()?;
        let query = sqlx::query_as(
            "select b.id as booking_id, b.student_id, s.name as student, b.tutor_id, t.name as tutor, t.subject, \
             b.starts_at, b.ends_at, b.created_at, n.state, n.sent_at \
             from tutoring.bookings b \
             join tutoring.students s on s.id = b.student_id \
             join tutoring.tutors t on t.id = b.tutor_id \
             left join notification.booking_states n on n.booking_id = b.id \
             where b.id = $1",
        )
        .bind(id)
        .fetch_optional(&self.pool);
        let row: Option<Row> = timed("pg", query).await?;
        Ok(row.map(|row| Booking {
            booking_id: row.booking_id,
            student_id: row.student_id,
            student: row.student,
            tutor_id: row.tutor_id,
            tutor: row.tutor,
            subject: row.subject,
            starts_at: row.starts_at,
            ends_at: row.ends_at,
            created_at: row.created_at,
            notification: Notification {
                // No row yet: the event is still on its way.
                state: row.state.unwrap_or_else(|| "pending".to_owned()),
                sent_at: row.sent_at,
            },
        }))
    }

    /// Refuses at once while PostgreSQL is known to be away, instead of waiting for a connection.
    fn available(&self) -> Result<(), Error> {
        if self.instance.check("postgres") {
            Ok(())
        } else {
            Err(Error::Away)
        }
    }
}
