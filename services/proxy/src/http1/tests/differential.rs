//! What is accepted here, httparse and hyper read in the same way.

use http::{Method, Request};
use http_body_util::{BodyExt, Empty};
use hyper::body::{Body as _, Bytes, Incoming};
use hyper_util::rt::TokioIo;
use rand::{SeedableRng, rngs::StdRng};
use tokio::io::AsyncWriteExt;

use super::{complete, fuzz, parse};
use crate::http1::{Framing, Limits, Progress, RequestHead, ResponseHead};

const HEADS: usize = 2_000;

/// Heads that are accepted, many of them odd.
fn accepted() -> Vec<Vec<u8>> {
    let mut chance = StdRng::seed_from_u64(7);
    std::iter::repeat_with(|| fuzz::input(&mut chance))
        .filter_map(|mut bytes| {
            let (head, result) = parse(&bytes);
            bytes.truncate(head.length);
            (result == Ok(Progress::Complete)).then_some(bytes)
        })
        .take(HEADS)
        .collect()
}

#[test]
fn httparse_reads_the_same_requests() {
    for bytes in accepted() {
        let ours = complete(&bytes);
        let mut fields = [httparse::EMPTY_HEADER; 100];
        let mut theirs = httparse::Request::new(&mut fields);
        let length = theirs.parse(&bytes).unwrap().unwrap();
        let text = String::from_utf8_lossy(&bytes);
        assert_eq!(length, ours.length, "{text:?}");
        assert_eq!(theirs.method, Some(ours.method.as_str()), "{text:?}");
        assert_eq!(theirs.version, Some(ours.minor_version), "{text:?}");
        assert_eq!(theirs.headers.len(), ours.fields.len(), "{text:?}");
        if !ours.is_absolute() {
            assert_eq!(theirs.path, Some(ours.target(&bytes)), "{text:?}");
        }
        for (theirs, ours) in theirs.headers.iter().zip(&ours.fields) {
            assert_eq!(theirs.name.as_bytes(), ours.name(&bytes), "{text:?}");
            assert_eq!(theirs.value, ours.value(&bytes), "{text:?}");
        }
    }
}

#[test]
fn httparse_reads_the_same_answers() {
    let mut chance = StdRng::seed_from_u64(8);
    let (mut count, limits) = (0, Limits::default());
    while count < HEADS / 4 {
        let bytes = fuzz::input(&mut chance);
        let mut ours = ResponseHead::default();
        if ours.parse(&bytes, &Method::GET, &limits) != Ok(Progress::Complete) {
            continue;
        }
        count += 1;
        let mut fields = [httparse::EMPTY_HEADER; 100];
        let mut theirs = httparse::Response::new(&mut fields);
        let text = String::from_utf8_lossy(&bytes);
        assert_eq!(
            theirs.parse(&bytes).unwrap().unwrap(),
            ours.length,
            "{text:?}"
        );
        assert_eq!(theirs.code, Some(ours.status), "{text:?}");
        assert_eq!(theirs.headers.len(), ours.fields.len(), "{text:?}");
        for (theirs, ours) in theirs.headers.iter().zip(&ours.fields) {
            assert_eq!(theirs.name.as_bytes(), ours.name(&bytes), "{text:?}");
            assert_eq!(theirs.value, ours.value(&bytes), "{text:?}");
        }
    }
}

/// What hyper's server makes of the head.
async fn by_hyper(head: &[u8]) -> Option<(http::request::Parts, Option<u64>, bool)> {
    let (mut client, server) = tokio::io::duplex(64 * 1024);
    client.write_all(head).await.unwrap();
    let (sender, mut receiver) = tokio::sync::mpsc::channel(1);
    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
        let sender = sender.clone();
        async move {
            let (parts, body) = request.into_parts();
            let seen = (parts, body.size_hint().exact(), body.is_end_stream());
            sender.try_send(seen).ok();
            Ok::<_, std::convert::Infallible>(http::Response::new(Empty::<Bytes>::new().boxed()))
        }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .keep_alive(false)
        .serve_connection(TokioIo::new(server), service);
    tokio::pin!(connection);
    tokio::select! {
        seen = receiver.recv() => seen,
        _ = &mut connection => receiver.try_recv().ok(),
    }
}

fn same(
    ours: &RequestHead,
    bytes: &[u8],
    theirs: &http::request::Parts,
    length: Option<u64>,
    empty: bool,
) {
    let text = String::from_utf8_lossy(bytes);
    assert_eq!(theirs.method, ours.method, "{text:?}");
    if !ours.is_absolute() {
        assert_eq!(theirs.uri.to_string(), ours.target(bytes), "{text:?}");
    }
    match ours.framing {
        Framing::None | Framing::Length(0) => assert!(empty, "{text:?}"),
        Framing::Length(stated) => assert_eq!(length, Some(stated), "{text:?}"),
        Framing::Chunked | Framing::UntilClose => assert!(length.is_none() && !empty, "{text:?}"),
    }
    for field in &ours.fields {
        let name = std::str::from_utf8(field.name(bytes)).unwrap();
        let found = theirs
            .headers
            .get_all(name)
            .iter()
            .any(|value| value.as_bytes() == field.value(bytes));
        assert!(found, "{name} in {text:?}");
    }
}

#[tokio::test]
async fn hyper_frames_the_same_requests() {
    for bytes in accepted().iter().take(500) {
        let ours = complete(bytes);
        let Some((theirs, length, empty)) = by_hyper(bytes).await else {
            // Hyper refuses some targets that are legal; what it takes, it takes as we do.
            let text = String::from_utf8_lossy(bytes);
            assert!(!ours.target(bytes).starts_with("/a"), "{text:?}");
            continue;
        };
        same(&ours, bytes, &theirs, length, empty);
    }
}
