//! How a call travels to a process of ours: HTTP/1.1 over kept connections, encrypted where the tiers know each other by
//! certificates.
//!
//! Requests are composed and answers read with reqwest. It does not send them: whom to believe is decided by role here, not by
//! the authorities of the machine.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::Method;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::Client,
    rt::{TokioExecutor, TokioTimer},
};
use reqwest::{RequestBuilder, Response};
use tokio::time::{Instant, Sleep, sleep_until, timeout_at};

use super::BoxError;
use crate::{
    Error,
    tls::{Connector, Tiers},
};

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_millis(500);
/// How long an unused connection is kept: shorter than the other side keeps it.
const IDLE: Duration = Duration::from_secs(30);

/// The way to the instances of one role; cheap to clone.
#[derive(Clone, Debug)]
pub struct Transport {
    composer: reqwest::Client,
    client: Client<Connector, reqwest::Body>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error("no connection: {0}")]
    Connect(BoxError),
    #[error("no answer in time")]
    TimedOut,
    #[error("the connection broke: {0}")]
    Broken(BoxError),
}

impl Transport {
    pub fn to(role: &str, tiers: &Tiers) -> Result<Self, Error> {
        let client = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE)
            .pool_timer(TokioTimer::new())
            .build(Connector::new(CONNECT, tiers.client(role)?));
        Ok(Self {
            composer: reqwest::Client::new(),
            client,
        })
    }

    /// A request to be sent; its URL is `http:` whether it will be encrypted or not.
    pub fn request(&self, method: Method, url: impl reqwest::IntoUrl) -> RequestBuilder {
        self.composer.request(method, url)
    }

    /// Sends it. Head and body of the answer must come `within` this time.
    pub async fn send(
        &self,
        request: RequestBuilder,
        within: Duration,
    ) -> Result<Response, Failure> {
        let deadline = Instant::now() + within;
        let broken = |error: reqwest::Error| Failure::Broken(error.into());
        let request = request.build().map_err(broken)?;
        let request = http::Request::<reqwest::Body>::try_from(request).map_err(broken)?;
        let answer = timeout_at(deadline, self.client.request(request))
            .await
            .map_err(|_| Failure::TimedOut)?
            .map_err(|error| {
                if error.is_connect() {
                    Failure::Connect(error.into())
                } else {
                    Failure::Broken(error.into())
                }
            })?;
        Ok(Response::from(answer.map(|body| {
            reqwest::Body::wrap(Timely {
                body,
                deadline: Box::pin(sleep_until(deadline)),
            })
        })))
    }
}

/// A body that must have come by its deadline.
struct Timely {
    body: Incoming,
    deadline: Pin<Box<Sleep>>,
}

#[derive(Debug, thiserror::Error)]
#[error("the answer did not come to its end in time")]
struct Late;

impl Body for Timely {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) {
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        self.deadline
            .as_mut()
            .poll(context)
            .map(|()| Some(Err(Late.into())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
