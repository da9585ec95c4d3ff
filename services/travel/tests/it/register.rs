//! The register of cached keys: a recharge tells the cache what a cache may hold, and nothing else; race by race.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex},
};

use axum::{Json, Router, extract::State, routing::post};
use futures::future::join_all;
use http::Method;
use kit::testing::{eventually, free_address};
use serde_json::{Value, json};
use sqlx::{PgConnection, PgPool, migrate::Migrator, types};
use tokio::net::TcpListener;

use crate::support::{Cache, Lab, Setup, city};

static MIGRATIONS: Migrator = sqlx::migrate!("../../migrations");

/// Each read, and the key it is cached under.
const READS: [(&str, &str); 3] = [
    ("/cards/1/balance", "card:1:balance"),
    ("/cards/1/history?limit=1", "card:1:history"),
    ("/users/1/recharges", "user:1:recharges"),
];
const ALL: [&str; 3] = ["card:1:balance", "card:1:history", "user:1:recharges"];

/// Recharges card 1; what the cache was told.
async fn recharge(lab: &Lab) -> Vec<String> {
    let answer = lab
        .post("/recharges", json!({"card_id": 1, "amount": 1_000}))
        .await;
    assert_eq!(answer.status, 201, "{answer:?}");
    lab.cache.take()
}

/// Reads what may be cached.
#[track_caller]
fn may_be_cached(answer: &crate::support::Answer) -> bool {
    assert_eq!(answer.status, 200, "{answer:?}");
    match answer.header("cache-control") {
        None => true,
        Some("no-store") => false,
        other => panic!("{other:?}"),
    }
}

async fn registered(lab: &Lab) -> Vec<String> {
    sqlx::query_scalar("select key from travel.cached_keys order by key")
        .fetch_all(&lab.pool)
        .await
        .expect("the register")
}

async fn emptied(lab: &Lab) {
    eventually("the register is empty", async || {
        registered(lab).await.is_empty()
    })
    .await;
}

async fn run(pool: &PgPool, statement: &'static str) {
    sqlx::raw_sql(statement)
        .execute(pool)
        .await
        .expect(statement);
}

/// The recharge of card 1 as the service does it, in somebody's transaction; the keys it is told to have forgotten.
async fn write(connection: &mut PgConnection) -> Option<Vec<(String, i64)>> {
    let told: Option<types::Json<BTreeMap<String, i64>>> = sqlx::query_scalar(
        "select registered from travel.recharge('a', null, null, 1, 1000, null, null)",
    )
    .fetch_one(connection)
    .await
    .expect("a recharge");
    Some(told?.0.into_iter().collect())
}

async fn read(connection: &mut PgConnection) -> (bool, i64) {
    sqlx::query_as("select registered, balance from travel.read_balance('card:1:balance', 1)")
        .fetch_one(connection)
        .await
        .expect("a read")
}

#[sqlx::test(migrations = "../../migrations")]
async fn what_nobody_read_nobody_is_told_of(pool: PgPool) {
    let lab = Lab::start(pool).await;
    for _ in 0..3 {
        assert!(recharge(&lab).await.is_empty());
    }
    // Not what others read, either, nor what is not there.
    lab.get("/cards/3/balance").await;
    lab.get("/cards/99/balance").await.refused(404, "card");
    lab.get("/users/99/recharges").await.refused(404, "user");
    assert!(recharge(&lab).await.is_empty());
    assert_eq!(registered(&lab).await, ["card:3:balance"]);
    lab.audit().await;
}

