//! The view of requests: the last requests as waterfalls.

use actions::Span as Bar;
use ratatui::{
    layout::{Constraint, Layout, Rect},
    style::Style,
    text::{Line, Span},
};

use super::{
    canvas::Canvas,
    format,
    table::{self, Cell, Column, Row},
};
use crate::state::{
    State,
    alerts::age,
    intent::Intent,
    requests::{Request, body},
    view::Panel,
};

/// The whole view: one beside the other, one above the other, or the one that keys move in.
pub fn view(canvas: &mut Canvas<'_, '_, '_>, area: Rect) {
    if area.width >= 160 {
        let [left, right] =
            Layout::horizontal([Constraint::Fill(6), Constraint::Fill(5)]).areas(area);
        samples(canvas, left);
        waterfall(canvas, right);
    } else if area.height >= 15 {
        // What is looked into has the room that it needs, and leaves two fifths to the others.
        let needed = canvas.state.chosen_request().map_or(0, |request| {
            let body = if request.id == 0 { 10 } else { 0 };
            request.spans.len() as u16 + 6 + body
        });
        let lower = needed.clamp(area.height * 2 / 5, area.height * 3 / 5);
        let [upper, lower] =
            Layout::vertical([Constraint::Fill(1), Constraint::Length(lower)]).areas(area);
        samples(canvas, upper);
        waterfall(canvas, lower);
    } else if canvas.state.has_focus(Panel::Waterfall) {
        waterfall(canvas, area);
    } else {
        samples(canvas, area);
    }
}

/// One panel of it, whatever room it is given.
pub fn panel(canvas: &mut Canvas<'_, '_, '_>, panel: Panel, area: Rect) {
    if panel == Panel::Waterfall {
        waterfall(canvas, area);
    } else {
        samples(canvas, area);
    }
}

/// What the title says of the samples as a whole.
fn heading(state: &State, count: usize) -> String {
    let mut parts = Vec::new();
    if let Some((problem, old)) = state.samples_problem() {
        parts.push(format!("▲ not fresh: {problem} · {} old", age(old)));
    }
    if let Some(filter) = &state.cursor(Panel::Samples).filter {
        parts.push(format!("/{} {count}", filter.text()));
    }
    if let Some(per_second) = state.requests.per_second {
        let slow = state.requests.slow_ms.unwrap_or_default();
        parts.push(format!(
            "{per_second} a second, and as many failed and over {slow} ms"
        ));
    }
    if parts.is_empty() {
        parts.push("sampled by the balancers".to_owned());
    }
    parts.join(" · ")
}

/// The rows.
fn samples(canvas: &mut Canvas<'_, '_, '_>, area: Rect) {
    let (state, theme) = (canvas.state, canvas.theme);
    let samples = state.samples();
    let rest = heading(state, samples.len());
    let inside = canvas.panel(Panel::Samples, area, "Requests", &rest);
    if samples.is_empty() {
        let call = state.keymap.key_of(Intent::Call);
        let text = if state.requests.is_empty() {
            match state.samples_problem() {
                Some((problem, _)) => format!("no samples: {problem}; {call} fires a call"),
                None => format!("no request was sampled yet; {call} fires a call"),
            }
        } else {
            "no request matches the filter".to_owned()
        };
        canvas.empty(inside, &text);
        return;
    }
    let columns = [
        Column::left("time", 12, 3),
        Column::left("method", 6, 2),
        Column::rest("path", 14, 0),
        Column::right("status", 8, 0),
        Column::right("took", 8, 0),
        Column::left("gateway", 11, 2),
        Column::left("cache", 6, 1),
        Column::right("tries", 5, 4),
    ];
    let rows: Vec<Row> = samples
        .into_iter()
        .map(|request| {
            let (glyph, style) = status_look(canvas, request);
            let slow = state.requests.slow_ms.zip(request.milliseconds);
            let took = match slow {
                Some((slow, ms)) if ms >= slow as f64 => theme.warning,
                _ => theme.text,
            };
            let text =
                |text: &Option<String>| text.clone().unwrap_or_else(|| format::UNKNOWN.to_owned());
            let number = |number: Option<u64>| {
                number.map_or_else(|| format::UNKNOWN.to_owned(), |number| number.to_string())
            };
            let tries = match request.attempts {
                Some(tries) if tries > 1 => theme.warning,
                _ => theme.dim,
            };
            let time = if request.id == 0 {
                format::left("▶ from here", 12)
            } else {
                request.clock().to_owned()
            };
            Row {
                key: request.key.clone(),
                cells: vec![
                    Cell::new(time, theme.dim),
                    Cell::new(&request.method, theme.text),
                    Cell::new(&request.path, theme.text),
                    Cell::new(format!("{glyph} {}", number(request.status)), style),
                    Cell::new(
                        format::latency(request.milliseconds.map(|ms| ms / 1e3)),
                        took,
                    ),
                    Cell::new(text(request.gateway.as_deref()), theme.notice),
                    Cell::new(text(request.cache.as_deref()), theme.cache_bar),
                    Cell::new(number(request.attempts), tries),
                ],
            }
        })
        .collect();
    table::draw(canvas, Panel::Samples, inside, &columns, &rows);
}

