//! What happened when: latencies and series over time, with what was done.

use std::fmt::Write as _;

use crate::{
    record::{Mark, Measurement, Series},
    report::{
        canvas::width,
        charts::frame,
        figures,
        picture::{Align, Picture, Tint},
        scale::Scale,
        statistics::{is_time, percentile, sorted},
        words,
    },
};

/// More points than that cannot be seen apart.
const POINTS: usize = 900;
/// Of the shade below a line, which is filled slowly.
const AREA: usize = 200;
const MARKS: usize = 16;
const ROW: f64 = 18.0;

/// A moment and a value.
type Point = (f64, f64);

/// The points that show as much as all: of each stretch of time the lowest and the highest.
pub fn thin(points: &[Point], most: usize) -> Vec<Point> {
    if points.len() <= most || most < 4 {
        return points.to_vec();
    }
    let stretch = (points.len() * 2).div_ceil(most).max(2);
    let mut kept = Vec::new();
    for points in points.chunks(stretch) {
        let by_value =
            |one: &(usize, &Point), other: &(usize, &Point)| one.1.1.total_cmp(&other.1.1);
        let low = points.iter().enumerate().min_by(by_value);
        let high = points.iter().enumerate().max_by(by_value);
        if let (Some((low, _)), Some((high, _))) = (low, high) {
            kept.push(points[low.min(high)]);
            if low != high {
                kept.push(points[low.max(high)]);
            }
        }
    }
    kept
}

/// The latency of each call when it was due; failed ones as crosses.
pub fn latency(name: &str, measurement: &Measurement, marks: &[Mark]) -> Option<Picture> {
    let times = measurement
        .at_ms
        .iter()
        .zip(&measurement.latency_ms)
        .enumerate();
    let calls: Vec<(usize, Point)> = times
        .filter(|(_, (at, latency))| at.is_finite() && is_time(**latency))
        .map(|(call, (at, latency))| (call, (*at, *latency)))
        .collect();
    let (first, last) = ends(calls.iter().map(|call| call.1.0))?;
    let (good, failed): (Vec<_>, Vec<_>) = calls
        .iter()
        .partition(|(call, _)| !figures::is_error(measurement, *call));
    let points =
        |calls: &[&(usize, Point)]| -> Vec<Point> { calls.iter().map(|call| call.1).collect() };
    let (good, failed) = (points(&good), points(&failed));
    let all = sorted(calls.iter().map(|call| call.1.1));
    let (low, high) = (*all.first()?, *all.last()?);
    let mut below = frame::counted(calls.len());
    if failed.is_empty() {
        below.push_str("; each dot is a call");
    } else {
        let _ = write!(
            below,
            "; each dot is a call, each cross one without an answer or with a server error ({})",
            failed.len()
        );
    }
    let shown = thin(&good, 2 * POINTS);
    if shown.len() < good.len() {
        let _ = write!(below, "; {} are drawn", shown.len());
    }
    let title = format!("{}: latency over time", measurement.name);
    let near = near(marks, first, last);
    let (mut picture, bottom) = timed(
        &format!("{name}-over-time"),
        &title,
        &below,
        &near,
        first,
        last,
    );
    let top = frame::TOP + 26.0;
    // Over a wide range only a logarithm shows both ends.
    let wide = high > 20.0 * percentile(&all, 0.05).unwrap_or(low).max(1e-3);
    let (up, unit) = if wide {
        (Scale::times(low, high, bottom, top), "time (logarithmic)")
    } else {
        (Scale::from_zero(high, bottom, top), "time")
    };
    frame::left(&mut picture, &up, &up.marks(6), words::time, unit);
    let across = Scale::linear(first, last, frame::LEFT, frame::RIGHT);
    moments(&mut picture, &across, &near, (top, bottom));
    let (radius, alpha) = if shown.len() > 300 {
        (2.0, 0.5)
    } else {
        (3.2, 0.75)
    };
    for (at, latency) in shown {
        picture.dot(
            (across.place(at), up.place(latency)),
            radius,
            Tint::Blue,
            alpha,
        );
    }
    for (at, latency) in thin(&failed, POINTS / 2) {
        picture.cross((across.place(at), up.place(latency)), 3.6, Tint::Bad);
    }
    Some(picture)
}

/// A figure over time.
pub fn series(name: &str, series: &Series, marks: &[Mark]) -> Option<Picture> {
    let points: Vec<Point> = series
        .points
        .iter()
        .copied()
        .filter(|(at, value)| at.is_finite() && value.is_finite())
        .collect();
    let (first, last) = ends(points.iter().map(|point| point.0))?;
    let (low, high) = ends(points.iter().map(|point| point.1))?;
    let below = format!("{} — {}", series.expression, frame::counted(points.len()));
    let near = near(marks, first, last);
    let (mut picture, bottom) = timed(name, &series.name, &below, &near, first, last);
    let top = frame::TOP + 26.0;
    let up = if low >= 0.0 {
        Scale::from_zero(high, bottom, top)
    } else {
        Scale::linear(low, high, bottom, top)
    };
    let is_time = matches!(series.unit.as_str(), "ms" | "s" | "milliseconds");
    let say = |value: f64| {
        if is_time {
            words::time(value)
        } else {
            words::number(value)
        }
    };
    let unit = if series.unit.is_empty() {
        series.name.as_str()
    } else {
        series.unit.as_str()
    };
    frame::left(
        &mut picture,
        &up,
        &up.marks(5),
        say,
        if is_time { "time" } else { unit },
    );
    let across = Scale::linear(first, last, frame::LEFT, frame::RIGHT);
    moments(&mut picture, &across, &near, (top, bottom));
    let drawn = |most: usize| -> Vec<Point> {
        let points = thin(&points, most).into_iter();
        points
            .map(|(at, value)| (across.place(at), up.place(value)))
            .collect()
    };
    let line = drawn(POINTS);
    let mut area = drawn(AREA);
    if let (Some(first), Some(last)) = (area.first().copied(), area.last().copied()) {
        area.extend([(last.0, bottom), (first.0, bottom)]);
        picture.area(area, Tint::Blue, 0.14);
    }
    if line.len() < 60 {
        for point in &line {
            picture.dot(*point, 3.0, Tint::Blue, 1.0);
        }
    }
    picture.line(line, Tint::Blue, 2.2);
    Some(picture)
}

