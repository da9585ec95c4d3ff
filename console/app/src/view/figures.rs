//! What the views of stores have in common: figures that flow over lines, and how much room there is.

use ratatui::{
    layout::Rect,
    style::Style,
    text::{Line, Span},
};

use super::{canvas::Canvas, format, table::Column, theme::Theme};
use crate::state::{State, alerts::age, details::Known};

/// How much of a view there is room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// One panel: the one that keys move in.
    Little,
    /// The rows, and one panel more.
    Middle,
    /// All panels.
    Much,
}

impl Room {
    pub fn of(area: Rect) -> Self {
        match (area.width, area.height) {
            (..56, _) | (_, ..14) => Self::Little,
            (110.., 28..) => Self::Much,
            _ => Self::Middle,
        }
    }
}

/// A figure and what it is, kept together on a line.
pub struct Figure {
    pub value: String,
    pub style: Style,
    pub label: String,
}

impl Figure {
    pub fn new(value: impl Into<String>, label: impl Into<String>, theme: &Theme) -> Self {
        Self {
            value: value.into(),
            style: theme.strong,
            label: label.into(),
        }
    }

    /// One that stands out when it is not zero.
    pub fn bad(value: Option<f64>, label: &str, theme: &Theme) -> Self {
        let style = if value.is_some_and(|value| value > 0.0) {
            theme.warning
        } else {
            theme.strong
        };
        Self {
            style,
            ..Self::new(format::count(value), label, theme)
        }
    }

    /// One that is counted: `1 flush`, `2 flushes`.
    pub fn counted(value: Option<f64>, one: &str, many: &str, theme: &Theme) -> Self {
        let label = if value.map(f64::round) == Some(1.0) {
            one
        } else {
            many
        };
        Self::new(format::count(value), label, theme)
    }

    fn width(&self) -> usize {
        Span::raw(&self.value).width() + 1 + Span::raw(&self.label).width()
    }
}

/// Writes figures one after the other, over as many of `rows` lines as they need; those that fit nowhere are left out.
/// How many lines were written.
pub fn flow(canvas: &mut Canvas<'_, '_, '_>, area: Rect, rows: u16, figures: Vec<Figure>) -> u16 {
    const GAP: usize = 3;
    let theme = canvas.theme;
    let room = usize::from(area.width);
    let rows = rows.min(area.height);
    let mut lines: Vec<(usize, Vec<Span<'static>>)> = Vec::new();
    for figure in figures {
        let width = figure.width();
        if width > room {
            continue;
        }
        let fits = lines
            .last()
            .is_some_and(|(used, _)| used + GAP + width <= room);
        if !fits {
            if lines.len() >= usize::from(rows) {
                break;
            }
            lines.push((0, Vec::new()));
        }
        if let Some((used, spans)) = lines.last_mut() {
            if !spans.is_empty() {
                spans.push(Span::raw(" ".repeat(GAP)));
                *used += GAP;
            }
            *used += width;
            spans.push(Span::styled(figure.value, figure.style));
            spans.push(Span::styled(format!(" {}", figure.label), theme.dim));
        }
    }
    let count = lines.len() as u16;
    canvas.lines(area, lines.into_iter().map(|(_, spans)| Line::from(spans)));
    count
}

/// Where there is much room the first column keeps to what it needs, and the last one takes what is left: what belongs
/// together stays together.
pub fn steady(columns: &mut [Column], room: u16, first: usize) {
    const WIDE: u16 = 100;
    if room < WIDE {
        return;
    }
    if let [name, .., last] = columns {
        name.grows = false;
        name.width = first.max(name.width);
        last.grows = true;
    }
}

/// What is left of an area below so many lines.
pub fn below(area: Rect, lines: u16) -> Rect {
    let lines = lines.min(area.height);
    Rect {
        y: area.y + lines,
        height: area.height - lines,
        ..area
    }
}

/// What is to be said of an answer that is missing or old; nothing of a good one.
pub fn doubt(state: &State, known: Option<&Known>) -> Option<String> {
    let Some(known) = known else {
        let held = state.sight.is_frozen();
        let text = if held {
            "not asked while frozen"
        } else {
            "asking …"
        };
        return Some(text.to_owned());
    };
    let old = state.at().saturating_sub(known.at).as_secs();
    match (&known.problem, &known.value) {
        (Some(problem), Some(_)) => Some(format!("▲ {problem}: as of {} ago", age(old))),
        (Some(problem), None) => Some(format!("▲ {problem}")),
        (None, _) if old > 5 => Some(format!("▲ as of {} ago", age(old))),
        (None, _) => None,
    }
}

/// Parts of a title, those that say nothing left out.
pub fn parts<const N: usize>(parts: &[String; N]) -> String {
    let told: Vec<&str> = parts
        .iter()
        .map(String::as_str)
        .filter(|part| !part.is_empty())
        .collect();
    told.join(" · ")
}

/// The filter of a panel, as its title tells it.
pub fn filter_of(state: &State, panel: crate::state::view::Panel) -> String {
    let cursor = state.cursor(panel);
    cursor
        .filter
        .map_or_else(String::new, |filter| format!("/{}", filter.text()))
}

/// `58B`, `18K`, `21M`.
pub fn size(bytes: Option<f64>) -> String {
    match bytes {
        Some(bytes) if bytes < 1024.0 => format!("{:.0}B", bytes.max(0.0)),
        other => format::bytes(other),
    }
}

/// Of one core: `0.4%`, `12%`.
pub fn cpu(part: Option<f64>) -> String {
    match part {
        Some(part) if part < 0.099_5 => format::fine_percent(Some(part)),
        other => format::percent(other),
    }
}
