//! The merged log: bounded in lines and in bytes, safe to print, ordered by time.

use std::collections::VecDeque;

/// Lines kept.
pub const MOST_LINES: usize = 10_000;

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
    pub message: String,
}

impl Line {
    /// `HH:MM:SS` of the timestamp.
    pub fn clock(&self) -> &str {
        self.timestamp.get(11..19).unwrap_or("--:--:--")
    }
}

/// The log ring and what is shown of it.
#[derive(Debug)]
pub struct Logs {
    lines: VecDeque<Line>,
    dropped: u64,
    pub threshold: Level,
    /// How many shown lines below the pane are hidden because the reader scrolled up; 0 follows.
    scrolled: usize,
    /// Lines that arrived since then.
    unread: usize,
}

impl Default for Logs {
    fn default() -> Self {
        Self {
            lines: VecDeque::new(),
            dropped: 0,
            threshold: Level::Info,
            scrolled: 0,
            unread: 0,
        }
    }
}

impl Logs {
    pub fn push(&mut self, line: Line) {
        if self.lines.len() == MOST_LINES {
            self.lines.pop_front();
        }
        let shown = line.level >= self.threshold;
        // Services send nearly in order: the place is a few lines from the end, if not the end itself.
        let place = self
            .lines
            .iter()
            .rposition(|other| other.timestamp <= line.timestamp)
            .map_or(0, |before| before + 1);
        self.lines.insert(place, line);
        if shown && self.scrolled > 0 {
            self.scrolled = (self.scrolled + 1).min(MOST_LINES);
            self.unread += 1;
        }
    }

    pub fn add_dropped(&mut self, count: u64) {
        self.dropped += count;
    }

    /// Lines that came faster than they could be taken.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    pub fn unread(&self) -> usize {
        self.unread
    }

    pub fn is_following(&self) -> bool {
        self.scrolled == 0
    }

    /// The `count` lines to show, oldest first.
    pub fn visible(&self, count: usize) -> Vec<&Line> {
        let mut lines: Vec<_> = self
            .lines
            .iter()
            .rev()
            .filter(|line| line.level >= self.threshold)
            .skip(self.scrolled)
            .take(count)
            .collect();
        lines.reverse();
        lines
    }

    pub fn cycle_threshold(&mut self) {
        self.threshold = self.threshold.next_threshold();
        self.follow();
    }

    /// Moves up (positive) or down by lines; at the end it follows again.
    pub fn scroll(&mut self, lines: isize) {
        let shown = self
            .lines
            .iter()
            .filter(|line| line.level >= self.threshold)
            .count();
        self.scrolled = self
            .scrolled
            .saturating_add_signed(lines)
            .min(shown.saturating_sub(1));
        if self.scrolled == 0 {
            self.unread = 0;
        }
    }

    pub fn follow(&mut self) {
        self.scrolled = 0;
        self.unread = 0;
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

#[cfg(test)]
mod tests {
    use super::*;

    fn line(second: u32, level: Level) -> Line {
        Line {
            timestamp: format!(
                "2026-01-01T00:{:02}:{:02}.5Z",
                second / 60 % 60,
                second % 60
            ),
            level,
            instance: "gateway-1".into(),
            request_id: None,
            message: format!("line {second}"),
        }
    }

    #[test]
    fn merges_by_time_and_stays_bounded() {
        let mut logs = Logs::default();
        for second in [3, 1, 2, 5, 4] {
            logs.push(line(second, Level::Info));
        }
        let order: Vec<_> = logs.visible(9).iter().map(|l| l.clock()).collect();
        assert_eq!(
            order,
            ["00:00:01", "00:00:02", "00:00:03", "00:00:04", "00:00:05"]
        );
        for _ in 0..MOST_LINES + 50 {
            logs.push(line(7, Level::Info));
        }
        assert_eq!(logs.lines.len(), MOST_LINES);
    }

    #[test]
    fn scrolling_holds_still_while_lines_arrive() {
        let mut logs = Logs::default();
        (0..10).for_each(|second| logs.push(line(second, Level::Info)));
        logs.scroll(3);
        let before: Vec<_> = logs.visible(2).into_iter().cloned().collect();
        (10..14).for_each(|second| logs.push(line(second, Level::Info)));
        logs.push(line(20, Level::Debug));
        assert_eq!(
            logs.visible(2).into_iter().cloned().collect::<Vec<_>>(),
            before
        );
        assert_eq!(logs.unread(), 4);
        logs.scroll(-100);
        assert!(logs.is_following());
        assert_eq!(logs.unread(), 0);
    }

    #[test]
    fn the_filter_goes_round() {
        let mut logs = Logs::default();
        logs.push(line(1, Level::Debug));
        logs.push(line(2, Level::Error));
        let mut counts = Vec::new();
        for _ in 0..4 {
            counts.push((logs.threshold.word(), logs.visible(9).len()));
            logs.cycle_threshold();
        }
        assert_eq!(
            counts,
            [("INFO", 1), ("WARN", 1), ("ERROR", 1), ("TRACE", 2)]
        );
    }

    #[test]
    fn hostile_text_becomes_printable() {
        assert_eq!(
            printable("a\x1b[31mb\tc\u{9b}d"),
            "a\u{fffd}[31mb c\u{fffd}d"
        );
        assert_eq!(printable("x\u{202e}y"), "x\u{fffd}y");
        let long = printable(&"ñ".repeat(1_000_000));
        assert!(long.len() <= MOST_BYTES && long.chars().all(|c| c == 'ñ'));
    }
}
