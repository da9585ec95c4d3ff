//! What one pick of a balancer looked like, and what decided it.

use serde_json::Value;

use super::{super::logs::printable, meaning_of, text};

/// What one pick looked like.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pick {
    pub key: String,
    pub balancer: String,
    /// Seconds before it was told.
    pub age: Option<f64>,
    pub policy: String,
    pub decided_by: String,
    pub fallback: Option<String>,
    pub picked: Option<String>,
    pub hash: Option<String>,
    pub candidates: Vec<Candidate>,
    /// Name and why it could not be picked.
    pub others: Vec<(String, String)>,
    pub omitted: u64,
}

/// One that could be picked.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Candidate {
    pub name: String,
    pub score: Option<f64>,
    pub weight: Option<f64>,
    pub in_flight: Option<f64>,
}

/// What the scores of a policy are, and whether the highest wins.
fn score_of(policy: &str) -> Option<(&'static str, bool)> {
    match policy {
        "weighted" => Some(("balance", true)),
        "least_outstanding" => Some(("in flight per weight", false)),
        "p2c" => Some(("expected cost in seconds", false)),
        "consistent_hash" => Some(("draw", true)),
        _ => None,
    }
}

/// Reads a pick of an answer.
pub(super) fn pick_of(balancer: &str, place: usize, pick: &Value) -> Pick {
    let named = |value: &Value, field: &str| value.get(field).and_then(text);
    let number = |value: &Value, field: &str| value.get(field).and_then(Value::as_f64);
    let list = |field: &str| {
        pick.get(field)
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
    };
    let balancer = printable(balancer);
    Pick {
        key: format!("{balancer} {place}"),
        age: number(pick, "age_seconds"),
        policy: named(pick, "policy").unwrap_or_default(),
        decided_by: named(pick, "decided_by").unwrap_or_default(),
        fallback: named(pick, "fallback"),
        picked: named(pick, "picked"),
        hash: named(pick, "key"),
        candidates: list("candidates")
            .map(|one| Candidate {
                name: named(one, "name").unwrap_or_default(),
                score: number(one, "score"),
                weight: number(one, "weight"),
                in_flight: number(one, "in_flight"),
            })
            .collect(),
        others: list("others")
            .map(|one| {
                let why = named(one, "why").unwrap_or_default().replace('_', " ");
                (named(one, "name").unwrap_or_default(), why)
            })
            .collect(),
        omitted: pick.get("omitted").and_then(Value::as_u64).unwrap_or(0),
        balancer,
    }
}

impl Candidate {
    fn score_text(&self, policy: &str) -> String {
        match (self.score, policy) {
            (None, _) => "–".to_owned(),
            (Some(cost), "p2c") => format!("{:.2} ms", cost * 1e3),
            (Some(score), _) => format!("{score:.2}"),
        }
    }
}

impl Pick {
    /// The candidates and their scores, the picked one first; then the others and why not.
    pub fn story(&self) -> String {
        let mut candidates: Vec<&Candidate> = self.candidates.iter().collect();
        candidates.sort_by_key(|one| Some(&one.name) != self.picked.as_ref());
        let scored = score_of(&self.policy).is_some();
        let mut words: Vec<String> = candidates
            .iter()
            .map(|one| {
                let in_flight = one
                    .in_flight
                    .map_or_else(String::new, |count| format!(" {count:.0} in flight"));
                if scored {
                    format!("{} {}{in_flight}", one.name, one.score_text(&self.policy))
                } else {
                    format!("{}{in_flight}", one.name)
                }
            })
            .collect();
        words.extend(
            self.others
                .iter()
                .map(|(name, why)| format!("{name} {why}")),
        );
        if self.omitted > 0 {
            words.push(format!("{} more", self.omitted));
        }
        words.join(" · ")
    }

    /// What decided, with what made it decide so.
    pub fn decision(&self) -> String {
        match (self.decided_by.as_str(), &self.fallback) {
            ("policy", None) => self.policy.clone(),
            (by, None) => by.to_owned(),
            ("policy", Some(fallback)) => format!("{} ({fallback})", self.policy),
            (by, Some(fallback)) => format!("{by} ({fallback})"),
        }
    }

    pub(super) fn line(&self) -> String {
        let picked = self.picked.as_deref().unwrap_or("nobody");
        format!(
            "{} {} {picked} {}",
            self.balancer,
            self.decision(),
            self.story()
        )
    }

    fn why_not(&self, candidate: &Candidate) -> &'static str {
        if Some(&candidate.name) == self.picked.as_ref() {
            return "picked";
        }
        if self.decided_by == "sticky" {
            return "the client's cookie names another";
        }
        match (self.policy.as_str(), candidate.score) {
            ("round_robin", _) => "not its turn",
            ("random", _) => "chance fell on another",
            ("p2c", None) => "not among the two that were drawn",
            ("p2c", Some(_)) => "its expected cost was higher",
            ("weighted", _) => "its balance was lower",
            ("least_outstanding", _) => "it had more in flight for its weight",
            ("consistent_hash", _) => "its draw was lower, or it was full",
            _ => "another was picked",
        }
    }

    pub(super) fn lines(&self) -> Vec<String> {
        let mut lines = vec![
            format!("policy      {}: {}", self.policy, meaning_of(&self.policy)),
            format!("decided by  {}", self.decided_by),
            format!("picked      {}", self.picked.as_deref().unwrap_or("nobody")),
        ];
        if let Some(age) = self.age {
            lines.push(format!("when        {age:.3} s before it was told"));
        }
        if let Some(hash) = &self.hash {
            lines.push(format!("key         {hash}"));
        }
        if let Some(fallback) = &self.fallback {
            let why = match fallback.as_str() {
                "panic" => "too few would have been left: ejections were ignored",
                "unchecked" => "nobody is known to be up: one that was not checked yet",
                "ejected" => "nobody else was left: one that is ejected",
                "avoided" => "nobody else was left: one that was tried already",
                other => other,
            };
            lines.push(format!("fallback    {why}"));
        }
        lines.push(String::new());
        lines.push(match score_of(&self.policy) {
            Some((name, true)) => format!("score: {name}, the highest wins"),
            Some((name, false)) => format!("score: {name}, the lowest wins"),
            None => "this policy gives no scores".to_owned(),
        });
        let row = |sign: &str, name: &str, score: &str, weight: &str, load: &str, why: &str| {
            format!("{sign} {name:<16} {score:>10} {weight:>7} {load:>9}  {why}")
        };
        lines.push(row(" ", "upstream", "score", "weight", "in flight", "why"));
        let known = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), |v| v.to_string());
        for one in &self.candidates {
            let picked = Some(&one.name) == self.picked.as_ref();
            lines.push(row(
                if picked { "▸" } else { " " },
                &one.name,
                &one.score_text(&self.policy),
                &known(one.weight),
                &known(one.in_flight),
                self.why_not(one),
            ));
        }
        for (name, why) in &self.others {
            lines.push(row(
                " ",
                name,
                "–",
                "–",
                "–",
                &format!("could not be picked: {why}"),
            ));
        }
        if self.omitted > 0 {
            lines.push(format!("  and {} more that are not told", self.omitted));
        }
        lines
    }
}
