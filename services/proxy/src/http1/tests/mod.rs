//! Tables of what is refused and accepted, laws that hold for all bytes, and a fuzz run that checks the laws.

mod bodies;
mod differential;
mod encoding;
mod fuzz;
mod laws;
mod properties;
mod refused;
mod requests;
mod responses;

use super::*;

/// Parses a request as one piece.
fn parse(bytes: &[u8]) -> (RequestHead, Result<Progress, Refusal>) {
    let mut head = RequestHead::default();
    let result = head.parse(bytes, &Limits::default());
    (head, result)
}

/// A head that must be complete.
fn complete(bytes: &[u8]) -> RequestHead {
    let (head, result) = parse(bytes);
    let text = String::from_utf8_lossy(bytes);
    assert_eq!(result, Ok(Progress::Complete), "{text:?}");
    head
}

/// Reads a whole body: the data, the bytes consumed, and whether it ended.
fn read(body: &mut Body, mut input: &[u8]) -> (Vec<u8>, usize, Result<bool, Refusal>) {
    let (mut data, mut consumed) = (Vec::new(), 0);
    loop {
        match body.next(input) {
            Err(refusal) => return (data, consumed, Err(refusal)),
            Ok((used, step)) => {
                consumed += used;
                input = &input[used..];
                match step {
                    Step::Data(piece) => data.extend_from_slice(piece),
                    Step::More => return (data, consumed, Ok(false)),
                    Step::End => return (data, consumed, Ok(true)),
                }
            }
        }
    }
}

#[test]
fn every_reason_has_its_own_label_and_a_status_of_its_kind() {
    let mut labels: Vec<_> = Refusal::ALL.iter().map(|refusal| refusal.label()).collect();
    labels.sort_unstable();
    labels.dedup();
    assert_eq!(labels.len(), Refusal::ALL.len());
    for refusal in Refusal::ALL {
        let label = refusal.label();
        assert!(
            label
                .bytes()
                .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_')),
            "{label}"
        );
        assert!(
            matches!(refusal.status(), 400 | 405 | 414 | 417 | 431 | 501 | 505),
            "{label}"
        );
        assert!(refusal.detail().ends_with('.'), "{label}");
    }
}
