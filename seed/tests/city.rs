//! A seeded town: the same every time, sound, and never seeded twice.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use futures::TryStreamExt;
use seed::{Error, Plan, Progress, Scale, Summary};
use sha2::{Digest, Sha256};
use sqlx::PgPool;
use sqlx::postgres::PgPoolCopyExt;
use support::{Answer, assert_sound, number};

const PLAN: Plan = Plan {
    scale: Scale::Town,
    seed: 1,
};

async fn seed(pool: &PgPool, plan: Plan) -> Summary {
    seed::run(pool, plan, |_| {}).await.unwrap()
}

/// A hash of all tables, rows in the order in which they are stored, and of where the ids go on.
async fn digest(pool: &PgPool) -> String {
    let tables: Vec<String> = sqlx::query_scalar(
        "select format('%I.%I', schemaname, tablename) from pg_tables
         where schemaname in ('travel', 'tutoring', 'notification', 'worker') and tablename <> 'seed_runs' order by 1",
    )
    .fetch_all(pool)
    .await
    .unwrap();
    let mut digest = Sha256::new();
    for table in tables {
        digest.update(&table);
        let mut rows = pool
            .copy_out_raw(&format!("copy {table} to stdout"))
            .await
            .unwrap();
        while let Some(piece) = rows.try_next().await.unwrap() {
            digest.update(&piece);
        }
    }
    let sequences: Vec<String> = sqlx::query_scalar(
        "select format('%s.%s %s', schemaname, sequencename, last_value) from pg_sequences order by 1",
    )
    .fetch_all(pool)
    .await
    .unwrap();
    digest.update(sequences.join("\n"));
    hex::encode(digest.finalize())
}

#[sqlx::test(migrations = false)]
async fn the_same_seed_gives_the_same_city(pool: PgPool) {
    seed::MIGRATOR.run(&pool).await.unwrap();
    let keys = "select string_agg(pg_get_constraintdef(oid) || conname, ';' order by conname) from pg_constraint
                where connamespace = 'travel'::regnamespace";
    let indexes = "select string_agg(indexdef, ';' order by indexdef) from pg_indexes where schemaname = 'travel'";
    let schema = || async {
        let keys: String = sqlx::query_scalar(keys).fetch_one(&pool).await.unwrap();
        let indexes: String = sqlx::query_scalar(indexes).fetch_one(&pool).await.unwrap();
        (keys, indexes)
    };
    let before = schema().await;
    assert!(!seed::is_seeded(&pool).await.unwrap());
    let summary = seed(&pool, PLAN).await;
    let first = digest(&pool).await;
    assert_eq!(
        schema().await,
        before,
        "keys and indexes are back as they were"
    );

    // An empty database again, in the same place.
    for again in [(PLAN, true), (Plan { seed: 2, ..PLAN }, false)] {
        sqlx::raw_sql("drop schema travel, tutoring, notification, worker cascade; drop table _sqlx_migrations")
            .execute(&pool)
            .await
            .unwrap();
        assert!(
            !seed::is_seeded(&pool).await.unwrap(),
            "false without a schema"
        );
        seed::MIGRATOR.run(&pool).await.unwrap();
        let other = seed(&pool, again.0).await;
        assert_eq!(digest(&pool).await == first, again.1);
        assert_eq!(other == summary, again.1);
    }
}

