//! Byte classes, and the field lines of a head read piece by piece.

use super::field::{Field, Kind};
use super::refusal::Refusal;

/// A byte of a token that is a letter, a digit or `-`.
const PLAIN: u8 = 1;
/// Any other byte of a token (RFC 9110, 5.6.2).
const ODD: u8 = 2;
/// May be in a path.
const PATH: u8 = 4;
/// May be in a query, or anywhere in a target in absolute form.
const QUERY: u8 = 8;
/// May be in a method.
const METHOD: u8 = 16;
/// May be in a host's name.
const HOST: u8 = 32;

const CLASSES: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut table = [0; 256];
    let mut byte = 0x21_u8;
    while byte < 0x7f {
        let mut class = 0;
        if byte.is_ascii_alphanumeric() || byte == b'-' {
            class |= PLAIN;
        }
        if matches!(
            byte,
            b'!' | b'#'
                | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'*'
                | b'+'
                | b'.'
                | b'^'
                | b'_'
                | b'`'
                | b'|'
                | b'~'
        ) {
            class |= ODD;
        }
        if !matches!(byte, b'"' | b'#' | b'<' | b'>') {
            class |= QUERY;
            if !matches!(byte, b'?' | b'\\' | b'`') {
                class |= PATH;
            }
        }
        if byte.is_ascii_uppercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_') {
            class |= METHOD;
        }
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_') {
            class |= HOST;
        }
        table[byte as usize] = class;
        byte += 1;
    }
    table
}

fn end_of(bytes: &[u8], from: usize, class: u8) -> usize {
    let rest = bytes.get(from..).unwrap_or_default();
    let length = rest
        .iter()
        .position(|byte| CLASSES[*byte as usize] & class == 0);
    from + length.unwrap_or(rest.len())
}

pub(super) fn method_end(bytes: &[u8], from: usize) -> usize {
    end_of(bytes, from, METHOD)
}

/// Where the path ends: at `?`, the space or a wrong byte.
pub(super) fn path_end(bytes: &[u8], from: usize) -> usize {
    end_of(bytes, from, PATH)
}

pub(super) fn query_end(bytes: &[u8], from: usize) -> usize {
    end_of(bytes, from, QUERY)
}

pub(super) fn host_end(bytes: &[u8], from: usize) -> usize {
    end_of(bytes, from, HOST)
}

pub(super) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && end_of(bytes, 0, PLAIN | ODD) == bytes.len()
}

pub(super) fn is_token_byte(byte: u8) -> bool {
    CLASSES[byte as usize] & (PLAIN | ODD) != 0
}

/// Whether a field's name has a character besides letters, digits and `-`.
pub(super) fn is_odd(name: &[u8]) -> bool {
    name.iter().any(|byte| CLASSES[*byte as usize] & PLAIN == 0)
}

/// Where a field's value ends: at the first control byte other than a tab.
pub(super) fn value_end(bytes: &[u8], from: usize) -> usize {
    const ONES: u64 = u64::from_ne_bytes([0x01; 8]);
    const HIGH: u64 = u64::from_ne_bytes([0x80; 8]);
    let mut rest = bytes.get(from..).unwrap_or_default();
    // Eight bytes at a time: the lowest flagged byte is below 0x20 or is 0x7f, those above it may be flagged by the borrow.
    while let Some((word, after)) = rest.split_first_chunk::<8>() {
        let word = u64::from_le_bytes(*word);
        let below = word.wrapping_sub(ONES * 0x20) & !word;
        let delete = word ^ (ONES * 0x7f);
        let flagged = (below | (delete.wrapping_sub(ONES) & !delete)) & HIGH;
        if flagged == 0 {
            rest = after;
            continue;
        }
        let (_, at) = rest.split_at(flagged.trailing_zeros() as usize / 8);
        match at {
            [b'\t', after @ ..] => rest = after,
            _ => return bytes.len() - at.len(),
        }
    }
    let length = rest.iter().position(|byte| !is_value_byte(*byte));
    bytes.len() - rest.len() + length.unwrap_or(rest.len())
}

pub(super) fn is_value_byte(byte: u8) -> bool {
    (byte >= 0x20 && byte != 0x7f) || byte == b'\t'
}

