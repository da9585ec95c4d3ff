//! Writes a document as one HTML page that needs nothing else: no script, no other file, no network.

use std::fmt::Write as _;

use super::{
    canvas,
    document::{Block, Document, Grid, Line, Piece},
    picture::Tint,
};

const STYLE: &str = include_str!("page.css");

pub fn write(document: &Document) -> Result<String, String> {
    let mut body = format!("<h1>{}</h1>\n", escape(&document.title));
    for block in &document.blocks {
        match block {
            Block::Heading(level, words) => {
                let _ = writeln!(body, "<h{level}>{}</h{level}>", escape(words));
            }
            Block::Paragraph(words) => {
                let _ = writeln!(body, "<p>{}</p>", line(words));
            }
            Block::List(lines) => {
                body.push_str("<ul>\n");
                for words in lines {
                    let _ = writeln!(body, "<li>{}</li>", line(words));
                }
                body.push_str("</ul>\n");
            }
            Block::Table(grid) => table(grid, &mut body),
            Block::Commands(lines) => {
                let lines: Vec<String> = lines.iter().map(|line| escape(line)).collect();
                let _ = writeln!(body, "<pre><code>{}</code></pre>", lines.join("\n"));
            }
            Block::Chart(picture) => {
                // It can be scrolled, also by key, where the screen is narrow.
                let _ = writeln!(
                    body,
                    "<figure tabindex=\"0\" aria-label=\"{}\">\n{}</figure>",
                    escape(&picture.title),
                    canvas::inline_svg(picture)?
                );
            }
        }
    }
    let title = escape(&document.title);
    Ok(format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <title>{title}</title>\n<style>\n{}{STYLE}</style>\n</head>\n<body>\n<main>\n{body}</main>\n</body>\n</html>\n",
        colours()
    ))
}

/// The colours of charts and page as variables, for light and for dark.
fn colours() -> String {
    let light = Tint::ALL.map(|tint| format!("{}:{};", tint.variable().0, canvas::hex(tint)));
    let dark = Tint::ALL.map(|tint| {
        let (name, colour) = tint.variable();
        format!("{name}:{colour};")
    });
    format!(
        ":root{{{}}}\n@media (prefers-color-scheme:dark){{:root{{{}}}}}\n",
        light.concat(),
        dark.concat()
    )
}

fn table(grid: &Grid, body: &mut String) {
    let class = if grid.figures {
        " class=\"figures\""
    } else {
        ""
    };
    let _ = write!(
        body,
        "<div class=\"wide\" tabindex=\"0\"><table{class}>\n<thead><tr>"
    );
    for head in &grid.head {
        let _ = write!(body, "<th scope=\"col\">{}</th>", escape(head));
    }
    body.push_str("</tr></thead>\n<tbody>\n");
    for row in &grid.rows {
        body.push_str("<tr>");
        for (column, cell) in row.iter().enumerate() {
            if column == 0 {
                let _ = write!(body, "<th scope=\"row\">{}</th>", line(cell));
            } else {
                let _ = write!(body, "<td>{}</td>", line(cell));
            }
        }
        body.push_str("</tr>\n");
    }
    body.push_str("</tbody></table></div>\n");
}

fn line(pieces: &Line) -> String {
    pieces
        .iter()
        .map(|piece| match piece {
            Piece::Plain(words) => escape(words),
            Piece::Strong(words) => format!("<strong>{}</strong>", escape(words)),
            Piece::Code(words) => format!("<code>{}</code>", escape(words)),
            Piece::Link(words, file) => {
                format!("<a href=\"{}\">{}</a>", escape(file), escape(words))
            }
        })
        .collect()
}

/// So that every letter is shown as it is, also within quotes, and also as XML.
#[must_use]
pub fn escape(words: &str) -> String {
    let mut escaped = String::with_capacity(words.len());
    for letter in words.chars() {
        match letter {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\n' => escaped.push('\n'),
            letter if letter.is_control() => escaped.push(' '),
            letter => escaped.push(letter),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_words_stay_words() {
        assert_eq!(
            escape("<a href=\"x\" title='y'>&\u{0}"),
            "&lt;a href=&quot;x&quot; title=&#39;y&#39;&gt;&amp; "
        );
    }
}
