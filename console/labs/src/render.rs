//! Fills the placeholders of calls.

use std::fmt::Write as _;

use actions::Action;
use rand::{Rng, RngExt as _};
use serde_json::Value;

use crate::{
    memory::Memory,
    script::Call,
    source::{Placeholder, placeholders},
};

/// What the placeholders of one call stand for.
pub(crate) struct Filling<'a, R> {
    /// From 1.
    pub number: u64,
    pub run: u64,
    pub chance: &'a mut R,
}

impl<R: Rng> Filling<'_, R> {
    /// A text without placeholders but those of answers, which stay.
    pub fn fill(&mut self, text: &str) -> String {
        // It was checked when the lab was read.
        let Ok(parts) = placeholders(text) else {
            return text.to_owned();
        };
        let mut filled = String::new();
        for (plain, placeholder) in parts {
            filled.push_str(&plain);
            match placeholder {
                None => {}
                Some(Placeholder::Number) => filled.push_str(&self.number.to_string()),
                Some(Placeholder::Run) => filled.push_str(&self.run.to_string()),
                Some(Placeholder::Between(low, high)) => {
                    filled.push_str(&self.chance.random_range(low..=high).to_string());
                }
                Some(Placeholder::Answer { name, pointer }) => {
                    let _ = write!(filled, "<{name}:{pointer}>");
                }
            }
        }
        filled
    }
}

/// A text with the values that answers gave.
pub(crate) fn resolve(text: &str, memory: &Memory) -> Result<String, String> {
    let parts = placeholders(text).map_err(|word| format!("{word} is no placeholder"))?;
    let mut resolved = String::new();
    for (plain, placeholder) in parts {
        resolved.push_str(&plain);
        match placeholder {
            None => {}
            Some(Placeholder::Number) => resolved.push_str("<n>"),
            Some(Placeholder::Run) => resolved.push_str("<run>"),
            Some(Placeholder::Between(low, high)) => {
                let _ = write!(resolved, "<{low}..{high}>");
            }
            Some(Placeholder::Answer { name, pointer }) => {
                let answer = memory.answers.get(&name);
                let answer = answer.ok_or_else(|| format!("{name} has no answer"))?;
                match answer.body.pointer(&pointer) {
                    Some(Value::String(text)) => resolved.push_str(text),
                    Some(value @ (Value::Number(_) | Value::Bool(_))) => {
                        resolved.push_str(&value.to_string());
                    }
                    _ => {
                        return Err(format!(
                            "the answer {name} ({}) has no {pointer}",
                            answer.status
                        ));
                    }
                }
            }
        }
    }
    Ok(resolved)
}

pub(crate) fn resolve_call(call: &Call, memory: &Memory) -> Result<Call, String> {
    let mut resolved = call.clone();
    resolved.target.path = resolve(&call.target.path, memory)?;
    resolved.body = match &call.body {
        None => None,
        Some(body) => Some(resolve(body, memory)?),
    };
    Ok(resolved)
}

/// An action with everything filled in.
pub(crate) fn resolve_action<R: Rng>(
    action: &Action,
    memory: &Memory,
    filling: &mut Filling<R>,
) -> Result<Action, String> {
    Ok(match action {
        Action::Call {
            method,
            target,
            body,
            token,
        } => {
            let mut target = target.clone();
            target.path = filling.fill(&resolve(&target.path, memory)?);
            let body = match body {
                None => None,
                Some(body) => Some(filling.fill(&resolve(body, memory)?)),
            };
            Action::Call {
                method: *method,
                target,
                body,
                token: *token,
            }
        }
        Action::Several(actions) => {
            let resolved = actions
                .iter()
                .map(|action| resolve_action(action, memory, filling))
                .collect::<Result<Vec<_>, _>>()?;
            Action::several(resolved).unwrap_or_else(|| action.clone())
        }
        other => other.clone(),
    })
}
