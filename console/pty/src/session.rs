//! A program in a terminal, under a shell with job control, as a person would run it.

use std::{
    ffi::{OsStr, OsString},
    io::{self, Read as _, Write as _},
    path::PathBuf,
    process::Child,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use pty_process::{
    Size,
    blocking::{Command, Pty},
};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, Signal, kill_process, kill_process_group},
    termios::{OptionalActions, Termios, tcgetattr, tcgetpgrp, tcsetattr},
};

use crate::{screen::Seen, usage};

/// Nothing a program does on a screen takes longer, even in a debug build on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often what has no notification is looked at.
const LOOK: Duration = Duration::from_millis(2);

/// What the shell says when the program ended or was stopped, before the number.
const WORD: &str = "session: left with ";

/// Runs the program as a job of its own, tells how it went, continues it on `fg`, and ends on anything else. Like any shell it
/// leads the session: what a program leaves behind in the terminal stays to be seen.
const SHELL: &str = r#""$@"; code=$?
printf 'session: left with %s.\n' $code
while read -r word; do
    case $word in
        fg) fg >/dev/null; code=$?; printf 'session: left with %s.\n' $code ;;
        *) exit $code ;;
    esac
done"#;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("no pseudo-terminal: {0}")]
    Terminal(#[from] pty_process::Error),
    #[error("the pseudo-terminal failed: {0}")]
    Io(#[from] io::Error),
    #[error("waited {patience:?} in vain until {what}; the screen:\n{screen}")]
    Timeout {
        what: String,
        patience: Duration,
        screen: String,
    },
}

impl From<rustix::io::Errno> for Error {
    fn from(error: rustix::io::Errno) -> Self {
        Self::Io(error.into())
    }
}

/// What to run, and in which terminal.
#[derive(Clone, Debug)]
pub struct Program {
    command: PathBuf,
    arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    columns: u16,
    rows: u16,
}

impl Program {
    /// A program in a terminal of 80 columns and 24 rows that knows UTF-8 and 256 colours.
    pub fn new(command: impl Into<PathBuf>) -> Self {
        let usual = [("TERM", "xterm-256color"), ("LC_ALL", "C.UTF-8")];
        Self {
            command: command.into(),
            arguments: Vec::new(),
            environment: usual
                .map(|(name, value)| (name.into(), value.into()))
                .into(),
            columns: 80,
            rows: 24,
        }
    }

    #[must_use]
    pub fn arguments<S: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = S>) -> Self {
        let arguments = arguments.into_iter();
        self.arguments
            .extend(arguments.map(|argument| argument.as_ref().to_owned()));
        self
    }

    #[must_use]
    pub fn environment(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    #[must_use]
    pub fn size(self, columns: u16, rows: u16) -> Self {
        Self {
            columns,
            rows,
            ..self
        }
    }

    /// Starts it.
    pub fn start(self) -> Result<Session, Error> {
        let (pty, pts) = pty_process::blocking::open()?;
        pty.resize(Size::new(self.rows, self.columns))?;
        let before = tcgetattr(&pts)?;
        let started = Instant::now();
        let shell = Command::new("sh")
            .args(["-m", "-c", SHELL, "sh"])
            .arg(&self.command)
            .args(&self.arguments)
            .env_remove("NO_COLOR")
            .env_remove("COLORTERM")
            .envs(self.environment)
            .spawn(pts)?;
        let pty = Arc::new(pty);
        let terminal = Arc::new(Terminal {
            seen: Mutex::new(Received {
                seen: Seen::new(self.columns, self.rows),
                reading: true,
                open: true,
            }),
            changed: Condvar::new(),
        });
        let reader = {
            let (pty, terminal) = (Arc::clone(&pty), Arc::clone(&terminal));
            std::thread::Builder::new()
                .name("terminal".to_owned())
                .spawn(move || terminal.read(&pty))?
        };
        let mut session = Session {
            pty,
            terminal,
            reader: Some(reader),
            shell: Shell(shell),
            pid: 0,
            before,
            started,
            spare: false,
        };
        session.pid = session.find_program()?;
        Ok(session)
    }
}

struct Received {
    seen: Seen,
    /// Whether anybody reads what the program writes.
    reading: bool,
    /// Whether the session still wants anything.
    open: bool,
}

struct Terminal {
    seen: Mutex<Received>,
    changed: Condvar,
}

impl Terminal {
    fn lock(&self) -> MutexGuard<'_, Received> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads until nobody holds the other side any more, or the session is dropped.
    fn read(&self, pty: &Pty) {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let mut received = self.lock();
            while received.open && !received.reading {
                received = self
                    .changed
                    .wait(received)
                    .unwrap_or_else(PoisonError::into_inner);
            }
            if !received.open {
                return;
            }
            drop(received);
            let mut ready = [PollFd::new(pty, PollFlags::IN)];
            let limit = Timespec {
                tv_sec: 0,
                tv_nsec: 50_000_000,
            };
            if !matches!(poll(&mut ready, Some(&limit)), Ok(1..)) || !self.lock().reading {
                continue;
            }
            let mut pty = pty;
            let Ok(count @ 1..) = pty.read(&mut buffer) else {
                self.lock().open = false;
                self.changed.notify_all();
                return;
            };
            let now = Instant::now();
            self.lock().seen.receive(now, &buffer[..count]);
            self.changed.notify_all();
        }
    }
}

