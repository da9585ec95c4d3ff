//! What is wrong with a document of routes: which route, which field, on which line.

use serde::Serialize;

/// One thing that is wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Flaw {
    /// Where in the document, when it was text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// The method and path, or the position when these cannot be read; none when it is not about one route.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route: Option<String>,
    /// Such as `cache.key`; none when it is not about one field.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    pub reason: String,
    /// Which of the routes, from zero.
    #[serde(skip)]
    pub position: Option<usize>,
}

impl Flaw {
    /// About a field of a route; the compiler of the table adds which route.
    #[must_use]
    pub fn of(field: &str, reason: impl Into<String>) -> Self {
        Self {
            field: Some(field.to_owned()),
            reason: reason.into(),
            ..Self::default()
        }
    }

    /// About the document as a whole.
    #[must_use]
    pub fn general(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            ..Self::default()
        }
    }
}

impl std::fmt::Display for Flaw {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(line) = self.line {
            write!(formatter, "line {line}: ")?;
        }
        if let Some(route) = &self.route {
            write!(formatter, "{route}: ")?;
        }
        if let Some(field) = &self.field {
            write!(formatter, "{field}: ")?;
        }
        formatter.write_str(&self.reason)
    }
}

/// Everything that is wrong with a document; at least one thing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(transparent)]
pub struct Flaws(pub Vec<Flaw>);

impl std::fmt::Display for Flaws {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (number, flaw) in self.0.iter().enumerate() {
            if number > 0 {
                formatter.write_str("\n")?;
            }
            write!(formatter, "{flaw}")?;
        }
        Ok(())
    }
}

impl From<Flaw> for Flaws {
    fn from(flaw: Flaw) -> Self {
        Self(vec![flaw])
    }
}
