//! Installing what is missing through the system's package manager, without leaving servers running.

use std::{
    env, fmt, fs,
    io::{self, IsTerminal as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use crate::error::{Error, Result};

/// What has to be installed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missing {
    pub postgres: bool,
    pub redis: bool,
}

impl Missing {
    #[must_use]
    pub fn look() -> Self {
        Self {
            postgres: crate::find::postgres().found().is_none(),
            redis: crate::find::redis().found().is_none(),
        }
    }

    #[must_use]
    pub fn nothing(self) -> bool {
        !self.postgres && !self.redis
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match (self.postgres, self.redis) {
            (true, true) => "PostgreSQL (15 or newer) and Redis (7.0 or newer)",
            (true, false) => "PostgreSQL (15 or newer)",
            (false, true) => "Redis (7.0 or newer)",
            (false, false) => "nothing",
        })
    }
}

/// The package managers that are known here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manager {
    Apt,
    Dnf,
    Pacman,
    Apk,
    Zypper,
    Brew,
}

impl Manager {
    const ALL: [(Self, &'static str); 6] = [
        (Self::Apt, "apt-get"),
        (Self::Dnf, "dnf"),
        (Self::Pacman, "pacman"),
        (Self::Apk, "apk"),
        (Self::Zypper, "zypper"),
        (Self::Brew, "brew"),
    ];

    #[must_use]
    pub fn detect() -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|(_, program)| in_path(program).is_some())
            .map(|(manager, _)| manager)
    }

    fn packages(self, missing: Missing) -> Vec<&'static str> {
        // The contributed modules hold btree_gist, which keeps a tutor's sessions apart.
        let (postgres, redis): (&[&str], &[&str]) = match self {
            Self::Apt => (&["postgresql", "postgresql-contrib"], &["redis-server"]),
            Self::Dnf | Self::Zypper => (&["postgresql-server", "postgresql-contrib"], &["redis"]),
            Self::Pacman => (&["postgresql"], &["valkey"]),
            Self::Apk => (&["postgresql", "postgresql-contrib"], &["redis"]),
            Self::Brew => (&["postgresql@17"], &["redis"]),
        };
        let mut packages = Vec::new();
        if missing.postgres {
            packages.extend(postgres);
        }
        if missing.redis {
            packages.extend(redis);
        }
        packages
    }

    /// Chromium, and the driver that tests steer it by.
    fn browser(self) -> &'static [&'static str] {
        match self {
            Self::Apt => &["chromium", "chromium-driver"],
            Self::Dnf | Self::Zypper => &["chromium", "chromedriver"],
            Self::Pacman => &["chromium"],
            Self::Apk => &["chromium", "chromium-chromedriver"],
            Self::Brew => &["--cask", "chromium", "chromedriver"],
        }
    }

    fn commands(self, missing: Missing) -> Vec<Vec<&'static str>> {
        self.installing(&self.packages(missing))
    }

    /// The commands to run, in order, without the means to become root.
    fn installing(self, packages: &[&'static str]) -> Vec<Vec<&'static str>> {
        let install: &[&[&'static str]] = match self {
            Self::Apt => &[
                &["apt-get", "update"],
                &["apt-get", "install", "-y", "--no-install-recommends"],
            ],
            Self::Dnf => &[&["dnf", "install", "-y"]],
            Self::Pacman => &[&["pacman", "-Sy", "--needed", "--noconfirm"]],
            Self::Apk => &[&["apk", "add"]],
            Self::Zypper => &[&["zypper", "--non-interactive", "install"]],
            Self::Brew => &[&["brew", "install"]],
        };
        let mut commands: Vec<Vec<&'static str>> =
            install.iter().map(|words| words.to_vec()).collect();
        if let Some(last) = commands.last_mut() {
            last.extend(packages);
        }
        commands
    }
}

/// What a person would type to install what is missing.
#[must_use]
pub fn command_text(missing: Missing) -> String {
    let Some(manager) = Manager::detect() else {
        return format!("your package manager ({missing}); none that is known was found");
    };
    typed(manager, manager.commands(missing))
}

fn typed(manager: Manager, commands: Vec<Vec<&'static str>>) -> String {
    let prefix = if manager == Manager::Brew || is_root() {
        ""
    } else {
        "sudo "
    };
    commands
        .into_iter()
        .map(|words| format!("{prefix}{}", words.join(" ")))
        .collect::<Vec<_>>()
        .join(" && ")
}

/// Whether one may install: a person was asked, or said so beforehand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consent {
    Given,
    /// Neither `--yes` nor a terminal to ask on.
    Unasked,
    Refused,
}

/// Makes sure that both servers are there; `ask` is called with the command before anything is installed.
pub fn ensure(
    ask: impl FnOnce(Missing, &str) -> Consent,
    say: impl Fn(&str),
) -> Result<(crate::find::Postgres, crate::find::Redis)> {
    let missing = Missing::look();
    if missing.nothing() {
        return crate::find::both();
    }
    let command = command_text(missing);
    let Some(manager) = Manager::detect() else {
        return Err(Error::Missing {
            what: missing.to_string(),
            command,
        });
    };
    match ask(missing, &command) {
        Consent::Given => {}
        Consent::Unasked => {
            return Err(Error::Missing {
                what: missing.to_string(),
                command: format!(
                    "{command}\nor say --yes to let this program run it: there is no terminal to ask on"
                ),
            });
        }
        Consent::Refused => {
            return Err(Error::Missing {
                what: missing.to_string(),
                command,
            });
        }
    }
    run(manager, missing, say)?;
    crate::find::both()
}

/// Makes sure that there is a browser that tests can steer; `ask` is called with the command before anything is installed.
/// False when this system has none to offer.
pub fn ensure_browser(ask: impl FnOnce(&str) -> Consent, say: impl Fn(&str)) -> Result<bool> {
    if has_browser() {
        return Ok(true);
    }
    let Some(manager) = Manager::detect() else {
        return Ok(false);
    };
    let commands = manager.installing(manager.browser());
    let command = typed(manager, commands.clone());
    let missing = |command| {
        Err(Error::Missing {
            what: "Chromium and its driver".to_owned(),
            command,
        })
    };
    match ask(&command) {
        Consent::Given => {}
        Consent::Unasked => {
            return missing(format!(
                "{command}\nor say --yes to let this program run it: there is no terminal to ask on"
            ));
        }
        Consent::Refused => return missing(command),
    }
    let (install, before) = commands.split_last().unwrap_or_else(|| unreachable!());
    for words in before {
        execute(words, &say)?;
    }
    if !offers(manager) {
        return Ok(false);
    }
    execute(install, &say)?;
    Ok(has_browser())
}

fn has_browser() -> bool {
    in_path("chromedriver").is_some()
}

/// Whether the packages exist: Ubuntu, for one, has Chromium only outside of its own package manager.
fn offers(manager: Manager) -> bool {
    manager != Manager::Apt
        || Command::new("apt-cache")
            .args(["policy", "chromium-driver"])
            .output()
            .is_ok_and(|output| {
                let text = String::from_utf8_lossy(&output.stdout).into_owned();
                text.contains("Candidate:") && !text.contains("Candidate: (none)")
            })
}

fn run(manager: Manager, missing: Missing, say: impl Fn(&str)) -> Result<()> {
    let mut quiet = Quiet::default();
    if manager == Manager::Apt {
        let [update, install] = &manager.commands(missing)[..] else {
            unreachable!("apt has two commands");
        };
        execute(update, &say)?;
        quiet.keep_services_stopped()?;
        if missing.postgres {
            // The package that would create and start a cluster reads this one's setting.
            let common = [
                "apt-get",
                "install",
                "-y",
                "--no-install-recommends",
                "postgresql-common",
            ];
            execute(&common, &say)?;
            quiet.no_cluster()?;
        }
        let result = execute(install, &say);
        if missing.redis {
            quiet.disable("redis-server");
        }
        return result;
    }
    for words in manager.commands(missing) {
        execute(&words, &say)?;
    }
    Ok(())
}

/// Settings made for the duration of an installation, taken back when dropped.
#[derive(Default)]
struct Quiet {
    policy: Option<PathBuf>,
    cluster: Option<(PathBuf, String)>,
}

const POLICY: &str = "/usr/sbin/policy-rc.d";
const CLUSTER: &str = "/etc/postgresql-common/createcluster.conf";

impl Quiet {
    /// Debian starts a server when it installs it, unless this script says no.
    fn keep_services_stopped(&mut self) -> Result<()> {
        let path = Path::new(POLICY);
        if path.exists() {
            return Ok(());
        }
        write_as_root(path, "#!/bin/sh\nexit 101\n", 0o755)?;
        self.policy = Some(path.to_owned());
        Ok(())
    }

    fn no_cluster(&mut self) -> Result<()> {
        let path = Path::new(CLUSTER);
        let before = fs::read_to_string(path).unwrap_or_default();
        let changed = format!("{before}\ncreate_main_cluster = false\n");
        write_as_root(path, &changed, 0o644)?;
        self.cluster = Some((path.to_owned(), before));
        Ok(())
    }

    /// Newly installed, so nobody relies on it being started with the machine.
    #[expect(clippy::unused_self, reason = "belongs to the same period of quiet")]
    fn disable(&self, service: &str) {
        if in_path("systemctl").is_some() {
            let _ = as_root(&["systemctl", "disable", "--now", service])
                .stdout(std::process::Stdio::null())
                .stderr(std::process::Stdio::null())
                .status();
        }
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        if let Some(path) = self.policy.take() {
            let _ = as_root(&["rm", "-f"]).arg(path).status();
        }
        if let Some((path, before)) = self.cluster.take() {
            let _ = write_as_root(&path, &before, 0o644);
        }
    }
}

fn write_as_root(path: &Path, content: &str, mode: u32) -> Result<()> {
    let failed = |source| Error::on_path(path, source);
    if is_root() {
        fs::write(path, content).map_err(failed)?;
        return fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(failed);
    }
    let draft = tempfile::NamedTempFile::new().map_err(failed)?;
    fs::write(draft.path(), content).map_err(failed)?;
    let mode = format!("{mode:o}");
    let mut command = as_root(&["install", "-m", &mode]);
    finish(command.arg(draft.path()).arg(path), "install")
}

fn execute(words: &[&str], say: &impl Fn(&str)) -> Result<()> {
    say(&words.join(" "));
    let mut command = if words[0] == "brew" {
        let mut command = Command::new(words[0]);
        command.args(&words[1..]);
        command
    } else {
        as_root(words)
    };
    finish(&mut command, &words.join(" "))
}

fn finish(command: &mut Command, name: &str) -> Result<()> {
    let output = command
        .env("DEBIAN_FRONTEND", "noninteractive")
        .output()
        .map_err(Error::doing(name))?;
    if output.status.success() {
        return Ok(());
    }
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.push_str(&String::from_utf8_lossy(&output.stderr));
    let lines: Vec<&str> = text.lines().collect();
    Err(Error::Program {
        program: name.to_owned(),
        status: output.status.to_string(),
        output: lines[lines.len().saturating_sub(15)..].join("\n"),
    })
}

/// The command as it is when already root, else through `sudo` (which may ask for a password on a terminal only).
fn as_root(words: &[&str]) -> Command {
    if is_root() {
        let mut command = Command::new(words[0]);
        command.args(&words[1..]);
        return command;
    }
    let mut command = Command::new("sudo");
    if !io::stdin().is_terminal() {
        command.arg("-n");
    }
    command
        .args(["env", "DEBIAN_FRONTEND=noninteractive"])
        .args(words);
    command
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn in_path(program: &str) -> Option<PathBuf> {
    env::split_paths(&env::var_os("PATH")?)
        .map(|folder| folder.join(program))
        .find(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_missing_is_installed() {
        let redis = Missing {
            postgres: false,
            redis: true,
        };
        assert_eq!(
            Manager::Apt.commands(redis).last().unwrap().last(),
            Some(&"redis-server")
        );
        assert_eq!(
            Manager::Dnf.commands(redis),
            [["dnf", "install", "-y", "redis"]]
        );
        let both = Missing {
            postgres: true,
            redis: true,
        };
        for (manager, _) in Manager::ALL {
            assert!(manager.packages(both).len() >= 2, "{manager:?}");
        }
        assert_eq!(Manager::Apt.commands(both)[0], ["apt-get", "update"]);
    }

    #[test]
    fn a_browser_comes_with_its_driver() {
        for (manager, _) in Manager::ALL {
            let commands = manager.installing(manager.browser());
            let install = commands.last().unwrap();
            assert!(install.contains(&"chromium"), "{manager:?}: {install:?}");
        }
        assert_eq!(
            Manager::Apt.installing(Manager::Apt.browser())[1][4..],
            ["chromium", "chromium-driver"]
        );
    }
}
