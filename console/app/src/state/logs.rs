//! The merged log: bounded in lines and in bytes, safe to print, ordered by time.

mod line;

use std::collections::{BTreeSet, VecDeque};

use chrono::TimeDelta;

pub use self::line::{Level, Line, MOST_BYTES, printable};
use super::{cursor::Filter, overlay::Page};

/// Lines kept.
pub const MOST_LINES: usize = 10_000;

/// Bytes kept of all lines together.
pub const MOST_TOTAL: usize = 8 << 20;

/// Lines of a followed request that are asked who wrote them.
const MOST_OF_A_STORY: usize = 1_000;

/// Where to look from the present place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    Earlier,
    Later,
}

/// The log ring and what is shown of it.
///
/// Which lines are shown is decided once per line, and again only when what is wanted changes: a frame looks at the lines on the
/// screen and at no others.
#[derive(Debug)]
pub struct Logs {
    lines: VecDeque<Line>,
    /// The number of the first line that is kept; lines keep their number unless another is put before them.
    first: u64,
    /// The numbers of the lines that are shown, in order.
    shown: VecDeque<u64>,
    /// Bytes of all lines.
    bytes: usize,
    /// Lines by level.
    levels: [usize; 5],
    dropped: u64,
    threshold: Level,
    pub wrap: bool,
    filter: Option<Filter>,
    /// One request over all tiers.
    request: Option<String>,
    /// The line that is held in place; none follows the newest.
    held: Option<u64>,
    /// Lines to be shown that arrived since then.
    unread: usize,
    /// For filters to look at.
    scratch: String,
}

impl Default for Logs {
    fn default() -> Self {
        Self {
            lines: VecDeque::new(),
            first: 0,
            shown: VecDeque::new(),
            bytes: 0,
            levels: [0; 5],
            dropped: 0,
            threshold: Level::Info,
            wrap: false,
            filter: None,
            request: None,
            held: None,
            unread: 0,
            scratch: String::new(),
        }
    }
}

impl Logs {
    pub fn push(&mut self, mut line: Line) {
        let full = self.lines.len() >= MOST_LINES;
        if full
            && self
                .lines
                .front()
                .is_some_and(|first| line.timestamp < first.timestamp)
        {
            // Older than all that is kept: it would be the next to go.
            return;
        }
        if line.message.capacity() > line.message.len() + line.message.len() / 4 {
            line.message.shrink_to_fit();
        }
        let shown = self.lets_through(&line);
        self.bytes += line.bytes();
        self.levels[line.level as usize] += 1;
        // Services send nearly in order: the place is the end, or a few lines from it.
        let place = match self.lines.back() {
            Some(last) if last.timestamp > line.timestamp => self
                .lines
                .partition_point(|other| other.timestamp <= line.timestamp),
            _ => self.lines.len(),
        };
        let number = self.first + place as u64;
        let mut at = self.shown.len();
        while at > 0 && self.shown[at - 1] >= number {
            at -= 1;
            self.shown[at] += 1;
        }
        if shown {
            self.shown.insert(at, number);
        }
        self.lines.insert(place, line);
        if let Some(held) = &mut self.held {
            if *held >= number {
                *held += 1;
            }
            self.unread += usize::from(shown);
        }
        while self.lines.len() > MOST_LINES || self.bytes > MOST_TOTAL {
            self.forget_first();
        }
    }

