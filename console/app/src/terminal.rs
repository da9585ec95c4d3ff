//! The terminal: taken over as one, given back whatever happens, written to only when something changed, never waited for.

use std::{
    cell::Cell,
    io,
    sync::{
        Once,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use crossterm::{
    cursor,
    event::{DisableBracketedPaste, DisableMouseCapture, EnableBracketedPaste, EnableMouseCapture},
    queue,
    style::ResetColor,
    terminal::{
        BeginSynchronizedUpdate, Clear, EndSynchronizedUpdate, EnterAlternateScreen,
        LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
    },
};
use outlet::Outlet;
use ratatui::{
    Frame, Terminal,
    backend::{Backend, ClearType, WindowSize},
    layout::{Position, Size},
};
use rustix::termios::tcgetwinsize;

use crate::recording::Recorder;

mod encoding;
mod outlet;

/// What a terminal is taken for that does not know its size, such as a serial line.
const USUAL: Size = Size {
    width: 80,
    height: 24,
};

/// How long a terminal that reads nothing may hold up its own restoration, twice.
const LAST_WORDS: Duration = Duration::from_millis(150);

/// Whether the terminal is ours now.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// Whether the mouse is.
static MOUSE: AtomicBool = AtomicBool::new(false);

fn take() -> io::Result<()> {
    if TAKEN.load(Ordering::SeqCst) {
        // A shell may have changed the settings while we were stopped; crossterm thinks they are still ours.
        disable_raw_mode()?;
    }
    enable_raw_mode()?;
    TAKEN.store(true, Ordering::SeqCst);
    let mut bytes = Vec::new();
    queue!(
        bytes,
        EnterAlternateScreen,
        EnableBracketedPaste,
        cursor::Hide
    )?;
    if MOUSE.load(Ordering::SeqCst) {
        queue!(bytes, EnableMouseCapture)?;
    }
    Outlet::get().send(&mut bytes);
    Ok(())
}

/// Gives the terminal back; more than once does no harm.
fn give_back() {
    if TAKEN.swap(false, Ordering::SeqCst) {
        let mut bytes = Vec::new();
        // Writing into memory does not fail, and nothing can be done about a terminal that is gone.
        if MOUSE.load(Ordering::SeqCst) {
            let _ = queue!(bytes, DisableMouseCapture);
        }
        let _ = queue!(
            bytes,
            EndSynchronizedUpdate,
            ResetColor,
            DisableBracketedPaste,
            LeaveAlternateScreen,
            cursor::Show
        );
        Outlet::get().finish(&bytes, LAST_WORDS);
        let _ = disable_raw_mode();
    }
}

/// Gives the terminal back, and stops until somebody continues us.
fn stop() -> io::Result<()> {
    give_back();
    // The whole group, as the terminal driver would: a parent in it (cargo) must stop as well. Not by the signal that asked for it,
    // which is caught.
    rustix::process::kill_current_process_group(rustix::process::Signal::STOP)?;
    Ok(())
}

/// Panics print after the screen is back, where they can be read.
fn restore_on_panic() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let previous = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            give_back();
            previous(panic);
        }));
    });
}

/// The terminal while it is ours; dropping it gives it back.
pub struct Screen {
    terminal: Terminal<Quiet>,
    /// The last before the terminal is given back.
    _stage: Stage,
}

/// The terminal while it is ours, for whoever has bytes to send; dropping it gives it back.
pub struct Stage(());

impl Stage {
    pub fn enter() -> io::Result<Self> {
        restore_on_panic();
        take()?;
        Ok(Self(()))
    }

    /// Stops as Ctrl-Z stops any program, and comes back with an empty screen.
    #[expect(
        clippy::unused_self,
        reason = "only who has the terminal may give it back"
    )]
    pub fn suspend(&self) -> io::Result<()> {
        stop()?;
        take()
    }

    #[expect(
        clippy::unused_self,
        reason = "only who has the terminal may write to it"
    )]
    pub fn send(&self, text: String) {
        Outlet::get().send(&mut text.into_bytes());
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        give_back();
    }
}

/// How large the terminal is.
pub fn size() -> io::Result<Size> {
    let size = tcgetwinsize(io::stdout())?;
    Ok(if size.ws_col == 0 || size.ws_row == 0 {
        USUAL
    } else {
        Size::new(size.ws_col, size.ws_row)
    })
}

impl Screen {
    /// Takes the terminal; what it is sent is written down as well, if there is a recorder.
    pub fn enter(recorder: Option<Recorder>) -> io::Result<Self> {
        let stage = Stage::enter()?;
        let terminal = Terminal::new(Quiet::new(recorder))?;
        Ok(Self {
            terminal,
            _stage: stage,
        })
    }

    /// Marks a moment of the recording.
    pub fn mark(&mut self, text: &str) {
        let backend = self.terminal.backend_mut();
        backend.record(|recorder, _| recorder.mark(text));
    }

    /// Why the recording ended, once.
    pub fn unrecorded(&mut self) -> Option<io::Error> {
        self.terminal.backend_mut().unrecorded.take()
    }

