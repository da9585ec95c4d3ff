//! Whether a failed attempt may be made again elsewhere: a pure decision.

use http::{HeaderMap, Method};

use crate::http1::{Kind, RequestHead};

/// The header in which the hop that repeats a request says so. Hops behind it then leave repeating to it, so that one failure
/// is never multiplied by every hop on the way.
pub const RETRY_OWNER: &str = "x-recarga-retry-owner";

/// Attempts in all, when every failed one never left this process (no connection was made).
pub const ATTEMPTS_UNSENT: u32 = 3;

/// Attempts in all, once one of them was sent.
pub const ATTEMPTS_SENT: u32 = 2;

/// What happened to the attempt that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// No connection: not a byte of the request was sent.
    NeverSent,
    /// The connection broke after the request (or part of it) was sent and before a byte of the answer came.
    Broken,
    /// No answer in time. The time is spent: nothing is repeated.
    TimedOut,
    /// The client's own body failed.
    ClientGone,
}

impl Failure {
    /// In one word, for spans.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::NeverSent => "unreachable",
            Self::Broken => "broken",
            Self::TimedOut => "timeout",
            Self::ClientGone => "request_body",
        }
    }
}

/// What the decision needs to know of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repeatable {
    /// Doing it twice equals doing it once.
    pub safe: bool,
    /// The whole body is at hand (or empty), so it can be sent again.
    pub replayable: bool,
    /// A hop in front of this one is repeating it already.
    pub owned_elsewhere: bool,
}

impl Repeatable {
    #[must_use]
    pub fn new(method: &Method, headers: &HeaderMap, replayable: bool) -> Self {
        Self {
            safe: is_safe(method, headers),
            replayable,
            owned_elsewhere: headers.contains_key(RETRY_OWNER),
        }
    }

    /// The same at the front door, from a head that our own codec read: no hop is in front of it. Whether the body is at hand
    /// is for the caller to say.
    #[must_use]
    pub fn from_head(head: &RequestHead) -> Self {
        Self {
            safe: is_idempotent(&head.method) || head.find(Kind::IdempotencyKey).is_some(),
            replayable: false,
            owned_elsewhere: false,
        }
    }

    /// Whether one more attempt may be made after `attempts` so far, the last of which ended in `failure`.
    #[must_use]
    pub fn allows(self, failure: Failure, attempts: u32, any_sent: bool) -> bool {
        let limit = if any_sent {
            ATTEMPTS_SENT
        } else {
            ATTEMPTS_UNSENT
        };
        if !self.replayable || attempts >= limit {
            return false;
        }
        match failure {
            // Nobody has seen it: trying elsewhere is safe for any method and adds load to no one.
            Failure::NeverSent => true,
            Failure::Broken => self.safe && !self.owned_elsewhere,
            Failure::TimedOut | Failure::ClientGone => false,
        }
    }
}

/// Safe to send twice: an idempotent method, or the caller gave the key that makes it so.
#[must_use]
pub fn is_safe(method: &Method, headers: &HeaderMap) -> bool {
    is_idempotent(method) || headers.contains_key("idempotency-key")
}

fn is_idempotent(method: &Method) -> bool {
    matches!(
        *method,
        Method::GET | Method::HEAD | Method::OPTIONS | Method::PUT | Method::DELETE
    )
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn headers(names: &[&'static str]) -> HeaderMap {
        names
            .iter()
            .map(|name| {
                (
                    http::HeaderName::from_static(name),
                    HeaderValue::from_static("x"),
                )
            })
            .collect()
    }

    #[test]
    fn which_requests_are_safe() {
        let table: &[(Method, &[&str], bool)] = &[
            (Method::GET, &[], true),
            (Method::HEAD, &[], true),
            (Method::OPTIONS, &[], true),
            (Method::PUT, &[], true),
            (Method::DELETE, &[], true),
            (Method::POST, &[], false),
            (Method::PATCH, &[], false),
            (Method::POST, &["idempotency-key"], true),
            (Method::PATCH, &["idempotency-key"], true),
            (Method::CONNECT, &[], false),
        ];
        for (method, names, safe) in table {
            assert_eq!(
                is_safe(method, &headers(names)),
                *safe,
                "{method} {names:?}"
            );
        }
    }

    #[test]
    fn when_a_failure_may_be_repeated() {
        use Failure::{Broken, ClientGone, NeverSent, TimedOut};
        let get = Repeatable {
            safe: true,
            replayable: true,
            owned_elsewhere: false,
        };
        let post = Repeatable { safe: false, ..get };
        let streamed = Repeatable {
            replayable: false,
            ..get
        };
        let owned = Repeatable {
            owned_elsewhere: true,
            ..get
        };
        let table = [
            (get, Broken, 1, true, true),
            (get, Broken, 2, true, false),
            (get, NeverSent, 1, false, true),
            (get, NeverSent, 2, false, true),
            (get, NeverSent, 3, false, false),
            (get, NeverSent, 2, true, false),
            (get, TimedOut, 1, true, false),
            (get, ClientGone, 1, true, false),
            (post, Broken, 1, true, false),
            (post, NeverSent, 1, false, true),
            (streamed, Broken, 1, true, false),
            (streamed, NeverSent, 1, false, false),
            (owned, Broken, 1, true, false),
            (owned, NeverSent, 1, false, true),
        ];
        for (request, failure, attempts, any_sent, expected) in table {
            assert_eq!(
                request.allows(failure, attempts, any_sent),
                expected,
                "{request:?} {failure:?} after {attempts}, sent: {any_sent}"
            );
        }
    }

    #[test]
    fn the_owner_header_is_seen() {
        assert!(Repeatable::new(&Method::GET, &headers(&[RETRY_OWNER]), true).owned_elsewhere);
    }

    proptest! {
        #[test]
        fn an_unsafe_request_that_was_sent_is_never_repeated(attempts in 0_u32..5, replayable: bool, owned_elsewhere: bool) {
            let request = Repeatable { safe: false, replayable, owned_elsewhere };
            prop_assert!(!request.allows(Failure::Broken, attempts, true));
        }
    }
}
