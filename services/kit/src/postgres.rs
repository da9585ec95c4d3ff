//! PostgreSQL: a lazy pool that survives the server's absence and follows a failover, and the check that reports it.

mod replica;
pub mod schema;
mod servers;

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use sqlx::{
    Connection as _, PgConnection, Postgres,
    pool::PoolConnection,
    postgres::{PgPool, PgPoolOptions},
};

use crate::{DatabaseArgs, Error, Instance};

pub use replica::Replica;
pub use schema::Schema;
pub use servers::{Flaw, Place, Servers, Standing, Wanted};

/// How long a request waits for a connection: a full or absent database is told soon.
const ACQUIRE: Duration = Duration::from_secs(2);
/// How long it waits when the last check found the server away.
const ACQUIRE_WHEN_AWAY: Duration = Duration::from_millis(100);
/// How often the server is asked whether it is there.
const CHECK: Duration = Duration::from_millis(500);
/// How often the other servers are looked at: one of them may have been promoted while ours does not know.
const OTHERS_CHECK: Duration = Duration::from_secs(5);
/// How often its schema is looked at when nothing was wrong with it.
const SCHEMA_CHECK: Duration = Duration::from_secs(10);
/// How long it may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// A pool that connects when first used, with a background check named `postgres`.
pub fn connect(instance: &Instance, args: &DatabaseArgs) -> Result<PgPool, Error> {
    let setting = "RECARGA_DATABASE_URL (--database-url)";
    let (pool, mut watch) = watched(
        instance,
        Some("postgres"),
        setting,
        &args.database_url.0,
        args.database_connections,
    )?;
    watch.schema = Some(Seen::default());
    instance.spawn(watch.keep(instance.clone()));
    Ok(pool)
}

/// The way to the same database for what keeps a session of its own: past a pooler in front of it, if there is one.
pub fn direct(instance: &Instance, args: &DatabaseArgs, pooled: &PgPool) -> Result<PgPool, Error> {
    let Some(url) = &args.database_direct_url else {
        return Ok(pooled.clone());
    };
    let setting = "RECARGA_DATABASE_DIRECT_URL (--database-direct-url)";
    let (pool, watch) = watched(instance, Some("postgres-direct"), setting, &url.0, 1)?;
    instance.spawn(watch.keep(instance.clone()));
    Ok(pool)
}

fn watched(
    instance: &Instance,
    check: Option<&'static str>,
    setting: &'static str,
    url: &str,
    connections: u32,
) -> Result<(PgPool, Watch), Error> {
    let servers = Servers::parse(url)
        .map_err(|flaw| Error::config(setting, flaw))?
        .with(|options| {
            options.application_name(instance.name()).options([
                ("statement_timeout", "10000"),
                ("idle_in_transaction_session_timeout", "5000"),
            ])
        });
    let outage = Outage::default();
    let seen = outage.clone();
    let pool = PgPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(ACQUIRE)
        // A round trip per request otherwise; connections from before an outage are known to be broken without it.
        .test_before_acquire(false)
        .before_acquire(move |_, connection| {
            let sound = !outage.came_after(Instant::now().checked_sub(connection.age));
            Box::pin(async move { Ok(sound) })
        })
        .max_lifetime(Duration::from_mins(30))
        .connect_lazy_with(servers.first().clone());
    let watch = Watch {
        check,
        servers: Some(servers),
        pool: pool.clone(),
        outage: seen,
        is_up: Arc::default(),
        schema: None,
        connection: None,
    };
    Ok((pool, watch))
}

/// When the server was last seen away.
#[derive(Clone, Debug, Default)]
struct Outage(Arc<Mutex<Option<Instant>>>);

impl Outage {
    fn seen(&self, now: Instant) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(now);
    }

    /// Whether the server was away after that moment; `None` is before everything.
    fn came_after(&self, moment: Option<Instant>) -> bool {
        let last = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        last.is_some_and(|last| moment.is_none_or(|moment| moment < last))
    }
}

/// Reports the `postgres` check for a pool until the shutdown.
pub fn watch(instance: &Instance, pool: PgPool) {
    let watch = Watch {
        check: Some("postgres"),
        servers: None,
        pool,
        outage: Outage::default(),
        is_up: Arc::default(),
        schema: None,
        connection: None,
    };
    instance.spawn(watch.keep(instance.clone()));
}

/// Asks a server, over a connection of its own, whether it is there: a busy pool is not an absent server, and a connection that
/// broke tells of a restart. When it is away or not what is wanted any more, the pool is sent to another one.
struct Watch {
    /// What readiness depends on, if anything.
    check: Option<&'static str>,
    servers: Option<Servers>,
    pool: PgPool,
    outage: Outage,
    is_up: Arc<AtomicBool>,
    /// Whether the schema is looked at, too.
    schema: Option<Seen>,
    connection: Option<PgConnection>,
}

/// The schema as it was last seen.
#[derive(Default)]
struct Seen {
    schema: Option<Schema>,
    /// When it is looked at again, though nothing was wrong with it.
    again: Option<Instant>,
}

