//! Keys and what is held down beside them: as the terminal tells them, and as people write them.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

/// One key with what is held down beside it. Shift is part of a character already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Chord(KeyCode, KeyModifiers);

impl Chord {
    pub fn new(event: KeyEvent) -> Self {
        match event.code {
            KeyCode::BackTab => Self(KeyCode::BackTab, KeyModifiers::NONE),
            KeyCode::Char(_) => Self(event.code, event.modifiers - KeyModifiers::SHIFT),
            code => Self(code, event.modifiers),
        }
    }

    /// The character, if it is one without anything held down.
    pub fn plain(self) -> Option<char> {
        match self {
            Self(KeyCode::Char(character), modifiers) if modifiers.is_empty() => Some(character),
            _ => None,
        }
    }

    /// The same key without Alt, if Alt is held down.
    pub fn without_alt(self) -> Option<Self> {
        let held = self.1.contains(KeyModifiers::ALT);
        held.then(|| Self(self.0, self.1 - KeyModifiers::ALT))
    }

    pub fn code(self) -> KeyCode {
        self.0
    }

    pub fn is_control(self, character: char) -> bool {
        self == Self(KeyCode::Char(character), KeyModifiers::CONTROL)
    }
}

const NAMED: [(&str, KeyCode); 14] = [
    ("Enter", KeyCode::Enter),
    ("Esc", KeyCode::Esc),
    ("Tab", KeyCode::Tab),
    ("Space", KeyCode::Char(' ')),
    ("Up", KeyCode::Up),
    ("Down", KeyCode::Down),
    ("Left", KeyCode::Left),
    ("Right", KeyCode::Right),
    ("PgUp", KeyCode::PageUp),
    ("PgDn", KeyCode::PageDown),
    ("Home", KeyCode::Home),
    ("End", KeyCode::End),
    ("Insert", KeyCode::Insert),
    ("Delete", KeyCode::Delete),
];

/// Reads `q`, `Ctrl-c`, `Shift-Left`, `F2`, `g-g`.
pub(super) fn parse(text: &str) -> Result<Vec<Chord>, String> {
    let no_key =
        || format!("{text:?} is no key; write it as q, Ctrl-c, Alt-x, Shift-Left, F2 or g-g");
    if text == "-" {
        return Ok(vec![Chord(KeyCode::Char('-'), KeyModifiers::NONE)]);
    }
    if text == "Shift-Tab" {
        return Ok(vec![Chord(KeyCode::BackTab, KeyModifiers::NONE)]);
    }
    let mut held = KeyModifiers::NONE;
    let mut chords = Vec::new();
    for part in text.split('-') {
        let code = match part {
            "Ctrl" => {
                held |= KeyModifiers::CONTROL;
                continue;
            }
            "Alt" => {
                held |= KeyModifiers::ALT;
                continue;
            }
            "Shift" => {
                held |= KeyModifiers::SHIFT;
                continue;
            }
            _ => named(part).ok_or_else(no_key)?,
        };
        if held.contains(KeyModifiers::SHIFT) && matches!(code, KeyCode::Char(_)) {
            return Err(format!(
                "{text:?}: write the capital letter instead of Shift"
            ));
        }
        chords.push(Chord(code, held));
        held = KeyModifiers::NONE;
    }
    if chords.is_empty() || !held.is_empty() {
        return Err(no_key());
    }
    Ok(chords)
}

fn named(part: &str) -> Option<KeyCode> {
    if let Some((_, code)) = NAMED.iter().find(|(name, _)| *name == part) {
        return Some(*code);
    }
    if let Some(number) = part
        .strip_prefix('F')
        .and_then(|digits| digits.parse::<u8>().ok())
    {
        return (1..=12).contains(&number).then_some(KeyCode::F(number));
    }
    let mut characters = part.chars();
    match (characters.next(), characters.next()) {
        (Some(one), None) => Some(KeyCode::Char(one)),
        _ => None,
    }
}

/// As the operator's file and the help write it.
pub fn print(keys: &[Chord]) -> String {
    let print_one = |chord: &Chord| {
        if chord.0 == KeyCode::BackTab {
            return "Shift-Tab".to_owned();
        }
        let name = NAMED
            .iter()
            .find(|(_, code)| *code == chord.0)
            .map(|(name, _)| (*name).to_owned());
        let name = name.unwrap_or_else(|| match chord.0 {
            KeyCode::Char(character) => character.to_string(),
            KeyCode::F(number) => format!("F{number}"),
            other => format!("{other:?}"),
        });
        let held = |modifier, word| if chord.1.contains(modifier) { word } else { "" };
        format!(
            "{}{}{}{name}",
            held(KeyModifiers::CONTROL, "Ctrl-"),
            held(KeyModifiers::ALT, "Alt-"),
            held(KeyModifiers::SHIFT, "Shift-"),
        )
    };
    let printed: Vec<_> = keys.iter().map(print_one).collect();
    printed.join("-")
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn nonsense_is_no_key() {
        for nonsense in [
            "", "Ctrl", "Ctrl-", "abc", "F99", "Shift-a", "Hyper-x", "--",
        ] {
            assert!(parse(nonsense).is_err(), "{nonsense:?}");
        }
    }
}
