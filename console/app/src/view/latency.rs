//! The view of latency: how long requests take: percentiles, heat map, routes.

use ratatui::{
    layout::{Constraint, Layout, Rect},
    style::Style,
    text::{Line, Span},
};

use super::{
    bars,
    canvas::Canvas,
    chart::{self, Pen},
    format,
    table::{self, Cell, Column, Row},
};
use crate::state::{
    alerts::age,
    latency::{Omission, Quantiles},
    series::{BANDS, Fold, Series, band_end},
    view::Panel,
};

/// From here on the heat map stands beside the percentiles.
const WIDE: u16 = 110;

/// The whole view: what there is no room for is left out, the routes first; the panel that keys move in stays.
pub fn view(canvas: &mut Canvas<'_, '_, '_>, area: Rect) {
    let focused = canvas.state.panel();
    if area.height < 13 {
        panel(canvas, focused, area);
        return;
    }
    if area.width >= WIDE {
        let lower = (area.height / 3).clamp(6, 16);
        let [upper, lower] =
            Layout::vertical([Constraint::Fill(1), Constraint::Length(lower)]).areas(area);
        let [left, right] =
            Layout::horizontal([Constraint::Fill(1), Constraint::Fill(1)]).areas(upper);
        panel(canvas, Panel::Quantiles, left);
        panel(canvas, Panel::HeatMap, right);
        panel(canvas, Panel::Routes, lower);
        return;
    }
    if area.height < 20 {
        let other = match focused {
            Panel::Quantiles => Panel::HeatMap,
            other => other,
        };
        let [upper, lower] =
            Layout::vertical([Constraint::Length(8), Constraint::Fill(1)]).areas(area);
        panel(canvas, Panel::Quantiles, upper);
        panel(canvas, other, lower);
        return;
    }
    let [upper, middle, lower] = Layout::vertical([
        Constraint::Length((area.height * 2 / 5).max(9)),
        Constraint::Fill(1),
        Constraint::Length((area.height / 4).max(6)),
    ])
    .areas(area);
    panel(canvas, Panel::Quantiles, upper);
    panel(canvas, Panel::HeatMap, middle);
    panel(canvas, Panel::Routes, lower);
}

/// One panel of it, whatever room it is given.
pub fn panel(canvas: &mut Canvas<'_, '_, '_>, panel: Panel, area: Rect) {
    match panel {
        Panel::HeatMap => heat(canvas, area),
        Panel::Routes => routes(canvas, area),
        _ => quantiles(canvas, area),
    }
}

fn quantiles(canvas: &mut Canvas<'_, '_, '_>, area: Rect) {
    let state = canvas.state;
    let window = crate::state::lens::name_of(state.wide_lens().window);
    let rest = format!("merged histograms of the last {window}");
    let inside = canvas.panel(Panel::Quantiles, area, "Percentiles", &rest);
    if inside.height == 0 {
        return;
    }
    let line = verdict(canvas);
    canvas.line(inside, 0, line);
    let rows = state.quantiles();
    let omission = state.omission();
    let sentence = omission.and_then(Omission::sentence).unwrap_or_default();
    let told =
        usize::from(omission.is_some()) + sentence.len().div_ceil(usize::from(inside.width).max(1));
    let height = usize::from(inside.height).saturating_sub(2);
    // Below the three that matter: the own traffic, charts, and gateway by gateway.
    let charts = if height >= 3 + told + 4 { 4 } else { 0 };
    let shown = rows.len().min(height.saturating_sub(told + charts).max(3));
    let mut y = table(canvas, inside, &rows[..shown.min(rows.len())]);
    if let Some(found) = omission {
        y += own_traffic(canvas, inside, y, found);
    }
    let left = inside.height.saturating_sub(y);
    let place = Rect {
        y: inside.y + y,
        height: left,
        ..inside
    };
    lines(canvas, place);
}

