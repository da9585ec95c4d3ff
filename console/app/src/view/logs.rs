//! The merged log, newest line at the bottom.

use std::ops::Range;

use chrono::{DateTime, FixedOffset};
use ratatui::{
    layout::Rect,
    style::{Modifier, Style},
    text::{Line, Span},
};
use unicode_width::UnicodeWidthChar;

use super::{
    canvas::{Canvas, Target},
    format, panels,
    theme::Theme,
};
use crate::state::{
    State,
    cursor::Filter,
    intent::Intent,
    logs::{self, Level},
    view::Panel,
};

/// Rows that one wrapped line may take where others want to be seen as well.
const MOST_ROWS: usize = 12;

/// The whole view.
pub fn view(canvas: &mut Canvas<'_, '_, '_>, area: Rect) {
    draw(canvas, Panel::Lines, area, true);
}

/// With a frame around it where there is room, under a title line where there is not.
pub fn draw(canvas: &mut Canvas<'_, '_, '_>, panel: Panel, area: Rect, with_frame: bool) {
    let (state, theme) = (canvas.state, canvas.theme);
    let (rest, warning) = heading(state);
    let inside = if with_frame {
        let rest = match &warning {
            Some(warning) => format!("{warning} · {rest}"),
            None => rest,
        };
        canvas.panel(panel, area, "Log", &rest)
    } else {
        canvas.targets.put(area, Target::Panel(panel));
        let heading_area = Rect { height: 1, ..area };
        canvas.line(
            heading_area,
            0,
            Line::styled("─".repeat(area.width.into()), theme.faint),
        );
        let start = Rect {
            x: area.x + u16::from(area.width > 2),
            width: area.width.saturating_sub(1),
            ..heading_area
        };
        let mut words = panels::title(theme, "Log", &rest);
        if let Some(warning) = warning {
            words.push_span(Span::styled(format!("{warning} "), theme.warning));
        }
        if state.has_focus(panel) {
            words.spans[0].style = words.spans[0].style.add_modifier(Modifier::REVERSED);
        }
        canvas.line(start, 0, words);
        Rect {
            y: area.y + 1,
            height: area.height.saturating_sub(1),
            ..area
        }
    };
    let inside = if panel == Panel::Lines {
        let told = told(state);
        let rows = (told.len() as u16).min(inside.height / 4);
        let head = Rect {
            height: rows,
            ..inside
        };
        canvas.lines(
            head,
            told.into_iter()
                .map(|text| Line::styled(format::cut(&text, inside.width.into()), theme.notice)),
        );
        Rect {
            y: inside.y + rows,
            height: inside.height - rows,
            ..inside
        }
    } else {
        inside
    };
    lines(canvas, panel, inside);
}

/// The lines themselves. Only as many as there are rows are looked at.
fn lines(canvas: &mut Canvas<'_, '_, '_>, panel: Panel, area: Rect) {
    let (state, theme) = (canvas.state, canvas.theme);
    let room = usize::from(area.height);
    let shown = state.logs.visible(room);
    if shown.is_empty() {
        for (row, text) in (0..).zip(why_empty(state)) {
            let text = format::cut(&text, area.width.into());
            canvas.line(area, row, Line::styled(text, theme.dim));
        }
        return;
    }
    let look = Look {
        theme,
        width: area.width.into(),
        full: panel == Panel::Lines,
        filter: state.logs.filter(),
        followed: state.logs.request().is_some(),
    };
    let held = state.logs.held();
    let wraps = state.logs.wrap && panel == Panel::Lines;
    let mut scratch = String::new();
    // From the chosen line upwards: that one is in sight whatever the others need.
    let place = held.and_then(|held| shown.iter().position(|line| std::ptr::eq(held, *line)));
    let mut blocks = Vec::with_capacity(shown.len());
    let mut before: Option<DateTime<FixedOffset>> = None;
    for line in &shown {
        let moment = look.followed.then(|| line.moment()).flatten();
        let since = moment.zip(before).map(|(now, before)| now - before);
        before = moment.or(before);
        let rows = if wraps { MOST_ROWS.min(room) } else { 1 };
        line.write_whole(&mut scratch);
        blocks.push(look.rows(line, &scratch, since, rows));
    }
    let heights: Vec<usize> = blocks.iter().map(Vec::len).collect();
    let (first, skipped) = fit(&heights, place, room);
    let mut row = 0;
    for (index, block) in blocks.into_iter().enumerate().skip(first) {
        let skip = if index == first { skipped } else { 0 };
        for mut text in block.into_iter().skip(skip) {
            if row >= area.height {
                return;
            }
            if place == Some(index) {
                for span in &mut text.spans {
                    span.style = span.style.add_modifier(Modifier::REVERSED);
                }
            }
            canvas.line(area, row, text);
            row += 1;
        }
    }
}

