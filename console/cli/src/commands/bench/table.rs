//! Tables, for a terminal and as Markdown.

use std::fmt::Write as _;

/// Rows under a header; the first column is words, the others are figures.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    pub title: String,
    pub header: Vec<&'static str>,
    pub rows: Vec<Row>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Row {
    Cells(Vec<String>),
    /// A name and words that take the place of its figures.
    Words(String, String),
}

impl Table {
    pub fn text(&self) -> String {
        let mut widths: Vec<usize> = self.header.iter().map(|cell| width(cell)).collect();
        for row in &self.rows {
            match row {
                Row::Cells(cells) => {
                    for (known, cell) in widths.iter_mut().zip(cells) {
                        *known = width(cell).max(*known);
                    }
                }
                Row::Words(name, _) => widths[0] = width(name).max(widths[0]),
            }
        }
        let line = |cells: &mut dyn Iterator<Item = &str>| {
            let mut line = String::new();
            for (column, (cell, wanted)) in cells.zip(&widths).enumerate() {
                let space = " ".repeat(wanted - width(cell));
                let _ = match column {
                    0 => write!(line, "{cell}{space}"),
                    _ => write!(line, "  {space}{cell}"),
                };
            }
            line
        };
        let mut text = format!("{}\n", self.title);
        let _ = writeln!(text, "{}", line(&mut self.header.iter().copied()));
        for row in &self.rows {
            let _ = match row {
                Row::Cells(cells) => {
                    writeln!(text, "{}", line(&mut cells.iter().map(String::as_str)))
                }
                Row::Words(name, words) => {
                    let space = " ".repeat(widths[0] - width(name));
                    writeln!(text, "{name}{space}  {words}")
                }
            };
        }
        text
    }

    pub fn markdown(&self) -> String {
        let line = |cells: &mut dyn Iterator<Item = &str>| {
            let mut line = "|".to_owned();
            for cell in cells {
                let _ = write!(line, " {} |", cell.replace('|', "\\|").replace('\n', " "));
            }
            line
        };
        let columns = self.header.len();
        let mut rule = "| --- |".to_owned();
        rule.push_str(&" ---: |".repeat(columns.saturating_sub(1)));
        let mut text = format!("{}\n\n", self.title);
        let _ = writeln!(text, "{}", line(&mut self.header.iter().copied()));
        let _ = writeln!(text, "{rule}");
        for row in &self.rows {
            let line = match row {
                Row::Cells(cells) => line(&mut cells.iter().map(String::as_str)),
                Row::Words(name, words) => {
                    let empty = std::iter::repeat_n("", columns.saturating_sub(2));
                    line(&mut [&name[..], &words[..]].into_iter().chain(empty))
                }
            };
            let _ = writeln!(text, "{line}");
        }
        text
    }
}

fn width(text: &str) -> usize {
    text.chars().count()
}

/// A count or a rate: whole, with a comma between thousands.
pub fn whole(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A figure with so many decimals, or a dash where there is none.
pub fn decimal(number: Option<f64>, decimals: usize) -> String {
    match number {
        Some(number) => format!("{number:.decimals$}"),
        None => "–".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        Table {
            title: "Two proxies".to_owned(),
            header: vec!["proxy", "requests/s", "p50 µs"],
            rows: vec![
                Row::Cells(["direct", "198,000", "152"].map(str::to_owned).to_vec()),
                Row::Cells(["a|b", "9", "–"].map(str::to_owned).to_vec()),
                Row::Words("nginx + headers".to_owned(), "not installed".to_owned()),
            ],
        }
    }

    #[test]
    fn for_a_terminal() {
        let expected = "\
Two proxies
proxy            requests/s  p50 µs
direct              198,000     152
a|b                       9       –
nginx + headers  not installed
";
        assert_eq!(table().text(), expected);
    }

    #[test]
    fn as_markdown() {
        let expected = "\
Two proxies

| proxy | requests/s | p50 µs |
| --- | ---: | ---: |
| direct | 198,000 | 152 |
| a\\|b | 9 | – |
| nginx + headers | not installed |  |
";
        assert_eq!(table().markdown(), expected);
    }

    #[test]
    fn figures() {
        for (number, expected) in [
            (0.0, "0"),
            (999.4, "999"),
            (999.6, "1,000"),
            (1_234_567.0, "1,234,567"),
        ] {
            assert_eq!(whole(number), expected);
        }
        assert_eq!(decimal(Some(0.4444), 2), "0.44");
        assert_eq!(decimal(None, 2), "–");
    }
}
