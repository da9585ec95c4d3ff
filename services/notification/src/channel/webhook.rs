//! The channel `webhook`: a signed POST for each notification, answered in time or tried again.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use chrono::Utc;
use hmac::{Hmac, KeyInit, Mac};
use http::{HeaderValue, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use kit::config::Secret;
use rustls::pki_types::ServerName;
use serde_json::json;
use sha2::Sha256;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;
use url::Url;

use super::Failure;
use crate::{
    config::WebhookArgs,
    event::{Notice, Subject},
};

/// How much of a refusal is kept as the reason, in bytes.
const REASON_LIMIT: usize = 300;
/// The longest pause that the far side may ask for.
const AFTER_LIMIT: Duration = Duration::from_mins(10);

/// Where notifications are posted to; cheap to clone.
#[derive(Clone)]
pub struct Webhook(Arc<Inner>);

struct Inner {
    host: String,
    port: u16,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    authority: HeaderValue,
    path: String,
    secret: Secret,
    timeout: Duration,
}

/// What the far side answered.
struct Answer {
    status: StatusCode,
    after: Option<Duration>,
    text: String,
}

impl Webhook {
    pub fn new(arguments: &WebhookArgs) -> Result<Self, kit::Error> {
        const URL: &str = "RECARGA_WEBHOOK_URL (--webhook-url)";
        let url = arguments
            .webhook_url
            .as_deref()
            .ok_or_else(|| kit::Error::config(URL, "the channel webhook needs it"))?;
        let url = Url::parse(url).map_err(|error| kit::Error::config(URL, error))?;
        let secret = arguments.webhook_secret.clone().ok_or_else(|| {
            kit::Error::config(
                "RECARGA_WEBHOOK_SECRET (--webhook-secret)",
                "the channel webhook signs with it; `openssl rand -hex 32` makes one",
            )
        })?;
        let (Some(host), Some(port)) = (url.host_str(), url.port_or_known_default()) else {
            return Err(kit::Error::config(URL, "it names no host"));
        };
        let tls = match url.scheme() {
            "http" => None,
            "https" => {
                let name = ServerName::try_from(host.to_owned())
                    .map_err(|error| kit::Error::config(URL, error))?;
                Some((TlsConnector::from(Arc::new(kit::tls::client()?)), name))
            }
            other => {
                let reason = format!("{other} is neither http nor https");
                return Err(kit::Error::config(URL, reason));
            }
        };
        let authority = match url.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        };
        let mut path = url.path().to_owned();
        if let Some(query) = url.query() {
            path.push('?');
            path.push_str(query);
        }
        Ok(Self(Arc::new(Inner {
            host: host.trim_matches(['[', ']']).to_owned(),
            port,
            tls,
            authority: HeaderValue::from_str(&authority)
                .map_err(|error| kit::Error::config(URL, error))?,
            path,
            secret,
            timeout: Duration::from_secs_f64(arguments.webhook_timeout_seconds),
        })))
    }

    pub async fn deliver(&self, notice: &Notice) -> Result<(), Failure> {
        let timeout = self.0.timeout;
        match tokio::time::timeout(timeout, Box::pin(self.post(notice))).await {
            Ok(Ok(answer)) => judge(&answer),
            Ok(Err(error)) => Err(Failure::transient(format!(
                "the webhook cannot be reached: {error}"
            ))),
            Err(_) => Err(Failure::transient(format!(
                "the webhook did not answer within {} s",
                timeout.as_secs_f64()
            ))),
        }
    }

    async fn post(
        &self,
        notice: &Notice,
    ) -> Result<Answer, Box<dyn std::error::Error + Send + Sync>> {
        let inner = &self.0;
        let body = body(notice);
        let signature = sign(&inner.secret, Utc::now().timestamp(), body.as_bytes());
        let request = Request::post(&inner.path)
            .header(header::HOST, &inner.authority)
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::USER_AGENT, "recarga")
            .header("idempotency-key", notice.event_id.to_string())
            .header("x-recarga-signature", signature)
            .body(Full::new(Bytes::from(body)))?;
        let stream = TcpStream::connect((inner.host.as_str(), inner.port)).await?;
        stream.set_nodelay(true)?;
        match &inner.tls {
            None => exchange(stream, request).await,
            Some((connector, name)) => {
                exchange(connector.connect(name.clone(), stream).await?, request).await
            }
        }
    }
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    request: Request<Full<Bytes>>,
) -> Result<Answer, Box<dyn std::error::Error + Send + Sync>> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let exchange = async {
        let response = sender.send_request(request).await?;
        let (head, body) = response.into_parts();
        let after = head
            .headers
            .get(header::RETRY_AFTER)
            .and_then(|value| value.to_str().ok()?.parse().ok())
            .map(|seconds| Duration::from_secs(seconds).min(AFTER_LIMIT));
        // Only the beginning is of interest, and only when it is a refusal.
        let text = match Limited::new(body, REASON_LIMIT).collect().await {
            Ok(body) => String::from_utf8_lossy(&body.to_bytes()).trim().to_owned(),
            Err(_) => String::new(),
        };
        Ok(Answer {
            status: head.status,
            after,
            text,
        })
    };
    let mut exchange = std::pin::pin!(exchange);
    tokio::select! {
        answer = &mut exchange => answer,
        // It may have ended with the last bytes of the answer.
        _ = connection => exchange.await,
    }
}

