//! The view of cache: what the cache answers, what it misses and why, what is in it.

use ratatui::{
    layout::{Constraint, Layout, Rect},
    style::Style,
    text::{Line, Span},
};

use super::{
    bars,
    canvas::Canvas,
    chart::{self, Pen},
    figures::{Figure, Room, below, doubt, filter_of, flow, parts, size, steady},
    format,
    table::{self, Cell, Column, Row},
    theme::Theme,
};
use crate::state::{
    cache::{CacheFigures, Key},
    lens,
    overview::Ratio,
    sample::{Cause, Lookup},
    series::{Fold, Series},
    view::Panel,
};

/// ```text
/// ╭ Hit ratio ───────────╮╭ Misses by cause ──╮
/// ╰──────────────────────╯╰───────────────────╯
/// ╭ Keys ─────────────────────────────────────╮
/// ╰───────────────────────────────────────────╯
/// ```
pub fn view(canvas: &mut Canvas<'_, '_, '_>, area: Rect) {
    let focus = canvas.state.panel();
    match Room::of(area) {
        Room::Little => panel(canvas, focus, area),
        Room::Middle => {
            let upper = if focus == Panel::Misses {
                Panel::Misses
            } else {
                Panel::CacheRatio
            };
            let height = (area.height * 9 / 20).max(8);
            let [top, rest] =
                Layout::vertical([Constraint::Length(height), Constraint::Fill(1)]).areas(area);
            panel(canvas, upper, top);
            panel(canvas, Panel::Keys, rest);
        }
        Room::Much => {
            let height = (area.height * 2 / 5).max(16);
            let [top, rest] =
                Layout::vertical([Constraint::Length(height), Constraint::Fill(1)]).areas(area);
            let [left, right] =
                Layout::horizontal([Constraint::Fill(3), Constraint::Fill(2)]).areas(top);
            panel(canvas, Panel::CacheRatio, left);
            panel(canvas, Panel::Misses, right);
            panel(canvas, Panel::Keys, rest);
        }
    }
}

/// One panel of it, whatever room it is given.
pub fn panel(canvas: &mut Canvas<'_, '_, '_>, panel: Panel, area: Rect) {
    match panel {
        Panel::CacheRatio => ratio(canvas, area),
        Panel::Misses => misses(canvas, area),
        _ => keys(canvas, area),
    }
}

fn window_name(canvas: &Canvas<'_, '_, '_>) -> String {
    lens::name_of(canvas.state.sight.window())
}

fn ratio(canvas: &mut Canvas<'_, '_, '_>, area: Rect) {
    let theme = canvas.theme;
    let inside = canvas.panel(
        Panel::CacheRatio,
        area,
        "Hit ratio",
        "as the gateways saw it",
    );
    let figures = canvas.state.cache_figures();
    let told = told(&figures, &window_name(canvas), theme);
    // The chart needs three lines to say anything.
    let most = match inside.height {
        ..4 => inside.height,
        height => (height - 3).min(7),
    };
    let lines = flow(canvas, inside, most, told);
    let mut rest = below(inside, lines);
    let sparks = [
        ("hits/s", Lookup::Hit, theme.cache_bar),
        ("misses/s", Lookup::Miss, theme.bar),
        ("stale/s", Lookup::Stale, theme.dim),
        ("past/s", Lookup::Bypass, theme.dim),
    ];
    let count = sparks.len() as u16;
    let with_sparks = rest.height >= count + 5;
    let chart_height = if with_sparks {
        rest.height - count
    } else {
        rest.height
    };
    if chart_height >= 2 {
        let place = Rect {
            height: chart_height,
            ..rest
        };
        let pen = Pen {
            style: theme.cache_bar,
            fold: Fold::Mean,
            top: Some(1.0),
            unit: format::percent,
        };
        chart::columns(canvas, place, &Series::Hits, &pen);
        rest = below(rest, chart_height);
    }
    if with_sparks {
        for (row, (name, lookup, style)) in (0..).zip(sparks) {
            let pen = Pen {
                style,
                fold: Fold::Mean,
                top: None,
                unit: format::rate,
            };
            chart::spark(
                canvas,
                below(rest, row),
                (name, 9),
                &Series::Lookups(lookup),
                &pen,
            );
        }
    }
}

