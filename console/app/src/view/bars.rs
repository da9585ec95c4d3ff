//! Bars and charts out of block characters.

use ratatui::{buffer::Buffer, layout::Rect, style::Style, text::Span};

use super::theme::Theme;

const COLUMNS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
const ROWS: [char; 9] = [' ', '▏', '▎', '▍', '▌', '▋', '▊', '▉', '█'];

/// A bar of `width` columns filled to `part` (0 to 1), on a visible track.
pub fn gauge(part: Option<f64>, width: usize, style: Style, theme: &Theme) -> Vec<Span<'static>> {
    let part = part.unwrap_or(0.0).clamp(0.0, 1.0);
    let eighths = (part * width as f64 * 8.0).round() as usize;
    let mut filled: String = std::iter::repeat_n('█', eighths / 8).collect();
    if !eighths.is_multiple_of(8) {
        filled.push(ROWS[eighths % 8]);
    }
    let rest = width - eighths.div_ceil(8).min(width);
    vec![
        Span::styled(filled, style),
        Span::styled("░".repeat(rest), theme.faint),
    ]
}

/// Observed against expected: the bar should end at the mark, which stands at two thirds of the width.
pub fn against(
    observed: Option<f64>,
    expected: Option<f64>,
    width: usize,
    theme: &Theme,
) -> Vec<Span<'static>> {
    let Some(expected) = expected.filter(|part| *part > 0.0) else {
        return gauge(observed, width, theme.bar, theme);
    };
    let scale = (expected * 1.5).min(1.0).max(expected);
    let part = (observed.unwrap_or(0.0) / scale).clamp(0.0, 1.0);
    let mark = ((expected / scale * width as f64).round() as usize).clamp(1, width.max(1)) - 1;
    let whole = (part * width as f64).round() as usize;
    (0..width)
        .map(|column| {
            if column == mark {
                Span::styled("┃", theme.expected)
            } else if column < whole {
                Span::styled("█", theme.bar)
            } else {
                Span::styled("░", theme.faint)
            }
        })
        .collect()
}

/// One line of columns, the newest to the right; unknown seconds stay blank.
pub fn sparkline(values: &[Option<f64>], top: f64, width: usize) -> String {
    let missing = width.saturating_sub(values.len());
    let shown = &values[values.len().saturating_sub(width)..];
    let columns = shown.iter().map(|value| match value {
        Some(value) if top > 0.0 => {
            COLUMNS[((value / top).clamp(0.0, 1.0) * 7.0).round() as usize + 1]
        }
        Some(_) => COLUMNS[1],
        None => ' ',
    });
    std::iter::repeat_n(' ', missing).chain(columns).collect()
}

/// Columns over several rows, the newest to the right.
pub fn chart(buffer: &mut Buffer, area: Rect, values: &[Option<f64>], top: f64, style: Style) {
    let area = area.intersection(buffer.area);
    let shown = &values[values.len().saturating_sub(area.width.into())..];
    let first = area.right() - shown.len() as u16;
    for (x, value) in (first..).zip(shown) {
        let Some(value) = value else { continue };
        let part = if top > 0.0 { value / top } else { 0.0 };
        // A known zero still shows its base line: it is not the same as unknown.
        let eighths = (part.clamp(0.0, 1.0) * f64::from(area.height) * 8.0).round() as usize;
        let eighths = eighths.max(1);
        for (row, y) in (area.top()..area.bottom()).rev().enumerate() {
            let own = eighths.saturating_sub(row * 8).min(8);
            if own > 0 {
                buffer[(x, y)].set_char(COLUMNS[own]).set_style(style);
            }
        }
    }
}

/// A round number that all values fit under, with a little room above them.
pub fn ceiling(values: &[Option<f64>]) -> f64 {
    let most = 1.1 * values.iter().flatten().copied().fold(0.0, f64::max);
    let mut step = 1.0;
    while step < 1e12 {
        for factor in [1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0] {
            if most <= step * factor {
                return step * factor;
            }
        }
        step *= 10.0;
    }
    most
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::theme::{Depth, Scheme};

    fn text(spans: &[Span]) -> String {
        spans.iter().map(|span| span.content.as_ref()).collect()
    }

    #[test]
    fn bars_have_their_width() {
        let theme = Theme::new(Scheme::Dark, Depth::Indexed);
        for width in 0..20 {
            for part in [None, Some(0.0), Some(0.51), Some(1.0), Some(7.0)] {
                let bar = text(&gauge(part, width, theme.bar, &theme));
                assert_eq!(bar.chars().count(), width);
                let bar = text(&against(part, Some(0.33), width, &theme));
                assert_eq!(bar.chars().count(), width);
            }
        }
        assert_eq!(text(&gauge(Some(0.5), 4, theme.bar, &theme)), "██░░");
        assert_eq!(text(&against(Some(0.33), Some(0.33), 6, &theme)), "███┃░░");
    }

    #[test]
    fn unknown_is_blank_and_zero_is_a_base_line() {
        assert_eq!(
            sparkline(&[None, Some(0.0), Some(5.0), Some(10.0)], 10.0, 6),
            "   ▁▅█"
        );
        assert_eq!(Some(ceiling(&[Some(48.0), None])), Some(60.0));
        assert_eq!(Some(ceiling(&[])), Some(1.0));
    }
}
