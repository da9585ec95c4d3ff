//! The year that is seeded: how many trips each day gets, and when people travel.
//!
//! Times are whole seconds since the Unix epoch; days are counted from 0, the 1st of November 2025, in Bogotá time.

use chrono::{Datelike, NaiveDate, Weekday};

use crate::chance::Chance;

/// Days in the seeded year, 2025-11-01 to 2026-10-31.
pub const DAYS: u32 = 365;
pub const DAY: i64 = 86_400;
/// Midnight of day 0 in Bogotá, five hours behind UTC all year.
pub const START: i64 = 1_761_955_200 + 5 * 3_600;
/// Midnight after the last day.
pub const END: i64 = START + DAYS as i64 * DAY;

const HOLIDAYS: [(i32, u32, u32); 18] = [
    (2025, 11, 3),
    (2025, 11, 17),
    (2025, 12, 8),
    (2025, 12, 25),
    (2026, 1, 1),
    (2026, 1, 12),
    (2026, 3, 23),
    (2026, 4, 2),
    (2026, 4, 3),
    (2026, 5, 1),
    (2026, 5, 18),
    (2026, 6, 8),
    (2026, 6, 15),
    (2026, 6, 29),
    (2026, 7, 20),
    (2026, 8, 7),
    (2026, 8, 17),
    (2026, 10, 12),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Workday,
    Saturday,
    Rest,
}

fn date(day: u32) -> NaiveDate {
    NaiveDate::from_ymd_opt(2025, 11, 1).expect("a date") + chrono::Days::new(u64::from(day))
}

pub fn kind(day: u32) -> Kind {
    let date = date(day);
    if HOLIDAYS.contains(&(date.year(), date.month(), date.day())) || date.weekday() == Weekday::Sun
    {
        Kind::Rest
    } else if date.weekday() == Weekday::Sat {
        Kind::Saturday
    } else {
        Kind::Workday
    }
}

/// How busy a day is against the others.
fn weight(day: u32) -> u64 {
    let by_kind = match kind(day) {
        Kind::Workday => 100,
        Kind::Saturday => 68,
        Kind::Rest => 42,
    };
    // Schools and offices close around Christmas and in the middle of the year.
    let by_month = match date(day).month() {
        1 => 80,
        12 => 86,
        6 | 7 => 93,
        _ => 100,
    };
    by_kind * by_month
}

/// Trips of each day; they add up to exactly `total`.
pub fn quotas(total: u64) -> Vec<u64> {
    let weights: Vec<u64> = (0..DAYS).map(weight).collect();
    let sum: u64 = weights.iter().sum();
    let mut until_now = 0;
    let mut given = 0;
    weights
        .into_iter()
        .map(|weight| {
            until_now += weight;
            let quota = total * until_now / sum - given;
            given += quota;
            quota
        })
        .collect()
}

/// When somebody leaves home and when they come back, in seconds after midnight.
#[derive(Clone, Copy, Debug)]
pub struct Outing {
    pub out: i64,
    /// None: they come back some other way.
    pub back: Option<i64>,
}

/// The hours of a day: two rush hours on workdays, a broad afternoon on others.
pub fn outing(day: u32, chance: &mut Chance) -> Outing {
    let commutes = match kind(day) {
        Kind::Workday => 78,
        Kind::Saturday => 30,
        Kind::Rest => 6,
    };
    let (out, back) = if chance.percent(commutes) {
        // The sum of two draws has its peak in the middle: half past six and a quarter past six.
        (
            hours(5, 0) + chance.between(0, 5_400) + chance.between(0, 5_400),
            hours(16, 30) + chance.between(0, 6_300) + chance.between(0, 6_300),
        )
    } else {
        let out = hours(8, 30) + chance.between(0, 14_400) + chance.between(0, 10_800);
        (
            out,
            (out + hours(4, 30) + chance.between(0, 7_200))
                .min(hours(19, 55) + chance.between(0, 300)),
        )
    };
    Outing {
        out,
        back: chance.percent(72).then_some(back),
    }
}

const fn hours(hours: i64, minutes: i64) -> i64 {
    hours * 3_600 + minutes * 60
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chance::Subject;

    #[test]
    fn the_year_begins_and_ends_where_it_says() {
        let start = chrono::DateTime::from_timestamp(START, 0).unwrap();
        assert_eq!(start.to_rfc3339(), "2025-11-01T05:00:00+00:00");
        assert_eq!(
            date(DAYS - 1),
            NaiveDate::from_ymd_opt(2026, 10, 31).unwrap()
        );
        assert_eq!(kind(0), Kind::Saturday);
        assert_eq!(kind(2), Kind::Rest, "All Saints' is kept on Monday the 3rd");
    }

    #[test]
    fn quotas_add_up_and_workdays_are_busier() {
        for total in [0, 40_000, 1_000_000] {
            assert_eq!(quotas(total).iter().sum::<u64>(), total);
        }
        let quotas = quotas(1_000_000);
        assert!(
            quotas[4] > quotas[0] && quotas[0] > quotas[1],
            "{:?}",
            &quotas[..7]
        );
    }

    #[test]
    fn workdays_have_two_rush_hours() {
        let mut chance = Chance::new(1, Subject::Trips);
        let mut by_hour = [0_u32; 24];
        for _ in 0..10_000 {
            let outing = outing(4, &mut chance);
            by_hour[usize::try_from(outing.out / 3_600).unwrap()] += 1;
            if let Some(back) = outing.back {
                by_hour[usize::try_from(back / 3_600).unwrap()] += 1;
            }
        }
        assert!(
            by_hour[6] > 3 * by_hour[11] && by_hour[18] > 2 * by_hour[14],
            "{by_hour:?}"
        );
        assert_eq!(
            by_hour[..5].iter().sum::<u32>() + by_hour[20..].iter().sum::<u32>(),
            0
        );
    }
}
