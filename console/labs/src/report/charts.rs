//! The charts of a run: only those that its data give.

mod bars;
mod compared;
mod frame;
mod histogram;
mod lines;
mod spread;
mod tiers;

pub use compared::{ecdf, overlay};

use crate::record::Run;

use super::{figures, picture::Picture};

/// More distributions than that are no help.
const DISTRIBUTIONS: usize = 3;

/// Those of one measurement, in the order in which they are shown.
#[must_use]
pub fn of_measurement(run: &Run, place: usize) -> Vec<Picture> {
    let Some(measurement) = run.measurements.get(place) else {
        return Vec::new();
    };
    let name = format!("m{}-{}", place + 1, slug(&measurement.name));
    let mut pictures = Vec::new();
    for column in figures::answerers(measurement)
        .into_iter()
        .take(DISTRIBUTIONS)
    {
        pictures.extend(bars::distribution(&name, measurement, column));
    }
    pictures.extend(histogram::latency(&name, measurement));
    pictures.extend(spread::by_cache(&name, measurement));
    pictures.extend(tiers::by_tier(&name, measurement));
    pictures.extend(lines::latency(&name, measurement, &run.marks));
    pictures
}

/// Those of the run's series.
#[must_use]
pub fn of_series(run: &Run) -> Vec<Picture> {
    let numbered = run.series.iter().enumerate();
    numbered
        .filter_map(|(place, series)| {
            let name = format!("s{}-{}", place + 1, slug(&series.name));
            lines::series(&name, series, &run.marks)
        })
        .collect()
}

/// A text as part of a file's name.
#[must_use]
pub fn slug(text: &str) -> String {
    let mut slug = String::new();
    for letter in text.chars().take(200) {
        if letter.is_ascii_alphanumeric() {
            slug.push(letter.to_ascii_lowercase());
        } else if !slug.is_empty() && !slug.ends_with('-') {
            slug.push('-');
        }
        if slug.len() >= 40 {
            break;
        }
    }
    let slug = slug.trim_end_matches('-');
    if slug.is_empty() {
        "unnamed".to_owned()
    } else {
        slug.to_owned()
    }
}