impl Watch {
    async fn keep(mut self, instance: Instance) {
        // Why it could not be used the last time, told once.
        let mut reason: Option<String> = None;
        let mut others = Instant::now() + OTHERS_CHECK;
        loop {
            let answer = match self.answers().await {
                Ok(standing) => self.is_newest(standing, &mut others).await,
                Err(why) => Err(why),
            };
            let mut up = answer.is_ok();
            if let Err(why) = answer {
                self.outage.seen(Instant::now());
                up = self.move_on().await;
                if !up && reason.as_ref() != Some(&why) {
                    tracing::warn!(reason = why, "the database cannot be used");
                    reason = Some(why);
                }
            }
            if up {
                reason = None;
            }
            self.is_up.store(up, Ordering::Release);
            // First: who has the database but not its schema is at no moment ready.
            self.look_at_schema(&instance).await;
            if let Some(check) = self.check {
                instance.set_check(check, up);
            }
            tokio::select! {
                () = tokio::time::sleep(CHECK) => {}
                () = instance.shutdown().requested() => break,
            }
        }
    }

    async fn answers(&mut self) -> Result<Standing, String> {
        let kept = self.connection.take();
        let asked = async {
            let mut connection = match kept {
                Some(connection) => connection,
                None => PgConnection::connect_with(&self.pool.connect_options()).await?,
            };
            let standing = Standing::of(&mut connection).await?;
            Ok::<_, sqlx::Error>((connection, standing))
        };
        let (connection, standing) = match tokio::time::timeout(PATIENCE, asked).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => return Err(error.to_string()),
            Err(_) => return Err("it does not answer in time".to_owned()),
        };
        let wanted = self.servers.as_ref().map_or(Wanted::Any, Servers::wanted);
        if !standing.fits(wanted) {
            return Err("it is not what target_session_attrs asks for".to_owned());
        }
        self.connection = Some(connection);
        Ok(standing)
    }

    /// Whether no other server was promoted after ours, which is then a primary no more and does not know it.
    async fn is_newest(&mut self, ours: Standing, at: &mut Instant) -> Result<(), String> {
        let several = self.servers.as_ref().filter(|all| all.are_several());
        let Some(servers) = several.filter(|_| Instant::now() >= *at) else {
            return Ok(());
        };
        let found = servers.find().await;
        *at = Instant::now() + OTHERS_CHECK;
        if found.is_some_and(|(_, found)| found.timeline > ours.timeline && !ours.is_standby) {
            self.connection = None;
            return Err("another server was promoted after it".to_owned());
        }
        Ok(())
    }

    /// An instance without the schema that it needs is not ready: until there is one, or for good when it is too new.
    async fn look_at_schema(&mut self, instance: &Instance) {
        let (Some(seen), Some(connection)) = (&mut self.schema, &mut self.connection) else {
            return;
        };
        let now = Instant::now();
        if seen.again.is_some_and(|again| now < again) {
            return;
        }
        let looking = tokio::time::timeout(PATIENCE, Schema::of(connection));
        let Ok(Ok(schema)) = looking.await else {
            self.connection = None;
            return;
        };
        seen.again = schema.is_usable().then(|| now + SCHEMA_CHECK);
        if seen.schema.replace(schema) != Some(schema) {
            match schema {
                Schema::Same => tracing::debug!("{schema}"),
                Schema::Newer { .. } => tracing::info!("{schema}"),
                Schema::Missing | Schema::Older { .. } => tracing::warn!("{schema}"),
                Schema::TooNew { .. } => tracing::error!("{schema}"),
            }
        }
        instance.set_check("schema", schema.is_usable());
    }

    /// Sends the pool to another server, if there is one that fits. Connections to the one before are not used again.
    async fn move_on(&mut self) -> bool {
        let Some(servers) = self.servers.as_ref().filter(|all| all.are_several()) else {
            return false;
        };
        let Some((found, _)) = servers.find().await else {
            return false;
        };
        let before = self.pool.connect_options();
        let (from, to) = (Place(&before).to_string(), Place(found).to_string());
        if from != to {
            self.pool.set_connect_options(found.clone());
            tracing::warn!(
                from,
                to,
                "another server of the database is used from now on"
            );
        }
        self.outage.seen(Instant::now());
        true
    }
}

/// A connection of the pool. While the server is known to be away the wait is short: it fails fast, yet notices the
/// server's return before the next check does.
pub async fn acquire(
    instance: &Instance,
    pool: &PgPool,
) -> Result<PoolConnection<Postgres>, sqlx::Error> {
    if instance.check("postgres") {
        return pool.acquire().await;
    }
    tokio::time::timeout(ACQUIRE_WHEN_AWAY, pool.acquire())
        .await
        .unwrap_or(Err(sqlx::Error::PoolTimedOut))
}

/// Whether an error means that the server is away, overloaded or going, rather than that the query is wrong.
#[must_use]
pub fn is_unavailable(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed
        | sqlx::Error::Protocol(_) => true,
        // 08 connection, 53 resources, 57P operator intervention (shutdown, crash, cannot connect now); a statement or
        // lock that took too long, and a transaction that had to yield to another.
        sqlx::Error::Database(error) => error.code().is_some_and(|code| {
            code.starts_with("08")
                || code.starts_with("53")
                || code.starts_with("57P")
                // The last: it was a primary until now, and another one is looked for.
                || matches!(&*code, "57014" | "55P03" | "40001" | "40P01" | "25006")
        }),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_from_before_an_outage_are_known() {
        let outage = Outage::default();
        let start = Instant::now();
        assert!(!outage.came_after(Some(start)));
        outage.seen(start + Duration::from_secs(5));
        assert!(outage.came_after(Some(start)));
        assert!(outage.came_after(None));
        assert!(!outage.came_after(Some(start + Duration::from_secs(6))));
    }
}
