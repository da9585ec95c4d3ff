//! Recharges, boardings and their ends: every outcome, replays, and what happens at the same time.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use sqlx::PgPool;
use support::{assert_sound, board, end_trip, number, recharge, world};

#[sqlx::test(migrations = "../migrations")]
async fn a_recharge_is_kept_once_and_announced(pool: PgPool) {
    world(&pool).await;
    let first = recharge(&pool, Some(("k", 1)), 1, 20_000, Some(1))
        .await
        .unwrap();
    assert_eq!((first.outcome.as_str(), first.replayed), ("created", false));
    assert_eq!(
        (
            first.number("balance"),
            first.number("user_id"),
            first.number("card_id")
        ),
        (30_000, 1, 1)
    );
    let created_at = first.reply["created_at"].as_str().unwrap();
    assert!(
        created_at.ends_with('Z') && created_at.as_bytes()[10] == b'T',
        "{created_at}"
    );

    let second = recharge(&pool, Some(("k", 1)), 1, 20_000, Some(1))
        .await
        .unwrap();
    assert!(second.replayed && second.reply == first.reply && second.outcome == "created");
    let other_body = recharge(&pool, Some(("k", 2)), 1, 50_000, None)
        .await
        .unwrap();
    assert_eq!(
        (other_body.outcome.as_str(), other_body.replayed),
        ("key_reused", false)
    );

    assert_eq!(
        number(&pool, "select count(*) from travel.recharges").await,
        1
    );
    assert_eq!(
        number(&pool, "select balance from travel.cards where id = 1").await,
        30_000
    );
    assert_eq!(
        number(
            &pool,
            "select count(*) from travel.outbox where topic = 'recharges' and state = 'pending'
             and payload @> '{\"type\":\"recharge\",\"card_id\":1,\"user_id\":1,\"amount\":20000,\"balance\":30000,\"recharge_id\":1}'"
        )
        .await,
        1
    );
    assert_eq!(
        number(&pool, "select count(*) from travel.users where id = 1 and last_active_at > now() - interval '1 minute'").await,
        1
    );
    assert_sound(&pool).await;
}

#[sqlx::test(migrations = "../migrations")]
async fn refusals_of_a_recharge_are_kept_too(pool: PgPool) {
    world(&pool).await;
    for (key, card, point, outcome) in [
        ("a", 99, None, "card_not_found"),
        ("b", 3, None, "card_blocked"),
        ("c", 1, Some(9), "point_not_found"),
    ] {
        let first = recharge(&pool, Some((key, 1)), card, 1_000, point)
            .await
            .unwrap();
        assert_eq!((first.outcome.as_str(), first.replayed), (outcome, false));
        let second = recharge(&pool, Some((key, 1)), card, 1_000, point)
            .await
            .unwrap();
        assert_eq!((second.outcome.as_str(), second.replayed), (outcome, true));
    }
    assert_eq!(
        number(&pool, "select count(*) from travel.recharges").await,
        0
    );
    assert_eq!(number(&pool, "select count(*) from travel.outbox").await, 0);
}

#[sqlx::test(migrations = "../migrations")]
async fn an_amount_out_of_bounds_leaves_no_trace(pool: PgPool) {
    world(&pool).await;
    // One connection: the server reports an error a moment before it lets go of the key, and another connection could
    // still find it held.
    let mut connection = pool.acquire().await.unwrap();
    for amount in [0, -1_000, 950, 1_001, 200_050] {
        let error = recharge(&mut *connection, Some(("k", 1)), 1, amount, None)
            .await
            .unwrap_err();
        assert_eq!(
            error.as_database_error().unwrap().code().as_deref(),
            Some("23514"),
            "{amount}"
        );
    }
    assert_eq!(
        recharge(&mut *connection, Some(("k", 1)), 1, 200_000, None)
            .await
            .unwrap()
            .outcome,
        "created"
    );
    assert_sound(&pool).await;
}

