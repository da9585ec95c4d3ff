//! The one request that is sent over and over, and what its answer has to be.

use std::net::SocketAddr;

use bytes::Bytes;

use super::{Answer, Fault};
use crate::Error;

/// A request, ready to be written to a socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request(Bytes);

impl Request {
    /// `GET path` with further headers, each a name and a value.
    ///
    /// # Errors
    /// When path or headers hold what would end the line they are in.
    pub fn get(
        authority: impl std::fmt::Display,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Result<Self, Error> {
        let refuse = |reason: &str| {
            Err(Error::Option {
                option: "request",
                reason: reason.to_owned(),
            })
        };
        if !path.starts_with('/') || path.bytes().any(|byte| !byte.is_ascii_graphic()) {
            return refuse("a path begins with / and holds visible ASCII only");
        }
        let mut text = format!("GET {path} HTTP/1.1\r\nHost: {authority}\r\n");
        for (name, value) in headers {
            if name.is_empty()
                || name
                    .bytes()
                    .any(|byte| !byte.is_ascii_graphic() || byte == b':')
                || value.bytes().any(|byte| byte.is_ascii_control())
            {
                return refuse("a header has a plain name and one line of value");
            }
            text.push_str(name);
            text.push_str(": ");
            text.push_str(value);
            text.push_str("\r\n");
        }
        text.push_str("\r\n");
        Ok(Self(text.into()))
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// What a good answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expected {
    pub status: u16,
    /// Bytes of its body; any length will do when none is given.
    pub body: Option<u64>,
}

impl Expected {
    /// Status 200 and a body of this length.
    #[must_use]
    pub fn ok(body: Option<u64>) -> Self {
        Self { status: 200, body }
    }

    pub(super) fn judge(self, answer: Result<Answer, Fault>) -> Verdict {
        match answer {
            Err(fault) => Verdict::Broken(fault),
            Ok(answer) if answer.status != self.status => Verdict::Status(answer.status),
            Ok(answer) => match self.body {
                Some(wanted) if wanted != answer.body => Verdict::Length {
                    wanted,
                    found: answer.body,
                },
                _ => Verdict::Good,
            },
        }
    }
}

#[derive(Debug)]
pub(super) enum Verdict {
    Good,
    Status(u16),
    Length { wanted: u64, found: u64 },
    Broken(Fault),
}

/// Load goes to this machine only, as everywhere in this crate.
pub(super) fn check_local(target: SocketAddr) -> Result<(), Error> {
    if target.ip().is_loopback() {
        Ok(())
    } else {
        Err(Error::Remote {
            host: target.ip().to_string(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_one_head() {
        let request = Request::get("127.0.0.1:80", "/a?b=c", &[("X-A", "1"), ("X-B", "")]);
        assert_eq!(
            request.unwrap().bytes(),
            b"GET /a?b=c HTTP/1.1\r\nHost: 127.0.0.1:80\r\nX-A: 1\r\nX-B: \r\n\r\n"
        );
        for path in ["", "a", "/a b", "/a\r\nX: y", "http://x/"] {
            assert!(Request::get("h", path, &[]).is_err(), "{path:?}");
        }
        for header in [("", "v"), ("a b", "v"), ("a:", "v"), ("a", "v\r\nb: c")] {
            assert!(Request::get("h", "/", &[header]).is_err(), "{header:?}");
        }
    }

    #[test]
    fn answers_are_judged() {
        let answer = |status, body| {
            Ok(Answer {
                status,
                body,
                keeps: true,
            })
        };
        let expected = Expected::ok(Some(5));
        assert!(matches!(expected.judge(answer(200, 5)), Verdict::Good));
        assert!(matches!(
            expected.judge(answer(503, 5)),
            Verdict::Status(503)
        ));
        assert!(matches!(
            expected.judge(answer(200, 4)),
            Verdict::Length {
                wanted: 5,
                found: 4
            }
        ));
        assert!(matches!(
            expected.judge(Err(Fault::Closed)),
            Verdict::Broken(Fault::Closed)
        ));
        assert!(matches!(
            Expected::ok(None).judge(answer(200, 9)),
            Verdict::Good
        ));
    }
}
