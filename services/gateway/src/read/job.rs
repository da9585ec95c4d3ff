//! One flight's work, in a task of its own: ask the cache, rebuild under its lease or ask the service past it, and keep what
//! may be kept.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use http_body_util::{Empty, LengthLimitError};
use kit::RequestContext;
use proxy::ForwardOptions;

use super::{
    Wanted, absence, is_for_now,
    outcome::{Landing, Outcome, is_shareable, other},
};
use crate::{
    cache::{Filling, LookUp, Stale, VALUE_LIMIT, trace, whole},
    first_level::{Copy, Stamp, Times},
    flight::Pilot,
    gate::{Gate, broken_off, problem},
    metrics::Bypass,
    rule::{CacheRule, Place},
    shape,
    table::Upstream,
};

/// What a flight needs to know.
#[derive(Clone)]
pub struct Job {
    pub gate: Arc<Gate>,
    pub upstream: Upstream,
    pub target: http::Uri,
    pub rule: CacheRule,
    pub place: Place,
    /// When the reader who began it goes.
    pub deadline: Instant,
    /// How long the service may take, whoever waits.
    pub limit: Duration,
}

/// The values that this gateway rebuilds before their time.
#[derive(Debug, Default)]
pub struct Early(Mutex<HashSet<Place>>);

impl Early {
    fn begin(&self, place: &Place) -> bool {
        let mut places = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        places.insert(place.clone())
    }

    fn end(&self, place: &Place) {
        let mut places = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        places.remove(place);
    }
}

/// Ends an early rebuild however it ends.
struct Refreshing(Job);

impl Drop for Refreshing {
    fn drop(&mut self) {
        self.0.gate.reads.early.end(&self.0.place);
    }
}

type Flying = Pilot<Wanted, Stale, Landing>;

impl Job {
    /// Flies in a task of its own: others wait for the value also when the reader who happened to come first has left.
    pub fn take_off(self, pilot: Flying) {
        self.spawn(|job| job.fly(pilot));
    }

    /// Rebuilds the value under a lease, if nobody does, while it is still served.
    pub fn refresh_early(self) {
        if !self.gate.reads.early.begin(&self.place) {
            return;
        }
        self.spawn(|job| async move {
            let refreshing = Refreshing(job);
            let job = &refreshing.0;
            let stamp = job.stamp();
            if let Some(token) = job.gate.cache.claim_early(&job.place).await {
                job.rebuild(&token, stamp).await;
            }
        });
    }

    /// Spawns work that the stop of the gateway waits for, under the id of the request that caused it.
    fn spawn<F>(self, work: impl FnOnce(Self) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let instance = self.gate.instance.clone();
        let patience = self.limit;
        let work = work(self);
        match RequestContext::current() {
            Some(mut context) => {
                // The reader's own time may be over long before; the fill needs a moment after the answer.
                context.deadline = Instant::now() + patience * 2;
                instance.spawn(context.scope(work));
            }
            None => instance.spawn(work),
        }
    }

    fn stamp(&self) -> Option<Stamp> {
        let level = self.gate.reads.first_level.as_ref()?;
        level.proof(&self.place.key, Instant::now())
    }

    async fn fly(self, pilot: Flying) {
        pilot.turn().await;
        let stamp = self.stamp();
        pilot.depart(stamp);
        // Half of the time for somebody else's rebuild leaves the other half to ask the service after all.
        let wait = self.deadline.saturating_duration_since(Instant::now()) / 2;
        let asked = Instant::now();
        let (found, timing) = self.gate.cache.look_up(&self.place, wait).await;
        if !matches!(found, LookUp::Away) {
            // The cache holds further look-ups back. Without it, one at a time goes to the service.
            pilot.release();
        }
        let mut afterwards = None;
        let (outcome, stale) = match found {
            LookUp::Hit(found) => {
                let times = Times {
                    made: asked.checked_sub(found.age).unwrap_or(asked),
                    // It was read after it was asked for: the end comes rather too early than too late.
                    fresh_until: asked + found.fresh,
                    rebuild: found.rebuild,
                };
                let copy = self.copy(times, found.absent, found.json);
                self.keep(stamp, &copy);
                (Outcome::Hit(copy), None)
            }
            LookUp::Lease { token, stale } => {
                let stale = stale.map(Arc::new);
                match stale {
                    Some(stale) if is_for_now(&stale) => {
                        afterwards = Some(token);
                        (Outcome::Stale(stale), None)
                    }
                    stale => {
                        if let Some(stale) = &stale {
                            pilot.provisional(stale.clone());
                        }
                        (self.rebuild(&token, stamp).await, stale)
                    }
                }
            }
            LookUp::Busy { stale } => {
                let stale = stale.map(Arc::new);
                match stale {
                    Some(stale) if is_for_now(&stale) => (Outcome::Stale(stale), None),
                    stale => {
                        if let Some(stale) = &stale {
                            pilot.provisional(stale.clone());
                        }
                        (self.pass(Bypass::busy).await, stale)
                    }
                }
            }
            LookUp::Away => (self.pass(Bypass::away).await, None),
        };
        pilot.land(Landing {
            outcome,
            timing,
            stale,
            job: self.clone(),
        });
        if let Some(token) = afterwards {
            self.rebuild(&token, stamp).await;
        }
    }

