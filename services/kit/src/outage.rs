//! One log line when something starts failing and one when it works again, however often it was tried in between.

use std::time::Instant;

/// Follows one thing that may fail for a while.
#[derive(Debug)]
pub struct Outage {
    what: &'static str,
    since: Option<(Instant, u64)>,
}

impl Outage {
    /// `what` completes "... fails" and "... works again".
    #[must_use]
    pub fn new(what: &'static str) -> Self {
        Self { what, since: None }
    }

    /// Notes a failure; only the first of a row is logged as a warning.
    pub fn failed(&mut self, error: &dyn std::fmt::Display) {
        let what = self.what;
        if let Some((_, failures)) = &mut self.since {
            *failures += 1;
            tracing::debug!(error = %error, failures = *failures, "{what} still fails");
        } else {
            tracing::warn!(error = %error, "{what} fails; trying on");
            self.since = Some((Instant::now(), 1));
        }
    }

    /// Notes a success.
    pub fn over(&mut self) {
        if let Some((since, failures)) = self.since.take() {
            let what = self.what;
            tracing::info!(
                failures,
                seconds = since.elapsed().as_secs_f64(),
                "{what} works again"
            );
        }
    }

    #[must_use]
    pub fn is_on(&self) -> bool {
        self.since.is_some()
    }
}
