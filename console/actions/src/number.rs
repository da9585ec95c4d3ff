//! Numbers and times as people write and read them.

use std::time::Duration;

/// `90`, `90s`, `1500ms`, `5m` or `1h`.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let number: u64 = digits.parse().ok()?;
    // A century is enough, and keeps the arithmetic from overflowing.
    let within = |most: u64| (number <= most).then_some(number);
    match &text[digits.len()..] {
        "ms" => Some(Duration::from_millis(number)),
        "" | "s" => Some(Duration::from_secs(within(3_200_000_000)?)),
        "m" => Some(Duration::from_mins(within(52_000_000)?)),
        "h" => Some(Duration::from_hours(within(870_000)?)),
        _ => None,
    }
}

/// A time as [`duration`] reads it: whole seconds, or milliseconds.
pub(crate) fn span(time: Duration) -> String {
    if time.subsec_nanos() == 0 {
        format!("{}s", time.as_secs())
    } else {
        format!("{}ms", time.as_millis())
    }
}

/// `1,204`.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 entry`, `2 entries`.
pub(crate) fn counted(number: u64, one: &str, more: &str) -> String {
    format!(
        "{} {}",
        grouped(number),
        if number == 1 { one } else { more }
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_come_back() {
        for text in ["0s", "60s", "1500ms", "86400s"] {
            assert_eq!(span(duration(text).unwrap()), text);
        }
        assert_eq!(duration("5m"), Some(Duration::from_mins(5)));
        for text in [
            "",
            "s",
            "-1s",
            "1 s",
            "5x",
            "99999999999999999999s",
            "18446744073709551615h",
            "١s",
        ] {
            assert_eq!(duration(text), None, "{text}");
        }
    }

    #[test]
    fn numbers_are_grouped() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1_204, "1,204"),
            (1_000_000, "1,000,000"),
        ] {
            assert_eq!(grouped(number), text);
        }
    }
}
