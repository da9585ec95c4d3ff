//! The corpus: how it is written.

use std::iter::Peekable;
use std::path::Path;
use std::str::Bytes;

/// One request, or several, and what must become of them: see `../hostile.rs`.
#[derive(Debug, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is an option of its own"
)]
pub struct Case {
    pub file: String,
    pub name: String,
    pub status: Option<u16>,
    pub reason: Option<String>,
    pub after: usize,
    pub partly: bool,
    pub eof: bool,
    pub closes: bool,
    pub own: bool,
    pub bytes: Vec<u8>,
    pub sees: Vec<Vec<u8>>,
    pub lacks: Vec<Vec<u8>>,
}

/// Every case of every file.
pub fn all() -> Vec<Case> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/hostile");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .expect("the corpus is there")
        .map(|entry| entry.expect("it can be listed").path())
        .filter(|path| path.extension().is_some_and(|end| end == "txt"))
        .collect();
    files.sort();
    files
        .iter()
        .flat_map(|path| {
            let text = std::fs::read_to_string(path).expect("it is text");
            let file = path.file_stem().unwrap_or_default().to_string_lossy();
            cases(&file, &text)
        })
        .collect()
}

fn cases(file: &str, text: &str) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    for line in text.lines() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(line) = line.strip_prefix("case ") {
            cases.push(headline(file, line));
            continue;
        }
        let case = cases.last_mut().expect("a case comes before its bytes");
        if let Some(wanted) = line.strip_prefix("@sees ") {
            case.sees.push(unescaped(wanted));
        } else if let Some(wanted) = line.strip_prefix("@lacks ") {
            case.lacks.push(unescaped(wanted));
        } else {
            case.bytes.extend(unescaped(line));
        }
    }
    cases
}

fn headline(file: &str, line: &str) -> Case {
    let mut words = line.split(' ');
    let mut word = || words.next().unwrap_or_else(|| panic!("too short: {line}"));
    let given = |word: &str| (word != "-").then(|| word.to_owned());
    let mut case = Case {
        file: file.to_owned(),
        name: word().to_owned(),
        status: given(word()).map(|status| status.parse().expect("a status")),
        reason: given(word()),
        ..Case::default()
    };
    for option in words {
        match option {
            "partly" => case.partly = true,
            "eof" => case.eof = true,
            "closes" => case.closes = true,
            "own" => case.own = true,
            option => {
                let count = option.strip_prefix("after=");
                case.after = count
                    .and_then(|count| count.parse().ok())
                    .unwrap_or_else(|| panic!("no option: {option} in {line}"));
            }
        }
    }
    case
}

fn unescaped(text: &str) -> Vec<u8> {
    let mut rest = text.bytes().peekable();
    let bytes = part(&mut rest, false);
    assert!(rest.next().is_none(), "a parenthesis too many: {text}");
    bytes
}

/// Up to the end, or to the parenthesis that closes a repetition.
fn part(rest: &mut Peekable<Bytes<'_>>, nested: bool) -> Vec<u8> {
    let mut out = Vec::new();
    while let Some(byte) = rest.next() {
        if nested && byte == b')' {
            return out;
        }
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        match rest.next().expect("something follows a backslash") {
            b'r' => out.push(b'\r'),
            b'n' => out.push(b'\n'),
            b't' => out.push(b'\t'),
            b's' => out.push(b' '),
            b'0' => out.push(0),
            b'\\' => out.push(b'\\'),
            b'x' => {
                let mut digit = || {
                    let digit = rest.next().and_then(|digit| char::from(digit).to_digit(16));
                    digit.expect("two hexadecimal digits follow \\x") as u8
                };
                out.push(digit() * 16 + digit());
            }
            b'(' => {
                let mut count = 0;
                while let Some(digit) = rest.next_if(u8::is_ascii_digit) {
                    count = count * 10 + usize::from(digit - b'0');
                }
                assert_eq!(rest.next(), Some(b'*'), "a repetition is \\(N*…)");
                out.extend(part(rest, true).repeat(count));
            }
            other => panic!("no escape: \\{}", char::from(other)),
        }
    }
    assert!(!nested, "a repetition is not closed");
    out
}
