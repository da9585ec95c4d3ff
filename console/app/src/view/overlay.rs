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
        Some(Overlay::Help) => help(frame, theme, area),
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

fn help(frame: &mut Frame, theme: &Theme, area: Rect) {
    let mut lines: Vec<Line> = keys::TABLE
        .iter()
        .filter(|binding| !binding.long.is_empty())
        .map(|binding| {
            Line::from(vec![
                Span::styled(format::left(binding.keys, 11), theme.accent),
                Span::styled(binding.long, theme.text),
            ])
        })
        .collect();
    let legend = [
        ("● up  ○ starting  ◐ draining", "the process's own word"),
        ("▲ not ready", "it answers, but a store it needs is away"),
        ("◔ stale  ✖ down", "no data, or no answer, for so long"),
        ("–", "not known; a zero is a measured zero"),
        ("┃ in a share bar", "where its weight says it should end"),
    ];
    lines.extend(legend.map(|(sign, text)| {
        Line::from(vec![
            Span::styled(format::left(sign, 30), theme.strong),
            Span::styled(text, theme.dim),
        ])
    }));
    let block = Block::bordered()
        .border_type(BorderType::Rounded)
        .border_style(theme.accent)
        .title(Line::styled(" Keys ", theme.title))
        .title_bottom(Line::styled(" Esc closes ", theme.dim));
    let height = lines.len() as u16 + 2;
    let inside = window(frame, area, 78, height, block);
    print(frame, inside, lines);
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
    let lines = vec![
        Line::default(),
        Line::styled(what, theme.strong),
        Line::styled("Reads go to the database until it fills again.", theme.text),
        Line::default(),
        Line::from(choice),
    ];
    let block = Block::bordered()
        .border_type(BorderType::Rounded)
        .border_style(theme.danger)
        .title(Line::styled(" Flush the cache? ", theme.danger));
    // In a very low terminal the choice matters most.
    let low = area.height < 7;
    let lines = if low { lines[4..].to_vec() } else { lines };
    let inside = window(frame, area, 70, if low { 3 } else { 8 }, block);
    print(frame, inside, lines);
}
