//! One table of keys: it decides what a key does, and it is what help and footer print.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use crate::state::action::Action;

/// One line of the table.
#[derive(Debug)]
pub struct Binding {
    /// As printed.
    pub keys: &'static str,
    pub codes: &'static [(KeyCode, KeyModifiers)],
    pub action: Action,
    /// For the footer; empty leaves it out there.
    pub short: &'static str,
    /// For the help.
    pub long: &'static str,
}

const NONE: KeyModifiers = KeyModifiers::NONE;
const CONTROL: KeyModifiers = KeyModifiers::CONTROL;

macro_rules! binding {
    ($keys:literal, [$($code:expr),+], $action:ident, $short:literal, $long:literal) => {
        Binding {
            keys: $keys,
            codes: &[$($code),+],
            action: Action::$action,
            short: $short,
            long: $long,
        }
    };
}

const fn key(character: char) -> (KeyCode, KeyModifiers) {
    (KeyCode::Char(character), NONE)
}

const fn control(character: char) -> (KeyCode, KeyModifiers) {
    (KeyCode::Char(character), CONTROL)
}

/// Every key, in the order of the help.
pub const TABLE: &[Binding] = &[
    binding!(
        "r",
        [key('r')],
        Recharge,
        "recharge",
        "recharge one card, and say what came of it"
    ),
    binding!(
        "b",
        [key('b')],
        Burst,
        "burst",
        "100 requests of the mix at once"
    ),
    binding!(
        "t",
        [key('t')],
        ToggleTraffic,
        "traffic",
        "steady mixed traffic on or off"
    ),
    binding!(
        "< >",
        [key('<'), key(',')],
        Slower,
        "rate",
        "traffic: one step slower, one step faster"
    ),
    binding!("", [key('>'), key('.')], Faster, "", ""),
    binding!("x", [key('x')], StopTraffic, "stop", "stop the traffic"),
    binding!(
        "f",
        [key('f'), key('F')],
        Flush,
        "flush",
        "flush the cache (asks first)"
    ),
    binding!(
        "l",
        [key('l')],
        CycleLogLevel,
        "log",
        "log: next level (INFO, WARN, ERROR, everything)"
    ),
    binding!(
        "Up Down",
        [(KeyCode::Up, NONE), key('k')],
        ScrollUp,
        "",
        "log: scroll; it pauses until G"
    ),
    binding!("", [(KeyCode::Down, NONE), key('j')], ScrollDown, "", ""),
    binding!(
        "PgUp PgDn",
        [(KeyCode::PageUp, NONE), control('u')],
        PageUp,
        "",
        "log: ten lines at a time"
    ),
    binding!(
        "",
        [(KeyCode::PageDown, NONE), control('d')],
        PageDown,
        "",
        ""
    ),
    binding!(
        "G End",
        [key('G'), (KeyCode::End, NONE)],
        Follow,
        "",
        "log: follow again"
    ),
    binding!(
        "?",
        [key('?'), (KeyCode::F(1), NONE)],
        Help,
        "help",
        "this help (also F1)"
    ),
    binding!(
        "Esc",
        [(KeyCode::Esc, NONE)],
        Close,
        "",
        "close what is on top"
    ),
    binding!(
        "q",
        [key('q')],
        Back,
        "quit",
        "back; from the overview: quit"
    ),
    binding!(
        "Ctrl-C",
        [control('c')],
        Quit,
        "",
        "quit always, and stop the traffic"
    ),
    binding!(
        "Ctrl-L",
        [control('l')],
        Repaint,
        "",
        "paint the screen again"
    ),
    binding!(
        "Ctrl-Z",
        [control('z')],
        Suspend,
        "",
        "suspend; fg comes back"
    ),
];

/// What a key means, if anything. Shift is part of the character already.
pub fn action(event: KeyEvent) -> Option<Action> {
    let modifiers = event.modifiers - KeyModifiers::SHIFT;
    TABLE
        .iter()
        .find(|binding| binding.codes.contains(&(event.code, modifiers)))
        .map(|binding| binding.action)
}

/// The lines that the footer shows.
pub fn footer() -> impl Iterator<Item = &'static Binding> {
    TABLE.iter().filter(|binding| !binding.short.is_empty())
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_key_means_two_things() {
        let mut seen = HashSet::new();
        for binding in TABLE {
            for code in binding.codes {
                assert!(seen.insert(code), "{code:?} is bound twice");
            }
        }
    }

    #[test]
    fn every_printed_key_does_what_its_line_says() {
        for binding in TABLE.iter().filter(|binding| !binding.keys.is_empty()) {
            let code = binding.codes[0];
            assert_eq!(action(KeyEvent::new(code.0, code.1)), Some(binding.action));
            let first = binding.keys.split(' ').next().unwrap();
            let printed = match code {
                (KeyCode::Char(c), CONTROL) => format!("Ctrl-{}", c.to_ascii_uppercase()),
                (KeyCode::Char(c), _) => c.to_string(),
                (KeyCode::PageUp, _) => "PgUp".into(),
                (other, _) => format!("{other:?}"),
            };
            assert_eq!(first, printed);
        }
    }

    #[test]
    fn shift_is_in_the_character_and_other_modifiers_are_not_ignored() {
        let event = |c, modifiers| KeyEvent::new(KeyCode::Char(c), modifiers);
        assert_eq!(
            action(event('G', KeyModifiers::SHIFT)),
            Some(Action::Follow)
        );
        assert_eq!(action(event('r', CONTROL)), None);
        assert_eq!(action(event('f', KeyModifiers::ALT)), None);
    }
}
