//! The merged log, newest line at the bottom.

use ratatui::{
    layout::Rect,
    style::{Modifier, Style},
    text::{Line, Span},
};

use super::{
    canvas::{Canvas, Target},
    format, panels,
    theme::Theme,
};
use crate::state::{
    State,
    logs::{self, Level},
    view::Panel,
};

/// With a frame around it where there is room, under a title line where there is not.
pub fn draw(canvas: &mut Canvas<'_, '_, '_>, panel: Panel, area: Rect, with_frame: bool) {
    let (state, theme) = (canvas.state, canvas.theme);
    let (rest, warning) = heading(state);
    let inside = if with_frame {
        let rest = match &warning {
            Some(warning) => format!("{warning} · {rest}"),
            None => rest,
        };
        canvas.panel(panel, area, "Log", &rest)
    } else {
        canvas.targets.put(area, Target::Panel(panel));
        let heading_area = Rect { height: 1, ..area };
        canvas.line(
            heading_area,
            0,
            Line::styled("─".repeat(area.width.into()), theme.faint),
        );
        let start = Rect {
            x: area.x + u16::from(area.width > 2),
            width: area.width.saturating_sub(1),
            ..heading_area
        };
        let mut words = panels::title(theme, "Log", &rest);
        if let Some(warning) = warning {
            words.push_span(Span::styled(format!("{warning} "), theme.warning));
        }
        if state.has_focus(panel) {
            words.spans[0].style = words.spans[0].style.add_modifier(Modifier::REVERSED);
        }
        canvas.line(start, 0, words);
        Rect {
            y: area.y + 1,
            height: area.height.saturating_sub(1),
            ..area
        }
    };
    let lines = state.logs.visible(inside.height.into());
    if lines.is_empty() {
        let text = format!("no lines at {} or above yet", state.logs.threshold.word());
        let text = format::cut(&text, inside.width.into());
        canvas.line(inside, 0, Line::styled(text, theme.dim));
    }
    let held = state.logs.held();
    for (line, index) in lines.into_iter().zip(0..inside.height) {
        let mut text = row(line, theme, inside.width.into());
        if held.is_some_and(|held| std::ptr::eq(held, line)) {
            for span in &mut text.spans {
                span.style = span.style.add_modifier(Modifier::REVERSED);
            }
        }
        canvas.line(inside, index, text);
    }
}

/// What is shown of the log, and that it stands still, if it does.
fn heading(state: &State) -> (String, Option<String>) {
    let logs = &state.logs;
    let mut rest = match (logs.request(), logs.threshold) {
        (Some(id), _) => format!("request {id}"),
        (None, Level::Trace) => "everything".to_owned(),
        (None, level) => format!("{} and above", level.word()),
    };
    let filter = logs.filter_text();
    if !filter.is_empty() {
        let (shown, all) = logs.matching();
        rest = format!("{rest} · /{filter} {shown} of {all}");
    }
    if logs.dropped() > 0 {
        let dropped = format::count(Some(logs.dropped() as f64));
        rest = format!("{rest} · {dropped} dropped");
    }
    let paused =
        (!logs.is_following()).then(|| format!("PAUSED +{} new, G follows", logs.unread()));
    (rest, paused)
}

fn row(line: &logs::Line, theme: &Theme, width: usize) -> Line<'static> {
    let style = level_style(line.level, theme);
    let mut spans = Vec::new();
    let mut used = 0;
    if width >= 56 {
        spans.push(Span::styled(format!("{} ", line.clock()), theme.dim));
        used += 9;
    }
    spans.push(Span::styled(format::left(line.level.word(), 6), style));
    let name = if width >= 56 { 15 } else { 11 };
    spans.push(Span::styled(
        format::left(&line.instance, name - 1),
        theme.notice,
    ));
    spans.push(Span::raw(" "));
    used += 6 + name;
    let request = line
        .request_id
        .as_deref()
        .filter(|_| width >= 100)
        .map(|id| {
            let short: String = id.chars().take(8).collect();
            format!("  {}", format::left(&short, 8))
        })
        .unwrap_or_default();
    let room = width.saturating_sub(used + request.chars().count());
    let message_style = if line.level >= Level::Warn {
        style
    } else {
        theme.text
    };
    spans.push(Span::styled(
        if request.is_empty() {
            format::cut(&line.message, room)
        } else {
            format::left(&line.message, room)
        },
        message_style,
    ));
    spans.push(Span::styled(request, theme.faint));
    Line::from(spans)
}

fn level_style(level: Level, theme: &Theme) -> Style {
    match level {
        Level::Error => theme.critical,
        Level::Warn => theme.warning,
        Level::Info => theme.dim,
        Level::Debug | Level::Trace => theme.faint,
    }
}
