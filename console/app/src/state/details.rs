//! What is asked for only while somebody looks at it: balancing, keys, queues, sampled requests.

use std::collections::{BTreeMap, BTreeSet};

use super::Moment;

/// One thing that can be asked of the lab.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Topic {
    /// Upstreams, policy and state, of every balancer.
    Upstreams,
    /// The settings of balancing in force, of every balancer.
    Balancing,
    /// The last picks and their candidates, of every balancer.
    Picks,
    /// The cache's keys that begin so.
    Keys(String),
    /// All queues as they are configured.
    Queues,
    /// The dead letters of a queue.
    DeadLetters(String),
    /// The last sampled requests.
    Requests,
}

/// An answer, or why there is none; what was known before stays.
#[derive(Clone, Debug, PartialEq)]
pub struct Known {
    pub at: Moment,
    /// The JSON as it came, bounded in size by who asked.
    pub value: Option<serde_json::Value>,
    pub problem: Option<String>,
}

#[derive(Clone, Debug, Default)]
pub struct Details {
    known: BTreeMap<Topic, Known>,
}

impl Details {
    pub fn put(&mut self, topic: Topic, at: Moment, answer: Result<serde_json::Value, String>) {
        let known = self.known.entry(topic).or_insert(Known {
            at,
            value: None,
            problem: None,
        });
        match answer {
            Ok(value) => {
                *known = Known {
                    at,
                    value: Some(value),
                    problem: None,
                }
            }
            Err(problem) => known.problem = Some(problem),
        }
    }

    pub fn get(&self, topic: &Topic) -> Option<&Known> {
        self.known.get(topic)
    }

    pub fn value(&self, topic: &Topic) -> Option<&serde_json::Value> {
        self.known.get(topic)?.value.as_ref()
    }

    /// Forgets what nobody looks at any more.
    pub fn keep(&mut self, wanted: &BTreeSet<Topic>) {
        self.known.retain(|topic, _| wanted.contains(topic));
    }
}
