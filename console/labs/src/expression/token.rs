//! The words of an expression, each with its place.

use std::ops::Range;

use super::Flaw;

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    /// A number without a unit.
    Number(f64),
    /// Milliseconds.
    Time(f64),
    Text(String),
    Name(String),
    /// One of [`SIGNS`].
    Sign(&'static str),
}

/// The longer ones first.
const SIGNS: [&str; 20] = [
    "<=", ">=", "==", "!=", "<", ">", "=", "+", "-", "*", "/", "(", ")", "[", "]", "{", "}", ",",
    ".", "%",
];

/// Cuts a text into tokens; each with its bytes.
pub(super) fn cut(text: &str) -> Result<Vec<(Token, Range<usize>)>, Flaw> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(first) = text[at..].chars().next() {
        if first.is_whitespace() {
            at += first.len_utf8();
            continue;
        }
        let rest = &text[at..];
        let (token, length) = if first.is_ascii_digit() {
            number(rest, at)?
        } else if first == '"' || first == '\'' {
            quoted(rest, first, at)?
        } else if first.is_ascii_alphabetic() || first == '_' {
            let length = rest
                .find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_')
                .unwrap_or(rest.len());
            (Token::Name(rest[..length].to_owned()), length)
        } else {
            let sign = SIGNS.into_iter().find(|sign| rest.starts_with(sign));
            let sign = sign.ok_or_else(|| {
                Flaw::new(
                    at..at + first.len_utf8(),
                    format!("{first:?} has no meaning here"),
                )
            })?;
            (Token::Sign(sign), sign.len())
        };
        tokens.push((token, at..at + length));
        at += length;
    }
    Ok(tokens)
}

/// A number, perhaps with one of the units `ms`, `s`, `m` and `%`.
fn number(text: &str, at: usize) -> Result<(Token, usize), Flaw> {
    let digits = text
        .find(|letter: char| !letter.is_ascii_digit() && letter != '.' && letter != '_')
        .unwrap_or(text.len());
    let unit_length = text[digits..]
        .find(|letter: char| !letter.is_ascii_alphabetic())
        .unwrap_or(text.len() - digits);
    let unit = &text[digits..digits + unit_length];
    let length = digits + unit_length;
    let wrong = |reason: String| Flaw::new(at..at + length, reason);
    let value: f64 = text[..digits]
        .replace('_', "")
        .parse()
        .map_err(|_| wrong(format!("{:?} is no number", &text[..digits])))?;
    Ok(match unit {
        "" if text[digits..].starts_with('%') => (Token::Number(value / 100.0), length + 1),
        "" => (Token::Number(value), length),
        "ms" => (Token::Time(value), length),
        "s" => (Token::Time(value * 1e3), length),
        "m" => (Token::Time(value * 6e4), length),
        other => {
            return Err(wrong(format!(
                "there is no unit {other:?}; there are ms, s, m and %"
            )));
        }
    })
}

fn quoted(text: &str, quote: char, at: usize) -> Result<(Token, usize), Flaw> {
    match text[1..].find(quote) {
        Some(end) => Ok((Token::Text(text[1..=end].to_owned()), end + 2)),
        None => Err(Flaw::new(
            at..at + text.len(),
            "this quotation does not end",
        )),
    }
}
