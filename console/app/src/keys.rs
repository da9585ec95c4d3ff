//! One table of keys: it decides what a key does, it is what help and footer print, and what the operator's file changes.

mod chord;
mod table;

use self::{chord::parse, table::DEFAULTS};
pub use self::{
    chord::{Chord, print},
    table::CHAPTERS,
};
use crate::state::{intent::Intent, view::View};

/// Where a line of the table is offered in the footer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Where {
    Nowhere,
    Everywhere,
    On(&'static [View]),
}

/// One line of the table.
#[derive(Clone, Debug)]
pub struct Binding {
    /// What the operator's file calls it.
    pub name: &'static str,
    pub intent: Intent,
    /// Each of these sequences does it; the first is printed first.
    pub keys: Vec<Vec<Chord>>,
    /// For the footer.
    pub short: &'static str,
    footer: Where,
    /// For the help.
    pub long: &'static str,
}

/// The keys as they are in force.
#[derive(Clone, Debug)]
pub struct Keymap {
    bindings: Vec<Binding>,
}

/// What a sequence of keys comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    Intent(Intent),
    /// The beginning of something.
    Prefix,
    Nothing,
}

impl std::default::Default for Keymap {
    fn default() -> Self {
        let bindings = DEFAULTS
            .iter()
            .map(|&(name, intent, keys, short, footer, long)| Binding {
                name,
                intent,
                keys: keys
                    .split(' ')
                    .filter(|keys| !keys.is_empty())
                    .filter_map(|keys| parse(keys).ok())
                    .collect(),
                short,
                footer,
                long,
            })
            .collect();
        Self { bindings }
    }
}

impl Keymap {
    /// Binds a name to other keys; what had them before loses them. Says what is wrong.
    pub fn rebind(&mut self, name: &str, keys: &[String]) -> Result<(), String> {
        let parsed = keys
            .iter()
            .map(|keys| parse(keys))
            .collect::<Result<Vec<_>, _>>()?;
        if !self.bindings.iter().any(|binding| binding.name == name) {
            return Err(format!(
                "{name:?} is no action of the console; the help shows them all"
            ));
        }
        for binding in &mut self.bindings {
            if binding.name == name {
                binding.keys.clone_from(&parsed);
            } else {
                binding.keys.retain(|had| !parsed.contains(had));
            }
        }
        // Whoever cannot leave or find out how is lost.
        for (needed, what) in [
            (Intent::Quit, "quit"),
            (Intent::Help, "help"),
            (Intent::Close, "close"),
        ] {
            if self.keys_of(needed).is_empty() {
                return Err(format!("after this no key is left for {what}"));
            }
        }
        Ok(())
    }

    pub fn find(&self, sequence: &[Chord]) -> Found {
        let mut prefix = false;
        for binding in &self.bindings {
            for keys in &binding.keys {
                if keys == sequence {
                    return Found::Intent(binding.intent);
                }
                prefix |= keys.starts_with(sequence);
            }
        }
        if prefix {
            Found::Prefix
        } else {
            Found::Nothing
        }
    }

    /// All keys of an intent, as printed.
    pub fn keys_of(&self, intent: Intent) -> String {
        self.bindings
            .iter()
            .find(|binding| binding.intent == intent)
            .map_or_else(String::new, Binding::printed)
    }

    /// The first key of an intent, as printed.
    pub fn key_of(&self, intent: Intent) -> String {
        self.bindings
            .iter()
            .find(|binding| binding.intent == intent)
            .and_then(|binding| binding.keys.first())
            .map_or_else(String::new, |keys| print(keys))
    }

    pub fn named(&self, name: &str) -> Option<&Binding> {
        self.bindings.iter().find(|binding| binding.name == name)
    }

    pub fn bindings(&self) -> &[Binding] {
        &self.bindings
    }

    /// What the footer offers on a view, in order.
    pub fn footer(&self, view: View) -> impl Iterator<Item = &Binding> {
        self.bindings
            .iter()
            .filter(move |binding| match binding.footer {
                Where::Nowhere => false,
                Where::Everywhere => true,
                Where::On(views) => views.contains(&view),
            })
    }
}

