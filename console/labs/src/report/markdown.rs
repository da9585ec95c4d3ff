//! Writes a document as Markdown, as GitHub and pandoc read it.

use std::fmt::Write as _;

use super::document::{Block, Document, Grid, Line, Piece};

#[must_use]
pub fn write(document: &Document) -> String {
    let mut text = format!("# {}\n", escape(&document.title));
    for block in &document.blocks {
        text.push('\n');
        match block {
            Block::Heading(level, words) => {
                text.push_str(&"#".repeat(usize::from(*level)));
                let _ = writeln!(text, " {}", escape(words));
            }
            Block::Paragraph(words) => {
                let _ = writeln!(text, "{}", line(words));
            }
            Block::List(lines) => {
                for words in lines {
                    let _ = writeln!(text, "- {}", line(words));
                }
            }
            Block::Table(grid) => table(grid, &mut text),
            Block::Commands(lines) => {
                text.push_str("```sh\n");
                for line in lines {
                    // A fence within would end the block.
                    text.push_str(&one_line(line).replace("```", "` ` `"));
                    text.push('\n');
                }
                text.push_str("```\n");
            }
            Block::Chart(picture) => {
                let words = escape(&picture.description);
                let _ = writeln!(text, "![{words}](charts/{}.svg)", picture.name);
            }
        }
    }
    text
}

fn table(grid: &Grid, text: &mut String) {
    let head: Vec<String> = grid.head.iter().map(|head| escape(head)).collect();
    let _ = write!(text, "| {} |\n|", head.join(" | "));
    for column in 0..grid.head.len() {
        text.push_str(if grid.figures && column > 0 {
            " ---: |"
        } else {
            " --- |"
        });
    }
    text.push('\n');
    for row in &grid.rows {
        let cells: Vec<String> = row.iter().map(line).collect();
        let _ = writeln!(text, "| {} |", cells.join(" | "));
    }
}

fn line(pieces: &Line) -> String {
    pieces
        .iter()
        .map(|piece| match piece {
            Piece::Plain(words) => escape(words),
            Piece::Strong(words) if words.trim().is_empty() => String::new(),
            Piece::Strong(words) => format!("**{}**", escape(words.trim())),
            Piece::Code(words) => code(words),
            Piece::Link(words, file) => format!("[{}]({file})", escape(words)),
        })
        .collect()
}

/// Code: in as many backticks as it needs. A bar would end a table's cell even there.
fn code(words: &str) -> String {
    let words = one_line(words).replace('|', "\\|");
    if words.trim().is_empty() {
        return String::new();
    }
    let mut longest = 0;
    let mut run = 0;
    for letter in words.chars() {
        run = if letter == '`' { run + 1 } else { 0 };
        longest = longest.max(run);
    }
    let fence = "`".repeat(longest + 1);
    if longest > 0 {
        format!("{fence} {words} {fence}")
    } else {
        format!("{fence}{words}{fence}")
    }
}

/// So that every letter is shown as it is.
#[must_use]
pub fn escape(words: &str) -> String {
    let words = one_line(words);
    let mut escaped = String::with_capacity(words.len());
    let letters: Vec<char> = words.chars().collect();
    for (place, letter) in letters.iter().enumerate() {
        let before = place.checked_sub(1).and_then(|before| letters.get(before));
        let after = letters.get(place + 1);
        let is_word = |letter: Option<&char>| letter.is_some_and(|letter| letter.is_alphanumeric());
        let special = match letter {
            '\\' | '`' | '*' | '[' | ']' | '|' | '~' | '$' => true,
            // Inside of a word it is itself.
            '_' => !(is_word(before) && is_word(after)),
            '!' => after == Some(&'['),
            // At the beginning of a line: a heading, a list, a quotation. `1.` is a list, too.
            '#' | '+' | '-' | '=' => place == 0,
            '.' | ')' => {
                place > 0
                    && after.is_none_or(|after| after.is_whitespace())
                    && letters[..place].iter().all(char::is_ascii_digit)
            }
            // So that an address is not made a link of.
            ':' => after == Some(&'/'),
            '@' => is_word(before),
            _ => false,
        };
        match letter {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            _ if special => escaped.extend(['\\', *letter]),
            _ => escaped.push(*letter),
        }
    }
    escaped
}

fn one_line(words: &str) -> String {
    words
        .chars()
        .map(|letter| if letter.is_control() { ' ' } else { letter })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_words_stay_words() {
        for (words, expected) in [
            (
                "<script>alert(1)</script>",
                "&lt;script&gt;alert(1)&lt;/script&gt;",
            ),
            ("a | b\nc", "a \\| b c"),
            ("[x](javascript:alert)", "\\[x\\](javascript:alert)"),
            ("![x](http://evil)", "\\!\\[x\\](http\\://evil)"),
            ("# no heading", "\\# no heading"),
            ("1. no list", "1\\. no list"),
            ("1.5 ms", "1.5 ms"),
            ("snake_case _em_", "snake_case \\_em\\_"),
            ("**", "\\*\\*"),
        ] {
            assert_eq!(escape(words), expected);
        }
        assert_eq!(code("a ` b"), "`` a ` b ``");
        assert_eq!(code("a | b"), "`a \\| b`");
    }
}
