//! Active checks: `GET /health` on the upstream's own port, over a fresh connection, so that the way in is proved too.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use kit::tls::Link;
use serde::Deserialize;

use crate::{health::Observation, pool::Pool, upstream::Upstream};

/// The largest answer to a check that is read, in bytes.
const ANSWER_LIMIT: usize = 64 * 1024;

/// How upstreams are checked.
#[derive(Clone, Debug, PartialEq)]
pub struct CheckSettings {
    /// From the end of one check to the start of the next.
    pub interval: Duration,
    /// Each pause is this part shorter or longer, by chance, so that several proxies do not check in step. 0 to 1.
    pub jitter: f64,
    /// The longest a check may take, connection included.
    pub timeout: Duration,
    /// The path that is asked for.
    pub path: String,
}

impl Default for CheckSettings {
    fn default() -> Self {
        Self {
            interval: Duration::from_millis(500),
            jitter: 0.1,
            timeout: Duration::from_millis(400),
            path: "/health".to_owned(),
        }
    }
}

impl CheckSettings {
    /// The pause before the next check; `chance` is uniform in 0..1.
    #[must_use]
    fn pause(&self, chance: f64) -> Duration {
        self.interval
            .mul_f64(1.0 + self.jitter * (2.0 * chance - 1.0))
    }
}

/// Checks one upstream for ever; dropped when the upstream leaves.
pub(crate) async fn watch(pool: Pool, upstream: Arc<Upstream>) {
    loop {
        let started = Instant::now();
        let settings = pool.check_settings();
        let answer =
            tokio::time::timeout(settings.timeout, check(&pool, &upstream, &settings.path)).await;
        pool.checked(&upstream, started.elapsed());
        let observation = match answer {
            Ok(Ok(Answer { status, instance })) => {
                if let Some(instance) = instance {
                    pool.learn_name(&upstream, &instance);
                }
                match status {
                    StatusCode::OK => Observation::Passed,
                    StatusCode::SERVICE_UNAVAILABLE => Observation::NotReady(status.as_u16()),
                    other => Observation::Failed(format!("answered {}", other.as_u16())),
                }
            }
            Ok(Err(CheckError::Connect(error)))
                if error.kind() == std::io::ErrorKind::ConnectionRefused =>
            {
                Observation::Unreachable(error.to_string())
            }
            Ok(Err(error)) => Observation::Failed(error.to_string()),
            Err(_) => Observation::Failed(format!(
                "no answer within {} ms",
                settings.timeout.as_millis()
            )),
        };
        pool.observe(&upstream, observation);
        tokio::time::sleep(settings.pause(rand::random())).await;
    }
}

struct Answer {
    status: StatusCode,
    instance: Option<String>,
}

#[derive(Debug, thiserror::Error)]
enum CheckError {
    #[error("no connection: {0}")]
    Connect(std::io::Error),
    #[error("{0}")]
    Http(#[from] hyper::Error),
    #[error("the answer broke off: {0}")]
    Body(Box<dyn std::error::Error + Send + Sync>),
    #[error("{0}")]
    Request(#[from] http::Error),
}

#[derive(Deserialize)]
struct HealthBody {
    instance: Option<String>,
}

async fn check(pool: &Pool, upstream: &Upstream, path: &str) -> Result<Answer, CheckError> {
    let stream = Link::connect(upstream.address, pool.tls())
        .await
        .map_err(CheckError::Connect)?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::get(path)
        .header(header::HOST, upstream.authority.as_str())
        .header(header::USER_AGENT, "recarga-health-check")
        .header(header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())?;
    // Driven here rather than by a task of its own: when the check times out, the connection goes with it.
    let exchange = async {
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), ANSWER_LIMIT)
            .collect()
            .await
            .map_err(CheckError::Body)?
            .to_bytes();
        let instance = serde_json::from_slice::<HealthBody>(&body)
            .ok()
            .and_then(|body| body.instance)
            .filter(|name| is_sane_name(name));
        Ok(Answer { status, instance })
    };
    let mut exchange = std::pin::pin!(exchange);
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        answer = &mut exchange => answer,
        // The connection may end in the same moment in which the last bytes of the answer arrive.
        ended = &mut connection => match ended {
            Ok(()) => exchange.await,
            Err(error) => Err(error.into()),
        },
    }
}

/// A name becomes a metric's label and a key of JSON: only what an instance may be called.
fn is_sane_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_stay_within_the_jitter() {
        let settings = CheckSettings {
            jitter: 0.2,
            ..CheckSettings::default()
        };
        assert_eq!(settings.pause(0.0), Duration::from_millis(400));
        assert_eq!(settings.pause(0.5), Duration::from_millis(500));
        assert_eq!(settings.pause(1.0), Duration::from_millis(600));
    }

    #[test]
    fn names_are_names() {
        for (name, sane) in [
            ("gateway-1", true),
            ("", false),
            ("a b", false),
            ("x\"y", false),
            (&"x".repeat(65), false),
        ] {
            assert_eq!(is_sane_name(name), sane, "{name:?}");
        }
    }
}
