//! The merged log: bounded in lines and in bytes, safe to print, ordered by time.

use std::collections::VecDeque;

use super::cursor::Filter;

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
    /// All of it but the time, as filters see it.
    pub fn whole(&self) -> String {
        let id = self.request_id.as_deref().unwrap_or("");
        format!(
            "{} {} {} {id}",
            self.level.word(),
            self.instance,
            self.message
        )
    }

    /// `HH:MM:SS` of the timestamp.
    pub fn clock(&self) -> &str {
        self.timestamp.get(11..19).unwrap_or("--:--:--")
    }
}

/// Where to look from the present place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    Earlier,
    Later,
}

/// The log ring and what is shown of it.
#[derive(Debug)]
pub struct Logs {
    lines: VecDeque<Line>,
    /// The number of the first line that is kept; lines keep their number.
    first: u64,
    dropped: u64,
    pub threshold: Level,
    pub wrap: bool,
    filter: Option<Filter>,
    /// One request over all tiers.
    request: Option<String>,
    /// The line that is held in place; none follows the newest.
    held: Option<u64>,
    /// Lines to be shown that arrived since then.
    unread: usize,
}

impl Default for Logs {
    fn default() -> Self {
        Self {
            lines: VecDeque::new(),
            first: 0,
            dropped: 0,
            threshold: Level::Info,
            wrap: false,
            filter: None,
            request: None,
            held: None,
            unread: 0,
        }
    }
}

