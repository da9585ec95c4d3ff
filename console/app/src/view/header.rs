//! The first line: what is wrong, or that nothing is; and what traffic runs against what.

use ratatui::{
    Frame,
    layout::Rect,
    style::Modifier,
    text::{Line, Span},
};

use super::{
    canvas::{Canvas, Target},
    format, status,
    theme::Theme,
};
use crate::state::{State, instance::Status, lens, view::View};

/// The views with their digits, the present one reversed; the time that charts show at the end.
pub fn tabs(canvas: &mut Canvas<'_, '_, '_>, area: Rect) {
    let (state, theme) = (canvas.state, canvas.theme);
    let width = usize::from(area.width);
    let words: usize = View::ALL.iter().map(|view| view.name().len() + 4).sum();
    let window = lens::name_of(state.sight.window());
    let (text, style) = if state.sight.is_frozen() {
        let clock = state.clock(state.at()).format("%H:%M:%S");
        (
            format!(" FROZEN {clock} "),
            theme.warning.add_modifier(Modifier::REVERSED),
        )
    } else {
        let recording = if state.recording { "● rec  " } else { "" };
        (format!(" {recording}charts {window} "), theme.dim)
    };
    let right = text.chars().count();
    let long = width >= words + right;
    let mut spans = vec![Span::raw(" ")];
    let mut x = area.x + 1;
    for view in View::ALL {
        let name = view.name();
        let present = view == state.view;
        let shown = match (long, present) {
            (true, _) | (false, true) => format!("{} {name}", view.number()),
            (false, false) => view.number().to_string(),
        };
        let style = if present {
            theme.accent.add_modifier(Modifier::REVERSED)
        } else {
            theme.dim
        };
        let own = shown.chars().count() as u16 + 2;
        let place = Rect {
            x,
            width: own,
            height: 1,
            ..area
        };
        canvas.targets.put(place, Target::View(view));
        x = x.saturating_add(own);
        spans.push(Span::styled(format!(" {shown} "), style));
    }
    let used: usize = spans.iter().map(Span::width).sum();
    if used + right <= width {
        spans.push(Span::raw(" ".repeat(width - used - right)));
        spans.push(Span::styled(text, style));
    }
    canvas.line(area, 0, Line::from(spans));
}

pub fn draw(frame: &mut Frame, state: &State, theme: &Theme, area: Rect) {
    let width = usize::from(area.width);
    let right = right_side(state, theme, width);
    let right_width = right.width();
    let name = " recarga ";
    let mut spans = vec![Span::styled(name, theme.title)];
    let off = without(state, theme);
    let used = off.as_ref().map_or(0, Span::width);
    spans.extend(off);
    let room = width.saturating_sub(name.len() + used + right_width + 1);
    spans.extend(summary(state, theme, room));
    frame.render_widget(Line::from(spans), area);
    if right_width + name.len() < width {
        let x = area.right() - right_width as u16;
        frame.render_widget(
            right,
            Rect {
                x,
                width: right_width as u16,
                ..area
            },
        );
    }
}

/// That safeguards are off, before everything else: whoever looks must not take what he sees for how it is.
fn without(state: &State, theme: &Theme) -> Option<Span<'static>> {
    let text = format!("▲ {}  ", state.without()?);
    Some(Span::styled(
        text,
        theme
            .critical
            .add_modifier(Modifier::REVERSED | Modifier::BOLD),
    ))
}

/// The alerts that fit, worst first, and how many more there are.
pub fn summary(state: &State, theme: &Theme, room: usize) -> Vec<Span<'static>> {
    let all = state.instances.len();
    let alerts = state.alerts();
    if all == 0 && alerts.is_empty() {
        let text = format::cut("○ waiting for the lab", room);
        return vec![Span::styled(text, theme.notice)];
    }
    let up = state
        .instances
        .iter()
        .filter(|instance| instance.status(state.at()) == Status::Up)
        .count();
    let count = if up == all {
        format!("● all {all} up")
    } else {
        format!("{up} of {all} up")
    };
    let style = if up == all { theme.good } else { theme.text };
    let mut used = count.chars().count();
    let mut spans = vec![Span::styled(format::cut(&count, room), style)];
    let total = alerts.len();
    for (index, alert) in alerts.into_iter().enumerate() {
        let (glyph, style) = status::severity(alert.severity, theme);
        let text = format!("  {glyph} {}", alert.text);
        let more = total - index;
        // Room is kept to say that there are more.
        let reserve = if more > 1 { 8 } else { 0 };
        let own = text.chars().count();
        if used + own + reserve > room {
            // The first and worst is worth being cut for.
            if index == 0 && room > used + 8 + reserve {
                let text = format::cut(&text, room - used - reserve);
                spans.push(Span::styled(text, style));
                if more == 1 {
                    break;
                }
                spans.push(Span::styled(format!("  +{}", more - 1), theme.dim));
            } else if room >= used + 6 {
                spans.push(Span::styled(format!("  +{more}"), theme.warning));
            }
            break;
        }
        used += own;
        spans.push(Span::styled(text, style));
    }
    spans
}

fn right_side(state: &State, theme: &Theme, width: usize) -> Line<'static> {
    let traffic = if state.traffic.is_on() {
        Span::styled(
            format!("▶ {}/s", format::count(Some(state.traffic.rate()))),
            theme.good,
        )
    } else {
        Span::styled("□ no own traffic", theme.dim)
    };
    let mut spans = Vec::new();
    if state.read_only {
        spans.push(Span::styled("read-only  ", theme.notice));
    }
    if width >= 60 {
        spans.push(traffic);
    }
    // Where room is short, what is wrong comes before where it is.
    if (width >= 110 || width >= 78 && state.alerts().is_empty())
        && let Some(url) = &state.public_url
    {
        let url = url.trim_start_matches("http://");
        spans.push(Span::styled(
            format!(" → {}", format::cut(url, 32)),
            theme.dim,
        ));
    }
    spans.push(Span::raw(" "));
    Line::from(spans)
}

/// Everything in one line, for a terminal that has no room for more.
pub fn one_line(frame: &mut Frame, state: &State, theme: &Theme, area: Rect) {
    let room = usize::from(area.width);
    let mut spans: Vec<Span<'static>> = without(state, theme).into_iter().collect();
    let used: usize = spans.iter().map(Span::width).sum();
    spans.extend(summary(state, theme, room.saturating_sub(used)));
    let cache = state.cache();
    spans.push(Span::styled(
        format!(
            "  {}/s  err {}  hit {}",
            format::rate(state.request_rate()),
            format::rate(state.error_rate()),
            format::percent(cache.now.map(|ratio| ratio.value)),
        ),
        theme.dim,
    ));
    frame.render_widget(Line::from(spans), Rect { height: 1, ..area });
}
