//! Databases and queues to take backups of, and to put them into.

use std::collections::BTreeMap;

use backup::Stores;
use redis::aio::MultiplexedConnection;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, PgPool};
use uuid::Uuid;

/// A database and the Redis of a queue that nobody else has.
pub struct Place {
    pub database: String,
    pub queue: String,
}

/// One with something in it.
pub struct Source {
    pub place: Place,
}

fn server() -> String {
    std::env::var("DATABASE_URL")
        .expect("DATABASE_URL is not set: run the tests with `cargo recarga test`")
}

async fn on_server(statement: String) {
    let mut connection = PgConnection::connect(&server()).await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(statement))
        .execute(&mut connection)
        .await
        .unwrap();
    connection.close().await.unwrap();
}

impl Place {
    pub async fn empty() -> Self {
        let name = format!("backup_{}", Uuid::new_v4().simple());
        on_server(format!("create database {name}")).await;
        let server = server();
        let (base, _) = server.rsplit_once('/').unwrap();
        Self {
            database: format!("{base}/{name}"),
            queue: kit::testing::redis_url().await,
        }
    }

    pub async fn remove(self) {
        let (_, name) = self.database.rsplit_once('/').unwrap();
        on_server(format!("drop database {name} with (force)")).await;
    }

    async fn connect(&self) -> PgConnection {
        PgConnection::connect(&self.database).await.unwrap()
    }

    pub async fn redis(&self) -> MultiplexedConnection {
        let client = redis::Client::open(self.queue.as_str()).unwrap();
        client.get_multiplexed_async_connection().await.unwrap()
    }

    /// Neither a schema of ours nor a key.
    pub async fn is_untouched(&self) -> bool {
        let schemas: i64 = sqlx::query_scalar(
            "select count(*) from pg_namespace where nspname in ('travel', 'worker')",
        )
        .fetch_one(&mut self.connect().await)
        .await
        .unwrap();
        schemas == 0 && self.queue_content().await.is_empty()
    }

    /// Keys, whether they expire, and their values as Redis packs them.
    pub async fn queue_content(&self) -> Vec<(String, bool, Vec<u8>)> {
        let mut redis = self.redis().await;
        let mut keys: Vec<String> = redis::cmd("KEYS")
            .arg("*")
            .query_async(&mut redis)
            .await
            .unwrap();
        keys.sort();
        let mut content = Vec::new();
        for key in keys {
            let left: i64 = redis::cmd("PTTL")
                .arg(&key)
                .query_async(&mut redis)
                .await
                .unwrap();
            let value: Vec<u8> = redis::cmd("DUMP")
                .arg(&key)
                .query_async(&mut redis)
                .await
                .unwrap();
            content.push((key, left > 0, value));
        }
        content
    }

    /// The states of the events, in their order.
    pub async fn outbox(&self) -> Vec<String> {
        sqlx::query_scalar("select state from travel.outbox order by id")
            .fetch_all(&mut self.connect().await)
            .await
            .unwrap()
    }

    /// 0 also when there is no such table.
    pub async fn people(&self) -> i64 {
        sqlx::query_scalar("select count(*) from travel.users")
            .fetch_one(&mut self.connect().await)
            .await
            .unwrap_or(0)
    }

    pub async fn migrations(&self) -> usize {
        let count: i64 = sqlx::query_scalar("select count(*) from _sqlx_migrations")
            .fetch_one(&mut self.connect().await)
            .await
            .unwrap();
        usize::try_from(count).unwrap()
    }

    /// The next recharge has the number that it would have had there, and everything that the schema guards is guarded.
    pub async fn goes_on_after(&self, other: &Self) {
        let mut numbers = Vec::new();
        for place in [self, other] {
            let recharge = "select (reply->>'recharge_id')::bigint from travel.recharge('student1', null, '\\x00', 1, 5000, null)";
            let mut connection = place.connect().await;
            sqlx::query("update travel.cards set status = 'active' where id = 1")
                .execute(&mut connection)
                .await
                .unwrap();
            let mut transaction = connection.begin().await.unwrap();
            let number: i64 = sqlx::query_scalar(recharge)
                .fetch_one(&mut *transaction)
                .await
                .unwrap();
            numbers.push(number);
            transaction.rollback().await.unwrap();
        }
        assert_eq!(numbers[0], numbers[1]);
        let disabled: i64 = sqlx::query_scalar(
            "select count(*) from pg_trigger where not tgisinternal and tgenabled = 'D'",
        )
        .fetch_one(&mut self.connect().await)
        .await
        .unwrap();
        assert_eq!(disabled, 0);
    }
}

impl Source {
    /// Our schemas, one person, one message.
    pub async fn small() -> Self {
        let place = Place::empty().await;
        let mut connection = place.connect().await;
        seed::MIGRATOR.run(&mut connection).await.unwrap();
        sqlx::query("insert into worker.tasks (payload, state, reason, finished_at) values ('{}', 'failed', $1, now())")
            .bind("a\tb\\\n\\.\nñ")
            .execute(&mut connection)
            .await
            .unwrap();
        let source = Self { place };
        source.send().await;
        source
    }

    /// A town, a queue, and events of which one was handed on a moment ago.
    pub async fn filled() -> Self {
        let place = Place::empty().await;
        let pool = PgPool::connect(&place.database).await.unwrap();
        seed::MIGRATOR.run(&pool).await.unwrap();
        let plan = seed::Plan {
            scale: seed::Scale::Town,
            seed: 1,
        };
        seed::run(&pool, plan, |_| ()).await.unwrap();
        for (state, delivered) in [
            ("delivered", "now() - interval '1 hour'"),
            ("delivered", "now()"),
            ("pending", "null"),
        ] {
            let statement = format!(
                "insert into travel.outbox (topic, payload, state, delivered_at) values ('t', '{{}}', '{state}', {delivered})"
            );
            sqlx::query(AssertSqlSafe(statement))
                .execute(&pool)
                .await
                .unwrap();
        }
        pool.close().await;
        let source = Self { place };
        source.send().await;
        source
    }

    async fn send(&self) {
        let mut redis = self.place.redis().await;
        let fields = BTreeMap::from([("body", "\u{0}ñ\n"), ("id", "1")]);
        let mut pipe = redis::pipe();
        pipe.cmd("SADD").arg("queue:names").arg("lab").ignore();
        pipe.cmd("XADD")
            .arg("queue:{lab}")
            .arg("1-1")
            .arg(fields)
            .ignore();
        pipe.cmd("ZADD")
            .arg("queue:{lab}:delayed")
            .arg(1.5)
            .arg("1-1")
            .ignore();
        pipe.cmd("SET")
            .arg("queue:{lab}:dedupe:x")
            .arg("1-1")
            .arg("PX")
            .arg(900_000)
            .ignore();
        pipe.query_async::<()>(&mut redis).await.unwrap();
    }

    pub fn stores(&self) -> Stores {
        Stores {
            database_url: self.place.database.clone(),
            redis_urls: vec![self.place.queue.clone()],
        }
    }
}