#[sqlx::test(migrations = "../../migrations")]
async fn what_was_read_is_told_once(pool: PgPool) {
    let lab = Lab::start(pool).await;
    for (path, key) in READS {
        for _ in 0..2 {
            assert!(may_be_cached(&lab.get(path).await), "{path}");
        }
        assert_eq!(recharge(&lab).await, [key]);
        emptied(&lab).await;
        assert!(recharge(&lab).await.is_empty(), "{path}");
    }
    // Empty lists are answers, too.
    for (path, key) in [
        ("/cards/3/history", "card:3:history"),
        ("/users/2/recharges", "user:2:recharges"),
    ] {
        assert!(may_be_cached(&lab.get(path).await), "{path}");
        assert_eq!(registered(&lab).await.last().map(String::as_str), Some(key));
    }
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_group_tells_what_was_read_of_any_of_them(pool: PgPool) {
    let lab = Lab::start(pool).await;
    run(
        &lab.pool,
        "insert into travel.users (id, username, full_name) select n, 'u' || n, 'U' from generate_series(101, 160) n;
         insert into travel.cards (id, user_id) select n, n from generate_series(101, 160) n",
    )
    .await;
    let mut expected: Vec<String> = Vec::new();
    for card in (101..=160).step_by(3) {
        assert!(may_be_cached(
            &lab.get(&format!("/cards/{card}/history")).await
        ));
        expected.push(format!("card:{card}:history"));
    }
    // A group forms while all wait for one card.
    let mut holder = lab.pool.begin().await.expect("a transaction");
    sqlx::query("select from travel.cards where id in (101, 102) for update")
        .execute(&mut *holder)
        .await
        .expect("the lock");
    let first = join_all(
        [101, 102].map(|card| lab.post("/recharges", json!({"card_id": card, "amount": 1_000}))),
    );
    let others = async {
        lab.somebody_waits().await;
        let others = join_all(
            (103..=160)
                .map(|card| lab.post("/recharges", json!({"card_id": card, "amount": 1_000}))),
        );
        let release = async { holder.rollback().await.expect("released") };
        futures::future::join(others, release).await.0
    };
    let (first, others) = futures::future::join(first, others).await;
    for answer in first.iter().chain(&others) {
        assert_eq!(answer.status, 201, "{answer:?}");
    }
    assert_eq!(lab.cache.take(), expected);
    emptied(&lab).await;
    lab.get("/cards/101/balance").await;
    lab.get("/users/102/recharges").await;
    let told: Vec<Option<types::Json<BTreeMap<String, i64>>>> = sqlx::query_scalar(
        "select registered from travel.recharge_many(array['a', 'a'], array[null, null], array['\\x00', '\\x00']::bytea[],
             array[101, 102], array[1000, 1000], array[null, null]::bigint[], true, null)",
    )
    .fetch_all(&lab.pool)
    .await
    .expect("a group");
    let told: Vec<_> = told
        .into_iter()
        .map(|told| told.map(|told| told.0.into_keys().collect()))
        .collect();
    let both = ["card:101:balance", "user:102:recharges"].map(str::to_owned);
    assert_eq!(told, [Some(both.to_vec()), None]);
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_replay_tells_everything(pool: PgPool) {
    let lab = Lab::start(pool).await;
    let send = async || {
        lab.post_once("/recharges", "k", json!({"card_id": 1, "amount": 1_000}))
            .await
    };
    assert!(!send().await.replayed());
    assert!(lab.cache.take().is_empty());
    assert!(send().await.replayed());
    assert_eq!(lab.cache.take(), ALL);
}

#[sqlx::test(migrations = "../../migrations")]
async fn what_is_read_while_it_is_written_is_not_cached(pool: PgPool) {
    let lab = Lab::start(pool).await;
    let mut writer = lab.pool.begin().await.expect("a transaction");
    assert_eq!(write(&mut writer).await, Some(Vec::new()));
    for (path, _) in READS {
        let answer = lab.get(path).await;
        assert!(!may_be_cached(&answer), "{path}");
        if path.ends_with("balance") {
            assert_eq!(answer.body["balance"], 10_000);
        }
    }
    assert!(registered(&lab).await.is_empty());
    // Those of others are.
    assert!(may_be_cached(&lab.get("/cards/2/balance").await));
    writer.commit().await.expect("committed");
    let answer = lab.get("/cards/1/balance").await;
    assert!(may_be_cached(&answer));
    assert_eq!(answer.body["balance"], 11_000);
    assert_eq!(recharge(&lab).await, ["card:1:balance"]);
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_reader_who_waits_for_a_write_reads_what_it_wrote(pool: PgPool) {
    let lab = Lab::start(pool).await;
    let mut fresh = 0;
    for round in 1..=20 {
        let mut writer = lab.pool.begin().await.expect("a transaction");
        write(&mut writer).await.expect("complete");
        let mut read = std::pin::pin!(lab.get("/cards/1/balance"));
        let given_up = tokio::select! {
            answer = &mut read => Some(answer),
            () = lab.somebody_waits() => None,
        };
        writer.commit().await.expect("committed");
        let answer = match given_up {
            Some(answer) => answer,
            None => read.await,
        };
        if may_be_cached(&answer) {
            assert_eq!(answer.body["balance"], 10_000 + round * 1_000);
            fresh += 1;
        }
    }
    // He gives up where the machine is slow, but not always.
    assert!(fresh > 0);
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_write_that_meets_a_reader_tells_everything(pool: PgPool) {
    let lab = Lab::start(pool).await;
    let mut reader = lab.pool.begin().await.expect("a transaction");
    assert_eq!(read(&mut reader).await, (true, 10_000));
    // It does not wait for him.
    assert_eq!(recharge(&lab).await, ALL);
    reader.commit().await.expect("committed");
    // His key is on the register still: nobody knows whether he came before that.
    assert_eq!(recharge(&lab).await, ["card:1:balance"]);
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_write_sees_whoever_registered_while_it_waited_for_the_card(pool: PgPool) {
    let lab = Lab::start(pool).await;
    let mut holder = lab.pool.begin().await.expect("a transaction");
    sqlx::query("select from travel.cards where id = 1 for update")
        .execute(&mut *holder)
        .await
        .expect("the lock");
    let reader = async {
        lab.somebody_waits().await;
        // The recharge's query has begun: its own snapshot does not have this.
        assert!(may_be_cached(&lab.get("/cards/1/history").await));
        holder.rollback().await.expect("released");
    };
    let (told, ()) = futures::future::join(recharge(&lab), reader).await;
    assert_eq!(told, ["card:1:history"]);
}

#[sqlx::test(migrations = "../../migrations")]
async fn only_the_registration_that_was_found_is_taken_off(pool: PgPool) {
    let lab = Lab::start(pool).await;
    let mut connection = lab.pool.acquire().await.expect("a connection");
    let unregister = async |versions: &[i64]| -> i64 {
        sqlx::query_scalar(
            "select travel.unregister_keys(array_fill('card:1:balance'::text, array[cardinality($1)]), $1)",
        )
        .bind(versions)
        .fetch_one(&lab.pool)
        .await
        .expect("a deletion")
    };
    read(&mut connection).await;
    let mut writer = lab.pool.begin().await.expect("a transaction");
    let found = write(&mut writer).await.expect("complete");
    writer.commit().await.expect("committed");
    let [(_, old)] = found[..] else {
        panic!("{found:?}");
    };
    // Somebody else reads before it is taken off.
    read(&mut connection).await;
    assert_eq!(unregister(&[old]).await, 0);
    assert_eq!(recharge(&lab).await, ["card:1:balance"]);
    emptied(&lab).await;

    // While somebody registers it, it is left alone, and nobody waits.
    read(&mut connection).await;
    let version: i64 = sqlx::query_scalar("select version from travel.cached_keys")
        .fetch_one(&lab.pool)
        .await
        .expect("a version");
    let mut reader = lab.pool.begin().await.expect("a transaction");
    read(&mut reader).await;
    assert_eq!(unregister(&[version, version + 1]).await, 0);
    reader.commit().await.expect("committed");
    assert_eq!(unregister(&[version]).await, 0);
    assert_eq!(unregister(&[version, version + 1]).await, 1);
    assert!(registered(&lab).await.is_empty());
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_lost_register_counts_as_full_until_caches_have_expired(pool: PgPool) {
    let lab = Lab::start(pool).await;
    assert!(recharge(&lab).await.is_empty());
    // As a crash leaves it.
    run(
        &lab.pool,
        "truncate travel.cached_keys, travel.cached_keys_complete",
    )
    .await;
    assert_eq!(recharge(&lab).await, ALL);
    run(&lab.pool, "select travel.begin_register()").await;
    run(&lab.pool, "select travel.begin_register()").await;
    assert_eq!(recharge(&lab).await, ALL);
    run(
        &lab.pool,
        "update travel.cached_keys_complete set since = now() - travel.longest_cached() + interval '1 minute'",
    )
    .await;
    assert_eq!(recharge(&lab).await, ALL);
    run(
        &lab.pool,
        "update travel.cached_keys_complete set since = now() - travel.longest_cached() - interval '1 second'",
    )
    .await;
    assert!(recharge(&lab).await.is_empty());
    let longest: i64 =
        sqlx::query_scalar("select extract(epoch from travel.longest_cached())::bigint")
            .fetch_one(&lab.pool)
            .await
            .expect("an interval");
    assert_eq!(
        longest,
        2 * i64::from(kit::caching::LONGEST_WINDOW) + 60 * 60
    );
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_new_instance_begins_a_lost_register(pool: PgPool) {
    city(&pool).await;
    run(&pool, "truncate travel.cached_keys_complete").await;
    let lab = Lab::with(Setup {
        pool,
        cache: None,
        now: None,
    })
    .await;
    eventually("it has a mark again", async || {
        lab.count("select count(*) from travel.cached_keys_complete where since > now() - interval '1 hour'")
            .await
            == 1
    })
    .await;
    assert_eq!(recharge(&lab).await, ALL);
}

#[sqlx::test(migrations = false)]
async fn an_old_database_begins_with_a_full_register(pool: PgPool) {
    for migration in MIGRATIONS.iter() {
        if migration.version == 14 {
            city(&pool).await;
        }
        sqlx::raw_sql(migration.sql.clone())
            .execute(&pool)
            .await
            .expect("a migration");
    }
    let lab = Lab::with(Setup {
        pool,
        cache: None,
        now: None,
    })
    .await;
    assert_eq!(recharge(&lab).await, ALL);
}

#[sqlx::test(migrations = "../../migrations")]
async fn whoever_dies_after_the_commit_leaves_it_to_the_next(pool: PgPool) {
    let lab = Lab::start(pool).await;
    assert!(may_be_cached(&lab.get("/cards/1/balance").await));
    let mut dying = lab.pool.acquire().await.expect("a connection");
    let found = write(&mut dying).await.expect("complete");
    assert_eq!(found.len(), 1);
    assert!(lab.cache.take().is_empty());
    // It committed and told nobody. The next one does.
    assert_eq!(recharge(&lab).await, ["card:1:balance"]);
}

#[sqlx::test(migrations = "../../migrations")]
async fn what_the_cache_did_not_confirm_stays_registered(pool: PgPool) {
    city(&pool).await;
    let address = free_address();
    let lab = Lab::with(Setup {
        pool,
        cache: Some(address),
        now: None,
    })
    .await;
    assert!(may_be_cached(&lab.get("/cards/1/balance").await));
    // There is no cache, which is as good, but it may have been away for us alone.
    assert!(recharge(&lab).await.is_empty());
    let cache = Cache::default();
    cache.listen(&address.to_string()).await;
    eventually("it is told later", async || cache.hears()).await;
    assert_eq!(cache.take(), ["card:1:balance"]);
    assert_eq!(registered(&lab).await, ["card:1:balance"]);
    assert!(recharge(&lab).await.is_empty());
    assert_eq!(cache.take(), ["card:1:balance"]);
    emptied(&lab).await;
}

#[sqlx::test(migrations = "../../migrations")]
async fn what_one_instance_read_the_other_tells(pool: PgPool) {
    let one = Lab::start(pool.clone()).await;
    let other = Lab::with(Setup {
        pool,
        cache: None,
        now: None,
    })
    .await;
    assert!(may_be_cached(&one.get("/users/1/recharges").await));
    assert_eq!(recharge(&other).await, ["user:1:recharges"]);
    emptied(&one).await;
    assert!(recharge(&one).await.is_empty());
}

#[sqlx::test(migrations = "../../migrations")]
async fn who_may_not_write_reads_all_the_same(pool: PgPool) {
    let lab = Lab::start(pool).await;
    let mut reader = lab.pool.begin().await.expect("a transaction");
    sqlx::query("set transaction read only")
        .execute(&mut *reader)
        .await
        .expect("read only");
    assert_eq!(read(&mut reader).await, (false, 10_000));
}

/// A cache as the gateways and the cache service are one together: what is asked for before a deletion is not kept after it.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<HashMap<String, Slot>>>);

/// How often a key was deleted, and the balance kept under it.
type Slot = (u64, Option<i64>);

impl Kept {
    fn look(&self, key: &str) -> Slot {
        self.0
            .lock()
            .expect("no panic")
            .get(key)
            .copied()
            .unwrap_or_default()
    }

    fn keep(&self, key: &str, epoch: u64, balance: i64) {
        let mut kept = self.0.lock().expect("no panic");
        let entry = kept.entry(key.to_owned()).or_default();
        if entry.0 == epoch {
            entry.1 = Some(balance);
        }
    }

    async fn listen(&self) -> std::net::SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let forget = async |State(Self(kept)): State<Self>, Json(body): Json<Value>| {
            let keys: Vec<String> = serde_json::from_value(body["keys"].clone()).expect("keys");
            let mut kept = kept.lock().expect("no panic");
            for key in &keys {
                let entry = kept.entry(key.clone()).or_default();
                *entry = (entry.0 + 1, None);
            }
            Json(json!({ "count": keys.len() }))
        };
        let router = Router::new()
            .route("/invalidate", post(forget))
            .with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        address
    }
}

#[sqlx::test(migrations = "../../migrations")]
async fn no_read_shows_the_value_from_before_a_write(pool: PgPool) {
    city(&pool).await;
    let kept = Kept::default();
    let lab = Lab::with(Setup {
        pool,
        cache: Some(kept.listen().await),
        now: None,
    })
    .await;
    let cards = [1, 3];
    // What each card has at least, as writers were answered.
    let least = Mutex::new(HashMap::from([(1, 10_000), (3, 0)]));
    let hits = Mutex::new(0);
    let reader = async |number: i64| {
        for round in 0..400 {
            let card = cards[usize::try_from((number + round) % 2).expect("small")];
            let expected = least.lock().expect("no panic")[&card];
            let key = format!("card:{card}:balance");
            let (epoch, found) = kept.look(&key);
            let balance = if let Some(balance) = found {
                *hits.lock().expect("no panic") += 1;
                balance
            } else {
                let answer = lab.get(&format!("/cards/{card}/balance")).await;
                let balance = answer.body["balance"].as_i64().expect("a balance");
                if may_be_cached(&answer) {
                    kept.keep(&key, epoch, balance);
                }
                balance
            };
            assert!(balance >= expected, "{balance} after {expected}");
            tokio::task::yield_now().await;
        }
    };
    let writer = async |number: i64| {
        for round in 0..60 {
            let card = cards[usize::try_from((number + round) % 2).expect("small")];
            let body = json!({"card_id": card, "amount": 1_000});
            let answer = lab.post("/recharges", body).await;
            assert_eq!(answer.status, 201, "{answer:?}");
            let balance = answer.body["balance"].as_i64().expect("a balance");
            let mut least = least.lock().expect("no panic");
            let least = least.get_mut(&card).expect("a card");
            *least = balance.max(*least);
        }
    };
    let readers = join_all((0..4).map(reader));
    let writers = join_all((0..3).map(writer));
    futures::future::join(readers, writers).await;
    assert!(*hits.lock().expect("no panic") > 0);
    let waiting = lab.count("select count(*) from travel.recharges").await;
    assert_eq!(waiting, 180);
    lab.audit().await;
}

#[sqlx::test(migrations = "../../migrations")]
async fn what_is_not_a_recharge_tells_everything(pool: PgPool) {
    let lab = Lab::start(pool).await;
    let body = json!({"card_id": 1, "route_id": 1, "station_id": 1});
    let boarded = lab
        .send(Method::POST, "/trips", &[], Some(body.to_string()))
        .await;
    assert_eq!(boarded.status, 201, "{boarded:?}");
    assert_eq!(lab.cache.take().len(), 7);
    let end = format!("/trips/{}/end", boarded.body["trip_id"]);
    assert_eq!(lab.post(&end, json!({"station_id": 3})).await.status, 200);
    assert_eq!(lab.cache.take().len(), 2);
}
