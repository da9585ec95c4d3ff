//! Bodies on their way: in pieces, both ways at once, early, late, without an end, and under another protocol.

#![expect(clippy::unwrap_used, reason = "these are tests")]

mod support;

use support::{
    Balancer,
    raw::{Upstream, Wire},
};
use tokio::io::AsyncWriteExt;

async fn before<F>(
    flags: &[&str],
    serve: impl Fn(Wire, String) -> F + Clone + Send + 'static,
) -> (Balancer, Wire, Upstream)
where
    F: Future<Output = ()> + Send + 'static,
{
    let upstream = Upstream::start(serve).await;
    let balancer = Balancer::start(&[upstream.address], flags).await;
    balancer
        .shows(serde_json::json!({upstream.address.to_string(): true}))
        .await;
    let client = Wire::connect(balancer.address).await;
    (balancer, client, upstream)
}

#[tokio::test]
async fn a_body_passes_piece_by_piece_and_so_does_its_echo() {
    let (_balancer, mut client, _upstream) = before(&[], |mut wire, head| async move {
        assert!(head.to_lowercase().contains("transfer-encoding: chunked"));
        wire.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
            .await;
        loop {
            let size = wire.until("\r\n").await;
            let size = usize::from_str_radix(size.trim(), 16).expect("a chunk's size");
            let data = wire.exactly(size + 2).await;
            wire.send(format!("{size:x}\r\n")).await;
            wire.send(data).await;
            if size == 0 {
                return;
            }
        }
    })
    .await;
    client
        .send("POST /echo HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n")
        .await;
    let head = client.head().await;
    assert!(head.starts_with("http/1.1 200"), "{head}");
    for piece in ["one", "two and more", "three"] {
        client
            .send(format!("{:x}\r\n{piece}\r\n", piece.len()))
            .await;
        assert_eq!(
            client.until(&format!("{piece}\r\n")).await,
            format!("{:X}\r\n{piece}\r\n", piece.len()).to_lowercase()
        );
    }
    client.send("0\r\n\r\n").await;
    assert_eq!(client.until("0\r\n\r\n").await, "0\r\n\r\n");
    // The connection goes on.
    client.send("GET /health HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert!(client.head().await.starts_with("http/1.1 200"));
}

#[tokio::test]
async fn an_answer_may_come_before_the_body_is_there() {
    let (_balancer, mut client, _upstream) = before(&[], |mut wire, _| async move {
        wire.send("HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\nconnection: close\r\n\r\nno")
            .await;
    })
    .await;
    client
        .send("POST /upload HTTP/1.1\r\nhost: a\r\ncontent-length: 500000\r\n\r\nbegin")
        .await;
    let answer = client.rest().await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    assert!(answer.ends_with("\r\n\r\nno"), "{answer}");
}

#[tokio::test]
async fn events_arrive_when_they_happen() {
    let (_balancer, mut client, _upstream) = before(&[], |mut wire, _| async move {
        wire.send("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
            .await;
        wire.send("9\r\ndata: 1\n\n\r\n").await;
        // The second event waits for a word that only arrives when the client has seen the first.
        wire.until("seen").await;
        wire.send("9\r\ndata: 2\n\n\r\n0\r\n\r\n").await;
    })
    .await;
    client
        .send("POST /events HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n")
        .await;
    client.until("data: 1\n\n").await;
    client.send("4\r\nseen\r\n0\r\n\r\n").await;
    client.until("data: 2\n\n").await;
}

#[tokio::test]
async fn other_protocols_pass_through() {
    let (balancer, mut client, _upstream) = before(&[], |mut wire, head| async move {
        let head = head.to_lowercase();
        assert!(head.contains("connection: upgrade\r\n"), "{head}");
        assert!(head.contains("upgrade: websocket\r\n"), "{head}");
        assert!(head.contains("sec-websocket-key: abc\r\n"), "{head}");
        // The first words of the new protocol may come with the answer.
        wire.send("HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: x\r\n\r\nhello")
            .await;
        while wire.more().await {
            let bytes = std::mem::take(&mut wire.read);
            wire.send(bytes).await;
        }
    })
    .await;
    client
        .send("GET /socket HTTP/1.1\r\nhost: a\r\nconnection: keep-alive, Upgrade\r\nupgrade: websocket\r\nsec-websocket-key: abc\r\n\r\n")
        .await;
    let head = client.head().await;
    assert!(head.starts_with("http/1.1 101"), "{head}");
    assert!(head.contains("upgrade: websocket\r\n"), "{head}");
    assert!(head.contains("sec-websocket-accept: x\r\n"), "{head}");
    assert_eq!(client.exactly(5).await, b"hello");
    client.send([0_u8, 1, 2, b'\n', 255]).await;
    assert_eq!(client.exactly(5).await, [0, 1, 2, b'\n', 255]);
    let figures = balancer
        .get("/metrics")
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    assert!(
        figures
            .contains("recarga_edge_upgrades_total{role=\"balancer\",instance=\"balancer-1\"} 1"),
        "{figures}"
    );
    client.stream.shutdown().await.unwrap();
    assert_eq!(client.rest().await, "");
}

#[tokio::test]
async fn an_upgrade_nobody_asked_for_is_an_error() {
    let (_balancer, mut client, _upstream) = before(&[], |mut wire, _| async move {
        wire.send("HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\nGET /")
            .await;
        wire.rest().await;
    })
    .await;
    client.send("GET /a HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let head = client.head().await;
    assert!(head.starts_with("http/1.1 502"), "{head}");
}

#[tokio::test]
async fn interim_answers_stay_between_the_hops() {
    let (_balancer, mut client, _upstream) = before(&[], |mut wire, _| async move {
        wire.send("HTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
            .await;
        wire.rest().await;
    })
    .await;
    client.send("GET /a HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let head = client.head().await;
    assert!(head.starts_with("http/1.1 200"), "{head}");
    assert_eq!(client.exactly(2).await, b"ok");
}

#[tokio::test]
async fn answers_without_a_length_get_an_end_the_client_can_see() {
    let (balancer, mut client, _upstream) = before(&[], |mut wire, _| async move {
        wire.send("HTTP/1.1 200 OK\r\n\r\nuntil the end").await;
    })
    .await;
    client.send("GET /a HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let head = client.head().await;
    assert!(head.contains("transfer-encoding: chunked\r\n"), "{head}");
    assert_eq!(
        client.until("0\r\n\r\n").await,
        "d\r\nuntil the end\r\n0\r\n\r\n"
    );
    let mut old = Wire::connect(balancer.address).await;
    old.send("GET /a HTTP/1.0\r\nconnection: keep-alive\r\n\r\n")
        .await;
    let answer = old.rest().await;
    assert!(answer.contains("\r\nconnection: close\r\n"), "{answer}");
    assert!(answer.ends_with("\r\n\r\nuntil the end"), "{answer}");
}

#[tokio::test]
async fn what_has_no_body_gets_none() {
    let (_balancer, mut client, _upstream) = before(&[], |mut wire, head| async move {
        let mut head = head;
        loop {
            let answer = match head.split(' ').nth(1) {
                Some("/204") => "HTTP/1.1 204 No Content\r\n\r\n",
                Some("/304") => {
                    "HTTP/1.1 304 Not Modified\r\ncontent-length: 10\r\netag: x\r\n\r\n"
                }
                Some("/head") => "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n",
                _ => "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nlast",
            };
            wire.send(answer).await;
            if answer.ends_with("last") {
                return;
            }
            head = wire.until("\r\n\r\n").await;
        }
    })
    .await;
    // All in one packet: answered in order, each with its own end.
    client
        .send("GET /204 HTTP/1.1\r\nhost: a\r\n\r\nGET /304 HTTP/1.1\r\nhost: a\r\n\r\nHEAD /head HTTP/1.1\r\nhost: a\r\n\r\nGET /last HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
        .await;
    for status in ["204", "304", "200", "200"] {
        let head = client.head().await;
        assert!(head.starts_with(&format!("http/1.1 {status}")), "{head}");
    }
    assert_eq!(client.rest().await, "last");
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_not_taken_for_whole() {
    for answer in [
        "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\nzz\r\n",
    ] {
        let (_balancer, mut client, _upstream) = before(&[], move |mut wire, _| async move {
            wire.send(answer).await;
        })
        .await;
        client.send("GET /a HTTP/1.1\r\nhost: a\r\n\r\n").await;
        let got = client.rest().await;
        assert!(got.contains("half"), "{got}");
        assert!(!got.ends_with("0\r\n\r\n"), "{got}");
    }
}

#[tokio::test]
async fn a_client_that_does_not_read_holds_the_upstream_back() {
    let sent = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let noted = sent.clone();
    let (_balancer, mut client, _upstream) = before(&[], move |mut wire, _| {
        let noted = noted.clone();
        async move {
            wire.send("HTTP/1.1 200 OK\r\ncontent-length: 268435456\r\n\r\n")
                .await;
            let piece = vec![b'x'; 1 << 16];
            while noted.load(std::sync::atomic::Ordering::SeqCst) < 1 << 28 {
                if wire.stream.write_all(&piece).await.is_err() {
                    return;
                }
                noted.fetch_add(piece.len(), std::sync::atomic::Ordering::SeqCst);
            }
        }
    })
    .await;
    client.send("GET /a HTTP/1.1\r\nhost: a\r\n\r\n").await;
    client.head().await;
    // The kernel's buffers on two connections fill up; then nothing moves any more.
    let count = || sent.load(std::sync::atomic::Ordering::SeqCst);
    let mut before = usize::MAX;
    while before != count() {
        before = count();
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert!(before < 1 << 26, "{before} bytes were taken in");
    // And when it reads, everything comes.
    let mut left = (1 << 28) - client.read.len();
    client.read.clear();
    while left > 0 {
        assert!(client.more().await);
        left -= client.read.len();
        client.read.clear();
    }
}

#[tokio::test]
async fn connections_that_upstreams_close_lose_nothing() {
    let (_balancer, mut client, _upstream) = before(&[], |mut wire, _| async move {
        // Says that the connection stays, and closes it all the same.
        wire.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
            .await;
    })
    .await;
    for number in 0..300 {
        client
            .send(format!("GET /{number} HTTP/1.1\r\nhost: a\r\n\r\n"))
            .await;
        let head = client.head().await;
        assert!(head.starts_with("http/1.1 200"), "{number}: {head}");
        assert_eq!(client.exactly(2).await, b"ok");
    }
}

#[tokio::test]
async fn a_client_that_waits_to_send_is_told_to() {
    let (_balancer, mut client, _upstream) = before(&[], |mut wire, head| async move {
        assert!(!head.to_lowercase().contains("expect"), "{head}");
        assert_eq!(wire.exactly(4).await, b"body");
        wire.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
            .await;
        wire.rest().await;
    })
    .await;
    client
        .send("POST /a HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 4\r\n\r\n")
        .await;
    assert_eq!(client.head().await, "http/1.1 100 continue\r\n\r\n");
    client.send("body").await;
    assert!(client.head().await.starts_with("http/1.1 200"));
}

#[tokio::test]
async fn slow_heads_and_bodies_are_given_up() {
    let (balancer, mut client, _upstream) = before(
        &["--head-timeout-ms", "100", "--body-stall-ms", "100"],
        |mut wire, _| async move {
            wire.rest().await;
        },
    )
    .await;
    client.send("GET /a HT").await;
    let answer = client.rest().await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(answer.contains("head_timeout"), "{answer}");
    for framing in [
        "content-length: 10",
        "content-length: 100000",
        "transfer-encoding: chunked",
    ] {
        let mut client = Wire::connect(balancer.address).await;
        client
            .send(format!(
                "POST /a HTTP/1.1\r\nhost: a\r\n{framing}\r\n\r\n2\r"
            ))
            .await;
        let answer = client.rest().await;
        assert!(answer.starts_with("HTTP/1.1 408"), "{framing}: {answer}");
        assert!(answer.contains("body_timeout"), "{framing}: {answer}");
    }
    let figures = balancer
        .get("/metrics")
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    assert!(figures.contains("reason=\"body_timeout\"} 3"), "{figures}");
}
