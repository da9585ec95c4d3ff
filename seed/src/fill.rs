//! Writes a city into the tables, in an order that lets the cards end the year with what they have left.

use sqlx::{AssertSqlSafe, PgConnection};

use crate::city::City;
use crate::copy::Rows;
use crate::places::ZONES;
use crate::riding::{self, Card, Day, Reference, Riding};
use crate::{Error, LOCKED, Plan, Progress, SUBJECTS, Summary, calendar, indexes, lines, people};

/// The ledger's fixed accounts, as the schema numbers them; those of the cards follow.
const CASH: i64 = 1;
const FARES: i64 = 2;
const SYSTEM_ACCOUNTS: i64 = 3;

/// Tables whose ids are numbered by an identity column, children last.
const NUMBERED: [&str; 13] = [
    "travel.localities",
    "travel.stations",
    "travel.routes",
    "travel.recharge_points",
    "travel.users",
    "travel.cards",
    "travel.accounts",
    "travel.recharges",
    "travel.trips",
    "travel.ledger_entries",
    "tutoring.subjects",
    "tutoring.tutors",
    "tutoring.students",
];

pub async fn fill(
    connection: &mut PgConnection,
    plan: Plan,
    progress: &mut (impl FnMut(Progress) + Send),
) -> Result<Summary, Error> {
    let city = City::new();
    let users = people::users(plan.seed, plan.scale.users());
    let joined: Vec<i64> = users.iter().map(|user| user.created_at).collect();
    let cards = riding::cards(plan.seed, &city, plan.scale.cards(), &joined);

    // An attempt that failed has used up numbers: a rollback does not give them back.
    renumber(connection).await?;
    for table in indexes::LARGE {
        sqlx::query(AssertSqlSafe(format!("truncate {table}")))
            .execute(&mut *connection)
            .await?;
    }
    sqlx::query("set local maintenance_work_mem = '128MB'")
        .execute(&mut *connection)
        .await?;
    let taken_off = indexes::take_off(connection).await?;

    let mut summary = Summary {
        stations: city.stations.len() as u64,
        routes: city.routes.len() as u64,
        ..Summary::default()
    };
    places(connection, &city, progress).await?;
    let cards = year(connection, plan, &city, cards, progress, &mut summary).await?;
    summary.users = travellers(connection, plan.seed, &users, &cards, progress).await?;
    summary.cards = write_cards(connection, &cards, progress).await?;
    (summary.tutors, summary.students) = tutoring(connection, plan, &users, progress).await?;
    summary.ledger_entries += openings(&cards).cast_unsigned();

    taken_off
        .put_back(connection, |done, total| {
            progress(Progress {
                table: "indexes",
                done,
                total,
            });
        })
        .await?;
    renumber(connection).await?;
    sqlx::query("analyze").execute(&mut *connection).await?;
    Ok(summary)
}

