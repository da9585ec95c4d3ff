//! Messages as bytes, without the formatting machinery.

use super::scan::{is_value_byte, value_end};

/// Ends the data of a chunk.
pub const CHUNK_END: &[u8] = b"\r\n";
/// Ends a chunked body without trailers.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// Appends one chunk. Nothing for no data, because an empty chunk would end the body.
pub fn chunk(data: &[u8], out: &mut Vec<u8>) {
    if data.is_empty() {
        return;
    }
    chunk_head(data.len(), out);
    out.extend_from_slice(data);
    out.extend_from_slice(CHUNK_END);
}

/// Appends the line that begins a chunk of this many bytes. The data and [`CHUNK_END`] have to follow.
pub fn chunk_head(length: usize, out: &mut Vec<u8>) {
    let mut digits = [0; 18];
    let mut at = digits.len() - 2;
    digits[at..].copy_from_slice(b"\r\n");
    let mut left = length;
    loop {
        at -= 1;
        digits[at] = b"0123456789abcdef"[left & 15];
        left >>= 4;
        if left == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// Appends `HTTP/1.1 200 OK` and CR LF.
pub fn status_line(status: u16, out: &mut Vec<u8>) {
    if status == 200 {
        out.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
        return;
    }
    out.extend_from_slice(b"HTTP/1.1 ");
    decimal(u64::from(status), out);
    out.push(b' ');
    let reason = http::StatusCode::from_u16(status)
        .ok()
        .and_then(|status| status.canonical_reason());
    out.extend_from_slice(reason.unwrap_or_default().as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// Appends `name: value` and CR LF. A control byte in the value becomes a space: no value can end its line.
pub fn field(name: &str, value: &[u8], out: &mut Vec<u8>) {
    out.reserve(name.len() + value.len() + 4);
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    if value_end(value, 0) == value.len() {
        out.extend_from_slice(value);
    } else {
        let clean = |byte: &u8| if is_value_byte(*byte) { *byte } else { b' ' };
        out.extend(value.iter().map(clean));
    }
    out.extend_from_slice(b"\r\n");
}

/// Appends a line whose value is known to have no control bytes: it was parsed, or made here. `name` ends with `: `.
pub fn parsed_field(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    debug_assert!(name.ends_with(b": ") && value_end(value, 0) == value.len());
    out.reserve(name.len() + value.len() + 2);
    out.extend_from_slice(name);
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// Appends the number in decimal digits.
pub fn decimal(number: u64, out: &mut Vec<u8>) {
    let digit = |place: u64| b'0' + (number / place % 10) as u8;
    match number {
        0..10 => out.push(digit(1)),
        10..100 => out.extend_from_slice(&[digit(10), digit(1)]),
        100..1_000 => out.extend_from_slice(&[digit(100), digit(10), digit(1)]),
        1_000..100_000 => {
            let digits = [digit(10_000), digit(1_000), digit(100), digit(10), digit(1)];
            out.extend_from_slice(&digits[usize::from(number < 10_000)..]);
        }
        _ => {
            let mut digits = [0; 20];
            let mut at = digits.len();
            let mut left = number;
            while left > 0 {
                at -= 1;
                digits[at] = b'0' + (left % 10) as u8;
                left /= 10;
            }
            out.extend_from_slice(&digits[at..]);
        }
    }
}
