//! Plays a recording in a terminal: with pauses, faster, from mark to mark.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use crossterm::event::{Event as TerminalEvent, EventStream, KeyCode, KeyEventKind, KeyModifiers};
use futures::StreamExt as _;
use ratatui::layout::Size;
use tokio_util::sync::CancellationToken;

use crate::{
    console::{Asked, Signals},
    recording::{Recording, What},
    terminal::{self, Stage},
};

/// How far one key goes.
const STEP: Duration = Duration::from_secs(10);

/// Slowest and fastest.
const SPEEDS: (f64, f64) = (0.125, 64.0);

/// Where in a recording we are, and how fast that changes; knows no clock.
#[derive(Debug)]
struct Player<'a> {
    recording: &'a Recording,
    at: Duration,
    speed: f64,
    paused: bool,
    /// The first event that was not shown.
    next: usize,
}

impl<'a> Player<'a> {
    fn new(recording: &'a Recording, speed: f64) -> Self {
        Self {
            recording,
            at: Duration::ZERO,
            speed: speed.clamp(SPEEDS.0, SPEEDS.1),
            paused: false,
            next: 0,
        }
    }

    fn is_over(&self) -> bool {
        self.next == self.recording.events.len()
    }

    /// So much time went by: what is to be shown now.
    fn advance(&mut self, elapsed: Duration) -> String {
        if !self.paused {
            self.at = (self.at + elapsed.mul_f64(self.speed)).min(self.recording.length());
        }
        self.take()
    }

    /// How long nothing is to be done; `None` while there will not be.
    fn wait(&self) -> Option<Duration> {
        let next = self.recording.events.get(self.next)?;
        let wait = next.at.saturating_sub(self.at).div_f64(self.speed);
        (!self.paused).then_some(wait)
    }

    /// What everything up to another moment comes to, on an empty screen.
    fn seek(&mut self, at: Duration) -> String {
        self.at = at.min(self.recording.length());
        self.next = 0;
        "\x1b[0m\x1b[2J".to_owned() + &self.take()
    }

    fn back(&self, step: Duration) -> Duration {
        self.at.saturating_sub(step)
    }

    fn mark(&self, later: bool) -> Option<Duration> {
        // A mark that was just reached is not looked for again.
        let here = Duration::from_millis(500);
        let mut marks = self.recording.marks().map(|(at, _)| at);
        if later {
            marks.find(|at| *at > self.at)
        } else {
            marks.rev().find(|at| *at + here < self.at)
        }
    }

    fn take(&mut self) -> String {
        let mut output = String::new();
        while let Some(event) = self.recording.events.get(self.next)
            && event.at <= self.at
        {
            match &event.what {
                What::Output(text) => output += text,
                // The next frame paints everything.
                What::Resize(_) => output += "\x1b[0m\x1b[2J",
                What::Mark(_) => {}
            }
            self.next += 1;
        }
        output
    }

    fn status(&self) -> String {
        let clock = |at: Duration| format!("{}:{:02}", at.as_secs() / 60, at.as_secs() % 60);
        let state = match (self.paused, self.is_over()) {
            (_, true) => "end",
            (true, _) => "paused",
            _ => "playing",
        };
        let last = self.recording.marks().rfind(|(at, _)| *at <= self.at);
        let last = last.map_or_else(String::new, |(_, text)| format!("  {text}"));
        format!(
            "{state} {} of {}  x{}{last}",
            clock(self.at),
            clock(self.recording.length()),
            self.speed
        )
    }
}

