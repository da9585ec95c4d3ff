//! An instance's or a store's state as glyph and word, so that colour is never alone.

use ratatui::style::Style;

use super::theme::Theme;
use crate::state::{
    alerts::{Severity, age},
    instance::Status,
    overview::Store,
    traffic::Tone,
};

/// What a state looks like.
#[derive(Clone, Debug)]
pub struct Mark {
    pub glyph: &'static str,
    pub word: String,
    pub style: Style,
}

impl Mark {
    pub fn new(glyph: &'static str, word: impl Into<String>, style: Style) -> Self {
        Self {
            glyph,
            word: word.into(),
            style,
        }
    }
}

pub fn of(status: &Status, theme: &Theme) -> Mark {
    match status {
        Status::Up => Mark::new("●", "up", theme.good),
        Status::Starting => Mark::new("○", "starting", theme.notice),
        Status::Draining => Mark::new("◐", "draining", theme.notice),
        Status::NotReady(_) => Mark::new("▲", "not ready", theme.warning),
        Status::Stale(old) => {
            Mark::new("◔", format!("stale {}", age(old.as_secs())), theme.warning)
        }
        Status::Down { since, .. } => Mark::new(
            "✖",
            format!("down {}", age(since.as_secs())),
            theme.critical,
        ),
    }
}

pub fn of_store(store: Store, theme: &Theme) -> Mark {
    match store {
        Store::Unknown => Mark::new("○", super::format::UNKNOWN, theme.dim),
        Store::Up => Mark::new("●", "up", theme.good),
        Store::Away { .. } => Mark::new("✖", "away", theme.critical),
    }
}

/// How bad a state is, for the worst of a group.
pub fn weight(status: &Status) -> u8 {
    match status {
        Status::Up => 0,
        Status::Starting => 1,
        Status::Draining => 2,
        Status::NotReady(_) => 3,
        Status::Stale(_) => 4,
        Status::Down { .. } => 5,
    }
}

pub fn severity(severity: Severity, theme: &Theme) -> (&'static str, Style) {
    match severity {
        Severity::Critical => ("✖", theme.critical),
        Severity::Warning => ("▲", theme.warning),
        Severity::Notice => ("○", theme.notice),
    }
}

pub fn tone(tone: Tone, theme: &Theme) -> (&'static str, Style) {
    match tone {
        Tone::Busy => ("◐", theme.notice),
        Tone::Info => ("·", theme.dim),
        Tone::Good => ("●", theme.good),
        Tone::Bad => ("✖", theme.critical),
    }
}