/// Lets every identity column go on after the largest id there is.
async fn renumber(connection: &mut PgConnection) -> sqlx::Result<()> {
    for table in NUMBERED {
        sqlx::query(AssertSqlSafe(format!(
            "select setval(pg_get_serial_sequence('{table}', 'id'), coalesce(max(id), 0) + 1, false) from {table}"
        )))
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}

/// Cards with an opening balance: the schema books one ledger entry for each, and they come first.
fn openings(cards: &[Card]) -> i64 {
    cards
        .iter()
        .map(|card| i64::from(card.opening_balance > 0))
        .sum()
}

fn id(index: usize) -> i64 {
    i64::try_from(index + 1).expect("a vector is no longer than that")
}

async fn finish(
    mut rows: Rows,
    connection: &mut PgConnection,
    progress: &mut (impl FnMut(Progress) + Send),
) -> sqlx::Result<u64> {
    rows.flush(connection).await?;
    progress(Progress {
        table: rows.table,
        done: rows.sent,
        total: rows.sent,
    });
    Ok(rows.sent)
}

async fn places(
    connection: &mut PgConnection,
    city: &City,
    progress: &mut (impl FnMut(Progress) + Send),
) -> sqlx::Result<()> {
    let mut rows = Rows::new("travel.localities", &["id", "code", "name"]);
    for (index, zone) in ZONES.iter().enumerate() {
        rows.row().bigint(id(index)).text(zone.code).text(zone.name);
    }
    finish(rows, connection, progress).await?;

    let mut rows = Rows::new("travel.stations", &["id", "name", "kind", "locality_id"]);
    for (index, station) in city.stations.iter().enumerate() {
        rows.row()
            .bigint(id(index))
            .text(station.name)
            .text(station.kind)
            .bigint(id(station.zone));
    }
    finish(rows, connection, progress).await?;

    let mut rows = Rows::new("travel.fares", &["kind", "amount"]);
    for kind in lines::Kind::ALL {
        rows.row().text(kind.as_str()).bigint(kind.fare());
    }
    finish(rows, connection, progress).await?;

    let mut rows = Rows::new(
        "travel.routes",
        &[
            "id",
            "code",
            "name",
            "kind",
            "fare",
            "headway_minutes",
            "first_departure",
            "last_departure",
        ],
    );
    let mut stops = Rows::new(
        "travel.route_stations",
        &["route_id", "position", "station_id", "offset_minutes"],
    );
    for (index, route) in city.routes.iter().enumerate() {
        let (first, last) = route.service();
        rows.row()
            .bigint(id(index))
            .text(route.line.code)
            .text(&route.name(&city.stations))
            .text(route.line.kind.as_str())
            .bigint(route.line.kind.fare())
            .integer(route.line.headway)
            .time(first)
            .time(last);
        for (position, &(station, minutes)) in (1..).zip(&route.stations) {
            stops
                .row()
                .bigint(id(index))
                .integer(position)
                .bigint(id(station))
                .integer(minutes);
        }
    }
    finish(rows, connection, progress).await?;
    finish(stops, connection, progress).await?;

    let mut rows = Rows::new("travel.recharge_points", &["id", "name", "locality_id"]);
    for (index, point) in city.points.iter().enumerate() {
        rows.row()
            .bigint(id(index))
            .text(&point.name)
            .bigint(id(point.zone));
    }
    finish(rows, connection, progress).await?;
    Ok(())
}

/// The three large tables, filled side by side. Gives the cards back as they are after the year.
async fn year(
    connection: &mut PgConnection,
    plan: Plan,
    city: &City,
    cards: Vec<Card>,
    progress: &mut (impl FnMut(Progress) + Send),
    summary: &mut Summary,
) -> sqlx::Result<Vec<Card>> {
    let mut trips = Rows::frozen(
        "travel.trips",
        &[
            "id",
            "card_id",
            "route_id",
            "station_id",
            "alight_station_id",
            "fare",
            "transfer",
            "balance_after",
            "boarded_at",
            "ended_at",
        ],
    );
    let mut recharges = Rows::frozen(
        "travel.recharges",
        &[
            "id",
            "card_id",
            "user_id",
            "recharge_point_id",
            "amount",
            "balance_after",
            "created_at",
        ],
    );
    let mut entries = Rows::frozen(
        "travel.ledger_entries",
        &[
            "id",
            "debit_account",
            "credit_account",
            "amount",
            "kind",
            "reference",
            "created_at",
        ],
    );
    let opened = openings(&cards);
    let mut riding = Riding::new(plan.seed, city, cards, opened);
    let total = plan.scale.trips();
    let mut done = 0;
    progress(Progress {
        table: trips.table,
        done,
        total,
    });
    for (day, quota) in (0..).zip(calendar::quotas(total)) {
        write_day(
            &riding.day(day, quota),
            &mut trips,
            &mut recharges,
            &mut entries,
        );
        for rows in [&mut trips, &mut recharges, &mut entries] {
            rows.flow(connection).await?;
        }
        done += quota;
        progress(Progress {
            table: trips.table,
            done,
            total,
        });
    }
    for rows in [&mut trips, &mut recharges, &mut entries] {
        rows.flush(connection).await?;
    }
    (summary.trips, summary.recharges, summary.ledger_entries) =
        (trips.sent, recharges.sent, entries.sent);
    Ok(riding.cards)
}

fn write_day(day: &Day, trips: &mut Rows, recharges: &mut Rows, entries: &mut Rows) {
    for trip in &day.trips {
        trips
            .row()
            .bigint(trip.id)
            .bigint(i64::from(trip.card) + 1)
            .bigint(id(trip.ride.route))
            .bigint(id(trip.ride.from))
            .maybe(trip.ended_at, |row, _| row.bigint(id(trip.ride.to)))
            .bigint(trip.fare)
            .boolean(trip.transfer)
            .bigint(trip.balance_after)
            .timestamp(trip.boarded_at)
            .maybe(trip.ended_at, |row, at| row.timestamp(at));
    }
    for recharge in &day.recharges {
        recharges
            .row()
            .bigint(recharge.id)
            .bigint(i64::from(recharge.card) + 1)
            .bigint(i64::from(recharge.owner) + 1)
            .maybe(recharge.point, |row, point| row.bigint(id(point)))
            .bigint(recharge.amount)
            .bigint(recharge.balance_after)
            .timestamp(recharge.created_at);
    }
    for entry in &day.entries {
        let account = SYSTEM_ACCOUNTS + i64::from(entry.card) + 1;
        let (debit, credit, kind, reference) = match entry.reference {
            Reference::Recharge(id) => (CASH, account, "recharge", id),
            Reference::Fare(id) => (account, FARES, "fare", id),
        };
        entries
            .row()
            .bigint(entry.id)
            .bigint(debit)
            .bigint(credit)
            .bigint(entry.amount)
            .text(kind)
            .bigint(reference)
            .timestamp(entry.at);
    }
}

async fn travellers(
    connection: &mut PgConnection,
    seed: u64,
    users: &[people::User],
    cards: &[Card],
    progress: &mut (impl FnMut(Progress) + Send),
) -> Result<u64, Error> {
    let mut active: Vec<i64> = users.iter().map(|user| user.created_at).collect();
    for card in cards {
        let last = &mut active[card.owner as usize];
        *last = card.last_used_at.max(*last);
    }
    let mut rows = Rows::new(
        "travel.users",
        &[
            "id",
            "username",
            "full_name",
            "created_at",
            "last_active_at",
        ],
    );
    for (index, user) in users.iter().enumerate() {
        rows.row()
            .bigint(id(index))
            .text(&user.username)
            .text(&user.full_name)
            .timestamp(user.created_at)
            .timestamp(active[index]);
        rows.flow(connection).await?;
    }
    let sent = finish(rows, connection, progress).await?;

    let [student1, student2] = people::student_hashes(seed)?;
    let mut rows = Rows::new("travel.credentials", &["user_id", "password_hash", "role"]);
    rows.row().bigint(1).text(&student1).text("user");
    rows.row().bigint(2).text(&student2).text("user");
    rows.row().bigint(3).text(LOCKED).text("operator");
    finish(rows, connection, progress).await?;
    Ok(sent)
}

/// The cards with what they have left. Their accounts, and the ledger's opening entries, are made by the schema's trigger,
/// in the order of the cards.
async fn write_cards(
    connection: &mut PgConnection,
    cards: &[Card],
    progress: &mut (impl FnMut(Progress) + Send),
) -> sqlx::Result<u64> {
    // The entries of the year are there already; these take the numbers left free before them.
    sqlx::query("select setval(pg_get_serial_sequence('travel.ledger_entries', 'id'), 1, false)")
        .execute(&mut *connection)
        .await?;
    let mut rows = Rows::new(
        "travel.cards",
        &[
            "id",
            "user_id",
            "status",
            "opening_balance",
            "balance",
            "created_at",
        ],
    );
    for (index, card) in cards.iter().enumerate() {
        rows.row()
            .bigint(id(index))
            .bigint(i64::from(card.owner) + 1)
            .text(if card.blocked_on.is_some() {
                "blocked"
            } else {
                "active"
            })
            .bigint(card.opening_balance)
            .bigint(card.balance)
            .timestamp(card.created_at);
        rows.flow(connection).await?;
    }
    finish(rows, connection, progress).await
}

async fn tutoring(
    connection: &mut PgConnection,
    plan: Plan,
    users: &[people::User],
    progress: &mut (impl FnMut(Progress) + Send),
) -> sqlx::Result<(u64, u64)> {
    let mut rows = Rows::new("tutoring.subjects", &["id", "name"]);
    for (index, name) in SUBJECTS.iter().enumerate() {
        rows.row().bigint(id(index)).text(name);
    }
    finish(rows, connection, progress).await?;

    let mut rows = Rows::new("tutoring.tutors", &["id", "name", "subject", "rating"]);
    for (index, tutor) in people::tutors(plan.seed, plan.scale.tutors())
        .iter()
        .enumerate()
    {
        rows.row()
            .bigint(id(index))
            .text(&tutor.name)
            .text(tutor.subject)
            .real(tutor.rating);
    }
    let tutors = finish(rows, connection, progress).await?;

    // Students are users: the first two, and after the operator everybody in turn.
    let mut rows = Rows::new("tutoring.students", &["id", "name", "username"]);
    let students = users
        .iter()
        .enumerate()
        .filter(|&(index, _)| index != 2)
        .map(|(_, user)| user);
    for (index, user) in students.take(plan.scale.students() as usize).enumerate() {
        rows.row()
            .bigint(id(index))
            .text(&user.full_name)
            .text(&user.username);
        rows.flow(connection).await?;
    }
    let students = finish(rows, connection, progress).await?;
    Ok((tutors, students))
}
