//! The view of system: processes, machine and stores.

use ratatui::{
    layout::{Constraint, Layout, Rect},
    style::Style,
    text::{Line, Span},
};

use super::{
    bars,
    canvas::Canvas,
    chart::{self, Pen},
    figures::{Figure, Room, below, cpu, filter_of, flow, parts, size, steady},
    format, status,
    table::{self, Cell, Column, Row},
    theme::Theme,
};
use crate::state::{
    alerts::age,
    overview::{Ratio, Store},
    sample::{Gauge, Keeper},
    series::{Fold, Series},
    system::{Postgres, Process, Redis},
    view::Panel,
};

/// ```text
/// ╭ Processes ──────────────────────────────────╮
/// ╰─────────────────────────────────────────────╯
/// ╭ Machine ────────────╮╭ Stores ──────────────╮
/// ╰─────────────────────╯╰──────────────────────╯
/// ```
pub fn view(canvas: &mut Canvas<'_, '_, '_>, area: Rect) {
    let focus = canvas.state.panel();
    match Room::of(area) {
        Room::Little => panel(canvas, focus, area),
        Room::Middle => {
            let lower = match focus {
                Panel::Machine => Panel::Machine,
                _ => Panel::Stores,
            };
            let height = (area.height * 2 / 5).clamp(6, 9);
            let [top, rest] =
                Layout::vertical([Constraint::Fill(1), Constraint::Length(height)]).areas(area);
            panel(canvas, Panel::Processes, top);
            panel(canvas, lower, rest);
        }
        Room::Much => {
            // The frame and the heads of the columns.
            let needed = canvas.state.instances.len() as u16 + 3;
            let height = needed.clamp(6, area.height * 3 / 5);
            let [top, rest] =
                Layout::vertical([Constraint::Length(height), Constraint::Fill(1)]).areas(area);
            let [left, right] =
                Layout::horizontal([Constraint::Fill(2), Constraint::Fill(3)]).areas(rest);
            panel(canvas, Panel::Processes, top);
            panel(canvas, Panel::Machine, left);
            panel(canvas, Panel::Stores, right);
        }
    }
}

/// One panel of it, whatever room it is given.
pub fn panel(canvas: &mut Canvas<'_, '_, '_>, panel: Panel, area: Rect) {
    match panel {
        Panel::Machine => machine(canvas, area),
        Panel::Stores => stores(canvas, area),
        _ => processes(canvas, area),
    }
}

/// Characters of the line of columns over time.
const TREND: usize = 12;

const COLUMNS: [Column; 13] = [
    Column::rest("process", 14, 0),
    Column::left("state", 13, 1),
    Column::right("cpu", 5, 0),
    Column::left("", TREND, 8),
    Column::right("mem", 5, 1),
    Column::right("files", 10, 4),
    Column::right("sockets", 8, 6),
    Column::right("threads", 8, 9),
    Column::right("↻", 3, 5),
    Column::right("up", 5, 3),
    Column::left("level", 7, 10),
    Column::left("faults", 8, 2),
    Column::left("version", 8, 11),
];

fn processes(canvas: &mut Canvas<'_, '_, '_>, area: Rect) {
    let (state, theme) = (canvas.state, canvas.theme);
    let processes = state.processes();
    let known = state.instances.len();
    let count = if processes.len() == known {
        known.to_string()
    } else {
        format!("{} of {known}", processes.len())
    };
    let rest = parts(&[count, filter_of(state, Panel::Processes)]);
    let inside = canvas.panel(Panel::Processes, area, "Processes", &rest);
    if processes.is_empty() {
        let text = match known {
            0 => "no process is known yet",
            _ => "no process matches",
        };
        canvas.empty(inside, text);
        return;
    }
    let lens = state.wide_lens();
    let trend = if inside.width >= 150 {
        3 * TREND
    } else {
        TREND
    };
    let rows: Vec<Row> = processes
        .iter()
        .map(|process| {
            let series = Series::Cpu(process.name.clone());
            let values = state.charts.columns(&series, lens, trend, Fold::Mean);
            // A tenth of a core at least: what idles is flat.
            let top = bars::ceiling(&values).clamp(0.1, 64.0);
            row(process, bars::sparkline(&values, top, trend), theme)
        })
        .collect();
    let longest = processes.iter().map(|p| p.name.chars().count()).max();
    let mut columns = COLUMNS;
    columns[3].width = trend;
    steady(&mut columns, inside.width, longest.unwrap_or(0).min(24));
    table::draw(canvas, Panel::Processes, inside, &columns, &rows);
}

fn load_style(part: Option<f64>, theme: &Theme) -> Style {
    match part {
        Some(part) if part >= 0.9 => theme.critical,
        Some(part) if part >= 0.75 => theme.warning,
        _ => theme.text,
    }
}

