//! How long calls took: how many how long.

use crate::{
    record::Measurement,
    report::{
        canvas::width,
        charts::frame,
        figures,
        picture::{Align, Picture, Tint},
        scale::Scale,
        statistics::{percentile, sorted},
        words,
    },
};

/// How many of sorted values fall into each bin.
pub fn counts(values: &[f64], ends: &[f64]) -> Vec<usize> {
    let mut counts = vec![0; ends.len().saturating_sub(1)];
    let Some(last) = counts.len().checked_sub(1) else {
        return counts;
    };
    for value in values {
        let bin = ends.partition_point(|end| end <= value);
        counts[bin.saturating_sub(1).min(last)] += 1;
    }
    counts
}

/// As many bins as the number of values bears.
pub fn bins_for(count: usize) -> usize {
    ((count as f64).sqrt() * 2.2).round().clamp(8.0, 60.0) as usize
}

/// The outline of bars.
pub fn steps(scale: &Scale, ends: &[f64], heights: &[f64]) -> Vec<(f64, f64)> {
    let mut points = Vec::new();
    for (bin, height) in heights.iter().enumerate() {
        points.push((scale.place(ends[bin]), *height));
        points.push((scale.place(ends[bin + 1]), *height));
    }
    points
}

/// The latencies with their percentiles; where the schedule set the pace also the service's own.
pub fn latency(name: &str, measurement: &Measurement) -> Option<Picture> {
    let all = sorted(measurement.latency_ms.iter().copied());
    let (low, high) = (*all.first()?, *all.last()?);
    let corrected = figures::is_corrected(measurement);
    let service = if corrected {
        sorted(measurement.service_ms.iter().copied())
    } else {
        Vec::new()
    };
    let low = service.first().map_or(low, |first| first.min(low));
    let pace = match measurement.rate {
        Some(rate) => format!("{} calls/s by schedule (open loop)", words::number(rate)),
        None => format!("{} at once (closed loop)", measurement.at_once),
    };
    let below = format!(
        "{}; {pace}; from when a call was due to the end of its answer",
        frame::counted(all.len())
    );
    let title = format!("{}: how long calls took", measurement.name);
    let mut picture = frame::titled(&format!("{name}-latency"), &title, &below, 470.0);
    let (top, bottom) = (frame::TOP + 46.0, 410.0);
    let across = Scale::times(low, high, frame::LEFT, frame::RIGHT);
    let ends = across.bins(bins_for(all.len()));
    let bars = counts(&all, &ends);
    let outline = counts(&service, &ends);
    let most = bars.iter().chain(&outline).max().copied().unwrap_or(1);
    let up = Scale::from_zero(most as f64, bottom, top);
    let marks: Vec<f64> = up
        .marks(5)
        .into_iter()
        .filter(|mark| mark.fract() == 0.0)
        .collect();
    frame::left(&mut picture, &up, &marks, words::number, "calls");
    frame::below(
        &mut picture,
        &across,
        &across.marks(9),
        words::time,
        "time (logarithmic)",
        (top, bottom),
    );
    for (bin, count) in bars.iter().enumerate().filter(|(_, count)| **count > 0) {
        let (from, to) = (across.place(ends[bin]), across.place(ends[bin + 1]));
        picture.block(
            (from + 0.5, up.place(*count as f64)),
            (to - 0.5, bottom),
            Tint::Blue,
            0.85,
        );
    }
    if corrected {
        let heights: Vec<f64> = outline
            .iter()
            .map(|count| up.place(*count as f64))
            .collect();
        picture.line(steps(&across, &ends, &heights), Tint::Orange, 2.4);
        let hidden = [
            (Tint::Blue, "from the moment it was due".to_owned()),
            (Tint::Orange, "from the moment it was sent".to_owned()),
        ];
        frame::legend(&mut picture, bottom + 62.0, &hidden);
        picture.height += 24.0;
    }
    percentiles(&mut picture, &across, &all, (top, bottom));
    Some(picture)
}

/// Lines at the percentiles with their values above, none over another.
fn percentiles(picture: &mut Picture, across: &Scale, all: &[f64], (top, bottom): (f64, f64)) {
    let mut free = [0.0_f64; 3];
    for (share, name) in [(0.5, "p50"), (0.95, "p95"), (0.99, "p99")] {
        let Some(value) = percentile(all, share) else {
            continue;
        };
        let x = across.place(value);
        let label = format!("{name} {}", words::time(value));
        let half = width(&label, frame::LABEL, true) / 2.0 + 5.0;
        let middle = x.clamp(frame::LEFT + half, frame::RIGHT - half);
        let row = free
            .iter()
            .position(|free| middle - half >= *free)
            .unwrap_or(2);
        free[row] = middle + half;
        let y = top - 8.0 - 16.0 * row as f64;
        picture.dashes((x, top), (x, bottom), Tint::Ink, 1.6);
        picture.bold((middle, y), Align::Middle, frame::LABEL, Tint::Ink, &label);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_value_is_lost_between_the_bins(values in prop::collection::vec(0.0..1e6, 0..200), bins in 1_usize..60) {
            let all = sorted(values);
            let scale = Scale::times(*all.first().unwrap_or(&0.0), *all.last().unwrap_or(&0.0), 0.0, 1.0);
            prop_assert_eq!(counts(&all, &scale.bins(bins)).iter().sum::<usize>(), all.len());
        }
    }
}