impl Logs {
    pub fn push(&mut self, line: Line) {
        if self.lines.len() == MOST_LINES {
            self.lines.pop_front();
            self.first += 1;
        }
        let shown = self.is_shown(&line);
        // Services send nearly in order: the place is a few lines from the end, if not the end itself.
        let place = self
            .lines
            .iter()
            .rposition(|other| other.timestamp <= line.timestamp)
            .map_or(0, |before| before + 1);
        self.lines.insert(place, line);
        if let Some(held) = &mut self.held {
            if *held >= self.first + place as u64 {
                *held += 1;
            }
            self.unread += usize::from(shown);
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
        self.held.is_none()
    }

    fn is_shown(&self, line: &Line) -> bool {
        if let Some(request) = &self.request {
            return line.request_id.as_deref() == Some(request);
        }
        line.level >= self.threshold
            && self
                .filter
                .as_ref()
                .is_none_or(|filter| filter.lets_through(&line.whole()))
    }

    /// Where the held line is, or the end.
    fn place(&self) -> usize {
        match self.held {
            None => self.lines.len(),
            Some(held) => {
                let place = held.saturating_sub(self.first) as usize;
                (place + 1).min(self.lines.len())
            }
        }
    }

    /// The `count` lines to show, oldest first; the held line is the last of them.
    pub fn visible(&self, count: usize) -> Vec<&Line> {
        let mut lines: Vec<_> = self
            .lines
            .range(..self.place())
            .rev()
            .filter(|line| self.is_shown(line))
            .take(count)
            .collect();
        lines.reverse();
        lines
    }

    /// The line that is held, if one is.
    pub fn held(&self) -> Option<&Line> {
        self.held?;
        self.lines.get(self.place().checked_sub(1)?)
    }

    /// How many of all lines are shown.
    pub fn matching(&self) -> (usize, usize) {
        let shown = self.lines.iter().filter(|line| self.is_shown(line)).count();
        (shown, self.lines.len())
    }

    pub fn cycle_threshold(&mut self) {
        self.threshold = self.threshold.next_threshold();
        self.follow();
    }

    /// As it was typed.
    pub fn filter_text(&self) -> String {
        self.filter
            .as_ref()
            .map_or_else(String::new, |filter| filter.text().to_owned())
    }

    /// Shows only what matches: a regular expression against instance, level, message and request id.
    pub fn set_filter(&mut self, text: &str) {
        self.filter = Filter::new(text);
    }

    /// Moves up (positive) or down by lines; at the end it follows again.
    pub fn scroll(&mut self, lines: isize) {
        let begin = self.place();
        let steps = lines.unsigned_abs();
        let shown = |(_, line): &(usize, &Line)| self.is_shown(line);
        let numbered = self.lines.iter().enumerate();
        let to = if lines > 0 {
            // The held line is the last one on show, so it is the first of those gone through.
            let mut earlier = numbered.take(begin).rev().filter(shown);
            let mut last = None;
            for _ in 0..=steps {
                match earlier.next() {
                    Some((place, _)) => last = Some(place),
                    None => break,
                }
            }
            last
        } else {
            let mut later = numbered.skip(begin).filter(shown);
            let found = later
                .by_ref()
                .nth(steps.saturating_sub(1))
                .map(|(place, _)| place);
            // Arriving at the newest line is following again.
            found.filter(|_| later.next().is_some())
        };
        match to {
            Some(place) => self.held = Some(self.first + place as u64),
            None if lines > 0 => {}
            None => self.follow(),
        }
    }

    pub fn follow(&mut self) {
        self.held = None;
        self.unread = 0;
    }

    fn seek(&mut self, direction: Direction, wanted: impl Fn(&Line) -> bool) -> bool {
        let begin = match self.held {
            Some(_) => self.place().saturating_sub(1),
            None => self.lines.len(),
        };
        let mut numbered = self.lines.iter().enumerate();
        let found = match direction {
            Direction::Earlier => numbered.take(begin).rev().find(|(_, line)| wanted(line)),
            Direction::Later if self.held.is_none() => None,
            Direction::Later => numbered.find(|(place, line)| *place > begin && wanted(line)),
        };
        let Some((place, _)) = found else {
            return false;
        };
        self.held = Some(self.first + place as u64);
        true
    }

    /// Goes to the next error in a direction; from the end, to the first one there is when none is later. False when there is none.
    pub fn seek_error(&mut self, direction: Direction) -> bool {
        let request = self.request.clone();
        let wanted = |line: &Line| {
            line.level == Level::Error
                && request
                    .as_deref()
                    .is_none_or(|id| line.request_id.as_deref() == Some(id))
        };
        if direction == Direction::Later && self.held.is_none() {
            // From the live end there is nothing later: the oldest error is where the story begins.
            let place = self.lines.iter().position(wanted);
            self.held = place.map(|place| self.first + place as u64);
            return place.is_some();
        }
        self.seek(direction, wanted)
    }

    /// Goes to the next line of the held line's request.
    pub fn seek_request(&mut self, direction: Direction) -> bool {
        let Some(id) = self.chosen_request() else {
            return false;
        };
        self.seek(direction, |line| line.request_id.as_deref() == Some(&id))
    }

    /// Goes to the next line that the filter lets through.
    pub fn seek_match(&mut self, direction: Direction) {
        self.scroll(match direction {
            Direction::Earlier => 1,
            Direction::Later => -1,
        });
    }

    /// The request of the held line, or of the last one on show.
    fn chosen_request(&self) -> Option<String> {
        match self.held() {
            Some(line) => line.request_id.clone(),
            None => self.visible(1).last()?.request_id.clone(),
        }
    }

    /// Shows only the lines of the chosen line's request.
    pub fn follow_request(&mut self) {
        if let Some(id) = self.chosen_request() {
            self.follow_id(&id);
        }
    }

    pub fn follow_id(&mut self, id: &str) {
        self.request = Some(id.to_owned());
    }

    /// The request that is followed.
    pub fn request(&self) -> Option<&str> {
        self.request.as_deref()
    }

    /// Shows all requests again; false if it did already.
    pub fn stop_following_request(&mut self) -> bool {
        self.request.take().is_some()
    }

    /// The chosen line as text.
    pub fn chosen_text(&self) -> Option<String> {
        let chosen = self.visible(1);
        let line = chosen.last()?;
        Some(format!("{} {}", line.timestamp, line.whole()))
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
    fn one_request_is_followed_over_all_tiers() {
        let mut logs = Logs::default();
        for second in 0..30 {
            logs.push(Line {
                instance: format!("tier-{}", second % 3),
                request_id: Some(format!("id-{}", second / 3)),
                ..line(
                    second,
                    if second == 13 {
                        Level::Error
                    } else {
                        Level::Debug
                    },
                )
            });
        }
        assert!(
            logs.seek_error(Direction::Later),
            "from the end to the first"
        );
        assert_eq!(logs.held().unwrap().message, "line 13");
        assert!(!logs.seek_error(Direction::Later));
        assert!(logs.seek_request(Direction::Earlier));
        assert_eq!(logs.held().unwrap().message, "line 12");
        assert!(!logs.seek_request(Direction::Earlier));
        logs.follow_request();
        let shown: Vec<_> = logs.visible(9).iter().map(|l| l.message.clone()).collect();
        assert_eq!(shown, ["line 12"], "up to the held line");
        logs.follow();
        assert_eq!(logs.visible(9).len(), 3);
        assert!(logs.stop_following_request() && !logs.stop_following_request());
    }

    #[test]
    fn filters_include_or_exclude_and_are_counted() {
        let mut logs = Logs::default();
        (0..10).for_each(|second| logs.push(line(second, Level::Info)));
        logs.set_filter("line [0-4]");
        assert_eq!(logs.matching(), (5, 10));
        logs.set_filter("!line [0-4]");
        assert_eq!(logs.visible(99).len(), 5);
        logs.scroll(2);
        assert_eq!(logs.held().unwrap().message, "line 7");
        logs.scroll(-1);
        assert_eq!(logs.held().unwrap().message, "line 8");
        logs.scroll(-1);
        assert!(logs.is_following());
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
