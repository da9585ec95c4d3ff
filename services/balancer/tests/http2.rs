//! HTTP/2 and TLS at the front door, and what is thrown at them.

#![expect(clippy::unwrap_used, reason = "these are tests")]

mod support;

use std::{sync::Arc, time::Duration};

use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::ServerName;
use support::{Balancer, Gateway, raw::Wire};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

async fn one(flags: &[&str]) -> (Balancer, Gateway) {
    let gateway = Gateway::start("gateway-1").await;
    let balancer = Balancer::start(&[gateway.address], flags).await;
    (balancer, gateway)
}

async fn up(balancer: &Balancer) {
    balancer.shows(serde_json::json!({"gateway-1": true})).await;
}

type Sender = hyper::client::conn::http2::SendRequest<Full<Bytes>>;

async fn http2<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(stream: S) -> Sender {
    let (sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .expect("it speaks HTTP/2");
    tokio::spawn(connection);
    sender
}

fn post(scheme: &str, path: &str, body: &'static str) -> Request<Full<Bytes>> {
    Request::post(format!("{scheme}://recarga.test{path}"))
        .body(Full::from(body))
        .unwrap()
}

#[tokio::test]
async fn http2_by_prior_knowledge_is_forwarded() {
    let (balancer, gateway) = one(&[]).await;
    up(&balancer).await;
    let sender = http2(TcpStream::connect(balancer.address).await.unwrap()).await;
    let calls = (0..50).map(|number| {
        let mut sender = sender.clone();
        async move {
            let answer = sender
                .send_request(post("http", &format!("/data?n={number}"), "hello"))
                .await
                .unwrap();
            assert_eq!(answer.status(), StatusCode::OK);
            assert!(answer.headers().contains_key("x-request-id"));
            assert!(answer.headers().contains_key("server-timing"));
            let body = answer.into_body().collect().await.unwrap().to_bytes();
            assert_eq!(body, r#"{"gateway":"gateway-1"}"#);
        }
    });
    futures::future::join_all(calls).await;
    assert_eq!(gateway.count(), 50);
    let seen = gateway.last_seen();
    assert_eq!(seen.body, "hello");
    assert_eq!(seen.headers["x-forwarded-for"], "127.0.0.1");
}

#[tokio::test]
async fn gateways_may_be_spoken_to_by_http2() {
    let (balancer, gateway) = one(&["--upstream-http2"]).await;
    up(&balancer).await;
    let answer = balancer
        .post("/data")
        .body("from one to two")
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let seen = gateway.last_seen();
    assert_eq!(seen.version, http::Version::HTTP_2);
    assert_eq!(seen.body, "from one to two");
}

struct Certificate {
    folder: tempfile::TempDir,
    flags: Vec<String>,
    roots: rustls::RootCertStore,
}

/// Writes a new certificate and its key; whoever trusts it.
fn write_new(folder: &std::path::Path) -> rustls::RootCertStore {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(folder.join("k.pem"), made.signing_key.serialize_pem()).unwrap();
    std::fs::write(folder.join("c.pem"), made.cert.pem()).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    roots
}

fn certificate() -> Certificate {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    Certificate {
        flags: vec![
            "--tls-certificate".to_owned(),
            path("c.pem"),
            "--tls-key".to_owned(),
            path("k.pem"),
        ],
        roots: write_new(folder.path()),
        folder,
    }
}

type Encrypted = tokio_rustls::client::TlsStream<TcpStream>;

/// Fails when the balancer shows a certificate that these do not trust.
async fn greet(
    balancer: &Balancer,
    roots: &rustls::RootCertStore,
    protocol: &[u8],
) -> std::io::Result<Encrypted> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots.clone())
        .with_no_client_auth();
    config.alpn_protocols = vec![protocol.to_vec()];
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let stream = TcpStream::connect(balancer.address).await?;
    let name = ServerName::try_from("localhost").unwrap();
    connector.connect(name, stream).await
}

async fn tls(balancer: &Balancer, certificate: &Certificate, protocol: &[u8]) -> Encrypted {
    let stream = greet(balancer, &certificate.roots, protocol).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(protocol));
    stream
}

