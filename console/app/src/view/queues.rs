//! The view of queues: what waits, what goes in and out, what has died.

use ratatui::{
    layout::{Constraint, Layout, Rect},
    style::Style,
};

use super::{
    canvas::Canvas,
    chart::{self, Pen},
    figures::{Figure, Room, below, doubt, filter_of, flow, parts, size, steady},
    format,
    table::{self, Cell, Column, Row},
    theme::Theme,
};
use crate::state::{
    queue::{DeadLetter, Drain, QueueFigures},
    series::{Fold, Series},
    view::Panel,
};

/// ```text
/// ╭ Queues ─────────────────────────────────────╮
/// ╰─────────────────────────────────────────────╯
/// ╭ Depth ──────────────╮╭ Dead letters ────────╮
/// ╰─────────────────────╯╰──────────────────────╯
/// ```
pub fn view(canvas: &mut Canvas<'_, '_, '_>, area: Rect) {
    let focus = canvas.state.panel();
    let queues = canvas.state.queues();
    // The frame and the heads of the columns.
    let needed = queues.len() as u16 + 3;
    match Room::of(area) {
        Room::Little => panel(canvas, focus, area),
        Room::Middle => {
            let chosen = canvas.state.chosen(Panel::Queues);
            let dead = queues
                .iter()
                .find(|queue| Some(&queue.name) == chosen.as_ref())
                .and_then(|queue| queue.dead);
            let lower = match focus {
                Panel::Depth | Panel::DeadLetters => focus,
                _ if dead.is_some_and(|dead| dead > 0.0) => Panel::DeadLetters,
                _ => Panel::Depth,
            };
            let height = needed.clamp(5, area.height / 2);
            let [top, rest] =
                Layout::vertical([Constraint::Length(height), Constraint::Fill(1)]).areas(area);
            panel(canvas, Panel::Queues, top);
            panel(canvas, lower, rest);
        }
        Room::Much => {
            let height = needed.clamp(6, area.height / 2);
            let [top, rest] =
                Layout::vertical([Constraint::Length(height), Constraint::Fill(1)]).areas(area);
            let [left, right] =
                Layout::horizontal([Constraint::Fill(2), Constraint::Fill(3)]).areas(rest);
            panel(canvas, Panel::Queues, top);
            panel(canvas, Panel::Depth, left);
            panel(canvas, Panel::DeadLetters, right);
        }
    }
}

/// One panel of it, whatever room it is given.
pub fn panel(canvas: &mut Canvas<'_, '_, '_>, panel: Panel, area: Rect) {
    match panel {
        Panel::Depth => depth(canvas, area),
        Panel::DeadLetters => dead_letters(canvas, area),
        _ => queues(canvas, area),
    }
}

const COLUMNS: [Column; 12] = [
    Column::rest("queue", 11, 0),
    Column::left("state", 8, 1),
    Column::right("depth", 7, 0),
    Column::right("flight", 6, 5),
    Column::right("delayed", 8, 8),
    Column::right("dead", 6, 2),
    Column::right("oldest", 7, 4),
    Column::right("in/s", 6, 6),
    Column::right("out/s", 6, 6),
    Column::right("drain", 7, 3),
    Column::right("bytes", 6, 9),
    Column::left("class", 8, 7),
];

