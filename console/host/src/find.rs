//! Where PostgreSQL and Redis hide on this machine, and whether they are new enough.

use std::{
    collections::HashSet,
    env, fmt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::error::{Error, Result};

/// The oldest PostgreSQL the migrations are written for.
pub const POSTGRES_MAJOR: u32 = 15;
/// The oldest Redis whose streams keep no trimmed entries pending.
pub const REDIS_MAJOR: u32 = 7;

/// A version as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    pub major: u32,
    pub minor: u32,
}

impl fmt::Display for Version {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}", self.major, self.minor)
    }
}

/// PostgreSQL's programs.
#[derive(Clone, Debug)]
pub struct Postgres {
    /// The folder that holds `postgres` and `initdb`.
    pub programs: PathBuf,
    pub version: Version,
}

impl Postgres {
    /// One of the programs that come with the server, or any of that name in PATH.
    #[must_use]
    pub fn program(&self, name: &str) -> Option<PathBuf> {
        let server = self.programs.join("postgres");
        // A link in PATH leads to where the others are.
        let server = server.canonicalize().unwrap_or(server);
        std::iter::once(server.with_file_name(name))
            .chain(path_folders().into_iter().map(|folder| folder.join(name)))
            .find(|program| program.is_file())
    }
}

/// Redis, or Valkey, which speaks the same.
#[derive(Clone, Debug)]
pub struct Redis {
    pub program: PathBuf,
    pub version: Version,
}

/// What was looked for, and what was found instead when it did not do.
#[derive(Clone, Debug)]
pub enum Finding<T> {
    Found(T),
    /// Present, but older than needed.
    TooOld(PathBuf, Version),
    Missing,
}

impl<T> Finding<T> {
    pub fn found(self) -> Option<T> {
        match self {
            Self::Found(tool) => Some(tool),
            Self::TooOld(..) | Self::Missing => None,
        }
    }
}

/// Looks in PATH, then where distributions keep the servers' programs out of it, newest first.
#[must_use]
pub fn postgres() -> Finding<Postgres> {
    let mut candidates = path_folders();
    for (parent, below) in [
        ("/usr/lib/postgresql", "bin"),
        ("/usr/libexec", ""),
        ("/usr/local/opt", "bin"),
        ("/opt/homebrew/opt", "bin"),
        ("/home/linuxbrew/.linuxbrew/opt", "bin"),
        ("/usr", "bin"),
    ] {
        candidates.extend(numbered(Path::new(parent), below));
    }
    candidates.extend(pg_config_folder());
    candidates.extend(["/usr/local/pgsql/bin", "/usr/lib/postgresql/bin"].map(PathBuf::from));
    let found = candidates
        .into_iter()
        .filter(|folder| folder.join("initdb").is_file())
        .filter_map(|programs| {
            let version = version_of(&programs.join("postgres"))?;
            Some(Postgres { programs, version })
        });
    choose(found, POSTGRES_MAJOR, |tool| {
        (tool.programs.join("postgres"), tool.version)
    })
}

/// Looks for `redis-server`, then `valkey-server`, in PATH and the usual places.
#[must_use]
pub fn redis() -> Finding<Redis> {
    let mut folders = path_folders();
    folders.extend(
        [
            "/usr/bin",
            "/usr/sbin",
            "/usr/local/bin",
            "/usr/local/sbin",
            "/opt/homebrew/bin",
            "/opt/redis/bin",
            "/snap/bin",
        ]
        .map(PathBuf::from),
    );
    let mut seen = HashSet::new();
    folders.retain(|folder| seen.insert(folder.clone()));
    let found = ["redis-server", "valkey-server"]
        .into_iter()
        .flat_map(|name| folders.iter().map(move |folder| folder.join(name)))
        .filter(|program| program.is_file())
        .filter_map(|program| {
            let version = version_of(&program)?;
            Some(Redis { program, version })
        });
    choose(found, REDIS_MAJOR, |tool| {
        (tool.program.clone(), tool.version)
    })
}

/// PgBouncer, as new as it must be for prepared statements to outlive a transaction.
pub fn pgbouncer() -> Result<PathBuf> {
    const NEEDED: Version = Version {
        major: 1,
        minor: 21,
    };
    let folders = [
        "/usr/sbin",
        "/usr/bin",
        "/usr/local/bin",
        "/opt/homebrew/bin",
    ];
    let mut old = None;
    for folder in path_folders().into_iter().chain(folders.map(PathBuf::from)) {
        let program = folder.join("pgbouncer");
        match program.is_file().then(|| version_of(&program)).flatten() {
            Some(version) if version >= NEEDED => return Ok(program),
            Some(version) => old = old.max(Some(version)),
            None => {}
        }
    }
    let found = old.map_or("there is none".to_owned(), |old| {
        format!("the one here is {old}")
    });
    Err(Error::Invalid(format!(
        "PgBouncer {NEEDED} or newer is needed, and {found}: Debian 13 and Ubuntu 24.04 have it as the package pgbouncer, apt.postgresql.org for others"
    )))
}

