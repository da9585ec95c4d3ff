//! Policy, weights and settings of the two levels of balancing, with every instance that balances.

use std::collections::BTreeMap;

use reqwest::Method;
use serde_json::{Map, Value, json};

use super::{Done, Levers, http::segment};
use crate::{Action, Failure, Place};

impl Levers {
    pub(super) async fn set_policy(
        &self,
        policy: &str,
        pool: Option<&str>,
    ) -> Result<Done, Failure> {
        let before = self.patch(pool, &json!({"policy": policy})).await?;
        let was = before["policy"].as_str().unwrap_or_default().to_owned();
        let undo = (was != policy && !was.is_empty()).then(|| Action::Policy {
            policy: was.clone(),
            pool: pool.map(str::to_owned),
        });
        let whom = pool.unwrap_or("gateways");
        Ok(Done::new(format!("{whom} are picked by {policy}, before by {was}")).undone_by(undo))
    }

    pub(super) async fn set_weight(&self, name: &str, weight: u32) -> Result<Done, Failure> {
        let pool = Self::pool_of(self.place(name)?)?;
        // One is what those have that are not named.
        let given = (weight != 1).then_some(weight);
        let before = self
            .patch(pool.as_deref(), &json!({"weights": {name: given}}))
            .await?;
        let was = before["weights"][name].as_u64().unwrap_or(1);
        let undo = (was != u64::from(weight)).then(|| Action::Weight {
            instance: name.to_owned(),
            weight: was as u32,
        });
        let policy = before["policy"].as_str().unwrap_or_default();
        let heeded = if policy == "round_robin" {
            "; round_robin does not look at weights"
        } else {
            ""
        };
        Ok(Done::new(format!(
            "{name} has the weight {weight}, before {was}{heeded}"
        ))
        .undone_by(undo))
    }

    pub(super) async fn set_balancing(
        &self,
        pool: Option<&str>,
        settings: &BTreeMap<String, String>,
    ) -> Result<Done, Failure> {
        let before = self.patch(pool, &document(settings)).await?;
        let mut changed = BTreeMap::new();
        for (path, new) in settings {
            let was = path.split('.').fold(&before, |here, part| &here[part]);
            let was = word(was);
            if was != *new {
                changed.insert(path.clone(), was);
            }
        }
        let text: Vec<String> = settings
            .iter()
            .map(|(path, new)| match changed.get(path) {
                Some(was) => format!("{path} is {new}, before {was}"),
                None => format!("{path} is {new} already"),
            })
            .collect();
        let undo = (!changed.is_empty()).then(|| Action::Balancing {
            pool: pool.map(str::to_owned),
            settings: changed,
        });
        Ok(Done::new(text.join("; ")).undone_by(undo))
    }

    /// Those who balance over a pool: the balancers over the gateways, or the gateways over a service.
    pub(super) fn hops(&self, pool: Option<&str>) -> Result<Vec<&Place>, Failure> {
        self.running(if pool.is_some() {
            "gateway"
        } else {
            "balancer"
        })
    }

    /// The pool that an instance is in; none is the balancers' own.
    pub(super) fn pool_of(place: &Place) -> Result<Option<String>, Failure> {
        match place.role.as_str() {
            "gateway" => Ok(None),
            role @ ("travel" | "search" | "booking" | "worker" | "exercise" | "cache") => {
                Ok(Some(role.to_owned()))
            }
            role => Err(Failure::Impossible {
                reason: format!(
                    "nobody balances over {role}, so {} has no weight",
                    place.name
                ),
            }),
        }
    }

    /// Merges a document over the settings of everybody who balances; what the first had before.
    async fn patch(&self, pool: Option<&str>, patch: &Value) -> Result<Value, Failure> {
        let path = balancing_of(pool);
        let documents = self
            .each(&self.hops(pool)?, |place| {
                let path = path.clone();
                async move {
                    let before = self.look(place, &path).await?;
                    self.order(place, Method::PUT, &path, Some(patch)).await?;
                    Ok(before)
                }
            })
            .await?;
        Ok(documents.into_iter().next().unwrap_or_default())
    }
}

fn balancing_of(pool: Option<&str>) -> String {
    match pool {
        Some(pool) => format!("/admin/balancing?pool={}", segment(pool)),
        None => "/admin/balancing".to_owned(),
    }
}

/// `retries.percent=0` as `{"retries": {"percent": 0}}`.
fn document(settings: &BTreeMap<String, String>) -> Value {
    let mut document = Map::new();
    for (path, value) in settings {
        // What is no JSON is a word.
        let value = serde_json::from_str(value).unwrap_or_else(|_| Value::from(value.as_str()));
        insert(&mut document, path, value);
    }
    Value::Object(document)
}

fn insert(here: &mut Map<String, Value>, path: &str, value: Value) {
    let Some((first, rest)) = path.split_once('.') else {
        here.insert(path.to_owned(), value);
        return;
    };
    let inner = here
        .entry(first.to_owned())
        .or_insert_with(|| Value::Object(Map::new()));
    if let Value::Object(inner) = inner {
        insert(inner, rest, value);
    }
}

/// A value as it is written in a line.
fn word(value: &Value) -> String {
    match value {
        Value::String(text) if serde_json::from_str::<Value>(text).is_err() => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_become_one_document_and_words_again() {
        let settings = [
            ("policy", "p2c"),
            ("retries.percent", "0"),
            ("retries.enabled", "true"),
            ("weights.gateway-1", "null"),
        ];
        let settings = settings.map(|(path, value)| (path.to_owned(), value.to_owned()));
        let document = document(&settings.into());
        assert_eq!(
            document,
            json!({"policy": "p2c", "retries": {"percent": 0, "enabled": true}, "weights": {"gateway-1": null}})
        );
        assert_eq!(word(&document["policy"]), "p2c");
        assert_eq!(word(&document["retries"]["percent"]), "0");
        assert_eq!(word(&json!("true")), "\"true\"");
        assert_eq!(word(&document["absent"]), "null");
    }
}
