//! The Prometheus text form, as much of it as our services write.

use std::borrow::Cow;

/// A label's name and value.
pub type Label<'a> = (&'a str, Cow<'a, str>);

/// The name that a line's series has; `None` for comments and for what is no series.
#[must_use]
pub fn name(line: &str) -> Option<&str> {
    let end = line
        .bytes()
        .position(|byte| byte == b'{' || byte.is_ascii_whitespace())?;
    let valid = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b':';
    let name = &line[..end];
    (!name.is_empty() && name.bytes().all(valid)).then_some(name)
}

/// `name{label="value",…} number`, and perhaps a time or an exemplar that nobody here needs. The name and the number.
///
/// What does not look like that is skipped, never trusted: `None`.
pub fn series<'a>(line: &'a str, labels: &mut Vec<Label<'a>>) -> Option<(&'a str, f64)> {
    let name = name(line)?;
    let mut rest = &line[name.len()..];
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside.trim_start();
        while !rest.starts_with('}') {
            let (label, after) = rest.split_once('=')?;
            let (value, after) = quoted(after.trim_start())?;
            labels.push((label.trim(), value));
            rest = after.trim_start();
            match rest.strip_prefix(',') {
                Some(after) => rest = after.trim_start(),
                None if rest.starts_with('}') => {}
                None => return None,
            }
        }
        rest = &rest[1..];
    }
    let value = rest.split_ascii_whitespace().next()?.parse().ok()?;
    Some((name, value))
}

/// A quoted label value and what follows it.
fn quoted(text: &str) -> Option<(Cow<'_, str>, &str)> {
    let text = text.strip_prefix('"')?;
    let end = text.bytes().position(|byte| matches!(byte, b'"' | b'\\'))?;
    if text.as_bytes()[end] == b'"' {
        return Some((Cow::Borrowed(&text[..end]), &text[end + 1..]));
    }
    let mut escaped = false;
    let end = text.bytes().position(|byte| {
        let closes = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        closes
    })?;
    Some((Cow::Owned(unescape(&text[..end])), &text[end + 1..]))
}

fn unescape(text: &str) -> String {
    let mut result = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        if character != '\\' {
            result.push(character);
            continue;
        }
        match characters.next() {
            Some('n') => result.push('\n'),
            Some(other) => result.push(other),
            None => {}
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(line: &str) -> Option<(&str, Vec<Label<'_>>, f64)> {
        let mut labels = Vec::new();
        let (name, value) = series(line, &mut labels)?;
        Some((name, labels, value))
    }

    #[test]
    fn labels_are_unescaped_and_what_follows_the_number_is_left() {
        let line = r#"a_total{x="1", y="\"}\n"} 2.5 1700000000"#;
        let labels = vec![("x", "1".into()), ("y", "\"}\n".into())];
        assert_eq!(read(line), Some(("a_total", labels, 2.5)));
        assert_eq!(read("b{} 3"), Some(("b", Vec::new(), 3.0)));
    }

    #[test]
    fn what_is_no_series_is_skipped() {
        for line in [
            "",
            "# a 1",
            "{",
            "x",
            "x{",
            "x{a",
            "x{a=",
            "x{a=\"",
            "x{a=\"b\"",
            "x{a=\"b\"}",
            "x{a=\"b\" c=\"d\"} 1",
            "x{a=\"\\",
            "x one",
            "é{a=\"b\"} 1",
        ] {
            assert_eq!(read(line), None, "{line:?}");
        }
    }

    proptest! {
        #[test]
        fn no_line_breaks_it(line in "[a-z{}=\", 0-9\\\\#]{0,80}|\\PC{0,40}") {
            let _ = read(&line);
        }
    }
}