/// The figures in words, the most important ones first.
fn told(figures: &CacheFigures, window: &str, theme: &Theme) -> Vec<Figure> {
    let percent = |ratio: Option<Ratio>| format::fine_percent(ratio.map(|ratio| ratio.value));
    let events = |ratio: Option<Ratio>| format::count(ratio.map(|ratio| ratio.events as f64));
    let mut told = vec![
        Figure::new(
            percent(figures.window),
            format!("hits in {window}, of {} look-ups", events(figures.window)),
            theme,
        ),
        Figure::new(
            percent(figures.ever),
            format!("since start, of {}", events(figures.ever)),
            theme,
        ),
    ];
    if let Some(saved) = figures.saved {
        told.push(Figure::new(
            format!(
                "{}/s = {}",
                format::rate(Some(saved.requests)),
                format::percent(Some(saved.part))
            ),
            "of the requests spared the services",
            theme,
        ));
        if let Some(busy) = saved.at_a_time() {
            told.push(Figure::new(
                format!("{busy:.2}"),
                format!(
                    "at a time: hits/s × {} a rebuild",
                    format::latency(saved.rebuild)
                ),
                theme,
            ));
        }
    }
    for (value, label) in [
        (figures.hits, "hits/s"),
        (figures.misses, "misses/s"),
        (figures.stale, "stale/s"),
        (figures.bypasses, "past it/s"),
    ] {
        told.push(Figure::new(format::rate(value), label, theme));
    }
    if figures.first_level.is_some() {
        told.push(Figure::new(
            percent(figures.first_level),
            "from the gateways' own memory",
            theme,
        ));
    }
    if figures.second_level.is_some() {
        told.push(Figure::new(
            percent(figures.second_level),
            "of the rest from the cache service",
            theme,
        ));
    }
    told
}

fn misses(canvas: &mut Canvas<'_, '_, '_>, area: Rect) {
    let theme = canvas.theme;
    let rest = format!("in {}", window_name(canvas));
    let inside = canvas.panel(Panel::Misses, area, "Misses by cause", &rest);
    let figures = canvas.state.cache_figures();
    let all: f64 = figures
        .causes
        .iter()
        .filter_map(|(_, window, _)| *window)
        .sum();
    let width = usize::from(inside.width);
    let with_ever = width >= 44;
    let (name_width, count_width, part_width) = (12, 8, 5);
    let ever_width = if with_ever { 16 } else { 0 };
    let bar = width.saturating_sub(name_width + count_width + part_width + ever_width + 1);
    let mut rows = 0;
    for (cause, window, ever) in &figures.causes {
        let part = window.filter(|_| all > 0.0).map(|window| window / all);
        let mut spans = vec![Span::styled(
            format::left(cause.name(), name_width),
            theme.text,
        )];
        spans.extend(bars::gauge(part, bar, theme.bar, theme));
        spans.push(Span::styled(
            format::right(&format::count(*window), count_width),
            theme.strong,
        ));
        spans.push(Span::styled(
            format::right(&format::percent(part), part_width),
            theme.text,
        ));
        if with_ever {
            let text = format!("{} ever", format::count(*ever));
            spans.push(Span::styled(format::right(&text, ever_width), theme.dim));
        }
        canvas.line(inside, rows, Line::from(spans));
        rows += 1;
    }
    let rest = below(inside, rows + u16::from(inside.height > rows + 4));
    if rest.height > 0 {
        let held = canvas.state.keys();
        let known = canvas
            .state
            .keys_known()
            .is_some_and(|known| known.value.is_some());
        let held = held
            .keys
            .iter()
            .filter(|key| key.leased == Some(true))
            .count();
        let told = stored(&figures, known.then_some(held as f64), theme);
        flow(canvas, rest, rest.height, told);
    }
}