/// The health page is behind TLS: the admin port says when the gateway is up.
async fn up_behind_tls(balancer: &Balancer) {
    kit::testing::eventually("the gateway is up", || async {
        let url = format!("{}/admin/upstreams", balancer.admin);
        let answer = balancer.http.get(url).send().await.unwrap();
        answer.text().await.unwrap().contains(r#""state":"up""#)
    })
    .await;
}

#[tokio::test]
async fn tls_carries_both_versions() {
    let certificate = certificate();
    let flags: Vec<&str> = certificate.flags.iter().map(String::as_str).collect();
    let (balancer, gateway) = one(&flags).await;
    up_behind_tls(&balancer).await;

    let mut second = http2(tls(&balancer, &certificate, b"h2").await).await;
    let answer = second
        .send_request(post("https", "/data", "by two"))
        .await
        .unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(gateway.last_seen().headers["x-forwarded-proto"], "https");

    let stream = tls(&balancer, &certificate, b"http/1.1").await;
    let (mut first, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection);
    let large = "x".repeat(300_000);
    for body in [Bytes::from("by one"), Bytes::from(large)] {
        let request = Request::post("/data")
            .header("host", "recarga.test")
            .body(Full::<Bytes>::from(body.clone()))
            .unwrap();
        let answer = first.send_request(request).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        answer.into_body().collect().await.unwrap();
        let seen = gateway.last_seen();
        assert_eq!(seen.body, body);
        assert_eq!(seen.headers["x-forwarded-proto"], "https");
    }
}

#[tokio::test]
async fn a_renewed_certificate_is_put_in_force_and_a_broken_one_is_not() {
    let certificate = certificate();
    let flags: Vec<&str> = certificate.flags.iter().map(String::as_str).collect();
    let (balancer, _gateway) = one(&flags).await;
    up_behind_tls(&balancer).await;
    let mut before = http2(tls(&balancer, &certificate, b"h2").await).await;

    let renewed = write_new(certificate.folder.path());
    kit::testing::eventually("the renewed certificate is shown", || async {
        greet(&balancer, &renewed, b"h2").await.is_ok()
    })
    .await;
    let old = greet(&balancer, &certificate.roots, b"h2").await;
    assert!(old.is_err(), "the old one is shown no more");
    // Who was there before is not disturbed.
    let answer = before.send_request(post("https", "/data", "on")).await;
    assert_eq!(answer.unwrap().status(), StatusCode::OK);

    std::fs::write(certificate.folder.path().join("k.pem"), "no key").unwrap();
    let url = format!("{}/metrics", balancer.admin);
    kit::testing::eventually("the broken one is looked at", || async {
        let answer = balancer.http.get(&url).send().await.unwrap();
        let metrics = answer.text().await.unwrap();
        metrics
            .lines()
            .any(|line| line.starts_with("recarga_tls_unusable_total") && !line.ends_with(" 0"))
    })
    .await;
    assert!(greet(&balancer, &renewed, b"h2").await.is_ok());
}

#[tokio::test]
async fn a_certificate_that_cannot_be_used_is_named() {
    let certificate = certificate();
    let missing = "/nowhere/c.pem";
    for (flags, expected) in [
        (
            [
                "--tls-certificate",
                missing,
                "--tls-key",
                &certificate.flags[3],
            ],
            "RECARGA_TLS_CERTIFICATE (--tls-certificate): /nowhere/c.pem",
        ),
        (
            [
                "--tls-certificate",
                &certificate.flags[1],
                "--tls-key",
                &certificate.flags[1],
            ],
            "RECARGA_TLS_KEY (--tls-key)",
        ),
    ] {
        let mut balancer = Balancer::start(&["127.0.0.1:9".parse().unwrap()], &flags).await;
        let error = balancer.failed().await.to_string();
        assert!(error.contains(expected), "{error}");
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(9 + payload.len());
    frame.extend_from_slice(&u32::try_from(payload.len()).unwrap().to_be_bytes()[1..]);
    frame.extend_from_slice(&[kind, flags]);
    frame.extend_from_slice(&stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
/// `:method GET`, `:scheme http`, `:path /slow`, `:authority a`, by HPACK without its table.
const GET_SLOW: &[u8] = b"\x82\x86\x04\x05/slow\x41\x01a";

/// Sends pieces until the other side has had enough, or all `most` are sent. How many were sent.
async fn flood(
    balancer: &Balancer,
    first: &[u8],
    most: usize,
    piece: impl Fn(u32) -> Vec<u8>,
) -> (usize, bool) {
    use tokio::io::AsyncWriteExt as _;
    let mut wire = Wire::connect(balancer.address).await;
    wire.send(PREFACE).await;
    wire.send(frame(SETTINGS, 0, 0, &[])).await;
    wire.send(first).await;
    let (mut reader, mut writer) = wire.stream.into_split();
    let drain = tokio::spawn(async move {
        let mut sink = vec![0; 1 << 16];
        while matches!(
            tokio::io::AsyncReadExt::read(&mut reader, &mut sink).await,
            Ok(1..)
        ) {}
    });
    let mut sent = 0;
    while sent < most {
        let bytes = piece(u32::try_from(sent).unwrap());
        let write = tokio::time::timeout(Duration::from_secs(10), writer.write_all(&bytes)).await;
        if !matches!(write, Ok(Ok(()))) {
            break;
        }
        sent += 1;
    }
    // After the last of it the connection is over on both sides or still good, but never stuck.
    let ended = sent < most
        || tokio::time::timeout(Duration::from_secs(2), drain)
            .await
            .is_ok();
    (sent, ended)
}

fn resident_bytes() -> u64 {
    let pages: u64 = std::fs::read_to_string("/proc/self/statm")
        .unwrap()
        .split(' ')
        .nth(1)
        .unwrap()
        .parse()
        .unwrap();
    pages * 4096
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn floods_are_cut_off_and_cost_nobody_else_anything() {
    const MANY: usize = 20_000;
    let (balancer, gateway) = one(&[]).await;
    up(&balancer).await;
    let before = resident_bytes();

    // Rapid reset: each stream is opened and taken back.
    let (sent, ended) = flood(&balancer, &[], MANY, |number| {
        let stream = number * 2 + 1;
        let mut bytes = frame(HEADERS, END_STREAM | END_HEADERS, stream, GET_SLOW);
        bytes.extend(frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes()));
        bytes
    })
    .await;
    assert!(ended, "{sent} resets were taken");
    assert!(
        gateway.count() < MANY / 10,
        "{} of {sent} reached a gateway",
        gateway.count()
    );

    // A head that never ends.
    let open = frame(HEADERS, END_STREAM, 1, GET_SLOW);
    let (sent, ended) = flood(&balancer, &open, MANY, |number| {
        // A field that is not indexed, with a name of its own.
        let field = format!("\x00\x08x-{number:06}\x7f\x00{}", "v".repeat(127));
        frame(CONTINUATION, 0, 1, field.as_bytes())
    })
    .await;
    assert!(ended, "{sent} continuations were taken");
    assert!(sent < MANY, "it took them all");

    // Settings and pings that all want an answer.
    for (kind, payload) in [(SETTINGS, &[][..]), (PING, &[0; 8][..])] {
        flood(&balancer, &[], MANY * 5, |_| frame(kind, 0, 0, payload)).await;
    }
    let grown = resident_bytes().saturating_sub(before);
    assert!(grown < 64 << 20, "{grown} bytes more are resident");

    let count = gateway.count();
    let answer = balancer.get("/data").send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(gateway.count(), count + 1);
}

#[tokio::test]
async fn nonsense_behind_the_preface_ends_the_connection() {
    let (balancer, gateway) = one(&[]).await;
    up(&balancer).await;
    for nonsense in [
        b"GET / HTTP/1.1\r\nhost: a\r\n\r\n".to_vec(),
        frame(HEADERS, END_STREAM | END_HEADERS, 0, GET_SLOW),
        frame(HEADERS, END_STREAM | END_HEADERS, 2, GET_SLOW),
        frame(CONTINUATION, END_HEADERS, 1, GET_SLOW),
        // An upper-case name; a hop-by-hop field; no path; a path that is none.
        frame(
            HEADERS,
            END_STREAM | END_HEADERS,
            1,
            b"\x82\x86\x04\x05/slow\x41\x01a\x00\x01X\x01y",
        ),
        frame(
            HEADERS,
            END_STREAM | END_HEADERS,
            1,
            b"\x82\x86\x04\x05/slow\x41\x01a\x00\x0aconnection\x05close",
        ),
        frame(HEADERS, END_STREAM | END_HEADERS, 1, b"\x82\x86\x41\x01a"),
        frame(
            HEADERS,
            END_STREAM | END_HEADERS,
            1,
            b"\xff\xff\xff\xff\xff\xff",
        ),
    ] {
        let mut wire = Wire::connect(balancer.address).await;
        wire.send(PREFACE).await;
        wire.send(frame(SETTINGS, 0, 0, &[])).await;
        wire.send(&nonsense).await;
        wire.send(frame(SETTINGS, 1, 0, &[])).await;
        // Whatever it says to that, it is no answer with a gateway's words; a reset stream leaves the connection open.
        let said = tokio::time::timeout(Duration::from_millis(300), wire.rest()).await;
        if let Ok(said) = said {
            assert!(!said.contains("gateway-1"), "{nonsense:?}");
        }
    }
    assert_eq!(gateway.count(), 0);
}
