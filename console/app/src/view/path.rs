//! The request's path: one aligned line per row, from the client down to the stores.

use ratatui::{
    layout::Rect,
    style::{Modifier, Style},
    text::{Line, Span},
};

use super::{
    bars,
    canvas::{Canvas, Target},
    format,
    remarks::Remark,
    rows::{Detail, Row, rows},
    theme::Theme,
};
use crate::state::{State, view::Panel};

/// Column widths for the room there is; zero leaves a column out.
struct Columns {
    name: usize,
    state: usize,
    requests: usize,
    errors: usize,
    cpu: usize,
    memory: usize,
    remark: usize,
}

impl Columns {
    fn new(width: usize) -> Self {
        let (name, state, requests, errors, cpu, memory) = match width {
            100.. => (22, 13, 9, 8, 8, 8),
            72.. => (19, 11, 7, 6, 5, 5),
            58.. => (19, 11, 7, 6, 0, 0),
            46.. => (17, 11, 6, 0, 0, 0),
            _ => (10, 11, 6, 0, 0, 0),
        };
        let used = name + state + requests + errors + cpu + memory;
        Self {
            name,
            state,
            requests,
            errors,
            cpu,
            memory,
            remark: width.saturating_sub(used + 2),
        }
    }
}

/// How many lines the path takes, its column heads included.
pub fn height(state: &State, detail: Detail, theme: &Theme) -> u16 {
    rows(state, detail, theme).len() as u16 + 1
}

pub fn draw(canvas: &mut Canvas<'_, '_, '_>, area: Rect, detail: Detail) {
    let (state, theme) = (canvas.state, canvas.theme);
    let columns = Columns::new(area.width.into());
    let rows = rows(state, detail, theme);
    let room = usize::from(area.height).saturating_sub(1);
    let hidden = rows.len().saturating_sub(room);
    let shown = if hidden > 0 {
        room.saturating_sub(1)
    } else {
        rows.len()
    };
    let mut lines = vec![head(&columns, theme)];
    lines.extend(rows[..shown].iter().map(|row| line(row, &columns, theme)));
    if hidden > 0 {
        lines.push(Line::styled(
            format!("… {} more", rows.len() - shown),
            theme.dim,
        ));
    }
    let chosen = state
        .chosen(Panel::Path)
        .filter(|_| state.has_focus(Panel::Path));
    for (index, mut line) in lines.into_iter().enumerate().take(area.height.into()) {
        let place = Rect {
            y: area.y + index as u16,
            height: 1,
            ..area
        };
        // The first line is the head.
        if let Some(row) = index.checked_sub(1).and_then(|row| rows.get(row)) {
            let instance = state
                .instance(&row.name)
                .map(|instance| instance.name().to_owned());
            if let Some(name) = instance {
                canvas.targets.put(place, Target::Row(Panel::Path, name));
            }
            if chosen.as_deref() == Some(row.name.as_str()) {
                for span in &mut line.spans {
                    span.style = span.style.add_modifier(Modifier::REVERSED);
                }
            }
        }
        canvas.line(place, 0, line);
    }
}

fn head(columns: &Columns, theme: &Theme) -> Line<'static> {
    let mut text = format::left("path", columns.name);
    text += &format::left("state", columns.state);
    for (title, width) in [
        ("req/s", columns.requests),
        ("err/s", columns.errors),
        ("cpu", columns.cpu),
        ("mem", columns.memory),
    ] {
        text += &format::right(title, width);
    }
    text += match columns.remark {
        24.. => "  share against expected",
        12.. => "  share, more",
        _ => "",
    };
    Line::styled(format::cut(&text, text_width(columns)), theme.dim)
}

fn text_width(columns: &Columns) -> usize {
    columns.name
        + columns.state
        + columns.requests
        + columns.errors
        + columns.cpu
        + columns.memory
        + columns.remark
        + 2
}

