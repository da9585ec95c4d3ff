//! Charts over the one window of time, with marks of what happened.

use ratatui::{
    layout::Rect,
    style::Style,
    text::{Line, Span},
};

use super::{bars, canvas::Canvas, format};
use crate::state::{
    alerts::age,
    lens,
    marks::Kind,
    series::{self, Fold, Series},
};

/// Columns that the scale takes.
pub const SCALE: u16 = 6;

/// How a chart of columns looks.
pub struct Pen {
    pub style: Style,
    pub fold: Fold,
    /// The upper end; a round number above all values without.
    pub top: Option<f64>,
    pub unit: fn(Option<f64>) -> String,
}

/// Columns over several rows with a scale to the left, and the line of time with its marks below.
pub fn columns(canvas: &mut Canvas<'_, '_, '_>, area: Rect, series: &Series, look: &Pen) {
    if area.height < 2 || area.width < SCALE + 4 {
        return;
    }
    let chart = Rect {
        x: area.x + SCALE,
        width: area.width - SCALE,
        height: area.height - 1,
        ..area
    };
    let lens = canvas.state.wide_lens();
    let values = canvas
        .state
        .charts
        .columns(series, lens, chart.width.into(), look.fold);
    let top = look.top.unwrap_or_else(|| bars::ceiling(&values));
    let theme = canvas.theme;
    let label =
        |text: String| Line::styled(format::right(&text, usize::from(SCALE) - 1), theme.faint);
    let left = Rect {
        width: SCALE,
        ..area
    };
    canvas.line(left, 0, label((look.unit)(Some(top))));
    if chart.height > 2 {
        canvas.line(left, chart.height - 1, label((look.unit)(Some(0.0))));
    }
    bars::chart(canvas.buffer(), chart, &values, top, look.style);
    let below = Rect {
        y: area.bottom() - 1,
        height: 1,
        ..chart
    };
    time(canvas, below);
}

/// One line of small columns: a name, the line, the newest value.
pub fn spark(
    canvas: &mut Canvas<'_, '_, '_>,
    area: Rect,
    name: (&str, usize),
    series: &Series,
    look: &Pen,
) {
    let theme = canvas.theme;
    let (name, name_width) = name;
    let value_width = 9;
    let width = usize::from(area.width).saturating_sub(name_width + value_width + 2);
    let lens = canvas.state.wide_lens();
    let values = canvas.state.charts.columns(series, lens, width, look.fold);
    let top = look.top.unwrap_or_else(|| bars::ceiling(&values));
    let value = canvas.state.charts.value(series, canvas.state.lens());
    let line = Line::from(vec![
        Span::styled(format::left(name, name_width), theme.dim),
        Span::raw(" "),
        Span::styled(bars::sparkline(&values, top, width), look.style),
        Span::styled(
            format::right(&(look.unit)(value), value_width),
            theme.strong,
        ),
    ]);
    canvas.line(area, 0, line);
}

/// How long ago the left end is, what happened since, and what the right end is.
pub fn time(canvas: &mut Canvas<'_, '_, '_>, area: Rect) {
    let state = canvas.state;
    let theme = canvas.theme;
    let lens = state.wide_lens();
    let width = usize::from(area.width);
    let begin = format!("-{}", lens::name_of(lens.window));
    let end = if state.sight.is_frozen() {
        state.clock(lens.at).format("%H:%M:%S").to_string()
    } else {
        // The right end is now: marks have that place.
        String::new()
    };
    if width < begin.len() + end.len() + 2 {
        return;
    }
    let mut cells: Vec<(char, Style)> = vec![('─', theme.faint); width];
    for (place, character) in begin.chars().enumerate() {
        cells[place] = (character, theme.faint);
    }
    let from = width - end.chars().count();
    for (place, character) in end.chars().enumerate() {
        cells[from + place] = (character, theme.faint);
    }
    let since = lens.at.saturating_sub(lens.window);
    for mark in state.marks.between(since, lens.at) {
        if let Some(column) = series::column_of(mark.at, lens, width) {
            cells[column] = match mark.kind {
                Kind::Fault => ('▲', theme.critical),
                Kind::Action => ('◆', theme.notice),
                Kind::Recovery => ('●', theme.good),
            };
        }
    }
    let spans: Vec<Span> = cells
        .into_iter()
        .map(|(character, style)| Span::styled(character.to_string(), style))
        .collect();
    canvas.line(area, 0, Line::from(spans));
}

/// The newest mark of the window, in words: `▲ 12s gateway-2 down`.
pub fn last_mark(canvas: &Canvas<'_, '_, '_>) -> Option<Line<'static>> {
    let state = canvas.state;
    let lens = state.wide_lens();
    let since = lens.at.saturating_sub(lens.window);
    let mark = state.marks.between(since, lens.at).next_back()?;
    let (glyph, style) = match mark.kind {
        Kind::Fault => ("▲", canvas.theme.critical),
        Kind::Action => ("◆", canvas.theme.notice),
        Kind::Recovery => ("●", canvas.theme.good),
    };
    let ago = age(lens.at.saturating_sub(mark.at).as_secs());
    Some(Line::from(vec![
        Span::styled(format!("{glyph} "), style),
        Span::styled(format!("{ago} ago  {}", mark.text), canvas.theme.dim),
    ]))
}