/// Whether the last seconds keep to the threshold.
fn verdict(canvas: &Canvas<'_, '_, '_>) -> Line<'static> {
    let (state, theme) = (canvas.state, canvas.theme);
    let Some(threshold) = state.slo.threshold else {
        return Line::styled("no threshold: type :slo 100ms", theme.dim);
    };
    let limit = format::latency(Some(threshold));
    let p99 = state.p99_now();
    let now = format::latency(p99);
    match (state.slo.breached(state.at()), p99) {
        (Some(since), _) => {
            let lasts = age(state.at().saturating_sub(since).as_secs());
            Line::from(vec![
                Span::styled("✖ BREACH ", theme.critical),
                Span::styled(format!("for {lasts}: p99 {now}"), theme.strong),
                Span::styled(format!(" against {limit}"), theme.dim),
            ])
        }
        (None, None) => Line::styled(format!("○ no requests to hold against {limit}"), theme.dim),
        (None, Some(_)) => Line::from(vec![
            Span::styled("● within ", theme.good),
            Span::styled(format!("p99 {now}"), theme.strong),
            Span::styled(format!(" of {limit} over the last 10 s"), theme.dim),
        ]),
    }
}

/// Draws the percentiles below the first line; the row after the last.
fn table(canvas: &mut Canvas<'_, '_, '_>, inside: Rect, rows: &[Quantiles]) -> u16 {
    let theme = canvas.theme;
    let width = usize::from(inside.width);
    let label = 12;
    let count = 8;
    let shown: &[usize] = match width {
        50.. => &[0, 1, 2, 3],
        42.. => &[0, 1, 2],
        _ => &[0, 2],
    };
    let column = (width.saturating_sub(label + count) / shown.len()).min(11);
    let mut head = format::left("", label);
    for place in shown {
        let name = ["p50", "p95", "p99", "p99.9"][*place];
        head += &format::right(name, column);
    }
    head += &format::right("n", count);
    canvas.line(inside, 1, Line::styled(head, theme.dim));
    let mut y = 2;
    for row in rows {
        let style = match row.name.as_str() {
            "front door" => theme.strong,
            "cached" => theme.cache_bar,
            "not cached" => theme.bar,
            _ => theme.dim,
        };
        let mut spans = vec![Span::styled(format::left(&row.name, label), style)];
        for place in shown {
            let value = [row.p50, row.p95, row.p99, row.p999][*place];
            let above = canvas.state.slo.threshold.zip(value);
            let style = match above {
                Some((threshold, value)) if value > threshold => theme.warning,
                _ => theme.text,
            };
            let text = format::latency(value);
            let text = if column < 9 {
                text.replace(' ', "")
            } else {
                text
            };
            spans.push(Span::styled(format::right(&text, column), style));
        }
        let samples = format::count(Some(row.samples as f64));
        spans.push(Span::styled(format::right(&samples, count), theme.dim));
        canvas.line(inside, y, Line::from(spans));
        y += 1;
    }
    y
}

/// The generator's percentile with and without what it omits; how many rows that took.
fn own_traffic(canvas: &mut Canvas<'_, '_, '_>, inside: Rect, y: u16, found: Omission) -> u16 {
    let theme = canvas.theme;
    let numbers = Line::from(vec![
        Span::styled("own traffic p95 ", theme.dim),
        Span::styled(format::latency(Some(found.corrected)), theme.strong),
        Span::styled(" corrected, ", theme.dim),
        Span::styled(format::latency(Some(found.raw)), theme.strong),
        Span::styled(" raw", theme.dim),
    ]);
    canvas.line(inside, y, numbers);
    let Some(sentence) = found.sentence() else {
        return 1;
    };
    let width = usize::from(inside.width).max(1);
    let mut rows = vec![String::new()];
    for word in sentence.split(' ') {
        let last = rows.last_mut().expect("there is one");
        if last.is_empty() {
            last.push_str(word);
        } else if last.len() + 1 + word.len() <= width {
            last.push(' ');
            last.push_str(word);
        } else {
            rows.push(word.to_owned());
        }
    }
    let mut used = 1;
    for row in rows {
        canvas.line(inside, y + used, Line::styled(row, theme.notice));
        used += 1;
    }
    used
}

fn pen(style: Style, top: f64) -> Pen {
    Pen {
        style,
        fold: Fold::Mean,
        top: Some(top),
        unit: short,
    }
}

/// A round number of microseconds above all values of a line: seconds are too coarse.
fn top(canvas: &Canvas<'_, '_, '_>, series: &Series, width: usize) -> f64 {
    let state = canvas.state;
    let mut values = state
        .charts
        .columns(series, state.wide_lens(), width, Fold::Mean);
    for value in values.iter_mut().flatten() {
        *value *= 1e6;
    }
    bars::ceiling(&values) / 1e6
}

/// A latency without a space: the scale is narrow.
fn short(seconds: Option<f64>) -> String {
    match seconds {
        Some(seconds) if seconds <= 0.0 => "0".to_owned(),
        _ => format::latency(seconds).replace(".00", "").replace(' ', ""),
    }
}

/// The percentiles over time: columns where there is room, or else one line each.
fn lines(canvas: &mut Canvas<'_, '_, '_>, area: Rect) {
    let theme = canvas.theme;
    let all = [
        ("p99", Series::P99, theme.warning),
        ("p95", Series::P95, theme.bar),
        ("p50", Series::P50, theme.good),
    ];
    if area.height >= 12 && area.width >= 30 {
        let charts = Layout::vertical([
            Constraint::Fill(2),
            Constraint::Fill(1),
            Constraint::Fill(1),
        ])
        .split(area);
        for ((name, series, style), area) in all.iter().zip(charts.iter()) {
            // Emphasis would make every cell of a chart bold.
            let style = Style {
                add_modifier: ratatui::style::Modifier::empty(),
                ..*style
            };
            let top = top(
                canvas,
                series,
                area.width.saturating_sub(chart::SCALE).into(),
            );
            chart::columns(canvas, *area, series, &pen(style, top));
            limit(canvas, *area, top);
            let label = Rect {
                y: area.y + 1,
                height: 1,
                width: chart::SCALE,
                ..*area
            };
            let text = format::right(name, usize::from(chart::SCALE) - 1);
            canvas.line(label, 0, Line::styled(text, theme.dim));
        }
        return;
    }
    if area.width < 24 {
        return;
    }
    let time = u16::from(area.height >= 2);
    let count = area.height.saturating_sub(time).min(3);
    for (row, (name, series, style)) in (0..count).zip(&all) {
        let line = Rect {
            y: area.y + row,
            height: 1,
            ..area
        };
        let top = top(canvas, series, area.width.saturating_sub(15).into());
        chart::spark(canvas, line, (name, 4), series, &pen(*style, top));
    }
    if time > 0 && count > 0 {
        let below = Rect {
            x: area.x + 5,
            y: area.y + count,
            width: area.width.saturating_sub(4 + 9 + 2),
            height: 1,
        };
        chart::time(canvas, below);
    }
}

/// The threshold as a line across a chart that reaches so high.
fn limit(canvas: &mut Canvas<'_, '_, '_>, area: Rect, top: f64) {
    let state = canvas.state;
    let Some(threshold) = state.slo.threshold else {
        return;
    };
    if area.height < 3 || area.width < chart::SCALE + 4 {
        return;
    }
    if threshold > top {
        return;
    }
    let rows = f64::from(area.height - 1);
    let up = ((threshold / top) * rows).floor().min(rows - 1.0) as u16;
    let y = area.y + area.height - 2 - up;
    let style = canvas.theme.critical;
    let buffer = canvas.buffer();
    for x in area.x + chart::SCALE..area.right() {
        if let Some(cell) = buffer.cell_mut((x, y))
            && cell.symbol() == " "
        {
            cell.set_char('╌').set_style(style);
        }
    }
}

/// Columns of the heat map's scale.
const SCALE: u16 = 8;

fn heat(canvas: &mut Canvas<'_, '_, '_>, area: Rect) {
    let (state, theme) = (canvas.state, canvas.theme);
    // Without colours shades are hard to tell apart: tenths are not.
    let digits = canvas.ascii || theme.bar.fg.is_none();
    let legend = if digits {
        "latency over time; 0 to 9: tenths of the moment's requests"
    } else {
        "latency over time; · ░ ▒ ▓ █: part of the moment's requests"
    };
    let inside = canvas.panel(Panel::HeatMap, area, "Heat map", legend);
    if inside.height < 3 || inside.width < SCALE + 4 {
        return;
    }
    let map = Rect {
        x: inside.x + SCALE,
        width: inside.width - SCALE,
        height: inside.height - 1,
        ..inside
    };
    let columns = state.heat(map.width.into());
    let known = columns.iter().any(|column| column.iter().any(|n| *n > 0));
    if !known {
        canvas.empty(inside, "no requests in this window");
    }
    // Where there is little room, bands that nothing falls into have none.
    let used = |band: &usize| columns.iter().any(|column| column[*band] > 0);
    let (lowest_band, end) = match ((0..BANDS).find(used), (0..BANDS).rfind(used)) {
        (Some(first), Some(last)) if usize::from(map.height) < BANDS => (first, last + 1),
        _ => (0, BANDS),
    };
    let bands = (end - lowest_band).div_ceil(usize::from(map.height));
    let rows = (end - lowest_band).div_ceil(bands);
    // Each row may be several lines high where there is much room.
    let high = (usize::from(map.height) / rows).max(1);
    for row in 0..rows {
        let from = lowest_band + row * bands;
        let to = (from + bands).min(end);
        let above = state
            .slo
            .threshold
            .is_some_and(|threshold| from > 0 && band_end(from - 1) >= threshold);
        let lowest = map.bottom() - (row * high) as u16;
        let label = if to == BANDS {
            "more".to_owned()
        } else {
            format::latency(Some(band_end(to - 1)))
        };
        let style = if above { theme.warning } else { theme.faint };
        let scale = Rect {
            y: lowest - 1,
            height: 1,
            width: SCALE,
            ..inside
        };
        let text = format::right(&label, usize::from(SCALE) - 1);
        canvas.line(scale, 0, Line::styled(text, style));
        for (x, column) in (map.x..).zip(&columns) {
            let all: u64 = column.iter().map(|n| u64::from(*n)).sum();
            let own: u64 = column[from..to].iter().map(|n| u64::from(*n)).sum();
            if own == 0 || all == 0 {
                continue;
            }
            let part = own as f64 / all as f64;
            let (shade, mut style) = shade(part, digits, theme.bar, theme.faint);
            if above {
                style = theme.warning;
            }
            for y in lowest - high as u16..lowest {
                canvas.buffer()[(x, y)].set_char(shade).set_style(style);
            }
        }
    }
    let below = Rect {
        y: inside.bottom() - 1,
        height: 1,
        ..map
    };
    chart::time(canvas, below);
}

/// The part of a moment's requests as a shade or a digit.
fn shade(part: f64, digits: bool, style: Style, faint: Style) -> (char, Style) {
    if digits {
        let tenths = ((part * 10.0) as u32).min(9);
        return (char::from_digit(tenths, 10).unwrap_or('9'), style);
    }
    match part {
        part if part < 0.02 => ('·', faint),
        part if part < 0.10 => ('░', style),
        part if part < 0.25 => ('▒', style),
        part if part < 0.50 => ('▓', style),
        _ => ('█', style),
    }
}

fn routes(canvas: &mut Canvas<'_, '_, '_>, area: Rect) {
    const COLUMNS: [Column; 8] = [
        Column::rest("route", 20, 0),
        Column::right("n", 8, 1),
        Column::right("req/s", 7, 2),
        Column::right("p50", 9, 3),
        Column::right("p95", 9, 2),
        Column::right("p99", 9, 1),
        Column::right("slowest", 10, 4),
        Column::right("errors", 7, 2),
    ];
    let (state, theme) = (canvas.state, canvas.theme);
    let rows = state.routes();
    let window = crate::state::lens::name_of(state.wide_lens().window);
    let rest = format!(
        "{} in the last {window}; bounds are powers of two",
        rows.len()
    );
    let inside = canvas.panel(Panel::Routes, area, "Routes", &rest);
    if rows.is_empty() {
        let text = match state.cursor(Panel::Routes).filter {
            Some(_) => "no route matches",
            None => "no route has had a request in this window",
        };
        canvas.empty(inside, text);
        return;
    }
    let late = |value: Option<f64>| {
        let above = state.slo.threshold.zip(value);
        let style = match above {
            Some((threshold, value)) if value > threshold => theme.warning,
            _ => theme.text,
        };
        Cell::new(format::latency(value), style)
    };
    let rows: Vec<Row> = rows
        .into_iter()
        .map(|row| {
            let slowest = match row.slowest {
                None => format::UNKNOWN.to_owned(),
                Some((from, to)) if to.is_infinite() => {
                    format!("> {}", format::latency(Some(from)))
                }
                Some((_, to)) => format!("< {}", format::latency(Some(to))),
            };
            let failing = row.errors.is_some_and(|errors| errors > 0.0);
            Row {
                cells: vec![
                    Cell::new(row.route.clone(), theme.strong),
                    Cell::new(format::count(Some(row.samples as f64)), theme.text),
                    Cell::new(format::rate(row.rate), theme.text),
                    late(row.p50),
                    late(row.p95),
                    late(row.p99),
                    Cell::new(slowest, theme.dim),
                    Cell::new(
                        format::count(row.errors),
                        if failing { theme.critical } else { theme.text },
                    ),
                ],
                key: row.route,
            }
        })
        .collect();
    table::draw(canvas, Panel::Routes, inside, &COLUMNS, &rows);
}
