//! The lab that is being run, as its audience sees it: a part of the screen that stays while the views behind it are looked at.

use crossterm::event::KeyCode;
use labs::{
    Engine,
    engine::{Phase, Wants},
    record::{Outcome, Reading, Run, StepOutcome, Table},
};

use super::{
    Command, State,
    logs::printable,
    overlay::{Choice, Item, Menu, Overlay},
    traffic::Notice,
};
use crate::keys::Chord;

/// Keys for the rows of the menu; those that move in it are left out.
const LETTERS: &str = "123456789abcdefghilmnoprstuvwxyz";

/// What the operator wants of the lab.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LabCommand {
    Start(String),
    Press(labs::Command),
}

/// A moment of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Scene {
    pub title: String,
    pub goal: String,
    pub phase: Phase,
    pub wants: Wants,
    /// The outcome of every step.
    pub steps: Vec<StepOutcome>,
    /// The step that is shown, from 0.
    pub at: Option<usize>,
    pub kind: String,
    pub headline: String,
    pub text: String,
    pub choices: Vec<String>,
    /// Counted from 1.
    pub chosen: Option<usize>,
    /// Counted from 1; told when the question is behind us.
    pub right: Option<usize>,
    pub said: Option<String>,
    pub failed: bool,
    pub expression: Option<String>,
    pub readings: Vec<Reading>,
    /// What was read first, over time.
    pub history: Vec<f64>,
    pub left_seconds: Option<f64>,
    /// Calls that came back, and of how many.
    pub progress: Option<(usize, Option<u32>)>,
    pub table: Option<Table>,
    /// How it ended, when it has.
    pub ending: Option<Ending>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Ending {
    pub outcome: Outcome,
    pub reason: Option<String>,
    /// Predictions that came true, and of how many.
    pub predicted: (usize, usize),
    /// Where its record is, or why there is none.
    pub record: String,
}

impl Scene {
    /// What there is to see now.
    pub fn of(engine: &Engine) -> Self {
        let (lab, view) = (engine.lab(), engine.view());
        let record = view.record;
        let prediction = record.and_then(|record| record.prediction.as_ref());
        let behind = view.phase != Phase::Asking;
        let short = |text: &str| printable(text);
        Self {
            title: short(&lab.title),
            goal: short(&lab.goal),
            phase: view.phase,
            wants: view.wants,
            steps: view.outcomes,
            at: view.at,
            kind: record.map_or_else(String::new, |record| record.kind.clone()),
            headline: record.map_or_else(String::new, |record| short(&record.title)),
            text: record.map_or_else(String::new, |record| paragraphs(&record.text)),
            choices: prediction.map_or_else(Vec::new, |prediction| {
                prediction
                    .choices
                    .iter()
                    .map(|choice| short(choice))
                    .collect()
            }),
            chosen: prediction.and_then(|prediction| prediction.chosen),
            right: prediction
                .filter(|_| behind)
                .map(|prediction| prediction.right),
            said: record.and_then(|record| record.said.as_deref()).map(short),
            failed: record.is_some_and(|record| record.outcome == StepOutcome::Failed),
            expression: view.live.as_ref().map(|live| short(live.expression)),
            readings: view
                .live
                .as_ref()
                .map_or_else(Vec::new, |live| live.readings.to_vec()),
            history: view.live.as_ref().map_or_else(Vec::new, |live| {
                live.history.iter().map(|(_, value)| *value).collect()
            }),
            left_seconds: view
                .live
                .as_ref()
                .filter(|_| view.phase == Phase::Working)
                .map(|live| live.left_ms / 1e3),
            progress: view.progress,
            table: record.and_then(|record| record.table.clone()),
            ending: None,
        }
    }

    /// The last one.
    pub fn end(mut self, run: &Run, record: &str) -> Self {
        let asked = run.steps.iter().filter_map(|step| step.prediction.as_ref());
        let said: Vec<_> = asked.filter(|asked| asked.chosen.is_some()).collect();
        let right = said
            .iter()
            .filter(|said| said.chosen == Some(said.right))
            .count();
        self.phase = Phase::Over;
        self.wants = Wants::Nothing;
        self.at = None;
        self.ending = Some(Ending {
            outcome: run.outcome,
            reason: run.reason.as_deref().map(printable),
            predicted: (right, said.len()),
            record: printable(record),
        });
        self
    }

    pub fn is_over(&self) -> bool {
        self.ending.is_some()
    }
}

/// Lines of a file are one paragraph until one is empty.
fn paragraphs(text: &str) -> String {
    let paragraphs: Vec<String> = text
        .split("\n\n")
        .map(|paragraph| printable(paragraph.trim()))
        .filter(|paragraph| !paragraph.is_empty())
        .collect();
    paragraphs.join("\n")
}

/// How much of the screen the lab has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Room {
    /// Its part, below the view.
    #[default]
    Docked,
    /// All of it.
    Whole,
    /// One line.
    Folded,
}

/// The lab on the screen.
#[derive(Clone, Debug, Default)]
pub struct Stage {
    pub scene: Option<Box<Scene>>,
    pub room: Room,
    /// Whether its keys are listened to before those of the view.
    pub focused: bool,
    pub scroll: usize,
    /// How the steps behind us looked when they were left.
    past: Vec<Scene>,
    /// Which of them is looked at again.
    looked_at: Option<usize>,
}

impl Stage {
    /// What is seen: the present, or the step behind us that is looked at again.
    pub fn shown(&self) -> Option<&Scene> {
        let past = self.looked_at.and_then(|index| self.past.get(index));
        past.or(self.scene.as_deref())
    }

