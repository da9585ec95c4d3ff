//! The view of traffic: the traffic that is made from here.

use std::time::Duration;

use actions::TrafficPlan;
use load::{Mix, Profile};
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
    intent::Intent,
    series::{Fold, Series},
    traffic::{course, telling_time},
    view::Panel,
};

/// Rows of the plan with all that there is to say.
const PLAN: u16 = 9;

/// The whole view.
///
/// ```text
/// ╭ Plan ──────────────╮╭ Rate ──────────────╮
/// ╰────────────────────╯╰────────────────────╯
/// ╭ Calls ───────────────────────────────────╮
/// ╰──────────────────────────────────────────╯
/// ```
pub fn view(canvas: &mut Canvas<'_, '_, '_>, area: Rect) {
    let focus = canvas.state.panel();
    if area.width >= 110 && area.height >= 24 {
        let top = (area.height * 2 / 5).clamp(PLAN + 5, 22);
        let [upper, calls] =
            Layout::vertical([Constraint::Length(top), Constraint::Fill(1)]).areas(area);
        let [plan, rate] = Layout::horizontal([Constraint::Fill(1); 2]).areas(upper);
        self::plan(canvas, plan);
        self::rate(canvas, rate);
        self::calls(canvas, calls);
    } else if area.height >= 20 {
        // Before anything runs there is more to choose from than to measure.
        let (upper, middle) = if canvas.state.traffic.is_on() {
            (7, 7)
        } else {
            (10, 4)
        };
        let [plan, rate, calls] = Layout::vertical([
            Constraint::Length(upper),
            Constraint::Length(middle),
            Constraint::Fill(1),
        ])
        .areas(area);
        self::plan(canvas, plan);
        self::rate(canvas, rate);
        self::calls(canvas, calls);
    } else {
        // The plan is always in sight; below it is what one is busy with.
        let other = if focus == Panel::TrafficRate {
            Panel::TrafficRate
        } else {
            Panel::Calls
        };
        let height = if area.height >= 14 { 7 } else { 5 };
        let [plan, below] =
            Layout::vertical([Constraint::Length(height), Constraint::Fill(1)]).areas(area);
        self::plan(canvas, plan);
        panel(canvas, other, below);
    }
}

/// One panel of it, whatever room it is given.
pub fn panel(canvas: &mut Canvas<'_, '_, '_>, panel: Panel, area: Rect) {
    match panel {
        Panel::TrafficRate => rate(canvas, area),
        Panel::Calls => calls(canvas, area),
        _ => plan(canvas, area),
    }
}

/// `12m 30s`.
fn time(seconds: f64) -> String {
    let seconds = seconds.max(0.0).round() as u64;
    match (seconds / 3_600, seconds / 60 % 60, seconds % 60) {
        (0, 0, s) => format!("{s}s"),
        (0, m, 0) => format!("{m}m"),
        (0, m, s) => format!("{m}m {s}s"),
        (h, 0, _) => format!("{h}h"),
        (h, m, _) => format!("{h}h {m}m"),
    }
}