/// A program that runs in a terminal. Dropping it hangs up and kills what is left.
pub struct Session {
    // In this order: the shell waits for the end of its terminal.
    pty: Arc<Pty>,
    shell: Shell,
    terminal: Arc<Terminal>,
    reader: Option<JoinHandle<()>>,
    pid: u32,
    before: Termios,
    started: Instant,
    /// Whether the program is left alone when this is dropped.
    spare: bool,
}

impl Session {
    /// The program's process, which leads the foreground's process group as soon as the shell has made it a job.
    fn find_program(&mut self) -> Result<u32, Error> {
        let limit = Instant::now() + PATIENCE;
        loop {
            if let Some(pid) = self.foreground() {
                return Ok(pid);
            }
            if self.look(|seen| find(seen.since(0), WORD.as_bytes()).is_some()) {
                // It ended before it was seen.
                return Ok(0);
            }
            if Instant::now() > limit {
                return Err(self.timeout("the program runs", PATIENCE));
            }
            std::thread::sleep(LOOK);
        }
    }

    /// Who has the terminal, if it is not the shell.
    fn foreground(&self) -> Option<u32> {
        let group = tcgetpgrp(&*self.pty).ok()?;
        let group = u32::try_from(group.as_raw_nonzero().get()).ok()?;
        (group != self.shell.0.id()).then_some(group)
    }

    /// When the shell was started that started it.
    #[must_use]
    pub fn started(&self) -> Instant {
        self.started
    }

    /// The program's process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Processor time used so far.
    #[must_use]
    pub fn processor_time(&self) -> Option<Duration> {
        usage::processor_time(self.pid)
    }

    /// Resident bytes.
    #[must_use]
    pub fn resident(&self) -> Option<u64> {
        usage::resident(self.pid)
    }

    /// Looks at what was received.
    pub fn look<T>(&self, look: impl FnOnce(&Seen) -> T) -> T {
        look(&self.terminal.lock().seen)
    }

    /// Forgets the bytes received, but not their number.
    pub fn forget(&self) {
        self.terminal.lock().seen.forget();
    }

    /// The text on the screen.
    #[must_use]
    pub fn text(&self) -> String {
        self.look(Seen::text)
    }

    /// Bytes received since the beginning.
    #[must_use]
    pub fn written(&self) -> usize {
        self.look(Seen::written)
    }

    /// Types. A key that is not a character is typed as the terminal sends it, such as `\x1b[A`.
    pub fn keys(&self, keys: &str) -> Result<(), Error> {
        (&*self.pty).write_all(keys.as_bytes())?;
        Ok(())
    }

