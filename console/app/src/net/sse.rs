//! Server-sent events out of a stream of bytes; bounded whatever comes.

/// A line longer than this is given up.
const LONGEST_LINE: usize = 64 * 1024;

/// One event: its name (`message` where none was given is empty here) and its data.
#[derive(Debug, PartialEq, Eq)]
pub struct Event<'a> {
    pub name: &'a str,
    pub data: &'a str,
}

/// What has been received and is not yet an event.
#[derive(Debug, Default)]
pub struct Parser {
    line: Vec<u8>,
    overlong: bool,
    name: String,
    data: String,
    damaged: bool,
}

impl Parser {
    /// Takes bytes in and gives every event they complete to `emit`.
    pub fn push(&mut self, bytes: &[u8], mut emit: impl FnMut(Event<'_>)) {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (text, ended) = match part.split_last() {
                Some((b'\n', text)) => (text, true),
                _ => (part, false),
            };
            if self.line.len() + text.len() > LONGEST_LINE {
                self.overlong = true;
                self.line.clear();
            }
            if ended && self.line.is_empty() {
                // Nearly always: the line is whole, and need not be copied.
                self.end_of_line(text, &mut emit);
                continue;
            }
            if !self.overlong {
                self.line.extend_from_slice(text);
            }
            if ended {
                let line = std::mem::take(&mut self.line);
                self.end_of_line(&line, &mut emit);
            }
        }
    }

    fn end_of_line(&mut self, line: &[u8], emit: &mut impl FnMut(Event<'_>)) {
        if std::mem::take(&mut self.overlong) {
            self.damaged = true;
            return;
        }
        let line = String::from_utf8_lossy(line);
        let line = line.trim_end_matches('\r');
        if line.is_empty() {
            if !std::mem::take(&mut self.damaged) && !self.data.is_empty() {
                emit(Event {
                    name: &self.name,
                    data: &self.data,
                });
            }
            self.name.clear();
            self.data.clear();
            return;
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.name),
            "data" if self.data.len() + value.len() <= LONGEST_LINE => {
                if !self.data.is_empty() {
                    self.data.push('\n');
                }
                self.data.push_str(value);
            }
            "data" => self.damaged = true,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(chunks: &[&[u8]]) -> Vec<(String, String)> {
        let mut parser = Parser::default();
        let mut all = Vec::new();
        for chunk in chunks {
            parser.push(chunk, |event| {
                all.push((event.name.to_owned(), event.data.to_owned()));
            });
        }
        all
    }

    #[test]
    fn events_come_whole_however_they_are_cut() {
        let text = b": hello\n\ndata: {\"a\":1}\r\n\r\nevent: lost\ndata:7\n\ndata: x\ndata: y\n\n";
        let whole = events(&[text]);
        let bytes: Vec<&[u8]> = text.chunks(1).collect();
        assert_eq!(whole, events(&bytes));
        let expected = [("", "{\"a\":1}"), ("lost", "7"), ("", "x\ny")];
        assert_eq!(whole, expected.map(|(a, b)| (a.to_owned(), b.to_owned())));
    }

    #[test]
    fn endless_lines_cost_nothing_and_lose_only_themselves() {
        let mut parser = Parser::default();
        let mut all = Vec::new();
        parser.push(b"data: ", |_| {});
        for _ in 0..100 {
            parser.push(&[b'x'; 8192], |event| all.push(event.data.to_owned()));
            assert!(parser.line.capacity() <= 4 * LONGEST_LINE);
        }
        parser.push(b"\n\ndata: \xff\xfe ok\n\n", |event| {
            all.push(event.data.to_owned());
        });
        assert_eq!(all, ["\u{fffd}\u{fffd} ok"]);
    }
}