fn ends(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    values.fold(None, |ends, value| match ends {
        None => Some((value, value)),
        Some((low, high)) => Some((value.min(low), value.max(high))),
    })
}

/// The marks of this stretch of time, and a little around it.
fn near(marks: &[Mark], first: f64, last: f64) -> Vec<&Mark> {
    let room = ((last - first) * 0.02).max(1.0);
    let mut near: Vec<&Mark> = marks
        .iter()
        .filter(|mark| mark.at_ms >= first - room && mark.at_ms <= last + room)
        .collect();
    near.sort_by(|one, other| one.at_ms.total_cmp(&other.at_ms));
    near
}

/// A picture with an axis of time and what the numbers of the marks mean; and where its data end.
fn timed(
    name: &str,
    title: &str,
    below: &str,
    marks: &[&Mark],
    first: f64,
    last: f64,
) -> (Picture, f64) {
    let listed = marks.len().min(MARKS);
    let rows = listed.div_ceil(2) + usize::from(marks.len() > MARKS);
    let bottom = 360.0;
    let height = bottom
        + 58.0
        + if rows > 0 {
            10.0 + ROW * rows as f64
        } else {
            0.0
        };
    let mut picture = frame::titled(name, title, below, height);
    let across = Scale::linear(first, last, frame::LEFT, frame::RIGHT);
    // Seconds since the run began.
    let seconds = Scale::linear(
        first / 1e3,
        (last / 1e3).max(first / 1e3 + 1e-3),
        frame::LEFT,
        frame::RIGHT,
    );
    let ticks: Vec<f64> = seconds.marks(9).iter().map(|second| second * 1e3).collect();
    let say = |at: f64| format!("{} s", words::number((at / 1e2).round() / 10.0));
    let fine = last - first < 2_000.0;
    let exactly = |at: f64| format!("{:.2} s", at / 1e3);
    let place = (frame::TOP + 26.0, bottom);
    let title = "seconds since the run began";
    if fine {
        frame::below(&mut picture, &across, &ticks, exactly, title, place);
    } else {
        frame::below(&mut picture, &across, &ticks, say, title, place);
    }
    for (number, mark) in marks.iter().take(MARKS).enumerate() {
        let (column, row) = (number / listed.div_ceil(2), number % listed.div_ceil(2));
        let x = frame::LEFT + column as f64 * (frame::RIGHT - frame::LEFT) / 2.0;
        let y = bottom + 66.0 + ROW * row as f64;
        picture.bold(
            (x + 16.0, y),
            Align::Right,
            12.0,
            Tint::Purple,
            &(number + 1).to_string(),
        );
        let text = format!(
            "{:.1} s  {}",
            mark.at_ms / 1e3,
            words::short(&mark.text, 54)
        );
        picture.text((x + 24.0, y), Align::Left, 12.0, Tint::Ink, &text);
    }
    if marks.len() > MARKS {
        let y = bottom + 66.0 + ROW * (rows - 1) as f64;
        let text = format!("and {} more, without a number", marks.len() - MARKS);
        picture.text(
            (frame::LEFT + 24.0, y),
            Align::Left,
            12.0,
            Tint::Soft,
            &text,
        );
    }
    (picture, bottom)
}

/// A line for each mark, a shade for what took time, and its number above.
fn moments(picture: &mut Picture, across: &Scale, marks: &[&Mark], (top, bottom): (f64, f64)) {
    let mut free = [0.0_f64; 2];
    for (number, mark) in marks.iter().enumerate().take(20 * MARKS) {
        let (from, to) = (across.place(mark.at_ms), across.place(mark.until_ms));
        if to - from > 2.0 {
            picture.block((from, top), (to, bottom), Tint::Purple, 0.06);
        }
        picture.dashes((from, top - 4.0), (from, bottom), Tint::Purple, 1.4);
        if number < MARKS {
            let label = (number + 1).to_string();
            let half = width(&label, 12.0, true) / 2.0 + 2.0;
            let row = usize::from(from - half < free[0]);
            free[row] = from + half;
            picture.bold(
                (from, top - 11.0 - 13.0 * row as f64),
                Align::Middle,
                12.0,
                Tint::Purple,
                &label,
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn thinning_keeps_the_extremes_and_the_order(
            values in prop::collection::vec(-1e6..1e6, 0..3_000), most in 4_usize..400,
        ) {
            let points: Vec<Point> = values.iter().enumerate().map(|(at, value)| (at as f64, *value)).collect();
            let kept = thin(&points, most);
            prop_assert!(kept.len() <= most.max(4) + 2);
            prop_assert!(kept.is_sorted_by(|one, other| one.0 < other.0));
            prop_assert_eq!(ends(kept.iter().map(|point| point.1)), ends(points.iter().map(|point| point.1)));
        }
    }
}