/// The plan in words, and how it goes.
fn plan(canvas: &mut Canvas<'_, '_, '_>, area: Rect) {
    let (state, theme) = (canvas.state, canvas.theme);
    let on = state.traffic.is_on();
    let menu = state.keymap.key_of(Intent::TrafficMenu);
    let rest = if on {
        format!(
            "{} changes it · {} stops it",
            menu,
            state.keymap.key_of(Intent::StopTraffic)
        )
    } else {
        format!("{menu} starts it")
    };
    let inside = canvas.panel(Panel::Plan, area, "Plan", &rest);
    let width = usize::from(inside.width);
    let plan = state.traffic.plan();
    let seen = state.traffic.seen.as_ref().filter(|_| on);
    let target = state.public_url.as_deref().unwrap_or(format::UNKNOWN);
    let (sign, style) = if on {
        ("▶ ", theme.good)
    } else {
        ("□ ", theme.dim)
    };
    let rate = format::rate(Some(plan.rate));
    let word = |text: &str| Span::styled(text.to_owned(), theme.dim);
    let mut lines = vec![Line::from(vec![
        Span::styled(sign, style),
        Span::styled(
            format!("{} {rate}/s", plan.profile.name()),
            if on { theme.strong } else { theme.text },
        ),
        word(" → "),
        Span::styled(target.to_owned(), theme.text),
        word(if on { "" } else { "  not running" }),
    ])];
    if on {
        lines.push(progress(
            canvas,
            plan,
            seen.and_then(|seen| seen.left),
            width,
        ));
    }
    let (rate_text, asked) = match seen {
        Some(seen) => (format::rate(seen.rate), format::rate(seen.asked)),
        None => (format::UNKNOWN.to_owned(), format::rate(Some(plan.rate))),
    };
    let failed = seen.map(|seen| seen.errors);
    let failed_style = match failed {
        Some(failed) if failed > 0 => theme.critical,
        _ => theme.strong,
    };
    if on {
        lines.push(Line::from(vec![
            word("asked "),
            Span::styled(format!("{asked}/s"), theme.strong),
            word("  answered "),
            Span::styled(format!("{rate_text}/s"), theme.strong),
            word("  failed "),
            Span::styled(
                format::count(failed.map(|failed| failed as f64)),
                failed_style,
            ),
            word(" of "),
            Span::styled(
                format::count(seen.map(|seen| seen.answered as f64)),
                theme.text,
            ),
        ]));
        lines.push(Line::from(vec![
            word("p95 "),
            Span::styled(
                format::latency(seen.and_then(|seen| seen.p95)),
                theme.strong,
            ),
            word(" corrected, "),
            Span::styled(
                format::latency(seen.and_then(|seen| seen.raw_p95)),
                theme.text,
            ),
            word(" raw: as users feel it, and once it was sent"),
        ]));
    }
    let mix = plan.mix.to_string();
    lines.push(Line::from(vec![
        word("mix "),
        Span::styled(mix.clone(), theme.text),
        word(&format!("  seed {}", plan.seed)),
    ]));
    if inside.height > 12
        && let Some((_, meaning)) = Mix::NAMED.iter().find(|(name, _)| *name == mix)
    {
        lines.push(Line::from(vec![word("    "), word(meaning)]));
    }
    lines.push(Line::from(word(&format!(
        "at most {}/s, ends by itself after {}",
        format::count(Some(TrafficPlan::MOST_RATE)),
        time(plan.seconds as f64)
    ))));
    if let Some(seen) = seen.filter(|seen| seen.skipped > 0) {
        lines.push(Line::styled(
            format!(
                "▲ {} came due and were never sent: all connections were busy",
                format::count(Some(seen.skipped as f64))
            ),
            theme.warning,
        ));
    }
    if let Some(problem) = seen.and_then(|seen| seen.last_error.as_deref()) {
        lines.push(Line::styled(
            format::cut(&format!("✖ {problem}"), width),
            theme.critical,
        ));
    }
    let used = lines.len();
    canvas.lines(inside, lines);
    let below = Rect {
        y: inside.y.saturating_add(used as u16),
        height: inside.height.saturating_sub(used as u16),
        ..inside
    };
    profiles(canvas, below);
}

/// How much of its time is over.
fn progress(
    canvas: &Canvas<'_, '_, '_>,
    plan: &TrafficPlan,
    left: Option<f64>,
    width: usize,
) -> Line<'static> {
    let theme = canvas.theme;
    let whole = plan.seconds as f64;
    let text = match left {
        Some(left) => format!(" {} left of {}", time(left), time(whole)),
        None => format!(" for {}", time(whole)),
    };
    let room = width.saturating_sub(text.chars().count()).min(40);
    let part = left.map(|left| 1.0 - left / whole.max(1.0));
    let mut spans = bars::gauge(part, room, theme.bar, theme);
    spans.push(Span::styled(text, theme.dim));
    Line::from(spans)
}

