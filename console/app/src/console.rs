//! The loop: one closed set of events, one select, drain what waits, one draw.

use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use crossterm::event::{
    Event as TerminalEvent, EventStream, KeyEvent, KeyEventKind, MouseButton, MouseEvent,
    MouseEventKind,
};
use futures::StreamExt;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::{MissedTickBehavior, interval, sleep_until},
};
use tokio_util::sync::CancellationToken;

use crate::{
    export,
    keys::{Chord, Keymap},
    net::Wire,
    options::Options,
    state::{Command, State, Update, intent::Intent, logs::Line, traffic::Notice},
    terminal::Screen,
    view::{self, Look, Target, Targets},
};

/// Log lines taken for one frame: more wait for the next one.
const LINES_AT_ONCE: usize = 4_096;

/// Everything that can happen to the console.
#[derive(Debug)]
enum Event {
    Key(KeyEvent),
    Mouse(MouseEvent),
    Pasted(String),
    Resized,
    /// The terminal is gone, or somebody ended us.
    Stop,
    Signal(Asked),
    Update(Update),
    Line(Line),
    Tick,
    Draw,
}

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    End,
    /// A stop, as Ctrl-Z asks for.
    Suspend,
    /// Nothing: it goes on after a stop that was not ours.
    Continued,
}

/// Signals that mean the end, or a pause.
pub struct Signals {
    terminate: Signal,
    hang_up: Signal,
    interrupt: Signal,
    suspend: Signal,
    continued: Signal,
}

