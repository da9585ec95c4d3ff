//! One client of a lab: sends requests, says what became of them, and writes both down.

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use kit::{client::Transport, tls::Tiers};
use reqwest::{Method, StatusCode, header};
use serde_json::Value;

use crate::journal::{Action, Answer, Recorder};

/// How long an answer may take: longer than the lab's own deadlines, shorter than a test's patience.
const TIMEOUT: Duration = Duration::from_secs(8);

/// Cheap to clone; all clones share a token.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    /// The way to `https:` URLs, which are those of the queue's instances.
    queue: Transport,
    front: String,
    token: Arc<RwLock<String>>,
    pub recorder: Recorder,
}

/// A request.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: Method,
    /// A whole URL, or a path at the front door.
    pub to: String,
    pub key: Option<String>,
    pub body: Option<Value>,
}

/// What came back.
#[derive(Clone, Debug)]
pub struct Reply {
    pub status: StatusCode,
    pub replayed: bool,
    /// `X-Cache`.
    pub cache: String,
    pub body: Value,
}

/// What is known of a request's effect.
#[derive(Clone, Debug)]
pub enum Outcome {
    Ok(Answer),
    Refused,
    Unknown,
}

impl Request {
    pub fn get(to: impl Into<String>) -> Self {
        Self {
            method: Method::GET,
            to: to.into(),
            key: None,
            body: None,
        }
    }

    pub fn post(to: impl Into<String>, key: Option<&str>, body: Value) -> Self {
        Self {
            method: Method::POST,
            to: to.into(),
            key: key.map(str::to_owned),
            body: Some(body),
        }
    }
}

impl Client {
    /// Of whoever is behind `front`; the queue service itself is spoken to as `tiers` say.
    pub fn new(front: &str, tiers: &Tiers, recorder: Recorder) -> Result<Self, String> {
        let http = reqwest::Client::builder()
            .no_proxy()
            .timeout(TIMEOUT)
            .connect_timeout(Duration::from_secs(2))
            .tcp_nodelay(true)
            .build()
            .map_err(|error| chain(&error))?;
        Ok(Self {
            http,
            queue: Transport::to("queue", tiers).map_err(|error| error.to_string())?,
            front: front.to_owned(),
            token: Arc::default(),
            recorder,
        })
    }

    /// Fetches a token; the old one stays when there is none to be had.
    pub async fn sign_in(&self) -> Result<(), String> {
        let reply = self.send(&Request::get("/token")).await?;
        let token = reply.body["token"]
            .as_str()
            .ok_or_else(|| format!("the call for a token was answered {}", reply.status))?;
        token.clone_into(&mut self.token.write().unwrap_or_else(PoisonError::into_inner));
        Ok(())
    }

    pub async fn send(&self, request: &Request) -> Result<Reply, String> {
        let url = if request.to.starts_with('/') {
            format!("{}{}", self.front, request.to)
        } else {
            request.to.clone()
        };
        let encrypted = url.starts_with("https:");
        let mut call = self.http.request(request.method.clone(), url);
        let token = self
            .token
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        if !token.is_empty() && request.to.starts_with('/') {
            call = call.bearer_auth(token);
        }
        if let Some(key) = &request.key {
            call = call.header("idempotency-key", key);
        }
        if let Some(body) = &request.body {
            call = call.json(body);
        }
        let response = if encrypted {
            let sent = self.queue.send(call, TIMEOUT).await;
            sent.map_err(|failure| failure.to_string())?
        } else {
            call.send().await.map_err(|error| chain(&error))?
        };
        let head = |name: &str| {
            let value = response.headers().get(name)?;
            value.to_str().ok().map(str::to_owned)
        };
        let replayed = head("idempotency-replayed").as_deref() == Some("true");
        let cache = head("x-cache").unwrap_or_default();
        // A conflict that passes is a request still on its way.
        let on_its_way = response.status() == StatusCode::CONFLICT
            && response.headers().contains_key(header::RETRY_AFTER);
        let status = response.status();
        // An answer that breaks off says nothing.
        let bytes = response.bytes().await.map_err(|error| chain(&error))?;
        if on_its_way {
            return Err("the same key is being worked on".to_owned());
        }
        Ok(Reply {
            status,
            replayed,
            cache,
            body: serde_json::from_slice(&bytes).unwrap_or_default(),
        })
    }

    /// Sends a request and writes it down; `read` makes the answer of a success.
    pub async fn operate(
        &self,
        action: Action,
        request: &Request,
        read: impl FnOnce(&Reply) -> Option<Answer>,
    ) -> Outcome {
        let operation = self.recorder.invoke(action);
        let reply = match self.send(request).await {
            Ok(reply) => reply,
            Err(reason) => {
                self.recorder.unknown(operation, reason);
                return Outcome::Unknown;
            }
        };
        let status = reply.status.as_u16();
        if let Some(answer) = read(&reply) {
            self.recorder.ok(operation, answer.clone());
            return Outcome::Ok(answer);
        }
        let detail = reply.body["detail"].as_str().unwrap_or_default().to_owned();
        if reply.status.is_client_error() && reply.status != StatusCode::REQUEST_TIMEOUT {
            self.recorder.refused(operation, status, detail);
            if reply.status == StatusCode::UNAUTHORIZED {
                // The lab's key has changed, or half an hour is over.
                let _ = self.sign_in().await;
            }
            Outcome::Refused
        } else {
            let reason = format!("{status}: {detail}");
            self.recorder.unknown(operation, reason);
            Outcome::Unknown
        }
    }
}

/// An error with its causes: the outermost alone says nothing.
fn chain(error: &reqwest::Error) -> String {
    let mut words = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        words = format!("{words}: {cause}");
        source = cause.source();
    }
    words
}
