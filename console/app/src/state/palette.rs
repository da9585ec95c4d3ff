//! The palette: every action and every command of the console by name, completed as it is typed.

use actions::{Action, Names};
use crossterm::event::KeyCode;

use super::{
    Command, State, contract,
    overlay::{Overlay, Palette},
    traffic::Notice,
    view::{Panel, View},
};
use crate::keys::Chord;

/// Lines remembered.
const MOST_TYPED: usize = 100;

/// Commands of the console itself, beside all names of the key table: what is typed, and what it does.
pub const COMMANDS: [(&str, &str); 8] = [
    ("lab", "lab NAME: begin a lab; labs lists them"),
    ("window", "window 5m: all charts over this time"),
    ("theme", "theme light: dark, light, safe, sixteen, mono"),
    (
        "export",
        "export FILE.html: the last minutes as HTML, CSV or JSON",
    ),
    (
        "slo",
        "slo 100ms: what 99 of 100 requests must stay below; slo off",
    ),
    ("find", "find TEXT: rows that match, in this panel"),
    ("request", "request ID: follow one request over all tiers"),
    (
        "go",
        "go LINE: the moment of a clock time, such as go 14:05:30",
    ),
];

/// One proposal of the palette.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// The line as it would be.
    pub line: String,
    pub meaning: String,
}

impl State {
    /// What may be named in a line now.
    pub fn names(&self) -> Names {
        let mut roles: Vec<String> = self
            .instances
            .iter()
            .map(|instance| instance.place.role.name().to_owned())
            .collect();
        roles.dedup();
        Names {
            instances: self.instances.iter().map(|i| i.name().to_owned()).collect(),
            roles,
            pools: vec!["travel".to_owned(), "exercise".to_owned()],
            queues: self.queues().into_iter().map(|queue| queue.name).collect(),
            keys: self.rows(Panel::Keys),
            paths: contract::paths(),
        }
    }

    /// What the line may become, the likeliest first.
    pub fn proposals(&self, line: &str) -> Vec<Proposal> {
        // Whole calls come before the words that they begin with.
        let mut found: Vec<Proposal> = contract::proposals(line).collect();
        let names = self.names();
        let begin = line.rfind([' ', ';']).map_or(0, |space| space + 1);
        for word in actions::complete(line, &names) {
            let meaning = if begin == 0 {
                actions::entry(&word).map_or("", |entry| entry.meaning)
            } else {
                ""
            };
            let proposal = format!("{}{word}", &line[..begin]);
            if !found.iter().any(|found| found.line == proposal) {
                found.push(Proposal {
                    line: proposal,
                    meaning: meaning.to_owned(),
                });
            }
        }
        if !line.contains(' ') {
            let own = COMMANDS
                .iter()
                .map(|(name, meaning)| (*name, (*meaning).to_owned()));
            let keys = self.keymap.bindings().iter().map(|binding| {
                let keys = binding.printed();
                let meaning = if keys.is_empty() {
                    binding.long.to_owned()
                } else {
                    format!("{} ({keys})", binding.long)
                };
                (binding.name, meaning)
            });
            let known: Vec<String> = found.iter().map(|found| found.line.clone()).collect();
            found.extend(
                own.chain(keys)
                    .filter(|(name, _)| {
                        name.starts_with(line) && !known.iter().any(|known| known == name)
                    })
                    .map(|(name, meaning)| Proposal {
                        line: name.to_owned(),
                        meaning,
                    }),
            );
        }
        found
    }

