//! Numbers that may come as text: a browser's form sends `"1"` where a script sends `1`.

use std::fmt;

use serde::{Deserializer, de};

/// For `#[serde(deserialize_with = "kit::lenient::int")]`.
pub fn int<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    deserializer.deserialize_any(Visitor)
}

/// For `#[serde(default, deserialize_with = "kit::lenient::optional_int")]`: absent, null and the empty text are none.
pub fn optional_int<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    deserializer.deserialize_any(OptionalVisitor)
}

struct Visitor;

impl de::Visitor<'_> for Visitor {
    type Value = i64;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a whole number")
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<i64, E> {
        Ok(value)
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<i64, E> {
        i64::try_from(value).map_err(|_| E::custom("the number is too large"))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<i64, E> {
        Err(E::custom(format!("{value} is not a whole number")))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<i64, E> {
        value.trim().parse().map_err(|_| {
            let shown: String = value.chars().take(32).collect();
            E::custom(format!("{shown:?} is not a whole number"))
        })
    }
}

struct OptionalVisitor;

impl<'de> de::Visitor<'de> for OptionalVisitor {
    type Value = Option<i64>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a whole number or null")
    }

    fn visit_none<E: de::Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Self::Value, E> {
        Visitor.visit_i64(value).map(Some)
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Self::Value, E> {
        Visitor.visit_u64(value).map(Some)
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Self::Value, E> {
        Visitor.visit_f64(value).map(Some)
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Self::Value, E> {
        if value.trim().is_empty() {
            Ok(None)
        } else {
            Visitor.visit_str(value).map(Some)
        }
    }
}

#[cfg(test)]
mod tests {
    #[derive(serde::Deserialize)]
    struct Body {
        #[serde(deserialize_with = "super::int")]
        amount: i64,
        #[serde(default, deserialize_with = "super::optional_int")]
        point: Option<i64>,
    }

    fn parse(text: &str) -> Result<(i64, Option<i64>), String> {
        serde_json::from_str::<Body>(text)
            .map(|b| (b.amount, b.point))
            .map_err(|e| e.to_string())
    }

    #[test]
    fn numbers_and_numeric_text_are_taken() {
        assert_eq!(parse(r#"{"amount": 5}"#), Ok((5, None)));
        assert_eq!(
            parse(r#"{"amount": " 5 ", "point": "7"}"#),
            Ok((5, Some(7)))
        );
        assert_eq!(parse(r#"{"amount": -5, "point": null}"#), Ok((-5, None)));
        assert_eq!(parse(r#"{"amount": 5, "point": ""}"#), Ok((5, None)));
    }

    #[test]
    fn anything_else_is_refused_in_words() {
        for (text, part) in [
            (r#"{"amount": 5.5}"#, "not a whole number"),
            (r#"{"amount": "five"}"#, "not a whole number"),
            (r#"{"amount": true}"#, "a whole number"),
            (r#"{"amount": 18446744073709551615}"#, "too large"),
            (r#"{"amount": [1]}"#, "a whole number"),
        ] {
            let error = parse(text).expect_err(text);
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
