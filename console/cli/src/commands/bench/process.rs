//! The processes a benchmark starts: each in a folder of its own, on free ports, and never left behind.

use std::{
    ffi::OsString,
    fs::{self, File},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use tokio::process::{Child, ChildStdin, Command};

use super::usage;

/// How long a process may take until it answers.
const START: Duration = Duration::from_secs(20);
/// How long it may take to end when it is told to.
const STOP: Duration = Duration::from_secs(5);
/// Below the ports that systems hand out to outgoing connections.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

/// A private folder with everything that the started processes write.
pub struct Bench {
    folder: tempfile::TempDir,
    program: PathBuf,
    http: reqwest::Client,
}

/// A running process. It ends when its standard input does, so however this program ends.
pub struct Process {
    child: Child,
    input: Option<ChildStdin>,
    /// The program itself is below a guard.
    guarded: bool,
    output: PathBuf,
}

impl Bench {
    pub fn new() -> Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("recarga-bench-")
            .tempdir()
            .context("making a temporary folder")?;
        Ok(Self {
            folder,
            program: std::env::current_exe().context("finding this program's own file")?,
            http: reqwest::Client::builder()
                .no_proxy()
                .timeout(Duration::from_secs(2))
                .build()?,
        })
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn http(&self) -> &reqwest::Client {
        &self.http
    }

    /// Runs another program under a guard, which stops it in order when this program is gone.
    pub fn guarded(&self, name: &str, command: &[OsString]) -> Result<Process> {
        let mut guard = Command::new(&self.program);
        guard
            .args(["guard", "--signal", "term", "--patience", "2", "--"])
            .args(command);
        self.start(name, guard, true)
    }

    /// Runs this program with other arguments.
    pub fn ours(
        &self,
        name: &str,
        arguments: &[String],
        environment: &[(&str, String)],
    ) -> Result<Process> {
        let mut command = Command::new(&self.program);
        command
            .args(arguments)
            .env(kit::lifecycle::EXIT_WITH_PARENT, "1")
            .env("RECARGA_DRAIN_NOTICE_MS", "0")
            .env("RECARGA_DRAIN_SECONDS", "1")
            .envs(environment.iter().map(|(name, value)| (*name, value)));
        self.start(name, command, false)
    }

    fn start(&self, name: &str, mut command: Command, guarded: bool) -> Result<Process> {
        let output = self.folder().join(format!("{name}.out"));
        let file =
            File::create(&output).with_context(|| format!("writing {}", output.display()))?;
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(file)
            // Ctrl-C at the terminal is for this program, which ends the others.
            .process_group(0)
            .spawn()
            .with_context(|| format!("starting {name}"))?;
        Ok(Process {
            input: child.stdin.take(),
            child,
            guarded,
            output,
        })
    }

    /// Waits until a GET is answered with 200 and a body of this length, or any when none is given.
    pub async fn until_it_answers(
        &self,
        process: &mut Process,
        target: SocketAddr,
        path: &str,
        length: Option<u64>,
    ) -> Result<()> {
        let url = format!("http://{target}{path}");
        let answered = async {
            loop {
                if let Some(status) = process.child.try_wait()? {
                    bail!("it ended with {status}");
                }
                if let Ok(answer) = self.http.get(&url).send().await
                    && answer.status() == 200
                    && let Ok(body) = answer.bytes().await
                    && length.is_none_or(|length| length == body.len() as u64)
                {
                    return Ok(());
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let waited = tokio::time::timeout(START, answered).await;
        waited
            .unwrap_or_else(|_| bail!("{url} was not answered within {START:?}"))
            .with_context(|| {
                let tail = host::tail(&process.output, 5);
                format!("it did not come up; it said: {tail:?}")
            })
    }
}

impl Process {
    /// The processes that do the work.
    pub fn pids(&self) -> Vec<u32> {
        let Some(pid) = self.child.id() else {
            return Vec::new();
        };
        let mut pids = usage::descendants(pid);
        if !self.guarded {
            pids.push(pid);
        }
        pids
    }

    /// Ends it and waits for its end.
    pub async fn stop(mut self) {
        drop(self.input.take());
        if tokio::time::timeout(STOP, self.child.wait()).await.is_err() {
            let _ = self.child.kill().await;
        }
    }
}

/// Loopback addresses that nothing listens on.
pub fn free_addresses(count: usize) -> Result<Vec<SocketAddr>> {
    let span = usize::from(PORTS.end - PORTS.start);
    // Two benchmarks at the same time should not look at the same ports first.
    let first = (std::process::id() as usize * 61) % span;
    let mut held = Vec::new();
    for offset in 0..span {
        let port = PORTS.start + ((first + offset) % span) as u16;
        if let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            held.push(listener);
        }
        if held.len() == count {
            let addresses = held.iter().map(TcpListener::local_addr);
            return Ok(addresses.collect::<std::io::Result<_>>()?);
        }
    }
    bail!("no free loopback ports were found; stop some programs that listen")
}

/// Lets this program and those it starts have as many open files as the system allows; the number.
pub fn raise_open_files() -> u64 {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let wanted = Rlimit {
        current: limit.maximum,
        ..limit
    };
    let _ = setrlimit(Resource::Nofile, wanted);
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Looks for a program in PATH and where distributions keep those for administrators.
pub fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let usual = ["/usr/sbin", "/usr/local/sbin", "/opt/homebrew/bin"];
    std::env::split_paths(&path)
        .chain(usual.map(PathBuf::from))
        .map(|folder| folder.join(name))
        .find(|file| fs::metadata(file).is_ok_and(|data| data.is_file()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_free_and_different() {
        let addresses = free_addresses(8).unwrap();
        let mut listeners: Vec<_> = addresses
            .iter()
            .map(|address| TcpListener::bind(address).unwrap())
            .collect();
        assert_eq!(listeners.len(), 8);
        // What is taken meanwhile is not handed out again.
        let others = free_addresses(8).unwrap();
        listeners.extend(others.iter().map(|other| TcpListener::bind(other).unwrap()));
    }

    #[test]
    fn programs_are_found_by_name() {
        assert!(find("sh").is_some());
        assert_eq!(find("no-such-program-anywhere"), None);
    }
}
