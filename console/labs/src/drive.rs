//! Runs a lab from its beginning to its baseline: the engine's orders to the field, and what happened back to the engine.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use chrono::{DateTime, SecondsFormat, Utc};
use tokio::sync::mpsc;

use crate::{
    Field,
    engine::{Command, Engine, Setting, Wants},
    field::machine,
    record::Run,
    script::Lab,
};

/// Between two rounds of scrapes, so that every series has two points a second.
const TICK: Duration = Duration::from_millis(500);

/// Runs a lab. `after` is called after everything that happened: it shows the engine, and may answer for the person. Commands may also
/// come from elsewhere; [`Command::Baseline`] ends the run at any time. Always ends with the baseline restored and looked at.
pub async fn drive(
    lab: Lab,
    field: &Arc<Field>,
    seed: u64,
    commands: &mut mpsc::UnboundedReceiver<Command>,
    mut after: impl FnMut(&mut Engine) -> Option<Command>,
) -> Run {
    let now = SystemTime::now();
    let number = now
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as u64);
    field.begin(&lab, number, seed).await;
    let mut engine = Engine::new(
        lab,
        Setting {
            started_at: DateTime::<Utc>::from(now).to_rfc3339_opts(SecondsFormat::Millis, true),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            seed,
            number,
            machine: machine(),
        },
    );
    let scraper = {
        let field = Arc::clone(field);
        tokio_util::task::AbortOnDropHandle::new(tokio::spawn(async move {
            let mut ticks = tokio::time::interval(TICK);
            ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                field.tick().await;
            }
        }))
    };
    let mut orders = engine.begin();
    let mut undone = engine.undo();
    loop {
        for order in orders.drain(..) {
            field.carry_out(order);
        }
        // The one at the keys may answer at once, and again.
        while let Some(command) = after(&mut engine) {
            for order in engine.command(command, field.now_ms()) {
                field.carry_out(order);
            }
        }
        if engine.undo() != undone {
            undone = engine.undo();
            if !engine.is_over() {
                field.remember(&undone);
            }
        }
        if engine.is_over() {
            break;
        }
        tokio::select! {
            Some(command) = commands.recv() => {
                orders = engine.command(command, field.now_ms());
            }
            Some(heard) = field.hear() => {
                orders = engine.hear(heard, field.now_ms());
            }
        }
    }
    drop(scraper);
    engine.run().clone()
}

/// Presses the keys where nobody does: goes on until the end or the first failure, and answers questions with what it was given.
#[derive(Clone, Debug, Default)]
pub struct Autopilot {
    answers: std::collections::VecDeque<usize>,
}

impl Autopilot {
    /// Questions are answered with these, counted from 1, and passed over when there are no more.
    #[must_use]
    pub fn new(answers: impl IntoIterator<Item = usize>) -> Self {
        Self {
            answers: answers.into_iter().collect(),
        }
    }

    /// What it presses now.
    pub fn press(&mut self, engine: &Engine) -> Option<Command> {
        let view = engine.view();
        match view.wants {
            Wants::Nothing => None,
            Wants::Choice => {
                let choice = self.answers.pop_front();
                Some(choice.map_or(Command::Next, Command::Choose))
            }
            Wants::Next => {
                let failed = engine.run().outcome != crate::record::Outcome::Passed;
                Some(if failed {
                    Command::Baseline
                } else {
                    Command::Next
                })
            }
        }
    }
}