    pub fn looks_back(&self) -> bool {
        self.looked_at.is_some()
    }

    fn back(&mut self) {
        let before = self.looked_at.unwrap_or(self.past.len()).saturating_sub(1);
        self.looked_at = (!self.past.is_empty()).then_some(before);
        self.scroll = 0;
    }

    fn forth(&mut self) {
        let after = self.looked_at.map(|index| index + 1);
        self.looked_at = after.filter(|index| *index < self.past.len());
        self.scroll = 0;
    }

    fn set(&mut self, scene: Box<Scene>) {
        let at = scene.at;
        if let Some(before) = self.scene.replace(scene)
            && before.at.is_some()
            && before.at != at
        {
            self.past.push(*before);
        }
    }
}

impl State {
    /// The labs to choose from, or another size for the one that runs.
    pub(super) fn labs(&mut self) {
        if self.stage.scene.is_none() {
            self.open_labs();
            return;
        }
        if !self.stage.focused {
            self.stage.focused = true;
            if self.stage.room == Room::Folded {
                self.stage.room = Room::Docked;
            }
            return;
        }
        self.stage.room = match self.stage.room {
            Room::Docked => Room::Whole,
            Room::Whole => Room::Folded,
            Room::Folded => Room::Docked,
        };
        self.stage.focused = self.stage.room != Room::Folded;
    }

    fn open_labs(&mut self) {
        let labs = match labs::shipped() {
            Ok(labs) => labs,
            Err(mistakes) => {
                self.notify(Notice::bad(mistakes.to_string()));
                return;
            }
        };
        let items = LETTERS.chars().zip(labs).map(|(key, lab)| Item {
            key,
            text: format!("{}  ({} min)", lab.title, lab.minutes),
            choice: Choice::Lab(lab.name),
        });
        self.overlay = Some(Overlay::Menu(Menu {
            title: "Labs".to_owned(),
            items: items.collect(),
            chosen: 0,
        }));
    }

    /// Begins a lab; one at a time.
    pub(super) fn start_lab(&mut self, name: String) {
        if self.read_only {
            self.notify(Notice::bad(
                "this console is read-only: labs act, and cannot be run from it",
            ));
            return;
        }
        if self
            .stage
            .scene
            .as_ref()
            .is_some_and(|scene| !scene.is_over())
        {
            self.notify(Notice::bad(
                "a lab is being run; 0 in it takes everything back and ends it",
            ));
            return;
        }
        if self.traffic.is_on() {
            self.ask(actions::Action::StopTraffic);
        }
        self.stage = Stage {
            focused: true,
            ..Stage::default()
        };
        self.notify(Notice::busy(format!(
            "lab {name}: putting the baseline in place …"
        )));
        self.commands.push(Command::Lab(LabCommand::Start(name)));
    }

    /// A new moment of the run, or why there is none.
    pub(super) fn staged(&mut self, scene: Result<Box<Scene>, String>) {
        match scene {
            // Nothing began; what runs goes on.
            Err(why) => self.notify(Notice::bad(why)),
            Ok(scene) => {
                let before = self.stage.scene.as_ref();
                if before.map(|before| (before.at, before.phase)) != Some((scene.at, scene.phase)) {
                    if !self.stage.looks_back() {
                        self.stage.scroll = 0;
                    }
                    self.notice = None;
                }
                if scene.is_over() && self.stage.room == Room::Folded {
                    self.stage.room = Room::Docked;
                    self.stage.focused = true;
                }
                self.stage.set(scene);
            }
        }
    }

    /// Whether the key was for the lab. A clicker's "next" is, unless the lab is folded away.
    pub(super) fn lab_key(&mut self, chord: Chord) -> bool {
        let Some(scene) = &self.stage.scene else {
            return false;
        };
        let over = scene.is_over();
        let choices = if scene.wants == Wants::Choice {
            scene.choices.len()
        } else {
            0
        };
        let focused = self.stage.focused;
        let past = self.stage.looks_back();
        let seen = self.stage.room != Room::Folded;
        let press = |command| Command::Lab(LabCommand::Press(command));
        match chord.code() {
            KeyCode::PageUp if focused => self.stage.back(),
            KeyCode::PageDown if seen && past => self.stage.forth(),
            KeyCode::Enter | KeyCode::Char(' ') if focused && past => self.stage.forth(),
            KeyCode::Esc if focused && past => self.stage.looked_at = None,
            KeyCode::PageDown if seen && over => self.stage = Stage::default(),
            KeyCode::PageDown if seen => self.commands.push(press(labs::Command::Next)),
            KeyCode::Enter | KeyCode::Char(' ') | KeyCode::Esc if focused && over => {
                self.stage = Stage::default();
            }
            KeyCode::Enter | KeyCode::Char(' ') if focused => {
                self.commands.push(press(labs::Command::Next));
            }
            KeyCode::Esc if focused => self.stage.focused = false,
            KeyCode::Down if focused && self.stage.room == Room::Whole => self.stage.scroll += 1,
            KeyCode::Up if focused && self.stage.room == Room::Whole => {
                self.stage.scroll = self.stage.scroll.saturating_sub(1);
            }
            KeyCode::Char(digit) if focused && !past && chord.plain().is_some() => {
                match digit.to_digit(10).map(|digit| digit as usize) {
                    Some(0) if !over => self.commands.push(press(labs::Command::Baseline)),
                    Some(choice) if (1..=choices).contains(&choice) => {
                        self.commands.push(press(labs::Command::Choose(choice)));
                    }
                    _ => return false,
                }
            }
            _ => return false,
        }
        true
    }
}