/// A status as a sign and a style: the number says it as well.
fn status_look(canvas: &Canvas<'_, '_, '_>, request: &Request) -> (&'static str, Style) {
    let theme = canvas.theme;
    match request.status {
        Some(500..) => ("✖", theme.critical),
        Some(400..) => ("▲", theme.warning),
        Some(_) => ("●", theme.good),
        None => ("○", theme.dim),
    }
}

/// The chosen request: in words, and as bars over time.
fn waterfall(canvas: &mut Canvas<'_, '_, '_>, area: Rect) {
    let (state, theme) = (canvas.state, canvas.theme);
    let rest = format!(
        "{} its log over all tiers · {} everything · {} calls",
        state.keymap.key_of(Intent::NextOfRequest),
        state.keymap.key_of(Intent::Open),
        state.keymap.key_of(Intent::Call),
    );
    let inside = canvas.panel(Panel::Waterfall, area, "Waterfall", &rest);
    let Some(request) = state.chosen_request() else {
        canvas.empty(inside, "choose a request to see where its time went");
        return;
    };
    let width = usize::from(inside.width);
    let (glyph, style) = status_look(canvas, request);
    let status = request
        .status
        .map_or_else(|| format::UNKNOWN.to_owned(), |status| status.to_string());
    let word = |text: String| Span::styled(text, theme.dim);
    let head = format!("{} {}", request.method, request.path);
    let mut detail = vec![Span::styled(
        format::latency(request.milliseconds.map(|ms| ms / 1e3)),
        theme.strong,
    )];
    if let Some(gateway) = &request.gateway {
        detail.push(word(format!(" · {gateway}")));
    }
    if let Some(cache) = &request.cache {
        detail.push(word(format!(" · cache {cache}")));
    }
    if let Some(tries) = request.attempts {
        let plural = if tries == 1 { "attempt" } else { "attempts" };
        detail.push(word(format!(" · {tries} {plural}")));
    }
    if let Some(why) = request.why.as_deref().filter(|why| *why != "regular") {
        detail.push(word(format!(" · sampled as {why}")));
    }
    if let Some(id) = &request.request_id {
        detail.push(word(format!(" · {id}")));
    }
    let room = width.saturating_sub(status.chars().count() + 4);
    let mut lines = vec![
        Line::from(vec![
            Span::styled(format!("{glyph} {status}  "), style),
            Span::styled(format::cut(&head, room), theme.strong),
        ]),
        Line::from(detail),
    ];
    if request.spans.is_empty() {
        lines.push(Line::styled(
            "it told nothing of where its time went",
            theme.dim,
        ));
    } else {
        lines.extend(bars(canvas, request, width));
    }
    if request.id == 0
        && let Some(answer) = &state.answer
    {
        // What an operator fired is read as an answer: as much of it as there is room for.
        let room = usize::from(inside.height).saturating_sub(lines.len() + 1);
        if room > 0 {
            lines.push(Line::default());
            let text = body(answer);
            for line in text.iter().take(room) {
                lines.push(Line::styled(format::cut(line, width), theme.text));
            }
        }
    }
    canvas.lines(inside, lines);
}