/// The course of each profile, the planned one pointed at.
fn profiles(canvas: &mut Canvas<'_, '_, '_>, area: Rect) {
    let (state, theme) = (canvas.state, canvas.theme);
    let plan = state.traffic.plan();
    let width = usize::from(area.width);
    if width < 24 {
        return;
    }
    let curve = (width / 3).clamp(8, 30);
    let mut all = Profile::ALL.to_vec();
    // Where there is no room for all of them, the planned one is the one to see.
    all.sort_by_key(|profile| *profile != plan.profile);
    for (row, profile) in (0..area.height).zip(all) {
        let planned = profile == plan.profile;
        let whole = if planned {
            Duration::from_secs(plan.seconds)
        } else {
            profile.usual_time()
        };
        let whole = telling_time(profile, whole);
        let values: Vec<Option<f64>> = course(profile, whole, curve)
            .into_iter()
            .map(Some)
            .collect();
        let sign = if planned { "▶ " } else { "  " };
        let room = width.saturating_sub(12 + curve);
        let line = Line::from(vec![
            Span::styled(sign, theme.accent),
            Span::styled(
                format::left(profile.name(), 9),
                if planned { theme.strong } else { theme.dim },
            ),
            Span::styled(
                bars::sparkline(&values, 1.0, curve),
                if planned { theme.bar } else { theme.faint },
            ),
            Span::styled(
                format::cut(
                    &format!(" {}, {}", time(whole.as_secs_f64()), profile.meaning()),
                    room,
                ),
                theme.dim,
            ),
        ]);
        canvas.line(area, row, line);
    }
}

/// Asked against answered over time, failures, and both latencies.
fn rate(canvas: &mut Canvas<'_, '_, '_>, area: Rect) {
    let (state, theme) = (canvas.state, canvas.theme);
    let inside = canvas.panel(
        Panel::TrafficRate,
        area,
        "Rate",
        "answered, and the line of what was asked",
    );
    let lens = state.lens();
    let value = |series: &Series| state.charts.value(series, lens);
    let (asked, answered) = (
        value(&Series::TrafficAsked),
        value(&Series::TrafficAnswered),
    );
    let errors = value(&Series::TrafficErrors);
    let part = asked
        .zip(answered)
        .filter(|(asked, _)| *asked > 0.0)
        .map(|(asked, answered)| answered / asked);
    if asked.is_none() && answered.is_none() && value(&Series::TrafficCorrected).is_none() {
        let columns = state.charts.columns(
            &Series::TrafficAnswered,
            state.wide_lens(),
            usize::from(inside.width),
            Fold::Mean,
        );
        if columns.iter().all(Option::is_none) {
            let text = format!(
                "no traffic in this window; {} starts some",
                state.keymap.key_of(Intent::TrafficMenu)
            );
            canvas.empty(inside, &text);
            return;
        }
    }
    let word = |text: &'static str| Span::styled(text, theme.dim);
    canvas.line(
        inside,
        0,
        Line::from(vec![
            Span::styled(format::rate(answered), theme.strong),
            word(" of "),
            Span::styled(format::rate(asked), theme.strong),
            word("/s  "),
            Span::styled(format::percent(part), theme.text),
            word("  failed "),
            Span::styled(
                format::rate(errors),
                if errors.is_some_and(|errors| errors > 0.0) {
                    theme.critical
                } else {
                    theme.strong
                },
            ),
            word("/s"),
        ]),
    );
    let pen = |style: Style, unit: fn(Option<f64>) -> String, fold| Pen {
        style,
        fold,
        top: None,
        unit,
    };
    let sparks = [
        (
            "failed/s",
            Series::TrafficErrors,
            pen(theme.error_bar, format::rate, Fold::Most),
        ),
        (
            "p95 corrected",
            Series::TrafficCorrected,
            pen(theme.bar, format::latency, Fold::Most),
        ),
        (
            "p95 raw",
            Series::TrafficRaw,
            pen(theme.dim, format::latency, Fold::Most),
        ),
    ];
    let lines = match inside.height {
        0..=4 => 0,
        5..=7 => 2,
        _ => 3,
    };
    let chart = Rect {
        y: inside.y + 1,
        height: inside.height.saturating_sub(1 + lines),
        ..inside
    };
    against(canvas, chart);
    // Where there is room for two, the two latencies matter most beside each other.
    let skip = 3 - usize::from(lines);
    for (row, (name, series, pen)) in
        (inside.bottom().saturating_sub(lines)..).zip(sparks.into_iter().skip(skip))
    {
        let line = Rect {
            y: row,
            height: 1,
            ..inside
        };
        if row < inside.bottom() && inside.width > 30 {
            chart::spark(canvas, line, (name, 13), &series, &pen);
        }
    }
}

