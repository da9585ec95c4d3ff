//! Answers out of the cache beside those that were computed.

use crate::{
    record::Measurement,
    report::{
        charts::frame,
        figures,
        picture::{Align, Picture, Tint},
        scale::Scale,
        statistics::{percentile, sorted},
        words,
    },
};

/// Dots of a row.
const DOTS: usize = 400;
const MOST: usize = 6;

/// A row for each state of the cache: every call a dot, a box around the middle half, the median.
pub fn by_cache(name: &str, measurement: &Measurement) -> Option<Picture> {
    let mut rows: Vec<(String, Vec<f64>)> = figures::by(measurement, "cache")
        .into_iter()
        .map(|(state, calls)| {
            let times = calls
                .iter()
                .filter_map(|call| measurement.latency_ms.get(*call));
            (state, sorted(times.copied()))
        })
        .filter(|(_, times)| !times.is_empty())
        .collect();
    if rows.len() < 2 {
        return None;
    }
    rows.sort_by_key(|(_, times)| std::cmp::Reverse(times.len()));
    rows.truncate(MOST);
    rows.sort_by(|one, other| median(&one.1).total_cmp(&median(&other.1)));
    let (fast, slow) = (rows.first()?, rows.last()?);
    let below = if median(&fast.1) > 0.0 && median(&slow.1) / median(&fast.1) >= 1.05 {
        format!(
            "the median {} takes {} times as long as the median {}; each dot is a call, the box holds the middle half",
            slow.0,
            words::number(median(&slow.1) / median(&fast.1)),
            fast.0
        )
    } else {
        "the medians are the same; each dot is a call, the box holds the middle half".to_owned()
    };
    let title = format!("{}: by the state of the cache", measurement.name);
    let high = 84.0;
    let bottom = frame::TOP + 8.0 + high * rows.len() as f64;
    let mut picture = frame::titled(&format!("{name}-cache"), &title, &below, bottom + 60.0);
    let left = frame::LEFT + 58.0;
    let least = rows
        .iter()
        .map(|row| row.1[0])
        .fold(f64::INFINITY, f64::min);
    let most = rows
        .iter()
        .filter_map(|row| row.1.last())
        .copied()
        .fold(0.0, f64::max);
    let across = Scale::times(least, most, left, frame::RIGHT);
    frame::below(
        &mut picture,
        &across,
        &across.marks(9),
        words::time,
        "time (logarithmic)",
        (frame::TOP, bottom),
    );
    for (place, (state, times)) in rows.iter().enumerate() {
        let tint = Tint::data(place);
        let middle = frame::TOP + 4.0 + high * (place as f64 + 0.5);
        picture.bold(
            (24.0, middle - 8.0),
            Align::Left,
            14.0,
            Tint::Ink,
            &words::short(state, 13),
        );
        picture.text(
            (24.0, middle + 11.0),
            Align::Left,
            frame::LABEL,
            Tint::Soft,
            &frame::counted(times.len()),
        );
        let every = times.len().div_ceil(DOTS).max(1);
        for (number, time) in times.iter().enumerate() {
            // The slowest are shown always.
            if number.is_multiple_of(every) || number + 3 >= times.len() {
                // Spread without chance: the golden ratio leaves no pattern.
                let share = (number as f64 * 0.618_034).fract() - 0.5;
                picture.dot(
                    (across.place(*time), middle + 12.0 + share * 34.0),
                    2.6,
                    tint,
                    0.5,
                );
            }
        }
        let at = |share| across.place(percentile(times, share).unwrap_or_default());
        let (from, to) = (at(0.25), at(0.75));
        picture.block(
            (from, middle - 18.0),
            (to.max(from + 1.0), middle - 6.0),
            tint,
            1.0,
        );
        let x = at(0.5);
        picture.line(vec![(x, middle - 22.0), (x, middle + 32.0)], Tint::Ink, 2.0);
        let label = format!("p50 {}", words::time(median(times)));
        let (x, align) = if x > frame::RIGHT - 130.0 {
            (x - 6.0, Align::Right)
        } else {
            (x + 6.0, Align::Left)
        };
        picture.bold((x, middle - 28.0), align, frame::LABEL, Tint::Ink, &label);
    }
    Some(picture)
}

fn median(times: &[f64]) -> f64 {
    percentile(times, 0.5).unwrap_or_default()
}
