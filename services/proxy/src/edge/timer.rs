//! One timer for a connection's whole life, re-armed as seldom as possible.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use tokio::time::Sleep;

/// When something is due. Moving the time further away costs nothing: the sleep fires at the old time, sees that it is
/// early, and is armed again.
#[derive(Debug)]
pub(super) struct Timer {
    sleep: Pin<Box<Sleep>>,
    armed: Instant,
    due: Instant,
}

impl Timer {
    pub fn new(now: Instant, after: Duration) -> Self {
        let due = now + after;
        Self {
            sleep: Box::pin(tokio::time::sleep_until(due.into())),
            armed: due,
            due,
        }
    }

    pub fn set(&mut self, due: Instant) {
        self.due = due;
        if due < self.armed {
            self.arm();
        }
    }

    /// Ready when the time has come.
    pub fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        while self.sleep.as_mut().poll(context).is_ready() {
            if Instant::now() >= self.due {
                return Poll::Ready(());
            }
            self.arm();
        }
        Poll::Pending
    }

    fn arm(&mut self) {
        self.armed = self.due;
        self.sleep.as_mut().reset(self.due.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_last_time_set_counts() {
        let start = Instant::now();
        let mut timer = Timer::new(start, Duration::from_mins(1));
        timer.set(start + Duration::from_millis(10));
        timer.set(start + Duration::from_millis(50));
        std::future::poll_fn(|context| timer.poll(context)).await;
        assert!(start.elapsed() >= Duration::from_millis(50));
    }
}
