//! What a terminal has received: every byte with its time, and the screen that they make.

use std::{collections::BTreeSet, num::NonZeroU16, time::Instant};

use vt100::{Callbacks, MouseProtocolMode, Parser, Screen};

/// Modes that the screen itself does not model.
#[derive(Debug, Default)]
struct Modes {
    /// Private modes that were set and not reset, such as 2026 for synchronized output.
    open: BTreeSet<u16>,
    clipboard: Vec<Vec<u8>>,
    /// Bells, titles, and sequences that this terminal does not know.
    untoward: Vec<String>,
}

impl Callbacks for Modes {
    fn unhandled_csi(
        &mut self,
        _: &mut Screen,
        first: Option<u8>,
        _: Option<u8>,
        parameters: &[&[u16]],
        last: char,
    ) {
        let numbers = parameters.iter().filter_map(|numbers| numbers.first());
        match (first, last) {
            (Some(b'?'), 'h') => self.open.extend(numbers),
            (Some(b'?'), 'l') => {
                for number in numbers {
                    self.open.remove(number);
                }
            }
            // The underline's own colour is given back in every frame, and not every terminal knows that it has one.
            (None, 'm') if parameters == [[59]] => {}
            _ => self
                .untoward
                .push(format!("{first:?} {parameters:?} {last:?}")),
        }
    }

    fn unhandled_escape(&mut self, _: &mut Screen, first: Option<u8>, _: Option<u8>, last: u8) {
        self.untoward.push(format!("escape {first:?} {last}"));
    }

    fn unhandled_control(&mut self, _: &mut Screen, byte: u8) {
        self.untoward.push(format!("control {byte}"));
    }

    fn audible_bell(&mut self, _: &mut Screen) {
        self.untoward.push("a bell".to_owned());
    }

    fn set_window_title(&mut self, _: &mut Screen, title: &[u8]) {
        let title = String::from_utf8_lossy(title);
        self.untoward.push(format!("the title {title:?}"));
    }

    fn copy_to_clipboard(&mut self, _: &mut Screen, _: &[u8], data: &[u8]) {
        self.clipboard.push(data.to_vec());
    }
}

/// Everything the terminal has received so far.
pub struct Seen {
    parser: Parser<Modes>,
    bytes: Vec<u8>,
    /// When each piece came, and where it ends in `bytes`.
    pieces: Vec<(Instant, usize)>,
    /// Bytes that are not kept any more.
    forgotten: usize,
}

impl Seen {
    pub(crate) fn new(columns: u16, rows: u16) -> Self {
        let (rows, columns) = size(columns, rows);
        Self {
            parser: Parser::new_with_callbacks(rows, columns, 0, Modes::default()),
            bytes: Vec::new(),
            pieces: Vec::new(),
            forgotten: 0,
        }
    }

    pub(crate) fn receive(&mut self, at: Instant, bytes: &[u8]) {
        self.parser.process(bytes);
        self.bytes.extend_from_slice(bytes);
        self.pieces.push((at, self.written()));
    }

    pub(crate) fn resize(&mut self, columns: u16, rows: u16) {
        let (rows, columns) = size(columns, rows);
        self.parser.set_size(rows, columns);
    }

    /// Forgets the bytes, but neither their number nor the screen: for runs that are long.
    pub(crate) fn forget(&mut self) {
        self.forgotten = self.written();
        self.bytes.clear();
        self.pieces.clear();
    }

    /// The screen as a person sees it.
    #[must_use]
    pub fn screen(&self) -> &Screen {
        self.parser.screen()
    }

    /// The text on the screen.
    #[must_use]
    pub fn text(&self) -> String {
        self.screen().contents()
    }

    #[must_use]
    pub fn shows(&self, text: &str) -> bool {
        self.text().contains(text)
    }

    /// Bytes received since the beginning.
    #[must_use]
    pub fn written(&self) -> usize {
        self.forgotten + self.bytes.len()
    }

    /// The bytes received since a position that [`Self::written`] told.
    #[must_use]
    pub fn since(&self, position: usize) -> &[u8] {
        let start = position.saturating_sub(self.forgotten);
        &self.bytes[start.min(self.bytes.len())..]
    }

    /// When the first byte after a position came.
    #[must_use]
    pub fn first_after(&self, position: usize) -> Option<Instant> {
        let piece = self.pieces.iter().find(|(_, end)| *end > position);
        piece.map(|(at, _)| *at)
    }

    #[must_use]
    pub fn last_at(&self) -> Option<Instant> {
        self.pieces.last().map(|(at, _)| *at)
    }

    /// What was asked to be put on the clipboard, as it was sent (base64).
    #[must_use]
    pub fn clipboard(&self) -> &[Vec<u8>] {
        &self.parser.callbacks().clipboard
    }

    /// What reached the terminal that no program of good manners sends: bells, titles, sequences it does not know.
    #[must_use]
    pub fn untoward(&self) -> &[String] {
        &self.parser.callbacks().untoward
    }

    /// The modes a program has left the terminal in that it should not have.
    #[must_use]
    pub fn left_open(&self) -> Vec<String> {
        let screen = self.screen();
        let modes = [
            (screen.alternate_screen(), "the alternate screen"),
            (screen.hide_cursor(), "a hidden cursor"),
            (
                screen.mouse_protocol_mode() != MouseProtocolMode::None,
                "mouse reports",
            ),
            (screen.bracketed_paste(), "bracketed paste"),
            (screen.application_cursor(), "application cursor keys"),
            (screen.application_keypad(), "an application keypad"),
            (
                screen.fgcolor() != vt100::Color::Default
                    || screen.bgcolor() != vt100::Color::Default,
                "a colour",
            ),
            (
                screen.bold() || screen.inverse() || screen.underline() || screen.dim(),
                "emphasis",
            ),
        ];
        let known = modes
            .into_iter()
            .filter(|(open, _)| *open)
            .map(|(_, name)| name.to_owned());
        let others = self.parser.callbacks().open.iter();
        known
            .chain(others.map(|mode| format!("private mode {mode}")))
            .collect()
    }
}

fn size(columns: u16, rows: u16) -> (NonZeroU16, NonZeroU16) {
    let at_least_one = |number| NonZeroU16::new(number).unwrap_or(NonZeroU16::MIN);
    (at_least_one(rows), at_least_one(columns))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_open_is_told() {
        let mut seen = Seen::new(20, 3);
        let now = Instant::now();
        seen.receive(
            now,
            b"\x1b[?1049h\x1b[?25l\x1b[?2026h\x1b[?1000h\x1b[31mhello",
        );
        assert_eq!(
            seen.left_open(),
            [
                "the alternate screen",
                "a hidden cursor",
                "mouse reports",
                "a colour",
                "private mode 2026"
            ]
        );
        assert!(seen.shows("hello") && seen.untoward().is_empty());
        let middle = seen.written();
        seen.receive(now, b"\x1b[?2026l\x1b[?1000l\x1b[0m\x1b[?1049l\x1b[?25h");
        assert_eq!(seen.left_open(), Vec::<String>::new());
        assert!(seen.since(middle).starts_with(b"\x1b[?2026l"));
        seen.forget();
        assert!(seen.written() > middle && seen.since(middle).is_empty());
        seen.receive(now, b"\x07");
        assert_eq!(seen.untoward(), ["a bell"]);
        assert_eq!(seen.since(middle), b"\x07");
    }
}
