//! The merged log, newest line at the bottom.

use ratatui::{
    Frame,
    layout::Rect,
    style::Style,
    text::{Line, Span},
};

use super::{format, panels, theme::Theme};
use crate::state::{
    State,
    logs::{self, Level},
};

/// With a frame around it where there is room, under a title line where there is not.
pub fn draw(frame: &mut Frame, state: &State, theme: &Theme, area: Rect, with_frame: bool) {
    let inside = if with_frame {
        panels::framed(frame, theme, area, heading(state, theme))
    } else {
        let heading_area = Rect { height: 1, ..area };
        frame.render_widget(
            Line::styled("─".repeat(area.width.into()), theme.faint),
            heading_area,
        );
        let words = heading(state, theme);
        let start = Rect {
            x: area.x + u16::from(area.width > 2),
            width: area.width.saturating_sub(1),
            ..heading_area
        };
        frame.render_widget(words, start);
        Rect {
            y: area.y + 1,
            height: area.height.saturating_sub(1),
            ..area
        }
    };
    let lines = state.logs.visible(inside.height.into());
    if lines.is_empty() {
        let text = format!("no lines at {} or above yet", state.logs.threshold.word());
        frame.render_widget(
            Line::styled(format::cut(&text, inside.width.into()), theme.dim),
            Rect {
                height: inside.height.min(1),
                ..inside
            },
        );
    }
    for (line, y) in lines.into_iter().zip(inside.top()..inside.bottom()) {
        let text = row(line, theme, inside.width.into());
        frame.render_widget(
            text,
            Rect {
                y,
                height: 1,
                ..inside
            },
        );
    }
}

fn heading(state: &State, theme: &Theme) -> Line<'static> {
    let logs = &state.logs;
    let mut rest = match logs.threshold {
        Level::Trace => "everything".to_owned(),
        level => format!("{} and above", level.word()),
    };
    if logs.dropped() > 0 {
        let dropped = format::count(Some(logs.dropped() as f64));
        rest = format!("{rest} · {dropped} dropped");
    }
    let mut line = panels::title(theme, "Log", &rest);
    if !logs.is_following() {
        let text = format!("PAUSED +{} new, G follows ", logs.unread());
        line.push_span(Span::styled(text, theme.warning));
    }
    line
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
