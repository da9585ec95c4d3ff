//! Cells as bytes for a terminal, and as few of them as will do.
//!
//! Only what differs is said: a style is changed by its parts, a blank cell keeps the colour of the letters before it, and the
//! cursor is moved in the shortest way.

use std::io::Write as _;

use ratatui::{
    buffer::Cell,
    style::{Color, Modifier},
};

/// What each modifier is called when it comes, and when it goes.
const MODIFIERS: [(Modifier, u8, u8); 9] = [
    (Modifier::BOLD, 1, 22),
    (Modifier::DIM, 2, 22),
    (Modifier::ITALIC, 3, 23),
    (Modifier::UNDERLINED, 4, 24),
    (Modifier::SLOW_BLINK, 5, 25),
    (Modifier::RAPID_BLINK, 6, 25),
    (Modifier::REVERSED, 7, 27),
    (Modifier::HIDDEN, 8, 28),
    (Modifier::CROSSED_OUT, 9, 29),
];

/// Modifiers that are seen where there is no letter.
const SEEN_ON_BLANKS: Modifier = Modifier::UNDERLINED
    .union(Modifier::REVERSED)
    .union(Modifier::CROSSED_OUT);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Style {
    foreground: Color,
    background: Color,
    modifier: Modifier,
}

/// Appends what draws these cells on a terminal in its plain style, and leaves it in that style.
pub fn encode<'a>(cells: impl Iterator<Item = (u16, u16, &'a Cell)>, out: &mut Vec<u8>) {
    let mut style = Style::default();
    let mut next = None;
    for (x, y, cell) in cells {
        if next != Some((x, y)) {
            move_to(next, (x, y), out);
        }
        // A terminal may take other symbols for wider or narrower than we do: after those nothing is said of where it is.
        next = Some((x.saturating_add(1), y));
        let wanted = wanted(cell, style);
        change(&mut style, wanted, out);
        out.extend_from_slice(cell.symbol().as_bytes());
    }
    if style != Style::default() {
        out.extend_from_slice(b"\x1b[0m");
    }
}

/// From where the cursor is, if that is known.
fn move_to(from: Option<(u16, u16)>, (x, y): (u16, u16), out: &mut Vec<u8>) {
    let written = match from {
        // Beyond the last column the cursor waits: where it goes from there differs.
        Some((column, row)) if row == y && column < x => write!(out, "\x1b[{}C", x - column),
        _ => write!(out, "\x1b[{};{}H", u32::from(y) + 1, u32::from(x) + 1),
    };
    // A vector takes everything.
    debug_assert!(written.is_ok());
}

/// The style to draw a cell in, given the one in force.
fn wanted(cell: &Cell, now: Style) -> Style {
    let style = Style {
        foreground: cell.fg,
        background: cell.bg,
        modifier: cell.modifier,
    };
    let blank = cell.symbol() == " ";
    if blank && !(style.modifier | now.modifier).intersects(SEEN_ON_BLANKS) {
        return Style {
            background: style.background,
            ..now
        };
    }
    style
}

fn change(now: &mut Style, wanted: Style, out: &mut Vec<u8>) {
    if *now == wanted {
        return;
    }
    if wanted == Style::default() {
        out.extend_from_slice(b"\x1b[0m");
        *now = wanted;
        return;
    }
    let start = out.len();
    out.extend_from_slice(b"\x1b[");
    let gone = now.modifier - wanted.modifier;
    let mut have = now.modifier - gone;
    let mut said = 0;
    for (modifier, _, off) in MODIFIERS {
        if gone.contains(modifier) && said != off {
            said = off;
            code(off, out);
            // One word takes two of them away.
            for (other, _, same) in MODIFIERS {
                if same == off {
                    have -= other;
                }
            }
        }
    }
    for (modifier, on, _) in MODIFIERS {
        if (wanted.modifier - have).contains(modifier) {
            code(on, out);
        }
    }
    if now.foreground != wanted.foreground {
        colour(wanted.foreground, 30, out);
    }
    if now.background != wanted.background {
        colour(wanted.background, 40, out);
    }
    if out.len() == start + 2 {
        out.truncate(start);
    } else {
        out.pop();
        out.push(b'm');
    }
    *now = wanted;
}

/// Digits and a semicolon.
fn code(code: u8, out: &mut Vec<u8>) {
    let _ = write!(out, "{code};");
}

