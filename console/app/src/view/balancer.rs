//! The view of balancer: how requests are spread over the gateways, and why.

use ratatui::{
    layout::{Constraint, Layout, Rect},
    text::{Line, Span},
};

use super::{
    bars,
    canvas::Canvas,
    chart, format,
    status::{self, Mark},
    table::{self, Cell, Column, Row},
    theme::Theme,
};
use crate::state::{
    alerts::age,
    balancer::{Backend, Balance, Standing, meaning_of},
    details::Topic,
    instance::Role,
    series::{Fold, Series},
    view::Panel,
};

/// Up to here the busiest gateway is said to have its part, and from there on far too much.
const EVEN: f64 = 1.1;
const LOPSIDED: f64 = 1.5;

/// Columns of the bar of shares.
const BAR: usize = 14;

/// The whole view: what there is no room for is left out, the picks first; the panel that keys move in stays.
pub fn view(canvas: &mut Canvas<'_, '_, '_>, area: Rect) {
    let gateways = gateways(canvas) as u16;
    let focused = canvas.state.panel();
    if area.height < 13 {
        panel(canvas, focused, area);
        return;
    }
    let first = (gateways.max(1) + 5).min(area.height * 2 / 5).max(7);
    let second = (gateways.max(1) * if area.height > 40 { 3 } else { 1 } + 4)
        .min(area.height * 2 / 5)
        .max(6);
    let rest = area.height.saturating_sub(first + second);
    if rest < 6 {
        let other = match focused {
            Panel::Gateways => Panel::Split,
            other => other,
        };
        let [upper, lower] =
            Layout::vertical([Constraint::Length(first), Constraint::Fill(1)]).areas(area);
        panel(canvas, Panel::Gateways, upper);
        panel(canvas, other, lower);
        return;
    }
    let [upper, middle, lower] = Layout::vertical([
        Constraint::Length(first),
        Constraint::Length(second),
        Constraint::Fill(1),
    ])
    .areas(area);
    panel(canvas, Panel::Gateways, upper);
    panel(canvas, Panel::Split, middle);
    panel(canvas, Panel::Picks, lower);
}

/// One panel of it, whatever room it is given.
pub fn panel(canvas: &mut Canvas<'_, '_, '_>, panel: Panel, area: Rect) {
    match panel {
        Panel::Split => split(canvas, area),
        Panel::Picks => picks(canvas, area),
        _ => rows(canvas, area),
    }
}

fn gateways(canvas: &Canvas<'_, '_, '_>) -> usize {
    let gateway = |role: &Role| *role == Role::Gateway;
    let instances = canvas.state.instances.iter();
    instances.filter(|i| gateway(&i.place.role)).count()
}

const COLUMNS: [Column; 12] = [
    Column::left("gateway", 11, 0),
    Column::left("state", 19, 0),
    Column::left("share ┃ expected", BAR + 2, 6),
    Column::right("share", 6, 1),
    Column::right("expected", 8, 2),
    Column::right("req/s", 6, 3),
    Column::right("in flight", 9, 3),
    Column::right("ewma", 8, 4),
    Column::right("err/s", 5, 2),
    Column::right("weight", 9, 4),
    Column::right("since", 5, 5),
    Column::rest("reason", 16, 5),
];

fn rows(canvas: &mut Canvas<'_, '_, '_>, area: Rect) {
    let (state, theme) = (canvas.state, canvas.theme);
    let backends = state.backends();
    let balance = state.balance(&backends);
    let mut rest = match &balance.policy {
        Some(policy) => format!("{policy}: {}", meaning_of(policy)),
        None => "the policy is not known yet".to_owned(),
    };
    if let Some(stale) = state.staleness(&Topic::Upstreams) {
        rest = format!("{rest} · {stale}");
    }
    let inside = canvas.panel(Panel::Gateways, area, "Gateways", &rest);
    if backends.is_empty() {
        let text = match state.cursor(Panel::Gateways).filter {
            Some(_) => "no gateway matches",
            None => "no gateway is known",
        };
        canvas.empty(inside, text);
        return;
    }
    let line = summary(&balance, theme);
    canvas.line(inside, 0, line);
    let chosen = state
        .cursor(Panel::Gateways)
        .place(
            &backends
                .iter()
                .map(|row| row.name.clone())
                .collect::<Vec<_>>(),
        )
        .and_then(|place| backends.get(place));
    // The reason is never out of sight: where its column is, the chosen one's stands below.
    let below = u16::from(usize::from(inside.height) > backends.len().min(3) + 2);
    let table = Rect {
        y: inside.y + 1,
        height: inside.height.saturating_sub(1 + below),
        ..inside
    };
    let rows: Vec<Row> = backends.iter().map(|row| of(row, theme)).collect();
    table::draw(canvas, Panel::Gateways, table, &COLUMNS, &rows);
    if let Some(row) = chosen.filter(|_| below > 0) {
        let text = format::cut(&because(row), inside.width.into());
        canvas.line(inside, inside.height - 1, Line::styled(text, theme.dim));
    }
}

