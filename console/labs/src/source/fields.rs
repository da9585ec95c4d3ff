//! The fields of a lab's file, as they stand there.

use serde::Deserialize;
use std::collections::BTreeMap;
use toml::Spanned;

#[cfg(test)]
pub(super) const LAB_FIELDS: &[&str] = &[
    "schema", "name", "title", "goal", "minutes", "needs", "clean_up", "step", "series",
];

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub schema: Spanned<i64>,
    pub name: Spanned<String>,
    pub title: Spanned<String>,
    pub goal: Spanned<String>,
    pub minutes: Spanned<i64>,
    #[serde(default)]
    pub needs: Vec<Spanned<String>>,
    #[serde(default)]
    pub clean_up: Vec<Spanned<String>>,
    #[serde(default)]
    pub step: Vec<Spanned<Step>>,
    #[serde(default)]
    pub series: Vec<Series>,
}

#[cfg(test)]
pub(super) const STEP_FIELDS: &[&str] = &[
    "kind",
    "title",
    "text",
    "question",
    "choices",
    "right",
    "do",
    "name",
    "calls",
    "as",
    "times",
    "for",
    "at_once",
    "rate",
    "key",
    "timeout",
    "retries",
    "budget",
    "pause",
    "keep",
    "background",
    "call",
    "that",
    "within",
    "table",
];

/// Every field of every kind of step: which belong together is checked later, where a message can say more.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Step {
    pub kind: Spanned<String>,
    pub title: Option<Spanned<String>>,
    pub text: Option<Spanned<String>>,
    pub question: Option<Spanned<String>>,
    pub choices: Option<Spanned<Vec<String>>>,
    pub right: Option<Spanned<i64>>,
    #[serde(rename = "do")]
    pub action: Option<Spanned<String>>,
    pub name: Option<Spanned<String>>,
    pub calls: Option<Spanned<Vec<Spanned<String>>>>,
    #[serde(rename = "as")]
    pub caller: Option<Spanned<String>>,
    pub times: Option<Spanned<i64>>,
    #[serde(rename = "for")]
    pub lasts: Option<Spanned<String>>,
    pub at_once: Option<Spanned<i64>>,
    pub rate: Option<Spanned<f64>>,
    pub key: Option<Spanned<String>>,
    pub timeout: Option<Spanned<String>>,
    pub retries: Option<Spanned<i64>>,
    pub budget: Option<Spanned<i64>>,
    pub pause: Option<Spanned<String>>,
    pub keep: Option<Spanned<BTreeMap<Spanned<String>, Spanned<String>>>>,
    pub background: Option<Spanned<bool>>,
    pub call: Option<Spanned<String>>,
    pub that: Option<Spanned<String>>,
    pub within: Option<Spanned<String>>,
    pub table: Option<Spanned<Table>>,
}

impl Step {
    /// The fields that are there but `kind`, with their places.
    pub fn present(&self) -> Vec<(&'static str, std::ops::Range<usize>)> {
        fn at<T>(value: Option<&Spanned<T>>) -> Option<std::ops::Range<usize>> {
            value.map(Spanned::span)
        }
        let all = [
            ("title", at(self.title.as_ref())),
            ("text", at(self.text.as_ref())),
            ("question", at(self.question.as_ref())),
            ("choices", at(self.choices.as_ref())),
            ("right", at(self.right.as_ref())),
            ("do", at(self.action.as_ref())),
            ("name", at(self.name.as_ref())),
            ("calls", at(self.calls.as_ref())),
            ("as", at(self.caller.as_ref())),
            ("times", at(self.times.as_ref())),
            ("for", at(self.lasts.as_ref())),
            ("at_once", at(self.at_once.as_ref())),
            ("rate", at(self.rate.as_ref())),
            ("key", at(self.key.as_ref())),
            ("timeout", at(self.timeout.as_ref())),
            ("retries", at(self.retries.as_ref())),
            ("budget", at(self.budget.as_ref())),
            ("pause", at(self.pause.as_ref())),
            ("keep", at(self.keep.as_ref())),
            ("background", at(self.background.as_ref())),
            ("call", at(self.call.as_ref())),
            ("that", at(self.that.as_ref())),
            ("within", at(self.within.as_ref())),
            ("table", at(self.table.as_ref())),
        ];
        all.into_iter()
            .filter_map(|(name, place)| Some((name, place?)))
            .collect()
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Table {
    pub columns: Vec<String>,
    /// A name and expressions.
    pub rows: Vec<Spanned<Vec<Spanned<String>>>>,
}

#[cfg(test)]
pub(super) const SERIES_FIELDS: &[&str] = &["name", "of", "unit"];

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Series {
    pub name: Spanned<String>,
    pub of: Spanned<String>,
    pub unit: Option<String>,
}
