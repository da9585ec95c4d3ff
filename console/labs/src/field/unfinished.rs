//! What a run notes down, so that the next one can take back what a killed one left.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions, TryLockError},
    path::{Path, PathBuf},
};

use actions::Action;
use serde::{Deserialize, Serialize};

use super::{Error, Field, lock as locked};

/// What was to be taken back.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Unfinished {
    lab: String,
    /// How many instances of each role there were before.
    #[serde(default)]
    roles: BTreeMap<String, usize>,
    /// Lines of actions, in the order in which they are to be done.
    undo: Vec<String>,
}

/// Takes the lock that one run holds; the system lets go of it however the process ends.
pub(super) fn lock(folder: &Path) -> Result<File, Error> {
    let failed = |path: &Path, source| Error::Io {
        path: path.to_owned(),
        source,
    };
    fs::create_dir_all(folder).map_err(|error| failed(folder, error))?;
    let path = folder.join("lock");
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(|error| failed(&path, error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::Busy),
        Err(TryLockError::Error(error)) => Err(failed(&path, error)),
    }
}

fn note(folder: &Path) -> PathBuf {
    folder.join("unfinished.json")
}

fn read(path: &Path) -> Unfinished {
    let text = fs::read(path).ok();
    text.and_then(|text| serde_json::from_slice(&text).ok())
        .unwrap_or_default()
}

/// How many instances of each role there were before a run that was killed; nothing where none was.
pub(super) fn roles(folder: &Path) -> BTreeMap<String, usize> {
    read(&note(folder)).roles
}

impl Field {
    fn note(&self) -> Option<PathBuf> {
        Some(note(self.setup.folder.as_ref()?))
    }

    /// Notes down what must be taken back if this process ends in the middle of it.
    pub fn remember(&self, undo: &[Action]) {
        let Some(path) = self.note() else { return };
        let unfinished = Unfinished {
            lab: locked(&self.current).title.clone(),
            roles: self.roles.clone(),
            undo: undo.iter().map(ToString::to_string).collect(),
        };
        if let Ok(text) = serde_json::to_vec_pretty(&unfinished) {
            let temporary = path.with_extension("new");
            // A disk that takes no note is no reason to stop: the lab takes everything back itself unless it is killed.
            let _ = fs::write(&temporary, text).and_then(|()| fs::rename(&temporary, &path));
        }
    }

    /// What a run left that was killed.
    pub(super) fn left_over(&self) -> Vec<Action> {
        let Some(path) = self.note() else {
            return Vec::new();
        };
        let unfinished = read(&path);
        unfinished
            .undo
            .iter()
            .filter_map(|line| Action::parse(line).ok())
            .collect()
    }

    /// Everything is taken back.
    pub(super) fn forget(&self) {
        if let Some(path) = self.note() {
            let _ = fs::remove_file(path);
        }
    }
}
