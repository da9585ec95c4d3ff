//! Answers that the front door gives itself: refusals and failures.

use std::{task::Poll, time::Instant};

use axum::response::IntoResponse as _;
use chrono::Utc;
use http::Method;
use kit::{
    Problem, RequestContext,
    record::{CacheLabel, Exchange, Route},
};

use super::{
    Hooks,
    connection::{After, Connection},
    facts,
    io::Stream,
    refuse::Reason,
};
use crate::{http1::encode, samples::Details};

impl<S: Stream, H: Hooks> Connection<S, H> {
    /// Whether the connection may take another request.
    pub(super) fn stays(&self) -> bool {
        self.facts.keep_alive && !self.is_stopping()
    }

    /// Writes what is in `down`; whether the client took it all.
    pub(super) async fn flush(&mut self) -> bool {
        self.timer
            .set(Instant::now() + self.edge.settings.stall_limit);
        let Self {
            stream,
            down,
            timer,
            ..
        } = self;
        let taken = std::future::poll_fn(|context| match down.poll_flush(stream, context) {
            Poll::Ready(result) => Poll::Ready(result.is_ok()),
            Poll::Pending => timer.poll(context).map(|()| false),
        })
        .await;
        self.idle_since = Instant::now();
        taken
    }

    pub(super) async fn refuse(&mut self, reason: Reason) -> After {
        self.edge.metrics.refused_for(reason.label);
        self.answer_problem(reason.problem(), None, After::Linger)
            .await
    }

    /// Answers with a problem; counted for the route, if there is one.
    pub(super) async fn answer_problem(
        &mut self,
        problem: Problem,
        route: Option<&Route>,
        after: After,
    ) -> After {
        let status = problem.status();
        let context = RequestContext::with_id(&self.facts.id);
        let response = context.scope(async { problem.into_response() }).await;
        let (head, body) = response.into_parts();
        let body = http_body_util::BodyExt::collect(body)
            .await
            .map(http_body_util::Collected::to_bytes)
            .unwrap_or_default();
        self.down.clear();
        let out = &mut self.down.bytes;
        encode::status_line(status.as_u16(), out);
        for (name, value) in &head.headers {
            encode::field(name.as_str(), value.as_bytes(), out);
        }
        encode::field("x-request-id", self.facts.id.as_bytes(), out);
        out.extend_from_slice(b"server-timing: balancer;dur=");
        facts::write_milliseconds(self.facts.started.elapsed(), out);
        out.extend_from_slice(b"\r\ncontent-length: ");
        encode::decimal(body.len() as u64, out);
        out.extend_from_slice(b"\r\n");
        if after != After::Stay {
            encode::field("connection", b"close", out);
        } else if self.facts.is_old {
            encode::field("connection", b"keep-alive", out);
        }
        self.edge.hooks.decorate(self.facts.origin(), out);
        out.extend_from_slice(b"\r\n");
        if self.facts.method != Method::HEAD {
            out.extend_from_slice(&body);
        }
        let now = Instant::now();
        let exchange = Exchange {
            id: &self.facts.id,
            method: self.facts.method.as_str(),
            path: &self.facts.path,
            status: status.as_u16(),
            cache: CacheLabel::None,
            elapsed: now.saturating_duration_since(self.facts.started),
            trace: self.facts.trace.as_ref().and_then(|trace| trace.id()),
        };
        let serving = self.facts.trace.as_ref();
        if let Some(serving) = serving.and_then(|trace| trace.serving.as_ref()) {
            let route = route.map(Route::label);
            serving.answered(
                &self.facts.method,
                route,
                exchange.status,
                exchange.cache,
                now,
            );
        }
        if let Some(route) = route {
            self.edge.recorder.finish(route, &exchange, now);
        } else {
            let route = self.edge.recorder.route("refused");
            self.edge.recorder.finish(&route, &exchange, now);
        }
        let upstream = self.failed_upstream.take();
        let samples = &self.edge.samples;
        if let Some(route) = route
            && let Some(why) = samples.admit(exchange.status, exchange.elapsed, now)
        {
            let details = Details {
                route: route.label(),
                upstream: upstream.as_deref(),
                attempts: self.facts.attempts,
                sent_after: self
                    .facts
                    .tried_at
                    .saturating_duration_since(self.facts.started),
            };
            samples.keep(why, &exchange, &details, std::iter::empty(), Utc::now());
        }
        if self.flush().await {
            after
        } else {
            After::Abort
        }
    }
}
