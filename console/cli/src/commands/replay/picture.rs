//! A screen as an SVG picture: text stays text, and nothing outside it is needed to show it.

use std::fmt::Write as _;

use vt100::{Cell, Color, Screen};

/// A cell, in pixels.
const WIDTH: f64 = 8.4;
const HEIGHT: f64 = 18.0;
const MARGIN: f64 = 12.0;

const BACKGROUND: &str = "#11151c";
const FOREGROUND: &str = "#d5dbe5";

/// The sixteen colours that a terminal gives its own shades.
const SIXTEEN: [&str; 16] = [
    "#11151c", "#e06c75", "#98c379", "#d8b36a", "#61afef", "#c678dd", "#56b6c2", "#c8cdd6",
    "#6b7385", "#f28b94", "#b5dd98", "#f0cf8b", "#8cc7f7", "#dda2ec", "#82d3dc", "#ffffff",
];

/// What a run of cells looks like.
#[derive(Clone, PartialEq)]
struct Style {
    foreground: String,
    background: Option<String>,
    bold: bool,
    dim: bool,
    underline: bool,
}

pub fn of(screen: &Screen) -> String {
    let (rows, columns) = screen.size();
    let (rows, columns) = (rows.get(), columns.get());
    let (width, height) = (
        f64::from(columns) * WIDTH + 2.0 * MARGIN,
        f64::from(rows) * HEIGHT + 2.0 * MARGIN,
    );
    let mut picture = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.1} {height:.1}\" width=\"{width:.0}\" height=\"{height:.0}\" \
         font-family=\"ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace\" font-size=\"14\">\n\
         <rect width=\"100%\" height=\"100%\" rx=\"8\" fill=\"{BACKGROUND}\"/>\n"
    );
    for row in 0..rows {
        let y = MARGIN + f64::from(row) * HEIGHT;
        for (column, cells, style, text) in runs(screen, row, columns) {
            let x = MARGIN + f64::from(column) * WIDTH;
            let length = f64::from(cells) * WIDTH;
            if let Some(background) = &style.background {
                let _ = writeln!(
                    picture,
                    "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{length:.1}\" height=\"{HEIGHT}\" fill=\"{background}\"/>"
                );
            }
            if text.trim().is_empty() {
                continue;
            }
            let mut about = format!("fill=\"{}\"", style.foreground);
            for (is_so, attribute) in [
                (style.bold, " font-weight=\"bold\""),
                (style.dim, " opacity=\"0.65\""),
                (style.underline, " text-decoration=\"underline\""),
            ] {
                if is_so {
                    about += attribute;
                }
            }
            let _ = writeln!(
                picture,
                "<text x=\"{x:.1}\" y=\"{:.1}\" textLength=\"{length:.1}\" xml:space=\"preserve\" {about}>{}</text>",
                y + HEIGHT * 0.75,
                escaped(&text)
            );
        }
    }
    picture + "</svg>\n"
}

/// Column, cells, style and text of each run of a row; blanks at the ends of a run belong to it.
fn runs(screen: &Screen, row: u16, columns: u16) -> Vec<(u16, u16, Style, String)> {
    let mut runs: Vec<(u16, u16, Style, String)> = Vec::new();
    for column in 0..columns {
        let Some(cell) = screen.cell(row, column) else {
            continue;
        };
        let style = style(cell);
        let symbol = if cell.has_contents() {
            cell.contents()
        } else {
            " "
        };
        match runs.last_mut() {
            Some((_, cells, last, text)) if *last == style => {
                *cells += 1;
                text.push_str(symbol);
            }
            _ => runs.push((column, 1, style, symbol.to_owned())),
        }
    }
    runs
}

fn style(cell: &Cell) -> Style {
    let foreground = colour(cell.fgcolor());
    let background = colour(cell.bgcolor());
    let (foreground, background) = if cell.inverse() {
        let behind = foreground.unwrap_or_else(|| FOREGROUND.to_owned());
        (
            background.unwrap_or_else(|| BACKGROUND.to_owned()),
            Some(behind),
        )
    } else {
        (
            foreground.unwrap_or_else(|| FOREGROUND.to_owned()),
            background,
        )
    };
    Style {
        foreground,
        background,
        bold: cell.bold(),
        dim: cell.dim(),
        underline: cell.underline(),
    }
}

fn colour(colour: Color) -> Option<String> {
    let hex = |red: u8, green: u8, blue: u8| format!("#{red:02x}{green:02x}{blue:02x}");
    match colour {
        Color::Default => None,
        Color::Rgb(red, green, blue) => Some(hex(red, green, blue)),
        Color::Idx(number @ 0..=15) => Some(SIXTEEN[usize::from(number)].to_owned()),
        // A cube of six shades of each, then greys.
        Color::Idx(number @ 16..=231) => {
            let shade = |step: u8| if step == 0 { 0 } else { 55 + step * 40 };
            let number = number - 16;
            Some(hex(
                shade(number / 36),
                shade(number / 6 % 6),
                shade(number % 6),
            ))
        }
        Color::Idx(number) => {
            let grey = 8 + (number - 232) * 10;
            Some(hex(grey, grey, grey))
        }
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}
