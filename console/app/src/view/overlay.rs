//! What lies over the overview: help, and the question before a flush.

use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
    widgets::{Block, BorderType, Clear},
};

use super::{format, theme::Theme};
use crate::{
    keys,
    state::{State, action::Overlay},
};

pub fn draw(frame: &mut Frame, state: &State, theme: &Theme, area: Rect) {
    match &state.overlay {
        Some(Overlay::Help { page }) => help(frame, theme, area, *page),
        Some(Overlay::ConfirmFlush { entries }) => confirm_flush(frame, theme, area, *entries),
        None => {}
    }
}

/// The middle of `area`, cleared and framed; as large as asked where that fits.
fn window(frame: &mut Frame, area: Rect, width: u16, height: u16, block: Block<'_>) -> Rect {
    let width = width.min(area.width);
    let height = height.min(area.height);
    let window = Rect {
        x: area.x + (area.width - width) / 2,
        y: area.y + (area.height - height) / 2,
        width,
        height,
    };
    frame.render_widget(Clear, window);
    let inside = block.inner(window);
    frame.render_widget(block, window);
    Rect {
        x: inside.x + u16::from(inside.width > 2),
        width: inside.width.saturating_sub(2),
        ..inside
    }
}

fn print(frame: &mut Frame, area: Rect, lines: Vec<Line<'static>>) {
    for (line, y) in lines.into_iter().zip(area.top()..area.bottom()) {
        frame.render_widget(
            line,
            Rect {
                y,
                height: 1,
                ..area
            },
        );
    }
}

/// Every key with its meaning, then the signs; on pages where there is no room for all.
fn help(frame: &mut Frame, theme: &Theme, area: Rect, page: i32) {
    let width = area.width.min(78);
    let inner = usize::from(width.saturating_sub(4));
    let keys = keys::TABLE
        .iter()
        .filter(|binding| !binding.long.is_empty())
        .map(|binding| (binding.keys, 11, theme.accent, binding.long, theme.text));
    let legend = [
        ("● up  ○ starting  ◐ draining", "the process's own word"),
        ("▲ not ready", "it answers, but a store it needs is away"),
        ("◔ stale  ✖ down", "no data, or no answer, for so long"),
        ("↻2  ↯1", "started anew twice; one fault injected"),
        (
            "–  ┃ in a share bar",
            "not known; where its weight says it ends",
        ),
    ]
    .map(|(sign, text)| (sign, 30, theme.strong, text, theme.dim));
    let mut lines = Vec::new();
    for (sign, column, sign_style, text, style) in keys.chain(legend) {
        // Where the meaning has no room beside its sign it follows below.
        if inner < column + text.chars().count() && column > 11 {
            lines.push(Line::styled(sign, sign_style));
            lines.extend(
                wrap(text, inner.saturating_sub(2))
                    .map(|part| Line::styled(format!("  {part}"), style)),
            );
            continue;
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
    let height = (lines.len() as u16 + 2).min(area.height);
    let room = usize::from(height.saturating_sub(2)).max(1);
    let pages = lines.len().div_ceil(room).max(1);
    let page = i64::from(page).rem_euclid(pages.cast_signed() as i64) as usize;
    let closing = if pages > 1 {
        format!(" Down: page {} of {pages} · Esc closes ", page + 1)
    } else {
        " Esc closes ".to_owned()
    };
    let block = Block::bordered()
        .border_type(BorderType::Rounded)
        .border_style(theme.accent)
        .title(Line::styled(" Keys ", theme.title))
        .title_bottom(Line::styled(closing, theme.dim));
    let inside = window(frame, area, width, height, block);
    print(
        frame,
        inside,
        lines.split_off((page * room).min(lines.len())),
    );
}

/// Breaks between words so that no line is wider than `width`.
fn wrap(text: &str, width: usize) -> impl Iterator<Item = String> {
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

fn confirm_flush(frame: &mut Frame, theme: &Theme, area: Rect, entries: Option<u64>) {
    let what = match entries {
        Some(1) => "The 1 entry of the cache will be deleted.".to_owned(),
        Some(count) => format!(
            "All {} entries of the cache will be deleted.",
            format::count(Some(count as f64))
        ),
        None => "All entries of the cache will be deleted (how many is not known).".to_owned(),
    };
    let key = |key: &'static str, meaning: &'static str| {
        [
            Span::styled(key, theme.accent),
            Span::styled(meaning, theme.text),
        ]
    };
    let mut choice = Vec::from(key("Enter", " or Esc: cancel    "));
    choice.extend(key("y", ": flush"));
    let width = area.width.min(70);
    let room = usize::from(width.saturating_sub(4));
    let after = "Reads go to the database until it fills again.";
    let mut lines = vec![Line::default()];
    lines.extend(wrap(&what, room).map(|part| Line::styled(part, theme.strong)));
    lines.extend(wrap(after, room).map(|part| Line::styled(part, theme.text)));
    lines.extend([Line::default(), Line::from(choice)]);
    let block = Block::bordered()
        .border_type(BorderType::Rounded)
        .border_style(theme.danger)
        .title(Line::styled(" Flush the cache? ", theme.danger));
    // In a very low terminal the choice matters most.
    let height = lines.len() as u16 + 3;
    let low = area.height < height;
    let lines = if low {
        lines.split_off(lines.len() - 1)
    } else {
        lines
    };
    let inside = window(frame, area, width, if low { 3 } else { height }, block);
    print(frame, inside, lines);
}