/// Plays it until its viewer leaves.
///
/// # Errors
/// When the terminal is too small or cannot be taken.
pub async fn play(
    recording: &Recording,
    from: Duration,
    speed: f64,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let (needed, there) = (recording.largest(), terminal::size()?);
    ensure!(
        there.width >= needed.width && there.height >= needed.height,
        "it was recorded at {}x{} and this terminal has {}x{}: make it larger, or print a moment with --at",
        needed.width,
        needed.height,
        there.width,
        there.height
    );
    let mut signals = Signals::new().context("cannot listen to signals")?;
    let stage = Stage::enter().context("cannot take over the terminal")?;
    let room = (there.height > needed.height).then_some(there);
    let mut player = Player::new(recording, speed);
    let mut input = EventStream::new();
    show(&stage, &player.seek(from), &player, room);
    let mut before = Instant::now();
    loop {
        let wait = player.wait().map(|wait| wait.min(Duration::from_secs(1)));
        let key = tokio::select! {
            biased;
            () = shutdown.cancelled() => return Ok(()),
            asked = signals.next() => match asked {
                Asked::End => return Ok(()),
                Asked::Suspend => {
                    stage.suspend()?;
                    before = Instant::now();
                    show(&stage, &player.seek(player.at), &player, room);
                    None
                }
                Asked::Continued => None,
            },
            event = input.next() => match event {
                Some(Ok(TerminalEvent::Key(key))) if key.kind != KeyEventKind::Release => Some(key),
                Some(Ok(_)) => None,
                Some(Err(_)) | None => return Ok(()),
            },
            () = tokio::time::sleep(wait.unwrap_or_default()), if wait.is_some() => None,
        };
        let now = Instant::now();
        let mut output = player.advance(now - std::mem::replace(&mut before, now));
        if let Some(key) = key {
            let control = key.modifiers.contains(KeyModifiers::CONTROL);
            match key.code {
                KeyCode::Char('c') if control => return Ok(()),
                KeyCode::Char('z') if control => {
                    stage.suspend()?;
                    before = Instant::now();
                    output = player.seek(player.at);
                }
                KeyCode::Char('q') | KeyCode::Esc => return Ok(()),
                KeyCode::Char(' ') if player.is_over() => output = player.seek(Duration::ZERO),
                KeyCode::Char(' ') => player.paused = !player.paused,
                KeyCode::Right => output = player.seek(player.at + STEP),
                KeyCode::Left => output = player.seek(player.back(STEP)),
                KeyCode::Home => output = player.seek(Duration::ZERO),
                KeyCode::Char('+' | '>') => player.speed = (player.speed * 2.0).min(SPEEDS.1),
                KeyCode::Char('-' | '<') => player.speed = (player.speed / 2.0).max(SPEEDS.0),
                KeyCode::Char('n' | ']') | KeyCode::PageDown => {
                    if let Some(at) = player.mark(true) {
                        output = player.seek(at);
                    }
                }
                KeyCode::Char('N' | '[') | KeyCode::PageUp => {
                    let at = player.mark(false).unwrap_or_default();
                    output = player.seek(at);
                }
                _ => {}
            }
        }
        show(&stage, &output, &player, room);
    }
}

/// The output, and below it, where there is room, where we are. In the title anyway.
fn show(stage: &Stage, output: &str, player: &Player<'_>, room: Option<Size>) {
    let status = player.status();
    let mut bytes = format!("\x1b[?2026h{output}\x1b]2;recarga replay: {status}\x07");
    if let Some(size) = room {
        let keys = "space pause  \u{2190} \u{2192} 10 s  [ ] marks  < > speed  q quit";
        let line: String = format!(" {status}   {keys}")
            .chars()
            .take(usize::from(size.width))
            .collect();
        let below = format!(
            "\x1b7\x1b[0m\x1b[{};1H\x1b[2K\x1b[7m{line}\x1b[0m\x1b8",
            size.height
        );
        bytes += &below;
    }
    bytes += "\x1b[?2026l";
    stage.send(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recording::Event;

    fn recording() -> Recording {
        let event = |seconds, what| Event {
            at: Duration::from_secs(seconds),
            what,
        };
        Recording {
            size: Size::new(80, 24),
            events: vec![
                event(0, What::Output("a".into())),
                event(5, What::Mark("kill gateway-1".into())),
                event(5, What::Output("b".into())),
                event(20, What::Mark("restore".into())),
                event(30, What::Output("c".into())),
            ],
        }
    }

    #[test]
    fn time_goes_by_at_its_speed_and_stands_still_in_a_pause() {
        let recording = recording();
        let mut player = Player::new(&recording, 2.0);
        assert_eq!(player.advance(Duration::ZERO), "a");
        assert_eq!(player.wait(), Some(Duration::from_millis(2_500)));
        assert_eq!(player.advance(Duration::from_secs(1)), "");
        player.paused = true;
        assert_eq!(player.advance(Duration::from_secs(100)), "");
        assert_eq!((player.wait(), player.at.as_secs()), (None, 2));
        player.paused = false;
        assert_eq!(player.advance(Duration::from_secs(2)), "b");
        assert!(
            player
                .status()
                .starts_with("playing 0:06 of 0:30  x2  kill gateway-1")
        );
        assert_eq!(player.advance(Duration::from_secs(1_000)), "c");
        assert!(player.is_over() && player.status().starts_with("end 0:30"));
        assert_eq!(player.wait(), None);
    }

    #[test]
    fn any_moment_is_reached_from_any_other() {
        let recording = recording();
        let mut player = Player::new(&recording, 1.0);
        assert!(player.seek(Duration::from_secs(99)).ends_with("abc"));
        assert_eq!(player.mark(true), None);
        assert_eq!(player.mark(false).map(|at| at.as_secs()), Some(20));
        assert!(player.seek(Duration::from_secs(20)).ends_with("ab"));
        assert_eq!(player.mark(false).map(|at| at.as_secs()), Some(5));
        assert!(
            player
                .seek(player.back(Duration::from_secs(99)))
                .ends_with("2Ja")
        );
        assert_eq!(player.mark(true).map(|at| at.as_secs()), Some(5));
    }
}
