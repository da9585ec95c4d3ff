//! The way out to the terminal: a thread of its own writes, so that a terminal that does not read holds nothing else up.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write as _},
    os::{
        fd::AsFd as _,
        unix::{ffi::OsStrExt as _, fs::OpenOptionsExt as _},
    },
    sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError},
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::OFlags,
    termios::{QueueSelector, tcflush, ttyname},
};

/// How often a writer that is stuck looks whether it should give up.
const LOOK: Duration = Duration::from_millis(20);

/// Makes a terminal forget the sequence it is in the middle of.
const CANCEL: &[u8] = b"\x18";

#[derive(Default)]
struct Waiting {
    bytes: Vec<u8>,
    writing: bool,
    /// What is being written is not wanted any more.
    abandoned: bool,
    failed: Option<io::ErrorKind>,
    /// A writer exists.
    served: bool,
}

impl Waiting {
    fn is_idle(&self) -> bool {
        self.bytes.is_empty() && !self.writing
    }
}

/// The one way out of this process.
#[derive(Default)]
pub struct Outlet {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

impl Outlet {
    pub fn get() -> &'static Self {
        static OUTLET: OnceLock<Outlet> = OnceLock::new();
        OUTLET.get_or_init(Self::default)
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether everything sent has been taken by the terminal.
    pub fn is_idle(&self) -> io::Result<bool> {
        let waiting = self.lock();
        match waiting.failed {
            Some(kind) => Err(kind.into()),
            None => Ok(waiting.is_idle()),
        }
    }

    /// Sends what is in the buffer and leaves it empty. Never waits.
    pub fn send(&'static self, bytes: &mut Vec<u8>) {
        let mut waiting = self.lock();
        waiting.abandoned = false;
        if waiting.bytes.is_empty() {
            std::mem::swap(&mut waiting.bytes, bytes);
        } else {
            waiting.bytes.append(bytes);
        }
        if !waiting.served {
            let writer = std::thread::Builder::new().name("terminal".to_owned());
            match writer.spawn(|| self.write()) {
                Ok(_) => waiting.served = true,
                Err(error) => waiting.failed = Some(error.kind()),
            }
        }
        drop(waiting);
        self.changed.notify_all();
        bytes.clear();
    }

    /// Waits for what was sent, so long at most, and then writes the last words, for which it waits as long at most.
    pub fn finish(&self, last_words: &[u8], patience: Duration) {
        let limit = Instant::now() + patience;
        let mut waiting = self.lock();
        while waiting.served && !waiting.is_idle() && waiting.failed.is_none() {
            let left = limit.saturating_duration_since(Instant::now());
            // The writer notices within one look.
            if left.is_zero() && !waiting.abandoned {
                waiting.abandoned = true;
            } else if Instant::now() > limit + 2 * LOOK {
                break;
            }
            waiting = self
                .changed
                .wait_timeout(waiting, left.max(LOOK))
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        waiting.bytes.clear();
        let abandoned = waiting.abandoned;
        drop(waiting);
        let Ok(terminal) = terminal() else { return };
        if abandoned {
            // Nobody has read it, and without room the last words would not get out.
            let _ = tcflush(&terminal, QueueSelector::OFlush);
            let _ = write_until(&terminal, CANCEL, || Instant::now() > limit + patience);
        }
        let _ = write_until(&terminal, last_words, || Instant::now() > limit + patience);
    }

    /// Writes what is sent, until the process ends or the terminal fails.
    fn write(&self) {
        let result = terminal().and_then(|terminal| self.write_to(&terminal));
        let mut waiting = self.lock();
        waiting.writing = false;
        waiting.failed = result.err().map(|error| error.kind());
        drop(waiting);
        self.changed.notify_all();
    }

    fn write_to(&self, terminal: &File) -> io::Result<()> {
        let mut bytes = Vec::new();
        let mut waiting = self.lock();
        loop {
            if waiting.bytes.is_empty() {
                waiting = self
                    .changed
                    .wait(waiting)
                    .unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            std::mem::swap(&mut bytes, &mut waiting.bytes);
            waiting.writing = true;
            drop(waiting);
            write_until(terminal, &bytes, || self.lock().abandoned)?;
            bytes.clear();
            waiting = self.lock();
            waiting.writing = false;
            self.changed.notify_all();
        }
    }
}

/// The terminal behind standard output, opened once more so that its writes need not wait: the flag belongs to the opened file,
/// and the shell's must stay as it is. Where it cannot be opened, standard output itself.
fn terminal() -> io::Result<File> {
    let stdout = io::stdout();
    let opened = ttyname(&stdout, Vec::new()).ok().and_then(|name| {
        let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
        OpenOptions::new()
            .write(true)
            .custom_flags(flags.bits().cast_signed())
            .open(std::ffi::OsStr::from_bytes(name.as_bytes()))
            .ok()
    });
    opened.map_or_else(|| Ok(stdout.as_fd().try_clone_to_owned()?.into()), Ok)
}

/// Writes everything, unless `given_up` while the terminal takes nothing.
fn write_until(
    mut terminal: &File,
    mut bytes: &[u8],
    given_up: impl Fn() -> bool,
) -> io::Result<()> {
    let look = Timespec {
        tv_sec: 0,
        tv_nsec: LOOK.subsec_nanos().into(),
    };
    while !bytes.is_empty() {
        let mut ready = [PollFd::new(terminal, PollFlags::OUT)];
        match poll(&mut ready, Some(&look)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => {
                if given_up() {
                    return Ok(());
                }
                continue;
            }
            Ok(_) => {}
            Err(error) => return Err(error.into()),
        }
        match terminal.write(bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if given_up() {
                    return Ok(());
                }
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
