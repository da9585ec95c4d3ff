//! What is too old is forgotten, what is not stays, and the count of events does not change.

use std::time::Duration;

use kit::{
    Common, Service, Shutdown,
    retention::{self, Aged, Retention},
    testing::eventually,
};
use sqlx::PgPool;

async fn count(pool: &PgPool, query: &'static str) -> i64 {
    sqlx::query_scalar(query)
        .fetch_one(pool)
        .await
        .expect("a count")
}

#[sqlx::test(migrations = "../../migrations")]
async fn old_keys_and_events_go_and_stay_counted(pool: PgPool) {
    for statement in [
        "insert into travel.idempotency_claims (caller, route, key, body_hash, outcome, reply, created_at)
         select 'a', 'recharge', n::text, '', 'created', '{}', now() - make_interval(hours => 20 + n)
         from generate_series(1, 8) n",
        "insert into travel.outbox (topic, payload, state, delivered_at)
         select 'recharges', '{}', 'delivered', now() - make_interval(mins => n) from generate_series(8, 11) n",
        "insert into travel.outbox (topic, payload, state, created_at)
         select 'recharges', '{}', s, now() - interval '1 year' from unnest(array['pending', 'dead', 'dead']) s",
    ] {
        sqlx::query(statement).execute(&pool).await.expect(statement);
    }
    let account = "select delivered * 100 + pending * 10 + dead from travel.outbox_account";
    assert_eq!(count(&pool, account).await, 412);

    let shutdown = Shutdown::new();
    let service =
        Service::new("test", &Common::for_tests("test-1"), shutdown.clone()).expect("a service");
    let instance = service.instance();
    let retention = Retention {
        key_hours: 24,
        event_minutes: 10,
    };
    retention::keep(instance, &pool, "travel", retention);
    eventually("the old ones are gone", async || {
        let text = instance.metrics().encode();
        let swept = |what: &str, number: i64| {
            text.contains(&format!(
                "recarga_retention_{what}_total{{role=\"test\",instance=\"test-1\"}} {number}\n"
            ))
        };
        swept("keys", 5) && swept("events", 2)
    })
    .await;
    assert_eq!(
        count(
            &pool,
            "select max(key::bigint) from travel.idempotency_claims"
        )
        .await,
        3
    );
    assert_eq!(count(&pool, "select count(*) from travel.outbox").await, 5);
    assert_eq!(count(&pool, account).await, 412);
    shutdown.request();
}

#[sqlx::test(migrations = "../../migrations")]
async fn another_table_is_swept_by_its_own_time(pool: PgPool) {
    let statement = "insert into travel.cached_keys (key, version, registered_at)
         select n::text, n, now() - make_interval(hours => n) from generate_series(47, 52) n";
    sqlx::query(statement)
        .execute(&pool)
        .await
        .expect(statement);
    let shutdown = Shutdown::new();
    let service =
        Service::new("test", &Common::for_tests("test-1"), shutdown.clone()).expect("a service");
    let aged = Aged {
        name: "travel.cached_keys",
        column: "registered_at",
        age: Duration::from_hours(50),
        metric: "recarga_retention_cached_keys",
        help: "Registrations",
    };
    retention::keep_also(service.instance(), &pool, aged);
    eventually("the old ones are gone", async || {
        count(&pool, "select count(*) from travel.cached_keys").await == 3
    })
    .await;
    let oldest = count(&pool, "select max(key::bigint) from travel.cached_keys").await;
    assert_eq!(oldest, 49);
    shutdown.request();
}