pub(super) fn trim(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = value {
        value = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

/// What comes after a carriage return.
pub(super) enum LineEnd {
    /// The line ends; the next begins here.
    At(usize),
    /// Not known yet.
    Partial,
}

/// Looks behind the carriage return at `at`.
pub(super) fn line_end(bytes: &[u8], at: usize) -> Result<LineEnd, Refusal> {
    match bytes.get(at + 1) {
        Some(b'\n') => Ok(LineEnd::At(at + 2)),
        Some(_) => Err(Refusal::BareCr),
        None => Ok(LineEnd::Partial),
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Part {
    #[default]
    LineStart,
    Name,
    Value,
}

/// Reads field lines; remembers where it stopped.
#[derive(Clone, Debug, Default)]
pub(super) struct Lines {
    part: Part,
    line: usize,
    name_end: usize,
    /// The classes of all bytes of the name.
    classes: u8,
    pub at: usize,
    /// The kinds that were seen, as bits.
    pub seen: u64,
    /// The kinds that were seen more than once.
    pub repeated: u64,
}

impl Lines {
    /// Reads on; with the empty line it says where that ends.
    pub fn read(
        &mut self,
        bytes: &[u8],
        most: usize,
        fields: &mut Vec<Field>,
    ) -> Result<Option<usize>, Refusal> {
        loop {
            let mut at = self.at;
            if self.part == Part::LineStart {
                match bytes.get(at) {
                    None => return Ok(None),
                    Some(b'\r') => {
                        return match line_end(bytes, at)? {
                            LineEnd::At(end) => Ok(Some(end)),
                            LineEnd::Partial => Ok(None),
                        };
                    }
                    Some(b'\n') => return Err(Refusal::BareLf),
                    Some(b' ' | b'\t') => return Err(Refusal::ObsFold),
                    Some(b':') => return Err(Refusal::FieldNameEmpty),
                    Some(_) if fields.len() >= most => return Err(Refusal::TooManyFields),
                    Some(_) => {}
                }
                self.line = at;
                self.classes = 0;
                self.part = Part::Name;
            }
            if self.part == Part::Name {
                let rest = &bytes[at..];
                let mut classes = 0;
                let length = rest.iter().position(|byte| {
                    let class = CLASSES[*byte as usize] & (PLAIN | ODD);
                    classes |= class;
                    class == 0
                });
                self.classes |= classes;
                at += length.unwrap_or(rest.len());
                match bytes.get(at) {
                    Some(b':') => self.name_end = at,
                    None => {
                        self.at = at;
                        return Ok(None);
                    }
                    Some(b' ' | b'\t') => return Err(Refusal::SpaceBeforeColon),
                    Some(b'\n') => return Err(Refusal::BareLf),
                    Some(b'\r') => {
                        self.at = at;
                        return match line_end(bytes, at)? {
                            LineEnd::At(_) => Err(Refusal::ColonMissing),
                            LineEnd::Partial => Ok(None),
                        };
                    }
                    Some(_) => return Err(Refusal::FieldName),
                }
                at += 1;
                self.part = Part::Value;
            }
            at = value_end(bytes, at);
            self.at = at;
            match bytes.get(at) {
                Some(b'\r') => {}
                None => return Ok(None),
                Some(b'\n') => return Err(Refusal::BareLf),
                Some(_) => return Err(Refusal::FieldValue),
            }
            let LineEnd::At(end) = line_end(bytes, at)? else {
                return Ok(None);
            };
            fields.push(self.field(bytes, at, end));
            self.at = end;
            self.part = Part::LineStart;
        }
    }

    fn field(&mut self, bytes: &[u8], value_end: usize, end: usize) -> Field {
        let name = &bytes[self.line..self.name_end];
        let kind = Kind::of(name, self.classes & ODD != 0);
        self.repeated |= self.seen & kind.bit();
        self.seen |= kind.bit();
        let (mut from, mut to) = (self.name_end + 1, value_end);
        while from < to && matches!(bytes[from], b' ' | b'\t') {
            from += 1;
        }
        while to > from && matches!(bytes[to - 1], b' ' | b'\t') {
            to -= 1;
        }
        Field {
            kind,
            start: self.line as u32,
            name_end: self.name_end as u32,
            value_start: from as u32,
            value_end: to as u32,
            end: end as u32,
        }
    }
}
