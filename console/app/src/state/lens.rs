//! Which moment is looked at, and over how long a time: now, or one held still.

use std::time::Duration;

use chrono::{DateTime, NaiveTime, Utc};

use super::Moment;

/// Over which the numbers that say "now" are taken.
pub const NOW: Duration = Duration::from_secs(10);

/// The windows that zooming steps through; all charts share one.
pub const WINDOWS: [Duration; 6] = [
    Duration::from_secs(30),
    Duration::from_mins(1),
    Duration::from_mins(2),
    Duration::from_mins(5),
    Duration::from_mins(10),
    Duration::from_mins(15),
];

/// How much of the past is kept.
pub const KEPT: Duration = Duration::from_mins(16);

/// `30s`, `5m`.
pub fn name_of(window: Duration) -> String {
    match window.as_secs() {
        seconds if seconds < 60 => format!("{seconds}s"),
        seconds => format!("{}m", seconds / 60),
    }
}

/// The moment of a clock time in UTC, `HH:MM` or `HH:MM:SS`, if it is one of those that are kept.
pub fn moment_of(text: &str, clock: DateTime<Utc>, now: Moment) -> Option<Moment> {
    let time = NaiveTime::parse_from_str(text, "%H:%M:%S")
        .or_else(|_| NaiveTime::parse_from_str(text, "%H:%M"))
        .ok()?;
    let mut at = clock.date_naive().and_time(time).and_utc();
    if at > clock {
        at -= chrono::Duration::days(1);
    }
    let ago = (clock - at).to_std().ok()?;
    (ago <= KEPT).then(|| now.saturating_sub(ago))
}

/// A moment, and the time before it that counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lens {
    pub at: Moment,
    pub window: Duration,
}

/// What the operator looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sight {
    window: usize,
    frozen: Option<Moment>,
}

impl Default for Sight {
    fn default() -> Self {
        Self {
            window: 2,
            frozen: None,
        }
    }
}

impl Sight {
    pub fn window(self) -> Duration {
        WINDOWS[self.window]
    }

    pub fn wider(&mut self) {
        self.window = (self.window + 1).min(WINDOWS.len() - 1);
    }

    pub fn narrower(&mut self) {
        self.window = self.window.saturating_sub(1);
    }

    /// Takes a window by its name; whether there is such a one.
    pub fn choose(&mut self, name: &str) -> bool {
        let place = WINDOWS.iter().position(|window| name_of(*window) == name);
        if let Some(place) = place {
            self.window = place;
        }
        place.is_some()
    }

    /// Holds a moment still.
    pub fn hold(&mut self, at: Moment, now: Moment) {
        self.frozen = (at < now).then_some(at);
    }

    pub fn is_frozen(self) -> bool {
        self.frozen.is_some()
    }

    /// The moment looked at.
    pub fn at(self, now: Moment) -> Moment {
        self.frozen.unwrap_or(now)
    }

    /// Holds the present moment still, or lets time go on.
    pub fn toggle(&mut self, now: Moment) {
        self.frozen = match self.frozen {
            None => Some(now),
            Some(_) => None,
        };
    }

    /// Goes back (or, negative, forth) by parts of the window: a twentieth each. Arriving at the present lets time go on.
    pub fn scrub(&mut self, steps: i32, now: Moment) {
        let step = (self.window() / 20).max(Duration::from_secs(1));
        let at = self.at(now);
        let earliest = now.saturating_sub(KEPT.saturating_sub(Duration::from_mins(1)));
        let to = if steps >= 0 {
            at.saturating_sub(step * steps.unsigned_abs()).max(earliest)
        } else {
            at + step * steps.unsigned_abs()
        };
        self.frozen = (to < now).then_some(to);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scrubbing_goes_back_as_far_as_anything_is_kept_and_forth_to_the_present() {
        let now = Duration::from_hours(1);
        let mut sight = Sight::default();
        assert!(!sight.is_frozen());
        sight.scrub(1, now);
        assert_eq!(sight.at(now), now.saturating_sub(Duration::from_secs(6)));
        sight.scrub(100_000, now);
        assert_eq!(sight.at(now), now.saturating_sub(Duration::from_mins(15)));
        sight.scrub(-100_000, now);
        assert!(!sight.is_frozen());
        let young = Duration::from_secs(3);
        sight.scrub(50, young);
        assert_eq!(sight.at(young), Duration::ZERO);
    }

    #[test]
    fn freezing_holds_a_moment_still() {
        let mut sight = Sight::default();
        sight.toggle(Duration::from_secs(5));
        assert_eq!(sight.at(Duration::from_secs(9)), Duration::from_secs(5));
        sight.toggle(Duration::from_secs(9));
        assert_eq!(sight.at(Duration::from_secs(9)), Duration::from_secs(9));
    }

    #[test]
    fn the_windows_have_ends() {
        let mut sight = Sight::default();
        (0..20).for_each(|_| sight.wider());
        assert_eq!(sight.window(), Duration::from_mins(15));
        (0..20).for_each(|_| sight.narrower());
        assert_eq!(sight.window(), Duration::from_secs(30));
    }
}
