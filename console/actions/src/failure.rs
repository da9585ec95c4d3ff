//! What can go wrong when an action is carried out.

/// Why something was not done, in words for the operator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    #[error("this is read-only; nothing was sent")]
    ReadOnly,
    /// Traffic runs in the process that asks for it.
    #[error(
        "steady traffic runs where it was asked for: in the console, or in a `recarga do traffic …` of its own"
    )]
    OwnTraffic,
    #[error("{target} is not on this machine; only --allow-remote lets calls go there")]
    Remote { target: String },
    #[error("there is no {what} {name:?}{}", there_are(.known))]
    Unknown {
        what: &'static str,
        name: String,
        /// What there is.
        known: Vec<String>,
    },
    /// There is none of a kind at all.
    #[error("no {what} is running in this lab")]
    None { what: &'static str },
    #[error("{who} takes orders only with the operator's token, and there is none here")]
    NoToken { who: String },
    #[error("no token to make calls with: {reason}")]
    NoLogin { reason: String },
    #[error("{who} refused ({status}): {detail}")]
    Refused {
        who: String,
        status: u16,
        detail: String,
    },
    #[error("{who} does not answer: {reason}")]
    Silent { who: String, reason: String },
    #[error("{who} gave an answer that makes no sense: {reason}")]
    Nonsense { who: String, reason: String },
    #[error(
        "{what} needs the supervisor, and this lab's cannot be reached from here; where the lab runs, use `{command}`"
    )]
    NotSupervised { what: String, command: String },
    #[error("{who} still has {in_flight} requests in flight after {seconds} s; it stays drained")]
    StillBusy {
        who: String,
        in_flight: u64,
        seconds: u64,
    },
    /// Some of it happened.
    #[error("{failed}; done before: {done}")]
    Partly { done: String, failed: String },
    #[error("{reason}")]
    Impossible { reason: String },
}

fn there_are(known: &[String]) -> String {
    match known.len() {
        0 => String::new(),
        1..=24 => format!("; there are {}", known.join(", ")),
        more => format!("; there are {}, … ({more} in all)", known[..24].join(", ")),
    }
}