#[sqlx::test(migrations = "../migrations")]
async fn the_same_key_at_the_same_time_has_one_effect(pool: PgPool) {
    world(&pool).await;
    let mut holder = pool.begin().await.unwrap();
    let held = recharge(&mut *holder, Some(("k", 1)), 1, 5_000, None)
        .await
        .unwrap();
    assert_eq!(held.outcome, "created");
    // The first has not committed: others neither wait nor repeat it, whatever they write to.
    let meanwhile = recharge(&pool, Some(("k", 1)), 1, 5_000, None)
        .await
        .unwrap();
    assert_eq!(
        (meanwhile.outcome.as_str(), meanwhile.replayed),
        ("in_progress", false)
    );
    holder.commit().await.unwrap();
    let after = recharge(&pool, Some(("k", 1)), 1, 5_000, None)
        .await
        .unwrap();
    assert!(after.replayed && after.reply == held.reply);

    // One that failed leaves the key free.
    let mut failing = pool.begin().await.unwrap();
    recharge(&mut *failing, Some(("other", 1)), 1, 5_000, None)
        .await
        .unwrap();
    failing.rollback().await.unwrap();
    assert!(
        !recharge(&pool, Some(("other", 1)), 1, 5_000, None)
            .await
            .unwrap()
            .replayed
    );

    let answers = futures::future::join_all(
        (0..8).map(|_| recharge(&pool, Some(("race", 1)), 1, 5_000, None)),
    )
    .await;
    let created = answers.iter().filter(|answer| {
        let answer = answer.as_ref().unwrap();
        assert!(
            answer.outcome == "in_progress" || answer.outcome == "created",
            "{answer:?}"
        );
        answer.outcome == "created" && !answer.replayed
    });
    assert_eq!(created.count(), 1);
    assert_eq!(
        number(&pool, "select count(*) from travel.recharges").await,
        3
    );
    assert_sound(&pool).await;
}

#[sqlx::test(migrations = "../migrations")]
async fn keys_belong_to_a_caller_and_a_call(pool: PgPool) {
    world(&pool).await;
    recharge(&pool, Some(("k", 1)), 1, 5_000, None)
        .await
        .unwrap();
    let boarded = board(&pool, Some(("k", 1)), 1, 1, 1).await;
    assert_eq!(
        (boarded.outcome.as_str(), boarded.replayed),
        ("created", false)
    );
    let other: (String, bool) = sqlx::query_as(
        "select outcome, replayed from travel.recharge('v', 'k', '\\x01', 1, 5000, null)",
    )
    .fetch_one(&pool)
    .await
    .unwrap();
    assert_eq!(other, ("created".to_owned(), false));
}

#[sqlx::test(migrations = "../migrations")]
async fn parallel_recharges_of_one_card_sum_up(pool: PgPool) {
    world(&pool).await;
    let answers =
        futures::future::join_all((0..40).map(|_| recharge(&pool, None, 1, 1_000, None))).await;
    let mut balances: Vec<i64> = answers
        .into_iter()
        .map(|answer| answer.unwrap().number("balance"))
        .collect();
    balances.sort_unstable();
    assert_eq!(
        balances,
        (1..=40).map(|n| 10_000 + 1_000 * n).collect::<Vec<_>>()
    );
    assert_eq!(
        number(&pool, "select balance from travel.cards where id = 1").await,
        50_000
    );
    // History follows the order of the balances.
    let history: Vec<i64> =
        sqlx::query_scalar("select balance_after from travel.card_history(1, 100)")
            .fetch_all(&pool)
            .await
            .unwrap();
    assert!(
        history.is_sorted_by(|newer, older| newer > older),
        "{history:?}"
    );
    assert_sound(&pool).await;
}