    fn copy(&self, times: Times, absent: bool, json: Bytes) -> Arc<Copy> {
        let id = self.gate.instance.id();
        Arc::new(Copy::new(times, absent, json, &self.rule.shape, id))
    }

    fn keep(&self, stamp: Option<Stamp>, copy: &Arc<Copy>) {
        if let (Some(level), Some(stamp)) = (&self.gate.reads.first_level, stamp) {
            level.keep(&self.place, stamp, copy.clone());
        }
    }

    /// Asks the service, and fills the cache or gives the lease back.
    async fn rebuild(&self, token: &HeaderValue, stamp: Option<Stamp>) -> Outcome {
        let lease = Held {
            gate: self.gate.clone(),
            place: self.place.clone(),
            token: Some(token.clone()),
        };
        let asked = Instant::now();
        let (head, body) = match self.ask().await {
            Ok(answer) => answer,
            Err(outcome) => {
                lease.give_back().await;
                return outcome;
            }
        };
        let rebuild = asked.elapsed();
        let value = (head.status == StatusCode::OK && is_shareable(&head.headers))
            .then(|| shape::value(&self.rule.shape, &body))
            .flatten();
        if let Some(json) = value {
            let filling = Filling {
                ttl_seconds: self.rule.ttl_seconds,
                swr_seconds: self.rule.swr_seconds,
                sie_seconds: self.rule.sie_seconds,
                rebuild,
                absent: false,
            };
            let copy = self.fill(token, filling, json, stamp).await;
            lease.spent();
            return Outcome::Rebuilt {
                head: head.headers,
                copy,
            };
        }
        let Some(kept) = absence::remembered(head.status, &head.headers, &body) else {
            lease.give_back().await;
            return other(head, body, "MISS");
        };
        let negative = self
            .rule
            .negative_ttl_seconds
            .unwrap_or(self.gate.reads.negative_seconds);
        if negative > 0 {
            let filling = Filling {
                ttl_seconds: negative,
                swr_seconds: Some(0),
                sie_seconds: Some(0),
                rebuild,
                absent: true,
            };
            self.fill(token, filling, kept.clone(), stamp).await;
            lease.spent();
        } else {
            lease.give_back().await;
        }
        Outcome::Absent {
            head: head.headers,
            body,
            kept,
            how: "MISS",
        }
    }

    async fn fill(
        &self,
        token: &HeaderValue,
        filling: Filling,
        json: Bytes,
        stamp: Option<Stamp>,
    ) -> Arc<Copy> {
        let made = Instant::now();
        let (rebuild, absent) = (filling.rebuild, filling.absent);
        let fresh = self
            .gate
            .cache
            .fill(&self.place, token, filling, json.clone())
            .await;
        let times = Times {
            made,
            fresh_until: made + fresh.unwrap_or_default(),
            rebuild,
        };
        let copy = self.copy(times, absent, json);
        // A void lease means that the value may be old already.
        if fresh.is_some() {
            self.keep(stamp, &copy);
        }
        copy
    }

    /// Asks the service without a lease.
    async fn pass(&self, reason: Bypass) -> Outcome {
        self.gate.metrics.bypasses.count(reason);
        let (head, body) = match self.ask().await {
            Ok(answer) => answer,
            Err(outcome) => return outcome,
        };
        let value = (head.status == StatusCode::OK && is_shareable(&head.headers))
            .then(|| shape::value(&self.rule.shape, &body))
            .flatten();
        if let Some(json) = value {
            return Outcome::Passed {
                head: head.headers,
                json,
            };
        }
        match absence::remembered(head.status, &head.headers, &body) {
            Some(kept) => Outcome::Absent {
                head: head.headers,
                body,
                kept,
                how: "BYPASS",
            },
            None => other(head, body, "BYPASS"),
        }
    }

    /// One request to the service; nothing of any client's goes along, for the answer is for everybody.
    async fn ask(&self) -> Result<(http::response::Parts, Bytes), Outcome> {
        let mut request = http::Request::new(Empty::<Bytes>::new());
        *request.uri_mut() = self.target.clone();
        request
            .headers_mut()
            .insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        trace(request.headers_mut());
        let deadline = Instant::now() + self.limit;
        let options = ForwardOptions {
            deadline,
            ..ForwardOptions::within(Duration::ZERO)
        };
        let sent = self.gate.send(self.upstream, request, options).await;
        let response = sent.map_err(|error| Outcome::Refused(problem(error)))?;
        match whole(response, VALUE_LIMIT, deadline).await {
            Ok(response) => Ok(response.into_parts()),
            // Everybody gets it for himself, as it streams.
            Err(error) if error.is::<LengthLimitError>() => Err(Outcome::Private(Mutex::new(None))),
            Err(error) => Err(Outcome::Refused(broken_off(error.as_ref()))),
        }
    }
}

/// A lease that we hold, and give back also when the work under it dies.
struct Held {
    gate: Arc<Gate>,
    place: Place,
    token: Option<HeaderValue>,
}

impl Held {
    /// It was used up.
    fn spent(mut self) {
        self.token = None;
    }

    async fn give_back(mut self) {
        if let Some(token) = self.token.take() {
            self.gate.cache.release(&self.place, &token).await;
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(token) = self.token.take() {
            let (cache, place) = (self.gate.cache.clone(), self.place.clone());
            self.gate
                .instance
                .spawn(async move { cache.release(&place, &token).await });
        }
    }
}
