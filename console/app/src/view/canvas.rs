//! What drawing has at hand: the frame, the model, the look, and a list of what the mouse can reach.

use ratatui::{
    Frame,
    buffer::Buffer,
    layout::Rect,
    style::Modifier,
    text::{Line, Span},
    widgets::{Block, BorderType},
};

use super::theme::Theme;
use crate::state::{
    State,
    intent::Intent,
    view::{Panel, View},
};

/// What a place on the screen stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    View(View),
    Intent(Intent),
    Panel(Panel),
    /// A row of a panel, by its key.
    Row(Panel, String),
}

/// What is where on the screen; what was put last lies on top.
#[derive(Clone, Debug, Default)]
pub struct Targets {
    targets: Vec<(Rect, Target)>,
}

impl Targets {
    pub fn put(&mut self, area: Rect, target: Target) {
        self.targets.push((area, target));
    }

    pub fn at(&self, x: u16, y: u16) -> Option<&Target> {
        self.targets
            .iter()
            .rev()
            .find(|(area, _)| area.contains((x, y).into()))
            .map(|(_, target)| target)
    }
}

pub struct Canvas<'f, 'b, 's> {
    pub frame: &'f mut Frame<'b>,
    pub state: &'s State,
    pub theme: &'s Theme,
    /// Whether to keep to ASCII: shapes that have no counterpart there are drawn another way.
    pub ascii: bool,
    pub targets: Targets,
}

impl Canvas<'_, '_, '_> {
    pub fn buffer(&mut self) -> &mut Buffer {
        self.frame.buffer_mut()
    }

    /// A frame with its title; the room inside is returned. The panel that keys move in stands out.
    pub fn panel(&mut self, panel: Panel, area: Rect, name: &str, rest: &str) -> Rect {
        self.targets.put(area, Target::Panel(panel));
        let focused = self.state.has_focus(panel);
        let theme = self.theme;
        let (border, title) = if focused {
            (theme.accent, theme.title.add_modifier(Modifier::REVERSED))
        } else {
            (theme.faint, theme.title)
        };
        // What does not fit is left out whole: the frame's corner stays.
        let room = usize::from(area.width).saturating_sub(4);
        let name = super::format::cut(name, room);
        let rest_room = room.saturating_sub(name.chars().count() + 3);
        let rest = super::format::cut(rest, rest_room);
        let mut words = vec![Span::styled(format!(" {name} "), title)];
        if !rest.is_empty() {
            words.push(Span::styled(format!(" {rest} "), theme.dim));
        }
        let block = Block::bordered()
            .border_type(BorderType::Rounded)
            .border_style(border)
            .title(Line::from(words));
        let inside = block.inner(area);
        self.frame.render_widget(block, area);
        Rect {
            x: inside.x + u16::from(inside.width > 2),
            width: inside.width.saturating_sub(2),
            ..inside
        }
    }

    /// One line of text at a row of an area; nothing beyond it.
    pub fn line(&mut self, area: Rect, row: u16, line: Line<'_>) {
        if row < area.height {
            let line_area = Rect {
                y: area.y + row,
                height: 1,
                ..area
            };
            self.frame.render_widget(line, line_area);
        }
    }

    /// Lines from the top of an area.
    pub fn lines<'l>(&mut self, area: Rect, lines: impl IntoIterator<Item = Line<'l>>) {
        for (line, row) in lines.into_iter().zip(0..area.height) {
            self.line(area, row, line);
        }
    }

    /// A sentence in the middle of what would otherwise be empty.
    pub fn empty(&mut self, area: Rect, text: &str) {
        let text = super::format::cut(text, area.width.into());
        let line = Line::styled(text, self.theme.dim).centered();
        self.line(area, area.height / 2, line);
    }
}
