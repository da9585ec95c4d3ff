//! One table of keys: it decides what a key does, it is what help and footer print, and what the operator's file changes.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use crate::state::{intent::Intent, view::View};

/// One key with what is held down beside it. Shift is part of a character already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Chord(KeyCode, KeyModifiers);

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

/// The headings of the help, each with the lines of the table under it.
pub const CHAPTERS: [(&str, &[&str]); 5] = [
    (
        "Find your way",
        &[
            "overview",
            "balancer",
            "cache",
            "queue",
            "latency",
            "traffic",
            "logs",
            "requests",
            "system",
            "next-panel",
            "previous-panel",
            "up",
            "down",
            "left",
            "right",
            "page-up",
            "page-down",
            "first",
            "last",
            "open",
            "close",
            "back",
            "quit",
            "help",
            "palette",
        ],
    ),
    (
        "Look",
        &[
            "filter",
            "next-match",
            "previous-match",
            "freeze",
            "earlier",
            "later",
            "expand",
            "wider",
            "narrower",
            "mark",
            "sort",
            "reverse",
            "level",
            "next-error",
            "previous-error",
            "next-of-request",
            "previous-of-request",
            "wrap",
            "marks",
        ],
    ),
    (
        "Traffic",
        &[
            "recharge",
            "call",
            "burst",
            "toggle-traffic",
            "traffic-menu",
            "slower",
            "faster",
            "stop-traffic",
        ],
    ),
    (
        "Act",
        &[
            "menu",
            "weight-up",
            "weight-down",
            "undo",
            "stop-everything",
            "journal",
        ],
    ),
    (
        "The console",
        &[
            "copy",
            "export",
            "mouse",
            "presenter",
            "theme",
            "reset",
            "repaint",
            "suspend",
        ],
    ),
];

/// Name, meaning, keys, footer's word, where the footer offers it, help's words.
type Default = (
    &'static str,
    Intent,
    &'static str,
    &'static str,
    Where,
    &'static str,
);

const OVERVIEW: &[View] = &[View::Overview];
const TABLES: &[View] = &[
    View::Cache,
    View::Queue,
    View::Logs,
    View::Requests,
    View::System,
];

