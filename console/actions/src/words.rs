//! A line and its words: quoting, for this language and for shells.

use std::fmt::Write as _;

use crate::ParseError;

/// The word between two actions of one line.
pub(crate) const SEPARATOR: &str = ";";

/// Splits a line into actions of words. A word may be quoted as a whole or after its first `=`: `'…'` as it stands, `"…"` with
/// `\"`, `\\`, `\n`, `\r`, `\t` and `\u{…}`.
pub(crate) fn split(line: &str) -> Result<Vec<Vec<String>>, ParseError> {
    let mut actions = vec![Vec::new()];
    let mut rest = line.trim_start();
    while !rest.is_empty() {
        let (word, quoted, after) = word(rest)?;
        rest = after.trim_start();
        if quoted {
            add(&mut actions, word);
            continue;
        }
        let (word, ends) = match word.strip_suffix(SEPARATOR) {
            Some(word) => (word.to_owned(), true),
            None => (word, false),
        };
        if !word.is_empty() {
            add(&mut actions, word);
        }
        if ends {
            actions.push(Vec::new());
        }
    }
    Ok(actions)
}

fn add(actions: &mut [Vec<String>], word: String) {
    if let Some(action) = actions.last_mut() {
        action.push(word);
    }
}

/// The first word, whether a part of it was quoted, and what follows.
fn word(text: &str) -> Result<(String, bool, &str), ParseError> {
    let mut word = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next().filter(|first| !first.is_whitespace()) {
        let opens = word.is_empty() || (word.ends_with('=') && word.matches('=').count() == 1);
        if opens && matches!(first, '\'' | '"') {
            let (quoted, after) = quotation(&rest[1..], first)?;
            if after
                .chars()
                .next()
                .is_some_and(|next| !next.is_whitespace() && next != ';')
            {
                return Err(ParseError::new(
                    &word,
                    format!("a blank must follow the closing {first}"),
                ));
            }
            word.push_str(&quoted);
            return Ok((word, true, after));
        }
        word.push(first);
        rest = &rest[first.len_utf8()..];
    }
    Ok((word, false, rest))
}

fn quotation(text: &str, quote: char) -> Result<(String, &str), ParseError> {
    let open = || ParseError::new(&quote.to_string(), "this quotation does not end");
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        if character == quote {
            return Ok((value, &text[at + quote.len_utf8()..]));
        }
        if character != '\\' || quote == '\'' {
            value.push(character);
            continue;
        }
        let (_, escaped) = characters.next().ok_or_else(open)?;
        value.push(match escaped {
            '"' | '\\' => escaped,
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => {
                let code: String = characters
                    .by_ref()
                    .map(|(_, digit)| digit)
                    .skip_while(|digit| *digit == '{')
                    .take_while(|digit| *digit != '}')
                    .take(7)
                    .collect();
                u32::from_str_radix(&code, 16)
                    .ok()
                    .and_then(char::from_u32)
                    .ok_or_else(|| ParseError::new(&code, "this is no character; \\u{41} is"))?
            }
            other => {
                return Err(ParseError::new(
                    &format!("\\{other}"),
                    "in double quotes there are \\\", \\\\, \\n, \\r, \\t and \\u{41}",
                ));
            }
        });
    }
    Err(open())
}

/// A word as [`split`] reads it back; the value of `name=value` is quoted by itself.
pub(crate) fn quoted(word: &str) -> String {
    let plain = |text: &str| {
        !text.chars().any(|character| {
            character.is_whitespace()
                || character.is_control()
                || matches!(character, '"' | '\'' | ';')
        })
    };
    if !word.is_empty() && plain(word) {
        return word.to_owned();
    }
    match word.split_once('=') {
        Some((name, value)) if !name.is_empty() && plain(name) => {
            format!("{name}={}", quotes(value))
        }
        _ => quotes(word),
    }
}

fn quotes(value: &str) -> String {
    if !value
        .chars()
        .any(|character| character == '\'' || character.is_control())
    {
        return format!("'{value}'");
    }
    let mut text = String::from('"');
    for character in value.chars() {
        match character {
            '"' | '\\' => text.extend(['\\', character]),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            control if control.is_control() => {
                let _ = write!(text, "\\u{{{:x}}}", u32::from(control));
            }
            other => text.push(other),
        }
    }
    text.push('"');
    text
}

/// A word as a POSIX shell reads it back.
pub(crate) fn for_shell(word: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_./:=@%+,-".contains(&byte);
    if !word.is_empty() && word.bytes().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lines_fall_into_words() {
        for (line, expected) in [
            ("", vec![vec![]]),
            ("  drain   gateway-2 ", vec![vec!["drain", "gateway-2"]]),
            ("a b; c;d ; e", vec![vec!["a", "b"], vec!["c;d"], vec!["e"]]),
            (r#"body={"a":1}"#, vec![vec![r#"body={"a":1}"#]]),
            (r#"body='{"a": 1}' x"#, vec![vec![r#"body={"a": 1}"#, "x"]]),
            (
                r#"k="a\"\\\n\u{e9}="; b"#,
                vec![vec!["k=a\"\\\né="], vec!["b"]],
            ),
            ("'' '; '", vec![vec!["", "; "]]),
        ] {
            assert_eq!(split(line).unwrap(), expected, "{line}");
        }
        for line in ["'", "a=\"", "\"\\", "\"\\x\"", "\"\\u{d800}\"", "'a'b"] {
            assert!(split(line).is_err(), "{line}");
        }
    }

    #[test]
    fn a_shell_gets_the_words_back() {
        for word in ["gateway-2", "a b", "it's", "", ";", "{\"a\":1}", "$(x)"] {
            let echoed = std::process::Command::new("sh")
                .args(["-c", &format!("printf %s {}", for_shell(word))])
                .output()
                .unwrap();
            assert_eq!(String::from_utf8(echoed.stdout).unwrap(), word);
        }
    }

    proptest! {
        #[test]
        fn quoted_words_come_back(words in prop::collection::vec(any::<String>(), 1..5)) {
            let line: Vec<String> = words.iter().map(|word| quoted(word)).collect();
            prop_assert_eq!(split(&line.join(" ")).unwrap(), vec![words]);
        }

        #[test]
        fn no_line_panics(line in any::<String>()) {
            let _ = split(&line);
        }
    }
}
