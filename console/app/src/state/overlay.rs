//! What lies over a view: help, the palette, a question before something is done, a menu, a text to read.

use crossterm::event::KeyCode;

use actions::{Action, Danger};

use super::{editor::Editor, intent::Intent, view::Panel};
use crate::keys::Chord;

#[derive(Clone, Debug, PartialEq)]
pub enum Overlay {
    Help(Reading),
    Palette(Palette),
    Filter(FilterLine),
    Confirm(Question),
    Menu(Menu),
    Text(Page),
    Journal { scroll: usize },
    Marks { scroll: usize },
}

/// The help: what is searched for, and how far it was read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reading {
    pub search: Editor,
    pub scroll: usize,
}

/// A line of command, and which of the proposals is chosen.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Palette {
    pub line: Editor,
    pub chosen: usize,
    /// What is wrong with the line that was sent.
    pub problem: Option<String>,
    /// How far back in what was typed before; zero is the line itself.
    pub back: usize,
}

/// A filter while it is typed: it works at once, Esc brings the old one back.
#[derive(Clone, Debug, PartialEq)]
pub struct FilterLine {
    pub panel: Panel,
    pub line: Editor,
    pub before: String,
}

/// Asks before something is done. Enter is Cancel unless the name that is asked for has been typed.
#[derive(Clone, Debug, PartialEq)]
pub struct Question {
    pub action: Action,
    /// What it would do, counted; unknown until it was asked.
    pub impact: Option<Result<String, String>>,
    pub typed: Editor,
}

/// What an answer to a question is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    Do,
    Cancel,
    Wait,
}

impl Question {
    pub fn new(action: Action) -> Self {
        Self {
            action,
            impact: None,
            typed: Editor::default(),
        }
    }

    /// The name that must be typed, if one must.
    pub fn name(&self) -> Option<String> {
        match self.action.danger() {
            Danger::Typed(name) => Some(name),
            Danger::Confirm | Danger::None => None,
        }
    }

    pub fn key(&mut self, chord: Chord) -> Answer {
        match self.name() {
            None if chord.plain() == Some('y') => Answer::Do,
            None => Answer::Cancel,
            Some(name) => match chord.code() {
                KeyCode::Enter if self.typed.text() == name => Answer::Do,
                KeyCode::Enter | KeyCode::Esc => Answer::Cancel,
                _ if self.typed.key(chord) => Answer::Wait,
                _ => Answer::Cancel,
            },
        }
    }
}

/// Things to choose from, each with its letter.
#[derive(Clone, Debug, PartialEq)]
pub struct Menu {
    pub title: String,
    pub items: Vec<Item>,
    pub chosen: usize,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    pub key: char,
    pub text: String,
    pub choice: Choice,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Choice {
    Act(Action),
    Intend(Intent),
    /// A line for the palette, to be completed.
    Type(String),
    /// More to choose from.
    Menu(Menu),
    /// Begin a lab.
    Lab(String),
}

impl Menu {
    /// What a key chooses, if anything.
    pub fn key(&mut self, chord: Chord) -> Option<Choice> {
        let last = self.items.len().saturating_sub(1);
        match chord.code() {
            KeyCode::Up => self.chosen = self.chosen.saturating_sub(1),
            KeyCode::Down => self.chosen = (self.chosen + 1).min(last),
            KeyCode::Enter => return self.items.get(self.chosen).map(|item| item.choice.clone()),
            _ => {
                let key = chord.plain()?;
                let item = self.items.iter().find(|item| item.key == key);
                match (item, key) {
                    (Some(item), _) => return Some(item.choice.clone()),
                    (None, 'k') => self.chosen = self.chosen.saturating_sub(1),
                    (None, 'j') => self.chosen = (self.chosen + 1).min(last),
                    (None, _) => {}
                }
            }
        }
        None
    }
}

/// A text to read and copy.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Page {
    pub title: String,
    /// Printable lines.
    pub lines: Vec<String>,
    pub scroll: usize,
}

/// How a key moves in something that is read; none when it is no such key.
pub fn scrolled(scroll: usize, chord: Chord) -> Option<usize> {
    Some(match chord.code() {
        KeyCode::Up => scroll.saturating_sub(1),
        KeyCode::Down => scroll.saturating_add(1),
        KeyCode::PageUp => scroll.saturating_sub(10),
        KeyCode::PageDown => scroll.saturating_add(10),
        KeyCode::Home => 0,
        KeyCode::End => usize::MAX / 2,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use crossterm::event::{KeyEvent, KeyModifiers};

    use super::*;

    fn chord(code: KeyCode) -> Chord {
        Chord::new(KeyEvent::new(code, KeyModifiers::NONE))
    }

    #[test]
    fn pitfall_02_enter_is_always_cancel() {
        let mut question = Question::new(Action::Flush(actions::FlushScope::All));
        for code in [
            KeyCode::Enter,
            KeyCode::Esc,
            KeyCode::Char('n'),
            KeyCode::Char(' '),
        ] {
            assert_eq!(question.key(chord(code)), Answer::Cancel, "{code:?}");
        }
        assert_eq!(question.key(chord(KeyCode::Char('y'))), Answer::Do);

        let mut question = Question::new(Action::Kill("gateway-2".to_owned()));
        assert_eq!(question.key(chord(KeyCode::Char('y'))), Answer::Wait);
        assert_eq!(question.key(chord(KeyCode::Enter)), Answer::Cancel);
        let mut question = Question::new(Action::Kill("gateway-2".to_owned()));
        for character in "gateway-2".chars() {
            assert_eq!(question.key(chord(KeyCode::Char(character))), Answer::Wait);
        }
        assert_eq!(question.key(chord(KeyCode::Enter)), Answer::Do);
    }

    #[test]
    fn a_menu_is_chosen_from_by_letter_or_by_arrow() {
        let item = |key, intent| Item {
            key,
            text: String::new(),
            choice: Choice::Intend(intent),
        };
        let mut menu = Menu {
            title: String::new(),
            items: vec![item('d', Intent::Down), item('k', Intent::Undo)],
            chosen: 0,
        };
        assert_eq!(
            menu.key(chord(KeyCode::Char('k'))),
            Some(Choice::Intend(Intent::Undo))
        );
        assert_eq!(menu.key(chord(KeyCode::Char('q'))), None);
        assert_eq!(menu.key(chord(KeyCode::Down)), None);
        assert_eq!(menu.key(chord(KeyCode::Down)), None);
        assert_eq!(
            menu.key(chord(KeyCode::Enter)),
            Some(Choice::Intend(Intent::Undo))
        );
    }
}
