use proptest::prelude::*;

use super::*;

const SETTINGS: OutlierSettings = OutlierSettings {
    consecutive_failures: 3,
    interval_ms: 1_000,
    deviations: 1.2,
    margin_percent: 10.0,
    minimum_hosts: 3,
    minimum_requests: 10,
    base_ejection_ms: 1_000,
    max_ejection_ms: 3_000,
    max_ejection_percent: 50,
};

fn record(answered: u32, failed: u32) -> Record {
    Record {
        answered,
        failed,
        ..Record::default()
    }
}

/// Sweeps records of upstreams that are all up; who was ejected.
fn swept(records: &mut [Record], now: Instant, settings: &OutlierSettings) -> Vec<usize> {
    let mut hosts: Vec<Host> = records
        .iter_mut()
        .map(|record| Host {
            record,
            usable: true,
        })
        .collect();
    let ejected = sweep(&mut hosts, now, || 0.0, settings);
    ejected.into_iter().map(|(position, _)| position).collect()
}

#[test]
fn success_rates_far_below_the_mean_are_ejected() {
    type Counts = &'static [(u32, u32)];
    let table: &[(&str, Counts, &[usize])] = &[
        ("one fails much", &[(100, 0), (60, 40), (100, 0)], &[1]),
        ("one fails a little", &[(100, 0), (95, 5), (100, 0)], &[]),
        ("all fail alike", &[(50, 50), (50, 50), (50, 50)], &[]),
        ("all fail", &[(0, 50), (0, 50), (0, 50)], &[]),
        ("too few requests", &[(100, 0), (0, 9), (100, 0)], &[]),
        ("too few hosts", &[(100, 0), (0, 100)], &[]),
        (
            "the worst of two, the cap is one",
            &[(100, 0), (100, 0), (100, 0), (0, 100), (10, 90), (100, 0)],
            &[3, 4],
        ),
        (
            "the cap leaves room for the worst only",
            &[(100, 0), (1, 99), (0, 100), (100, 0), (100, 0)],
            &[2, 1],
        ),
    ];
    for (name, counts, expected) in table {
        let mut records: Vec<Record> = counts.iter().map(|&(a, f)| record(a, f)).collect();
        assert_eq!(
            swept(&mut records, Instant::now(), &SETTINGS),
            *expected,
            "{name}"
        );
    }
    let mut three = [
        record(100, 0),
        record(0, 100),
        record(0, 100),
        record(100, 0),
        record(100, 0),
    ];
    let one = OutlierSettings {
        max_ejection_percent: 20,
        ..SETTINGS
    };
    assert_eq!(
        swept(&mut three, Instant::now(), &one).len(),
        1,
        "a fifth of five"
    );
}

#[test]
fn each_ejection_is_longer_up_to_the_limit_and_good_intervals_shorten_the_next() {
    let now = Instant::now();
    let mut record = Record::default();
    let mut times = || record.eject(now, 0.0, &SETTINGS).as_secs();
    assert_eq!([times(), times(), times(), times()], [1, 2, 3, 3]);
    assert!(record.is_ejected(now + Duration::from_millis(2_999)));
    assert!(!record.is_ejected(now + Duration::from_secs(3)));
    let later = now + Duration::from_secs(3);
    for _ in 0..3 {
        swept(std::slice::from_mut(&mut record), later, &SETTINGS);
    }
    assert_eq!(record.eject(later, 0.0, &SETTINGS).as_secs(), 2);
    assert_eq!(
        Record::default().eject(now, 1.0, &SETTINGS),
        Duration::from_millis(1_200),
        "chance adds up to a fifth"
    );
}

#[test]
fn failures_in_a_row_need_somebody_who_works() {
    let now = Instant::now();
    let mut bad = Record::default();
    assert!(!bad.failed(&SETTINGS) && !bad.failed(&SETTINGS));
    bad.succeeded();
    assert!(!bad.failed(&SETTINGS) && !bad.failed(&SETTINGS) && bad.failed(&SETTINGS));
    let room = |others: &[(Record, bool)]| {
        let mut room = Room::default();
        room.count(&bad, true, false, now);
        for (record, usable) in others {
            room.count(record, *usable, true, now);
        }
        room.allows(EjectionReason::ConsecutiveFailures, &SETTINGS)
    };
    let good = || (Record::default(), true);
    let failing = {
        let mut record = Record::default();
        record.failed(&SETTINGS);
        (record, true)
    };
    let mut ejected = Record::default();
    ejected.eject(now, 0.0, &SETTINGS);
    assert!(room(&[good(), good()]));
    assert!(room(&[good()]), "one of two, the other works");
    assert!(!room(&[]), "there is nobody else");
    assert!(!room(&[(Record::default(), false)]), "nobody else is up");
    assert!(!room(&[failing.clone(), failing.clone()]), "all fail alike");
    assert!(room(&[failing, good()]));
    assert!(
        !room(&[(ejected, true), good()]),
        "one of three is ejected already"
    );
}

#[test]
fn settings_that_could_never_eject_are_refused() {
    assert!(OutlierSettings::default().validate().is_ok());
    let inert = OutlierSettings {
        deviations: 1.9,
        ..SETTINGS
    };
    let error = inert.validate().unwrap_err();
    assert_eq!(error.field, "outlier.deviations");
    assert!(error.reason.contains("below 1.41"), "{}", error.reason);
    let five = OutlierSettings {
        minimum_hosts: 5,
        ..inert
    };
    assert!(five.validate().is_ok());
}

proptest! {
    /// Whatever happens, the cap holds and one that is up stays in.
    #[test]
    fn never_more_than_the_cap_and_never_all(
        percent in 0_u32..=100,
        rounds in prop::collection::vec(prop::collection::vec((0_u32..100, 0_u32..100, any::<bool>()), 1..9), 1..6),
    ) {
        let settings = OutlierSettings { max_ejection_percent: percent, ..SETTINGS };
        let count = rounds[0].len();
        let mut records = vec![Record::default(); count];
        let mut now = Instant::now();
        for round in rounds {
            now += Duration::from_millis(700);
            let usable: Vec<bool> = (0..count).map(|at| round.get(at).is_none_or(|(_, _, usable)| *usable)).collect();
            for (record, (answered, failed, _)) in records.iter_mut().zip(&round) {
                record.answered = *answered;
                record.failed = *failed;
            }
            let mut hosts: Vec<Host> = records.iter_mut().zip(&usable).map(|(record, &usable)| Host { record, usable }).collect();
            let before = hosts.iter().filter(|host| host.record.is_ejected(now)).count();
            let ejected = sweep(&mut hosts, now, || 0.5, &settings);
            let after = hosts.iter().filter(|host| host.record.is_ejected(now)).count();
            prop_assert_eq!(after, before + ejected.len());
            if !ejected.is_empty() {
                prop_assert!(after <= settings.most(count));
                prop_assert!(hosts.iter().any(|host| host.usable && !host.record.is_ejected(now)), "somebody stays");
            }
        }
    }
}
