//! The hook through which others hear of every write and what became of it.

use std::sync::Arc;

use crate::{Call, Kind};

/// One write, told once its outcome is known or will never be.
#[derive(Clone, Debug)]
pub struct Write {
    pub call: Call,
    /// The key it was sent under.
    pub idempotency_key: String,
    pub outcome: Outcome,
}

impl Write {
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.call.kind()
    }
}

/// What is known of a write's effect.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// Answered with success: the effect must be there, exactly once.
    Acknowledged { status: u16, body: bytes::Bytes },
    /// Answered with a refusal: the effect must not be there.
    Refused { status: u16, body: bytes::Bytes },
    /// No answer, or a server's error: the effect is there at most once.
    Unknown { status: Option<u16> },
}

/// Called on the connection's task after each write; it must not block.
#[derive(Clone)]
pub struct Journal(Arc<dyn Fn(Write) + Send + Sync>);

impl Journal {
    #[must_use]
    pub fn new(hear: impl Fn(Write) + Send + Sync + 'static) -> Self {
        Self(Arc::new(hear))
    }

    pub(crate) fn tell(&self, write: Write) {
        (self.0)(write);
    }
}

impl std::fmt::Debug for Journal {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Journal")
    }
}
