//! What lies over a view: help, palette, questions, menus, texts to read.

use chrono::SecondsFormat;
use ratatui::{
    layout::Rect,
    style::{Modifier, Style},
    text::{Line, Span},
    widgets::{Block, BorderType, Clear},
};

use super::{
    canvas::{Canvas, Target},
    format,
};
use crate::{
    keys::CHAPTERS,
    state::{
        State,
        editor::Editor,
        journal::End,
        marks::Kind,
        overlay::{FilterLine, Menu, Overlay, Page, Palette, Question, Reading},
    },
};

pub fn draw(canvas: &mut Canvas<'_, '_, '_>, area: Rect) {
    let state = canvas.state;
    match &state.overlay {
        None => {}
        Some(Overlay::Help(help)) => self::help(canvas, area, help),
        Some(Overlay::Palette(palette)) => self::palette(canvas, area, palette),
        Some(Overlay::Filter(filter)) => self::filter(canvas, area, filter),
        Some(Overlay::Confirm(question)) => confirm(canvas, area, question),
        Some(Overlay::Menu(menu)) => self::menu(canvas, area, menu),
        Some(Overlay::Text(page)) => text(canvas, area, page),
        Some(Overlay::Journal { scroll }) => journal(canvas, area, *scroll),
        Some(Overlay::Marks { scroll }) => marks(canvas, area, *scroll),
    }
}

fn block<'a>(style: Style, title: Line<'a>, bottom: Line<'a>) -> Block<'a> {
    Block::bordered()
        .border_type(BorderType::Rounded)
        .border_style(style)
        .title(title)
        .title_bottom(bottom)
}

/// The middle of `area`, cleared and framed; as large as asked where that fits.
fn window(
    canvas: &mut Canvas<'_, '_, '_>,
    area: Rect,
    width: u16,
    height: u16,
    block: Block<'_>,
) -> Rect {
    let width = width.min(area.width);
    let height = height.min(area.height);
    let window = Rect {
        x: area.x + (area.width - width) / 2,
        y: area.y + (area.height - height) / 2,
        width,
        height,
    };
    canvas.frame.render_widget(Clear, window);
    let inside = block.inner(window);
    canvas.frame.render_widget(block, window);
    Rect {
        x: inside.x + u16::from(inside.width > 2),
        width: inside.width.saturating_sub(2),
        ..inside
    }
}

/// Lines of which some may be out of sight, and where one is among them.
fn scrolled(
    canvas: &mut Canvas<'_, '_, '_>,
    area: Rect,
    title: &str,
    closing: &str,
    lines: Vec<Line<'static>>,
    scroll: usize,
    width: u16,
) {
    let theme = canvas.theme;
    let height = (lines.len() as u16).saturating_add(2).min(area.height);
    let room = usize::from(height.saturating_sub(2)).max(1);
    let last = lines.len().saturating_sub(room);
    let first = scroll.min(last);
    let place = if last > 0 {
        format!(
            " {} to {} of {} ",
            first + 1,
            (first + room).min(lines.len()),
            lines.len()
        )
    } else {
        String::new()
    };
    let block = block(
        theme.accent,
        Line::styled(format!(" {title} "), theme.title),
        Line::styled(format!("{place}{closing}"), theme.dim),
    );
    let inside = window(canvas, area, width, height, block);
    canvas.lines(inside, lines.into_iter().skip(first));
}