/// A colour of letters (from 30) or of what is behind them (from 40).
fn colour(colour: Color, base: u8, out: &mut Vec<u8>) {
    let plain = match colour {
        Color::Reset => 9,
        Color::Black => 0,
        Color::Red => 1,
        Color::Green => 2,
        Color::Yellow => 3,
        Color::Blue => 4,
        Color::Magenta => 5,
        Color::Cyan => 6,
        Color::Gray => 7,
        Color::DarkGray => 60,
        Color::LightRed => 61,
        Color::LightGreen => 62,
        Color::LightYellow => 63,
        Color::LightBlue => 64,
        Color::LightMagenta => 65,
        Color::LightCyan => 66,
        Color::White => 67,
        Color::Indexed(number) => {
            let _ = write!(out, "{};5;{number};", base + 8);
            return;
        }
        Color::Rgb(red, green, blue) => {
            let _ = write!(out, "{};2;{red};{green};{blue};", base + 8);
            return;
        }
    };
    code(base + plain, out);
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU16;

    use proptest::prelude::*;
    use ratatui::{
        backend::{Backend as _, CrosstermBackend},
        buffer::Buffer,
        layout::Rect,
        style,
    };

    use super::*;

    const WIDTH: u16 = 12;
    const HEIGHT: u16 = 4;

    fn terminal() -> vt100::Parser {
        let size = |number| NonZeroU16::new(number).expect("not zero");
        vt100::Parser::new(size(HEIGHT), size(WIDTH), 0)
    }

    fn cell() -> impl Strategy<Value = (&'static str, style::Style)> {
        let colour = || {
            prop_oneof![
                Just(Color::Reset),
                Just(Color::Red),
                Just(Color::LightCyan),
                any::<u8>().prop_map(Color::Indexed),
                Just(Color::Rgb(1, 20, 255)),
            ]
        };
        // The terminal of this test knows one intensity at a time.
        let intensity =
            prop::sample::select(vec![Modifier::empty(), Modifier::BOLD, Modifier::DIM]);
        let others = vec![Modifier::ITALIC, Modifier::UNDERLINED, Modifier::REVERSED];
        let others = prop::sample::subsequence(others, 0..=3);
        let symbol = prop::sample::select(vec![" ", " ", "a", "─", "●", "é"]);
        (symbol, colour(), colour(), intensity, others).prop_map(
            |(symbol, fg, bg, intensity, others)| {
                let all = others.into_iter().fold(intensity, Modifier::union);
                (symbol, style::Style::new().fg(fg).bg(bg).add_modifier(all))
            },
        )
    }

    fn screen() -> impl Strategy<Value = Buffer> {
        prop::collection::vec(cell(), usize::from(WIDTH * HEIGHT)).prop_map(|cells| {
            let mut buffer = Buffer::empty(Rect::new(0, 0, WIDTH, HEIGHT));
            for (place, (symbol, style)) in buffer.content.iter_mut().zip(cells) {
                place.set_symbol(symbol).set_style(style);
            }
            buffer
        })
    }

    /// What a person sees: no colour of letters where there are none.
    fn seen(terminal: &vt100::Parser) -> Vec<String> {
        let cells = (0..HEIGHT).flat_map(|row| (0..WIDTH).map(move |column| (row, column)));
        cells
            .map(|(row, column)| {
                let cell = terminal
                    .screen()
                    .cell(row, column)
                    .expect("it is on the screen");
                let blank = matches!(cell.contents().trim(), "");
                let letters = (!blank || cell.inverse() || cell.underline())
                    .then(|| (cell.fgcolor(), cell.bold(), cell.dim(), cell.italic()));
                format!(
                    "{:?} {letters:?} {:?} {} {}",
                    cell.contents().trim(),
                    cell.bgcolor(),
                    cell.inverse(),
                    cell.underline()
                )
            })
            .collect()
    }

    proptest! {
        /// One screen after the other, as frames come: the same is seen as with the usual encoder.
        #[test]
        fn the_same_is_seen_in_fewer_bytes(screens in prop::collection::vec(screen(), 1..4)) {
            let mut ours = terminal();
            let mut theirs = terminal();
            let mut before = Buffer::empty(Rect::new(0, 0, WIDTH, HEIGHT));
            for screen in screens {
                let changes = before.diff(&screen);
                let mut few = Vec::new();
                encode(changes.iter().map(|(x, y, cell)| (*x, *y, *cell)), &mut few);
                let mut usual = Vec::new();
                CrosstermBackend::new(&mut usual).draw(changes.into_iter()).expect("memory");
                prop_assert!(few.len() <= usual.len());
                ours.process(&few);
                theirs.process(&usual);
                prop_assert_eq!(seen(&ours), seen(&theirs));
                before = screen;
            }
        }
    }

    #[test]
    fn only_what_differs_is_said() {
        let mut buffer = Buffer::empty(Rect::new(0, 0, 20, 1));
        let red = style::Style::new().fg(Color::Red);
        buffer.set_string(0, 0, "ab", red.add_modifier(Modifier::BOLD));
        buffer.set_string(2, 0, " c", red);
        buffer.set_string(9, 0, "d", style::Style::new());
        let mut out = Vec::new();
        let before = Buffer::empty(buffer.area);
        let changes = before.diff(&buffer);
        encode(changes.into_iter(), &mut out);
        assert_eq!(
            String::from_utf8(out).expect("text"),
            "\x1b[1;1H\x1b[1;31mab \x1b[22mc\x1b[5C\x1b[0md"
        );
    }
}
