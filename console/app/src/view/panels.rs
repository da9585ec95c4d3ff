//! The panels beside the path: requests, cache, latency, host.

use ratatui::{
    layout::Rect,
    style::Style,
    text::{Line, Span},
};

use super::{bars, canvas::Canvas, chart, format, theme::Theme};
use crate::state::{
    State,
    histogram::Percentiles,
    series::{Fold, Series},
    view::Panel,
};

pub fn title(theme: &Theme, name: &str, rest: &str) -> Line<'static> {
    let rest = if rest.is_empty() {
        String::new()
    } else {
        format!("{rest} ")
    };
    Line::from(vec![
        Span::styled(format!(" {name} "), theme.title),
        Span::styled(rest, theme.dim),
    ])
}

/// The window of a series in so many columns.
pub fn window(state: &State, series: &Series, width: usize) -> Vec<Option<f64>> {
    let fold = match series {
        Series::Errors => Fold::Most,
        _ => Fold::Mean,
    };
    state.charts.columns(series, state.wide_lens(), width, fold)
}

/// Requests per second as columns over time; errors under them on their own scale.
pub fn requests(canvas: &mut Canvas<'_, '_, '_>, area: Rect) {
    let (state, theme) = (canvas.state, canvas.theme);
    let inside = canvas.panel(Panel::RequestRate, area, "Requests", "at the front door");
    if inside.height < 3 || inside.width < 16 {
        return;
    }
    let seconds = usize::from(inside.width) - 5;
    let values = window(state, &Series::Requests, seconds);
    let errors = window(state, &Series::Errors, seconds);
    let top = bars::ceiling(&values);
    canvas.line(
        inside,
        0,
        Line::from(vec![
            Span::styled(format::rate(state.request_rate()), theme.strong),
            Span::styled(" requests/s  ", theme.dim),
            Span::styled(
                format::rate(state.error_rate()),
                if state.error_rate().is_some_and(|rate| rate > 0.0) {
                    theme.critical
                } else {
                    theme.strong
                },
            ),
            Span::styled(" errors/s", theme.dim),
        ]),
    );
    // The line of time has its place where there is room for it.
    let timed = u16::from(inside.height >= 5);
    let whole = inside;
    let inside = Rect {
        height: inside.height - timed,
        ..inside
    };
    let chart = Rect {
        x: inside.x + 5,
        y: inside.y + 1,
        width: inside.width - 5,
        height: inside.height - 2,
    };
    if timed > 0 {
        let line = Rect {
            y: whole.bottom() - 1,
            height: 1,
            ..chart
        };
        chart::time(canvas, line);
    }
    let scale = |row, text: String| (row, Line::styled(format::right(&text, 4), theme.faint));
    for (row, line) in [
        scale(1, format::rate(Some(top))),
        scale(inside.height.saturating_sub(2).max(2), "0".to_owned()),
        (
            inside.height - 1,
            Line::styled(format::right("err", 4), theme.faint),
        ),
    ] {
        canvas.line(inside, row, line);
    }
    bars::chart(canvas.buffer(), chart, &values, top, theme.bar);
    let line = Rect {
        y: inside.bottom() - 1,
        height: 1,
        ..chart
    };
    let some = errors.iter().flatten().any(|rate| *rate > 0.0);
    let style = if some { theme.error_bar } else { theme.faint };
    bars::chart(
        canvas.buffer(),
        line,
        &errors,
        bars::ceiling(&errors),
        style,
    );
}

