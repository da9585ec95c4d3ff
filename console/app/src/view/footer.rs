//! The last lines: the result of the last action, and the keys.

use ratatui::{
    layout::Rect,
    text::{Line, Span},
};

use super::{
    canvas::{Canvas, Target},
    chart, format, status,
};
use crate::{
    keys::Binding,
    state::{intent::Intent, view::View},
};

/// The result of the last action, if it is still news.
pub fn notice(canvas: &mut Canvas<'_, '_, '_>, area: Rect) {
    let Some(notice) = canvas.state.notice() else {
        // Where nothing was done lately, what happened last in the time that charts show.
        if let Some(mut line) = chart::last_mark(canvas) {
            line.spans.insert(0, Span::raw(" "));
            canvas.line(area, 0, line);
        }
        return;
    };
    let (glyph, style) = status::tone(notice.tone, canvas.theme);
    let room = usize::from(area.width).saturating_sub(4);
    let line = Line::from(vec![
        Span::styled(format!(" {glyph} "), style),
        Span::styled(format::cut(&notice.text, room), style),
    ]);
    canvas.line(area, 0, line);
}

/// As many keys of the table as fit, whole ones only; help and quit always keep their place.
pub fn keys(canvas: &mut Canvas<'_, '_, '_>, area: Rect) {
    let (state, theme) = (canvas.state, canvas.theme);
    let first = |binding: &Binding| {
        if binding.intent == Intent::Slower {
            return "< >".to_owned();
        }
        if binding.intent == Intent::WeightDown {
            return "[ ]".to_owned();
        }
        state.keymap.key_of(binding.intent)
    };
    let word = |binding: &Binding| match binding.intent {
        Intent::Back if state.view != View::Overview => "back",
        _ => binding.short,
    };
    let width_of =
        |binding: &Binding| first(binding).chars().count() + word(binding).chars().count() + 3;
    let always = |binding: &&Binding| matches!(binding.intent, Intent::Help | Intent::Back);
    let offered = || {
        state
            .keymap
            .footer(state.view)
            .filter(|binding| !first(binding).is_empty())
    };
    let reserved: usize = offered().filter(always).map(width_of).sum();
    let mut room = (usize::from(area.width) + 1).saturating_sub(reserved);

    let mut spans = vec![Span::raw(" ")];
    let mut x = area.x + 1;
    for binding in offered() {
        let own = width_of(binding);
        if !always(&binding) {
            if own > room {
                room = 0;
                continue;
            }
            room -= own;
        }
        let place = Rect {
            x,
            width: (own as u16).saturating_sub(2),
            height: 1,
            ..area
        };
        canvas.targets.put(place, Target::Intent(binding.intent));
        x = x.saturating_add(own as u16);
        spans.push(Span::styled(first(binding), theme.accent));
        spans.push(Span::styled(format!(" {}  ", word(binding)), theme.dim));
    }
    canvas.line(area, 0, Line::from(spans));
}

/// The last keys, large enough to be seen from the back of the room.
pub fn echo(canvas: &mut Canvas<'_, '_, '_>, area: Rect) {
    let keys: Vec<&str> = canvas.state.echo().collect();
    if keys.is_empty() {
        return;
    }
    let text = format!("  {}  ", keys.join("  "));
    let width = (text.chars().count() as u16).min(area.width);
    let place = Rect {
        x: area.right() - width,
        width,
        ..area
    };
    let style = canvas
        .theme
        .accent
        .add_modifier(ratatui::style::Modifier::REVERSED);
    canvas.line(place, 0, Line::styled(text, style));
}
