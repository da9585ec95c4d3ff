//! The lab that is being run: its steps, what is asked, what is seen, and the keys that go on.

use labs::{
    engine::{Phase, Wants},
    record::{Outcome, StepOutcome, Table},
};
use ratatui::{
    layout::Rect,
    style::{Modifier, Style},
    text::{Line, Span},
    widgets::{Block, BorderType, Clear},
};

use super::{
    bars,
    canvas::{Canvas, Target},
    format,
    overlay::wrap,
    theme::Theme,
};
use crate::state::{
    State,
    intent::Intent,
    lab::{Ending, Room, Scene},
};

/// Lines that the docked lab wants, frame included, and the least that the view behind it keeps.
const DOCKED: u16 = 14;
const LEAST_VIEW: u16 = 10;

/// Columns of the picture of what is watched.
const CURVE: usize = 32;

/// How many lines of so many the lab takes from the bottom.
pub fn height(state: &State, body: u16) -> u16 {
    if state.stage.scene.is_none() {
        return 0;
    }
    match state.stage.room {
        Room::Folded => 1.min(body),
        Room::Whole => body,
        // Where there is no room for both, the one that has the keys is seen.
        Room::Docked if body < LEAST_VIEW + 6 => {
            if state.stage.focused {
                body
            } else {
                1.min(body)
            }
        }
        Room::Docked => DOCKED.max(body * 2 / 5).min(body - LEAST_VIEW),
    }
}

pub fn draw(canvas: &mut Canvas<'_, '_, '_>, area: Rect) {
    let state = canvas.state;
    let Some(scene) = state.stage.shown() else {
        return;
    };
    canvas.targets.put(area, Target::Intent(Intent::Labs));
    if area.height < 3 {
        let mut line = heading(scene, canvas.theme);
        let hint = format!("  {} shows it", state.keymap.key_of(Intent::Labs));
        line.push_span(Span::styled(hint, canvas.theme.dim));
        canvas.frame.render_widget(Clear, area);
        canvas.line(area, 0, line);
        return;
    }
    let theme = canvas.theme;
    let (border, emphasis) = if state.stage.focused {
        (theme.accent, Modifier::REVERSED)
    } else {
        (theme.faint, Modifier::empty())
    };
    let mut title = heading(scene, theme);
    if let Some(first) = title.spans.first_mut() {
        first.style = first.style.add_modifier(emphasis);
    }
    let keys = Line::styled(keys(state, scene), theme.dim);
    let block = Block::bordered()
        .border_type(BorderType::Rounded)
        .border_style(border)
        .title(title)
        .title_bottom(keys);
    let inside = block.inner(area);
    canvas.frame.render_widget(Clear, area);
    canvas.frame.render_widget(block, area);
    let inside = Rect {
        x: inside.x + 1,
        width: inside.width.saturating_sub(2),
        ..inside
    };
    let lines = body(scene, theme, inside.width.into());
    let most = lines.len().saturating_sub(inside.height.into());
    let skip = state.stage.scroll.min(most);
    canvas.lines(inside, lines.into_iter().skip(skip));
}

/// The title, and every step as a sign.
fn heading(scene: &Scene, theme: &Theme) -> Line<'static> {
    let mut spans = vec![
        Span::styled(format!(" Lab: {} ", scene.title), theme.title),
        Span::raw(" "),
    ];
    for (index, outcome) in scene.steps.iter().enumerate() {
        let present = scene.at == Some(index);
        let (sign, style) = match outcome {
            StepOutcome::Failed => ("✖", theme.critical),
            _ if present => ("▶", theme.accent),
            StepOutcome::Passed => ("✓", theme.good),
            StepOutcome::Done => ("●", theme.good),
            StepOutcome::Skipped => ("○", theme.dim),
        };
        spans.push(Span::styled(sign, style));
    }
    if let Some(at) = scene.at {
        let text = format!(" step {} of {} ", at + 1, scene.steps.len());
        spans.push(Span::styled(text, theme.dim));
    }
    Line::from(spans)
}

fn keys(state: &State, scene: &Scene) -> String {
    if !state.stage.focused {
        let key = state.keymap.key_of(Intent::Labs);
        return format!(" {key} back to the lab  PgDn next ");
    }
    if state.stage.looks_back() {
        return " PgDn forth  PgUp back  Esc to the present ".to_owned();
    }
    let next = match (scene.wants, scene.phase) {
        _ if scene.is_over() => return " Enter closes ".to_owned(),
        (Wants::Choice, _) => "1-9 answer  Enter pass  ",
        (Wants::Next, Phase::Ready) => "Enter do it  ",
        (Wants::Next, _) => "Enter next  ",
        (Wants::Nothing, _) => "",
    };
    let key = state.keymap.key_of(Intent::Labs);
    format!(" {next}PgUp back  Esc look around  {key} size  0 take back and end ")
}

