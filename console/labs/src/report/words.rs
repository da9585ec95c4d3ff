//! Figures in words: short, and with their unit.

/// Milliseconds as `812 µs`, `1.27 ms`, `3.4 s`, `2 min 5 s`.
#[must_use]
pub fn time(milliseconds: f64) -> String {
    if !milliseconds.is_finite() {
        return "no time".to_owned();
    }
    let size = milliseconds.abs();
    if size == 0.0 {
        "0 ms".to_owned()
    } else if size < 0.9995 {
        format!("{} µs", number(milliseconds * 1e3))
    } else if size < 999.5 {
        format!("{} ms", number(milliseconds))
    } else if !(119_500.0..1e9).contains(&size) {
        format!("{} s", number(milliseconds / 1e3))
    } else {
        let seconds = (milliseconds / 1e3).round();
        format!(
            "{} min {} s",
            (seconds / 60.0).trunc(),
            (seconds % 60.0).abs()
        )
    }
}

/// Three significant digits, without an exponent as long as that is readable.
#[must_use]
pub fn number(value: f64) -> String {
    if !value.is_finite() {
        return "no number".to_owned();
    }
    let size = value.abs();
    if size == 0.0 {
        return "0".to_owned();
    }
    if !(1e-6..1e12).contains(&size) {
        return format!("{value:.2e}");
    }
    let digits = (2 - size.log10().floor() as i32).clamp(0, 8) as usize;
    let text = format!("{value:.digits$}");
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

/// A share of one as `42 %`.
#[must_use]
pub fn percent(share: f64) -> String {
    if !share.is_finite() {
        return "no share".to_owned();
    }
    let hundred = share * 100.0;
    let size = hundred.abs();
    if size != 0.0 && size < 0.95 || size > 99.05 && size < 100.0 {
        // 99.97 % is not all.
        format!("{hundred:.2} %")
    } else if size < 9.95 {
        format!("{} %", number((hundred * 10.0).round() / 10.0))
    } else {
        format!("{hundred:.0} %")
    }
}

/// `1 call`, `2 calls`.
#[must_use]
pub fn count(number: usize, what: &str) -> String {
    let ending = if number == 1 { "" } else { "s" };
    format!("{number} {what}{ending}")
}

/// Bytes as `15.6 GiB`.
#[must_use]
pub fn bytes(bytes: u64) -> String {
    let gibibytes = bytes as f64 / f64::from(1 << 30);
    if gibibytes >= 1.0 {
        format!("{} GiB", number(gibibytes))
    } else {
        format!("{} MiB", number(bytes as f64 / f64::from(1 << 20)))
    }
}

/// At most so many letters, on one line and without control characters.
#[must_use]
pub fn short(text: &str, letters: usize) -> String {
    let line: String = text
        .chars()
        .map(|letter| if letter.is_control() { ' ' } else { letter })
        .take(letters + 1)
        .collect();
    if line.chars().count() <= letters {
        return line;
    }
    let kept: String = line.chars().take(letters.saturating_sub(1)).collect();
    format!("{}…", kept.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_read_well() {
        for (milliseconds, expected) in [
            (0.0, "0 ms"),
            (0.812, "812 µs"),
            (0.9999, "1 ms"),
            (1.2738, "1.27 ms"),
            (12.0, "12 ms"),
            (999.6, "1 s"),
            (3400.0, "3.4 s"),
            (125_000.0, "2 min 5 s"),
            (f64::NAN, "no time"),
        ] {
            assert_eq!(time(milliseconds), expected);
        }
        for (share, expected) in [
            (0.0, "0 %"),
            (1.0, "100 %"),
            (0.424, "42 %"),
            (0.0123, "1.2 %"),
            (0.0004, "0.04 %"),
            (0.9997, "99.97 %"),
        ] {
            assert_eq!(percent(share), expected);
        }
        assert_eq!(number(1234.6), "1235");
        assert_eq!(number(1e-9), "1.00e-9");
        assert_eq!(short("a\nb", 9), "a b");
        assert_eq!(short("abcdef", 4), "abc…");
        assert_eq!(bytes(16_777_216_000), "15.6 GiB");
    }
}
