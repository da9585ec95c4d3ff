//! Two runs in one chart.

use crate::report::{
    charts::{frame, histogram},
    picture::{Picture, Tint},
    scale::Scale,
    words,
};

/// Corners of a curve.
const CORNERS: usize = 500;
const TINTS: [Tint; 2] = [Tint::Blue, Tint::Orange];

/// Sorted times of both runs.
type Two<'a> = [&'a [f64]; 2];

/// Which share of the calls took at most so long.
pub fn ecdf(name: &str, measurement: &str, labels: [&str; 2], times: Two) -> Option<Picture> {
    let title = format!("{measurement}: share of the calls that took at most so long");
    let (mut picture, across, place) = prepared(&format!("{name}-ecdf"), &title, labels, times)?;
    let up = Scale::linear(0.0, 1.0, place.1, place.0);
    let marks = [0.0, 0.25, 0.5, 0.75, 0.95, 1.0];
    frame::left(
        &mut picture,
        &up,
        &marks,
        words::percent,
        "share of the calls",
    );
    for (times, tint) in times.into_iter().zip(TINTS) {
        let mut points = vec![(across.place(times[0]), place.1)];
        let every = times.len().div_ceil(CORNERS).max(1);
        for (number, time) in times.iter().enumerate() {
            if number.is_multiple_of(every) || number + 1 == times.len() {
                let x = across.place(*time);
                let before = points[points.len() - 1].1;
                points.push((x, before));
                points.push((x, up.place((number + 1) as f64 / times.len() as f64)));
            }
        }
        points.push((frame::RIGHT, place.0));
        picture.line(points, tint, 2.4);
    }
    Some(picture)
}

/// Both histograms as shares of their calls, one over the other.
pub fn overlay(name: &str, measurement: &str, labels: [&str; 2], times: Two) -> Option<Picture> {
    let title = format!("{measurement}: how long calls took");
    let (mut picture, across, place) = prepared(&format!("{name}-latency"), &title, labels, times)?;
    let count = times[0].len().min(times[1].len());
    let ends = across.bins(histogram::bins_for(count).min(45));
    let shares = times.map(|times| -> Vec<f64> {
        let counts = histogram::counts(times, &ends);
        counts
            .iter()
            .map(|count| *count as f64 / times.len() as f64)
            .collect()
    });
    let most = shares.iter().flatten().copied().fold(0.0, f64::max);
    let up = Scale::from_zero(most, place.1, place.0);
    frame::left(
        &mut picture,
        &up,
        &up.marks(5),
        words::percent,
        "share of the calls",
    );
    for (shares, tint) in shares.iter().zip(TINTS) {
        let heights: Vec<f64> = shares.iter().map(|share| up.place(*share)).collect();
        let line = histogram::steps(&across, &ends, &heights);
        let mut area = vec![(frame::LEFT, place.1)];
        area.extend(&line);
        area.push((frame::RIGHT, place.1));
        picture.area(area, tint, 0.25);
        picture.line(line, tint, 2.0);
    }
    Some(picture)
}

/// The frame, the axis of time, and the top and bottom of the data.
fn prepared(
    name: &str,
    title: &str,
    labels: [&str; 2],
    times: Two,
) -> Option<(Picture, Scale, (f64, f64))> {
    let low = times[0].first()?.min(*times[1].first()?);
    let high = times[0].last()?.max(*times[1].last()?);
    let below = format!(
        "A {}, B {}; from when a call was due to the end of its answer",
        frame::counted(times[0].len()),
        frame::counted(times[1].len())
    );
    let mut picture = frame::titled(name, title, &below, 460.0);
    let entries: Vec<(Tint, String)> = labels
        .into_iter()
        .zip(["A", "B"])
        .zip(TINTS)
        .map(|((label, letter), tint)| (tint, format!("{letter}: {label}")))
        .collect();
    frame::legend(&mut picture, frame::TOP, &entries);
    let across = Scale::times(low, high, frame::LEFT, frame::RIGHT);
    let place = (frame::TOP + 24.0, 400.0);
    frame::below(
        &mut picture,
        &across,
        &across.marks(9),
        words::time,
        "time (logarithmic)",
        place,
    );
    Some((picture, across, place))
}
