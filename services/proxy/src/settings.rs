//! Everything that can be told a pool about balancing: one document, validated as a whole, changed while it runs.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    admission::AdmissionSettings,
    breaker::BreakerSettings,
    budget::RetrySettings,
    outlier::OutlierSettings,
    policy::{P2cSettings, PolicyKind},
    selection::HashOn,
    slow_start::SlowStartSettings,
};

/// How a pool balances. Every field has a default; a document may leave out what it does not change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Balancing {
    /// Who picks. Default `round_robin`.
    pub policy: PolicyKind,
    /// What of a request `consistent_hash` hashes: `address` (the client's, the default), `header:NAME` or `cookie:NAME`.
    pub hash_on: HashOn,
    /// Under `consistent_hash`, how many times its share of the requests in flight an upstream may have. 1 to 100, default 1.25.
    pub bound: f64,
    /// Whether a client goes back to the upstream that served it first, by the cookie `recarga_upstream`, under any policy.
    /// For the hop that clients talk to. Default false.
    pub sticky: bool,
    /// How `p2c` weighs what it has seen.
    pub p2c: P2cSettings,
    /// When upstreams that fail more than others are left out.
    pub outlier: OutlierSettings,
    /// When an upstream that does not answer is left alone.
    pub breaker: BreakerSettings,
    /// How many requests may be sent again.
    pub retries: RetrySettings,
    /// How slowly an upstream that has come (back) gets its share, under the policies that look at weights.
    pub slow_start: SlowStartSettings,
    /// Whether the requests in flight are limited.
    pub admission: AdmissionSettings,
    /// When less than this part of the pool (those that drain left aside) would be available, ejections are ignored, in
    /// percent. 0 to 100, default 50; 0 means never.
    pub panic_threshold: u32,
    /// Weights by upstream name, for the policies that look at weights. 1 to 1,000; 1 for those not named.
    pub weights: BTreeMap<String, u32>,
}

impl Default for Balancing {
    fn default() -> Self {
        Self {
            policy: PolicyKind::default(),
            hash_on: HashOn::Address,
            bound: 1.25,
            sticky: false,
            p2c: P2cSettings::default(),
            outlier: OutlierSettings::default(),
            breaker: BreakerSettings::default(),
            retries: RetrySettings::default(),
            slow_start: SlowStartSettings::default(),
            admission: AdmissionSettings::default(),
            panic_threshold: 50,
            weights: BTreeMap::new(),
        }
    }
}

/// How many weights may be given.
const WEIGHTS: usize = 1_000;

impl Balancing {
    /// Checks every value; the error names the field and says what is allowed.
    pub fn validate(&self) -> Result<(), Invalid> {
        within("bound", self.bound, 1.0..=100.0)?;
        self.p2c.validate()?;
        self.outlier.validate()?;
        self.breaker.validate()?;
        self.retries.validate()?;
        self.slow_start.validate()?;
        self.admission.validate()?;
        within("panic_threshold", self.panic_threshold, 0..=100)?;
        if self.weights.len() > WEIGHTS {
            return Err(invalid("weights", format!("must be {WEIGHTS} at most")));
        }
        for (name, weight) in &self.weights {
            within(&format!("weights.{name}"), *weight, 1..=1_000)?;
        }
        Ok(())
    }

    /// This document with another merged over it (JSON Merge Patch, RFC 7396: what is left out stays, `null` means the default),
    /// validated.
    pub fn merged(&self, patch: &Value) -> Result<Self, Invalid> {
        if !patch.is_object() {
            return Err(invalid("body", "must be a JSON object"));
        }
        let mut document = serde_json::to_value(self).map_err(|error| invalid("body", error))?;
        merge(&mut document, patch);
        let merged: Self = serde_path_to_error::deserialize(document).map_err(|error| {
            let path = error.path().to_string();
            let field = if path == "." { "body" } else { &path };
            invalid(field, error.inner())
        })?;
        merged.validate()?;
        Ok(merged)
    }
}

/// A setting that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {reason}")]
pub struct Invalid {
    /// Its path in the document, such as `breaker.base_ms`.
    pub field: String,
    pub reason: String,
}

pub(crate) fn invalid(field: &str, reason: impl Display) -> Invalid {
    Invalid {
        field: field.to_owned(),
        reason: reason.to_string(),
    }
}

/// Checks that a value is in its range.
pub(crate) fn within<N: PartialOrd + Display + Copy>(
    field: &str,
    value: N,
    range: RangeInclusive<N>,
) -> Result<(), Invalid> {
    if range.contains(&value) {
        return Ok(());
    }
    let (least, most) = range.into_inner();
    Err(invalid(
        field,
        format!("must be {least} to {most}, not {value}"),
    ))
}

fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(serde_json::Map::new());
    }
    if let Value::Object(target) = target {
        for (member, value) in patch {
            if value.is_null() {
                target.remove(member);
            } else {
                merge(target.entry(member.clone()).or_insert(Value::Null), value);
            }
        }
    }
}

/// What of a flag's or a document's word can be hashed on.
impl FromStr for HashOn {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const FORMS: &str = "must be address, header:NAME or cookie:NAME";
        let is_cookie_name = |name: &str| {
            !name.is_empty()
                && name
                    .bytes()
                    .all(|byte| byte.is_ascii_graphic() && !br#"()<>@,;:\"/[]?={}"#.contains(&byte))
        };
        match text.split_once(':') {
            None if text == "address" => Ok(Self::Address),
            Some(("header", name)) => name
                .parse()
                .map(Self::Header)
                .map_err(|_| format!("{FORMS}; {name:?} is not the name of a header")),
            Some(("cookie", name)) if is_cookie_name(name) => Ok(Self::Cookie(name.to_owned())),
            Some(("cookie", name)) => Err(format!("{FORMS}; {name:?} is not the name of a cookie")),
            _ => Err(format!("{FORMS}, not {text:?}")),
        }
    }
}

impl Display for HashOn {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Header(name) => write!(formatter, "header:{name}"),
            Self::Cookie(name) => write!(formatter, "cookie:{name}"),
            Self::Address => formatter.write_str("address"),
        }
    }
}

impl Serialize for HashOn {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for HashOn {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_defaults_are_valid_and_survive_json() {
        let defaults = Balancing::default();
        assert_eq!(defaults.validate(), Ok(()));
        let text = serde_json::to_string(&defaults).unwrap();
        assert_eq!(serde_json::from_str::<Balancing>(&text).unwrap(), defaults);
        assert_eq!(serde_json::from_str::<Balancing>("{}").unwrap(), defaults);
    }

    #[test]
    fn a_partial_document_changes_only_what_it_says() {
        let before = Balancing::default()
            .merged(&json!({"policy": "weighted", "weights": {"gateway-1": 3, "gateway-2": 2}}))
            .unwrap();
        let after = before
            .merged(&json!({"breaker": {"failures": 9}, "weights": {"gateway-1": null}, "policy": null}))
            .unwrap();
        let mut expected = Balancing::default();
        expected.breaker.failures = 9;
        expected.weights.insert("gateway-2".to_owned(), 2);
        assert_eq!(after, expected);
        assert_eq!(before.merged(&json!({})).unwrap(), before);
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        for (patch, field) in [
            (json!({"polcy": "p2c"}), "polcy"),
            (json!({"policy": "best"}), "policy"),
            (json!({"bound": 0.5}), "bound"),
            (json!({"hash_on": "header:a b"}), "hash_on"),
            (json!({"hash_on": "cookie:"}), "hash_on"),
            (json!({"hash_on": "path"}), "hash_on"),
            (json!({"sticky": "yes"}), "sticky"),
            (
                json!({"outlier": {"intervall_ms": 1}}),
                "outlier.intervall_ms",
            ),
            (json!({"outlier": 5}), "outlier"),
            (
                json!({"outlier": {"max_ejection_percent": 101}}),
                "outlier.max_ejection_percent",
            ),
            (
                json!({"breaker": {"base_ms": 5_000, "max_ms": 4_999}}),
                "breaker.max_ms",
            ),
            (json!({"retries": {"percent": -1}}), "retries.percent"),
            (
                json!({"slow_start": {"aggression": 0}}),
                "slow_start.aggression",
            ),
            (
                json!({"admission": {"initial_limit": 3}}),
                "admission.initial_limit",
            ),
            (json!({"p2c": {"decay_ms": 0}}), "p2c.decay_ms"),
            (json!({"panic_threshold": 200}), "panic_threshold"),
            (json!({"weights": {"gateway-1": 0}}), "weights.gateway-1"),
            (json!([1]), "body"),
        ] {
            let error = Balancing::default().merged(&patch).unwrap_err();
            assert_eq!(error.field, field, "{patch}: {error}");
        }
        let error = Balancing::default()
            .merged(&json!({"bound": 0.5}))
            .unwrap_err();
        assert_eq!(error.to_string(), "bound: must be 1 to 100, not 0.5");
    }

    #[test]
    fn hash_on_has_three_forms() {
        for text in ["address", "header:x-user", "cookie:session"] {
            assert_eq!(text.parse::<HashOn>().unwrap().to_string(), text);
        }
        assert_eq!(
            "header:X-User".parse::<HashOn>().unwrap().to_string(),
            "header:x-user"
        );
    }
}