fn line(row: &Row, columns: &Columns, theme: &Theme) -> Line<'static> {
    let compact = columns.name < 12;
    let tree = if compact { "" } else { row.tree };
    let tree_width = tree.chars().count();
    let name = format::left(&row.name, (columns.name - 1).saturating_sub(tree_width));
    let restarted = if row.restarts > 0 {
        format!("↻{}", row.restarts)
    } else {
        String::new()
    };
    // Beside the state where it fits, otherwise before the remark.
    let room = (columns.state - 2).saturating_sub(row.mark.word.chars().count());
    let (beside, before) = if restarted.chars().count() < room {
        (format::left(&format!(" {restarted}"), room), String::new())
    } else {
        (" ".repeat(room), restarted)
    };
    let mut spans = vec![
        Span::styled(tree, theme.faint),
        Span::styled(name, theme.strong),
        Span::raw(" "),
        Span::styled(row.mark.glyph, row.mark.style),
        Span::raw(" "),
        Span::styled(
            format::cut(&row.mark.word, columns.state - 2),
            row.mark.style,
        ),
        Span::styled(beside, theme.dim),
    ];
    let number =
        |text: String, width: usize, style: Style| Span::styled(format::right(&text, width), style);
    // Where nothing is measured the remark may begin in the columns of numbers.
    if !row.measured {
        let numbers = columns.requests + columns.errors + columns.cpu + columns.memory;
        let mut room = columns.remark + numbers + 2;
        if row.requests.is_some() {
            let requests = format::rate(row.requests);
            spans.push(number(requests, columns.requests, theme.text));
            spans.push(Span::raw("  "));
            room -= columns.requests + 2;
        }
        spans.extend(remark(&row.remark, room, theme));
        return Line::from(spans);
    }
    let errors = match row.errors {
        Some(rate) if rate > 0.0 => theme.critical,
        _ => theme.dim,
    };
    spans.extend([
        number(format::rate(row.requests), columns.requests, theme.text),
        number(format::rate(row.errors), columns.errors, errors),
        number(format::percent(row.cpu), columns.cpu, theme.dim),
        number(format::bytes(row.memory), columns.memory, theme.dim),
        Span::raw("  "),
    ]);
    let signs = signs(&before, row.faults, columns.remark, theme);
    let used: usize = signs.iter().map(Span::width).sum();
    spans.extend(signs);
    spans.extend(remark(&row.remark, columns.remark - used, theme));
    Line::from(spans)
}

/// What stands before a remark, as far as there is room: restarts, and faults injected on purpose.
fn signs(restarted: &str, faults: usize, width: usize, theme: &Theme) -> Vec<Span<'static>> {
    let mut room = width;
    let mut signs = Vec::new();
    let mut add = |text: String, style: Style| {
        let own = text.chars().count();
        if own > 1 && own <= room {
            room -= own;
            signs.push(Span::styled(text, style));
        }
    };
    add(format!("{restarted} "), theme.dim);
    match faults {
        0 => {}
        1 if width >= 24 => add("↯1 fault  ".to_owned(), theme.notice),
        many if width >= 24 => add(format!("↯{many} faults  "), theme.notice),
        many => add(format!("↯{many} "), theme.notice),
    }
    signs
}

fn remark(remark: &Remark, width: usize, theme: &Theme) -> Vec<Span<'static>> {
    let plain = |text: String| vec![Span::styled(format::cut(&text, width), theme.dim)];
    match remark {
        Remark::None => Vec::new(),
        Remark::Text { tiny, short, long } => {
            let fits = |text: &&String| text.chars().count() <= width;
            let text = [long, short].into_iter().find(fits).unwrap_or(tiny);
            plain(text.clone())
        }
        Remark::Share(share) => {
            let fine = width >= 34;
            let part = if fine {
                format::fine_percent
            } else {
                format::percent
            };
            let observed = format::right(&part(share.observed), if fine { 7 } else { 5 });
            let expected = if share.is_left_out() {
                " left out".to_owned()
            } else {
                format!(" of {}", part(share.expected))
            };
            let words = observed.chars().count() + expected.chars().count();
            let mut spans = Vec::new();
            if width >= words + 4 {
                let bar = (width - words).min(36);
                spans = bars::against(share.observed, share.expected, bar, theme);
            }
            if width >= 5 {
                spans.push(Span::styled(observed, theme.strong));
            }
            if width >= words {
                spans.push(Span::styled(expected, theme.dim));
            }
            spans
        }
        Remark::Cache(cache) => {
            let now = format::percent(cache.now.map(|ratio| ratio.value));
            let ever = format::percent(cache.ever.map(|ratio| ratio.value));
            let entries = format::count(cache.entries.map(|count| count as f64));
            let mut spans = Vec::new();
            if !(16..20).contains(&width) {
                spans.push(Span::styled("hit ", theme.dim));
            }
            spans.push(Span::styled(now, theme.strong));
            let rest = match width {
                40.. => format!(
                    " now · {ever} since start · {entries} entries {}",
                    format::bytes(cache.bytes)
                ),
                16.. => format!(" now {ever} ever"),
                _ => String::new(),
            };
            spans.push(Span::styled(rest, theme.dim));
            spans
        }
    }
}