    pub fn resize(&self, columns: u16, rows: u16) -> Result<(), Error> {
        self.terminal.lock().seen.resize(columns, rows);
        self.pty.resize(Size::new(rows, columns))?;
        Ok(())
    }

    /// Sends a signal to the program alone.
    pub fn signal(&self, signal: Signal) -> Result<(), Error> {
        if let Some(pid) = raw(self.pid) {
            kill_process(pid, signal)?;
        }
        Ok(())
    }

    /// Sends a signal to everybody in the foreground, as the terminal does.
    pub fn signal_foreground(&self, signal: Signal) -> Result<(), Error> {
        if let Some(group) = self.foreground().and_then(raw) {
            kill_process_group(group, signal)?;
        }
        Ok(())
    }

    /// Stops reading, as a terminal does behind a line that is stuck; or reads on.
    pub fn read(&self, reading: bool) {
        self.terminal.lock().reading = reading;
        self.terminal.changed.notify_all();
    }

    fn timeout(&self, what: &str, patience: Duration) -> Error {
        Error::Timeout {
            what: what.to_owned(),
            patience,
            screen: self.text(),
        }
    }

    /// Waits until what was received fulfils a condition; the value found.
    pub fn wait_for<T>(
        &self,
        what: &str,
        patience: Duration,
        mut condition: impl FnMut(&Seen) -> Option<T>,
    ) -> Result<T, Error> {
        let limit = Instant::now() + patience;
        let mut received = self.terminal.lock();
        loop {
            if let Some(found) = condition(&received.seen) {
                return Ok(found);
            }
            let left = limit.saturating_duration_since(Instant::now());
            if left.is_zero() {
                drop(received);
                return Err(self.timeout(what, patience));
            }
            received = self
                .terminal
                .changed
                .wait_timeout(received, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    /// Waits until the screen shows a text.
    pub fn until_shown(&self, text: &str) -> Result<(), Error> {
        self.wait_for(&format!("{text:?} is shown"), PATIENCE, |seen| {
            seen.shows(text).then_some(())
        })
    }

    /// Waits until nothing has been received for so long.
    pub fn until_quiet(&self, quiet: Duration) -> Result<(), Error> {
        let limit = Instant::now() + PATIENCE;
        loop {
            let last = self.look(Seen::last_at).unwrap_or(self.started);
            let left = (last + quiet).saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            if Instant::now() > limit {
                return Err(self.timeout("nothing more comes", PATIENCE));
            }
            std::thread::sleep(left);
        }
    }

    /// Waits until the shell has the terminal again, because the program ended or was stopped; its exit code, or 128 and the
    /// signal's number.
    pub fn until_left(&self) -> Result<i32, Error> {
        self.until_left_since(0)
    }

    /// The same, for what was received after a position.
    pub fn until_left_since(&self, position: usize) -> Result<i32, Error> {
        self.wait_for("the shell has the terminal again", PATIENCE, |seen| {
            let bytes = seen.since(position);
            let after = &bytes[find(bytes, WORD.as_bytes())? + WORD.len()..];
            let end = after.iter().position(|byte| *byte == b'.')?;
            str::from_utf8(&after[..end]).ok()?.parse().ok()
        })
    }

    /// Has the shell continue the stopped program in the foreground; the position from which [`Self::until_left_since`] waits.
    pub fn continue_in_foreground(&self) -> Result<usize, Error> {
        let position = self.written();
        self.keys("fg\n")?;
        let limit = Instant::now() + PATIENCE;
        while self.foreground() != Some(self.pid) {
            if Instant::now() > limit {
                return Err(self.timeout("the program is in the foreground", PATIENCE));
            }
            std::thread::sleep(LOOK);
        }
        Ok(position)
    }

    /// What of the terminal is not as it was before the program began.
    #[must_use]
    pub fn not_restored(&self) -> Vec<String> {
        let mut open = self.look(Seen::left_open);
        match tcgetattr(&*self.pty) {
            Ok(now) => {
                let modes = |termios: &Termios| {
                    [
                        format!("{:?}", termios.input_modes),
                        format!("{:?}", termios.output_modes),
                        format!("{:?}", termios.control_modes),
                        format!("{:?}", termios.local_modes),
                    ]
                };
                let pairs = modes(&self.before).into_iter().zip(modes(&now));
                open.extend(
                    pairs
                        .filter(|(before, now)| before != now)
                        .map(|(before, now)| format!("{now} where {before} was")),
                );
            }
            Err(error) => open.push(format!("no settings: {error}")),
        }
        open
    }

    /// Makes the terminal's settings what they were before the program began, as many shells do when a program is stopped.
    pub fn restore_settings(&self) -> Result<(), Error> {
        tcsetattr(&*self.pty, OptionalActions::Now, &self.before)?;
        Ok(())
    }

    /// Whether keys reach the program as they are typed.
    pub fn is_raw(&self) -> Result<bool, Error> {
        let modes = tcgetattr(&*self.pty)?.local_modes;
        Ok(!modes.contains(rustix::termios::LocalModes::ICANON))
    }

    /// Pulls the plug: the terminal is gone. The program's process, which is left alone.
    #[must_use]
    pub fn hang_up(mut self) -> u32 {
        self.spare = true;
        self.pid
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.terminal.lock().open = false;
        self.terminal.changed.notify_all();
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
        if !self.spare && usage::children(self.shell.0.id()).contains(&self.pid) {
            let _ = self.signal(Signal::KILL);
        }
    }
}

/// Waits for the shell, which ends when its terminal does.
struct Shell(Child);

impl Drop for Shell {
    fn drop(&mut self) {
        let _ = self.0.wait();
    }
}

fn raw(pid: u32) -> Option<Pid> {
    Pid::from_raw(i32::try_from(pid).ok()?)
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes
        .windows(wanted.len())
        .position(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_typed_at_and_tells_how_it_ended() {
        let session = Program::new("sh")
            .arguments(["-c", "stty size; read -r line; echo \"<$line>\"; exit 7"])
            .size(33, 11)
            .start()
            .unwrap();
        session.until_shown("11 33").unwrap();
        assert!(session.resident().unwrap() > 100_000);
        session.keys("word\n").unwrap();
        session.until_shown("<word>").unwrap();
        assert_eq!(session.until_left().unwrap(), 7);
        assert_eq!(session.not_restored(), Vec::<String>::new());
    }

    #[test]
    fn a_job_is_stopped_and_continued() {
        let session = Program::new("cat").start().unwrap();
        session.keys("\x1a").unwrap();
        assert_eq!(session.until_left().unwrap(), 128 + 20);
        let position = session.continue_in_foreground().unwrap();
        session.signal(Signal::TERM).unwrap();
        assert_eq!(session.until_left_since(position).unwrap(), 128 + 15);
    }

    #[test]
    fn what_a_program_leaves_behind_is_seen() {
        let script = "stty raw -echo; printf '\\033[?1049h\\033[?25l'; kill -9 $$";
        let session = Program::new("sh")
            .arguments(["-c", script])
            .start()
            .unwrap();
        assert_eq!(session.until_left().unwrap(), 128 + 9);
        let left = session.not_restored();
        assert!(left.len() >= 4, "{left:?}");
        assert!(session.is_raw().unwrap());
    }

    #[test]
    fn a_reader_that_stops_holds_the_program_up() {
        let session = Program::new("sh")
            .arguments(["-c", "read -r go; yes | head -c 1000000; echo over"])
            .start()
            .unwrap();
        session.read(false);
        session.keys("go\n").unwrap();
        assert!(session.written() < 1_000_000);
        session.read(true);
        session.until_shown("over").unwrap();
        assert!(session.written() >= 1_000_000);
    }

    #[test]
    fn the_end_of_the_terminal_ends_the_program() {
        let session = Program::new("cat").start().unwrap();
        let pid = session.hang_up();
        let limit = Instant::now() + PATIENCE;
        while usage::is_alive(pid) {
            assert!(Instant::now() < limit);
            std::thread::sleep(LOOK);
        }
    }
}
