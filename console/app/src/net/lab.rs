//! Runs labs for the console: the engine here, what is seen of it there.

use std::{
    path::PathBuf,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use labs::{Command, Field, field::Setup};
use tokio::sync::mpsc;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::state::{
    Update,
    lab::{LabCommand, Scene},
};

/// Between two moments of the same step.
const OFTEN: Duration = Duration::from_millis(100);

/// Where labs are run from, and the one that is.
pub struct Theatre {
    pub setup: Option<Setup>,
    pub updates: mpsc::Sender<Update>,
    /// Runs end with their baseline: who closes waits for them.
    pub runs: TaskTracker,
    pub stop: CancellationToken,
    pub keys: Option<mpsc::UnboundedSender<Command>>,
}

impl Theatre {
    /// Does what the operator wants; says why it cannot.
    pub fn command(&mut self, command: LabCommand) -> Result<(), String> {
        match command {
            LabCommand::Start(name) => self.start(&name),
            // A run that has ended has no use for keys.
            LabCommand::Press(command) => {
                if let Some(keys) = &self.keys {
                    let _ = keys.send(command);
                }
                Ok(())
            }
        }
    }

    fn start(&mut self, name: &str) -> Result<(), String> {
        let setup = self.setup.clone().ok_or(
            "labs are run where the lab's folder is: open the console there, or use `recarga lab run`",
        )?;
        let lab = labs::find(name).map_err(|missing| missing.to_string())?;
        let folder = setup.folder.clone();
        let field = Field::open(setup).map_err(|error| error.to_string())?;
        let (keys, mut pressed) = mpsc::unbounded_channel();
        self.keys = Some(keys.clone());
        let (updates, stop) = (self.updates.clone(), self.stop.clone());
        self.runs.spawn(async move {
            let stopper = {
                let stop = stop.clone();
                tokio_util::task::AbortOnDropHandle::new(tokio::spawn(async move {
                    stop.cancelled().await;
                    let _ = keys.send(Command::Baseline);
                }))
            };
            let mut last = None;
            let mut shown = Instant::now();
            let since = SystemTime::now().duration_since(UNIX_EPOCH);
            let seed = since.map_or(1, |since| u64::from(since.subsec_nanos()));
            let run = labs::drive(lab, &field, seed, &mut pressed, |engine| {
                let view = engine.view();
                let place = (view.at, view.phase);
                let fresh = last.as_ref().is_none_or(|(before, _)| *before != place);
                if fresh || shown.elapsed() >= OFTEN {
                    shown = Instant::now();
                    let scene = Scene::of(engine);
                    // What finds no room is followed by more.
                    let _ = updates.try_send(Update::Lab(Ok(Box::new(scene.clone()))));
                    last = Some((place, scene));
                }
                None
            })
            .await;
            drop(stopper);
            let Some((_, scene)) = last else { return };
            let record = keep(folder, &run);
            let scene = Box::new(scene.end(&run, &record));
            // The console may be gone by now.
            let _ = updates.send(Update::Lab(Ok(scene))).await;
        });
        Ok(())
    }
}

/// Where the record is, or why there is none.
fn keep(folder: Option<PathBuf>, run: &labs::record::Run) -> String {
    let Some(folder) = folder else {
        return "no record is kept here".to_owned();
    };
    match labs::keep(&folder, run) {
        Ok(path) => path.display().to_string(),
        Err(error) => format!("no record was kept: {error}"),
    }
}
