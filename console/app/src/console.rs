//! The loop: one closed set of events, one select, drain what waits, one draw.

use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use crossterm::event::{Event as TerminalEvent, EventStream, KeyCode, KeyEvent, KeyEventKind};
use futures::StreamExt;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::{MissedTickBehavior, interval, sleep_until},
};
use tokio_util::sync::CancellationToken;

use crate::{
    keys,
    net::Wire,
    state::{
        State, Update,
        action::{Action, Command, Overlay},
        logs::Line,
    },
    terminal::Screen,
    view::{self, Look},
};

/// Log lines taken between two looks at the keyboard.
const LINES_AT_ONCE: usize = 512;

/// Everything that can happen to the console.
#[derive(Debug)]
enum Event {
    Key(KeyEvent),
    Resized,
    /// The terminal is gone, or somebody ended us.
    Stop,
    /// Continued after a stop that was not ours.
    Continued,
    Update(Update),
    Line(Line),
    Tick,
    Draw,
}

/// Signals that mean the end.
struct Signals {
    terminate: Signal,
    hang_up: Signal,
    interrupt: Signal,
    continued: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
            interrupt: signal(SignalKind::interrupt())?,
            continued: signal(SignalKind::from_raw(rustix::process::Signal::CONT.as_raw()))?,
        })
    }

    async fn next(&mut self) -> Event {
        tokio::select! {
            _ = self.terminate.recv() => Event::Stop,
            _ = self.hang_up.recv() => Event::Stop,
            _ = self.interrupt.recv() => Event::Stop,
            _ = self.continued.recv() => Event::Continued,
        }
    }
}

/// The console while it runs.
pub struct Console {
    started: Instant,
    state: State,
    look: Look,
    between_frames: Duration,
    /// When something changed that is not on the screen yet: draw then.
    draw_at: Option<Instant>,
    last_draw: Option<Instant>,
}

impl Console {
    pub fn new(look: Look, frames: u32) -> Self {
        Self {
            started: Instant::now(),
            state: State::default(),
            look,
            between_frames: Duration::from_secs(1) / frames.clamp(1, 30),
            draw_at: Some(Instant::now()),
            last_draw: None,
        }
    }

    /// Runs until the operator quits or `shutdown` is cancelled.
    pub async fn run(
        mut self,
        screen: &mut Screen,
        wire: &mut Wire,
        shutdown: &CancellationToken,
    ) -> anyhow::Result<()> {
        let mut input = EventStream::new();
        let mut signals = Signals::new()?;
        let mut ticks = interval(Duration::from_secs(1));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let draw_at = self.draw_at;
            // In this order: a flood of lines delays neither keys nor frames.
            let event = tokio::select! {
                biased;
                () = shutdown.cancelled() => Event::Stop,
                event = signals.next() => event,
                event = input.next() => match event {
                    Some(Ok(TerminalEvent::Key(key))) if key.kind != KeyEventKind::Release => Event::Key(key),
                    Some(Ok(TerminalEvent::Resize(..))) => Event::Resized,
                    Some(Ok(_)) => continue,
                    Some(Err(_)) | None => Event::Stop,
                },
                () = sleep_until(draw_at.unwrap_or_else(Instant::now).into()), if draw_at.is_some() => Event::Draw,
                Some(update) = wire.updates.recv() => Event::Update(update),
                _ = ticks.tick() => Event::Tick,
                Some(line) = wire.lines.recv() => Event::Line(line),
            };
            self.state.tick(self.started.elapsed());
            let command = match event {
                Event::Stop => return Ok(()),
                Event::Draw => {
                    self.draw(screen)?;
                    continue;
                }
                Event::Key(key) => {
                    self.soon();
                    self.key(key)
                }
                Event::Resized => {
                    self.soon();
                    None
                }
                Event::Continued => {
                    screen.resume()?;
                    self.soon();
                    None
                }
                Event::Update(update) => {
                    self.state.apply(update);
                    self.later();
                    None
                }
                Event::Line(line) => {
                    self.state.log(line);
                    self.later();
                    None
                }
                Event::Tick => {
                    self.later();
                    None
                }
            };
            self.drain(wire);
            match command {
                None => {}
                Some(Command::Quit) => return Ok(()),
                Some(Command::Repaint) => screen.repaint()?,
                Some(Command::Suspend) => {
                    screen.suspend()?;
                    self.soon();
                }
                // A full queue of commands means a hand on the keyboard: what is too much is left out.
                Some(command) => drop(wire.commands.try_send(command)),
            }
        }
    }

    /// Takes what waits already, so that one frame shows all of it.
    fn drain(&mut self, wire: &mut Wire) {
        while let Ok(update) = wire.updates.try_recv() {
            self.state.apply(update);
            self.later();
        }
        for _ in 0..LINES_AT_ONCE {
            let Ok(line) = wire.lines.try_recv() else {
                break;
            };
            self.state.log(line);
            self.later();
        }
        let dropped = wire.dropped.swap(0, Ordering::Relaxed);
        if dropped > 0 {
            self.state.logs.add_dropped(dropped);
        }
    }

    fn key(&mut self, key: KeyEvent) -> Option<Command> {
        let action = keys::action(key);
        if action == Some(Action::Quit) {
            return Some(Command::Quit);
        }
        match (&self.state.overlay, action) {
            (_, Some(Action::Repaint | Action::Suspend)) | (None, _) => {
                action.and_then(|action| self.state.act(action))
            }
            (Some(Overlay::Help { .. }), _) => {
                self.state.read_on(action);
                None
            }
            // Only the letter of the dialog does it; Enter, Esc and everything else is Cancel.
            (Some(Overlay::ConfirmFlush { .. }), _) => {
                self.state.answer(key.code == KeyCode::Char('y'))
            }
        }
    }

    /// Draw at once: somebody is looking at the result of a key.
    fn soon(&mut self) {
        self.draw_at = Some(Instant::now());
    }

    /// Draw at the next frame.
    fn later(&mut self) {
        let next = self
            .last_draw
            .map_or_else(Instant::now, |last| last + self.between_frames);
        self.draw_at = Some(self.draw_at.map_or(next, |planned| planned.min(next)));
    }

    fn draw(&mut self, screen: &mut Screen) -> std::io::Result<()> {
        self.draw_at = None;
        self.last_draw = Some(Instant::now());
        let drawn = screen.draw(|frame| view::draw(frame, &self.state, &self.look))?;
        if !drawn {
            self.later();
        }
        Ok(())
    }
}
