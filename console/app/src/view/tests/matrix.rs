//! Every view, at the sizes that matter, empty, busy, degraded and disconnected, in colour, without colour and in ASCII.

use std::fmt::Write as _;

use ratatui::{
    buffer::Cell,
    style::{Color, Modifier},
};

use super::*;
use crate::state::{
    testing::{
        balancer::{spread, uneven},
        latency::{breached, quick},
        stores::{lost, stocked, troubled},
        trace::{sampled, told, trafficked},
    },
    view::View,
};

pub const SIZES: [(u16, u16); 5] = [(40, 12), (60, 20), (80, 24), (120, 40), (200, 60)];

/// What there is to see in each condition.
fn conditions(view: View) -> [(&'static str, State); 4] {
    let busy = match view {
        View::Overview => busy(),
        View::Balancer => spread(),
        View::Cache | View::Queue | View::System => stocked(),
        View::Latency => quick(),
        View::Traffic => trafficked(),
        View::Logs => told(),
        View::Requests => sampled(),
    };
    let degraded = match view {
        View::Balancer => uneven(),
        View::Cache | View::Queue | View::System => troubled(),
        View::Latency => breached(),
        _ => degraded(),
    };
    let disconnected = match view {
        View::Cache | View::Queue | View::System => lost(),
        _ => disconnected(),
    };
    [
        ("empty", State::default()),
        ("busy", busy),
        ("degraded", degraded),
        ("disconnected", disconnected),
    ]
    .map(|(name, mut state)| {
        state.go(view);
        (name, state)
    })
}

#[test]
fn every_view_in_every_condition() {
    for view in View::ALL {
        for (condition, state) in conditions(view) {
            check(&format!("{}_{condition}", view.name()), &state);
        }
    }
}

/// The screen at each size: its text, its colours, what is left of them without colour, and its text in ASCII.
pub fn check(name: &str, state: &State) {
    let monochrome = Look::new(Scheme::Dark, Depth::Monochrome, false);
    let ascii = Look::new(Scheme::Dark, Depth::Indexed, true);
    for (width, height) in SIZES {
        let coloured = buffer(state, &look(), width, height);
        let plain = buffer(state, &monochrome, width, height);
        for cell in &plain.content {
            assert_eq!((cell.fg, cell.bg), (Color::Reset, Color::Reset), "{name}");
        }
        let words = text(&coloured);
        let mut screen = words.clone();
        let _ = write!(screen, "\n== colour\n{}", paint(&coloured));
        let _ = write!(screen, "\n== monochrome\n{}", paint(&plain));
        let plain = text(&plain);
        if plain != words {
            screen += &plain;
        }
        let simple = text(&buffer(state, &ascii, width, height));
        assert!(simple.is_ascii(), "{name}\n{simple}");
        let _ = write!(screen, "\n== ascii\n{simple}");
        insta::assert_snapshot!(format!("{name}_{width}x{height}"), screen);
    }
}

/// How cells are painted: a letter for each style that occurs, and each row as runs of them, a dot for no style. Rows that
/// are painted alike are told once.
fn paint(buffer: &Buffer) -> String {
    let mut styles: Vec<String> = Vec::new();
    let mut rows: Vec<(usize, usize, String)> = Vec::new();
    let width = usize::from(buffer.area.width).max(1);
    for (number, row) in buffer.content.chunks(width).enumerate() {
        let mut runs: Vec<(usize, usize)> = Vec::new();
        for cell in row {
            let style = style(cell);
            let index = styles.iter().position(|known| *known == style);
            let index = index.unwrap_or_else(|| {
                styles.push(style);
                styles.len() - 1
            });
            match runs.last_mut() {
                Some((length, last)) if *last == index => *length += 1,
                _ => runs.push((1, index)),
            }
        }
        let painted: String = runs
            .into_iter()
            .map(|(length, index)| match styles[index].as_str() {
                "" => format!("{length}. "),
                _ => format!("{length}{} ", letter(index)),
            })
            .collect();
        match rows.last_mut() {
            Some((_, last, same)) if *same == painted => *last = number,
            _ => rows.push((number, number, painted)),
        }
    }
    let mut told = String::new();
    for (index, style) in styles.iter().enumerate() {
        if !style.is_empty() {
            let _ = writeln!(told, "{} = {style}", letter(index));
        }
    }
    for (first, last, painted) in rows {
        let _ = match last {
            last if last == first => write!(told, "{first}"),
            last => write!(told, "{first}-{last}"),
        };
        let _ = writeln!(told, ": {}", painted.trim_end());
    }
    told
}

fn letter(index: usize) -> char {
    let letters = ('a'..='z').chain('A'..='Z');
    letters.cycle().nth(index).unwrap_or('?')
}

fn style(cell: &Cell) -> String {
    let mut parts = Vec::new();
    if cell.fg != Color::Reset {
        parts.push(cell.fg.to_string());
    }
    if cell.bg != Color::Reset {
        parts.push(format!("on {}", cell.bg));
    }
    if cell.modifier != Modifier::empty() {
        parts.push(format!("{:?}", cell.modifier));
    }
    parts.join(" ")
}
