//! What an expression comes to.

use std::cmp::Ordering;

/// The type of an expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    Number,
    Time,
    Text,
    Truth,
    /// Out of an answer's body: known when it is seen.
    Any,
}

impl Type {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Number => "a number",
            Self::Time => "a time",
            Self::Text => "a text",
            Self::Truth => "true or false",
            Self::Any => "a value from a body",
        }
    }
}

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Number(f64),
    /// Milliseconds.
    Time(f64),
    Text(String),
    Truth(bool),
}

impl Value {
    #[must_use]
    pub fn kind(&self) -> Type {
        match self {
            Self::Number(_) => Type::Number,
            Self::Time(_) => Type::Time,
            Self::Text(_) => Type::Text,
            Self::Truth(_) => Type::Truth,
        }
    }

    /// A number, or a time's milliseconds.
    #[must_use]
    pub fn number(&self) -> Option<f64> {
        match self {
            Self::Number(number) | Self::Time(number) => Some(*number),
            Self::Text(_) | Self::Truth(_) => None,
        }
    }

    /// None where the two cannot be compared.
    #[must_use]
    pub fn order(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Number(left), Self::Number(right)) | (Self::Time(left), Self::Time(right)) => {
                left.partial_cmp(right)
            }
            (Self::Text(left), Self::Text(right)) => Some(left.cmp(right)),
            (Self::Truth(left), Self::Truth(right)) => Some(left.cmp(right)),
            _ => None,
        }
    }

    /// As people read it.
    #[must_use]
    pub fn words(&self) -> String {
        match self {
            Self::Number(number) => plain(*number),
            Self::Time(milliseconds) => match milliseconds.abs() {
                time if time < 10.0 => format!("{} ms", plain(*milliseconds)),
                time if time < 10_000.0 => format!("{milliseconds:.0} ms"),
                _ => format!("{:.1} s", milliseconds / 1e3),
            },
            Self::Text(text) => format!("{text:?}"),
            Self::Truth(truth) => truth.to_string(),
        }
    }
}

/// Whole numbers as they are, others with three digits that count.
fn plain(number: f64) -> String {
    // There is no negative nothing.
    let number = number + 0.0;
    if number.fract() == 0.0 || number.abs() >= 1e4 {
        return format!("{number:.0}");
    }
    let text = match number.abs() {
        size if size >= 100.0 => format!("{number:.1}"),
        size if size >= 1.0 => format!("{number:.2}"),
        _ => format!("{number:.3}"),
    };
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_read_well() {
        for (value, words) in [
            (Value::Number(3.0), "3"),
            (Value::Number(0.33333), "0.333"),
            (Value::Number(123.456), "123.5"),
            (Value::Number(0.0001), "0"),
            (Value::Time(0.43), "0.43 ms"),
            (Value::Time(812.4), "812 ms"),
            (Value::Time(12_700.0), "12.7 s"),
            (Value::Text("HIT".to_owned()), "\"HIT\""),
            (Value::Truth(true), "true"),
        ] {
            assert_eq!(value.words(), words);
        }
    }
}