#[sqlx::test(migrations = "../migrations")]
async fn a_town_is_sound_and_has_what_others_rely_on(pool: PgPool) {
    let mut seen: Vec<Progress> = Vec::new();
    let summary = seed::run(&pool, PLAN, |progress| seen.push(progress))
        .await
        .unwrap();
    assert!(seed::is_seeded(&pool).await.unwrap());
    assert_sound(&pool).await;

    assert_eq!(
        (summary.cards, summary.trips, summary.users),
        (2_000, 40_000, 1_700)
    );
    for (table, rows) in [
        ("select count(*) from travel.cards", summary.cards),
        ("select travel.trips_total()", summary.trips),
        ("select count(*) from travel.recharges", summary.recharges),
        (
            "select count(*) from travel.ledger_entries",
            summary.ledger_entries,
        ),
        ("select count(*) from tutoring.tutors", summary.tutors),
        ("select count(*) from tutoring.students", summary.students),
    ] {
        assert_eq!(number(&pool, table).await.cast_unsigned(), rows, "{table}");
    }
    assert!(seen.iter().all(|progress| progress.done <= progress.total));
    for table in ["travel.trips", "travel.cards", "indexes"] {
        let last = seen
            .iter()
            .rfind(|progress| progress.table == table)
            .unwrap();
        assert_eq!(last.done, last.total, "{table}");
    }

    for (what, expected) in [
        ("select count(*) from travel.localities", 13),
        ("select count(distinct kind) from travel.routes", 4),
        ("select count(distinct kind) from travel.stations", 4),
        ("select count(*) from travel.route_stations where route_id = 1 and station_id = 1", 1),
        ("select count(*) from travel.cards where id <= 100 and status = 'active'", 100),
        ("select count(*) from travel.users where (id, username) in ((1, 'student1'), (2, 'student2'), (3, 'operator'))", 3),
        ("select count(*) from tutoring.students where (id, username) in ((1, 'student1'), (2, 'student2'))", 2),
        ("select count(*) from travel.credentials where password_hash like '$argon2id$%' and role = 'user'", 2),
        ("select count(*) from travel.credentials where user_id = 3 and password_hash = '!' and role = 'operator'", 1),
        ("select count(*) from tutoring.tutors where id = 1 and subject = 'Math'", 1),
        ("select count(distinct subject) from tutoring.tutors", 12),
        ("select count(*) from travel.trips where boarded_at < '2025-11-01 00:00-05' or ended_at >= '2026-11-01 00:30-05'", 0),
        // Nobody rides before their card exists, nor pays with somebody else's.
        ("select count(*) from travel.trips t join travel.cards c on c.id = t.card_id where t.boarded_at < c.created_at", 0),
        ("select count(*) from travel.recharges r join travel.cards c on c.id = r.card_id where r.user_id <> c.user_id", 0),
        ("select count(*) from travel.trips t where not exists (select from travel.route_stations s
            where s.route_id = t.route_id and s.station_id = t.station_id)", 0),
        // What the balance was after each step, taken from the steps themselves.
        ("select count(*) from (
            select balance_after, c.opening_balance + sum(amount) over (partition by m.card_id order by at, sign) as expected
            from (select card_id, boarded_at as at, 1 as sign, -fare as amount, balance_after from travel.trips
                  union all select card_id, created_at, 0, amount, balance_after from travel.recharges) m
            join travel.cards c on c.id = m.card_id) s where balance_after <> expected", 0),
    ] {
        assert_eq!(number(&pool, what).await, expected, "{what}");
    }
    // Both rush hours of a workday against the calm between them.
    assert_eq!(
        number(
            &pool,
            "select (count(*) filter (where h = 6) > 2 * count(*) filter (where h = 11)
                 and count(*) filter (where h = 18) > 2 * count(*) filter (where h = 14))::int::bigint
             from (select extract(hour from boarded_at at time zone 'America/Bogota') as h from travel.trips
                   where extract(isodow from boarded_at at time zone 'America/Bogota') < 6) t"
        )
        .await,
        1
    );
}

#[sqlx::test(migrations = "../migrations")]
async fn a_seeded_town_takes_writes(pool: PgPool) {
    seed(&pool, PLAN).await;
    let recharged: Answer = support::recharge(&pool, Some(("k", 1)), 1, 20_000, Some(1))
        .await
        .unwrap();
    assert_eq!(recharged.outcome, "created");
    assert_eq!(
        support::board(&pool, None, 1, 1, 1).await.outcome,
        "created"
    );
    assert_eq!(
        support::book(&pool, None, 1, 1, None, 60)
            .await
            .unwrap()
            .outcome,
        "created"
    );
    sqlx::query(
        "insert into travel.cards (user_id, opening_balance, balance) values (1, 500, 500)",
    )
    .execute(&pool)
    .await
    .unwrap();
    assert_sound(&pool).await;
}

#[sqlx::test(migrations = "../migrations")]
async fn a_city_is_never_seeded_twice(pool: PgPool) {
    let (one, two) = tokio::join!(
        seed::run(&pool, PLAN, |_| {}),
        seed::run(
            &pool,
            Plan {
                seed: u64::MAX,
                ..PLAN
            },
            |_| {}
        )
    );
    assert_eq!(
        usize::from(one.is_ok()) + usize::from(two.is_ok()),
        1,
        "{one:?} {two:?}"
    );
    let error = one.and(two).unwrap_err();
    assert!(
        matches!(error, Error::AlreadySeeded { ref scale, .. } if scale == "town"),
        "{error}"
    );
    assert!(error.to_string().contains("use an empty database"));
    assert_eq!(
        number(&pool, "select count(*) from travel.cards").await,
        2_000
    );
}

#[sqlx::test(migrations = "../migrations")]
async fn what_is_not_from_a_seed_is_left_alone(pool: PgPool) {
    support::world(&pool).await;
    let error = seed::run(&pool, PLAN, |_| {}).await.unwrap_err();
    assert!(matches!(error, Error::NotEmpty { .. }), "{error}");
    assert_eq!(number(&pool, "select count(*) from travel.cards").await, 3);
}

#[sqlx::test(migrations = "../migrations")]
async fn a_seed_that_breaks_off_leaves_nothing(pool: PgPool) {
    // The last table of all refuses its row.
    sqlx::raw_sql("alter table travel.seed_runs add constraint broken check (seed <> 1)")
        .execute(&pool)
        .await
        .unwrap();
    let error = seed::run(&pool, PLAN, |_| {}).await.unwrap_err();
    assert!(matches!(error, Error::Database(_)), "{error}");
    assert!(!seed::is_seeded(&pool).await.unwrap());
    assert_eq!(number(&pool, "select count(*) from travel.trips").await, 0);

    // Trying again gives the same city as a first try, although ids were drawn.
    sqlx::raw_sql("alter table travel.seed_runs drop constraint broken")
        .execute(&pool)
        .await
        .unwrap();
    seed(&pool, PLAN).await;
    assert_sound(&pool).await;
    assert_eq!(
        number(&pool, "select max(id) from travel.accounts").await,
        2_003
    );
}
