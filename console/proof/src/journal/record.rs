//! Writes a journal while a run goes on: a thread of its own takes what has gathered, writes it and syncs it at once.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        mpsc::{Receiver, Sender, channel},
    },
    thread::JoinHandle,
    time::Instant,
};

use super::{Action, Answer, Error, Journal, Line, Operation, Outcome, Start};

/// The most lines between two syncs.
const BATCH: usize = 4096;

/// Where operations are written down; cheap to clone.
#[derive(Clone, Debug)]
pub struct Recorder(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    began: Instant,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    journal: Journal,
    lines: Option<Sender<Line>>,
    writer: Option<JoinHandle<io::Result<()>>>,
}

impl Recorder {
    /// Begins a new file; one that is there already is refused, because two runs in one journal prove nothing.
    ///
    /// # Errors
    /// When the file is there or cannot be made.
    pub fn create(path: &Path, start: Start) -> Result<Self, Error> {
        let failed = |source| Error::File {
            path: path.to_owned(),
            source,
        };
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(path)
            .map_err(failed)?;
        let (sender, lines) = channel();
        let _ = sender.send(Line::Start(start.clone()));
        let writer = std::thread::Builder::new()
            .name("journal".to_owned())
            .spawn(move || write(file, &lines))
            .map_err(failed)?;
        Ok(Self(Arc::new(Inner {
            path: path.to_owned(),
            began: Instant::now(),
            state: Mutex::new(State {
                journal: Journal {
                    start: Some(start),
                    operations: Vec::new(),
                },
                lines: Some(sender),
                writer: Some(writer),
            }),
        })))
    }

    /// A request is about to be sent.
    #[must_use]
    pub fn invoke(&self, action: Action) -> u64 {
        let mut state = self.state();
        let operation = state.journal.operations.len() as u64;
        let at_us = self.now();
        state.journal.operations.push(Operation {
            id: operation,
            action: action.clone(),
            invoked_us: at_us,
            outcome: Outcome::Unknown,
        });
        state.send(Line::Invoke {
            at_us,
            operation,
            action,
        });
        operation
    }

    /// It was answered with success.
    pub fn ok(&self, operation: u64, answer: Answer) {
        let at_us = self.now();
        let mut state = self.state();
        state.end(
            operation,
            Outcome::Ok {
                at_us,
                answer: answer.clone(),
            },
        );
        state.send(Line::Ok {
            at_us,
            operation,
            answer,
        });
    }

    /// It was answered with a refusal.
    pub fn refused(&self, operation: u64, status: u16, reason: String) {
        let at_us = self.now();
        let mut state = self.state();
        state.end(operation, Outcome::Refused { at_us, status });
        state.send(Line::Refused {
            at_us,
            operation,
            status,
            reason,
        });
    }

    /// Nobody knows whether it has an effect.
    pub fn unknown(&self, operation: u64, reason: String) {
        let at_us = self.now();
        self.state().send(Line::Unknown {
            at_us,
            operation,
            reason,
        });
    }

    /// For whoever reads the file.
    pub fn note(&self, words: String) {
        let at_us = self.now();
        self.state().send(Line::Note { at_us, words });
    }

    /// Everything so far.
    #[must_use]
    pub fn snapshot(&self) -> Journal {
        self.state().journal.clone()
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// Writes the rest and ends the file; what is recorded later is lost.
    ///
    /// # Errors
    /// When something could not be written, now or earlier.
    pub fn finish(&self) -> Result<Journal, Error> {
        let (writer, journal) = {
            let mut state = self.state();
            state.lines = None;
            (state.writer.take(), state.journal.clone())
        };
        let written = writer.map_or(Ok(()), |writer| {
            let panicked = |_| Err(io::Error::other("its writer panicked"));
            writer.join().unwrap_or_else(panicked)
        });
        written.map(|()| journal).map_err(|source| Error::File {
            path: self.0.path.clone(),
            source,
        })
    }

    fn now(&self) -> u64 {
        u64::try_from(self.0.began.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn end(&mut self, operation: u64, outcome: Outcome) {
        let index = usize::try_from(operation).unwrap_or(usize::MAX);
        if let Some(operation) = self.journal.operations.get_mut(index) {
            operation.outcome = outcome;
        }
    }

    fn send(&self, line: Line) {
        // A writer that failed tells at the end.
        if let Some(lines) = &self.lines {
            let _ = lines.send(line);
        }
    }
}

fn write(mut file: File, lines: &Receiver<Line>) -> io::Result<()> {
    let mut buffer = Vec::new();
    while let Ok(first) = lines.recv() {
        buffer.clear();
        for line in std::iter::once(first).chain(lines.try_iter().take(BATCH)) {
            serde_json::to_writer(&mut buffer, &line)?;
            buffer.push(b'\n');
        }
        file.write_all(&buffer)?;
        file.sync_data()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::journal::FORMAT;

    #[test]
    fn what_is_recorded_is_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.jsonl");
        let start = Start {
            format: FORMAT,
            at: DateTime::from_timestamp(1_700_000_000, 0).unwrap(),
            seed: Some(3),
            cards: Vec::new(),
        };
        let recorder = Recorder::create(&path, start.clone()).unwrap();
        assert!(Recorder::create(&path, start).is_err(), "it is there");
        let task = recorder.invoke(Action::Task {
            key: "a".into(),
            fails: false,
        });
        let balance = recorder.invoke(Action::Balance { card: 4 });
        let open = recorder.invoke(Action::Dequeue);
        recorder.note("words".to_owned());
        recorder.ok(
            task,
            Answer::Accepted {
                task: 8,
                replayed: false,
            },
        );
        recorder.refused(balance, 404, "no such card".to_owned());
        recorder.unknown(open, "reset".to_owned());
        let finished = recorder.finish().unwrap();
        let read = Journal::load(&path).unwrap();
        assert_eq!(read.operations, finished.operations);
        assert_eq!(read.start, finished.start);
        assert!(read.operations[1].is_refused());
    }
}
