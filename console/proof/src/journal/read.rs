//! Reads a journal back, also one whose writer was killed in the middle of a line.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, BufRead as _, BufReader},
    path::{Path, PathBuf},
};

use super::{FORMAT, Line, Operation, Outcome, Start};

/// A journal that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot use the journal {path}: {source}", path = .path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("line {line} of the journal is of no use: {reason}")]
    Line { line: usize, reason: String },
}

/// All operations of a journal, in the order in which they were sent.
#[derive(Clone, Debug, Default)]
pub struct Journal {
    pub start: Option<Start>,
    pub operations: Vec<Operation>,
}

impl Journal {
    /// # Errors
    /// When the file cannot be read or a line other than an unfinished last one cannot be understood.
    pub fn load(path: &Path) -> Result<Self, Error> {
        let failed = |source| Error::File {
            path: path.to_owned(),
            source,
        };
        let file = File::open(path).map_err(failed)?;
        let mut lines = Vec::new();
        let mut reader = BufReader::new(file);
        loop {
            let mut line = Vec::new();
            if reader.read_until(b'\n', &mut line).map_err(failed)? == 0 {
                break;
            }
            lines.push(line);
        }
        Self::of_lines(lines.iter().map(Vec::as_slice))
    }

    /// Reads lines, each with its end; a last one without is what a killed writer left, and is passed over.
    ///
    /// # Errors
    /// Names the first line that cannot be understood.
    pub fn of_lines<'a>(lines: impl Iterator<Item = &'a [u8]>) -> Result<Self, Error> {
        let mut journal = Self::default();
        let mut known = HashMap::new();
        for (index, line) in lines.enumerate() {
            let bad = |reason: String| Error::Line {
                line: index + 1,
                reason,
            };
            if line.last() != Some(&b'\n') {
                break;
            }
            let line = serde_json::from_slice(line).map_err(|error| bad(error.to_string()))?;
            journal.add(line, &mut known).map_err(bad)?;
        }
        Ok(journal)
    }

    fn add(&mut self, line: Line, known: &mut HashMap<u64, usize>) -> Result<(), String> {
        let (operation, outcome) = match line {
            Line::Start(start) if start.format != FORMAT => {
                return Err(format!(
                    "it has format {}, this build reads format {FORMAT}",
                    start.format
                ));
            }
            Line::Start(start) => {
                self.start = Some(start);
                return Ok(());
            }
            Line::Note { .. } => return Ok(()),
            Line::Invoke {
                at_us,
                operation,
                action,
            } => {
                if known.insert(operation, self.operations.len()).is_some() {
                    return Err(format!("operation {operation} begins twice"));
                }
                self.operations.push(Operation {
                    id: operation,
                    action,
                    invoked_us: at_us,
                    outcome: Outcome::Unknown,
                });
                return Ok(());
            }
            Line::Ok {
                at_us,
                operation,
                answer,
            } => (operation, Outcome::Ok { at_us, answer }),
            Line::Refused {
                at_us,
                operation,
                status,
                ..
            } => (operation, Outcome::Refused { at_us, status }),
            Line::Unknown { operation, .. } => (operation, Outcome::Unknown),
        };
        let index = known
            .get(&operation)
            .ok_or_else(|| format!("operation {operation} ends without a beginning"))?;
        self.operations[*index].outcome = outcome;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::{Action, Answer};

    #[test]
    fn lines_become_operations() {
        let lines = [
            r#"{"event":"start","format":1,"at":"2026-01-02T03:04:05Z","seed":7,"cards":[{"card":1,"balance":50,"newest_recharge":0}]}"#,
            r#"{"event":"invoke","at_us":1,"operation":0,"kind":"recharge","card":1,"amount":1000,"key":"k"}"#,
            r#"{"event":"invoke","at_us":2,"operation":1,"kind":"dequeue"}"#,
            r#"{"event":"note","at_us":2,"words":"a fault"}"#,
            r#"{"event":"ok","at_us":3,"operation":0,"answer":"recharged","recharge":9,"balance":1050,"replayed":false}"#,
            r#"{"event":"unknown","at_us":4,"operation":1,"reason":"reset"}"#,
        ]
        .map(|line| format!("{line}\n"));
        let torn = br#"{"event":"refused","at_us":5,"op"#;
        let lines = lines
            .iter()
            .map(String::as_bytes)
            .chain(std::iter::once(&torn[..]));
        let journal = Journal::of_lines(lines).unwrap();
        assert_eq!(journal.start.unwrap().seed, Some(7));
        assert_eq!(journal.operations.len(), 2);
        assert_eq!(journal.operations[1].action, Action::Dequeue);
        assert_eq!(journal.operations[1].outcome, Outcome::Unknown);
        let (answer, at) = journal.operations[0].answer().unwrap();
        assert_eq!(at, 3);
        assert!(matches!(answer, Answer::Recharged { recharge: 9, .. }));
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        for (line, words) in [
            ("{}", "missing field"),
            (
                r#"{"event":"unknown","at_us":4,"operation":1,"reason":""}"#,
                "without a beginning",
            ),
            (
                r#"{"event":"start","format":2,"at":"2026-01-02T03:04:05Z"}"#,
                "format 2",
            ),
        ] {
            let line = format!("{line}\n");
            let error = Journal::of_lines(std::iter::once(line.as_bytes())).unwrap_err();
            let text = error.to_string();
            assert!(text.contains("line 1") && text.contains(words), "{text}");
        }
    }
}
