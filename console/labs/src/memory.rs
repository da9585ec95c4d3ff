//! What a running lab knows: samples, answers, metrics over time, the last look at the invariants.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use crate::{
    expression::{Unknown, Value},
    metrics::History,
    record::Measurement,
};

/// Everything that expressions are about.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    /// Milliseconds since the run began.
    pub now_ms: f64,
    pub measurements: BTreeMap<String, Measurement>,
    /// The last answer of each named action, measurement and observation.
    pub answers: BTreeMap<String, Answer>,
    pub history: History,
    /// By number: whether it holds, or why that is not known.
    pub invariants: BTreeMap<usize, Result<bool, String>>,
}

/// An answer as conditions see it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    /// 0 where there was none.
    pub status: u16,
    /// In lower case.
    pub headers: Vec<(String, String)>,
    /// Null where it is no JSON.
    pub body: Json,
}

impl Memory {
    /// How long a measurement has lasted, in milliseconds.
    pub(crate) fn lasted(&self, measured: &Measurement) -> f64 {
        if measured.took_ms > 0.0 {
            measured.took_ms
        } else {
            (self.now_ms - measured.started_ms).max(0.0)
        }
    }

    pub(crate) fn answer(
        &self,
        what: &str,
        name: &str,
        detail: Option<&str>,
    ) -> Result<Value, Unknown> {
        let Some(answer) = self.answers.get(name) else {
            return Err(Unknown(format!("{name} has no answer yet")));
        };
        let detail = detail.unwrap_or_default();
        Ok(match what {
            "status" => Value::Number(f64::from(answer.status)),
            "header" => {
                let wanted = detail.to_ascii_lowercase();
                let found = answer.headers.iter().find(|(header, _)| *header == wanted);
                Value::Text(found.map(|(_, value)| value.clone()).unwrap_or_default())
            }
            _ => match answer.body.pointer(detail) {
                Some(Json::Bool(truth)) => Value::Truth(*truth),
                Some(Json::Number(number)) => Value::Number(number.as_f64().unwrap_or_default()),
                Some(Json::String(text)) => Value::Text(text.clone()),
                Some(Json::Array(list)) => Value::Number(list.len() as f64),
                Some(_) => return Err(Unknown(format!("{detail} is neither text nor number"))),
                None => {
                    return Err(Unknown(format!(
                        "the answer ({}) has no {detail}",
                        answer.status
                    )));
                }
            },
        })
    }
}