/// The first block to draw and how many of its rows to leave out, so that the last block ends at the bottom, or the chosen one is whole.
fn fit(heights: &[usize], chosen: Option<usize>, room: usize) -> (usize, usize) {
    let all: usize = heights.iter().sum();
    let Some(mut above) = all.checked_sub(room) else {
        return (0, 0);
    };
    if let Some(chosen) = chosen {
        above = above.min(heights[..chosen].iter().sum());
    }
    for (index, height) in heights.iter().enumerate() {
        if above < *height {
            return (index, above);
        }
        above -= height;
    }
    (heights.len(), 0)
}

/// What is shown of the log, and that it stands still, if it does.
fn heading(state: &State) -> (String, Option<String>) {
    let logs = &state.logs;
    let mut rest = match (logs.request(), logs.threshold()) {
        (Some(id), _) => format!("request {id}"),
        (None, Level::Trace) => "everything".to_owned(),
        (None, level) => format!("{} and above", level.word()),
    };
    let filter = logs.filter_text();
    if !filter.is_empty() && logs.request().is_none() {
        let (shown, all) = logs.matching();
        rest = format!("{rest} · /{filter} {shown} of {all}");
    }
    if logs.dropped() > 0 {
        let dropped = format::count(Some(logs.dropped() as f64));
        rest = format!("{rest} · {dropped} dropped");
    }
    let paused =
        (!logs.is_following()).then(|| format!("PAUSED +{} new, G follows", logs.unread()));
    (rest, paused)
}

/// What the title has no room for: the request that is followed, how many errors there are.
fn told(state: &State) -> Vec<String> {
    let logs = &state.logs;
    let count = |number: usize| format::count(Some(number as f64));
    let esc = state.keymap.key_of(Intent::Close);
    if let Some(story) = logs.story() {
        let took = story
            .took
            .map(|took| took.num_microseconds().unwrap_or(0) as f64 / 1e6);
        return vec![format!(
            "one request over all tiers: {} lines of {} instances in {} · {} the whole line · {esc} back",
            count(story.lines),
            count(story.instances),
            format::latency(took),
            state.keymap.key_of(Intent::Open),
        )];
    }
    let (shown, all) = logs.matching();
    let counted = |level: Level, word: &str| {
        let number = logs.of_level(level);
        let plural = if number == 1 { "" } else { "s" };
        format!("{} {} {word}{plural}", glyph(level), count(number))
    };
    vec![format!(
        "{} of {} lines · {} · {}{}",
        count(shown),
        count(all),
        counted(Level::Error, "error"),
        counted(Level::Warn, "warning"),
        if logs.wrap { " · wrapped" } else { "" },
    )]
}

fn why_empty(state: &State) -> Vec<String> {
    let logs = &state.logs;
    if logs.request().is_some() {
        return vec![
            "no line of this request is here: it is not logged at this level, or the log has gone past it".to_owned(),
            "the action log-level debug makes every tier say more".to_owned(),
        ];
    }
    let (_, all) = logs.matching();
    if all > 0 && logs.filter().is_some() {
        return vec![format!("none of {all} lines matches")];
    }
    vec![format!(
        "no lines at {} or above yet",
        logs.threshold().word()
    )]
}

/// How lines are drawn.
struct Look<'a> {
    theme: &'a Theme,
    width: usize,
    /// With milliseconds, signs and matches.
    full: bool,
    filter: Option<&'a Filter>,
    followed: bool,
}