fn queues(canvas: &mut Canvas<'_, '_, '_>, area: Rect) {
    let (state, theme) = (canvas.state, canvas.theme);
    let figures = state.queue_figures();
    let consumers = state.consumers();
    let still = consumers
        .iter()
        .filter(|(_, paused)| *paused == Some(true))
        .count();
    let takers = match (consumers.len(), still) {
        (0, _) => String::new(),
        (1, 0) => "1 consumer".to_owned(),
        (1, _) => "1 consumer, paused".to_owned(),
        (many, 0) => format!("{many} consumers"),
        (many, still) => format!("{many} consumers, {still} paused"),
    };
    let doubt = doubt(state, state.queues_known()).unwrap_or_default();
    let rest = parts(&[takers, filter_of(state, Panel::Queues), doubt]);
    let inside = canvas.panel(Panel::Queues, area, "Queues", &rest);
    if figures.is_empty() {
        let text = match state.cursor(Panel::Queues).filter {
            Some(_) => "no queue matches",
            None => "no queue is known: the queue service tells of none, or does not answer",
        };
        canvas.empty(inside, text);
        return;
    }
    let rows: Vec<Row> = figures.iter().map(|figures| row(figures, theme)).collect();
    let longest = figures.iter().map(|f| f.queue.name.chars().count()).max();
    let mut columns = COLUMNS;
    steady(&mut columns, inside.width, longest.unwrap_or(0).min(24));
    table::draw(canvas, Panel::Queues, inside, &columns, &rows);
}

fn row(figures: &QueueFigures, theme: &Theme) -> Row {
    let queue = &figures.queue;
    let state = match figures.paused {
        Some(true) => Cell::new("◐ paused", theme.warning),
        Some(false) => Cell::new("● open", theme.good),
        None => Cell::new(format!("○ {}", format::UNKNOWN), theme.dim),
    };
    let dead = match queue.dead {
        Some(dead) if dead > 0.0 => {
            Cell::new(format!("▲{}", format::count(Some(dead))), theme.warning)
        }
        other => Cell::new(format::count(other), theme.dim),
    };
    let drain = match figures.drain {
        Drain::Never | Drain::Paused => theme.warning,
        Drain::Unknown | Drain::Empty => theme.dim,
        Drain::In(_) => theme.text,
    };
    let text = |text: String, style: Style| Cell::new(text, style);
    Row {
        key: queue.name.clone(),
        cells: vec![
            text(queue.name.clone(), theme.strong),
            state,
            text(format::count(queue.depth), theme.strong),
            text(format::count(queue.in_flight), theme.text),
            text(format::count(figures.delayed), theme.dim),
            dead,
            // An empty queue has no oldest message.
            text(
                format::age(queue.oldest_age.filter(|age| *age > 0.0)),
                theme.text,
            ),
            text(format::rate(queue.sent), theme.text),
            text(format::rate(queue.acknowledged), theme.text),
            text(figures.drain.short(), drain),
            text(size(figures.bytes), theme.dim),
            text(
                figures
                    .durability
                    .clone()
                    .unwrap_or_else(|| format::UNKNOWN.to_owned()),
                theme.dim,
            ),
        ],
    }
}

fn depth(canvas: &mut Canvas<'_, '_, '_>, area: Rect) {
    let (state, theme) = (canvas.state, canvas.theme);
    let chosen = state.chosen(Panel::Queues);
    let figures = state.queue_figures();
    let figures = figures
        .iter()
        .find(|figures| Some(&figures.queue.name) == chosen.as_ref());
    let Some(figures) = figures else {
        let inside = canvas.panel(Panel::Depth, area, "Depth", "");
        canvas.empty(inside, "no queue is chosen");
        return;
    };
    let name = &figures.queue.name;
    let title = format!("Depth of {name}");
    let inside = canvas.panel(Panel::Depth, area, &title, &figures.drain.long());
    let sparks = [
        ("in/s", Series::QueueSent(name.clone()), theme.bar),
        (
            "out/s",
            Series::QueueAcknowledged(name.clone()),
            theme.cache_bar,
        ),
    ];
    let count = sparks.len() as u16;
    let with_words = inside.height >= 8;
    let mut rest = inside;
    if with_words {
        let told = [
            (format::count(figures.queue.depth), "wait"),
            (format::count(figures.queue.in_flight), "in flight"),
            (format::rate(figures.redelivered), "again/s"),
            (format::count(figures.behind), "behind their key"),
        ];
        let told = told
            .into_iter()
            .map(|(value, label)| Figure::new(value, label, theme))
            .collect();
        let used = flow(canvas, rest, 1, told);
        rest = below(rest, used);
    }
    let with_sparks = rest.height >= count + 3;
    let height = if with_sparks {
        rest.height - count
    } else {
        rest.height
    };
    let pen = Pen {
        style: theme.bar,
        fold: Fold::Most,
        top: None,
        unit: format::count,
    };
    let place = Rect { height, ..rest };
    chart::columns(canvas, place, &Series::QueueDepth(name.clone()), &pen);
    if with_sparks {
        let rest = below(rest, height);
        for (row, (title, series, style)) in (0..).zip(sparks) {
            let pen = Pen {
                style,
                fold: Fold::Mean,
                top: None,
                unit: format::rate,
            };
            chart::spark(canvas, below(rest, row), (title, 5), &series, &pen);
        }
    }
}