impl Binding {
    /// All its keys, as printed.
    pub fn printed(&self) -> String {
        let keys: Vec<_> = self.keys.iter().map(|keys| print(keys)).collect();
        keys.join(" ")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

    use super::*;

    fn chord(code: KeyCode, modifiers: KeyModifiers) -> Chord {
        Chord::new(KeyEvent::new(code, modifiers))
    }

    #[test]
    fn no_key_means_two_things_and_none_begins_another() {
        let mut seen = HashSet::new();
        let keymap = Keymap::default();
        for binding in &keymap.bindings {
            for keys in &binding.keys {
                assert!(seen.insert(keys.clone()), "{} is bound twice", print(keys));
            }
        }
        for keys in &seen {
            for other in &seen {
                assert!(
                    keys == other || !other.starts_with(keys),
                    "{} hides {}",
                    print(keys),
                    print(other)
                );
            }
        }
    }

    #[test]
    fn the_help_has_a_chapter_for_every_line() {
        let told: Vec<&str> = CHAPTERS
            .iter()
            .flat_map(|(_, names)| names.iter().copied())
            .collect();
        let unique: HashSet<_> = told.iter().collect();
        assert_eq!(unique.len(), told.len());
        for binding in Keymap::default().bindings() {
            assert!(
                unique.contains(&binding.name),
                "{} is in no chapter",
                binding.name
            );
        }
        assert_eq!(unique.len(), DEFAULTS.len());
    }

    #[test]
    fn what_is_printed_can_be_written() {
        for binding in Keymap::default().bindings() {
            for keys in &binding.keys {
                assert_eq!(parse(&print(keys)).as_ref(), Ok(keys));
            }
        }
    }

    #[test]
    fn shift_is_in_the_character_and_other_modifiers_are_not_ignored() {
        let keymap = Keymap::default();
        let find = |code, modifiers| keymap.find(&[chord(code, modifiers)]);
        assert_eq!(
            find(KeyCode::Char('G'), KeyModifiers::SHIFT),
            Found::Intent(Intent::Last)
        );
        assert_eq!(
            find(KeyCode::Char('x'), KeyModifiers::CONTROL),
            Found::Nothing
        );
        assert_eq!(find(KeyCode::Char('f'), KeyModifiers::ALT), Found::Nothing);
        assert_eq!(
            find(KeyCode::BackTab, KeyModifiers::SHIFT),
            Found::Intent(Intent::PreviousPanel)
        );
        let g = chord(KeyCode::Char('g'), KeyModifiers::NONE);
        assert_eq!(keymap.find(&[g]), Found::Prefix);
        assert_eq!(keymap.find(&[g, g]), Found::Intent(Intent::First));
    }

    #[test]
    fn keys_can_be_changed_but_not_so_that_nobody_gets_out() {
        let mut keymap = Keymap::default();
        let keys = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        keymap.rebind("burst", &keys("B x")).unwrap();
        assert_eq!(keymap.keys_of(Intent::Burst), "B x");
        assert_eq!(keymap.keys_of(Intent::StopTraffic), "", "x is taken");
        assert!(
            keymap
                .rebind("fly", &keys("y"))
                .unwrap_err()
                .contains("fly")
        );
        assert!(
            keymap
                .rebind("burst", &keys("Ctrl-c"))
                .unwrap_err()
                .contains("quit")
        );
    }

    #[test]
    fn pitfall_01_no_key_near_the_common_ones_destroys_anything() {
        // Everything that is destructive is behind the menu or the palette, and asks.
        for binding in Keymap::default().bindings() {
            let safe = !matches!(
                binding.name,
                "kill" | "flush" | "drain" | "purge" | "restart"
            );
            assert!(safe, "{} is bound to {}", binding.name, binding.printed());
        }
        let keymap = Keymap::default();
        for code in [KeyCode::Backspace, KeyCode::Delete] {
            assert_eq!(
                keymap.find(&[chord(code, KeyModifiers::NONE)]),
                Found::Nothing
            );
        }
    }
}
