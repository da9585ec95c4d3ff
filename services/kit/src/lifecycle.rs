//! From the first signal to the last task: soft stop, deadline, and a second signal that means now.

use std::{io::Read, time::Duration};

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Set by a supervisor that gave us a pipe as standard input: its end means the supervisor is gone.
pub const EXIT_WITH_PARENT: &str = "RECARGA_EXIT_WITH_PARENT";

/// Asks everything to finish; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Shutdown(CancellationToken);

impl Shutdown {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A shutdown that SIGTERM, SIGINT, SIGHUP or the end of the parent's pipe begins. A second signal ends the
    /// process at once, with status 130.
    pub fn on_signals() -> std::io::Result<Self> {
        let shutdown = Self::new();
        for kind in [
            SignalKind::terminate(),
            SignalKind::interrupt(),
            SignalKind::hangup(),
        ] {
            let mut signals = signal(kind)?;
            let shutdown = shutdown.clone();
            tokio::spawn(async move {
                while signals.recv().await.is_some() {
                    if shutdown.is_requested() {
                        std::process::exit(130);
                    }
                    shutdown.request();
                }
            });
        }
        if std::env::var_os(EXIT_WITH_PARENT).is_some() {
            shutdown.clone().request_at_end_of_input();
        }
        Ok(shutdown)
    }

    /// Reads standard input to its end on a thread of its own, and then asks for the shutdown. A process that hangs
    /// all the same is ended half a minute later.
    fn request_at_end_of_input(self) {
        std::thread::spawn(move || {
            let mut buffer = [0; 64];
            let mut input = std::io::stdin().lock();
            while !matches!(input.read(&mut buffer), Ok(0) | Err(_)) {}
            self.request();
            std::thread::sleep(Duration::from_secs(30));
            std::process::exit(1);
        });
    }

    /// Begins the shutdown.
    pub fn request(&self) {
        self.0.cancel();
    }

    #[must_use]
    pub fn is_requested(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Waits until the shutdown begins.
    pub async fn requested(&self) {
        self.0.cancelled().await;
    }

    /// The token behind this, for `tokio_util` helpers.
    #[must_use]
    pub fn token(&self) -> CancellationToken {
        self.0.clone()
    }
}