/// Answered as columns, asked as a line over them.
fn against(canvas: &mut Canvas<'_, '_, '_>, area: Rect) {
    if area.height < 2 || area.width < chart::SCALE + 4 {
        return;
    }
    let state = canvas.state;
    let width = usize::from(area.width - chart::SCALE);
    let columns = |series: &Series| {
        state
            .charts
            .columns(series, state.wide_lens(), width, Fold::Mean)
    };
    let asked = columns(&Series::TrafficAsked);
    let mut all = columns(&Series::TrafficAnswered);
    all.extend(asked.iter().copied());
    let top = bars::ceiling(&all);
    let pen = Pen {
        style: canvas.theme.bar,
        fold: Fold::Mean,
        top: Some(top),
        unit: format::rate,
    };
    chart::columns(canvas, area, &Series::TrafficAnswered, &pen);
    let (height, style) = (area.height - 1, canvas.theme.expected);
    for (x, value) in (area.x + chart::SCALE..).zip(asked) {
        let Some(value) = value.filter(|_| top > 0.0) else {
            continue;
        };
        let up = (value / top * f64::from(height)).floor() as u16;
        let y = area.y + height - 1 - up.min(height - 1);
        let cell = &mut canvas.buffer()[(x, y)];
        // The line is seen where the columns do not reach it: that is what it is for.
        if cell.symbol() == " " {
            cell.set_char('─').set_style(style);
        }
    }
}

/// Every call with its weight and what became of it.
fn calls(canvas: &mut Canvas<'_, '_, '_>, area: Rect) {
    let (state, theme) = (canvas.state, canvas.theme);
    let rows = state.call_rows();
    let on = state.traffic.is_on();
    let rest = format!(
        "{} {} the chosen one's weight{} · {} more",
        state.keymap.key_of(Intent::Left),
        state.keymap.key_of(Intent::Right),
        if on {
            ", at once"
        } else {
            " for the next start"
        },
        state.keymap.key_of(Intent::Menu),
    );
    let inside = canvas.panel(Panel::Calls, area, "Calls", &rest);
    if rows.is_empty() {
        canvas.empty(inside, "no call matches the filter");
        return;
    }
    let columns = [
        Column::left("call", 19, 0),
        Column::right("weight", 7, 0),
        Column::right("asked", 6, 2),
        Column::right("sent", 8, 1),
        Column::right("share", 6, 3),
        Column::right("failed", 7, 1),
        Column::right("p95", 8, 2),
        Column::rest("route", 20, 4),
    ];
    let rows: Vec<Row> = rows
        .into_iter()
        .map(|row| {
            let style = if row.weight == 0 {
                theme.faint
            } else {
                theme.text
            };
            let failed = match row.failed {
                Some(failed) if failed > 0 => theme.critical,
                _ => style,
            };
            let count = |count: Option<u64>| format::count(count.map(|count| count as f64));
            Row {
                key: row.kind.name().to_owned(),
                cells: vec![
                    Cell::new(row.kind.name(), style),
                    Cell::new(row.weight.to_string(), style),
                    Cell::new(format::fine_percent(Some(row.asked)), style),
                    Cell::new(count(row.sent), style),
                    Cell::new(format::fine_percent(row.share), style),
                    Cell::new(count(row.failed), failed),
                    Cell::new(format::latency(row.p95), style),
                    Cell::new(row.kind.route(), theme.dim),
                ],
            }
        })
        .collect();
    table::draw(canvas, Panel::Calls, inside, &columns, &rows);
}

#[cfg(test)]
mod tests {
    use super::time;

    #[test]
    fn times_are_short() {
        for (seconds, text) in [
            (0.2, "0s"),
            (59.6, "1m"),
            (750.0, "12m 30s"),
            (3_600.0, "1h"),
            (5_400.0, "1h 30m"),
        ] {
            assert_eq!(time(seconds), text);
        }
    }
}