#[sqlx::test(migrations = "../migrations")]
async fn a_paid_boarding_gives_two_transfers_within_110_minutes(pool: PgPool) {
    world(&pool).await;
    let paid = board(&pool, Some(("k", 1)), 1, 1, 1).await;
    assert_eq!(
        (
            paid.outcome.as_str(),
            paid.number("fare"),
            paid.number("balance")
        ),
        ("created", 3_550, 6_450)
    );
    assert_eq!(paid.reply["transfer"], false);
    assert!(board(&pool, Some(("k", 1)), 1, 1, 1).await.replayed);
    // A free feeder is no transfer and uses none.
    let feeder = board(&pool, None, 1, 2, 4).await;
    assert_eq!(
        (feeder.number("fare"), &feeder.reply["transfer"]),
        (0, &false.into())
    );
    for _ in 0..2 {
        let transfer = board(&pool, None, 1, 1, 2).await;
        assert_eq!(
            (transfer.number("fare"), transfer.number("balance")),
            (0, 6_450)
        );
        assert_eq!(transfer.reply["transfer"], true);
    }
    let third = board(&pool, None, 1, 1, 2).await;
    assert_eq!(
        (third.number("fare"), third.number("balance")),
        (3_550, 2_900)
    );

    let sql = "update travel.trips set boarded_at = boarded_at - $1::text::interval";
    sqlx::query(sql)
        .bind("109 minutes")
        .execute(&pool)
        .await
        .unwrap();
    assert_eq!(board(&pool, None, 1, 1, 1).await.reply["transfer"], true);
    sqlx::query(sql)
        .bind("2 minutes")
        .execute(&pool)
        .await
        .unwrap();
    let broke = board(&pool, Some(("broke", 1)), 1, 1, 1).await;
    assert_eq!(
        (
            broke.outcome.as_str(),
            broke.number("fare"),
            broke.number("balance")
        ),
        ("insufficient_balance", 3_550, 2_900)
    );
    recharge(&pool, None, 1, 5_000, None).await.unwrap();
    let again = board(&pool, Some(("broke", 1)), 1, 1, 1).await;
    assert_eq!(
        (again.outcome.as_str(), again.replayed),
        ("insufficient_balance", true)
    );
    assert_eq!(board(&pool, None, 1, 1, 1).await.number("balance"), 4_350);
    assert_sound(&pool).await;
}

#[sqlx::test(migrations = "../migrations")]
async fn a_boarding_names_what_it_does_not_know(pool: PgPool) {
    world(&pool).await;
    for (card, route, station, outcome) in [
        (99, 1, 1, "card_not_found"),
        (3, 1, 1, "card_blocked"),
        (1, 99, 1, "route_not_found"),
        (1, 1, 99, "station_not_found"),
        (1, 1, 4, "station_not_found"),
    ] {
        assert_eq!(
            board(&pool, None, card, route, station).await.outcome,
            outcome
        );
    }
    assert_eq!(number(&pool, "select travel.trips_total()").await, 0);
}

#[sqlx::test(migrations = "../migrations")]
async fn one_fare_cannot_be_spent_twice(pool: PgPool) {
    world(&pool).await;
    // Card 2 has enough for one. Two paid boardings at once: the other sees the first one's trip, and rides on it.
    let answers = futures::future::join_all((0..5).map(|_| board(&pool, None, 2, 1, 1))).await;
    let paid = answers
        .iter()
        .filter(|answer| answer.outcome == "created" && answer.number("fare") > 0)
        .count();
    let free = answers
        .iter()
        .filter(|answer| answer.outcome == "created" && answer.number("fare") == 0)
        .count();
    let refused = answers
        .iter()
        .filter(|answer| answer.outcome == "insufficient_balance")
        .count();
    assert_eq!((paid, free, refused), (1, 2, 2));
    assert_eq!(
        number(&pool, "select balance from travel.cards where id = 2").await,
        50
    );
    assert_sound(&pool).await;
}

#[sqlx::test(migrations = "../migrations")]
async fn a_trip_ends_once(pool: PgPool) {
    world(&pool).await;
    let trip = board(&pool, None, 1, 1, 1).await.number("trip_id");
    let second = board(&pool, None, 1, 1, 2).await.number("trip_id");
    assert_eq!(end_trip(&pool, None, 99, 2).await.outcome, "trip_not_found");
    assert_eq!(
        end_trip(&pool, None, trip, 99).await.outcome,
        "station_not_found"
    );
    let ended = end_trip(&pool, Some(("k", 1)), trip, 3).await;
    assert_eq!(
        (
            ended.outcome.as_str(),
            ended.number("alight_station_id"),
            ended.number("user_id")
        ),
        ("ended", 3, 1)
    );
    assert_eq!(
        (
            ended.number("fare"),
            ended.number("balance"),
            ended.number("station_id")
        ),
        (3_550, 6_450, 1)
    );
    assert!(ended.reply["ended_at"].as_str() >= ended.reply["boarded_at"].as_str());
    let replay = end_trip(&pool, Some(("k", 1)), trip, 3).await;
    assert!(replay.replayed && replay.reply == ended.reply);
    // The trip is in the path, not in the body, and still part of what the key means.
    assert_eq!(
        end_trip(&pool, Some(("k", 1)), second, 3).await.outcome,
        "key_reused"
    );
    let again = end_trip(&pool, None, trip, 2).await;
    assert_eq!(
        (again.outcome.as_str(), again.number("alight_station_id")),
        ("already_ended", 3)
    );
}