    /// Draws a frame, unless the terminal has not taken the last one yet. Whether it did: if not, try again later with what is
    /// true then.
    pub fn draw(&mut self, render: impl FnOnce(&mut Frame<'_>)) -> io::Result<bool> {
        if !TAKEN.load(Ordering::SeqCst) {
            // A panic on another thread has been printed; what is drawn now would only spoil it.
            return Err(io::Error::other("a part of the console panicked"));
        }
        if !Outlet::get().is_idle()? {
            return Ok(false);
        }
        self.terminal.draw(render)?;
        #[cfg(debug_assertions)]
        crate::rehearsal::after_a_frame()?;
        Ok(true)
    }

    /// Stops as Ctrl-Z stops any program, and comes back with the screen as it was.
    pub fn suspend(&mut self) -> io::Result<()> {
        stop()?;
        self.resume()
    }

    /// Takes the terminal again after a stop, and paints everything.
    pub fn resume(&mut self) -> io::Result<()> {
        take()?;
        self.repaint()
    }

    /// Hands a text to the terminal's clipboard, also over ssh (OSC 52).
    #[expect(
        clippy::unused_self,
        reason = "only who has the screen may write to it"
    )]
    pub fn copy(&mut self, text: &str) -> io::Result<()> {
        let mut bytes = Vec::new();
        let copy = crossterm::clipboard::CopyToClipboard::to_clipboard_from(text);
        queue!(bytes, copy)?;
        Outlet::get().send(&mut bytes);
        Ok(())
    }

    /// The mouse for us, or for the terminal's own selection.
    #[expect(
        clippy::unused_self,
        reason = "only who has the screen may write to it"
    )]
    pub fn mouse(&mut self, on: bool) -> io::Result<()> {
        MOUSE.store(on, Ordering::SeqCst);
        let mut bytes = Vec::new();
        if on {
            queue!(bytes, EnableMouseCapture)?;
        } else {
            queue!(bytes, DisableMouseCapture)?;
        }
        Outlet::get().send(&mut bytes);
        Ok(())
    }

    /// Has the next frame paint everything.
    pub fn repaint(&mut self) -> io::Result<()> {
        self.terminal.clear()
    }
}

/// A screen of this size whose frames are made as those of a terminal, and go nowhere.
pub fn unseen(size: Size) -> io::Result<Terminal<impl Backend<Error = io::Error>>> {
    let mut backend = Quiet::new(None);
    backend.unseen = Some(size);
    Terminal::new(backend)
}

/// A backend that sends nothing for a frame in which nothing changed, and everything else in one synchronized piece.
struct Quiet {
    /// The frame so far.
    bytes: Vec<u8>,
    /// Where frames are written down as well.
    recorder: Option<Recorder>,
    /// Why that ended.
    unrecorded: Option<io::Error>,
    /// The size that the frame is drawn for.
    size: Cell<Size>,
    /// That of the terminal that there is not.
    unseen: Option<Size>,
}

impl Quiet {
    fn new(recorder: Option<Recorder>) -> Self {
        Self {
            bytes: Vec::new(),
            recorder,
            unrecorded: None,
            size: Cell::new(USUAL),
            unseen: None,
        }
    }

    fn record(&mut self, write: impl FnOnce(&mut Recorder, &[u8]) -> io::Result<()>) {
        if let Some(recorder) = &mut self.recorder
            && let Err(error) = write(recorder, &self.bytes)
        {
            self.recorder = None;
            self.unrecorded = Some(error);
        }
    }

    fn open(&mut self) -> io::Result<()> {
        if self.bytes.is_empty() {
            queue!(self.bytes, BeginSynchronizedUpdate)?;
        }
        Ok(())
    }
}

impl Backend for Quiet {
    type Error = io::Error;

    fn draw<'a, I>(&mut self, content: I) -> io::Result<()>
    where
        I: Iterator<Item = (u16, u16, &'a ratatui::buffer::Cell)>,
    {
        let mut content = content.peekable();
        if content.peek().is_some() {
            self.open()?;
            encoding::encode(content, &mut self.bytes);
        }
        Ok(())
    }

    fn hide_cursor(&mut self) -> io::Result<()> {
        // Hidden since the terminal was taken.
        Ok(())
    }

    fn show_cursor(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn get_cursor_position(&mut self) -> io::Result<Position> {
        // Asking the terminal would wait for its answer among the keys.
        Ok(Position::ORIGIN)
    }

    fn set_cursor_position<P: Into<Position>>(&mut self, _position: P) -> io::Result<()> {
        Ok(())
    }

    fn clear(&mut self) -> io::Result<()> {
        self.open()?;
        queue!(self.bytes, Clear(crossterm::terminal::ClearType::All))
    }

    fn clear_region(&mut self, _: ClearType) -> io::Result<()> {
        // Nothing here is drawn but whole screens.
        self.clear()
    }

    fn size(&self) -> io::Result<Size> {
        let size = self.unseen.map_or_else(size, Ok)?;
        self.size.set(size);
        Ok(size)
    }

    fn window_size(&mut self) -> io::Result<WindowSize> {
        Ok(WindowSize {
            columns_rows: self.size()?,
            pixels: Size::ZERO,
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.bytes.is_empty() {
            return Ok(());
        }
        queue!(self.bytes, EndSynchronizedUpdate)?;
        if self.unseen.is_some() {
            self.bytes.clear();
            return Ok(());
        }
        let size = self.size.get();
        self.record(|recorder, bytes| recorder.output(size, bytes));
        Outlet::get().send(&mut self.bytes);
        Ok(())
    }
}
