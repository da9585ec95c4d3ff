//! One line of the log, safe to print.

use chrono::{DateTime, FixedOffset};

/// Bytes kept of one line's text.
pub const MOST_BYTES: usize = 4_096;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
}

impl Level {
    pub fn parse(text: &str) -> Self {
        match text.to_ascii_uppercase().as_str() {
            "ERROR" => Self::Error,
            "WARN" | "WARNING" => Self::Warn,
            "DEBUG" => Self::Debug,
            "TRACE" => Self::Trace,
            _ => Self::Info,
        }
    }

    pub fn word(self) -> &'static str {
        match self {
            Self::Error => "ERROR",
            Self::Warn => "WARN",
            Self::Info => "INFO",
            Self::Debug => "DEBUG",
            Self::Trace => "TRACE",
        }
    }

    /// The next threshold of the filter: everything, information, warnings, errors, everything again.
    pub fn next_threshold(self) -> Self {
        match self {
            Self::Trace | Self::Debug => Self::Info,
            Self::Info => Self::Warn,
            Self::Warn => Self::Error,
            Self::Error => Self::Trace,
        }
    }
}

/// One line; every text in it is already printable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// RFC 3339 in UTC, which sorts as text.
    pub timestamp: String,
    pub level: Level,
    pub instance: String,
    pub request_id: Option<String>,
    /// Whether it tells of a request that was answered with 5xx.
    pub failed: bool,
    pub message: String,
}

impl Line {
    /// Whether somebody who looks for errors looks for this.
    pub fn is_error(&self) -> bool {
        self.level == Level::Error || self.failed
    }

    /// All of it but the time, as filters see it.
    pub fn whole(&self) -> String {
        let mut whole = String::new();
        self.write_whole(&mut whole);
        whole
    }

    /// Puts [`Self::whole`] into a text that is used again and again.
    pub fn write_whole(&self, out: &mut String) {
        out.clear();
        out.extend([self.level.word(), " ", &self.instance, " ", &self.message]);
        out.push(' ');
        out.push_str(self.request_id.as_deref().unwrap_or(""));
    }

    /// Where the instance's name and the message begin in [`Self::whole`].
    pub fn offsets(&self) -> (usize, usize) {
        let instance = self.level.word().len() + 1;
        (instance, instance + self.instance.len() + 1)
    }

    /// `HH:MM:SS` of the timestamp.
    pub fn clock(&self) -> &str {
        self.timestamp.get(11..19).unwrap_or("--:--:--")
    }

    /// `HH:MM:SS.mmm` of the timestamp, as far as it goes.
    pub fn fine_clock(&self) -> &str {
        let end = self.timestamp.len().min(23);
        let end = match self.timestamp.get(11..end) {
            Some(text) => 11 + text.trim_end_matches(|c: char| !c.is_ascii_digit()).len(),
            None => return self.clock(),
        };
        self.timestamp.get(11..end).unwrap_or("--:--:--")
    }

    /// The moment on the wall clock.
    pub fn moment(&self) -> Option<DateTime<FixedOffset>> {
        DateTime::parse_from_rfc3339(&self.timestamp).ok()
    }

    /// All of it with what belongs together on a line of its own.
    pub(super) fn read(&self) -> Vec<String> {
        let mut lines = vec![
            format!("time      {}", self.timestamp),
            format!("level     {}", self.level.word()),
            format!("instance  {}", self.instance),
        ];
        if let Some(id) = &self.request_id {
            lines.push(format!("request   {id}"));
        }
        lines.push(String::new());
        // Fields follow the message, each after two blanks.
        lines.extend(self.message.split("  ").map(|part| part.trim().to_owned()));
        lines
    }

    /// Bytes that keeping it takes.
    pub(super) fn bytes(&self) -> usize {
        let id = self.request_id.as_ref().map_or(0, String::capacity);
        size_of::<Self>()
            + self.timestamp.capacity()
            + self.instance.capacity()
            + self.message.capacity()
            + id
    }
}

/// Makes foreign text printable on one line: control characters replaced, length bounded.
pub fn printable(text: &str) -> String {
    let mut end = text.len().min(MOST_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end]
        .chars()
        .map(|character| match character {
            '\n' | '\r' | '\t' => ' ',
            // Besides C0 and C1: what reorders or hides the text around it.
            c if c.is_control() || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}') => {
                '\u{fffd}'
            }
            c => c,
        })
        .collect()
}