/// The scale, then a bar for each hop and store.
fn bars(canvas: &Canvas<'_, '_, '_>, request: &Request, width: usize) -> Vec<Line<'static>> {
    /// A duration, and its part of the whole.
    const NUMBERS: usize = 9 + 5;
    let theme = canvas.theme;
    let extent = request.extent();
    let name = request
        .spans
        .iter()
        .map(|bar| bar.name.chars().count() + indent(bar))
        .max()
        .unwrap_or(0)
        .clamp(8, (width / 3).max(8));
    let room = width.saturating_sub(name + 1 + NUMBERS);
    let mut lines = vec![scale(canvas, extent, name + 1, room)];
    for bar in &request.spans {
        let (from, to) = columns(bar, extent, room);
        let (block, style) = if bar.is_hop {
            ("█", theme.bar)
        } else {
            ("▄", theme.cache_bar)
        };
        let label = format!("{}{}", " ".repeat(indent(bar)), bar.name);
        let share = (extent > 0.0).then(|| bar.milliseconds / extent);
        lines.push(Line::from(vec![
            Span::styled(
                format::left(&label, name),
                if bar.is_hop { theme.text } else { theme.dim },
            ),
            Span::raw(" "),
            Span::styled("·".repeat(from), theme.faint),
            Span::styled(block.repeat(to - from), style),
            Span::styled("·".repeat(room - to), theme.faint),
            Span::styled(
                format::right(&format::latency(Some(bar.milliseconds / 1e3)), 9),
                theme.strong,
            ),
            Span::styled(format::right(&format::percent(share), 5), theme.dim),
        ]));
    }
    lines.push(Line::styled(
        format::cut(
            if request.measured {
                "█ hop  ▄ store; each where it began"
            } else {
                "█ hop  ▄ store; a beginning that is not told is guessed"
            },
            width,
        ),
        theme.faint,
    ));
    lines
}

fn indent(bar: &Bar) -> usize {
    bar.depth.min(8)
}

/// The first column of a bar, and the one after its last: a bar is never nothing.
fn columns(bar: &Bar, extent: f64, room: usize) -> (usize, usize) {
    if room == 0 || extent <= 0.0 {
        return (0, room.min(1));
    }
    let column = |ms: f64| (ms / extent * room as f64).round() as usize;
    let from = column(bar.starts_at).min(room - 1);
    let to = column(bar.starts_at + bar.milliseconds).clamp(from + 1, room);
    (from, to)
}

/// Where the time stands, at the beginning, in the middle and at the end.
fn scale(canvas: &Canvas<'_, '_, '_>, extent: f64, left: usize, room: usize) -> Line<'static> {
    let theme = canvas.theme;
    let end = format::latency(Some(extent / 1e3));
    let middle = format::latency(Some(extent / 2e3));
    let mut text: Vec<char> = vec![' '; room];
    let mut put = |at: usize, word: &str| {
        let word: Vec<char> = word.chars().collect();
        if at + word.len() <= text.len() {
            text[at..at + word.len()].copy_from_slice(&word);
        }
    };
    put(0, "0");
    if room >= 30 {
        put(room / 2, &format!("│{middle}"));
    }
    if room >= end.chars().count() + 3 {
        put(room - end.chars().count(), &end);
    }
    let text: String = text.into_iter().collect();
    Line::styled(format!("{}{text}", " ".repeat(left)), theme.faint)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn bars_stay_in_their_room(start in 0.0..1e6_f64, ms in 0.0..1e6_f64, extent in 0.0..1e6_f64, room in 0_usize..200) {
            let bar = Bar { name: String::new(), milliseconds: ms, depth: 0, is_hop: true, starts_at: start };
            let (from, to) = columns(&bar, extent, room);
            prop_assert!(from <= to && to <= room);
            prop_assert!(room == 0 || to > from);
        }
    }
}
