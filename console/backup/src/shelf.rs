//! The folder that backups are kept in.

use std::{
    fs::{self, File, TryLockError},
    path::{Path, PathBuf},
};

use chrono::{DateTime, Utc};

use crate::{
    error::{Error, Result},
    manifest,
};

/// What the folders of backups are called before the time.
pub(crate) const PREFIX: &str = "recarga-";
/// A backup that is being made is called this.
const UNFINISHED: &str = ".unfinished-";
/// Whoever makes one has the lock of this file.
const LOCK: &str = ".lock";

/// Names sort as times do.
pub fn name(time: DateTime<Utc>) -> String {
    format!("{PREFIX}{}", time.format("%Y%m%dT%H%M%S%.3fZ"))
}

/// A folder that becomes a backup, or goes away with this.
pub struct Unfinished {
    folder: tempfile::TempDir,
    last: PathBuf,
    _lock: File,
}

impl Unfinished {
    pub fn begin(shelf: &Path, name: &str) -> Result<Self> {
        fs::create_dir_all(shelf).map_err(Error::on(shelf))?;
        let path = shelf.join(LOCK);
        let lock = File::create(&path).map_err(Error::on(&path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(Error::Refused(format!(
                    "somebody else makes a backup in {}: wait for it, or name another folder",
                    shelf.display()
                )));
            }
            Err(TryLockError::Error(source)) => return Err(Error::on(&path)(source)),
        }
        sweep(shelf)?;
        Ok(Self {
            // For its owner only, as what is in it.
            folder: tempfile::Builder::new()
                .prefix(UNFINISHED)
                .tempdir_in(shelf)
                .map_err(Error::on(shelf))?,
            last: shelf.join(name),
            _lock: lock,
        })
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Gives it its name; from then on it is there, whatever happens.
    pub fn finish(self) -> Result<PathBuf> {
        let Self {
            folder,
            last,
            _lock,
        } = self;
        sync(folder.path())?;
        fs::rename(folder.path(), &last).map_err(Error::on(&last))?;
        // It has moved: there is nothing to clean up.
        let _ = folder.keep();
        if let Some(shelf) = last.parent() {
            sync(shelf)?;
        }
        Ok(last)
    }
}

/// Removes what somebody left who was killed on the way.
fn sweep(shelf: &Path) -> Result<()> {
    let entries = fs::read_dir(shelf).map_err(Error::on(shelf))?;
    for entry in entries.flatten() {
        if entry.file_name().to_string_lossy().starts_with(UNFINISHED) {
            let path = entry.path();
            fs::remove_dir_all(&path).map_err(Error::on(&path))?;
        }
    }
    Ok(())
}

fn sync(folder: &Path) -> Result<()> {
    let open = fs::File::open(folder);
    open.and_then(|folder| folder.sync_all())
        .map_err(Error::on(folder))
}

/// The whole backups on a shelf, the oldest first.
pub fn list(shelf: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(shelf).map_err(Error::on(shelf))?;
    let mut found: Vec<PathBuf> = entries
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(PREFIX))
        .map(|entry| entry.path())
        .filter(|path| path.join(manifest::NAME).is_file())
        .collect();
    found.sort();
    Ok(found)
}

/// Removes all but the newest; which they were.
pub fn keep(shelf: &Path, newest: usize) -> Result<Vec<PathBuf>> {
    let mut found = list(shelf)?;
    found.truncate(found.len().saturating_sub(newest));
    for path in &found {
        fs::remove_dir_all(path).map_err(Error::on(path))?;
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_are_kept_and_strangers_left_alone() {
        let shelf = tempfile::tempdir().unwrap();
        let make = |name: &str, whole: bool| {
            let folder = shelf.path().join(name);
            fs::create_dir(&folder).unwrap();
            if whole {
                fs::write(folder.join(manifest::NAME), "{}").unwrap();
            }
        };
        for name in ["recarga-3", "recarga-1", "recarga-2", "stranger"] {
            make(name, true);
        }
        make("recarga-0", false);
        let removed = keep(shelf.path(), 2).unwrap();
        assert_eq!(removed, [shelf.path().join("recarga-1")]);
        assert_eq!(keep(shelf.path(), 2).unwrap(), [] as [PathBuf; 0]);
        let left = list(shelf.path()).unwrap();
        assert_eq!(
            left,
            [
                shelf.path().join("recarga-2"),
                shelf.path().join("recarga-3")
            ]
        );
        assert!(shelf.path().join("recarga-0").exists() && shelf.path().join("stranger").exists());
    }

    #[test]
    fn what_is_not_finished_leaves_nothing() {
        let shelf = tempfile::tempdir().unwrap();
        let killed = shelf.path().join(".unfinished-x");
        fs::create_dir(&killed).unwrap();
        let unfinished = Unfinished::begin(shelf.path(), "recarga-1").unwrap();
        assert!(!killed.exists(), "left by somebody who was killed");
        fs::write(unfinished.path().join(manifest::NAME), "{}").unwrap();
        assert_eq!(list(shelf.path()).unwrap(), [] as [PathBuf; 0]);

        let refused = Unfinished::begin(shelf.path(), "recarga-2").err().unwrap();
        assert!(refused.to_string().contains("somebody else"), "{refused}");
        assert!(unfinished.path().exists());

        drop(unfinished);
        let left = fs::read_dir(shelf.path()).unwrap();
        assert_eq!(left.count(), 1, "the lock's file");
        let unfinished = Unfinished::begin(shelf.path(), "recarga-1").unwrap();
        fs::write(unfinished.path().join(manifest::NAME), "{}").unwrap();
        assert_eq!(unfinished.finish().unwrap(), shelf.path().join("recarga-1"));
        assert_eq!(list(shelf.path()).unwrap().len(), 1);
    }
}
