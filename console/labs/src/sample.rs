//! Single calls of a measurement, and how they become columns.

use crate::record::{Measurement, TextColumn};

/// One call with all its attempts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sample {
    /// When it should have started, in milliseconds since the run began.
    pub at_ms: f64,
    pub latency_ms: f64,
    pub service_ms: f64,
    /// 0 where there was no answer.
    pub status: u16,
    /// Which of the measurement's calls, from 0.
    pub call: u16,
    pub attempts: u16,
    /// By column.
    pub texts: Vec<(String, String)>,
    /// Milliseconds that a tier says it took.
    pub tiers: Vec<(String, f64)>,
}

impl Measurement {
    /// Adds a call.
    pub(crate) fn add(&mut self, sample: Sample) {
        let before = self.len();
        self.at_ms.push(sample.at_ms);
        self.latency_ms.push(round(sample.latency_ms));
        self.service_ms.push(round(sample.service_ms));
        self.status.push(sample.status);
        self.call.push(sample.call);
        self.attempts.push(sample.attempts);
        for (name, text) in sample.texts {
            let column = self.texts.entry(name).or_default();
            column.index.resize(before, None);
            let place = column.place(text);
            column.index.push(place);
        }
        for (name, time) in sample.tiers {
            let column = self.tiers.entry(name).or_default();
            column.resize(before, None);
            // A tier that is named twice: the outer one counts.
            if column.len() == before {
                column.push(Some(round(time)));
            }
        }
    }

    /// Puts the calls into the order in which they were due, and gives all columns one length.
    pub(crate) fn complete(&mut self) {
        let count = self.len();
        let mut order: Vec<usize> = (0..count).collect();
        order.sort_by(|left, right| self.at_ms[*left].total_cmp(&self.at_ms[*right]));
        arrange(&mut self.at_ms, &order);
        arrange(&mut self.latency_ms, &order);
        arrange(&mut self.service_ms, &order);
        arrange(&mut self.status, &order);
        arrange(&mut self.call, &order);
        arrange(&mut self.attempts, &order);
        for column in self.texts.values_mut() {
            column.index.resize(count, None);
            arrange(&mut column.index, &order);
        }
        for column in self.tiers.values_mut() {
            column.resize(count, None);
            arrange(column, &order);
        }
        for moment in &mut self.at_ms {
            *moment = round(*moment);
        }
    }
}

impl TextColumn {
    fn place(&mut self, text: String) -> Option<u16> {
        let known = self.values.iter().position(|value| *value == text);
        let place = known.unwrap_or(self.values.len());
        if place == self.values.len() {
            // More texts than can be told apart are none.
            if place >= usize::from(u16::MAX) {
                return None;
            }
            self.values.push(text);
        }
        u16::try_from(place).ok()
    }
}

/// To a microsecond.
fn round(milliseconds: f64) -> f64 {
    (milliseconds * 1e3).round() / 1e3
}

fn arrange<T: Clone>(column: &mut Vec<T>, order: &[usize]) {
    *column = order.iter().map(|at| column[*at].clone()).collect();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(at_ms: f64, gateway: Option<&str>) -> Sample {
        let text = |name: &str| ("gateway".to_owned(), name.to_owned());
        Sample {
            at_ms,
            texts: gateway.map(text).into_iter().collect(),
            tiers: vec![("pg".to_owned(), at_ms)],
            ..Sample::default()
        }
    }

    #[test]
    fn columns_have_one_length_and_the_order_of_the_schedule() {
        let mut measured = Measurement::default();
        measured.add(sample(2.0, None));
        measured.add(sample(1.0, Some("gateway-1")));
        measured.add(sample(0.0, Some("gateway-2")));
        measured.add(sample(3.0, None));
        measured.complete();
        let gateways: Vec<_> = (0..4).map(|call| measured.text("gateway", call)).collect();
        assert_eq!(gateways, [Some("gateway-2"), Some("gateway-1"), None, None]);
        assert_eq!(measured.at_ms, [0.0, 1.0, 2.0, 3.0]);
        assert_eq!(measured.tiers["pg"][1], Some(1.0));
    }
}