    pub(super) fn palette_key(&mut self, palette: &mut Palette, chord: Chord) {
        let proposals = self.proposals(palette.line.text());
        match chord.code() {
            KeyCode::Esc => return,
            KeyCode::Backspace if palette.line.text().is_empty() => return,
            KeyCode::Enter => {
                let line = palette.line.text().trim().to_owned();
                // A word that has only begun is taken as the proposal that is chosen.
                let line = match proposals.get(palette.chosen) {
                    Some(chosen) if palette.chosen > 0 || !self.is_command(&line) => {
                        chosen.line.trim().to_owned()
                    }
                    _ => line,
                };
                match self.run(&line) {
                    Ok(()) => {
                        if self.typed.last() != Some(&line) {
                            self.typed.push(line);
                        }
                        if self.typed.len() > MOST_TYPED {
                            self.typed.remove(0);
                        }
                        return;
                    }
                    Err(problem) => {
                        palette.line.set(&line);
                        palette.problem = Some(problem);
                    }
                }
            }
            KeyCode::Tab => {
                if let Some(chosen) = proposals.get(palette.chosen) {
                    let more = if chosen.line.ends_with('=') { "" } else { " " };
                    palette.line.set(&format!("{}{more}", chosen.line));
                    palette.chosen = 0;
                    palette.problem = None;
                }
            }
            KeyCode::Down => {
                let last = proposals.len().saturating_sub(1);
                palette.chosen = (palette.chosen + 1).min(last);
            }
            KeyCode::Up if palette.chosen > 0 => palette.chosen -= 1,
            KeyCode::Up => {
                if palette.back < self.typed.len() {
                    palette.back += 1;
                    let line = self.typed[self.typed.len() - palette.back].clone();
                    palette.line.set(&line);
                }
            }
            _ => {
                palette.line.key(chord);
                palette.chosen = 0;
                palette.back = 0;
                palette.problem = None;
            }
        }
        self.overlay = Some(Overlay::Palette(std::mem::take(palette)));
    }

    /// Whether a line is complete as it stands.
    fn is_command(&self, line: &str) -> bool {
        let word = line.split(' ').next().unwrap_or_default();
        self.keymap.named(line).is_some()
            || COMMANDS.iter().any(|(name, _)| *name == word) && line.contains(' ')
            || Action::parse(line).is_ok()
            || line.contains(' ')
    }

    /// Does what a line says.
    pub fn run(&mut self, line: &str) -> Result<(), String> {
        let line = line.trim().trim_start_matches(':');
        let line = line.strip_prefix("recarga do ").unwrap_or(line);
        if line.is_empty() {
            return Err("type a command; Tab completes it".to_owned());
        }
        let action = match Action::parse(line) {
            Ok(action) => {
                self.ask(action);
                return Ok(());
            }
            Err(error) => error,
        };
        if let Some(binding) = self.keymap.named(line) {
            let intent = binding.intent;
            self.intend(intent);
            return Ok(());
        }
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let rest = rest.trim();
        match word {
            "window" => {
                if self.sight.choose(rest) {
                    Ok(())
                } else {
                    Err("window takes one of 30s, 1m, 2m, 5m, 10m, 15m".to_owned())
                }
            }
            "theme" => {
                self.commands.push(Command::Theme(rest.to_owned()));
                Ok(())
            }
            "slo" => {
                let slo = super::latency::Slo::parse(rest)?;
                self.set_slo(slo);
                Ok(())
            }
            "export" if rest.is_empty() => {
                Err("export needs a file: export recarga.html".to_owned())
            }
            "export" => {
                self.commands.push(Command::Export(rest.into()));
                Ok(())
            }
            "lab" if !rest.is_empty() => {
                let lab = labs::find(rest).map_err(|missing| missing.to_string())?;
                self.start_lab(lab.name);
                Ok(())
            }
            "find" => {
                let panel = self.panel();
                self.set_filter(panel, rest);
                Ok(())
            }
            "request" if !rest.is_empty() => {
                self.go(View::Logs);
                self.logs.follow_id(rest);
                Ok(())
            }
            "go" => {
                let now = self.clock(self.now);
                match super::lens::moment_of(rest, now, self.now) {
                    Some(at) => {
                        self.sight.hold(at, self.now);
                        Ok(())
                    }
                    None => {
                        Err("go takes a clock time of the last minutes: go 14:05:30".to_owned())
                    }
                }
            }
            _ if actions::entry(word).is_some() => Err(action.to_string()),
            _ => Err(format!("{word:?} is no command; Tab shows those there are")),
        }
    }

    /// For those who look: what undo would do.
    pub fn undo_hint(&self) -> Option<Notice> {
        let undo = self.journal.undo()?;
        Some(Notice::info(format!("undo: {undo}")))
    }
}
