//! What a pick is asked for, and why it may find nobody.

use http::HeaderName;

/// What matters of one attempt when its upstream is picked.
#[derive(Clone, Copy, Debug, Default)]
pub struct Selection<'a> {
    /// The upstreams that were tried already ([`Lease::id`](crate::Lease::id)).
    pub avoid: &'a [u64],
    /// Whether one of `avoid` may be picked when nobody else is left.
    pub last_resort: bool,
    /// The hash of what [`Pool::hash_on`](crate::Pool::hash_on) names; see [`hash::of`](crate::hash::of).
    pub key: Option<u64>,
    /// The value of the sticky cookie the client sent; see [`sticky`](crate::sticky).
    pub sticky: Option<u64>,
}

/// What of a request decides under the policy `consistent_hash`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HashOn {
    /// The value of this header.
    Header(HeaderName),
    /// The value of this cookie.
    Cookie(String),
    /// The client's IP address.
    Address,
}

/// Why nobody was picked; [`Pool::retry_after`](crate::Pool::retry_after) says when to come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// Nobody takes requests.
    #[error("nobody takes requests")]
    NoneHealthy,
    /// Those that would take requests have not been answering, and it is not yet time to try again.
    #[error("the circuit breakers of all that are left are open")]
    BreakersOpen,
}
