//! One line of text under the operator's hands.

use crossterm::event::KeyCode;

use crate::keys::Chord;

/// Characters that one line may hold.
const MOST: usize = 500;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Editor {
    text: String,
    /// In characters.
    cursor: usize,
}

impl Editor {
    pub fn with(text: &str) -> Self {
        let mut editor = Self::default();
        editor.set(text);
        editor
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    /// Where the next character goes, in characters.
    pub fn cursor(&self) -> usize {
        self.cursor
    }

    /// Another text; the next character goes to its end.
    pub fn set(&mut self, text: &str) {
        self.text = text
            .chars()
            .filter(|c| !c.is_control())
            .take(MOST)
            .collect();
        self.cursor = self.text.chars().count();
    }

    /// Takes a key in; whether it was one for a line of text.
    pub fn key(&mut self, chord: Chord) -> bool {
        if let Some(character) = chord.plain() {
            if self.text.chars().count() < MOST && !character.is_control() {
                self.text.insert(self.byte(self.cursor), character);
                self.cursor += 1;
            }
            return true;
        }
        let length = self.text.chars().count();
        match chord.code() {
            KeyCode::Backspace if self.cursor > 0 => {
                self.cursor -= 1;
                self.text.remove(self.byte(self.cursor));
            }
            KeyCode::Delete if self.cursor < length => {
                self.text.remove(self.byte(self.cursor));
            }
            KeyCode::Backspace | KeyCode::Delete => {}
            KeyCode::Left => self.cursor = self.cursor.saturating_sub(1),
            KeyCode::Right => self.cursor = (self.cursor + 1).min(length),
            KeyCode::Home => self.cursor = 0,
            KeyCode::End => self.cursor = length,
            _ if chord.is_control('a') => self.cursor = 0,
            _ if chord.is_control('e') => self.cursor = length,
            _ if chord.is_control('u') => {
                self.text.drain(..self.byte(self.cursor));
                self.cursor = 0;
            }
            _ if chord.is_control('w') => {
                let end = self.byte(self.cursor);
                let kept = self.text[..end].trim_end();
                let begin = kept.rfind(' ').map_or(0, |space| space + 1);
                self.text.drain(begin..end);
                self.cursor = self.text[..begin].chars().count();
            }
            _ => return false,
        }
        true
    }

    /// Pasted text: one line of it.
    pub fn paste(&mut self, text: &str) {
        for character in text.chars().take_while(|c| !matches!(c, '\n' | '\r')) {
            if !character.is_control() && self.text.chars().count() < MOST {
                self.text.insert(self.byte(self.cursor), character);
                self.cursor += 1;
            }
        }
    }

    fn byte(&self, character: usize) -> usize {
        self.text
            .char_indices()
            .nth(character)
            .map_or(self.text.len(), |(byte, _)| byte)
    }
}

#[cfg(test)]
mod tests {
    use crossterm::event::{KeyEvent, KeyModifiers};

    use super::*;

    fn press(editor: &mut Editor, code: KeyCode) -> bool {
        editor.key(Chord::new(KeyEvent::new(code, KeyModifiers::NONE)))
    }

    fn control(editor: &mut Editor, character: char) -> bool {
        let event = KeyEvent::new(KeyCode::Char(character), KeyModifiers::CONTROL);
        editor.key(Chord::new(event))
    }

    #[test]
    fn a_line_is_edited_as_everywhere() {
        let mut editor = Editor::with("drain gátewey-2");
        for _ in 0..3 {
            press(&mut editor, KeyCode::Left);
        }
        press(&mut editor, KeyCode::Backspace);
        press(&mut editor, KeyCode::Char('a'));
        assert_eq!(editor.text(), "drain gátewaey-2".replace("aey", "ay"));
        control(&mut editor, 'w');
        assert_eq!(editor.text(), "drain y-2");
        press(&mut editor, KeyCode::Delete);
        control(&mut editor, 'u');
        assert_eq!((editor.text(), editor.cursor()), ("-2", 0));
        assert!(!press(&mut editor, KeyCode::Enter), "not a key for text");
        assert!(
            press(&mut editor, KeyCode::Backspace),
            "nothing to take, and no harm"
        );
    }

    #[test]
    fn it_is_bounded_and_one_line() {
        let mut editor = Editor::default();
        editor.paste("a\u{1b}[31mb\nc");
        assert_eq!(editor.text(), "a[31mb");
        editor.paste(&"x".repeat(100_000));
        assert_eq!(editor.text().chars().count(), MOST);
    }
}