impl Look<'_> {
    /// A line as at most so many rows; `whole` is what the filter sees of it.
    fn rows(
        &self,
        line: &logs::Line,
        whole: &str,
        since: Option<chrono::TimeDelta>,
        most: usize,
    ) -> Vec<Line<'static>> {
        let theme = self.theme;
        let style = level_style(line.level, theme);
        let hits: Vec<Range<usize>> = match self.filter {
            Some(filter) if self.full && !self.followed => filter.matches(whole).collect(),
            _ => Vec::new(),
        };
        let (instance_at, message_at) = line.offsets();
        let mut spans = Vec::new();
        let mut used = 0;
        let mut put = |spans: &mut Vec<Span<'static>>, text: String, width: usize, style| {
            spans.push(Span::styled(text, style));
            used += width;
        };
        if self.width >= 76 && self.full {
            put(
                &mut spans,
                format::left(line.fine_clock(), 13),
                13,
                theme.dim,
            );
        } else if self.width >= 56 {
            put(&mut spans, format!("{} ", line.clock()), 9, theme.dim);
        }
        if self.followed && self.width >= 56 {
            let since = since.map(|since| since.num_microseconds().unwrap_or(0) as f64 / 1e6);
            let text = since.map_or_else(String::new, |since| {
                format!("+{}", format::latency(Some(since)))
            });
            put(
                &mut spans,
                format!("{} ", format::right(&text, 9)),
                10,
                theme.strong,
            );
        }
        if self.full {
            put(&mut spans, format!("{} ", glyph(line.level)), 2, style);
        }
        put(&mut spans, format::left(line.level.word(), 6), 6, style);
        let name = if self.width >= 56 { 15 } else { 11 };
        let mut name_style = service_style(&line.instance, theme);
        if hits
            .iter()
            .any(|hit| hit.start < message_at && hit.end > instance_at)
        {
            name_style = hit_style(name_style);
        }
        put(
            &mut spans,
            format::left(&line.instance, name - 1),
            name - 1,
            name_style,
        );
        put(&mut spans, " ".to_owned(), 1, theme.text);
        let request = line
            .request_id
            .as_deref()
            .filter(|_| self.width >= 100 && !self.followed)
            .map(|id| {
                let short: String = id.chars().take(8).collect();
                format!("  {}", format::left(&short, 8))
            });
        let room = self
            .width
            .saturating_sub(used + request.as_ref().map_or(0, |_| 10));
        let style = if line.level >= Level::Warn {
            style
        } else {
            theme.text
        };
        let end = message_at + line.message.len();
        let hits: Vec<Range<usize>> = hits
            .into_iter()
            .filter(|hit| hit.end > message_at && hit.start < end)
            .map(|hit| hit.start.max(message_at) - message_at..hit.end.min(end) - message_at)
            .collect();
        let flowed = flow(&line.message, &hits, style, room, most);
        let mut rows = Vec::with_capacity(flowed.len());
        for (index, (mut parts, width)) in flowed.into_iter().enumerate() {
            let mut row = if index == 0 {
                std::mem::take(&mut spans)
            } else {
                vec![Span::raw(" ".repeat(used))]
            };
            row.append(&mut parts);
            if index == 0
                && let Some(request) = &request
            {
                row.push(Span::raw(" ".repeat(room.saturating_sub(width))));
                row.push(Span::styled(request.clone(), theme.faint));
            }
            rows.push(Line::from(row));
        }
        rows
    }
}

/// Breaks a text into at most `most` rows of `room` columns, with what matches standing out. Each row comes with its width; where
/// text is left over, the last row ends in an ellipsis.
fn flow(
    text: &str,
    hits: &[Range<usize>],
    style: Style,
    room: usize,
    most: usize,
) -> Vec<(Vec<Span<'static>>, usize)> {
    let mut rows = Vec::new();
    let (mut spans, mut width) = (Vec::new(), 0);
    let (mut part, mut part_hit) = (String::new(), false);
    let close = |part: &mut String, hit: bool, spans: &mut Vec<Span<'static>>| {
        if !part.is_empty() {
            let style = if hit { hit_style(style) } else { style };
            spans.push(Span::styled(std::mem::take(part), style));
        }
    };
    let mut hits = hits.iter().peekable();
    let mut characters = text.char_indices().peekable();
    while let Some((at, character)) = characters.next() {
        while hits.next_if(|hit| hit.end <= at).is_some() {}
        let hit = hits.peek().is_some_and(|hit| hit.start <= at);
        let own = character.width().unwrap_or(0);
        loop {
            let last = rows.len() + 1 >= most;
            // In the last row the ellipsis needs its place, unless this is the end.
            let keep = usize::from(last && !rest_is_narrow(&characters));
            if width + own + keep <= room {
                break;
            }
            close(&mut part, part_hit, &mut spans);
            if last || own > room {
                if width < room {
                    spans.push(Span::styled("…", style));
                    width += 1;
                }
                rows.push((spans, width));
                return rows;
            }
            rows.push((std::mem::take(&mut spans), width));
            width = 0;
        }
        if hit != part_hit {
            close(&mut part, part_hit, &mut spans);
            part_hit = hit;
        }
        part.push(character);
        width += own;
    }
    close(&mut part, part_hit, &mut spans);
    if !spans.is_empty() || rows.is_empty() {
        rows.push((spans, width));
    }
    rows
}

