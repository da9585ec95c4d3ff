//! How calls spread over those that answered.

use std::fmt::Write as _;

use crate::{
    record::Measurement,
    report::{
        charts::{frame, slug},
        figures,
        picture::{Align, Picture, Tint},
        scale::Scale,
        words,
    },
};

const MOST: usize = 16;

/// Bars of the calls by a column, with the even share as a line.
pub fn distribution(name: &str, measurement: &Measurement, column: &str) -> Option<Picture> {
    let mut groups: Vec<(String, usize)> = figures::by(measurement, column)
        .into_iter()
        .map(|(who, calls)| (who, calls.len()))
        .collect();
    if groups.is_empty() {
        return None;
    }
    let (all, total) = (
        groups.len(),
        groups.iter().map(|group| group.1).sum::<usize>(),
    );
    if all > MOST {
        groups.sort_by_key(|group| std::cmp::Reverse(group.1));
        let rest = groups.split_off(MOST - 1);
        let count = rest.iter().map(|group| group.1).sum();
        groups.push((format!("{} others", rest.len()), count));
    }
    let silent = measurement.len() - total;
    let mut below = format!(
        "{} answered calls over {}",
        frame::counted(total),
        words::count(all, column)
    );
    if silent > 0 {
        let _ = write!(below, "; {silent} without a {column}");
    }
    let title = format!("{}: calls by {column}", measurement.name);
    let mut picture = frame::titled(&format!("{name}-{}", slug(column)), &title, &below, 430.0);
    let bottom = 370.0;
    let even = total as f64 / all as f64;
    let most = groups.iter().map(|group| group.1).max().unwrap_or(1) as f64;
    let scale = Scale::from_zero(most.max(even) * 1.12, bottom, frame::TOP);
    let marks: Vec<f64> = scale
        .marks(5)
        .into_iter()
        .filter(|mark| mark.fract() == 0.0)
        .collect();
    frame::left(&mut picture, &scale, &marks, words::number, "calls");
    let slot = (frame::RIGHT - frame::LEFT) / groups.len() as f64;
    let bar = (slot * 0.62).min(130.0);
    let letters = ((slot / 7.6) as usize).max(3);
    for (place, (who, count)) in groups.iter().enumerate() {
        let middle = frame::LEFT + slot * (place as f64 + 0.5);
        let top = scale.place(*count as f64);
        picture.block(
            (middle - bar / 2.0, top),
            (middle + bar / 2.0, bottom),
            Tint::Blue,
            1.0,
        );
        let share = words::percent(*count as f64 / total as f64);
        let label = if slot > 110.0 {
            format!("{count} ({share})")
        } else {
            count.to_string()
        };
        picture.bold(
            (middle, top - 11.0),
            Align::Middle,
            frame::LABEL,
            Tint::Ink,
            &label,
        );
        let who = words::short(who, letters);
        picture.text(
            (middle, bottom + 18.0),
            Align::Middle,
            frame::LABEL,
            Tint::Ink,
            &who,
        );
    }
    picture.line(
        vec![(frame::LEFT, bottom), (frame::RIGHT, bottom)],
        Tint::Soft,
        1.2,
    );
    if all > 1 {
        let y = scale.place(even);
        picture.dashes((frame::LEFT, y), (frame::RIGHT, y), Tint::Bad, 2.0);
        let label = format!(
            "- - -  even share: {} ({})",
            words::number(even),
            words::percent(1.0 / all as f64)
        );
        picture.text(
            (frame::RIGHT, bottom + 42.0),
            Align::Right,
            frame::LABEL,
            Tint::Bad,
            &label,
        );
    }
    picture.text(
        (f64::midpoint(frame::LEFT, frame::RIGHT), bottom + 42.0),
        Align::Middle,
        frame::LABEL,
        Tint::Soft,
        column,
    );
    Some(picture)
}
