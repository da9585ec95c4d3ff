//! What the panels say, in a few lines, where there is no room for panels.

use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
};

use super::{
    bars, format,
    panels::{samples, window},
    theme::Theme,
};
use crate::state::{State, histogram::Percentiles, series::Series};

/// Lines it takes.
pub const HEIGHT: u16 = 3;

pub fn draw(frame: &mut Frame, state: &State, theme: &Theme, area: Rect) {
    let latency = state.latency();
    let width = usize::from(area.width);
    let lines = [
        rates(state, theme, width),
        percentiles("cached", latency.cached, theme, width),
        percentiles("not cached", latency.uncached, theme, width),
    ];
    for (line, y) in lines.into_iter().zip(area.top()..area.bottom()) {
        frame.render_widget(
            line,
            Rect {
                y,
                height: 1,
                ..area
            },
        );
    }
}

fn rates(state: &State, theme: &Theme, width: usize) -> Line<'static> {
    let errors = state.error_rate();
    let error_style = match errors {
        Some(rate) if rate > 0.0 => theme.critical,
        _ => theme.strong,
    };
    let mut spans = Vec::new();
    if width >= 76 {
        let values = window(state, &Series::Requests, 12);
        spans.push(Span::styled(format::left("requests", 12), theme.dim));
        spans.push(Span::styled(
            bars::sparkline(&values, bars::ceiling(&values), 12),
            theme.bar,
        ));
    } else {
        spans.push(Span::styled("requests", theme.dim));
    }
    spans.push(Span::styled(
        format!(" {}/s", format::rate(state.request_rate())),
        theme.strong,
    ));
    spans.push(Span::styled("  errors ", theme.dim));
    spans.push(Span::styled(
        format!("{}/s", format::rate(errors)),
        error_style,
    ));
    let host = state.host();
    spans.push(Span::styled(
        if width >= 60 { "  host cpu " } else { "  cpu " },
        theme.dim,
    ));
    spans.push(Span::styled(format::percent(host.cpu), theme.strong));
    if width >= 60 {
        spans.push(Span::styled(
            if width >= 72 {
                format!(
                    "  mem {} of {}",
                    format::bytes(host.memory_used),
                    format::bytes(host.memory_total)
                )
            } else {
                format!("  mem {}", format::bytes(host.memory_used))
            },
            theme.dim,
        ));
    }
    Line::from(spans)
}

fn percentiles(
    name: &'static str,
    found: Option<Percentiles>,
    theme: &Theme,
    width: usize,
) -> Line<'static> {
    let mut spans = vec![Span::styled(format::left(name, 12), theme.dim)];
    let all = [
        ("p50", found.map(|p| p.p50)),
        ("p95", found.map(|p| p.p95)),
        ("p99", found.map(|p| p.p99)),
    ];
    // Where only two fit, the middle and the tail say most.
    let shown: &[usize] = if width >= 60 { &[0, 1, 2] } else { &[0, 2] };
    for &index in shown {
        let (label, value) = all[index];
        spans.push(Span::styled(format!("{label} "), theme.dim));
        let text = format::left(&format::latency(value), 9);
        spans.push(Span::styled(text, theme.text));
    }
    if width >= 60 {
        let text = if width >= 72 {
            format!(" of {} in 10 s", samples(found))
        } else {
            format!("n {}", samples(found))
        };
        spans.push(Span::styled(text, theme.dim));
    }
    Line::from(spans)
}
