//! Fetches the token and renews it before it expires.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Method, Request};
use http_body_util::Full;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};

use crate::wire::Wire;
use crate::{Credentials, Error, Target};

/// How long a token lives when its answer does not say: the contract's 30 minutes.
const LIFE: Duration = Duration::from_mins(30);
/// Between two fetches, whatever happens: the call is rate limited.
const APART: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(crate) struct Tokens {
    target: Target,
    credentials: Credentials,
    timeout: Duration,
    header: RwLock<Option<HeaderValue>>,
    refused: Notify,
    fetched: AtomicU64,
}

#[derive(serde::Deserialize)]
struct Granted {
    #[serde(alias = "token")]
    access_token: String,
    expires_in: Option<u64>,
}

impl Tokens {
    pub fn new(target: Target, credentials: Credentials, timeout: Duration) -> Result<Self, Error> {
        let header = match &credentials {
            Credentials::Token(token) => Some(header(token)?),
            _ => None,
        };
        let (refused, fetched) = (Notify::new(), AtomicU64::new(0));
        Ok(Self {
            target,
            credentials,
            timeout,
            header: RwLock::new(header),
            refused,
            fetched,
        })
    }

    /// The value of `Authorization`, if there is one.
    pub fn current(&self) -> Option<HeaderValue> {
        self.header
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// How many were fetched.
    pub fn fetched(&self) -> u64 {
        self.fetched.load(Ordering::Relaxed)
    }

    /// The current token was answered with 401: a gateway may have a new key.
    pub fn refuse(&self) {
        self.refused.notify_one();
    }

    /// Whether tokens are fetched at all.
    pub fn fetches(&self) -> bool {
        matches!(
            self.credentials,
            Credentials::Demo | Credentials::Password { .. }
        )
    }

    /// Fetches one now and returns how long it lives.
    pub async fn fetch(&self) -> Result<Duration, Error> {
        let request = match &self.credentials {
            Credentials::Demo => Request::builder().uri("/token").body(Full::default()),
            Credentials::Password { username, password } => {
                let form = url::form_urlencoded::Serializer::new(String::new())
                    .append_pair("username", username)
                    .append_pair("password", password)
                    .finish();
                Request::builder()
                    .method(Method::POST)
                    .uri("/token")
                    .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
                    .body(Full::new(Bytes::from(form)))
            }
            Credentials::Token(_) | Credentials::Anonymous => return Ok(LIFE),
        };
        let request = request.map_err(|error| Error::Token(error.to_string()))?;
        let mut wire = Wire::new(self.target.clone());
        let reply = timeout(self.timeout, wire.exchange(request, true))
            .await
            .map_err(|_| Error::Token(format!("no answer within {:?}", self.timeout)))?
            .map_err(|failure| Error::Token(failure.to_string()))?;
        if reply.status != 200 {
            return Err(Error::Token(format!(
                "the call for it was answered {}",
                reply.status
            )));
        }
        let granted: Granted = serde_json::from_slice(&reply.body)
            .map_err(|error| Error::Token(format!("the answer has another form: {error}")))?;
        let header = header(&granted.access_token)?;
        *self.header.write().unwrap_or_else(PoisonError::into_inner) = Some(header);
        self.fetched.fetch_add(1, Ordering::Relaxed);
        Ok(granted.expires_in.map_or(LIFE, Duration::from_secs))
    }

    /// Renews for ever; `first` is what the first fetch returned.
    pub async fn keep(&self, first: Result<Duration, Error>) {
        let mut last = first;
        let mut pause = Duration::from_millis(250);
        loop {
            let fetched_at = Instant::now();
            match last {
                Ok(life) => {
                    pause = Duration::from_millis(250);
                    // Five sixths of its life: 25 of 30 minutes.
                    let renew = (life * 5 / 6).max(APART);
                    tokio::select! {
                        () = sleep(renew) => {}
                        () = self.refused.notified() => {
                            tokio::time::sleep_until(fetched_at + APART).await;
                        }
                    }
                }
                Err(ref error) => {
                    tracing::debug!(%error, "no token for the load yet");
                    sleep(pause).await;
                    pause = (pause * 2).min(APART);
                }
            }
            last = self.fetch().await;
        }
    }
}

fn header(token: &str) -> Result<HeaderValue, Error> {
    let mut value = HeaderValue::from_str(&format!("Bearer {token}"))
        .map_err(|_| Error::Token("it holds characters that no header may".into()))?;
    value.set_sensitive(true);
    Ok(value)
}
