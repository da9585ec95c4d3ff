//! What must be true of every trace.

use std::collections::{BTreeMap, BTreeSet};

use opentelemetry_proto::tonic::trace::v1::span::SpanKind;

use crate::collector::{Seen, lines};

/// A trace as a tree, by the span that it begins under.
pub struct Tree {
    spans: BTreeMap<String, Seen>,
    root: String,
}

/// Whether all have come that hang together under `caller`, and these of a service and a name among them. Each process sends
/// its own when it likes.
pub fn is_complete(spans: &[Seen], caller: &str, needed: &[(&str, &str)]) -> bool {
    let known: BTreeSet<&str> = spans.iter().map(|span| span.id.as_str()).collect();
    let (below, roots): (Vec<&Seen>, Vec<&Seen>) =
        spans.iter().partition(|span| span.parent != caller);
    let has = |(service, name): &(&str, &str)| {
        spans
            .iter()
            .any(|span| span.service == *service && span.name == *name)
    };
    roots.len() == 1
        && below
            .iter()
            .all(|span| known.contains(span.parent.as_str()))
        && needed.iter().all(has)
}

impl Tree {
    /// Checks that the spans hang together, under `caller` (empty for a trace that began here).
    pub fn whole(spans: Vec<Seen>, caller: &str) -> Self {
        let text = lines(&spans);
        let count = spans.len();
        let spans: BTreeMap<String, Seen> = spans
            .into_iter()
            .map(|span| (span.id.clone(), span))
            .collect();
        assert_eq!(spans.len(), count, "a span was sent twice: {text}");
        let roots: Vec<&Seen> = spans
            .values()
            .filter(|span| span.parent == caller)
            .collect();
        assert_eq!(roots.len(), 1, "{} roots: {text}", roots.len());
        for span in spans.values() {
            assert!(span.start <= span.end, "{span:?}");
            let Some(parent) = spans.get(&span.parent) else {
                assert_eq!(span.parent, caller, "an unknown parent: {span:?} in {text}");
                continue;
            };
            let same_process = span.instance == parent.instance;
            match span.kind {
                // Another process continues, from a call of its own.
                SpanKind::Server => {
                    assert_eq!(parent.kind, SpanKind::Client, "{span:?} under {parent:?}");
                    assert!(!same_process, "{span:?} under {parent:?}");
                }
                SpanKind::Consumer => {
                    assert_eq!(parent.kind, SpanKind::Producer, "{span:?} under {parent:?}");
                }
                SpanKind::Client if span.name.starts_with("send ") => {
                    assert_eq!(parent.kind, SpanKind::Producer, "{span:?} under {parent:?}");
                }
                _ => {
                    assert!(same_process, "{span:?} under {parent:?}");
                    assert!(span.start >= parent.start, "{span:?} before {parent:?}");
                }
            }
            if !span.get("db.system.name").is_empty() {
                assert!(
                    span.end <= parent.end,
                    "a store outside its hop: {span:?} in {parent:?}"
                );
            }
        }
        let root = roots[0].id.clone();
        Self { spans, root }
    }

    pub fn root(&self) -> &Seen {
        &self.spans[&self.root]
    }

    pub fn services(&self) -> BTreeSet<&str> {
        self.spans
            .values()
            .map(|span| span.service.as_str())
            .collect()
    }

    /// The one span of a service with this name.
    pub fn one(&self, service: &str, name: &str) -> &Seen {
        let all: Vec<&Seen> = self
            .spans
            .values()
            .filter(|span| span.service == service && span.name == name)
            .collect();
        assert_eq!(all.len(), 1, "{service} {name}: {}", self.text());
        all[0]
    }

    pub fn children(&self, of: &Seen) -> Vec<&Seen> {
        let mut children: Vec<&Seen> = self
            .spans
            .values()
            .filter(|span| span.parent == of.id)
            .collect();
        children.sort_by_key(|span| span.start);
        children
    }

    /// Whether a span is under another one, at any distance.
    pub fn is_under(&self, span: &Seen, ancestor: &Seen) -> bool {
        std::iter::successors(Some(span), |span| self.spans.get(&span.parent))
            .any(|span| span.id == ancestor.id)
    }

    pub fn text(&self) -> String {
        lines(&self.spans.values().cloned().collect::<Vec<_>>())
    }
}
