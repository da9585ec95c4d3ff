//! The last lines: the result of the last action, and the keys.

use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
};

use super::{format, status, theme::Theme};
use crate::{
    keys::{self, Binding},
    state::{State, action::Action},
};

/// The result of the last action, if it is still news.
pub fn notice(frame: &mut Frame, state: &State, theme: &Theme, area: Rect) {
    let Some(notice) = state.notice() else { return };
    let (glyph, style) = status::tone(notice.tone, theme);
    let room = usize::from(area.width).saturating_sub(4);
    let line = Line::from(vec![
        Span::styled(format!(" {glyph} "), style),
        Span::styled(format::cut(&notice.text, room), style),
    ]);
    frame.render_widget(line, area);
}

/// As many keys of the table as fit, whole ones only; help and quit always keep their place.
pub fn keys(frame: &mut Frame, theme: &Theme, area: Rect) {
    let width_of =
        |binding: &Binding| binding.keys.chars().count() + binding.short.chars().count() + 3;
    let always = |binding: &&Binding| matches!(binding.action, Action::Help | Action::Back);
    let reserved: usize = keys::footer().filter(always).map(width_of).sum();
    let mut room = (usize::from(area.width) + 1).saturating_sub(reserved);

    let mut spans = vec![Span::raw(" ")];
    for binding in keys::footer() {
        if !always(&binding) {
            let own = width_of(binding);
            if own > room {
                room = 0;
                continue;
            }
            room -= own;
        }
        spans.push(Span::styled(binding.keys, theme.accent));
        spans.push(Span::styled(format!(" {}  ", binding.short), theme.dim));
    }
    frame.render_widget(Line::from(spans), area);
}