fn row(process: &Process, trend: String, theme: &Theme) -> Row {
    let mark = status::of(&process.status, theme);
    let files = match (process.files, process.most_files) {
        (Some(open), Some(most)) => format!("{open:.0}/{most:.0}"),
        (open, _) => format::count(open),
    };
    let restarts = match process.restarts {
        0 => String::new(),
        many => many.to_string(),
    };
    let faults = match (process.faults, process.faults_left) {
        (0, _) => String::new(),
        (count, Some(left)) => format!("↯{count} {}", age(left)),
        (count, None) => format!("↯{count} stay"),
    };
    let told = |text: &Option<String>| text.clone().unwrap_or_else(|| format::UNKNOWN.to_owned());
    let uptime = process.uptime.map(|uptime| uptime.as_secs_f64());
    Row {
        key: process.name.clone(),
        cells: vec![
            Cell::new(&*process.name, theme.strong),
            Cell::new(format!("{} {}", mark.glyph, mark.word), mark.style),
            Cell::new(cpu(process.cpu), load_style(process.cpu, theme)),
            Cell::new(trend, theme.bar),
            Cell::new(format::bytes(process.memory), theme.text),
            Cell::new(files, load_style(process.files_part(), theme)),
            Cell::new(format::count(process.sockets), theme.text),
            Cell::new(format::count(process.threads), theme.dim),
            Cell::new(restarts, theme.warning),
            Cell::new(format::age(uptime), theme.text),
            Cell::new(told(&process.log_level), theme.dim),
            Cell::new(faults, theme.notice),
            Cell::new(told(&process.version), theme.dim),
        ],
    }
}

fn machine(canvas: &mut Canvas<'_, '_, '_>, area: Rect) {
    let (state, theme) = (canvas.state, canvas.theme);
    let host = state.host();
    let cores = host
        .cores
        .map_or_else(String::new, |cores| format!("{cores:.0} cores"));
    let inside = canvas.panel(Panel::Machine, area, "Machine", &cores);
    let memory = host
        .memory_used
        .zip(host.memory_total)
        .filter(|(_, total)| *total > 0.0)
        .map(|(used, total)| used / total);
    let of_all = format!(
        "{} of {}",
        format::bytes(host.memory_used),
        format::bytes(host.memory_total)
    );
    let lines = [
        ("cpu", host.cpu, format::percent(host.cpu)),
        ("mem", memory, of_all),
    ];
    for (row, (name, part, text)) in (0..).zip(lines) {
        let text_width = 14;
        let bar = usize::from(inside.width).saturating_sub(5 + text_width);
        let style = match part {
            Some(part) if part >= 0.75 => load_style(Some(part), theme),
            _ => theme.bar,
        };
        let mut spans = vec![Span::styled(format::left(name, 5), theme.dim)];
        spans.extend(bars::gauge(part, bar, style, theme));
        spans.push(Span::styled(format::right(&text, text_width), theme.text));
        canvas.line(inside, row, Line::from(spans));
    }
    let (own_cpu, own_memory) = state.own();
    let processes = state.processes();
    let sum = |value: fn(&Process) -> Option<f64>| {
        processes.iter().filter_map(value).reduce(|a, b| a + b)
    };
    let told = vec![
        Figure::new(
            format!("{} {}", cpu(own_cpu), format::bytes(own_memory)),
            "this console",
            theme,
        ),
        Figure::new(
            format!(
                "{} {}",
                cpu(sum(|process| process.cpu)),
                format::bytes(sum(|process| process.memory))
            ),
            "all processes (of one core)",
            theme,
        ),
    ];
    let rest = below(inside, 2);
    let used = flow(canvas, rest, 2, told);
    let rest = below(rest, used);
    if rest.height < 2 {
        return;
    }
    let with_memory = rest.height >= 4;
    let height = rest.height - u16::from(with_memory);
    let pen = Pen {
        style: theme.bar,
        fold: Fold::Mean,
        top: Some(1.0),
        unit: format::percent,
    };
    chart::columns(canvas, Rect { height, ..rest }, &Series::HostCpu, &pen);
    if with_memory {
        let pen = Pen {
            top: host.memory_total,
            unit: format::bytes,
            ..pen
        };
        chart::spark(
            canvas,
            below(rest, height),
            ("mem", 5),
            &Series::HostMemory,
            &pen,
        );
    }
}