/// Whether nothing that takes a column is left. Looked at over a few characters only: a long tail of marks counts as wide.
fn rest_is_narrow(rest: &std::iter::Peekable<std::str::CharIndices<'_>>) -> bool {
    let mut rest = rest.clone();
    let narrow = rest
        .by_ref()
        .take(8)
        .all(|(_, character)| character.width().unwrap_or(0) == 0);
    narrow && rest.next().is_none()
}

fn hit_style(style: Style) -> Style {
    style.add_modifier(Modifier::BOLD | Modifier::UNDERLINED)
}

fn glyph(level: Level) -> &'static str {
    match level {
        Level::Error => "✖",
        Level::Warn => "▲",
        Level::Info => "·",
        Level::Debug | Level::Trace => " ",
    }
}

fn level_style(level: Level, theme: &Theme) -> Style {
    match level {
        Level::Error => theme.critical,
        Level::Warn => theme.warning,
        Level::Info => theme.dim,
        Level::Debug | Level::Trace => theme.faint,
    }
}

/// The same colour for all instances of a service; the name stands beside it.
fn service_style(instance: &str, theme: &Theme) -> Style {
    let digits = |c: char| c.is_ascii_digit();
    let role = instance.trim_end_matches(digits).trim_end_matches('-');
    match role {
        "balancer" => theme.accent,
        "gateway" => theme.notice,
        "cache" => theme.cache_bar,
        "queue" => theme.bar,
        "travel" | "booking" => theme.good,
        "exercise" | "worker" => theme.bar.add_modifier(Modifier::BOLD),
        "search" | "notification" => theme.cache_bar.add_modifier(Modifier::BOLD),
        _ => theme.dim,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(text: &str, room: usize, most: usize) -> Vec<String> {
        flow(text, &[], Style::new(), room, most)
            .into_iter()
            .map(|(spans, _)| spans.iter().map(|span| span.content.as_ref()).collect())
            .collect()
    }

    #[test]
    fn long_lines_are_cut_or_wrapped() {
        assert_eq!(shown("abcdef", 6, 1), ["abcdef"]);
        assert_eq!(shown("abcdefg", 6, 1), ["abcde…"]);
        assert_eq!(shown("abcdefg", 3, 9), ["abc", "def", "g"]);
        assert_eq!(shown("abcdefg", 3, 2), ["abc", "de…"]);
        assert_eq!(shown("", 3, 2), [""]);
        assert_eq!(shown("地铁站", 4, 1), ["地…"]);
        assert_eq!(shown("地铁站", 1, 3), ["…"]);
        assert_eq!(shown("xaA", 1, 2), ["x", "…"]);
        assert_eq!(shown("e\u{301}e\u{301}", 2, 1), ["e\u{301}e\u{301}"]);
    }

    #[test]
    fn what_matches_stands_out_where_it_is() {
        let hit = std::iter::once(7..9).collect::<Vec<_>>();
        let rows = flow("waited long", &hit, Style::new(), 20, 1);
        let parts: Vec<_> = rows[0].0.iter().map(|span| span.content.as_ref()).collect();
        assert_eq!(parts, ["waited ", "lo", "ng"]);
        assert_eq!(rows[0].0[1].style, hit_style(Style::new()));
    }

    #[test]
    fn the_chosen_line_is_whole_and_the_newest_at_the_bottom() {
        assert_eq!(fit(&[1, 1, 1], None, 5), (0, 0));
        assert_eq!(fit(&[1, 1, 3], None, 4), (1, 0));
        assert_eq!(fit(&[1, 3, 3], None, 4), (1, 2));
        assert_eq!(fit(&[1, 3, 3], Some(1), 4), (1, 0));
        assert_eq!(fit(&[9], Some(0), 4), (0, 0));
        assert_eq!(fit(&[9], None, 4), (0, 5));
        assert_eq!(fit(&[], None, 4), (0, 0));
    }

    proptest! {
        #[test]
        fn no_row_is_wider_than_there_is_room(text in "\\PC{0,60}", room in 0_usize..30, most in 1_usize..6) {
            let rows = flow(&text, &[], Style::new(), room, most);
            prop_assert!(rows.len() <= most);
            for (spans, width) in rows {
                let own: usize = spans.iter().map(|span| {
                    span.content.chars().map(|c| c.width().unwrap_or(0)).sum::<usize>()
                }).sum();
                prop_assert!(own <= room && own == width, "{own} {width} {room}");
            }
        }
    }
}
