//! The lab's folder: which file lives where, and who may read it.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::Write as _,
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use rand::RngExt as _;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// The least free space a lab starts with: the write-ahead log alone keeps 256 MB.
const NEEDED_MEGABYTES: u64 = 600;

/// A lab's folder, `.recarga` unless told otherwise.
#[derive(Clone, Debug)]
pub struct Layout {
    root: PathBuf,
}

impl Layout {
    /// Creates the folder when it is new and makes its path absolute.
    pub fn open(directory: &Path) -> Result<Self> {
        fs::create_dir_all(directory).map_err(|source| Error::on_path(directory, source))?;
        let root = directory
            .canonicalize()
            .map_err(|source| Error::on_path(directory, source))?;
        let layout = Self { root };
        let logs = layout.logs();
        fs::create_dir_all(&logs).map_err(|source| Error::on_path(&logs, source))?;
        Ok(layout)
    }

    /// The folder of a lab that must exist already.
    pub fn existing(directory: &Path) -> Result<Self> {
        match directory.canonicalize() {
            Ok(root) => Ok(Self { root }),
            Err(_) => Err(Error::NotRunning {
                path: directory.to_owned(),
            }),
        }
    }

    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    #[must_use]
    pub fn topology(&self) -> PathBuf {
        self.root.join("topology.json")
    }

    #[must_use]
    pub fn secrets(&self) -> PathBuf {
        self.root.join("secrets.json")
    }

    #[must_use]
    pub fn ports(&self) -> PathBuf {
        self.root.join("ports.json")
    }

    /// By which the tiers know each other.
    #[must_use]
    pub fn certificates(&self) -> PathBuf {
        self.root.join("certificates")
    }

    #[must_use]
    pub fn logs(&self) -> PathBuf {
        self.root.join("logs")
    }

    /// Where a process's standard output and error go.
    #[must_use]
    pub fn output(&self, name: &str) -> PathBuf {
        self.logs().join(format!("{name}.out"))
    }

    #[must_use]
    pub fn control(&self) -> PathBuf {
        self.root.join("control.json")
    }

    #[must_use]
    pub fn control_socket(&self) -> PathBuf {
        self.root.join("control.sock")
    }

    /// The stores' data, or a symbolic link to where an unprivileged account can reach it.
    #[must_use]
    pub fn stores(&self) -> PathBuf {
        self.root.join("stores")
    }

    /// Takes the lock that one supervisor holds as long as it lives; `None` when another has it.
    pub fn try_lock(&self) -> Result<Option<Lock>> {
        let path = self.root.join("lock");
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(|source| Error::on_path(&path, source))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Lock { _file: file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(source)) => Err(Error::on_path(&path, source)),
        }
    }

    /// Refuses a disk on which the lab would fail halfway.
    pub fn check_space(&self) -> Result<()> {
        let stores = self.stores();
        let path = if stores.exists() { &stores } else { &self.root };
        let Ok(disk) = rustix::fs::statvfs(path) else {
            return Ok(());
        };
        let free_megabytes = disk.f_bavail.saturating_mul(disk.f_frsize) / 1_000_000;
        if free_megabytes < NEEDED_MEGABYTES {
            return Err(Error::DiskNearlyFull {
                path: path.clone(),
                free_megabytes,
                needed_megabytes: NEEDED_MEGABYTES,
            });
        }
        Ok(())
    }
}

/// Held by the running supervisor; the system releases it when the process ends in any way.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// What the lab generated for itself the first time.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secrets {
    /// Tells this lab's stores from those of a lab that once lived in the same folder.
    pub lab_id: String,
    pub operator_token: String,
    /// The key of the gateways' HS256 signatures.
    pub signing_key: String,
    pub operator_password: String,
    pub database_password: String,
    pub redis_password: String,
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Secrets")
            .field("lab_id", &self.lab_id)
            .finish_non_exhaustive()
    }
}

impl Secrets {
    fn generate() -> Self {
        Self {
            lab_id: uuid::Uuid::new_v4().to_string(),
            operator_token: random_text(40),
            signing_key: random_text(64),
            operator_password: random_text(16),
            database_password: random_text(32),
            redis_password: random_text(32),
        }
    }

    pub fn load(layout: &Layout) -> Result<Self> {
        let path = layout.secrets();
        let text = fs::read_to_string(&path).map_err(|source| Error::on_path(&path, source))?;
        serde_json::from_str(&text).map_err(|error| Error::Damaged {
            path,
            reason: error.to_string(),
        })
    }

    /// Reads the lab's secrets, or makes them when the lab is new.
    pub fn load_or_generate(layout: &Layout) -> Result<Self> {
        let path = layout.secrets();
        if path.exists() {
            return Self::load(layout);
        }
        if layout.stores().join("postgres").join("data").exists() {
            return Err(Error::SecretsLost {
                path: layout.root().to_owned(),
            });
        }
        let secrets = Self::generate();
        write_private(
            &path,
            &serde_json::to_vec_pretty(&secrets).expect("strings serialise"),
        )?;
        Ok(secrets)
    }
}

/// Writes a file only its owner can read, in one step.
pub(crate) fn write_private(path: &Path, content: &[u8]) -> Result<()> {
    let temporary = path.with_extension("new");
    let write = || -> std::io::Result<()> {
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&temporary)?;
        // The mode above only counts for a file that was not there.
        file.set_permissions(fs::Permissions::from_mode(0o600))?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    };
    write().map_err(|source| Error::on_path(path, source))
}

/// Letters and digits without the pairs a reader mistakes for each other.
fn random_text(length: usize) -> String {
    const LETTERS: &[u8] = b"abcdefghijkmnpqrstuvwxyzACDEFGHJKLMNPQRTUVWXY34679";
    let mut random = rand::rng();
    (0..length)
        .map(|_| char::from(LETTERS[random.random_range(0..LETTERS.len())]))
        .collect()
}

/// The last lines of a log, to show beside a failure.
#[must_use]
pub fn tail(path: &Path, lines: usize) -> String {
    let bytes = fs::read(path).unwrap_or_default();
    let recent = &bytes[bytes.len().saturating_sub(16_384)..];
    let text = String::from_utf8_lossy(recent);
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_generated_once_and_stay_private() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::open(folder.path()).unwrap();
        let first = Secrets::load_or_generate(&layout).unwrap();
        let second = Secrets::load_or_generate(&layout).unwrap();
        assert_eq!(first, second);
        let mode = fs::metadata(layout.secrets()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(!format!("{first:?}").contains(&first.operator_token));
    }

    #[test]
    fn only_one_supervisor_holds_the_lock() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::open(folder.path()).unwrap();
        let held = layout.try_lock().unwrap().unwrap();
        assert!(layout.try_lock().unwrap().is_none());
        drop(held);
        assert!(layout.try_lock().unwrap().is_some());
    }

    #[test]
    fn lost_secrets_are_not_replaced_under_existing_stores() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::open(folder.path()).unwrap();
        fs::create_dir_all(layout.stores().join("postgres/data")).unwrap();
        assert!(matches!(
            Secrets::load_or_generate(&layout),
            Err(Error::SecretsLost { .. })
        ));
    }

    #[test]
    fn the_tail_is_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        fs::write(&path, "one\ntwo\nthree\n").unwrap();
        assert_eq!(tail(&path, 2), "two\nthree");
        assert_eq!(tail(&folder.path().join("absent"), 2), "");
    }
}
