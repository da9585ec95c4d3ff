//! The unprivileged account that the stores run as when the lab runs as root.

use std::{
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Command, Stdio},
};

use crate::error::{Error, Result};

/// A system account by its numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Account {
    pub uid: u32,
    pub gid: u32,
}

impl Account {
    /// `None` when the lab does not run as root: then everything runs as the person who started it.
    pub fn for_store(preferred: &str) -> Result<Option<Self>> {
        if !rustix::process::geteuid().is_root() {
            return Ok(None);
        }
        [preferred, "nobody"]
            .into_iter()
            .find_map(Self::named)
            .map(Some)
            .ok_or(Error::NoAccount)
    }

    fn named(name: &str) -> Option<Self> {
        let uid = id("-u", name)?;
        let gid = id("-g", name)?;
        (uid != 0).then_some(Self { uid, gid })
    }

    /// Whether the account can pass through a folder: asked by trying, so that access lists count too.
    #[must_use]
    pub fn can_enter(self, folder: &Path) -> bool {
        Command::new("/bin/sh")
            .args(["-c", "cd \"$1\"", "sh"])
            .arg(folder)
            .current_dir("/")
            .uid(self.uid)
            .gid(self.gid)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    }

    /// Gives a file or folder to the account.
    pub fn own(self, path: &Path) -> Result<()> {
        std::os::unix::fs::chown(path, Some(self.uid), Some(self.gid))
            .map_err(|source| Error::on_path(path, source))
    }
}

/// `id` reads every source of accounts the system has, which `/etc/passwd` alone does not.
fn id(option: &str, name: &str) -> Option<u32> {
    let output = Command::new("id")
        .args([option, name])
        .stderr(Stdio::null())
        .output()
        .ok()?;
    if !output.status.success() {
        return None;
    }
    String::from_utf8(output.stdout).ok()?.trim().parse().ok()
}
