//! Where the time went: what each tier says of itself.

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

const MOST: usize = 12;

struct Row {
    tier: String,
    /// By group: how many, median, 95th percentile.
    figures: Vec<Option<(usize, f64, f64)>>,
}

/// Bars of the medians by tier with a whisker to the 95th percentile; by state of the cache where there are some.
pub fn by_tier(name: &str, measurement: &Measurement) -> Option<Picture> {
    let mut groups = figures::by(measurement, "cache");
    groups.sort_by_key(|(_, calls)| std::cmp::Reverse(calls.len()));
    groups.truncate(3);
    if groups.len() < 2 {
        groups = vec![("all calls".to_owned(), figures::all(measurement))];
    }
    let mut rows: Vec<Row> = measurement
        .tiers
        .iter()
        .map(|(tier, times)| Row {
            tier: tier.clone(),
            figures: groups
                .iter()
                .map(|(_, calls)| {
                    let told = sorted(calls.iter().filter_map(|call| *times.get(*call)?));
                    Some((
                        told.len(),
                        percentile(&told, 0.5)?,
                        percentile(&told, 0.95)?,
                    ))
                })
                .collect(),
        })
        .filter(|row| row.figures.iter().any(Option::is_some))
        .collect();
    if rows.is_empty() {
        return None;
    }
    let slowest = |row: &Row| {
        row.figures
            .iter()
            .flatten()
            .map(|f| f.1)
            .fold(0.0, f64::max)
    };
    rows.sort_by(|one, other| slowest(other).total_cmp(&slowest(one)));
    rows.truncate(MOST);
    let bar = 17.0;
    let high = bar * groups.len() as f64 + 16.0;
    let bottom = frame::TOP + 30.0 + high * rows.len() as f64;
    let title = format!("{}: what each tier took", measurement.name);
    let below = "median, with a line to the 95th percentile; the times of outer tiers contain those of inner ones (Server-Timing)";
    let mut picture = frame::titled(&format!("{name}-tiers"), &title, below, bottom + 56.0);
    let entries: Vec<(Tint, String)> = groups
        .iter()
        .enumerate()
        .map(|(place, (group, calls))| {
            (
                Tint::data(place),
                format!("{group} ({})", frame::counted(calls.len())),
            )
        })
        .collect();
    frame::legend(&mut picture, frame::TOP, &entries);
    let left = frame::LEFT + 50.0;
    let most = rows
        .iter()
        .flat_map(|row| &row.figures)
        .flatten()
        .map(|f| f.2)
        .fold(0.0, f64::max);
    // Room for the words behind the longest.
    let across = Scale::from_zero(most * 1.36, left, frame::RIGHT);
    frame::below(
        &mut picture,
        &across,
        &across.marks(8),
        words::time,
        "time",
        (frame::TOP + 16.0, bottom),
    );
    for (place, row) in rows.iter().enumerate() {
        let top = frame::TOP + 30.0 + high * place as f64;
        let middle = top + bar * groups.len() as f64 / 2.0;
        picture.bold(
            (left - 10.0, middle),
            Align::Right,
            14.0,
            Tint::Ink,
            &words::short(&row.tier, 13),
        );
        for (group, figures) in row.figures.iter().enumerate() {
            let y = top + bar * (group as f64 + 0.5);
            let Some((_, median, high)) = figures else {
                picture.text(
                    (left + 5.0, y),
                    Align::Left,
                    12.0,
                    Tint::Soft,
                    "not reached",
                );
                continue;
            };
            let (x, end) = (across.place(*median), across.place(*high));
            picture.block(
                (left, y - bar / 2.0 + 1.0),
                (x.max(left + 1.0), y + bar / 2.0 - 1.0),
                Tint::data(group),
                1.0,
            );
            picture.line(vec![(x, y), (end, y)], Tint::Ink, 1.4);
            picture.line(vec![(end, y - 4.0), (end, y + 4.0)], Tint::Ink, 1.4);
            let label = format!("p50 {}  p95 {}", words::time(*median), words::time(*high));
            let wide = width(&label, 12.0, false);
            picture.text(
                (end.max(x).min(frame::RIGHT - wide - 8.0) + 8.0, y),
                Align::Left,
                12.0,
                Tint::Ink,
                &label,
            );
        }
    }
    Some(picture)
}
