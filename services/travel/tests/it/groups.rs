//! Writes in groups come to what they come to one by one, whatever is in the group.

use std::time::Duration;

use futures::future::join_all;
use proptest::{
    prelude::*,
    strategy::ValueTree,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use serde_json::{Value, json};
use sqlx::{PgConnection, PgPool, Row};

use crate::support::{Lab, city};

/// One item; indexes into small sets, so that items meet.
#[derive(Clone, Debug)]
struct Item {
    caller: u8,
    key: Option<u8>,
    body: u8,
    card: i64,
    amount: i64,
    place: i64,
    route: i64,
}

fn item() -> impl Strategy<Value = Item> {
    (
        0..2_u8,
        prop::option::weighted(0.7, 0..12_u8),
        0..5_u8,
        prop_oneof![6 => 1..=1_i64, 2 => 3..=3_i64, 1 => 2..=2_i64, 1 => 99..=99_i64],
        1..=3_i64,
        prop_oneof![6 => 1..=2_i64, 1 => 9..=9_i64],
        prop_oneof![6 => 1..=2_i64, 1 => 9..=9_i64],
    )
        .prop_map(|(caller, key, body, card, amount, place, route)| Item {
            caller,
            key,
            // Mostly the same body, so that keys are replayed as well as refused.
            body: body / 4,
            card,
            amount: amount * 1_000,
            place,
            route,
        })
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Recharge,
    Board,
}

impl Kind {
    fn many(self) -> &'static str {
        match self {
            Self::Recharge => {
                "select outcome, reply, replayed from travel.recharge_many($1, $2, $3, $4, $5, $6)"
            }
            Self::Board => {
                "select outcome, reply, replayed from travel.board_many($1, $2, $3, $4, $5, $6)"
            }
        }
    }

    fn one(self) -> &'static str {
        match self {
            Self::Recharge => {
                "select outcome, reply, replayed from travel.recharge($1, $2, $3, $4, $5, $6)"
            }
            Self::Board => {
                "select outcome, reply, replayed from travel.board($1, $2, $3, $4, $5, $6)"
            }
        }
    }

    /// The fifth and sixth argument.
    fn rest(self, item: &Item) -> (i64, Option<i64>) {
        match self {
            Self::Recharge => (item.amount, (item.place != 2).then_some(item.place)),
            Self::Board => (item.route, Some(item.place)),
        }
    }
}

type Answer = (String, Value, bool);

fn answer(row: &sqlx::postgres::PgRow) -> Answer {
    let mut reply: Value = row.get("reply");
    if let Some(reply) = reply.as_object_mut() {
        reply.remove("created_at");
        reply.remove("boarded_at");
        // Boardings of different cards may be numbered in another order.
        reply.remove("trip_id");
    }
    (row.get("outcome"), reply, row.get("replayed"))
}

async fn together(connection: &mut PgConnection, kind: Kind, items: &[Item]) -> Vec<Answer> {
    let hashes: Vec<Vec<u8>> = items.iter().map(|item| vec![item.body]).collect();
    let callers: Vec<String> = items.iter().map(|item| item.caller.to_string()).collect();
    let keys: Vec<Option<String>> = items
        .iter()
        .map(|item| item.key.map(|key| key.to_string()))
        .collect();
    let cards: Vec<i64> = items.iter().map(|item| item.card).collect();
    let (fifth, sixth): (Vec<i64>, Vec<Option<i64>>) =
        items.iter().map(|item| kind.rest(item)).unzip();
    sqlx::query(kind.many())
        .bind(callers)
        .bind(keys)
        .bind(hashes)
        .bind(cards)
        .bind(fifth)
        .bind(sixth)
        .fetch_all(connection)
        .await
        .expect("the group is committed")
        .iter()
        .map(answer)
        .collect()
}

async fn one_by_one(connection: &mut PgConnection, kind: Kind, items: &[Item]) -> Vec<Answer> {
    let mut answers = Vec::new();
    for item in items {
        let (fifth, sixth) = kind.rest(item);
        let row = sqlx::query(kind.one())
            .bind(item.caller.to_string())
            .bind(item.key.map(|key| key.to_string()))
            .bind(vec![item.body])
            .bind(item.card)
            .bind(fifth)
            .bind(sixth)
            .fetch_one(&mut *connection)
            .await
            .expect("it is committed");
        answers.push(answer(&row));
    }
    answers
}

