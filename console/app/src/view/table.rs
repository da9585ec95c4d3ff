//! Rows and columns that keep what matters where there is little room, with the chosen row in sight.

use ratatui::{
    layout::Rect,
    style::{Modifier, Style},
    text::{Line, Span},
};

use super::{
    canvas::{Canvas, Target},
    format,
};
use crate::state::view::Panel;

/// How a column is shown.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    pub title: &'static str,
    /// Characters; the one that grows takes what is left as well.
    pub width: usize,
    pub right: bool,
    pub grows: bool,
    /// Columns of greater numbers are left out first; zero stays always.
    pub rank: u8,
}

impl Column {
    /// Text to the left.
    pub const fn left(title: &'static str, width: usize, rank: u8) -> Self {
        Self {
            title,
            width,
            right: false,
            grows: false,
            rank,
        }
    }

    /// Numbers to the right.
    pub const fn right(title: &'static str, width: usize, rank: u8) -> Self {
        Self {
            right: true,
            ..Self::left(title, width, rank)
        }
    }

    /// Text that takes what is left.
    pub const fn rest(title: &'static str, width: usize, rank: u8) -> Self {
        Self {
            grows: true,
            ..Self::left(title, width, rank)
        }
    }
}

/// One cell.
#[derive(Clone, Debug)]
pub struct Cell {
    pub text: String,
    pub style: Style,
}

impl Cell {
    pub fn new(text: impl Into<String>, style: Style) -> Self {
        Self {
            text: text.into(),
            style,
        }
    }
}

/// One row, known by its key.
#[derive(Clone, Debug)]
pub struct Row {
    pub key: String,
    pub cells: Vec<Cell>,
}

/// Which columns there is room for, and how wide each is.
fn layout(columns: &[Column], width: usize) -> Vec<(usize, usize)> {
    let mut shown: Vec<usize> = (0..columns.len()).collect();
    let needed =
        |shown: &[usize]| -> usize { shown.iter().map(|&column| columns[column].width + 1).sum() };
    while needed(&shown) > width + 1 {
        let worst = shown
            .iter()
            .copied()
            .filter(|&column| columns[column].rank > 0)
            .max_by_key(|&column| (columns[column].rank, column));
        let Some(worst) = worst else { break };
        shown.retain(|&column| column != worst);
    }
    let spare = (width + 1).saturating_sub(needed(&shown));
    let grows = shown.iter().copied().find(|&column| columns[column].grows);
    shown
        .into_iter()
        .map(|column| {
            let more = if Some(column) == grows { spare } else { 0 };
            (column, columns[column].width + more)
        })
        .collect()
}

/// Draws a table. The rows must be those of `State::rows(panel)`, in that order.
pub fn draw(
    canvas: &mut Canvas<'_, '_, '_>,
    panel: Panel,
    area: Rect,
    columns: &[Column],
    rows: &[Row],
) {
    if area.height == 0 || area.width < 4 {
        return;
    }
    let theme = canvas.theme;
    let cursor = canvas.state.cursor(panel);
    let focused = canvas.state.has_focus(panel);
    // The sign of the chosen or marked row takes two columns.
    let widths = layout(columns, usize::from(area.width).saturating_sub(2));
    let mut head = vec![Span::raw("  ")];
    for &(index, width) in &widths {
        let column = &columns[index];
        let sorted = cursor.sort == Some(index);
        let title = match (sorted, cursor.reversed) {
            (true, false) => format!("{}↓", column.title),
            (true, true) => format!("{}↑", column.title),
            _ => column.title.to_owned(),
        };
        let text = if column.right {
            format::right(&title, width)
        } else {
            format::left(&title, width)
        };
        head.push(Span::styled(format!("{text} "), theme.dim));
    }
    canvas.line(area, 0, Line::from(head));
    let keys: Vec<String> = rows.iter().map(|row| row.key.clone()).collect();
    let room = usize::from(area.height) - 1;
    let first = cursor.first_shown(&keys, room);
    let chosen = cursor.place(&keys);
    for (place, row) in rows.iter().enumerate().skip(first).take(room) {
        let y = area.y + 1 + (place - first) as u16;
        let row_area = Rect {
            y,
            height: 1,
            ..area
        };
        canvas
            .targets
            .put(row_area, Target::Row(panel, row.key.clone()));
        let is_chosen = focused && chosen == Some(place);
        let sign = match (cursor.is_marked(&row.key), is_chosen) {
            (true, _) => "◆ ",
            (false, true) => "▸ ",
            (false, false) => "  ",
        };
        let mut spans = vec![Span::styled(sign, theme.accent)];
        for &(index, width) in &widths {
            let Some(cell) = row.cells.get(index) else {
                continue;
            };
            let text = if columns[index].right {
                format::right(&cell.text, width)
            } else {
                format::left(&cell.text, width)
            };
            spans.push(Span::styled(text, cell.style));
            spans.push(Span::raw(" "));
        }
        let mut line = Line::from(spans);
        if is_chosen {
            line = line.style(theme.chosen);
            for span in &mut line.spans {
                span.style = span.style.add_modifier(Modifier::REVERSED);
            }
        }
        canvas.line(row_area, 0, line);
    }
    let hidden = rows.len().saturating_sub(first + room);
    if hidden > 0 && room > 1 {
        let text = format!(" {} more ↓ ", format::count(Some(hidden as f64)));
        let width = text.chars().count() as u16;
        if width + 4 < area.width {
            let place = Rect {
                x: area.right() - width,
                y: area.y,
                width,
                height: 1,
            };
            canvas.line(place, 0, Line::styled(text, theme.dim));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_important_columns_go_first() {
        let columns = [
            Column::left("name", 10, 0),
            Column::right("a", 6, 1),
            Column::right("b", 6, 2),
            Column::rest("why", 8, 1),
        ];
        let names = |width| {
            layout(&columns, width)
                .into_iter()
                .map(|(column, width)| (columns[column].title, width))
                .collect::<Vec<_>>()
        };
        assert_eq!(names(40), [("name", 10), ("a", 6), ("b", 6), ("why", 15)]);
        assert_eq!(names(30), [("name", 10), ("a", 6), ("why", 12)]);
        assert_eq!(names(18), [("name", 10), ("a", 6)]);
        assert_eq!(names(5), [("name", 10)]);
        for width in 0..60 {
            let used: usize = names(width).iter().map(|(_, width)| width + 1).sum();
            assert!(used <= width.max(10) + 1);
        }
    }
}