fn body(scene: &Scene, theme: &Theme, width: usize) -> Vec<Line<'static>> {
    let mut lines = Vec::new();
    let mut say = |text: &str, style: Style| {
        for paragraph in text.split('\n') {
            lines.extend(wrap(paragraph, width).map(|part| Line::styled(part, style)));
        }
    };
    if let Some(ending) = &scene.ending {
        end(&mut say, ending, theme);
        return lines;
    }
    match scene.phase {
        Phase::Preparing => {
            say(&scene.goal, theme.text);
            say("The baseline is being put in place …", theme.notice);
            return lines;
        }
        Phase::Restoring => {
            say("Everything is being taken back …", theme.notice);
            return lines;
        }
        _ => {}
    }
    if !scene.headline.is_empty() {
        say(&scene.headline, theme.strong);
    }
    if !scene.text.is_empty() && scene.text != scene.headline {
        say(&scene.text, theme.text);
    }
    for (index, choice) in scene.choices.iter().enumerate() {
        let number = index + 1;
        let (sign, style) = match (scene.right, scene.chosen) {
            (Some(right), _) if right == number => ("✓", theme.good),
            (Some(_), Some(chosen)) if chosen == number => ("✖", theme.critical),
            (Some(_), _) => (" ", theme.dim),
            (None, _) => (" ", theme.text),
        };
        say(&format!("{number} {sign} {choice}"), style);
    }
    if let (Some(right), Some(chosen)) = (scene.right, scene.chosen) {
        let word = if right == chosen {
            "Predicted right, says the lab. Now see it."
        } else {
            "The lab says otherwise. Now see it."
        };
        say(word, theme.notice);
    }
    if let Some((done, all)) = scene.progress {
        let text = match all {
            Some(all) => format!("{done} of {all} calls came back"),
            None => format!("{done} calls came back"),
        };
        say(&text, theme.text);
        if let Some(all) = all.filter(|all| *all > 0) {
            let part = (done as f64 / f64::from(all)).min(1.0);
            let gauge = bars::gauge(Some(part), CURVE.min(width), theme.bar, theme);
            lines.push(Line::from(gauge));
        }
    }
    watched(scene, theme, width, &mut lines);
    if let Some(table) = &scene.table {
        lines.extend(table_lines(table, theme, width));
    }
    if let Some(said) = &scene.said {
        let (sign, style) = if scene.failed {
            ("✖", theme.critical)
        } else {
            ("●", theme.good)
        };
        let text = format!("{sign} {said}");
        lines.extend(wrap(&text, width).map(|part| Line::styled(part, style)));
    }
    lines
}

/// The comparisons of a condition as they are now, and what the first of them was before.
fn watched(scene: &Scene, theme: &Theme, width: usize, lines: &mut Vec<Line<'static>>) {
    if scene.expression.is_none() {
        return;
    }
    let waits = scene.phase == Phase::Working;
    for reading in &scene.readings {
        let (sign, style) = match (reading.holds, waits) {
            (true, _) => ("✓", theme.good),
            (false, true) => ("◐", theme.warning),
            (false, false) => ("✖", theme.critical),
        };
        let bound = format!("{} {}", reading.operator, reading.bound);
        let text = format!(
            "{sign} {}  {}  wanted {}",
            reading.what,
            reading.seen,
            bound.trim()
        );
        let text = if reading.operator.is_empty() {
            format!("{sign} {}  {}", reading.what, reading.seen)
        } else {
            text
        };
        lines.push(Line::styled(format::cut(&text, width), style));
    }
    let values: Vec<Option<f64>> = scene.history.iter().copied().map(Some).collect();
    if values.len() > 1 {
        let columns = CURVE.min(width);
        let shown = &values[values.len().saturating_sub(columns)..];
        let curve = bars::sparkline(shown, bars::ceiling(shown), columns);
        lines.push(Line::styled(curve, theme.bar));
    }
    if let Some(left) = scene.left_seconds {
        let text = format!("looked at again and again for {left:.0} s more");
        lines.push(Line::styled(format::cut(&text, width), theme.dim));
    }
}

fn table_lines(table: &Table, theme: &Theme, width: usize) -> Vec<Line<'static>> {
    let columns = table.columns.len();
    let cell = |row: &labs::record::Row, column: usize| match column {
        0 => row.name.clone(),
        _ => row
            .cells
            .get(column - 1)
            .map_or_else(String::new, |cell| cell.text.clone()),
    };
    let widths: Vec<usize> = (0..columns)
        .map(|column| {
            let cells = table
                .rows
                .iter()
                .map(|row| cell(row, column).chars().count());
            let head = table.columns[column].chars().count();
            cells.fold(head, usize::max)
        })
        .collect();
    let row = |cells: Vec<String>, style: Style| {
        let text: Vec<String> = cells
            .iter()
            .zip(&widths)
            .enumerate()
            .map(|(column, (cell, width))| match column {
                0 => format::left(cell, *width),
                _ => format::right(cell, *width),
            })
            .collect();
        Line::styled(format::cut(&text.join("  "), width), style)
    };
    let mut lines = vec![row(table.columns.clone(), theme.dim)];
    for of in &table.rows {
        lines.push(row(
            (0..columns).map(|column| cell(of, column)).collect(),
            theme.text,
        ));
    }
    lines
}

fn end(say: &mut impl FnMut(&str, Style), ending: &Ending, theme: &Theme) {
    let (text, style) = match ending.outcome {
        Outcome::Passed => (
            "✓ Every check held, and the lab is as it was before.",
            theme.good,
        ),
        Outcome::Failed => ("✖ A check did not hold.", theme.critical),
        Outcome::Broken => ("✖ It could not be done to its end.", theme.critical),
        Outcome::Interrupted => ("○ Ended before its end.", theme.warning),
    };
    say(text, style);
    if let Some(reason) = &ending.reason {
        say(reason, theme.text);
    }
    let (right, asked) = ending.predicted;
    if asked > 0 {
        say(
            &format!("{right} of {asked} predictions were right."),
            theme.text,
        );
    }
    say(&format!("Record: {}", ending.record), theme.dim);
}
