//! The way into a running lab from another terminal: one JSON line asks, JSON lines answer.
//!
//! While a command is carried out, the lab says at least once a second that it is still there. So the one who asks needs no limit
//! on how long a command may take, and notices all the same when nobody is working on it.

mod client;
mod server;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use kit::Topology;
use serde::{Deserialize, Serialize};

pub use client::{Client, Note};
pub(crate) use server::{Control, same};

/// How often the lab says that it is still there.
const SIGN_OF_LIFE: Duration = Duration::from_secs(1);

/// Where the lab listens for requests, as `control.json` says.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Address {
    Unix(PathBuf),
    Tcp(SocketAddr),
}

#[derive(Debug, Serialize, Deserialize)]
struct Request {
    token: String,
    #[serde(flatten)]
    command: Command,
}

/// What can be asked of a running lab.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "lowercase")]
enum Command {
    Status,
    /// Answered at once; the connection closes when nothing is running any more.
    Stop,
    Scale {
        role: String,
        count: usize,
    },
    /// A role, or one instance.
    Restart {
        target: String,
    },
}

/// One line of the lab's. A command ends with `Topology` or `Error`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Line {
    /// Still at it.
    Working,
    /// A step of the command is done.
    Step(String),
    /// It is done, and this is how things are now.
    Topology(Box<Topology>),
    /// It is refused, or failed.
    Error(String),
}

#[cfg(test)]
mod tests {
    use serde_json::{from_str, json, to_value};

    use super::*;

    #[test]
    fn requests_are_one_flat_object() {
        let request = Request {
            token: "t".to_owned(),
            command: Command::Scale {
                role: "gateway".to_owned(),
                count: 5,
            },
        };
        assert_eq!(
            to_value(&request).unwrap(),
            json!({"token": "t", "command": "scale", "role": "gateway", "count": 5})
        );
        let stop: Request = from_str(r#"{"token":"t","command":"stop"}"#).unwrap();
        assert!(matches!(stop.command, Command::Stop));
    }

    #[test]
    fn lines_say_what_they_are() {
        assert_eq!(to_value(Line::Working).unwrap(), json!("working"));
        assert_eq!(
            to_value(Line::Error("no".to_owned())).unwrap(),
            json!({"error": "no"})
        );
    }
}