/// Everything a write can change, without times.
async fn state(connection: &mut PgConnection) -> Vec<String> {
    let mut lines = Vec::new();
    for query in [
        "select format('card %s %s', id, balance) from travel.cards order by id",
        "select format('recharge %s %s %s %s %s %s', id, card_id, user_id, recharge_point_id, amount, balance_after)
         from travel.recharges order by id",
        "select format('trip %s %s %s %s %s %s', name, route_id, station_id, fare, transfer, balance_after)
         from public.named_trips order by name",
        "select format('entry %s %s %s %s %s', e.debit_account, e.credit_account, e.amount, e.kind,
             case e.kind when 'fare' then t.name else e.reference::text end) as line
         from travel.ledger_entries e left join public.named_trips t on t.id = e.reference order by line",
        "select format('event %s %s %s', topic, payload, state) from travel.outbox order by id",
        "select format('claim %s %s %s %s %s %s', c.caller, c.route, c.key, c.body_hash, c.outcome,
             c.reply - 'created_at' - 'boarded_at' - 'trip_id' || coalesce(jsonb_build_object('trip', t.name), '{}'))
         from travel.idempotency_claims c left join public.named_trips t on t.id = (c.reply->>'trip_id')::bigint
         order by c.caller, c.route, c.key",
        "select format('user %s %s', id, last_active_at > now() - interval '1 hour') from travel.users order by id",
    ] {
        let some: Vec<String> = sqlx::query_scalar(query)
            .fetch_all(&mut *connection)
            .await
            .expect("the state");
        lines.extend(some);
    }
    lines
}

/// Numbers are drawn from the same place on; a sequence does not roll back.
async fn rewind(connection: &mut PgConnection) {
    for sequence in ["recharges", "trips"] {
        sqlx::query(
            "select setval(('travel.' || $1 || '_id_seq')::regclass,
             greatest((select max(id) from travel.recharges), (select max(id) from travel.trips), 1))",
        )
        .bind(sequence)
        .execute(&mut *connection)
        .await
        .expect("a sequence");
    }
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_group_comes_to_what_its_items_come_to_one_by_one(pool: PgPool) {
    city(&pool).await;
    sqlx::query(
        "create view public.named_trips as
         select t.*, format('%s:%s', card_id, row_number() over (partition by card_id order by id)) as name
         from travel.trips t",
    )
    .execute(&pool)
    .await
    .expect("a view");
    let mut runner = TestRunner::new_with_rng(
        Config::default(),
        TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]),
    );
    let group = (any::<bool>(), prop::collection::vec(item(), 1..14));
    let (mut created, mut replayed) = (0, 0);
    for case in 0..120 {
        let (recharges, items) = group.new_tree(&mut runner).expect("a group").current();
        let kind = if recharges {
            Kind::Recharge
        } else {
            Kind::Board
        };
        let mut transaction = pool.begin().await.expect("a transaction");
        rewind(&mut transaction).await;
        let expected = one_by_one(&mut transaction, kind, &items).await;
        let expected_state = state(&mut transaction).await;
        transaction.rollback().await.expect("taken back");

        let mut transaction = pool.begin().await.expect("a transaction");
        rewind(&mut transaction).await;
        let answers = together(&mut transaction, kind, &items).await;
        let reached = state(&mut transaction).await;
        // What one case leaves, the next finds: keys that are known, balances that do not suffice.
        transaction.commit().await.expect("kept");

        assert_eq!(answers, expected, "case {case}: {kind:?} {items:#?}");
        assert_eq!(reached, expected_state, "case {case}: {kind:?} {items:#?}");
        created += answers
            .iter()
            .filter(|answer| answer.0 == "created")
            .count();
        replayed += answers.iter().filter(|answer| answer.2).count();
    }
    assert!(
        created > 100 && replayed > 50,
        "{created} and {replayed} of them"
    );
    let discrepancies: i64 = sqlx::query_scalar(
        "select abs(travel.ledger_sum()) + (select count(*) from travel.card_discrepancies())
         + (select count(*) from travel.ledger_discrepancies())",
    )
    .fetch_one(&pool)
    .await
    .expect("the books");
    assert_eq!(discrepancies, 0);
}

