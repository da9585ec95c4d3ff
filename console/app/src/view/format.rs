//! Numbers and texts of a fixed width. What is unknown is a dash, never a zero.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Stands for "not known".
pub const UNKNOWN: &str = "–";

fn known(value: Option<f64>, format: impl Fn(f64) -> String) -> String {
    value
        .filter(|value| value.is_finite())
        .map_or_else(|| UNKNOWN.to_owned(), format)
}

/// Events per second: `0`, `0.4`, `16.1`, `248`, `12.4k`.
pub fn rate(value: Option<f64>) -> String {
    known(value, |rate| match rate {
        r if r < 0.05 => "0".to_owned(),
        r if r < 99.95 => format!("{r:.1}"),
        r if r < 9_999.5 => format!("{r:.0}"),
        r if r < 999_950.0 => format!("{:.1}k", r / 1e3),
        r => format!("{:.1}M", r / 1e6),
    })
}

/// Whole things: `7`, `12,345`, `1.2M`.
pub fn count(value: Option<f64>) -> String {
    known(value, |count| match count {
        c if c < 999_999.5 => {
            let whole = c.max(0.0).round() as u64;
            if whole < 1_000 {
                whole.to_string()
            } else {
                format!("{},{:03}", whole / 1_000, whole % 1_000)
            }
        }
        c => format!("{:.1}M", c / 1e6),
    })
}

/// A fraction of one: `33%`.
pub fn percent(value: Option<f64>) -> String {
    known(value, |part| format!("{:.0}%", part * 100.0))
}

/// A fraction of one: `33.4%`.
pub fn fine_percent(value: Option<f64>) -> String {
    known(value, |part| format!("{:.1}%", part * 100.0))
}

/// Seconds of latency: `0.84 ms`, `12.3 ms`, `480 ms`, `1.24 s`, `30 s`.
pub fn latency(seconds: Option<f64>) -> String {
    known(seconds, |seconds| match seconds * 1e3 {
        ms if ms < 9.995 => format!("{ms:.2} ms"),
        ms if ms < 99.95 => format!("{ms:.1} ms"),
        ms if ms < 999.5 => format!("{ms:.0} ms"),
        ms if ms < 9_995.0 => format!("{:.2} s", ms / 1e3),
        ms => format!("{:.0} s", ms / 1e3),
    })
}

/// `640K`, `21M`, `7.8G`.
pub fn bytes(value: Option<f64>) -> String {
    known(value, |bytes| match bytes {
        b if b < 1_048_576.0 => format!("{:.0}K", b / 1024.0),
        b if b < 1_048_576.0 * 1000.0 => format!("{:.0}M", b / 1_048_576.0),
        b => format!("{:.1}G", b / 1_073_741_824.0),
    })
}

/// Seconds of age: `–`, `4s`, `3m`.
pub fn age(seconds: Option<f64>) -> String {
    known(seconds, |seconds| {
        crate::state::alerts::age(seconds.max(0.0) as u64)
    })
}

/// Cuts to at most `width` columns, with an ellipsis where something is missing.
pub fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    if width == 0 {
        return String::new();
    }
    let mut used = 0;
    let mut kept = String::new();
    for character in text.chars() {
        let own = character.width().unwrap_or(0);
        if used + own + 1 > width {
            break;
        }
        used += own;
        kept.push(character);
    }
    kept.push('…');
    kept
}

/// Exactly `width` columns, text to the left.
pub fn left(text: &str, width: usize) -> String {
    let mut text = cut(text, width);
    let missing = width.saturating_sub(text.width());
    text.extend(std::iter::repeat_n(' ', missing));
    text
}

/// Exactly `width` columns, text to the right.
pub fn right(text: &str, width: usize) -> String {
    let text = cut(text, width);
    let missing = width.saturating_sub(text.width());
    format!("{}{text}", " ".repeat(missing))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stay_short_and_honest() {
        let shown = |values: &[f64], of: fn(Option<f64>) -> String| {
            values.iter().map(|&v| of(Some(v))).collect::<Vec<_>>()
        };
        assert_eq!(
            shown(&[0.0, 0.4, 16.06, 99.97, 248.4, 12_400.0, 2.5e6], rate),
            ["0", "0.4", "16.1", "100", "248", "12.4k", "2.5M"]
        );
        assert_eq!(
            shown(&[0.000_84, 0.0123, 0.48, 1.24], latency),
            ["0.84 ms", "12.3 ms", "480 ms", "1.24 s"]
        );
        assert_eq!(shown(&[7.0, 12_345.0, 3e6], count), ["7", "12,345", "3.0M"]);
        assert_eq!(
            shown(&[2_048.0, 22_020_096.0, 8.4e9], bytes),
            ["2K", "21M", "7.8G"]
        );
        for of in [rate, count, percent, latency, bytes, age] {
            assert_eq!(of(None), UNKNOWN);
            assert_eq!(of(Some(f64::NAN)), UNKNOWN);
        }
    }

    #[test]
    fn widths_hold_for_wide_characters() {
        for width in 0..12 {
            for text in ["", "abc", "estación", "地铁站站站站站", "a…b"] {
                assert_eq!(left(text, width).width(), width, "{text:?} {width}");
                assert_eq!(right(text, width).width(), width, "{text:?} {width}");
            }
        }
    }
}