/// State, since when and why, in one line.
fn because(row: &Backend) -> String {
    let mut text = format!("{} {}", row.name, row.word());
    if let Some(since) = row.since {
        text += &format!(" since {}", age(since.max(0.0) as u64));
    }
    if !row.reason.is_empty() {
        text += &format!(": {}", row.reason);
    }
    text
}

fn summary(balance: &Balance, theme: &Theme) -> Line<'static> {
    let (mark, style) = match balance.imbalance {
        None => ("○ balance not known".to_owned(), theme.dim),
        Some(over) if over <= EVEN => (format!("● even {over:.2}"), theme.good),
        Some(over) if over <= LOPSIDED => (format!("▲ uneven {over:.2}"), theme.warning),
        Some(over) => (format!("✖ lopsided {over:.2}"), theme.critical),
    };
    let mut words = Vec::new();
    if balance.imbalance.is_some() {
        words.push(
            if balance.promised {
                "busiest over its expected share"
            } else {
                "busiest over an even share"
            }
            .to_owned(),
        );
    }
    let (taking, all) = balance.taking;
    words.push(format!("{taking} of {all} take requests"));
    if balance.panic {
        words.push("PANIC: ejections ignored".to_owned());
    }
    words.extend(balance.settings.iter().cloned());
    Line::from(vec![
        Span::styled(mark, style),
        Span::styled(format!("  {}", words.join(" · ")), theme.dim),
    ])
}

fn of(row: &Backend, theme: &Theme) -> Row {
    let mark = mark(row, theme);
    let bar: String = bars::against(row.observed, row.expected, BAR, theme)
        .iter()
        .map(|span| span.content.as_ref())
        .collect();
    let plain = |text: String| Cell::new(text, theme.text);
    let weight = match (row.weight, row.effective_weight) {
        (Some(weight), Some(now)) if (weight - now).abs() > 0.005 => {
            format!("{weight} ({now:.1})")
        }
        (Some(weight), _) => weight.to_string(),
        (None, _) => format::UNKNOWN.to_owned(),
    };
    let failing = row.errors.is_some_and(|rate| rate > 0.0);
    Row {
        key: row.name.clone(),
        cells: vec![
            Cell::new(row.name.clone(), theme.strong),
            Cell::new(format!("{} {}", mark.glyph, mark.word), mark.style),
            Cell::new(bar, theme.bar),
            Cell::new(format::fine_percent(row.observed), theme.strong),
            plain(format::fine_percent(row.expected)),
            plain(format::rate(row.rate)),
            plain(format::count(row.in_flight)),
            plain(format::latency(row.ewma)),
            Cell::new(
                format::rate(row.errors),
                if failing { theme.critical } else { theme.text },
            ),
            plain(weight),
            plain(format::age(row.since)),
            Cell::new(row.reason.clone(), theme.dim),
        ],
    }
}

/// What a balancer makes of it, or, where none has told, what it is.
fn mark(row: &Backend, theme: &Theme) -> Mark {
    let word = row.word();
    match (&row.standing, &row.status) {
        (Standing::Unknown, Some(status)) => status::of(status, theme),
        (Standing::Unknown, None) => Mark::new("○", format::UNKNOWN, theme.dim),
        (Standing::Up, _) => Mark::new("●", word, theme.good),
        (Standing::SlowStart(_) | Standing::Unchecked, _) => Mark::new("○", word, theme.notice),
        (Standing::Draining, _) => Mark::new("◐", word, theme.notice),
        (Standing::Ejected(_) | Standing::HalfOpen | Standing::BreakerOpen, _) => {
            Mark::new("▲", word, theme.warning)
        }
        (Standing::Down, _) => Mark::new("✖", word, theme.critical),
    }
}

/// Columns of one number of the table beside the lines.
const NUMBER: usize = 8;

