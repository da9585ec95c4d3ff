//! A session written down as it was seen, in the format of asciinema (asciicast, version 2): any player of that shows it again.

use std::{
    fs::{File, OpenOptions},
    io::{self, BufRead, BufReader, BufWriter, Write as _},
    path::Path,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, bail, ensure};
use ratatui::layout::Size;
use serde_json::{Value, json};

/// No recording that is read again is longer, in bytes.
const MOST_BYTES: u64 = 512 << 20;

/// What is written while the console runs.
#[derive(Debug)]
pub struct Recorder {
    file: BufWriter<File>,
    started: Instant,
    size: Option<Size>,
}

impl Recorder {
    /// Makes the file; one that is there already stays as it is.
    pub fn create(path: &Path) -> anyhow::Result<Self> {
        let file = OpenOptions::new().write(true).create_new(true).open(path);
        let file = file.map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => {
                anyhow::anyhow!("{} is there already; choose another name", path.display())
            }
            _ => anyhow::Error::new(error).context(format!("cannot make {}", path.display())),
        })?;
        Ok(Self {
            file: BufWriter::new(file),
            started: Instant::now(),
            size: None,
        })
    }

    /// What a terminal of this size was sent.
    pub fn output(&mut self, size: Size, bytes: &[u8]) -> io::Result<()> {
        if self.size.is_none() {
            let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH);
            let head = json!({
                "version": 2,
                "width": size.width,
                "height": size.height,
                "timestamp": since_1970.unwrap_or_default().as_secs(),
                "title": "recarga console",
                "env": {"TERM": std::env::var("TERM").unwrap_or_default()},
            });
            writeln!(self.file, "{head}")?;
            self.started = Instant::now();
        } else if self.size != Some(size) {
            self.event("r", &format!("{}x{}", size.width, size.height))?;
        }
        self.size = Some(size);
        self.event("o", &String::from_utf8_lossy(bytes))
    }

    /// Something happened that a viewer will look for.
    pub fn mark(&mut self, text: &str) -> io::Result<()> {
        if self.size.is_some() {
            self.event("m", text)?;
        }
        Ok(())
    }

    fn event(&mut self, kind: &str, text: &str) -> io::Result<()> {
        let seconds = self.started.elapsed().as_secs_f64();
        let seconds = (seconds * 1e6).round() / 1e6;
        writeln!(self.file, "{}", json!([seconds, kind, text]))?;
        // What was shown is written, however this ends.
        self.file.flush()
    }
}

/// A recording that is played again.
#[derive(Clone, Debug, PartialEq)]
pub struct Recording {
    pub size: Size,
    pub events: Vec<Event>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    pub at: Duration,
    pub what: What,
}

#[derive(Clone, Debug, PartialEq)]
pub enum What {
    Output(String),
    Resize(Size),
    Mark(String),
}

impl Recording {
    /// Reads a file. One that breaks off in the middle of its last line, as when its writer was killed, is played up to there.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
        let bytes = file.metadata().map_or(0, |about| about.len());
        ensure!(
            bytes <= MOST_BYTES,
            "{} is longer than {} MiB",
            path.display(),
            MOST_BYTES >> 20
        );
        Self::parse(BufReader::new(file))
            .with_context(|| format!("{} cannot be played", path.display()))
    }

    fn parse(mut text: impl BufRead) -> anyhow::Result<Self> {
        let mut line = Vec::new();
        text.read_until(b'\n', &mut line)?;
        let head: Value = serde_json::from_slice(&line).context("line 1 is no asciicast header")?;
        ensure!(
            head["version"] == 2,
            "line 1: asciicast version 2 is needed, this says {}",
            head["version"]
        );
        let side = |name: &str| -> anyhow::Result<u16> {
            let side = head[name]
                .as_u64()
                .and_then(|side| u16::try_from(side).ok());
            side.filter(|side| (1..=2_000).contains(side))
                .with_context(|| format!("line 1: {name} is no size"))
        };
        let size = Size::new(side("width")?, side("height")?);
        let mut events: Vec<Event> = Vec::new();
        for number in 2.. {
            line.clear();
            if text.read_until(b'\n', &mut line)? == 0 {
                break;
            }
            if line.trim_ascii().is_empty() {
                continue;
            }
            let whole = line.ends_with(b"\n");
            match event(&line) {
                Ok(Some(event)) => {
                    let last = events.last().map_or(Duration::ZERO, |last| last.at);
                    ensure!(event.at >= last, "line {number}: time runs backwards");
                    events.push(event);
                }
                Ok(None) => {}
                Err(_) if !whole => break,
                Err(why) => bail!("line {number}: {why}"),
            }
        }
        Ok(Self { size, events })
    }

    /// How long it lasts.
    #[must_use]
    pub fn length(&self) -> Duration {
        self.events.last().map_or(Duration::ZERO, |last| last.at)
    }

    /// The largest screen that occurs.
    #[must_use]
    pub fn largest(&self) -> Size {
        let sizes = self.events.iter().filter_map(|event| match event.what {
            What::Resize(size) => Some(size),
            _ => None,
        });
        sizes.fold(self.size, |largest, size| {
            Size::new(
                largest.width.max(size.width),
                largest.height.max(size.height),
            )
        })
    }

    /// When what happened.
    #[must_use]
    pub fn marks(&self) -> impl DoubleEndedIterator<Item = (Duration, &str)> {
        self.events.iter().filter_map(|event| match &event.what {
            What::Mark(text) => Some((event.at, text.as_str())),
            _ => None,
        })
    }
}

