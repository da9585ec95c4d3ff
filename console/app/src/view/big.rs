//! Numbers that can be read from the back of the room: three rows high, out of half blocks.

use ratatui::{
    layout::{Constraint, Layout, Rect},
    style::Style,
    text::Line,
};

use super::{canvas::Canvas, format};

/// Rows that the numbers take with their names.
pub const HEIGHT: u16 = 4;

/// Three columns by five dots, row by row from the top; a bit per column, the left one first.
const FONT: [(char, [u8; 5]); 18] = [
    ('0', [0b111, 0b101, 0b101, 0b101, 0b111]),
    ('1', [0b010, 0b110, 0b010, 0b010, 0b111]),
    ('2', [0b111, 0b001, 0b111, 0b100, 0b111]),
    ('3', [0b111, 0b001, 0b111, 0b001, 0b111]),
    ('4', [0b101, 0b101, 0b111, 0b001, 0b001]),
    ('5', [0b111, 0b100, 0b111, 0b001, 0b111]),
    ('6', [0b111, 0b100, 0b111, 0b101, 0b111]),
    ('7', [0b111, 0b001, 0b010, 0b010, 0b010]),
    ('8', [0b111, 0b101, 0b111, 0b101, 0b111]),
    ('9', [0b111, 0b101, 0b111, 0b001, 0b111]),
    ('.', [0b000, 0b000, 0b000, 0b000, 0b010]),
    (',', [0b000, 0b000, 0b000, 0b010, 0b100]),
    ('%', [0b101, 0b001, 0b010, 0b100, 0b101]),
    ('k', [0b100, 0b101, 0b110, 0b101, 0b101]),
    ('M', [0b101, 0b111, 0b111, 0b101, 0b101]),
    ('m', [0b000, 0b111, 0b111, 0b101, 0b101]),
    ('s', [0b000, 0b011, 0b110, 0b011, 0b110]),
    ('–', [0b000, 0b000, 0b111, 0b000, 0b000]),
];

/// A text in large signs: three lines of the same width. What has no sign is left out.
pub fn lines(text: &str) -> [String; 3] {
    let mut lines = [String::new(), String::new(), String::new()];
    for character in text.chars() {
        if character == ' ' {
            for line in &mut lines {
                line.push(' ');
            }
            continue;
        }
        let Some((_, dots)) = FONT.iter().find(|(known, _)| *known == character) else {
            continue;
        };
        let dot = |row: usize, column: u8| {
            dots.get(row)
                .is_some_and(|bits| bits & (0b100 >> column) != 0)
        };
        for (index, line) in lines.iter_mut().enumerate() {
            for column in 0..3 {
                line.push(match (dot(2 * index, column), dot(2 * index + 1, column)) {
                    (true, true) => '█',
                    (true, false) => '▀',
                    (false, true) => '▄',
                    (false, false) => ' ',
                });
            }
            line.push(' ');
        }
    }
    lines
}

/// The four numbers that a class must see, side by side.
pub fn band(canvas: &mut Canvas<'_, '_, '_>, area: Rect) {
    let (state, theme) = (canvas.state, canvas.theme);
    let latency = state.latency().all;
    let errors = state.error_rate();
    let error_style = match errors {
        Some(rate) if rate > 0.0 => theme.critical,
        _ => theme.strong,
    };
    let numbers: [(&str, String, Style); 4] = [
        (
            "requests a second",
            format::rate(state.request_rate()),
            theme.bar,
        ),
        ("errors a second", format::rate(errors), error_style),
        (
            "cache hits",
            format::percent(state.cache().now.map(|ratio| ratio.value)),
            theme.cache_bar,
        ),
        (
            "99 % are faster than",
            format::latency(latency.map(|l| l.p99)),
            theme.accent,
        ),
    ];
    let places = Layout::horizontal([Constraint::Fill(1); 4]).split(area);
    for ((name, number, style), place) in numbers.into_iter().zip(places.iter()) {
        for (row, line) in (0..).zip(lines(&number)) {
            let text = format::cut(&line, place.width.into());
            canvas.line(*place, row, Line::styled(format!(" {text}"), style));
        }
        let name = format::cut(name, usize::from(place.width).saturating_sub(1));
        canvas.line(*place, 3, Line::styled(format!(" {name}"), theme.dim));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_three_rows_high() {
        assert_eq!(
            lines("17"),
            [
                "▄█  ▀▀█ ",
                " █  ▄▀  ".replace("▄▀ ", " █ ").as_str(),
                "▀▀▀  ▀  "
            ]
            .map(str::to_owned)
        );
        for number in [
            "48.3", "0", "93%", "12.4k", "1.24 s", "0.84 ms", "–", "1,234",
        ] {
            let lines = lines(number);
            let widths = lines.each_ref().map(|line| line.chars().count());
            assert!(
                widths.iter().all(|width| *width == widths[0] && *width > 0),
                "{lines:?}"
            );
        }
    }
}
