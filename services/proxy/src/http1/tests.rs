//! The first round: what a load balancer sees every day.

use super::*;

const WRK: &[u8] =
    b"GET /data HTTP/1.1\r\nHost: 127.0.0.1:8000\r\nAccept: */*\r\nUser-Agent: wrk\r\n\r\n";

#[test]
fn a_plain_request_is_read() {
    let mut head = RequestHead::default();
    let progress = head.parse(WRK, &Limits::default()).unwrap();
    assert_eq!(progress, Progress::Complete);
    assert_eq!(head.length, WRK.len());
    assert_eq!(head.target(WRK), "/data");
    assert_eq!(head.host(WRK), Some(&b"127.0.0.1:8000"[..]));
    assert_eq!(head.framing, Framing::None);
    assert!(head.keep_alive);
    let mut out = Vec::new();
    copy_fields(WRK, &head.fields, &mut out, |field| {
        field.kind != Kind::Host
    });
    assert_eq!(out, b"Accept: */*\r\nUser-Agent: wrk\r\n");
}

#[test]
fn every_reason_has_its_own_label() {
    let mut labels: Vec<_> = Refusal::ALL.iter().map(|refusal| refusal.label()).collect();
    labels.sort_unstable();
    labels.dedup();
    assert_eq!(labels.len(), Refusal::ALL.len());
}
