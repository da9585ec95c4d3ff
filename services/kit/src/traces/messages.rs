//! Spans of messages: made with a write, sent by the relay, worked on by a consumer, all in the trace of whoever wrote.

use std::{
    borrow::Cow,
    time::{Duration, Instant},
};

use super::{Attributes, Begun, Call, Kind, Parent, Serving, Tracer, record::text};
use crate::RequestContext;

/// How long work for messages may take as far as its calls are concerned, which have limits of their own.
const PATIENCE: Duration = Duration::from_hours(24);

/// What is done with messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// They are handed to the queue.
    Send,
    /// A consumer works on them.
    Process,
}

impl Operation {
    fn name(self) -> &'static str {
        match self {
            Self::Send => "send",
            Self::Process => "process",
        }
    }

    fn kind(self) -> Kind {
        match self {
            // The producer is whoever made the message, in another span.
            Self::Send => Kind::Client,
            Self::Process => Kind::Consumer,
        }
    }
}

fn attributes(operation: &'static str, queue: &str) -> Attributes {
    vec![
        ("messaging.system", "recarga".into()),
        ("messaging.operation.name", operation.into()),
        ("messaging.operation.type", operation.into()),
        ("messaging.destination.name", text(queue)),
    ]
}

/// A message that is being made with a write.
#[derive(Debug)]
pub struct Created {
    call: Call,
    traceparent: String,
}

/// Begins to make a message for a queue, in the name of the request being served; `None` when that is not recorded.
#[must_use]
pub fn create(queue: &'static str) -> Option<Created> {
    let hop = RequestContext::current_hop()?;
    let call = hop.call(
        Kind::Producer,
        format!("create {queue}"),
        Instant::now(),
        attributes("create", queue),
    );
    let place = call.place()?;
    let traceparent = place.write().map(char::from).iter().collect();
    Some(Created { call, traceparent })
}

impl Created {
    /// What goes with the message.
    #[must_use]
    pub fn traceparent(&self) -> &str {
        &self.traceparent
    }

    /// Whether there is a message now: a write that was refused, or known from before, makes none.
    pub fn end(self, made: bool) {
        if made {
            self.call.done(Instant::now());
        } else {
            self.call.forget();
        }
    }
}

/// Messages that are sent or worked on together: a span for each that belongs to a trace. What is called meanwhile is told
/// as the first one's.
pub struct Together {
    operation: Operation,
    queue: String,
    hops: Vec<Serving>,
    context: Option<RequestContext>,
}

impl Together {
    /// Begins, with the id and the `traceparent` of each message. Without a tracer it is nothing.
    pub fn begin<'a>(
        tracer: Option<&Tracer>,
        operation: Operation,
        queue: &str,
        messages: impl Iterator<Item = (Cow<'a, str>, Option<Cow<'a, str>>)>,
    ) -> Self {
        let mut hops = Vec::new();
        let mut context = None;
        if let Some(tracer) = tracer {
            let now = Instant::now();
            for (id, traceparent) in messages {
                let parent = Parent::of_message(traceparent.as_deref());
                if parent.place.is_none() {
                    continue;
                }
                let mut attributes = attributes(operation.name(), queue);
                attributes.push(("messaging.message.id", text(&id)));
                let begun = tracer.begin(operation.kind(), parent, now, attributes);
                if let Begun::Recorded(serving) = begun {
                    context.get_or_insert_with(|| background(&id, &serving));
                    hops.push(serving);
                }
            }
            context = context.or_else(|| Some(silent()));
        }
        Self {
            operation,
            queue: queue.to_owned(),
            hops,
            context,
        }
    }

    /// Does the work.
    pub async fn scope<F: Future>(&self, work: F) -> F::Output {
        match &self.context {
            Some(context) => context.clone().scope(work).await,
            None => work.await,
        }
    }

    /// It is done; `error` says with what kind of failure.
    pub fn end(self, error: Option<&'static str>) {
        let now = Instant::now();
        for serving in self.hops {
            let name = |_: &Attributes| format!("{} {}", self.operation.name(), self.queue).into();
            let more = |attributes: &mut Attributes| {
                if let Some(error) = error {
                    attributes.push(("error.type", error.into()));
                }
            };
            serving.end(name, more, error.is_some(), now);
        }
    }
}

/// Does work of the process's own that is no part of any trace: what is called by it begins none either. A consumer asks its
/// queue all the time, and who looks at traces has not asked for that.
pub async fn unrecorded<F: Future>(tracer: Option<&Tracer>, work: F) -> F::Output {
    if tracer.is_some() {
        silent().scope(work).await
    } else {
        work.await
    }
}

fn silent() -> RequestContext {
    let mut context = RequestContext::within(&uuid::Uuid::new_v4().to_string(), PATIENCE);
    context.traceparent = Some(super::nobody());
    context
}

fn background(id: &str, serving: &Serving) -> RequestContext {
    let mut context = RequestContext::within(id, PATIENCE);
    context.traceparent = Some(super::header(serving.hop().place()));
    context.hop = Some(serving.hop().clone());
    context
}
