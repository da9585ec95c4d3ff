//! Why the door turns a request away: what the codec refuses, and what only shows over time.

use http::StatusCode;
use kit::Problem;

use crate::http1::Refusal;

/// One reason, with what the client is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reason {
    pub label: &'static str,
    status: StatusCode,
    detail: &'static str,
}

impl Reason {
    pub const HEAD_TIMEOUT: Self = Self {
        label: "head_timeout",
        status: StatusCode::REQUEST_TIMEOUT,
        detail: "Send the whole head of a request at once.",
    };
    pub const BODY_TIMEOUT: Self = Self {
        label: "body_timeout",
        status: StatusCode::REQUEST_TIMEOUT,
        detail: "Send the body without long pauses.",
    };
    pub const BODY_TOO_LARGE: Self = Self {
        label: "body_too_large",
        status: StatusCode::PAYLOAD_TOO_LARGE,
        detail: "Send a smaller body.",
    };
    pub const TRUNCATED: Self = Self {
        label: "truncated",
        status: StatusCode::BAD_REQUEST,
        detail: "Send the whole request before ending the connection.",
    };

    pub fn problem(self) -> Problem {
        let problem = Problem::new(self.status, self.detail).with("reason", self.label);
        if self.status == StatusCode::METHOD_NOT_ALLOWED {
            problem.allow("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS")
        } else {
            problem
        }
    }
}

impl From<Refusal> for Reason {
    fn from(refusal: Refusal) -> Self {
        Self {
            label: refusal.label(),
            status: StatusCode::from_u16(refusal.status()).unwrap_or(StatusCode::BAD_REQUEST),
            detail: refusal.detail(),
        }
    }
}
