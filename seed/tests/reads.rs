//! Aggregates, pages of history and the timetable.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use sqlx::PgPool;
use support::{board, number, recharge, world};

#[sqlx::test(migrations = "../migrations")]
async fn aggregates_count_every_locality(pool: PgPool) {
    world(&pool).await;
    assert_eq!(number(&pool, "select travel.revenue_total()").await, 0);
    for station in [1, 2, 3, 1] {
        board(&pool, None, 1, 1, station).await;
    }
    assert_eq!(number(&pool, "select travel.trips_total()").await, 4);
    assert_eq!(
        number(&pool, "select travel.revenue_total()").await,
        2 * 3_550
    );
    let trips: Vec<(i64, String, i64)> = sqlx::query_as("select * from travel.trips_by_locality()")
        .fetch_all(&pool)
        .await
        .unwrap();
    let expected = [(1, "Caracas", 1), (2, "AutoNorte", 3), (3, "Suba", 0)];
    assert_eq!(
        trips,
        expected.map(|(id, name, trips)| (id, name.to_owned(), trips))
    );
    let revenue: Vec<(i64, String, i64)> =
        sqlx::query_as("select * from travel.revenue_by_locality()")
            .fetch_all(&pool)
            .await
            .unwrap();
    let expected = [(1, "Caracas", 0), (2, "AutoNorte", 7_100), (3, "Suba", 0)];
    assert_eq!(
        revenue,
        expected.map(|(id, name, revenue)| (id, name.to_owned(), revenue))
    );
}

#[sqlx::test(migrations = "../migrations")]
async fn pages_of_history_meet_without_gaps(pool: PgPool) {
    world(&pool).await;
    for step in 0..12 {
        if step % 3 == 0 {
            board(&pool, None, 1, 1, 1).await;
        } else {
            recharge(&pool, None, 1, 1_000, None).await.unwrap();
        }
    }
    // Two of a kind, and both kinds, at the same instant.
    sqlx::raw_sql("update travel.recharges set created_at = '2026-01-01' where id <= 3; update travel.trips set boarded_at = '2026-01-01' where id <= 2")
        .execute(&pool)
        .await
        .unwrap();
    let whole: Vec<(String, i64)> =
        sqlx::query_as("select kind, id from travel.card_history(1, 100)")
            .fetch_all(&pool)
            .await
            .unwrap();
    assert_eq!(whole.len(), 12);
    assert_eq!(
        whole[7..],
        [
            ("trip", 2),
            ("trip", 1),
            ("recharge", 3),
            ("recharge", 2),
            ("recharge", 1)
        ]
        .map(|(k, i)| (k.to_owned(), i))
    );

    let mut paged: Vec<(String, i64)> = Vec::new();
    loop {
        let page: Vec<(String, i64)> = sqlx::query_as(
            "select h.kind, h.id from (select 1) one
             left join lateral (select case when $1 = 'trip' then (select boarded_at from travel.trips where id = $2)
                                            else (select created_at from travel.recharges where id = $2) end as at) last on true,
             travel.card_history(1, 5, last.at, $1, $2) h",
        )
        .bind(paged.last().map(|last| last.0.clone()))
        .bind(paged.last().map(|last| last.1))
        .fetch_all(&pool)
        .await
        .unwrap();
        if page.is_empty() {
            break;
        }
        paged.extend(page);
    }
    assert_eq!(paged, whole);
    assert_eq!(
        number(&pool, "select count(*) from travel.card_history(2, 10)").await,
        0
    );
}

async fn arrivals(
    pool: &PgPool,
    station: i64,
    now: &str,
    limit: i32,
) -> Vec<(String, String, String, i32)> {
    sqlx::query_as(
        "select route_code, destination, to_char(arrives_at at time zone 'America/Bogota', 'DD HH24:MI'), minutes
         from travel.arrivals($1, $2::text::timestamptz, $3)",
    )
    .bind(station)
    .bind(now)
    .bind(limit)
    .fetch_all(pool)
    .await
    .unwrap()
}

fn board_of(rows: &[(&str, &str, &str, i32)]) -> Vec<(String, String, String, i32)> {
    rows.iter()
        .map(|&(route, to, at, minutes)| (route.to_owned(), to.to_owned(), at.to_owned(), minutes))
        .collect()
}

#[sqlx::test(migrations = "../migrations")]
async fn arrivals_follow_the_headways_both_ways(pool: PgPool) {
    world(&pool).await;
    assert_eq!(
        arrivals(&pool, 2, "2026-11-20 09:03:30-05", 4).await,
        board_of(&[
            ("1", "Calle 76", "20 09:10", 6),
            ("1", "Portal Norte", "20 09:10", 6),
            ("1", "Calle 76", "20 09:20", 16),
            ("1", "Portal Norte", "20 09:20", 16),
        ])
    );
    // One that arrives this instant still takes people on.
    assert_eq!(
        arrivals(&pool, 2, "2026-11-20 09:10-05", 1).await,
        board_of(&[("1", "Calle 76", "20 09:10", 0)])
    );
    // At an end only what departs, on every route.
    assert_eq!(
        arrivals(&pool, 1, "2026-11-20 09:01-05", 3).await,
        board_of(&[
            ("1", "Calle 76", "20 09:10", 9),
            ("2-1", "Verbenal", "20 09:15", 14),
            ("1", "Calle 76", "20 09:20", 19)
        ])
    );
    assert!(
        arrivals(&pool, 99, "2026-11-20 09:01-05", 3)
            .await
            .is_empty()
    );
}

#[sqlx::test(migrations = "../migrations")]
async fn arrivals_at_night(pool: PgPool) {
    world(&pool).await;
    // The last bus, then the first of the next day.
    assert_eq!(
        arrivals(&pool, 2, "2026-11-20 23:15-05", 3).await,
        board_of(&[
            ("1", "Calle 76", "20 23:20", 5),
            ("1", "Portal Norte", "20 23:20", 5),
            ("1", "Calle 76", "21 05:20", 365)
        ])
    );
    // After midnight, a vehicle of the day before is still on its way.
    sqlx::raw_sql(
        "update travel.route_stations set offset_minutes = offset_minutes * 4 where route_id = 1",
    )
    .execute(&pool)
    .await
    .unwrap();
    assert_eq!(
        arrivals(&pool, 2, "2026-11-21 00:15-05", 1).await,
        board_of(&[("1", "Calle 76", "21 00:20", 5)])
    );
}