fn stores(canvas: &mut Canvas<'_, '_, '_>, area: Rect) {
    let (state, theme) = (canvas.state, canvas.theme);
    let inside = canvas.panel(Panel::Stores, area, "Stores", "");
    let postgres = state.postgres();
    let shared = state.redis(Keeper::Shared);
    let queue = state.redis(Keeper::Queue);
    let mut blocks = vec![
        (
            "PostgreSQL",
            state.store(&Gauge::PostgresUp),
            postgres.map(|vitals| of_postgres(&vitals, theme)),
        ),
        (
            "Redis",
            state.store(&Gauge::RedisUp),
            shared.map(|vitals| of_redis(&vitals, theme)),
        ),
    ];
    if queue.is_some() || state.queue_has_own_store() {
        blocks.push((
            "Redis of the queue",
            match state.store(&Gauge::QueueRedisUp) {
                // Without one of its own it is the other one.
                Store::Unknown => state.store(&Gauge::RedisUp),
                known => known,
            },
            queue.map(|vitals| of_redis(&vitals, theme)),
        ));
    }
    let mut rest = inside;
    let mut left = blocks.len() as u16;
    for (name, store, vitals) in blocks {
        // Each gets its part of what is left, and one line at least.
        let rows = (rest.height / left.max(1)).max(1);
        let mark = status::of_store(store, theme);
        let mut told = vec![Figure {
            value: format!("{} {name}", mark.glyph),
            style: mark.style,
            label: mark.word,
        }];
        let unknown = vitals.is_none();
        told.extend(vitals.unwrap_or_default());
        if unknown {
            told.push(Figure::new("·", "nobody tells more of it", theme));
        }
        let used = flow(canvas, rest, rows, told);
        // A line between them where there is room.
        let gap = u16::from(rest.height > used + 3 * left);
        rest = below(rest, used + gap);
        left -= 1;
    }
}

fn hits(found: Option<Ratio>) -> String {
    format::fine_percent(found.map(|ratio| ratio.value))
}

fn of_postgres(vitals: &Postgres, theme: &Theme) -> Vec<Figure> {
    let figure = |value: String, label: &str| Figure::new(value, label, theme);
    let all: f64 = vitals.connections.iter().map(|(_, count)| count).sum();
    let states: Vec<String> = vitals
        .connections
        .iter()
        .map(|(state, count)| format!("{count:.0} {}", state.replace('_', " ")))
        .collect();
    let connections = format!(
        "{}/{}",
        format::count((!states.is_empty()).then_some(all)),
        format::count(vitals.most_connections)
    );
    vec![
        figure(format::rate(vitals.committed), "commits/s"),
        figure(connections, "connections"),
        Figure::bad(vitals.locks_waiting, "locks waited for", theme),
        figure(hits(vitals.found), "of blocks in memory"),
        figure(format::bytes(vitals.bytes), "on disk"),
        figure(size(vitals.wal), "of log/s"),
        figure(format::rate(vitals.rolled_back), "rollbacks/s"),
        figure(
            states.join(", "),
            if states.is_empty() { "" } else { "connections" },
        ),
        figure(
            vitals
                .oldest_transaction
                .map_or_else(|| format::UNKNOWN.to_owned(), |age| format!("{age:.1}s")),
            "oldest transaction",
        ),
        Figure::bad(vitals.deadlocks, "deadlocks", theme),
        Figure::counted(vitals.checkpoints, "checkpoint", "checkpoints", theme),
        figure(size(vitals.temporary), "of temporary files/s"),
    ]
}

fn of_redis(vitals: &Redis, theme: &Theme) -> Vec<Figure> {
    let figure = |value: String, label: &str| Figure::new(value, label, theme);
    let memory = match vitals.most_bytes {
        Some(most) => format!("{}/{}", size(vitals.bytes), format::bytes(Some(most))),
        None => size(vitals.bytes),
    };
    let aof = match (vitals.aof, vitals.aof_ok) {
        (Some(true), Some(false)) => Figure {
            value: "✖ failed".to_owned(),
            style: theme.critical,
            label: "append-only file".to_owned(),
        },
        (Some(true), _) => figure(
            format!("on, {}", size(vitals.aof_bytes)),
            "append-only file",
        ),
        (Some(false), _) => figure("off".to_owned(), "append-only file"),
        (None, _) => figure(format::UNKNOWN.to_owned(), "append-only file"),
    };
    let mut told = vec![
        figure(format::rate(vitals.commands), "commands/s"),
        figure(memory, "memory"),
        figure(format::count(vitals.clients), "clients"),
        Figure::bad(vitals.evicted, "evicted", theme),
        figure(hits(vitals.found), "of keys found"),
        aof,
        figure(format::count(vitals.keys), "keys"),
        figure(format::rate(vitals.expired), "expired/s"),
        figure(size(vitals.received), "in/s"),
        figure(size(vitals.sent), "out/s"),
        figure(format::count(vitals.blocked), "clients wait"),
        figure(format::bytes(vitals.resident), "resident"),
        Figure::bad(vitals.delayed_syncs, "slow syncs", theme),
        Figure::bad(vitals.rejected, "clients refused", theme),
        figure(format::latency(vitals.last_fork), "last fork"),
    ];
    if vitals.snapshot_ok == Some(false) {
        told.push(Figure {
            value: "✖ failed".to_owned(),
            style: theme.critical,
            label: "last snapshot".to_owned(),
        });
    }
    told
}