/// What is in the cache, and what happened to it.
fn stored(figures: &CacheFigures, leases: Option<f64>, theme: &Theme) -> Vec<Figure> {
    let count = |value, label: &str| Figure::new(format::count(value), label, theme);
    let mut told = vec![
        count(figures.entries, "keys"),
        Figure::new(size(figures.bytes), "stored", theme),
        Figure::counted(leases, "lease held on show", "leases held on show", theme),
        count(figures.early, "refreshed early"),
        count(figures.fills, "filled"),
        count(figures.invalidations, "made void"),
        Figure::counted(figures.flushes, "flush", "flushes", theme),
        Figure::bad(figures.evictions, "evicted", theme),
        count(figures.lease_waits, "waited for a rebuild"),
    ];
    if figures.first_level_entries.is_some() {
        told.push(count(
            figures.first_level_entries,
            "copies in the gateways' memory",
        ));
        told.push(Figure::new(size(figures.first_level_bytes), "of it", theme));
    }
    let bypass = figures
        .causes
        .iter()
        .find(|(cause, ..)| *cause == Cause::Bypass);
    if bypass.is_some_and(|(_, window, _)| window.is_some_and(|window| window > 0.0)) {
        for (reason, times) in &figures.bypass_reasons {
            told.push(Figure::new(
                format::count(Some(*times)),
                format!("past it: {reason}"),
                theme,
            ));
        }
    }
    told
}

const COLUMNS: [Column; 7] = [
    Column::rest("key", 16, 0),
    Column::right("ttl", 5, 1),
    Column::right("age", 5, 4),
    Column::right("size", 6, 2),
    Column::right("variants", 9, 6),
    Column::right("lease", 6, 5),
    Column::left("state", 13, 3),
];

fn keys(canvas: &mut Canvas<'_, '_, '_>, area: Rect) {
    let (state, theme) = (canvas.state, canvas.theme);
    let keys = state.keys();
    let known = state.keys_known();
    let doubt = doubt(state, known);
    let prefix = state.key_prefix();
    let count = match (known.is_some_and(|known| known.value.is_some()), keys.more) {
        (false, _) => String::new(),
        (true, false) => format::count(Some(keys.keys.len() as f64)),
        (true, true) => format!("{} on show, there are more", keys.keys.len()),
    };
    let filter = if prefix.is_empty() {
        filter_of(state, Panel::Keys)
    } else {
        format!("begins with {prefix}")
    };
    let old = doubt.is_some();
    let rest = parts(&[count, filter, doubt.clone().unwrap_or_default()]);
    let inside = canvas.panel(Panel::Keys, area, "Keys", &rest);
    if keys.keys.is_empty() {
        let text = match (doubt, keys.more) {
            (Some(doubt), _) => doubt,
            (None, _) if !prefix.is_empty() => format!("no key begins with {prefix}"),
            (None, true) => "none of the keys on show matches; ^text asks for a prefix".to_owned(),
            (None, false) if state.cursor(Panel::Keys).filter.is_some() => {
                "no key matches".to_owned()
            }
            (None, false) => "the cache is empty".to_owned(),
        };
        canvas.empty(inside, &text);
        return;
    }
    let rows: Vec<Row> = keys.keys.iter().map(|key| row(key, old, theme)).collect();
    let longest = keys.keys.iter().map(|key| key.key.chars().count()).max();
    let mut columns = COLUMNS;
    // The other columns take sixty at most.
    let most = usize::from(inside.width).saturating_sub(60);
    steady(&mut columns, inside.width, longest.unwrap_or(0).min(most));
    table::draw(canvas, Panel::Keys, inside, &columns, &rows);
}

fn row(key: &Key, old: bool, theme: &Theme) -> Row {
    let plain = |style: Style| if old { theme.dim } else { style };
    let (glyph, style) = match key.word() {
        "fresh" => ("●", theme.good),
        "stale" => ("◔", theme.dim),
        "rebuilding" => ("◐", theme.notice),
        _ => ("○", theme.dim),
    };
    let ttl = match key.ttl {
        Some(ttl) if ttl <= 0.0 => "0s".to_owned(),
        other => format::age(other),
    };
    Row {
        key: key.key.clone(),
        cells: vec![
            Cell::new(&*key.key, plain(theme.strong)),
            Cell::new(ttl, plain(theme.text)),
            Cell::new(format::age(key.age), plain(theme.text)),
            Cell::new(size(key.bytes), plain(theme.text)),
            Cell::new(format::count(key.variants), plain(theme.dim)),
            Cell::new(
                key.lease
                    .map_or_else(String::new, |lease| format!("{lease:.1}s")),
                plain(theme.notice),
            ),
            Cell::new(format!("{glyph} {}", key.word()), plain(style)),
        ],
    }
}