const LETTERS: [Column; 5] = [
    Column::left("died", 8, 2),
    Column::left("reason", 26, 0),
    Column::right("tries", 5, 1),
    Column::rest("payload", 16, 3),
    Column::left("id", 8, 4),
];

fn dead_letters(canvas: &mut Canvas<'_, '_, '_>, area: Rect) {
    let (state, theme) = (canvas.state, canvas.theme);
    let chosen = state.chosen(Panel::Queues);
    let title = chosen.as_ref().map_or_else(
        || "Dead letters".to_owned(),
        |name| format!("Dead letters of {name}"),
    );
    let letters = state.dead_letters();
    let known = state.letters_known();
    let doubt = doubt(state, known).filter(|_| chosen.is_some());
    let all = state
        .queues()
        .into_iter()
        .find(|queue| Some(&queue.name) == chosen.as_ref())
        .and_then(|queue| queue.dead);
    let count = match all {
        Some(all) if all > letters.len() as f64 => {
            format!("{} on show of {}", letters.len(), format::count(Some(all)))
        }
        _ if letters.is_empty() => String::new(),
        _ => format!("{}, the oldest first", letters.len()),
    };
    let filter = filter_of(state, Panel::DeadLetters);
    let filtered = !filter.is_empty();
    let old = doubt.is_some();
    let rest = parts(&[count, filter, doubt.clone().unwrap_or_default()]);
    let inside = canvas.panel(Panel::DeadLetters, area, &title, &rest);
    if letters.is_empty() {
        let text = match (&chosen, doubt) {
            (None, _) => "no queue is chosen".to_owned(),
            (_, Some(doubt)) => doubt,
            (_, None) if filtered => "no dead letter matches".to_owned(),
            (_, None) => "● nothing has died here".to_owned(),
        };
        canvas.empty(inside, &text);
        return;
    }
    // The reason takes what the payload does not need where there is much room.
    let mut columns = LETTERS;
    columns[1].width = (usize::from(inside.width) * 2 / 5).clamp(18, 48);
    let rows: Vec<Row> = letters
        .iter()
        .map(|letter| letter_row(letter, old, theme))
        .collect();
    table::draw(canvas, Panel::DeadLetters, inside, &columns, &rows);
}

fn letter_row(letter: &DeadLetter, old: bool, theme: &Theme) -> Row {
    let plain = |style: Style| if old { theme.dim } else { style };
    let died = letter.died_at.map_or_else(
        || format::UNKNOWN.to_owned(),
        |died| died.format("%H:%M:%S").to_string(),
    );
    // Ids begin with the time and end with chance.
    let skip = letter.id.chars().count().saturating_sub(8);
    let id: String = letter.id.chars().skip(skip).collect();
    Row {
        key: letter.position.clone(),
        cells: vec![
            Cell::new(died, plain(theme.text)),
            Cell::new(&*letter.reason, plain(theme.text)),
            Cell::new(format::count(letter.deliveries), plain(theme.strong)),
            Cell::new(&*letter.preview, theme.dim),
            Cell::new(id, theme.dim),
        ],
    }
}
