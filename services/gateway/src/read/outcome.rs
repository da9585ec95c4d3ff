//! What a flight can bring, and who may have it.

use std::sync::{Arc, Mutex};

use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use kit::Problem;

use super::job::Job;
use crate::{cache::Stale, first_level::Copy};

/// What a flight brought.
pub enum Outcome {
    /// It was there.
    Hit(Arc<Copy>),
    /// It was there and past its freshness, and may be served all the same.
    Stale(Arc<Stale>),
    /// It was rebuilt under a lease.
    Rebuilt { head: HeaderMap, copy: Arc<Copy> },
    /// The service gave it past the cache.
    Passed { head: HeaderMap, json: Bytes },
    /// The service says that there is nothing.
    Absent {
        head: HeaderMap,
        body: Bytes,
        kept: Bytes,
        how: &'static str,
    },
    /// The service gave another answer, that everybody may have.
    Other {
        status: StatusCode,
        head: HeaderMap,
        body: Bytes,
        how: &'static str,
    },
    /// The service gave an answer that is for one only, or too large to be kept for many (then nobody has it).
    Private(Mutex<Option<Response>>),
    /// There is no answer.
    Refused(Problem),
}

/// A flight's end.
pub struct Landing {
    pub outcome: Outcome,
    /// The cache's `Server-Timing`.
    pub timing: Option<HeaderValue>,
    /// What may stand in if the outcome is a failure.
    pub stale: Option<Arc<Stale>>,
    pub job: Job,
}

impl Landing {
    /// A value that may stand in for a failure, now.
    #[must_use]
    pub fn stand_in(&self) -> Option<&Stale> {
        self.stale.as_deref().filter(|stale| stale.is_usable())
    }

    /// Rebuilds the value before its time.
    pub fn refresh_early(&self) {
        self.job.clone().refresh_early();
    }
}

/// Another answer of the service: for everybody, or for one.
#[must_use]
pub fn other(head: http::response::Parts, body: Bytes, how: &'static str) -> Outcome {
    let is_good = head.status == StatusCode::OK;
    if !is_for_one(&head.headers) && (!is_good || is_shareable(&head.headers)) {
        return Outcome::Other {
            status: head.status,
            head: head.headers,
            body,
            how,
        };
    }
    let mut response = super::with_head(&head.headers, body);
    *response.status_mut() = head.status;
    super::mark(&mut response, how);
    Outcome::Private(Mutex::new(Some(response)))
}

/// Whether an answer may be kept for others.
#[must_use]
pub fn is_shareable(headers: &HeaderMap) -> bool {
    !is_for_one(headers) && !says(headers, "no-store")
}

/// Whether an answer is for whoever asked, and nobody else.
fn is_for_one(headers: &HeaderMap) -> bool {
    says(headers, "private") || headers.contains_key(header::SET_COOKIE)
}

fn says(headers: &HeaderMap, directive: &str) -> bool {
    headers.get_all(header::CACHE_CONTROL).iter().any(|value| {
        value
            .to_str()
            .map_or(true, |text| text.to_ascii_lowercase().contains(directive))
    })
}