fn split(canvas: &mut Canvas<'_, '_, '_>, area: Rect) {
    let (state, theme) = (canvas.state, canvas.theme);
    let change = state.last_change();
    let rest = match &change {
        Some(change) => {
            let ago = age(state.at().saturating_sub(change.mark.at).as_secs());
            format!("before and after {ago} ago: {}", change.mark.text)
        }
        None => "of all requests, second by second".to_owned(),
    };
    let inside = canvas.panel(Panel::Split, area, "Split", &rest);
    let names: Vec<String> = state
        .instances
        .iter()
        .filter(|instance| instance.place.role == Role::Gateway)
        .map(|instance| instance.name().to_owned())
        .collect();
    if names.is_empty() {
        canvas.empty(inside, "no gateway is known");
        return;
    }
    let width = usize::from(inside.width);
    let label = names
        .iter()
        .map(|name| name.chars().count())
        .max()
        .unwrap_or(0)
        .clamp(4, 14);
    let sides = change.filter(|_| width >= 56);
    let numbers = NUMBER * if sides.is_some() { 4 } else { 1 };
    let columns = width.saturating_sub(label + 1 + numbers);
    if columns < 4 || inside.height < 2 {
        return;
    }
    let mut head = format::left("", label + 1 + columns) + &format::right("now", NUMBER);
    if sides.is_some() {
        for name in ["before", "after", "change"] {
            head += &format::right(name, NUMBER);
        }
    }
    canvas.line(inside, 0, Line::styled(head, theme.dim));
    let room = inside.height - 1 - u16::from(inside.height > 2);
    let rows = (room / names.len() as u16).clamp(1, 4);
    let lens = state.wide_lens();
    let lines: Vec<Vec<Option<f64>>> = names
        .iter()
        .map(|name| {
            let series = Series::Share(name.clone());
            state.charts.columns(&series, lens, columns, Fold::Mean)
        })
        .collect();
    let all: Vec<Option<f64>> = lines.iter().flatten().copied().collect();
    // One scale for all: lines of the same height are the same share.
    let thousandths: Vec<Option<f64>> = all.iter().map(|v| v.map(|v| v * 1e3)).collect();
    let top = (bars::ceiling(&thousandths) / 1e3).min(1.0);
    for (place, (name, line)) in names.iter().zip(&lines).enumerate() {
        let y = 1 + place as u16 * rows;
        if y + rows > 1 + room {
            break;
        }
        let chart = Rect {
            x: inside.x + label as u16 + 1,
            y: inside.y + y,
            width: columns as u16,
            height: rows,
        };
        bars::chart(canvas.buffer(), chart, line, top, theme.bar);
        let now = state
            .charts
            .value(&Series::Share(name.clone()), state.lens());
        let mut spans = vec![
            Span::styled(format::left(name, label), theme.text),
            Span::styled(
                format::right(&format::fine_percent(now), NUMBER),
                theme.strong,
            ),
        ];
        let told = sides
            .as_ref()
            .and_then(|change| change.rows.iter().find(|(own, ..)| own == name));
        if let Some((_, before, after)) = told {
            let change = before.zip(*after).map_or_else(
                || format::UNKNOWN.to_owned(),
                |(before, after)| format!("{:+.1}", (after - before) * 100.0),
            );
            for text in [format::fine_percent(*before), format::fine_percent(*after)] {
                spans.push(Span::styled(format::right(&text, NUMBER), theme.text));
            }
            spans.push(Span::styled(format::right(&change, NUMBER), theme.strong));
        }
        let mut spans = spans.into_iter();
        if let Some(name) = spans.next() {
            let own = Rect {
                width: label as u16,
                ..inside
            };
            canvas.line(own, y, Line::from(name));
        }
        let right = Rect {
            x: inside.x + (label + 1 + columns) as u16,
            width: numbers as u16,
            ..inside
        };
        canvas.line(right, y, Line::from(spans.collect::<Vec<_>>()));
    }
    if inside.height > 2 {
        let below = Rect {
            x: inside.x + label as u16 + 1,
            y: inside.bottom() - 1,
            width: columns as u16,
            height: 1,
        };
        chart::time(canvas, below);
    }
}

fn picks(canvas: &mut Canvas<'_, '_, '_>, area: Rect) {
    const COLUMNS: [Column; 5] = [
        Column::right("ago", 8, 2),
        Column::left("balancer", 11, 5),
        Column::left("decided by", 18, 3),
        Column::left("picked", 11, 0),
        Column::rest("candidates, and why the others were none", 20, 1),
    ];
    let (state, theme) = (canvas.state, canvas.theme);
    let picks = state.picks();
    let rest = match state.staleness(&Topic::Picks) {
        Some(stale) => stale,
        None => "the last of every balancer, the newest first; Enter tells all".to_owned(),
    };
    let inside = canvas.panel(Panel::Picks, area, "Picks", &rest);
    if picks.is_empty() {
        let text = match (
            state.cursor(Panel::Picks).filter,
            state.details.value(&Topic::Picks),
        ) {
            (Some(_), _) => "no pick matches",
            (None, Some(_)) => "nothing was picked yet: t starts traffic",
            (None, None) => "the balancers have told nothing yet",
        };
        canvas.empty(inside, text);
        return;
    }
    let rows: Vec<Row> = picks
        .iter()
        .map(|pick| Row {
            key: pick.key.clone(),
            cells: vec![
                Cell::new(format::latency(pick.age), theme.dim),
                Cell::new(pick.balancer.clone(), theme.dim),
                Cell::new(
                    pick.decision(),
                    if pick.fallback.is_some() {
                        theme.warning
                    } else {
                        theme.text
                    },
                ),
                match &pick.picked {
                    Some(name) => Cell::new(name.clone(), theme.strong),
                    None => Cell::new("✖ nobody", theme.critical),
                },
                Cell::new(pick.story(), theme.text),
            ],
        })
        .collect();
    table::draw(canvas, Panel::Picks, inside, &COLUMNS, &rows);
}