/// What an answer means for the notification. Redirects are not followed: what is signed goes where it was meant to go.
fn judge(answer: &Answer) -> Result<(), Failure> {
    let status = answer.status;
    if status.is_success() {
        return Ok(());
    }
    let mut reason = format!("the webhook answered {}", status.as_u16());
    if !answer.text.is_empty() {
        reason.push_str(": ");
        reason.extend(answer.text.chars().filter(|c| !c.is_control()));
    }
    let passing = status.is_server_error()
        || matches!(
            status,
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS
        );
    Err(if passing {
        Failure::Transient {
            reason,
            after: answer.after,
        }
    } else {
        Failure::Permanent(reason)
    })
}

fn body(notice: &Notice) -> String {
    let (kind, id) = match notice.subject {
        Subject::Booking(id) => ("booking", id),
        Subject::Recharge(id) => ("recharge", id),
    };
    json!({
        "event_id": notice.event_id,
        "kind": kind,
        format!("{kind}_id"): id,
        "recipient": notice.recipient,
        "body": notice.body,
    })
    .to_string()
}

/// `t=SECONDS,v1=HEX`: HMAC-SHA256 of `SECONDS.BODY` under the secret. The time lets the far side refuse what is old.
fn sign(secret: &Secret, seconds: i64, body: &[u8]) -> String {
    let mut mac =
        Hmac::<Sha256>::new_from_slice(secret.0.as_bytes()).expect("a key may have any length");
    mac.update(seconds.to_string().as_bytes());
    mac.update(b".");
    mac.update(body);
    format!(
        "t={seconds},v1={}",
        hex::encode(mac.finalize().into_bytes())
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_covers_time_and_body() {
        let secret = Secret("0123456789abcdef".to_owned());
        let signature = sign(&secret, 1_767_225_600, b"{}");
        // printf '1767225600.{}' | openssl dgst -sha256 -hmac 0123456789abcdef
        assert_eq!(
            signature,
            "t=1767225600,v1=99902517b3069f78750aa0520b0493482454c2d30a579c7acc839f3363ca1b88"
        );
        assert_ne!(sign(&secret, 1_767_225_601, b"{}"), signature);
        assert_ne!(sign(&secret, 1_767_225_600, b"{ }"), signature);
    }

    #[test]
    fn answers_are_judged_by_whether_another_try_can_help() {
        for (status, expected) in [
            (200, None),
            (204, None),
            (301, Some(true)),
            (400, Some(true)),
            (404, Some(true)),
            (408, Some(false)),
            (410, Some(true)),
            (425, Some(false)),
            (429, Some(false)),
            (500, Some(false)),
            (503, Some(false)),
        ] {
            let answer = Answer {
                status: StatusCode::from_u16(status).expect("a status"),
                after: None,
                text: "because\n".to_owned(),
            };
            let permanent = match judge(&answer) {
                Ok(()) => None,
                Err(Failure::Permanent(reason)) => {
                    assert_eq!(reason, format!("the webhook answered {status}: because"));
                    Some(true)
                }
                Err(Failure::Transient { .. }) => Some(false),
            };
            assert_eq!(permanent, expected, "{status}");
        }
    }

    #[test]
    fn settings_that_cannot_work_are_refused() {
        let with = |url: Option<&str>, secret: Option<&str>| {
            let arguments = WebhookArgs {
                webhook_url: url.map(str::to_owned),
                webhook_secret: secret.map(|secret| Secret(secret.to_owned())),
                webhook_timeout_seconds: 5.0,
            };
            Webhook::new(&arguments).err().map(|e| e.to_string())
        };
        let secret = Some("0123456789abcdef");
        for (url, secret, part) in [
            (None, secret, "--webhook-url"),
            (Some("http://x"), None, "--webhook-secret"),
            (Some("ftp://x"), secret, "neither http nor https"),
            (Some("nothing"), secret, "--webhook-url"),
        ] {
            let error = with(url, secret).expect("refused");
            assert!(error.contains(part), "{url:?}: {error}");
        }
        for url in [
            "http://127.0.0.1:1/a?b",
            "https://example.test",
            "http://[::1]:8/",
        ] {
            assert_eq!(with(Some(url), secret), None, "{url}");
        }
    }
}
