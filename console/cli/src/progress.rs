//! Prints what happens while a lab comes up and runs: with marks and a moving bar on a terminal, else a plain line each.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use host::{Events, UpEvent};
use indicatif::{ProgressBar, ProgressStyle};

use crate::terminal::say;

/// Prints events until told to be silent, as when the console takes the screen.
#[derive(Clone)]
pub struct Printer {
    shared: Arc<Shared>,
}

struct Shared {
    fancy: bool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    silent: bool,
    bar: Option<ProgressBar>,
    stage: String,
}

impl Printer {
    pub fn new(fancy: bool) -> Self {
        Self {
            shared: Arc::new(Shared {
                fancy,
                state: Mutex::default(),
            }),
        }
    }

    /// Nothing more is printed until [`Self::speak`].
    pub fn silence(&self) {
        let mut state = self.state();
        state.silent = true;
        if let Some(bar) = state.bar.take() {
            bar.finish_and_clear();
        }
    }

    pub fn speak(&self) {
        self.state().silent = false;
    }

    pub fn events(&self) -> Events {
        let printer = self.clone();
        Events::new(move |event| printer.print(&event))
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.shared
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub fn print(&self, event: &UpEvent) {
        let mut state = self.state();
        if state.silent {
            return;
        }
        if let UpEvent::Seeding { stage, done, total } = event {
            self.seeding(&mut state, stage, *done, *total);
            return;
        }
        if let Some(bar) = state.bar.take() {
            bar.finish_and_clear();
        }
        if let Some((mark, text)) = line(event) {
            if self.shared.fancy {
                say(format_args!("{} {text}", mark.fancy()));
            } else {
                say(format_args!("{text}"));
            }
        }
    }

    fn seeding(&self, state: &mut State, stage: &str, done: u64, total: u64) {
        if !self.shared.fancy {
            if state.stage != stage {
                stage.clone_into(&mut state.stage);
                say(format_args!("filling the city: {stage}"));
            }
            return;
        }
        let bar = state.bar.get_or_insert_with(|| {
            let style = ProgressStyle::with_template(
                "  {msg:24} {wide_bar} {human_pos} / {human_len} rows, {eta} left",
            )
            .unwrap_or_else(|_| ProgressStyle::default_bar());
            ProgressBar::new(total).with_style(style)
        });
        bar.set_length(total);
        bar.set_message(stage.to_owned());
        bar.set_position(done);
    }
}

/// What a line is about, for those who see colours and marks.
#[derive(Clone, Copy)]
enum Mark {
    Good,
    Note,
    Bad,
}

impl Mark {
    fn fancy(self) -> &'static str {
        match self {
            Self::Good => "\x1b[32m✓\x1b[0m",
            Self::Note => "\x1b[2m·\x1b[0m",
            Self::Bad => "\x1b[33m!\x1b[0m",
        }
    }
}

fn line(event: &UpEvent) -> Option<(Mark, String)> {
    let seconds = |took: &Duration| format!("{:.1} s", took.as_secs_f64());
    let line = match event {
        UpEvent::Found {
            what,
            path,
            version,
        } => (
            Mark::Note,
            format!("found {what} {version} at {}", path.display()),
        ),
        UpEvent::Installing { command } => (Mark::Note, format!("running {command}")),
        UpEvent::LeftoverStopped { name } => (
            Mark::Bad,
            format!("stopped {name}, left running by an earlier lab"),
        ),
        UpEvent::ClusterCreated { path, took } => (
            Mark::Good,
            format!(
                "made a private PostgreSQL in {} ({})",
                path.display(),
                seconds(took)
            ),
        ),
        UpEvent::StoreReady {
            kind,
            address,
            managed,
            took,
        } => {
            let whose = if *managed { "private" } else { "your" };
            (
                Mark::Good,
                format!("{whose} {kind} answers at {address} ({})", seconds(took)),
            )
        }
        UpEvent::Migrated { took } => (
            Mark::Good,
            format!("the schema is up to date ({})", seconds(took)),
        ),
        UpEvent::Seeded { took } => (Mark::Good, format!("filled the city ({})", seconds(took))),
        UpEvent::AlreadySeeded => (Mark::Note, "the city is there already".to_owned()),
        UpEvent::InstanceReady {
            name,
            address,
            ready,
            of,
        } => (
            Mark::Good,
            format!("{name} is ready at {address} ({ready} of {of})"),
        ),
        UpEvent::Exited {
            name,
            how,
            ran,
            wait,
        } => (
            Mark::Bad,
            format!(
                "{name} ended ({how}) after {}; starting it again in {} ms",
                seconds(ran),
                wait.as_millis()
            ),
        ),
        UpEvent::Recovered { name, restarts } => (
            Mark::Good,
            format!("{name} is ready again (restarts: {restarts})"),
        ),
        UpEvent::Scaled { role, from, to } => {
            (Mark::Good, format!("{role}: {from} → {to} instances"))
        }
        UpEvent::Restarted { name, took } => (
            Mark::Good,
            format!("{name} was restarted ({})", seconds(took)),
        ),
        UpEvent::Ready { took, .. } => {
            (Mark::Good, format!("everything is up ({})", seconds(took)))
        }
        UpEvent::Stopping => (Mark::Note, "stopping".to_owned()),
        UpEvent::Down { took } => (
            Mark::Good,
            format!("everything is stopped ({})", seconds(took)),
        ),
        UpEvent::Warning(text) => (Mark::Bad, format!("warning: {text}")),
        // Told by the line at the end.
        UpEvent::Stopped { .. } => return None,
        other => (Mark::Note, format!("{other:?}")),
    };
    Some(line)
}
