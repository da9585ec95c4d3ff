//! Calls to the lab's services, with their failures in words.

use std::{fmt::Write as _, time::Duration};

use futures::future::join_all;
use reqwest::Method;
use serde_json::Value;

use super::{Levers, PATIENCE};
use crate::{Failure, Place};

/// A restart drains first, and a new instance has to become ready.
const COMPLETED_WITHIN: Duration = Duration::from_mins(2);

impl Levers {
    /// A call to an instance's admin surface that anybody may make.
    pub(super) async fn look(&self, place: &Place, path: &str) -> Result<Value, Failure> {
        let request = self.http.get(format!("http://{}{path}", place.admin));
        self.json(&place.name, request).await
    }

    /// A call that needs the operator's token.
    pub(super) async fn order(
        &self,
        place: &Place,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, Failure> {
        let token = self
            .rights
            .operator_token
            .as_ref()
            .ok_or_else(|| Failure::NoToken {
                who: place.name.clone(),
            })?;
        let mut request = self
            .http
            .request(method, format!("http://{}{path}", place.admin))
            .bearer_auth(token);
        if let Some(body) = body {
            request = request.json(body);
        }
        self.json(&place.name, request).await
    }

    /// An order to the supervisor over HTTP; none where it cannot be had so. It answers when the change is complete.
    pub(super) async fn order_supervisor(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Option<Result<Value, Failure>> {
        const WHO: &str = "the supervisor";
        let url = self.lab.supervisor_url.as_ref()?;
        let Some(token) = &self.rights.operator_token else {
            return Some(Err(Failure::NoToken {
                who: WHO.to_owned(),
            }));
        };
        // A change takes its time; whether anybody is there is known at once.
        let alive = self.http.get(format!("{url}/livez"));
        if let Err(silent) = self.text(WHO, alive).await {
            return Some(Err(silent));
        }
        let mut request = self
            .http
            .request(method, format!("{url}{path}"))
            .bearer_auth(token);
        if let Some(body) = body {
            request = request.json(body);
        }
        Some(self.json_within(WHO, request, COMPLETED_WITHIN).await)
    }

    /// A call to a service that is answered with JSON, or with nothing.
    pub(super) async fn json(
        &self,
        who: &str,
        request: reqwest::RequestBuilder,
    ) -> Result<Value, Failure> {
        self.json_within(who, request, PATIENCE).await
    }

    async fn json_within(
        &self,
        who: &str,
        request: reqwest::RequestBuilder,
        patience: Duration,
    ) -> Result<Value, Failure> {
        let (status, text) = self.text_within(who, request, patience).await?;
        let document = if text.trim().is_empty() {
            Ok(Value::Null)
        } else {
            serde_json::from_str::<Value>(&text)
        };
        if !status.is_success() {
            let document = document.unwrap_or_default();
            let detail = document["detail"].as_str().unwrap_or("no reason was given");
            return Err(Failure::Refused {
                who: who.to_owned(),
                status: status.as_u16(),
                detail: detail.to_owned(),
            });
        }
        document.map_err(|error| Failure::Nonsense {
            who: who.to_owned(),
            reason: error.to_string(),
        })
    }

    pub(super) async fn text(
        &self,
        who: &str,
        request: reqwest::RequestBuilder,
    ) -> Result<(reqwest::StatusCode, String), Failure> {
        self.text_within(who, request, PATIENCE).await
    }

    async fn text_within(
        &self,
        who: &str,
        request: reqwest::RequestBuilder,
        patience: Duration,
    ) -> Result<(reqwest::StatusCode, String), Failure> {
        let answer = request
            .timeout(patience)
            .send()
            .await
            .map_err(|error| silent(who, &error))?;
        let status = answer.status();
        let text = answer.text().await.map_err(|error| silent(who, &error))?;
        Ok((status, text))
    }

    /// Asks several at once. What some did before others failed is said.
    pub(super) async fn each<'a, T, F: Future<Output = Result<T, Failure>>>(
        &self,
        places: &[&'a Place],
        call: impl Fn(&'a Place) -> F,
    ) -> Result<Vec<T>, Failure> {
        let answers = join_all(places.iter().map(|place| call(place))).await;
        let (mut done, mut names, mut failures) = (Vec::new(), Vec::new(), Vec::new());
        for (place, answer) in places.iter().zip(answers) {
            match answer {
                Ok(answer) => {
                    done.push(answer);
                    names.push(place.name.as_str());
                }
                Err(failure) => failures.push(failure),
            }
        }
        match (failures.len(), names.is_empty()) {
            (0, _) => Ok(done),
            (1, true) => Err(failures.remove(0)),
            (_, nobody) => {
                let failed: Vec<String> = failures.iter().map(ToString::to_string).collect();
                Err(Failure::Partly {
                    done: if nobody {
                        "nothing".to_owned()
                    } else {
                        names.join(", ")
                    },
                    failed: failed.join("; "),
                })
            }
        }
    }
}

pub(super) fn silent(who: &str, error: &reqwest::Error) -> Failure {
    if error.is_timeout() {
        nothing(who, &late())
    } else if error.is_connect() {
        nothing(who, UNREACHABLE)
    } else {
        nothing(who, BROKEN)
    }
}

/// The same for a call between tiers.
pub(super) fn unsent(who: &str, failure: &kit::client::Failure) -> Failure {
    match failure {
        kit::client::Failure::TimedOut => nothing(who, &late()),
        // Whether it is not there or does not know us: that is worth telling apart.
        kit::client::Failure::Connect(why) => nothing(who, &format!("{UNREACHABLE}: {why}")),
        kit::client::Failure::Broken(_) => nothing(who, BROKEN),
    }
}

const UNREACHABLE: &str = "it cannot be reached";
const BROKEN: &str = "the connection broke; it may have happened nevertheless";

fn late() -> String {
    format!("nothing within {PATIENCE:?}; it may have happened nevertheless")
}

fn nothing(who: &str, reason: &str) -> Failure {
    Failure::Silent {
        who: who.to_owned(),
        reason: reason.to_owned(),
    }
}

/// A name as a part of a path.
pub(super) fn segment(name: &str) -> String {
    let mut text = String::new();
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            text.push(char::from(byte));
        } else {
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text
}