/// Both, or what is missing with the command that installs it.
pub fn both() -> Result<(Postgres, Redis)> {
    let (postgres, redis) = (postgres(), redis());
    match (postgres, redis) {
        (Finding::Found(postgres), Finding::Found(redis)) => Ok((postgres, redis)),
        (postgres, redis) => {
            let missing = crate::install::Missing {
                postgres: !matches!(postgres, Finding::Found(_)),
                redis: !matches!(redis, Finding::Found(_)),
            };
            Err(Error::Missing {
                what: missing.to_string(),
                command: crate::install::command_text(missing),
            })
        }
    }
}

/// The first one new enough; else the newest of those that are not.
fn choose<T>(
    found: impl Iterator<Item = T>,
    needed_major: u32,
    describe: impl Fn(&T) -> (PathBuf, Version),
) -> Finding<T> {
    let mut old: Option<(PathBuf, Version)> = None;
    for tool in found {
        let (path, version) = describe(&tool);
        if version.major >= needed_major {
            return Finding::Found(tool);
        }
        if old.as_ref().is_none_or(|(_, other)| *other < version) {
            old = Some((path, version));
        }
    }
    old.map_or(Finding::Missing, |(path, version)| {
        Finding::TooOld(path, version)
    })
}

fn path_folders() -> Vec<PathBuf> {
    env::var_os("PATH")
        .map(|path| env::split_paths(&path).collect())
        .unwrap_or_default()
}

/// Folders such as `/usr/lib/postgresql/17/bin`, `/usr/pgsql-16/bin`, `…/opt/postgresql@17/bin`: highest number first.
fn numbered(parent: &Path, below: &str) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(parent) else {
        return Vec::new();
    };
    let mut folders: Vec<(u32, PathBuf)> = entries
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name();
            let name = name.to_str()?;
            let number = ["postgresql@", "postgresql", "pgsql-", ""]
                .iter()
                .find_map(|prefix| {
                    name.strip_prefix(prefix)?
                        .trim_start_matches('-')
                        .parse()
                        .ok()
                })?;
            Some((number, entry.path().join(below)))
        })
        .collect();
    folders.sort_by_key(|(number, _)| std::cmp::Reverse(*number));
    folders.into_iter().map(|(_, folder)| folder).collect()
}

fn pg_config_folder() -> Option<PathBuf> {
    let output = Command::new("pg_config")
        .arg("--bindir")
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    (output.status.success() && !text.trim().is_empty()).then(|| PathBuf::from(text.trim()))
}

fn version_of(program: &Path) -> Option<Version> {
    let output = Command::new(program)
        .arg("--version")
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    parse_version(&String::from_utf8_lossy(&output.stdout))
}

/// Reads the first thing that looks like a version out of what a program says about itself.
fn parse_version(text: &str) -> Option<Version> {
    text.split_whitespace().find_map(|word| {
        let word = word.trim_start_matches("v=").trim_start_matches('v');
        let mut numbers = word.split(|letter: char| !letter.is_ascii_digit());
        let major = numbers.next()?.parse().ok()?;
        let minor = numbers
            .next()
            .and_then(|text| text.parse().ok())
            .unwrap_or(0);
        Some(Version { major, minor })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_as_programs_print_them() {
        for (text, expected) in [
            (
                "postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)",
                Some((15, 18)),
            ),
            ("postgres (PostgreSQL) 18beta1", Some((18, 0))),
            (
                "Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64",
                Some((7, 0)),
            ),
            ("Valkey server v=8.1.1 sha=00000000:0", Some((8, 1))),
            ("Server v=9.0.0", Some((9, 0))),
            ("PgBouncer 1.24.1\nlibevent 2.1.12-stable", Some((1, 24))),
            ("no digits at all", None),
        ] {
            let expected = expected.map(|(major, minor)| Version { major, minor });
            assert_eq!(parse_version(text), expected, "{text}");
        }
    }

    #[test]
    fn the_highest_number_comes_first() {
        let parent = tempfile::tempdir().unwrap();
        for name in ["9.6", "15", "17", "other"] {
            std::fs::create_dir(parent.path().join(name)).unwrap();
        }
        assert_eq!(
            numbered(parent.path(), "bin"),
            [parent.path().join("17/bin"), parent.path().join("15/bin"),]
        );
    }

    #[test]
    fn an_old_one_is_told_from_none() {
        let version = |major| Version { major, minor: 0 };
        let tool = |major| (PathBuf::from(format!("/v{major}")), version(major));
        let choose =
            |majors: &[u32]| choose(majors.iter().map(|&major| tool(major)), 15, Clone::clone);
        assert!(matches!(choose(&[14, 16]), Finding::Found((_, found)) if found == version(16)));
        assert!(matches!(choose(&[12, 14, 13]), Finding::TooOld(_, found) if found == version(14)));
        assert!(matches!(choose(&[]), Finding::Missing));
    }

    #[test]
    fn this_machine_has_both() {
        let (postgres, redis) = both().unwrap();
        assert!(postgres.version.major >= POSTGRES_MAJOR);
        assert!(redis.version.major >= REDIS_MAJOR);
    }
}
