//! What can go wrong before or around the traffic; a failing request is a result, not an error.

/// Why traffic could not start or a single call could not be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address is not one this crate can talk to.
    #[error("the target {target:?} is not an address of the form http://host:port: {reason}")]
    Target { target: String, reason: String },
    /// The address leads off this machine and that was not allowed.
    #[error(
        "the target {host} is not on this machine; load goes to loopback only, unless remote targets are allowed (--allow-remote)"
    )]
    Remote { host: String },
    /// An option has a value that makes no sense.
    #[error("{option}: {reason}")]
    Option {
        option: &'static str,
        reason: String,
    },
    /// No runtime to put the traffic on, or no thread for its clock.
    #[error("cannot start the traffic: {0}")]
    Start(String),
    /// A single call got no answer.
    #[error("no answer from {target}: {reason}")]
    NoAnswer { target: String, reason: String },
    /// The call for a token was answered with something else.
    #[error("no token: {0}")]
    Token(String),
}
