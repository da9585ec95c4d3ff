//! The private stores: where their data live, and how each is started.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    time::Duration,
};

use sha2::{Digest as _, Sha256};

use crate::{
    account::Account,
    error::{Error, Result},
    guard::StopSignal,
    layout::{Layout, Secrets},
};

mod pooler;
pub mod postgres;
pub mod redis;
mod replicated;
mod watched;

pub use self::{
    postgres::Cluster,
    redis::{Fsync, Part, Server},
    replicated::Replicated,
    watched::{Watch, Watched},
};

/// How long a store may take to stop in order: PostgreSQL writes a checkpoint first.
pub(crate) const STOP_PATIENCE: Duration = Duration::from_secs(15);

/// Where the stores' data go when the lab's folder cannot be reached by the account they run as.
const SHARED: &str = "/var/lib/recarga";

/// The files that say whose stores these are: the lab's number, and its folder.
const OWNER: &str = "lab-id";
const FOLDER: &str = "lab-folder";

/// Finds or makes the folder of the stores' data.
pub fn place(layout: &Layout, secrets: &Secrets) -> Result<PathBuf> {
    let link = layout.stores();
    let accounts: Vec<Account> = ["postgres", "redis"]
        .into_iter()
        .filter_map(|name| Account::for_store(name).transpose())
        .collect::<Result<_>>()?;
    let reachable = accounts
        .iter()
        .all(|account| account.can_enter(layout.root()));
    let folder = if link.is_symlink() {
        fs::read_link(&link).map_err(|source| Error::on_path(&link, source))?
    } else if link.is_dir() || reachable {
        link
    } else {
        sweep(Path::new(SHARED));
        let folder = Path::new(SHARED).join(stable_name(layout.root()));
        symlink(&folder, &link).map_err(|source| Error::on_path(&link, source))?;
        folder
    };
    let owner = folder.join(OWNER);
    if fs::read_to_string(&owner).is_ok_and(|id| id.trim() != secrets.lab_id) {
        // The folder of the lab that these belonged to has been removed, and its passwords with it.
        fs::remove_dir_all(&folder).map_err(|source| Error::on_path(&folder, source))?;
    }
    fs::create_dir_all(&folder).map_err(|source| Error::on_path(&folder, source))?;
    set_mode(&folder, 0o755)?;
    let root = layout.root().as_os_str().as_encoded_bytes();
    for (name, content) in [(OWNER, secrets.lab_id.as_bytes()), (FOLDER, root)] {
        let path = folder.join(name);
        fs::write(&path, content).map_err(|source| Error::on_path(&path, source))?;
    }
    if let Some(account) = accounts.iter().find(|account| !account.can_enter(&folder)) {
        return Err(Error::Invalid(format!(
            "the account with number {} cannot reach {}; run the lab from a folder that other accounts may pass through",
            account.uid,
            folder.display()
        )));
    }
    folder
        .canonicalize()
        .map_err(|source| Error::on_path(&folder, source))
}

/// Removes the stores of labs whose folders have been removed.
fn sweep(shared: &Path) {
    for entry in fs::read_dir(shared).into_iter().flatten().flatten() {
        let folder = fs::read_to_string(entry.path().join(FOLDER));
        if folder.is_ok_and(|folder| !Path::new(&folder).exists()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// The same folder always gives the same name, and no two folders share one.
fn stable_name(folder: &Path) -> String {
    let digest = Sha256::digest(folder.as_os_str().as_encoded_bytes());
    hex::encode(&digest[..8])
}

/// A folder only its owner can enter, given to the account that uses it.
pub(crate) fn own_folder(folder: &Path, account: Option<Account>) -> Result<()> {
    fs::create_dir_all(folder).map_err(|source| Error::on_path(folder, source))?;
    set_mode(folder, 0o700)?;
    account.map_or(Ok(()), |account| account.own(folder))
}

fn set_mode(path: &Path, mode: u32) -> Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
        .map_err(|source| Error::on_path(path, source))
}

/// How a store process is started under its guard.
#[derive(Clone, Debug)]
pub struct Launch {
    pub command: Vec<std::ffi::OsString>,
    pub account: Option<Account>,
    pub signal: StopSignal,
}

impl Launch {
    /// The arguments of the `recarga guard` that runs it.
    #[must_use]
    pub fn guard_arguments(&self) -> Vec<std::ffi::OsString> {
        let mut arguments: Vec<std::ffi::OsString> = [
            "guard",
            "--signal",
            self.signal.name(),
            "--patience",
            &STOP_PATIENCE.as_secs().to_string(),
        ]
        .map(Into::into)
        .to_vec();
        if let Some(account) = self.account {
            for (option, number) in [("--uid", account.uid), ("--gid", account.gid)] {
                arguments.push(option.into());
                arguments.push(number.to_string().into());
            }
        }
        arguments.push("--".into());
        arguments.extend(self.command.iter().cloned());
        arguments
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_stable_and_distinct() {
        let name = stable_name(Path::new("/root/recarga/.recarga"));
        assert_eq!(name, stable_name(Path::new("/root/recarga/.recarga")));
        assert_ne!(name, stable_name(Path::new("/root/other/.recarga")));
        assert_eq!(name.len(), 16);
    }

    #[test]
    fn stores_without_their_lab_are_swept() {
        let shared = tempfile::tempdir().unwrap();
        let lab = tempfile::tempdir().unwrap();
        for (name, folder) in [("here", lab.path()), ("gone", Path::new("/not/there"))] {
            fs::create_dir(shared.path().join(name)).unwrap();
            fs::write(
                shared.path().join(name).join(FOLDER),
                folder.to_str().unwrap(),
            )
            .unwrap();
        }
        sweep(shared.path());
        assert!(shared.path().join("here").exists());
        assert!(!shared.path().join("gone").exists());
    }

    #[test]
    fn stores_of_a_removed_lab_make_room() {
        let folder = tempfile::tempdir().unwrap();
        set_mode(folder.path(), 0o755).unwrap();
        let layout = Layout::open(folder.path()).unwrap();
        let secrets = Secrets::load_or_generate(&layout).unwrap();
        let stores = place(&layout, &secrets).unwrap();
        fs::write(stores.join("mine"), "").unwrap();
        assert_eq!(place(&layout, &secrets).unwrap(), stores);
        assert!(stores.join("mine").exists());

        fs::write(stores.join(OWNER), "another lab").unwrap();
        place(&layout, &secrets).unwrap();
        assert!(!stores.join("mine").exists());
    }
}