/// One line; nothing for kinds that a player need not know.
fn event(line: &[u8]) -> anyhow::Result<Option<Event>> {
    let (seconds, kind, text): (f64, String, String) =
        serde_json::from_slice(line).context("an event is [seconds, kind, text]")?;
    let at = Duration::try_from_secs_f64(seconds).context("no time")?;
    let what = match kind.as_str() {
        "o" => What::Output(text),
        "m" => What::Mark(text),
        "r" => {
            let size = text.split_once('x').and_then(|(width, height)| {
                Some(Size::new(width.parse().ok()?, height.parse().ok()?))
            });
            What::Resize(size.context("a size is WIDTHxHEIGHT")?)
        }
        _ => return Ok(None),
    };
    Ok(Some(Event { at, what }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("session.cast");
        let mut recorder = Recorder::create(&path).unwrap();
        recorder.mark("before there is anything").unwrap();
        recorder
            .output(Size::new(80, 24), "\x1b[1;1Hé".as_bytes())
            .unwrap();
        recorder.mark("drain gateway-1").unwrap();
        recorder.output(Size::new(100, 30), b"x").unwrap();
        let recording = Recording::read(&path).unwrap();
        assert_eq!(recording.size, Size::new(80, 24));
        assert_eq!(recording.largest(), Size::new(100, 30));
        let what: Vec<_> = recording.events.iter().map(|event| &event.what).collect();
        assert_eq!(
            what,
            [
                &What::Output("\x1b[1;1Hé".into()),
                &What::Mark("drain gateway-1".into()),
                &What::Resize(Size::new(100, 30)),
                &What::Output("x".into()),
            ]
        );
        assert!(
            Recorder::create(&path)
                .unwrap_err()
                .to_string()
                .contains("already")
        );
        // The writer was killed in the middle of a line.
        let text = std::fs::read(&path).unwrap();
        std::fs::write(&path, &text[..text.len() - 4]).unwrap();
        assert_eq!(Recording::read(&path).unwrap().events.len(), 3);
    }

    #[test]
    fn what_cannot_be_played_says_why() {
        const HEAD: &str = "{\"version\":2,\"width\":80,\"height\":24}\n";
        let why = |text: &str| match Recording::parse(text.as_bytes()) {
            Ok(_) => String::new(),
            Err(error) => format!("{error:#}"),
        };
        for (text, reason) in [
            ("", "line 1 is no asciicast header"),
            ("{\"version\":3}\n", "version 2 is needed, this says 3"),
            (
                "{\"version\":2,\"width\":0,\"height\":24}\n",
                "width is no size",
            ),
        ] {
            assert!(why(text).contains(reason), "{}", why(text));
        }
        for (text, reason) in [
            ("[1,\"o\"]\n", "line 2: an event is"),
            ("[-1,\"o\",\"\"]\n", "line 2: no time"),
            (
                "[2,\"o\",\"\"]\n[1,\"o\",\"\"]\n",
                "line 3: time runs backwards",
            ),
            ("[1,\"r\",\"wide\"]\n", "line 2: a size is"),
        ] {
            let why = why(&format!("{HEAD}{text}"));
            assert!(why.contains(reason), "{why}");
        }
        assert_eq!(
            why(&format!("{HEAD}\n[1,\"i\",\"typed\"]\n[2,\"o\",\"x\"]\n")),
            ""
        );
    }
}