/// Hit ratio second by second, beside the window's and the one since the start.
pub fn cache(canvas: &mut Canvas<'_, '_, '_>, area: Rect) {
    let (state, theme) = (canvas.state, canvas.theme);
    let inside = canvas.panel(Panel::HitRatio, area, "Cache hits", "");
    if inside.height < 2 || inside.width < 16 {
        return;
    }
    let cache = state.cache();
    let ratio = |ratio: Option<crate::state::overview::Ratio>| {
        format::fine_percent(ratio.map(|ratio| ratio.value))
    };
    let mut words = vec![
        Span::styled(ratio(cache.now), theme.strong),
        Span::styled(" last 10 s   ", theme.dim),
        Span::styled(ratio(cache.ever), theme.strong),
        Span::styled(" since start", theme.dim),
    ];
    if inside.width > 52 {
        words.push(Span::styled(
            format!(
                "   {} look-ups",
                format::count(cache.now.map(|ratio| ratio.events as f64))
            ),
            theme.dim,
        ));
    }
    canvas.line(inside, 0, Line::from(words));
    let timed = u16::from(inside.height >= 4);
    let chart = Rect {
        x: inside.x + 5,
        y: inside.y + 1,
        width: inside.width - 5,
        height: inside.height - 1 - timed,
    };
    if timed > 0 {
        let line = Rect {
            y: inside.bottom() - 1,
            height: 1,
            ..chart
        };
        chart::time(canvas, line);
    }
    canvas.line(
        inside,
        1,
        Line::styled(format::right("100%", 4), theme.faint),
    );
    let values = window(state, &Series::Hits, chart.width.into());
    bars::chart(canvas.buffer(), chart, &values, 1.0, theme.cache_bar);
}

/// Percentiles, cached and not, with the number of samples they stand on.
pub fn latency(canvas: &mut Canvas<'_, '_, '_>, area: Rect) {
    let (state, theme) = (canvas.state, canvas.theme);
    let latency = state.latency();
    let merged = match latency.gateways {
        0 => "last 10 s".to_owned(),
        1 => "last 10 s, 1 gateway".to_owned(),
        many => format!("last 10 s, {many} gateways merged"),
    };
    let inside = canvas.panel(Panel::Percentiles, area, "Latency", &merged);
    let width = usize::from(inside.width);
    let label = 10;
    let samples_column = 7;
    let column = (width.saturating_sub(label + samples_column) / 3).min(12);
    let mut head = format::left("", label);
    for name in ["p50", "p95", "p99"] {
        head += &format::right(name, column);
    }
    head += &format::right("n", samples_column);
    canvas.line(inside, 0, Line::styled(head, theme.dim));
    let rows = [
        ("cached", latency.cached, theme.cache_bar),
        ("not cached", latency.uncached, theme.bar),
        ("front door", latency.all, theme.dim),
    ];
    for (row, (name, found, style)) in (1..).zip(rows) {
        let mut spans = vec![Span::styled(format::left(name, label), style)];
        for value in [
            found.map(|p| p.p50),
            found.map(|p| p.p95),
            found.map(|p| p.p99),
        ] {
            let text = format::latency(value);
            // Narrow columns keep the unit with no room between.
            let text = if column < 9 {
                text.replace(' ', "")
            } else {
                text
            };
            spans.push(Span::styled(format::right(&text, column), theme.text));
        }
        spans.push(Span::styled(
            format::right(&samples(found), samples_column),
            theme.dim,
        ));
        canvas.line(inside, row, Line::from(spans));
    }
}

pub fn samples(found: Option<Percentiles>) -> String {
    format::count(found.map(|percentiles| percentiles.samples as f64))
}

/// Processor and memory of the machine.
pub fn host(canvas: &mut Canvas<'_, '_, '_>, area: Rect) {
    let (state, theme) = (canvas.state, canvas.theme);
    let host = state.host();
    let cores = host
        .cores
        .map_or_else(String::new, |cores| format!("{cores:.0} cores"));
    let inside = canvas.panel(Panel::Host, area, "Host", &cores);
    let memory = host
        .memory_used
        .zip(host.memory_total)
        .filter(|(_, total)| *total > 0.0)
        .map(|(used, total)| used / total);
    let words = [
        ("cpu", host.cpu, format::percent(host.cpu)),
        (
            "mem",
            memory,
            format!(
                "{} of {}",
                format::bytes(host.memory_used),
                format::bytes(host.memory_total)
            ),
        ),
    ];
    for (row, (name, part, text)) in (0..).zip(words) {
        let text_width = 13;
        let bar = usize::from(inside.width).saturating_sub(5 + text_width);
        let mut spans = vec![Span::styled(format::left(name, 5), theme.dim)];
        spans.extend(bars::gauge(part, bar, load_style(part, theme), theme));
        spans.push(Span::styled(format::right(&text, text_width), theme.text));
        canvas.line(inside, row, Line::from(spans));
    }
}

fn load_style(part: Option<f64>, theme: &Theme) -> Style {
    match part {
        Some(part) if part >= 0.9 => theme.critical,
        Some(part) if part >= 0.75 => theme.warning,
        _ => theme.bar,
    }
}
