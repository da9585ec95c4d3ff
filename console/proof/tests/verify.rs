//! A lab that was damaged by hand is found out: by the right invariant, and with the name of what is wrong.

use std::time::Duration;

use chrono::Utc;
use proof::{
    journal::{Action, Answer, Card, FORMAT, Journal, Operation, Outcome, Start},
    verify::{Check, Live, Options, Report, Site, Verdict, verify},
};
use sqlx::PgPool;

/// One of everything: a recharge, a booking, a task, none of them announced yet.
const LAB: &str = "
    insert into travel.users (username, full_name) values ('ana', 'Ana');
    insert into travel.cards (user_id, opening_balance, balance) select id, 10000, 10000 from travel.users;
    select travel.recharge('user:ana', 'k1', '\\x01', c.id, 5000, null) from travel.cards c;
    insert into tutoring.subjects (name) values ('Math');
    insert into tutoring.tutors (name, subject, rating) values ('Luis', 'Math', 5);
    insert into tutoring.students (name, username) values ('Ana', 'ana');
    select tutoring.book('user:ana', 'k2', '\\x01', s.id, t.id, null, 60)
        from tutoring.students s, tutoring.tutors t;
    select worker.submit('user:ana', 'k3', '\\x01', '{}');
";

/// Everything that was announced is delivered, and came to its end.
const AT_REST: &str = "
    update travel.outbox set state = 'delivered', delivered_at = now();
    update tutoring.outbox set state = 'delivered', delivered_at = now();
    update worker.outbox set state = 'delivered', delivered_at = now();
    insert into notification.notifications (event_id, kind, recharge_id, recipient, body, state, attempts, sent_at)
        select o.event_id, 'recharge', (o.payload ->> 'recharge_id')::bigint, 'user:1', '', 'sent', 1, now()
        from travel.outbox o;
    insert into notification.notifications (event_id, kind, booking_id, recipient, body, state, attempts, sent_at)
        select o.event_id, 'booking', (o.payload ->> 'booking_id')::bigint, 'student:1', '', 'sent', 1, now()
        from tutoring.outbox o;
    update worker.tasks set state = 'completed', attempts = 1, result = '{}', finished_at = now();
";

async fn check(pool: &PgPool, journal: Option<Journal>) -> Report {
    let site = Site {
        database_url: kit::testing::database_url(pool),
        redis_urls: Vec::new(),
        live: None,
    };
    let options = Options {
        journal,
        settle: Duration::ZERO,
        reads: 0,
    };
    verify(&site, &options, |_| {}).await.expect("a database")
}

/// The third cannot be checked without services to ask.
fn all_but_the_third(report: &Report) -> impl Iterator<Item = &Check> {
    report.checks.iter().filter(|check| check.number != Some(3))
}

#[sqlx::test(migrations = "../../migrations")]
async fn what_is_on_its_way_is_not_lost(pool: PgPool) {
    for sql in [LAB, AT_REST] {
        sqlx::raw_sql(sql).execute(&pool).await.expect("a lab");
        let report = check(&pool, None).await;
        for check in all_but_the_third(&report) {
            assert_eq!(check.verdict, Verdict::Holds, "{check}");
        }
        assert!(!report.is_violated() && report.is_unchecked());
    }
}

/// Tasks that end one after the other are waited for, longer than patience lasts; one that does not is an offender.
#[sqlx::test(migrations = "../../migrations")]
async fn patience_lasts_while_there_is_progress(pool: PgPool) {
    const PATIENCE: Duration = Duration::from_secs(3);
    for sql in [LAB, AT_REST] {
        sqlx::raw_sql(sql).execute(&pool).await.expect("a lab");
    }
    let stuck: i64 = submitted(&pool).await;
    let mut slow = Vec::new();
    for _ in 0..6 {
        slow.push(submitted(&pool).await);
    }
    let worker = tokio::spawn({
        let pool = pool.clone();
        async move {
            for task in slow {
                tokio::time::sleep(PATIENCE / 3).await;
                let end = "update worker.tasks set state = 'completed', attempts = 1, result = '{}', finished_at = now()
                    where id = $1";
                let ended = sqlx::query(end).bind(task).execute(&pool).await;
                assert_eq!(ended.expect("a task").rows_affected(), 1);
            }
        }
    });
    let site = Site {
        database_url: kit::testing::database_url(&pool),
        redis_urls: Vec::new(),
        live: Some(Live {
            gateways: Vec::new(),
            tiers: kit::tls::Tiers::default(),
        }),
    };
    let options = Options {
        journal: None,
        settle: PATIENCE,
        reads: 0,
    };
    let report = verify(&site, &options, |_| {}).await.expect("a database");
    assert!(worker.is_finished(), "the tasks were not waited for");
    assert!(report.waited >= PATIENCE * 2, "{:?}", report.waited);
    let offenders: Vec<String> = all_but_the_third(&report)
        .flat_map(|check| &check.offenders)
        .map(|offender| format!("{}: {}", offender.what, offender.why))
        .collect();
    assert_eq!(offenders.len(), 1, "{offenders:?}");
    assert!(
        offenders[0].starts_with(&format!("task {stuck}: is queued after")),
        "{offenders:?}"
    );
}

async fn submitted(pool: &PgPool) -> i64 {
    sqlx::query_scalar("select (s.reply ->> 'task_id')::bigint from worker.submit('user:ana', null, '\\x01', '{}') s")
        .fetch_one(pool)
        .await
        .expect("a task")
}