/// A line that is typed, with its cursor.
fn typed(editor: &Editor, before: &str, room: usize, canvas: &Canvas<'_, '_, '_>) -> Line<'static> {
    let theme = canvas.theme;
    let text: Vec<char> = editor.text().chars().collect();
    // What is right of the cursor may be out of sight, the cursor never.
    let room = room.saturating_sub(before.chars().count() + 1);
    let first = editor.cursor().saturating_sub(room);
    let before_cursor: String = text[first..editor.cursor()].iter().collect();
    let under = text.get(editor.cursor()).copied().unwrap_or(' ');
    let after: String = text
        .iter()
        .skip(editor.cursor() + 1)
        .take(room.saturating_sub(editor.cursor() - first))
        .collect();
    Line::from(vec![
        Span::styled(before.to_owned(), theme.accent),
        Span::styled(before_cursor, theme.text),
        Span::styled(
            under.to_string(),
            theme.text.add_modifier(Modifier::REVERSED),
        ),
        Span::styled(after, theme.text),
    ])
}

/// Every key with its meaning, then the signs; what is typed searches.
fn help(canvas: &mut Canvas<'_, '_, '_>, area: Rect, help: &Reading) {
    let theme = canvas.theme;
    let width = area.width.min(84);
    let inner = usize::from(width.saturating_sub(4));
    let search = help.search.text().to_lowercase();
    let mut lines = Vec::new();
    if search.is_empty() {
        lines.push(Line::styled("type to search", theme.faint));
    } else {
        lines.push(typed(&help.search, "search: ", inner, canvas));
    }
    let legend = [
        ("● up  ○ starting  ◐ draining", "the process's own word"),
        ("▲ not ready", "it answers, but a store it needs is away"),
        ("◔ stale  ✖ down", "no data, or no answer, for so long"),
        ("↻2  ↯1", "started anew twice; one fault injected"),
        (
            "▲ ◆ ● under a chart",
            "something broke, something was done, something came back",
        ),
        (
            "–  ┃ in a share bar",
            "not known; where its weight says it ends",
        ),
    ];
    for (chapter, names) in CHAPTERS {
        let mut found = Vec::new();
        for name in names {
            let Some(binding) = canvas.state.keymap.named(name) else {
                continue;
            };
            let keys = binding.printed();
            let keys = if keys.is_empty() {
                format!(":{name}")
            } else {
                keys
            };
            let whole = format!("{keys} {name} {}", binding.long).to_lowercase();
            if whole.contains(&search) {
                found.push((keys, binding.long));
            }
        }
        if found.is_empty() {
            continue;
        }
        lines.push(Line::styled(chapter, theme.title));
        for (keys, long) in found {
            explained(
                &mut lines,
                (&keys, 14, theme.accent),
                (long, theme.text),
                inner,
            );
        }
    }
    let signs: Vec<_> = legend
        .into_iter()
        .filter(|(sign, text)| format!("{sign} {text}").to_lowercase().contains(&search))
        .collect();
    if !signs.is_empty() {
        lines.push(Line::styled("Signs", theme.title));
        for (sign, text) in signs {
            explained(
                &mut lines,
                (sign, 30, theme.strong),
                (text, theme.dim),
                inner,
            );
        }
    }
    if lines.len() == 1 {
        lines.push(Line::styled("nothing in the help is called so", theme.dim));
    }
    scrolled(
        canvas,
        area,
        "Keys",
        " Down for more · Esc closes ",
        lines,
        help.scroll,
        width,
    );
}

/// A sign and what it means; below it where there is no room beside it.
fn explained(
    lines: &mut Vec<Line<'static>>,
    (sign, column, sign_style): (&str, usize, Style),
    (text, style): (&str, Style),
    inner: usize,
) {
    let column = column.max(sign.chars().count() + 1);
    if inner < column + text.chars().count() && (column > 14 || inner < 40) {
        lines.push(Line::styled(format::cut(sign, inner), sign_style));
        lines.extend(
            wrap(text, inner.saturating_sub(2))
                .map(|part| Line::styled(format!("  {part}"), style)),
        );
        return;
    }
    let mut sign = sign;
    for part in wrap(text, inner.saturating_sub(column)) {
        lines.push(Line::from(vec![
            Span::styled(format::left(sign, column), sign_style),
            Span::styled(part, style),
        ]));
        sign = "";
    }
}

/// Breaks between words so that no line is wider than `width`.
pub fn wrap(text: &str, width: usize) -> impl Iterator<Item = String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let line = lines.last_mut().expect("there is always one");
        if line.is_empty() {
            line.push_str(word);
        } else if line.chars().count() + 1 + word.chars().count() <= width {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines.into_iter()
}

fn palette(canvas: &mut Canvas<'_, '_, '_>, area: Rect, palette: &Palette) {
    let theme = canvas.theme;
    let width = area.width.min(100);
    let inner = usize::from(width.saturating_sub(4));
    let proposals = canvas.state.proposals(palette.line.text());
    let room = usize::from(area.height).saturating_sub(5).clamp(1, 14);
    let first = palette.chosen.saturating_sub(room - 1);
    let mut lines = vec![typed(&palette.line, ": ", inner, canvas)];
    if let Some(problem) = &palette.problem {
        lines.extend(
            wrap(problem, inner)
                .take(3)
                .map(|part| Line::styled(part, theme.warning)),
        );
    }
    let names = proposals
        .iter()
        .map(|proposal| proposal.line.chars().count())
        .max()
        .unwrap_or(0)
        .min(inner / 2)
        .max(12);
    for (place, proposal) in proposals.iter().enumerate().skip(first).take(room) {
        let mut line = Line::from(vec![
            Span::styled(format::left(&proposal.line, names), theme.strong),
            Span::styled(
                format!(
                    "  {}",
                    format::cut(&proposal.meaning, inner.saturating_sub(names + 2))
                ),
                theme.dim,
            ),
        ]);
        if place == palette.chosen {
            line = reversed(line, inner);
        }
        lines.push(line);
    }
    let block = block(
        theme.accent,
        Line::styled(" Command ", theme.title),
        Line::styled(" Tab completes · Enter does it · Esc closes ", theme.dim),
    );
    let height = lines.len() as u16 + 2;
    let top = Rect {
        height: area.height.min(height + area.height / 4),
        ..area
    };
    let inside = window(canvas, top, width, height, block);
    canvas.lines(inside, lines);
}

fn reversed(mut line: Line<'static>, width: usize) -> Line<'static> {
    let missing = width.saturating_sub(line.width());
    line.push_span(Span::raw(" ".repeat(missing)));
    for span in &mut line.spans {
        span.style = span.style.add_modifier(Modifier::REVERSED);
    }
    line
}

/// The filter takes the last line, so that what it does can be seen.
fn filter(canvas: &mut Canvas<'_, '_, '_>, area: Rect, filter: &FilterLine) {
    let bottom = Rect {
        y: area.bottom().saturating_sub(1),
        height: area.height.min(1),
        ..area
    };
    canvas.frame.render_widget(Clear, bottom);
    let line = typed(&filter.line, " filter: ", area.width.into(), canvas);
    canvas.line(bottom, 0, line);
}

fn confirm(canvas: &mut Canvas<'_, '_, '_>, area: Rect, question: &Question) {
    let theme = canvas.theme;
    let width = area.width.min(76);
    let room = usize::from(width.saturating_sub(4));
    let mut lines = vec![Line::default()];
    match &question.impact {
        None => lines.push(Line::styled("finding out what it would do …", theme.dim)),
        Some(Ok(impact)) => {
            for part in impact.lines() {
                lines.extend(wrap(part, room).map(|part| Line::styled(part, theme.strong)));
            }
        }
        Some(Err(why)) => lines.extend(
            wrap(&format!("what it would do is not known: {why}"), room)
                .map(|part| Line::styled(part, theme.warning)),
        ),
    }
    lines.push(Line::default());
    let command = question.action.command_line();
    lines.extend(wrap(&command, room).map(|part| Line::styled(part, theme.dim)));
    lines.push(Line::default());
    let key = |key: &'static str, meaning: String| {
        [
            Span::styled(key, theme.accent),
            Span::styled(meaning, theme.text),
        ]
    };
    let choice = if let Some(name) = question.name() {
        let before = format!("type {name}: ");
        lines.push(typed(&question.typed, &before, room, canvas));
        let mut choice = Vec::from(key("Enter", " with the name does it    ".to_owned()));
        choice.extend(key("Esc", " cancels".to_owned()));
        choice
    } else {
        let mut choice = Vec::from(key("Enter", " or Esc: cancel    ".to_owned()));
        choice.extend(key("y", ": do it".to_owned()));
        choice
    };
    lines.push(Line::from(choice));
    let title = format::cut(&question.action.title(), room);
    let block = Block::bordered()
        .border_type(BorderType::Rounded)
        .border_style(theme.danger)
        .title(Line::styled(format!(" {title} "), theme.danger));
    // In a very low terminal the choice matters most.
    let height = lines.len() as u16 + 2;
    let low = area.height < height;
    let lines = if low {
        let keep = usize::from(area.height.saturating_sub(2)).max(1);
        lines.split_off(lines.len().saturating_sub(keep))
    } else {
        lines
    };
    let inside = window(canvas, area, width, height, block);
    canvas.lines(inside, lines);
}

fn menu(canvas: &mut Canvas<'_, '_, '_>, area: Rect, menu: &Menu) {
    let theme = canvas.theme;
    let widest = menu
        .items
        .iter()
        .map(|item| item.text.chars().count())
        .max();
    let width = (widest.unwrap_or(0) as u16 + 10)
        .clamp(30, 76)
        .min(area.width);
    let inner = usize::from(width.saturating_sub(4));
    let room = usize::from(area.height.saturating_sub(2)).max(1);
    let first = menu.chosen.saturating_sub(room.saturating_sub(1));
    let lines: Vec<Line> = menu
        .items
        .iter()
        .enumerate()
        .skip(first)
        .take(room)
        .map(|(place, item)| {
            let line = Line::from(vec![
                Span::styled(format!("{}  ", item.key), theme.accent),
                Span::styled(format::cut(&item.text, inner.saturating_sub(3)), theme.text),
            ]);
            if place == menu.chosen {
                reversed(line, inner)
            } else {
                line
            }
        })
        .collect();
    let block = block(
        theme.accent,
        Line::styled(
            format!(" {} ", format::cut(&menu.title, inner)),
            theme.title,
        ),
        Line::styled(" letter, or Enter · Esc closes ", theme.dim),
    );
    let inside = window(canvas, area, width, lines.len() as u16 + 2, block);
    canvas.lines(inside, lines);
}

fn text(canvas: &mut Canvas<'_, '_, '_>, area: Rect, page: &Page) {
    let width = area.width.saturating_sub(4).clamp(1, 140).min(area.width);
    let inner = usize::from(width.saturating_sub(4)).max(1);
    let style = canvas.theme.text;
    let mut lines = Vec::new();
    for line in &page.lines {
        let characters: Vec<char> = line.chars().collect();
        if characters.is_empty() {
            lines.push(Line::default());
        }
        for part in characters.chunks(inner) {
            lines.push(Line::styled(part.iter().collect::<String>(), style));
        }
    }
    let title = format::cut(&page.title, inner);
    scrolled(
        canvas,
        area,
        &title,
        " y copies · Esc closes ",
        lines,
        page.scroll,
        width,
    );
}

/// What was done, the newest first, each with the command that does the same.
fn journal(canvas: &mut Canvas<'_, '_, '_>, area: Rect, scroll: usize) {
    let theme = canvas.theme;
    let width = area.width.min(110);
    let inner = usize::from(width.saturating_sub(4)).max(1);
    let mut lines = Vec::new();
    for entry in canvas.state.journal.entries().rev() {
        let (glyph, style, text) = match &entry.end {
            End::UnderWay => ("◐", theme.notice, "under way"),
            End::Done(text) => ("●", theme.good, text.as_str()),
            End::Failed(why) => ("✖", theme.critical, why.as_str()),
        };
        let clock = entry.at.to_rfc3339_opts(SecondsFormat::Secs, true);
        let clock = clock.get(11..19).unwrap_or_default().to_owned();
        lines.push(Line::from(vec![
            Span::styled(format!("{glyph} "), style),
            Span::styled(format!("{clock}  "), theme.dim),
            Span::styled(
                format::cut(&entry.action.command_line(), inner.saturating_sub(12)),
                theme.strong,
            ),
        ]));
        lines.push(Line::styled(
            format!(
                "            {}",
                format::cut(text, inner.saturating_sub(12))
            ),
            theme.dim,
        ));
        if let Some(undo) = &entry.undo {
            let undo = format!("            undo: {}", undo.command_line());
            lines.push(Line::styled(format::cut(&undo, inner), theme.faint));
        }
    }
    if lines.is_empty() {
        lines.push(Line::styled("nothing was done yet", theme.dim));
    }
    scrolled(
        canvas,
        area,
        "What was done",
        " Esc closes ",
        lines,
        scroll,
        width,
    );
}

/// What the marks on the charts are, the newest first.
fn marks(canvas: &mut Canvas<'_, '_, '_>, area: Rect, scroll: usize) {
    let state: &State = canvas.state;
    let theme = canvas.theme;
    let width = area.width.min(90);
    let inner = usize::from(width.saturating_sub(4)).max(1);
    let mut lines: Vec<Line> = state
        .marks
        .between(crate::state::Moment::ZERO, state.at())
        .rev()
        .map(|mark| {
            let (glyph, style) = match mark.kind {
                Kind::Fault => ("▲", theme.critical),
                Kind::Action => ("◆", theme.notice),
                Kind::Recovery => ("●", theme.good),
            };
            Line::from(vec![
                Span::styled(format!("{glyph} "), style),
                Span::styled(
                    state.clock(mark.at).format("%H:%M:%S  ").to_string(),
                    theme.dim,
                ),
                Span::styled(
                    format::cut(&mark.text, inner.saturating_sub(12)),
                    theme.text,
                ),
            ])
        })
        .collect();
    if lines.is_empty() {
        lines.push(Line::styled("nothing happened yet", theme.dim));
    }
    scrolled(
        canvas,
        area,
        "What happened",
        " Esc closes ",
        lines,
        scroll,
        width,
    );
}

/// Places the mouse can reach in an overlay: none but what is under it stays out of reach.
pub fn cover(canvas: &mut Canvas<'_, '_, '_>, area: Rect) {
    if canvas.state.overlay.is_some() {
        canvas
            .targets
            .put(area, Target::Intent(crate::state::intent::Intent::Close));
    }
}