    fn forget_first(&mut self) {
        let Some(line) = self.lines.pop_front() else {
            return;
        };
        self.bytes -= line.bytes();
        self.levels[line.level as usize] -= 1;
        if self.shown.front() == Some(&self.first) {
            self.shown.pop_front();
        }
        self.first += 1;
        // What is held and gone gives its place to the oldest that is left.
        if let Some(held) = self.held
            && held < self.first
        {
            self.held = self.shown.front().copied();
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

    /// The least level that is shown.
    pub fn threshold(&self) -> Level {
        self.threshold
    }

    /// How many of all lines are of a level.
    pub fn of_level(&self, level: Level) -> usize {
        self.levels[level as usize]
    }

    fn lets_through(&mut self, line: &Line) -> bool {
        if let Some(request) = &self.request {
            return line.request_id.as_deref() == Some(request);
        }
        if line.level < self.threshold {
            return false;
        }
        match &self.filter {
            None => true,
            Some(filter) => {
                line.write_whole(&mut self.scratch);
                filter.lets_through(&self.scratch)
            }
        }
    }

    /// Decides anew which lines are shown; the held line, or the shown one before it, stays held.
    fn sift(&mut self) {
        let lines = std::mem::take(&mut self.lines);
        let mut shown = std::mem::take(&mut self.shown);
        shown.clear();
        for (number, line) in (self.first..).zip(&lines) {
            if self.lets_through(line) {
                shown.push_back(number);
            }
        }
        self.lines = lines;
        self.shown = shown;
        if let Some(held) = self.held {
            let before = self.shown.partition_point(|number| *number <= held);
            match self.shown.get(before.saturating_sub(1)) {
                Some(number) => self.held = Some(*number),
                None => self.follow(),
            }
        }
    }

    fn line(&self, number: u64) -> Option<&Line> {
        self.lines
            .get(usize::try_from(number.checked_sub(self.first)?).ok()?)
    }

    /// How many shown lines there are up to the held one.
    fn place(&self) -> usize {
        match self.held {
            None => self.shown.len(),
            Some(held) => self.shown.partition_point(|number| *number <= held),
        }
    }

    /// The `count` lines to show, oldest first. The held line is the last of them, unless there are too few before it.
    pub fn visible(&self, count: usize) -> Vec<&Line> {
        let end = self.place().max(count.min(self.shown.len()));
        let numbers = self.shown.range(end.saturating_sub(count)..end);
        numbers.filter_map(|number| self.line(*number)).collect()
    }

    /// The line that is held, if one is.
    pub fn held(&self) -> Option<&Line> {
        self.line(self.held?)
    }

    /// The held line, or the last one on show.
    pub fn chosen(&self) -> Option<&Line> {
        match self.held {
            Some(held) => self.line(held),
            None => self.line(*self.shown.back()?),
        }
    }

    /// How many of all lines are shown.
    pub fn matching(&self) -> (usize, usize) {
        (self.shown.len(), self.lines.len())
    }

    pub fn cycle_threshold(&mut self) {
        self.threshold = self.threshold.next_threshold();
        self.sift();
        self.follow();
    }

    pub fn filter(&self) -> Option<&Filter> {
        self.filter.as_ref()
    }

    /// As it was typed.
    pub fn filter_text(&self) -> String {
        self.filter
            .as_ref()
            .map_or_else(String::new, |filter| filter.text().to_owned())
    }

    /// Shows only what matches: a regular expression against instance, level, message and request id.
    pub fn set_filter(&mut self, text: &str) {
        let filter = Filter::new(text);
        if filter != self.filter {
            self.filter = filter;
            self.sift();
        }
    }

    /// Moves up (positive) or down by lines; at the end it follows again.
    pub fn scroll(&mut self, lines: isize) {
        let (place, all) = (self.place(), self.shown.len());
        let steps = lines.unsigned_abs();
        let to = if lines > 0 {
            place.saturating_sub(steps).max(1)
        } else {
            place.saturating_add(steps)
        };
        if all == 0 || lines <= 0 && to >= all {
            self.follow();
        } else {
            self.held = self.shown.get(to.min(all) - 1).copied();
        }
    }

    pub fn follow(&mut self) {
        self.held = None;
        self.unread = 0;
    }

    fn seek(&mut self, direction: Direction, wanted: impl Fn(&Line) -> bool) -> bool {
        let begin = match self.held {
            Some(held) => held.saturating_sub(self.first) as usize,
            None => self.lines.len(),
        };
        let found = match direction {
            Direction::Earlier => self.lines.range(..begin).rposition(&wanted),
            Direction::Later if self.held.is_none() => None,
            Direction::Later => {
                let after = (begin + 1).min(self.lines.len());
                let found = self.lines.range(after..).position(&wanted);
                found.map(|place| place + after)
            }
        };
        let Some(place) = found else {
            return false;
        };
        self.held = Some(self.first + place as u64);
        true
    }

    /// Goes to the next error in a direction; from the end, to the first one there is when none is later. False when there is none.
    pub fn seek_error(&mut self, direction: Direction) -> bool {
        let request = self.request.clone();
        let wanted = |line: &Line| {
            line.is_error()
                && request
                    .as_deref()
                    .is_none_or(|id| line.request_id.as_deref() == Some(id))
        };
        let found = if direction == Direction::Later && self.held.is_none() {
            // From the live end there is nothing later: the oldest error is where the story begins.
            let place = self.lines.iter().position(wanted);
            self.held = place.map(|place| self.first + place as u64);
            place.is_some()
        } else {
            self.seek(direction, wanted)
        };
        self.show_held();
        found
    }

    /// Goes to the next line of the held line's request.
    pub fn seek_request(&mut self, direction: Direction) -> bool {
        let Some(id) = self.chosen_request() else {
            return false;
        };
        let found = self.seek(direction, |line| line.request_id.as_deref() == Some(&id));
        self.show_held();
        found
    }

    /// What was looked for and found must be on show, whatever the filter says.
    fn show_held(&mut self) {
        let Some(held) = self.held else { return };
        if let Err(place) = self.shown.binary_search(&held) {
            self.shown.insert(place, held);
        }
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
        self.chosen()?.request_id.clone()
    }

    /// Whether the chosen line is one of many of the same request, of which the others are hidden or lost among strangers.
    pub fn can_follow(&self) -> bool {
        let chosen = self.chosen().and_then(|line| line.request_id.as_deref());
        chosen.is_some() && chosen != self.request()
    }

    /// Shows only the lines of the chosen line's request.
    pub fn follow_request(&mut self) {
        if let Some(id) = self.chosen_request() {
            self.request = Some(id);
            self.sift();
        }
    }

    pub fn follow_id(&mut self, id: &str) {
        self.request = Some(id.to_owned());
        self.sift();
        self.follow();
    }

    /// The request that is followed.
    pub fn request(&self) -> Option<&str> {
        self.request.as_deref()
    }

    /// What is known of the followed request: its lines, who wrote them, and the time from the first to the last.
    pub fn story(&self) -> Option<Story> {
        self.request()?;
        let mut instances = BTreeSet::new();
        // An id that a client sends with everything it does is no story: it is not read to its end.
        for number in self.shown.iter().take(MOST_OF_A_STORY) {
            instances.extend(self.line(*number).map(|line| line.instance.as_str()));
        }
        let at = |number: Option<&u64>| self.line(*number?)?.moment();
        let (first, last) = (at(self.shown.front()), at(self.shown.back()));
        Some(Story {
            lines: self.shown.len(),
            instances: instances.len(),
            took: first.zip(last).map(|(first, last)| last - first),
        })
    }

    /// Shows all requests again; false if it did already.
    pub fn stop_following_request(&mut self) -> bool {
        let followed = self.request.take().is_some();
        if followed {
            self.sift();
        }
        followed
    }

    /// The chosen line as text.
    pub fn chosen_text(&self) -> Option<String> {
        let line = self.chosen()?;
        Some(format!("{} {}", line.timestamp, line.whole()))
    }

    /// The chosen line to read, with nothing of it cut off.
    pub fn page(&self) -> Option<Page> {
        let line = self.chosen()?;
        Some(Page {
            title: format!("{} {}", line.instance, line.fine_clock()),
            lines: line.read(),
            scroll: 0,
        })
    }
}

/// A request's way through the tiers, as far as the log tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Story {
    pub lines: usize,
    pub instances: usize,
    pub took: Option<TimeDelta>,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn line(second: u32, level: Level) -> Line {
        Line {
            failed: false,
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
        assert_eq!(
            shown,
            ["line 12", "line 13", "line 14"],
            "levels do not count"
        );
        assert_eq!(logs.held().unwrap().message, "line 12");
        assert_eq!(
            logs.visible(1).len(),
            1,
            "the held line where there is room for no more"
        );
        let story = logs.story().unwrap();
        assert_eq!((story.lines, story.instances), (3, 3));
        assert_eq!(story.took, Some(TimeDelta::seconds(2)));
        assert!(!logs.can_follow());
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
            counts.push((logs.threshold().word(), logs.visible(9).len()));
            logs.cycle_threshold();
        }
        assert_eq!(
            counts,
            [("INFO", 1), ("WARN", 1), ("ERROR", 1), ("TRACE", 2)]
        );
    }

    #[test]
    fn bytes_are_bounded_as_well() {
        let mut logs = Logs::default();
        for second in 0..4_000 {
            logs.push(Line {
                message: "x".repeat(MOST_BYTES),
                ..line(second, Level::Info)
            });
        }
        assert!(logs.bytes <= MOST_TOTAL && logs.bytes > MOST_TOTAL / 2);
        let counted: usize = logs.lines.iter().map(Line::bytes).sum();
        assert_eq!(counted, logs.bytes);
        assert_eq!(logs.matching(), (logs.lines.len(), logs.lines.len()));
    }

    #[test]
    fn a_late_stranger_does_not_push_out_what_is_newer() {
        let mut logs = Logs::default();
        (0..MOST_LINES).for_each(|_| logs.push(line(30, Level::Info)));
        logs.push(line(1, Level::Error));
        assert_eq!(logs.of_level(Level::Error), 0);
        assert_eq!(logs.of_level(Level::Info), MOST_LINES);
    }

    /// What is kept about the lines on show is what asking each line would find.
    fn check(logs: &mut Logs) {
        let lines = logs.lines.clone();
        let first = logs.first;
        let expected: Vec<u64> = (first..)
            .zip(&lines)
            .filter(|(_, line)| logs.lets_through(line))
            .map(|(number, _)| number)
            .collect();
        assert_eq!(Vec::from(logs.shown.clone()), expected);
        let errors = lines.iter().filter(|l| l.level == Level::Error).count();
        assert_eq!(logs.of_level(Level::Error), errors);
        assert!(logs.held.is_none_or(|held| logs.line(held).is_some()));
    }

    proptest! {
        #[test]
        fn what_is_on_show_is_kept_up_to_date(
            steps in proptest::collection::vec((0_u32..60, 0_u8..8), 1..120),
        ) {
            let mut logs = Logs::default();
            for (second, what) in steps {
                match what {
                    0 => logs.set_filter("[0-3]$"),
                    1 => logs.set_filter(""),
                    2 => logs.cycle_threshold(),
                    3 => logs.scroll(isize::try_from(second % 7).unwrap() - 3),
                    4 if second < 10 => logs.follow_request(),
                    4 => { logs.stop_following_request(); }
                    5 if second < 30 => logs.forget_first(),
                    _ => logs.push(Line {
                        request_id: Some(format!("id-{}", second % 5)),
                        ..line(second, if second % 6 == 0 { Level::Error } else { Level::Debug })
                    }),
                }
                check(&mut logs);
                for count in [0, 1, 5, 500] {
                    prop_assert!(logs.visible(count).len() <= count);
                }
                if let (Some(held), true) = (logs.held(), logs.place() > 0) {
                    prop_assert!(logs.visible(3).contains(&held));
                }
            }
        }
    }

    #[test]
    fn pitfall_09_following_costs_no_more_when_there_is_much() {
        let mut logs = Logs::default();
        logs.set_filter("line 5");
        // Each line is looked at when it comes; a look at the screen touches the screen's lines only.
        (0..MOST_LINES as u32 * 2).for_each(|second| logs.push(line(second / 10, Level::Info)));
        let (shown, all) = logs.matching();
        assert!(shown < all && all == MOST_LINES);
        assert!(
            logs.visible(60)
                .iter()
                .all(|line| line.message.starts_with("line 5"))
        );
        logs.scroll(1);
        let before = logs.held().cloned();
        (0..500).for_each(|_| logs.push(line(3_000, Level::Info)));
        assert_eq!(logs.held().cloned(), before);
        assert_eq!(logs.unread(), 0, "none of those is to be shown");
    }

    #[test]
    fn times_are_told_to_the_millisecond() {
        let mut line = line(5, Level::Info);
        assert_eq!(line.fine_clock(), "00:00:05.5");
        line.timestamp = "2026-01-01T00:00:05.123456Z".into();
        assert_eq!(line.fine_clock(), "00:00:05.123");
        line.timestamp = "é".repeat(30);
        assert!(!line.fine_clock().is_empty());
    }

    #[test]
    fn a_whole_line_can_be_read() {
        let mut logs = Logs::default();
        logs.push(Line {
            message: "task failed  task_id=8  reason=none".into(),
            request_id: Some("r-1".into()),
            ..line(1, Level::Error)
        });
        let page = logs.page().unwrap();
        assert_eq!(page.lines[3], "request   r-1");
        assert_eq!(page.lines[5..], ["task failed", "task_id=8", "reason=none"]);
        let line = logs.chosen().unwrap();
        let (instance, message) = line.offsets();
        assert!(line.whole()[instance..].starts_with("gateway-1"));
        assert!(line.whole()[message..].starts_with("task failed"));
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