#[sqlx::test(migrations = "../../migrations")]
async fn one_whose_card_is_locked_is_left_out(pool: PgPool) {
    city(&pool).await;
    let mut holder = pool.begin().await.expect("a transaction");
    sqlx::query("select from travel.cards where id = 1 for update")
        .execute(&mut *holder)
        .await
        .expect("the lock");
    let outcomes: Vec<String> = sqlx::query_scalar(
        "select outcome from travel.recharge_many(
             array['a', 'a', 'a', 'a'], array['k', 'k', 'l', 'm'], array['x', 'x', 'x', 'x']::bytea[],
             array[1, 1, 3, 99], array[1000, 1000, 1000, 1000], array[null, null, null, null]::bigint[], false)",
    )
    .fetch_all(&pool)
    .await
    .expect("the others are done");
    assert_eq!(outcomes, ["busy", "busy", "created", "card_not_found"]);
    let waiting = sqlx::query(
        "select outcome from travel.recharge_many(
             array['a', 'a'], array['n', 'o'], array['x', 'x']::bytea[],
             array[1, 3], array[1000, 1000], array[null, null]::bigint[])",
    )
    .fetch_all(&pool)
    .await
    .expect_err("a group does not wait for long");
    assert_eq!(
        waiting
            .as_database_error()
            .and_then(sqlx::error::DatabaseError::code)
            .as_deref(),
        Some("55P03")
    );
    holder.rollback().await.expect("released");
    let keys: Vec<String> =
        sqlx::query_scalar("select key from travel.idempotency_claims order by 1")
            .fetch_all(&pool)
            .await
            .expect("the keys");
    assert_eq!(keys, ["l", "m"]);
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_hot_card_takes_everything_that_is_put_on_it(pool: PgPool) {
    let lab = Lab::start(pool).await;
    let calls = (0..150).map(|number| {
        let key = format!("k{number}");
        let lab = &lab;
        async move {
            lab.post_once("/recharges", &key, json!({"card_id": 1, "amount": 1_000}))
                .await
        }
    });
    let answers = join_all(calls).await;
    let mut balances: Vec<i64> = answers
        .iter()
        .map(|answer| {
            assert_eq!(answer.status, 201, "{answer:?}");
            answer.body["balance"].as_i64().expect("a balance")
        })
        .collect();
    balances.sort_unstable();
    let expected: Vec<i64> = (1..=150).map(|count| 10_000 + count * 1_000).collect();
    assert_eq!(balances, expected);
    lab.audit().await;
}

#[sqlx::test(migrations = "../../migrations")]
async fn one_that_cannot_be_done_fails_alone(pool: PgPool) {
    let lab = Lab::start(pool).await;
    sqlx::raw_sql(
        "create function public.poison() returns trigger language plpgsql as $$
         begin raise exception 'poison'; end $$;
         create trigger poison before insert on travel.recharges for each row when (new.amount = 1350)
         execute function public.poison();",
    )
    .execute(&lab.pool)
    .await
    .expect("a trigger");
    let calls = (0..60).map(|number| {
        let amount = if number % 20 == 7 { 1_350 } else { 1_000 };
        let card = if number % 2 == 0 { 1 } else { 3 };
        let lab = &lab;
        async move {
            let body = json!({"card_id": card, "amount": amount});
            let answer = lab
                .post_once("/recharges", &format!("k{number}"), body)
                .await;
            (amount, answer)
        }
    });
    for (amount, answer) in join_all(calls).await {
        let expected = if amount == 1_350 { 500 } else { 201 };
        assert_eq!(answer.status, expected, "{answer:?}");
    }
    assert_eq!(lab.count("select count(*) from travel.recharges").await, 57);
    lab.audit().await;
}

#[sqlx::test(migrations = "../../migrations")]
async fn conflicts_are_tried_again(pool: PgPool) {
    let lab = Lab::start(pool).await;
    sqlx::raw_sql(
        "create sequence public.conflicts;
         create function public.conflict() returns trigger language plpgsql as $$
         begin
             if nextval('public.conflicts') % 7 = 1 then
                 raise exception 'conflict' using errcode = (array['40001', '40P01', '23505'])[1 + random() * 2];
             end if;
             return new;
         end $$;
         create trigger conflict before insert on travel.outbox for each statement execute function public.conflict();",
    )
    .execute(&lab.pool)
    .await
    .expect("a trigger");
    let calls = (0..60).map(|number| {
        let lab = &lab;
        async move {
            let body = json!({"card_id": 1 + 2 * (number % 2), "amount": 1_000});
            lab.post_once("/recharges", &format!("k{number}"), body)
                .await
        }
    });
    for answer in join_all(calls).await {
        assert_eq!(
            (answer.status, answer.replayed()),
            (201, false),
            "{answer:?}"
        );
    }
    assert_eq!(lab.count("select count(*) from travel.recharges").await, 60);
    lab.audit().await;
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_locked_card_does_not_hold_up_the_others(pool: PgPool) {
    let lab = Lab::start(pool).await;
    let mut holder = lab.pool.begin().await.expect("a transaction");
    sqlx::query("select from travel.cards where id = 1 for update")
        .execute(&mut *holder)
        .await
        .expect("the lock");
    let locked =
        join_all((0..6).map(|_| lab.post("/recharges", json!({"card_id": 1, "amount": 1_000}))));
    let others = async {
        lab.somebody_waits().await;
        for _ in 0..20 {
            let call = lab.post("/recharges", json!({"card_id": 3, "amount": 1_000}));
            let answer = tokio::time::timeout(Duration::from_secs(5), call)
                .await
                .expect("an answer while the other card is locked");
            assert_eq!(answer.status, 201);
        }
        holder.rollback().await.expect("released");
    };
    let (locked, ()) = futures::future::join(locked, others).await;
    for answer in locked {
        assert_eq!(answer.status, 201, "{answer:?}");
    }
    lab.audit().await;
}
