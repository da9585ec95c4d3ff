//! What may be a host: in `Host` and in an absolute target.

use std::net::Ipv6Addr;

use super::scan::host_end;

/// Whether this is a host name or address with an optional port, and nothing else.
pub(super) fn is_authority(text: &[u8]) -> bool {
    if let [b'[', rest @ ..] = text {
        let Some(close) = rest.iter().position(|byte| *byte == b']') else {
            return false;
        };
        return is_ipv6(&rest[..close]) && is_port_suffix(&rest[close + 1..]);
    }
    let end = host_end(text, 0);
    end > 0 && end <= 255 && is_port_suffix(&text[end..])
}

/// Nothing, or a colon and a port.
fn is_port_suffix(text: &[u8]) -> bool {
    match text {
        [] => true,
        [b':', digits @ ..] if (1..=5).contains(&digits.len()) => {
            digits.iter().all(u8::is_ascii_digit)
                && digits
                    .iter()
                    .fold(0, |port, digit| port * 10 + u32::from(digit - b'0'))
                    < 65_536
        }
        _ => false,
    }
}

fn is_ipv6(text: &[u8]) -> bool {
    std::str::from_utf8(text).is_ok_and(|text| text.parse::<Ipv6Addr>().is_ok())
}
