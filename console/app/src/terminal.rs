//! The terminal: taken over as one, given back whatever happens, written to only when something changed, never waited for.

use std::{
    io::{self, Write},
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
        BeginSynchronizedUpdate, EndSynchronizedUpdate, EnterAlternateScreen, LeaveAlternateScreen,
        disable_raw_mode, enable_raw_mode,
    },
};
use outlet::Outlet;
use ratatui::{
    Frame, Terminal,
    backend::{Backend, ClearType, CrosstermBackend, WindowSize},
    buffer::Cell,
    layout::{Position, Size},
};
use rustix::termios::tcgetwinsize;

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
}

impl Screen {
    pub fn enter() -> io::Result<Self> {
        restore_on_panic();
        // The theme has decided about colours; crossterm's own NO_COLOR would also drop emphasis.
        crossterm::style::force_color_output(true);
        take()?;
        let terminal = Terminal::new(Quiet::new()).inspect_err(|_| give_back())?;
        Ok(Self { terminal })
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
        give_back();
        // The whole group, as the terminal driver would: a parent in it (cargo) must stop as well.
        rustix::process::kill_current_process_group(rustix::process::Signal::TSTP)?;
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

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

/// Collects a frame and hands it over as one piece.
#[derive(Default)]
struct Piece(Vec<u8>);

impl Write for Piece {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Outlet::get().send(&mut self.0);
        Ok(())
    }
}

/// A backend that sends nothing for a frame in which nothing changed, and everything else in one synchronized piece.
pub struct Quiet {
    inner: CrosstermBackend<Piece>,
    open: bool,
}

impl Quiet {
    fn new() -> Self {
        Self {
            inner: CrosstermBackend::new(Piece::default()),
            open: false,
        }
    }

    fn open(&mut self) -> io::Result<()> {
        if !self.open {
            self.open = true;
            queue!(self.inner, BeginSynchronizedUpdate)?;
        }
        Ok(())
    }
}

impl Backend for Quiet {
    type Error = io::Error;

    fn draw<'a, I>(&mut self, content: I) -> io::Result<()>
    where
        I: Iterator<Item = (u16, u16, &'a Cell)>,
    {
        let mut content = content.peekable();
        if content.peek().is_none() {
            return Ok(());
        }
        self.open()?;
        self.inner.draw(content)
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
        self.clear_region(ClearType::All)
    }

    fn clear_region(&mut self, clear_type: ClearType) -> io::Result<()> {
        self.open()?;
        self.inner.clear_region(clear_type)
    }

    fn size(&self) -> io::Result<Size> {
        let size = tcgetwinsize(io::stdout())?;
        Ok(if size.ws_col == 0 || size.ws_row == 0 {
            USUAL
        } else {
            Size::new(size.ws_col, size.ws_row)
        })
    }

    fn window_size(&mut self) -> io::Result<WindowSize> {
        self.inner.window_size()
    }

    fn flush(&mut self) -> io::Result<()> {
        if !self.open {
            return Ok(());
        }
        self.open = false;
        queue!(self.inner, EndSynchronizedUpdate)?;
        Write::flush(&mut self.inner)
    }
}
