//! The channel `log`: an INFO event each.

use std::{sync::Arc, time::Instant};

use kit::telemetry::Sampler;

use crate::event::{Notice, Subject};

/// Recharges logged a second; bookings always are.
const RECHARGES_PER_SECOND: u32 = 5;

/// Writes notifications into the log, after they were committed as sent.
#[derive(Clone)]
pub struct LogChannel {
    recharges: Arc<Sampler>,
}

impl LogChannel {
    #[must_use]
    pub fn new() -> Self {
        Self {
            recharges: Arc::new(Sampler::new(RECHARGES_PER_SECOND)),
        }
    }

    pub fn send(&self, notice: &Notice) {
        let (recipient, body) = (&notice.recipient, &notice.body);
        match notice.subject {
            Subject::Booking(booking_id) => {
                tracing::info!(booking_id, recipient, "notified: {body}");
            }
            Subject::Recharge(recharge_id) => {
                if let Some(suppressed) = self.recharges.admit(Instant::now()) {
                    tracing::info!(recharge_id, recipient, suppressed, "notified: {body}");
                }
            }
        }
    }
}
