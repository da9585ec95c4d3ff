//! Conditions as they are looked at, tables, and series.

use super::{Engine, News, Order};
use crate::{
    expression::readings,
    memory::{Answer, Memory},
    record::{Cell, Outcome, Row, StepOutcome, Table},
    render::resolve_call,
    script::{self, Kind},
};

impl Engine {
    /// A look is complete: the condition holds, or is looked at again, or its time is over.
    pub(super) fn looked(
        &mut self,
        answer: Option<Answer>,
        invariants: Vec<(usize, Result<bool, String>)>,
    ) -> Vec<Order> {
        self.memory.invariants.extend(invariants);
        if let Some(answer) = answer {
            self.memory.answers.insert("response".to_owned(), answer);
        }
        let Some(Kind::Observe {
            condition,
            within,
            call,
            table,
        }) = self.lab.steps.get(self.at).map(|step| &step.kind)
        else {
            return Vec::new();
        };
        if self.phase != super::Phase::Working {
            return Vec::new();
        }
        let holds = condition.holds(&self.memory) == Ok(true);
        let (readings, first) = readings(condition, &self.memory);
        let step = &mut self.run.steps[self.at];
        let spent = self.now_ms - step.started_ms;
        if let Some(record) = &mut step.condition {
            record.readings = readings;
            if let Some(first) = first {
                record.history.push((self.now_ms, first));
            }
        }
        step.table = table.as_ref().map(|table| fill(table, &self.memory));
        if holds {
            self.settle(StepOutcome::Passed, None);
            return Vec::new();
        }
        if spent < within.as_secs_f64() * 1e3 {
            self.news.push(News::Looked(self.at));
            let call = call.as_ref().and_then(|(call, caller)| {
                let call = resolve_call(call, &self.memory).ok()?;
                Some((call, *caller))
            });
            return vec![Order::Look {
                call,
                invariants: condition.invariants(),
                again: true,
            }];
        }
        let reason = format!("step {}: {} does not hold", self.at + 1, condition.text());
        self.settle(StepOutcome::Failed, None);
        self.fail(Outcome::Failed, &reason);
        Vec::new()
    }

    /// Adds a point to each series.
    pub(super) fn plot(&mut self) {
        for (series, recorded) in self.lab.series.iter().zip(&mut self.run.series) {
            if let Ok(value) = series.of.value(&self.memory)
                && let Some(number) = value.number()
            {
                recorded.points.push((self.now_ms.round(), number));
            }
        }
    }
}

/// A table with its figures.
pub(super) fn fill(table: &script::Table, memory: &Memory) -> Table {
    let rows = table.rows.iter().map(|(name, cells)| Row {
        name: name.clone(),
        cells: cells
            .iter()
            .map(|cell| match cell.value(memory) {
                Ok(value) => Cell {
                    text: value.words(),
                    number: value.number(),
                },
                Err(_) => Cell {
                    text: "–".to_owned(),
                    number: None,
                },
            })
            .collect(),
    });
    Table {
        columns: table.columns.clone(),
        rows: rows.collect(),
    }
}
