//! Which traces are recorded.

use super::traceparent::{Place, TraceId};

/// Decides once for each hop.
#[derive(Clone, Copy, Debug)]
pub struct Sampling {
    /// Whoever began the trace decides; only for traces that begin here does the ratio.
    by_parent: bool,
    /// Ids below it are recorded, of the 63 bits that are compared.
    below: u64,
}

/// How many values the compared bits of an id have.
const VALUES: f64 = 9_223_372_036_854_775_808.0;

impl Sampling {
    /// `ratio` is between 0 and 1.
    #[must_use]
    pub fn new(by_parent: bool, ratio: f64) -> Self {
        Self {
            by_parent,
            below: (ratio * VALUES) as u64,
        }
    }

    /// Whether a hop of this trace is recorded.
    #[must_use]
    pub fn records(self, trace: TraceId, parent: Option<Place>) -> bool {
        match parent {
            Some(parent) if self.by_parent => parent.sampled,
            // The same bits as in OpenTelemetry's own libraries, so that all that take part in a trace agree.
            _ => trace.low() >> 1 < self.below,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::traces::traceparent::SpanId;

    fn parent(sampled: bool) -> Place {
        Place {
            trace: TraceId::new(7).unwrap(),
            span: SpanId::new(7).unwrap(),
            sampled,
            random: false,
        }
    }

    #[test]
    fn who_began_the_trace_decides_where_that_is_wanted() {
        let trace = TraceId::new(u128::MAX / 3).unwrap();
        for (by_parent, ratio, parent, records) in [
            (true, 1.0, None, true),
            (true, 1.0, Some(parent(true)), true),
            (true, 1.0, Some(parent(false)), false),
            (true, 0.0, None, false),
            (true, 0.0, Some(parent(true)), true),
            (false, 1.0, Some(parent(false)), true),
            (false, 0.0, Some(parent(true)), false),
        ] {
            let sampling = Sampling::new(by_parent, ratio);
            assert_eq!(
                sampling.records(trace, parent),
                records,
                "{by_parent} {ratio} {parent:?}"
            );
        }
    }

    #[test]
    fn a_ratio_is_kept_and_all_hops_agree() {
        let (one, other) = (Sampling::new(true, 0.25), Sampling::new(false, 0.25));
        let mut recorded = 0;
        for _ in 0..4_000 {
            let trace = TraceId::draw(rand::random);
            assert_eq!(one.records(trace, None), other.records(trace, None));
            recorded += u32::from(one.records(trace, None));
        }
        assert!((800..1_200).contains(&recorded), "{recorded}");
    }
}