impl Signals {
    /// Must be there before the terminal is taken: whoever is ended then gives it back.
    pub fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
            interrupt: signal(SignalKind::interrupt())?,
            suspend: signal(SignalKind::from_raw(rustix::process::Signal::TSTP.as_raw()))?,
            continued: signal(SignalKind::from_raw(rustix::process::Signal::CONT.as_raw()))?,
        })
    }

    pub async fn next(&mut self) -> Asked {
        tokio::select! {
            _ = self.terminate.recv() => Asked::End,
            _ = self.hang_up.recv() => Asked::End,
            _ = self.interrupt.recv() => Asked::End,
            _ = self.suspend.recv() => Asked::Suspend,
            _ = self.continued.recv() => Asked::Continued,
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
    /// What the mouse can reach on the screen.
    targets: Targets,
    /// How many marks the recording has.
    marked: u64,
}

impl Console {
    pub fn new(look: Look, options: &Options, keymap: Keymap) -> Self {
        let mut state = State::new(chrono::Utc::now(), keymap, options.read_only);
        if let Some(window) = &options.settings.window {
            state.sight.choose(window);
        }
        state.mouse = options.settings.mouse;
        state.recording = options.record.is_some();
        Self {
            started: Instant::now(),
            state,
            look,
            between_frames: Duration::from_secs(1) / options.frames.clamp(1, 30),
            draw_at: Some(Instant::now()),
            last_draw: None,
            targets: Targets::default(),
            marked: 0,
        }
    }

    /// Runs until the operator quits or `shutdown` is cancelled.
    pub async fn run(
        &mut self,
        screen: &mut Screen,
        wire: &mut Wire,
        mut signals: Signals,
        shutdown: &CancellationToken,
    ) -> anyhow::Result<()> {
        if self.state.mouse {
            screen.mouse(true)?;
        }
        let mut input = EventStream::new();
        let mut ticks = interval(Duration::from_secs(1));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let draw_at = self.draw_at;
            // In this order: a flood of lines delays neither keys nor frames.
            let event = tokio::select! {
                biased;
                () = shutdown.cancelled() => Event::Stop,
                asked = signals.next() => Event::Signal(asked),
                event = input.next() => match event {
                    Some(Ok(TerminalEvent::Key(key))) if key.kind != KeyEventKind::Release => Event::Key(key),
                    Some(Ok(TerminalEvent::Mouse(mouse))) => Event::Mouse(mouse),
                    Some(Ok(TerminalEvent::Paste(text))) => Event::Pasted(text),
                    Some(Ok(TerminalEvent::Resize(..))) => Event::Resized,
                    Some(Ok(_)) => continue,
                    Some(Err(_)) | None => Event::Stop,
                },
                () = sleep_until(draw_at.unwrap_or_else(Instant::now).into()), if draw_at.is_some() => Event::Draw,
                Some(update) = wire.updates.recv() => Event::Update(update),
                _ = ticks.tick() => Event::Tick,
                // Lines that come before a frame is due wait for it: a flood wakes nobody between frames.
                Some(line) = wire.lines.recv(), if draw_at.is_none() => Event::Line(line),
            };
            self.state.tick(self.started.elapsed());
            match event {
                Event::Stop | Event::Signal(Asked::End) => return Ok(()),
                Event::Draw => {
                    self.drain(wire);
                    self.draw(screen)?;
                    continue;
                }
                Event::Key(key) => {
                    self.soon();
                    self.state.key(Chord::new(key));
                }
                Event::Mouse(mouse) => self.mouse(mouse),
                Event::Pasted(text) => {
                    self.soon();
                    self.state.paste(&text);
                }
                Event::Resized => self.soon(),
                Event::Signal(Asked::Suspend) => {
                    screen.suspend()?;
                    self.soon();
                }
                Event::Signal(Asked::Continued) => {
                    screen.resume()?;
                    self.soon();
                }
                Event::Update(update) => {
                    self.state.apply(update);
                    self.later();
                }
                Event::Line(line) => {
                    self.state.log(line);
                    self.later();
                }
                Event::Tick => {
                    let usage = kit::process::usage();
                    self.state.used(usage.cpu_seconds, usage.resident_bytes);
                    self.later();
                }
            }
            self.drain(wire);
            for command in self.state.take_commands() {
                match command {
                    Command::Quit => return Ok(()),
                    Command::Repaint => screen.repaint()?,
                    Command::Suspend => {
                        screen.suspend()?;
                        self.soon();
                    }
                    Command::Copy(text) => {
                        screen.copy(&text)?;
                        let count = text.chars().count();
                        let text = format!("{count} characters sent to the terminal's clipboard");
                        self.state.apply(Update::Notice(Notice::info(text)));
                    }
                    Command::Mouse(on) => screen.mouse(on)?,
                    Command::NextTheme => self.theme(None),
                    Command::Theme(name) => self.theme(Some(&name)),
                    Command::Export(path) => self.export(&path),
                    // A full queue of commands means a hand on the keyboard: what is too much is left out.
                    Command::Do { .. } | Command::Weigh(_) | Command::Lab(_) => {
                        drop(wire.commands.try_send(command));
                    }
                }
            }
            let wanted = self.state.wanted();
            wire.wanted.send_if_modified(|before| {
                let changed = *before != wanted;
                if changed {
                    // What is held still is looked at, not asked for.
                    if !self.state.sight.is_frozen() {
                        self.state.details.keep(&wanted);
                    }
                    *before = wanted;
                }
                changed
            });
        }
    }

    fn tell(&mut self, notice: Notice) {
        self.state.apply(Update::Notice(notice));
        self.soon();
    }

    fn theme(&mut self, name: Option<&str>) {
        let notice = match self.look.change(name) {
            Some(name) => Notice::info(format!("theme {name}")),
            None => Notice::bad("there is no such theme: dark, light, safe, sixteen, mono"),
        };
        self.tell(notice);
    }

    /// Writes the last minutes to a file. A few hundred kilobytes: the disk takes them in the time of a frame.
    fn export(&mut self, path: &std::path::Path) {
        let notice = match export::write(&self.state, path) {
            Ok(bytes) => Notice::good(format!("{bytes} bytes written to {}", path.display())),
            Err(why) => Notice::bad(format!("{} was not written: {why}", path.display())),
        };
        self.tell(notice);
    }

    fn mouse(&mut self, mouse: MouseEvent) {
        let intent = match mouse.kind {
            MouseEventKind::ScrollUp => Intent::Up,
            MouseEventKind::ScrollDown => Intent::Down,
            MouseEventKind::Down(MouseButton::Left) => {
                let target = self.targets.at(mouse.column, mouse.row).cloned();
                match target {
                    Some(Target::View(view)) => Intent::Go(view),
                    Some(Target::Intent(intent)) => intent,
                    Some(Target::Panel(panel)) => {
                        self.state.focus_on(panel);
                        return self.soon();
                    }
                    Some(Target::Row(panel, key)) => {
                        self.state.focus_on(panel);
                        let chosen = self.state.chosen(panel);
                        // A second click looks into the row.
                        if chosen.as_deref() == Some(&*key) {
                            Intent::Open
                        } else {
                            self.state.cursor_mut(panel).choose(&key);
                            return self.soon();
                        }
                    }
                    None => return,
                }
            }
            _ => return,
        };
        self.state.intend(intent);
        self.soon();
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
        let mut targets = None;
        let drawn =
            screen.draw(|frame| targets = Some(view::draw(frame, &self.state, &self.look)))?;
        match targets {
            Some(targets) if drawn => self.targets = targets,
            // The terminal has not taken the last frame yet.
            _ => self.later(),
        }
        if self.state.recording {
            self.note_marks(screen);
        }
        Ok(())
    }

    /// What happened goes into the recording too, where a viewer will look for it.
    fn note_marks(&mut self, screen: &mut Screen) {
        for mark in self.state.marks.since(self.marked) {
            screen.mark(&mark.text);
        }
        self.marked = self.state.marks.count();
        if let Some(error) = screen.unrecorded() {
            self.state.recording = false;
            self.tell(Notice::bad(format!("the recording ended: {error}")));
        }
    }
}