const DEFAULTS: &[Default] = &[
    (
        "overview",
        Intent::Go(View::Overview),
        "1",
        "",
        Where::Nowhere,
        "overview: the path of a request, all tiers",
    ),
    (
        "balancer",
        Intent::Go(View::Balancer),
        "2",
        "",
        Where::Nowhere,
        "balancer: shares, states, weights, explanations",
    ),
    (
        "cache",
        Intent::Go(View::Cache),
        "3",
        "",
        Where::Nowhere,
        "cache: ratio, misses by cause, keys",
    ),
    (
        "queue",
        Intent::Go(View::Queue),
        "4",
        "",
        Where::Nowhere,
        "queues: depth, age, dead letters",
    ),
    (
        "latency",
        Intent::Go(View::Latency),
        "5",
        "",
        Where::Nowhere,
        "latency: percentiles, heat map, routes",
    ),
    (
        "traffic",
        Intent::Go(View::Traffic),
        "6",
        "",
        Where::Nowhere,
        "traffic of one's own: profiles, rate, mix",
    ),
    (
        "logs",
        Intent::Go(View::Logs),
        "7",
        "",
        Where::Nowhere,
        "logs of all instances, merged",
    ),
    (
        "requests",
        Intent::Go(View::Requests),
        "8",
        "",
        Where::Nowhere,
        "requests: the last ones as waterfalls",
    ),
    (
        "system",
        Intent::Go(View::System),
        "9",
        "",
        Where::Nowhere,
        "system: processes, machine, stores",
    ),
    (
        "recharge",
        Intent::Recharge,
        "r",
        "recharge",
        Where::On(OVERVIEW),
        "recharge one card, and say what came of it",
    ),
    (
        "call",
        Intent::Call,
        "c",
        "call",
        Where::On(&[View::Requests]),
        "fire any call of the contract, and see its answer",
    ),
    (
        "burst",
        Intent::Burst,
        "b",
        "burst",
        Where::On(&[View::Overview, View::Traffic]),
        "100 requests of the mix at once",
    ),
    (
        "traffic-menu",
        Intent::TrafficMenu,
        "t",
        "traffic",
        Where::Everywhere,
        "traffic: start a profile, or stop it",
    ),
    (
        "toggle-traffic",
        Intent::ToggleTraffic,
        "",
        "",
        Where::Nowhere,
        "steady mixed traffic on or off",
    ),
    (
        "slower",
        Intent::Slower,
        "< ,",
        "rate",
        Where::On(&[View::Overview, View::Traffic]),
        "traffic: one step slower",
    ),
    (
        "faster",
        Intent::Faster,
        "> .",
        "",
        Where::Nowhere,
        "traffic: one step faster",
    ),
    (
        "stop-traffic",
        Intent::StopTraffic,
        "x",
        "stop",
        Where::On(&[View::Overview, View::Traffic]),
        "stop the traffic",
    ),
    (
        "menu",
        Intent::Menu,
        "a",
        "act",
        Where::Everywhere,
        "what can be done to what is chosen: drain, kill, flush, faults …",
    ),
    (
        "weight-down",
        Intent::WeightDown,
        "[",
        "weight",
        Where::On(&[View::Balancer, View::Traffic]),
        "the chosen gateway's or call's weight: down",
    ),
    (
        "weight-up",
        Intent::WeightUp,
        "]",
        "",
        Where::Nowhere,
        "the chosen gateway's or call's weight: up",
    ),
    (
        "undo",
        Intent::Undo,
        "u",
        "",
        Where::Nowhere,
        "undo the last action that can be undone",
    ),
    (
        "stop-everything",
        Intent::StopEverything,
        "X",
        "",
        Where::Nowhere,
        "stop all traffic and clear all faults, at once",
    ),
    (
        "journal",
        Intent::Journal,
        "J",
        "",
        Where::Nowhere,
        "what was done, each with the command line that does the same",
    ),
    (
        "freeze",
        Intent::Freeze,
        "f",
        "freeze",
        Where::On(&[
            View::Overview,
            View::Balancer,
            View::Latency,
            View::Requests,
        ]),
        "hold the screen still; data is collected on",
    ),
    (
        "earlier",
        Intent::Earlier,
        "Shift-Left H",
        "",
        Where::Nowhere,
        "look back in time",
    ),
    (
        "later",
        Intent::Later,
        "Shift-Right L",
        "",
        Where::Nowhere,
        "look forth in time, up to now",
    ),
    (
        "expand",
        Intent::Expand,
        "z",
        "expand",
        Where::On(&[View::Balancer, View::Cache, View::Latency, View::System]),
        "one panel alone; Esc returns",
    ),
    (
        "wider",
        Intent::Wider,
        "-",
        "",
        Where::Nowhere,
        "all charts: more time",
    ),
    (
        "narrower",
        Intent::Narrower,
        "+ =",
        "",
        Where::Nowhere,
        "all charts: less time",
    ),
    (
        "filter",
        Intent::Filter,
        "/",
        "filter",
        Where::On(TABLES),
        "show only what matches; ! before it turns it round",
    ),
    (
        "next-match",
        Intent::NextMatch,
        "n",
        "",
        Where::Nowhere,
        "next line that matches",
    ),
    (
        "previous-match",
        Intent::PreviousMatch,
        "N",
        "",
        Where::Nowhere,
        "line before that matches",
    ),
    (
        "mark",
        Intent::Mark,
        "Space",
        "",
        Where::Nowhere,
        "mark a row; actions are about the marked rows on show",
    ),
    (
        "sort",
        Intent::Sort,
        "s",
        "",
        Where::Nowhere,
        "order rows by the next column",
    ),
    (
        "reverse",
        Intent::Reverse,
        "S",
        "",
        Where::Nowhere,
        "the other way round",
    ),
    (
        "level",
        Intent::Level,
        "v",
        "level",
        Where::On(&[View::Overview, View::Logs]),
        "log: next level (INFO, WARN, ERROR, everything)",
    ),
    (
        "next-error",
        Intent::NextError,
        "e",
        "error",
        Where::On(&[View::Logs]),
        "log: next error",
    ),
    (
        "previous-error",
        Intent::PreviousError,
        "E",
        "",
        Where::Nowhere,
        "log: error before",
    ),
    (
        "next-of-request",
        Intent::NextOfRequest,
        "o",
        "request",
        Where::On(&[View::Logs]),
        "log: next line of the same request",
    ),
    (
        "previous-of-request",
        Intent::PreviousOfRequest,
        "O",
        "",
        Where::Nowhere,
        "log: line before of the same request",
    ),
    (
        "wrap",
        Intent::Wrap,
        "w",
        "wrap",
        Where::On(&[View::Logs]),
        "log: wrap long lines, or cut them",
    ),
    (
        "marks",
        Intent::Marks,
        "M",
        "",
        Where::Nowhere,
        "what the marks on the charts are",
    ),
    ("up", Intent::Up, "Up k", "", Where::Nowhere, "up"),
    ("down", Intent::Down, "Down j", "", Where::Nowhere, "down"),
    (
        "left",
        Intent::Left,
        "Left h",
        "",
        Where::Nowhere,
        "left; on charts: back in time",
    ),
    (
        "right",
        Intent::Right,
        "Right l",
        "",
        Where::Nowhere,
        "right; on charts: forth in time",
    ),
    (
        "page-up",
        Intent::PageUp,
        "PgUp Ctrl-u",
        "",
        Where::Nowhere,
        "a page up",
    ),
    (
        "page-down",
        Intent::PageDown,
        "PgDn Ctrl-d",
        "",
        Where::Nowhere,
        "a page down",
    ),
    (
        "first",
        Intent::First,
        "Home g-g",
        "",
        Where::Nowhere,
        "first row",
    ),
    (
        "last",
        Intent::Last,
        "End G",
        "",
        Where::Nowhere,
        "last row; log: follow again",
    ),
    (
        "next-panel",
        Intent::NextPanel,
        "Tab",
        "panel",
        Where::Nowhere,
        "next panel",
    ),
    (
        "previous-panel",
        Intent::PreviousPanel,
        "Shift-Tab",
        "",
        Where::Nowhere,
        "panel before",
    ),
    (
        "open",
        Intent::Open,
        "Enter",
        "open",
        Where::On(&[View::Overview, View::Logs, View::Requests]),
        "look into what is chosen",
    ),
    (
        "close",
        Intent::Close,
        "Esc",
        "",
        Where::Nowhere,
        "close what is on top, out again; never quits",
    ),
    (
        "palette",
        Intent::Palette,
        ":",
        "command",
        Where::Everywhere,
        "every action by name, completed with Tab",
    ),
    (
        "copy",
        Intent::Copy,
        "y",
        "",
        Where::Nowhere,
        "copy what is chosen to the terminal's clipboard",
    ),
    (
        "export",
        Intent::Export,
        "W",
        "",
        Where::Nowhere,
        "write the last minutes to a file: HTML, CSV, JSON",
    ),
    (
        "mouse",
        Intent::Mouse,
        "F2",
        "",
        Where::Nowhere,
        "mouse on or off",
    ),
    (
        "presenter",
        Intent::Presenter,
        "p",
        "",
        Where::Nowhere,
        "presenter: large numbers, keys shown",
    ),
    (
        "theme",
        Intent::NextTheme,
        "T",
        "",
        Where::Nowhere,
        "next theme",
    ),
    (
        "reset",
        Intent::Reset,
        "Ctrl-r",
        "",
        Where::Nowhere,
        "begin the statistics anew",
    ),
    (
        "repaint",
        Intent::Repaint,
        "Ctrl-l",
        "",
        Where::Nowhere,
        "paint the screen again",
    ),
    (
        "suspend",
        Intent::Suspend,
        "Ctrl-z",
        "",
        Where::Nowhere,
        "suspend; fg comes back",
    ),
    (
        "help",
        Intent::Help,
        "? F1",
        "help",
        Where::Everywhere,
        "this help; type to search it",
    ),
    (
        "back",
        Intent::Back,
        "q",
        "quit",
        Where::Everywhere,
        "back; from the overview: quit",
    ),
    (
        "quit",
        Intent::Quit,
        "Ctrl-c",
        "",
        Where::Nowhere,
        "quit always, and stop one's own traffic",
    ),
];

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
fn parse(text: &str) -> Result<Vec<Chord>, String> {
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
    use std::collections::HashSet;

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
        for nonsense in [
            "", "Ctrl", "Ctrl-", "abc", "F99", "Shift-a", "Hyper-x", "--",
        ] {
            assert!(parse(nonsense).is_err(), "{nonsense:?}");
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