#[sqlx::test(migrations = "../migrations")]
async fn a_new_card_has_an_account_and_its_opening_balance_in_the_ledger(pool: PgPool) {
    world(&pool).await;
    assert_eq!(
        number(
            &pool,
            "select count(*) from travel.accounts where kind = 'card'"
        )
        .await,
        3
    );
    assert_eq!(
        number(
            &pool,
            "select count(*) from travel.ledger_entries where kind = 'opening'"
        )
        .await,
        2
    );
    assert_sound(&pool).await;
    // And the checks notice a balance that nothing explains.
    sqlx::raw_sql("update travel.cards set balance = balance + 50 where id = 2")
        .execute(&pool)
        .await
        .unwrap();
    let found: (i64, i64, i64, i64) = sqlx::query_as("select * from travel.card_discrepancies()")
        .fetch_one(&pool)
        .await
        .unwrap();
    assert_eq!(found, (2, 3_650, 3_600, 3_600));
}

#[sqlx::test(migrations = "../migrations")]
async fn the_schema_refuses_what_cannot_be(pool: PgPool) {
    world(&pool).await;
    for (statement, code) in [
        ("update travel.cards set balance = -1 where id = 1", "23514"),
        ("update travel.cards set status = 'lost' where id = 1", "23514"),
        ("insert into travel.cards (user_id) values (99)", "23503"),
        ("insert into travel.stations (name, kind, locality_id) values ('X', 'airport', 1)", "23514"),
        ("insert into travel.routes (code, name, kind, fare, headway_minutes, first_departure, last_departure)
          values ('9', 'X', 'troncal', 100, 5, '05:00', '23:00')", "23503"),
        ("insert into travel.ledger_entries (debit_account, credit_account, amount, kind, reference, created_at)
          values (1, 4, 0, 'recharge', 9, now())", "23514"),
        ("insert into travel.ledger_entries (debit_account, credit_account, amount, kind, reference, created_at)
          values (2, 4, 50, 'recharge', 9, now())", "23514"),
        ("insert into travel.ledger_entries (debit_account, credit_account, amount, kind, reference, created_at)
          values (1, 99, 50, 'recharge', 9, now())", "23503"),
        ("insert into travel.ledger_entries (debit_account, credit_account, amount, kind, reference, created_at)
          values (3, 4, 50, 'opening', 1, now())", "23505"),
        ("insert into travel.accounts (kind) values ('cash')", "23514"),
        ("insert into travel.users (username, full_name) values ('student1', 'X')", "23505"),
        ("insert into travel.seed_runs values (1, 'town', now()), (2, 'town', now())", "23505"),
        ("insert into worker.tasks (payload, state, finished_at) values ('1', 'failed', now())", "23514"),
        ("insert into notification.notifications (event_id, kind, recipient, body) values (gen_random_uuid(), 'booking', 'x', 'y')", "23514"),
        ("update travel.outbox set state = 'delivered'; insert into travel.outbox (topic, payload, state) values ('x', '1', 'delivered')", "23514"),
    ] {
        let error = sqlx::raw_sql(statement).execute(&pool).await.expect_err(statement);
        assert_eq!(error.as_database_error().unwrap().code().as_deref(), Some(code), "{statement}");
    }
    // A new tariff reaches the routes.
    sqlx::raw_sql("update travel.fares set amount = 3700 where kind = 'troncal'")
        .execute(&pool)
        .await
        .unwrap();
    assert_eq!(
        number(&pool, "select fare from travel.routes where id = 1").await,
        3_700
    );
}