#[sqlx::test(migrations = "../../migrations")]
async fn each_damage_is_named(pool: PgPool) {
    for (damage, expected) in [
        (
            "delete from travel.ledger_entries where kind = 'recharge'",
            &[(1, "recharge 1"), (2, "card 1")][..],
        ),
        (
            "update travel.cards set balance = balance + 50",
            &[(2, "card 1: has balance 15050")],
        ),
        (
            "delete from travel.recharges; update travel.cards set balance = 10000;
             delete from travel.ledger_entries where kind = 'recharge'",
            &[
                (1, "was answered to key k1"),
                (4, "is about a recharge that does not exist"),
                (6, "travel.outbox"),
            ],
        ),
        (
            "delete from notification.notifications where kind = 'booking'",
            &[(4, "booking 1: has no notification; its event is nowhere: lost")],
        ),
        (
            "delete from notification.notifications where kind = 'recharge';
             update travel.outbox set state = 'dead', delivered_at = null, last_error = 'too large'",
            &[(4, "is dead in the outbox (too large)"), (6, "too large")],
        ),
        (
            "update notification.notifications set attempts = 2 where kind = 'booking'",
            &[(4, "booking 1: was notified about 2 times")],
        ),
        (
            "update notification.notifications set booking_id = 99 where kind = 'booking'",
            &[(4, "is about a booking that does not exist")],
        ),
        (
            "alter table tutoring.bookings drop constraint bookings_no_overlap;
             insert into tutoring.bookings (student_id, tutor_id, starts_at, ends_at)
                 select student_id, tutor_id, starts_at + interval '59 minutes', ends_at from
                     (select student_id, tutor_id, starts_at, ends_at + interval '1 hour' as ends_at from tutoring.bookings) b",
            &[(4, "booking 1: overlaps booking"), (6, "tutoring.outbox")],
        ),
        (
            "update worker.tasks set state = 'processing', finished_at = null",
            &[(5, "task 1: is processing; its event is nowhere: lost")],
        ),
        ("delete from worker.outbox", &[(6, "worker.outbox")]),
    ] {
        clear(&pool).await;
        sqlx::raw_sql(damage).execute(&pool).await.expect(damage);
        let report = check(&pool, None).await;
        for check in all_but_the_third(&report) {
            let text = check.to_string();
            let wanted: Vec<&str> = expected
                .iter()
                .filter(|(number, _)| Some(*number) == check.number)
                .map(|(_, words)| *words)
                .collect();
            assert_eq!(
                check.verdict == Verdict::Violated,
                !wanted.is_empty(),
                "{damage}\n{text}"
            );
            for words in wanted {
                assert!(text.contains(words), "{damage}\n{text}");
            }
        }
    }
}

/// A lab at rest that nobody has damaged.
async fn clear(pool: &PgPool) {
    let clear = "
        truncate travel.users, travel.cards, travel.accounts, travel.recharges, travel.ledger_entries, travel.outbox,
            travel.idempotency_claims, tutoring.subjects, tutoring.tutors, tutoring.students, tutoring.bookings, tutoring.outbox,
            tutoring.idempotency_claims, worker.tasks, worker.outbox, worker.idempotency_claims, notification.notifications,
            notification.inbox restart identity cascade;
        insert into travel.accounts (id, kind) values (1, 'cash'), (2, 'fares'), (3, 'opening');
        alter table travel.accounts alter column id restart with 4;
    ";
    for sql in [clear, LAB, AT_REST] {
        sqlx::raw_sql(sql).execute(pool).await.expect("a lab");
    }
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_journal_knows_what_the_database_forgot(pool: PgPool) {
    clear(&pool).await;
    let recharge = |id: u64, key: &str, amount: i64, outcome: Outcome| Operation {
        id,
        action: Action::Recharge {
            card: 1,
            amount,
            key: key.to_owned(),
        },
        invoked_us: id * 10,
        outcome,
    };
    let answered = |id: u64, recharge: i64, balance: i64| Outcome::Ok {
        at_us: id * 10 + 5,
        answer: Answer::Recharged {
            recharge,
            balance,
            replayed: false,
        },
    };
    let journal = |operations: Vec<Operation>| Journal {
        start: Some(Start {
            format: FORMAT,
            at: Utc::now(),
            seed: None,
            cards: vec![Card {
                card: 1,
                balance: 10_000,
                newest_recharge: 0,
            }],
        }),
        operations,
    };
    for (operations, wrong) in [
        (vec![recharge(1, "a", 5_000, answered(1, 1, 15_000))], None),
        (vec![recharge(1, "a", 5_000, Outcome::Unknown)], None),
        (
            vec![
                recharge(1, "a", 5_000, answered(1, 1, 15_000)),
                recharge(2, "b", 2_000, answered(2, 2, 17_000)),
            ],
            Some("recharge 2: was answered 201 (key b) and is lost"),
        ),
        (vec![], Some("recharge 1: of 5000 on card 1 was made twice")),
        (
            vec![recharge(1, "a", 6_000, answered(1, 1, 16_000))],
            Some("but 6000 on card 1 was asked for"),
        ),
    ] {
        let report = check(&pool, Some(journal(operations))).await;
        let first = &report.checks[0];
        let text = first.to_string();
        match wrong {
            None => assert_eq!(first.verdict, Verdict::Holds, "{text}"),
            Some(words) => assert!(text.contains(words), "{text}"),
        }
    }
}
