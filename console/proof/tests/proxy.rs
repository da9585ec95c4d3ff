//! The proxy breaks real connections in each way that it promises, and mends them.

#![expect(clippy::unwrap_used, reason = "a test")]

use std::{
    io::ErrorKind,
    net::SocketAddr,
    num::NonZeroU32,
    time::{Duration, Instant},
};

use proof::wire::{Proxy, Toxics};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long nothing must come where nothing may.
const SILENCE: Duration = Duration::from_millis(150);

/// Answers with what it gets.
async fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut read, mut write) = stream.split();
                let _ = tokio::io::copy(&mut read, &mut write).await;
                let _ = write.shutdown().await;
            });
        }
    });
    address
}

async fn proxied() -> Proxy {
    Proxy::start(echo().await, 1).unwrap()
}

async fn connect(proxy: &Proxy) -> TcpStream {
    TcpStream::connect(proxy.address()).await.unwrap()
}

async fn ask(stream: &mut TcpStream, text: &str) -> std::io::Result<String> {
    stream.write_all(text.as_bytes()).await?;
    let mut answer = vec![0; text.len()];
    let read = tokio::time::timeout(PATIENCE, stream.read_exact(&mut answer));
    read.await.expect("an answer or an error in time")?;
    Ok(String::from_utf8(answer).unwrap())
}

async fn is_reset(stream: &mut TcpStream) -> bool {
    let mut byte = [0];
    let read = tokio::time::timeout(PATIENCE, stream.read(&mut byte));
    matches!(
        read.await.expect("an end in time"),
        Err(error) if error.kind() == ErrorKind::ConnectionReset
    )
}

fn toxics(change: impl FnOnce(&mut Toxics)) -> Toxics {
    let mut toxics = Toxics::default();
    change(&mut toxics);
    toxics
}

#[tokio::test]
async fn without_faults_it_is_a_wire() {
    let proxy = proxied().await;
    let mut stream = connect(&proxy).await;
    assert_eq!(ask(&mut stream, "hello").await.unwrap(), "hello");
    // More than is held back at once, and the end of one direction before the other's.
    let large = vec![7_u8; 3_000_000];
    let (mut read, mut write) = stream.split();
    let send = async {
        write.write_all(&large).await.unwrap();
        write.shutdown().await.unwrap();
    };
    let receive = async {
        let mut all = Vec::new();
        read.read_to_end(&mut all).await.unwrap();
        all
    };
    let ((), all) = tokio::join!(send, receive);
    assert!(all == large, "{} bytes", all.len());
    assert_eq!(proxy.accepted(), 1);
}

#[tokio::test]
async fn latency_is_added_both_ways_and_order_is_kept() {
    let proxy = proxied().await;
    proxy.set(toxics(|toxics| {
        toxics.latency = Duration::from_millis(60);
        toxics.jitter = Duration::from_millis(40);
    }));
    let mut stream = connect(&proxy).await;
    let began = Instant::now();
    assert_eq!(ask(&mut stream, "slow").await.unwrap(), "slow");
    assert!(began.elapsed() >= Duration::from_millis(120));
    let (mut read, mut write) = stream.split();
    let send = async {
        for byte in 0..50_u8 {
            write.write_all(&[byte]).await.unwrap();
            tokio::task::yield_now().await;
        }
    };
    let receive = async {
        let mut all = [0; 50];
        read.read_exact(&mut all).await.unwrap();
        all
    };
    let ((), all) = tokio::join!(send, receive);
    assert!(all.is_sorted());
}

#[tokio::test]
async fn bandwidth_is_bounded() {
    let proxy = proxied().await;
    proxy.set(toxics(|toxics| toxics.bandwidth = NonZeroU32::new(100_000)));
    let mut stream = connect(&proxy).await;
    let began = Instant::now();
    let text = "x".repeat(20_000);
    assert_eq!(ask(&mut stream, &text).await.unwrap(), text);
    assert!(began.elapsed() >= Duration::from_millis(150));
}

#[tokio::test]
async fn a_reset_is_an_error_on_both_sides_and_over_when_lifted() {
    let proxy = proxied().await;
    let mut old = connect(&proxy).await;
    ask(&mut old, "hello").await.unwrap();
    proxy.set(toxics(|toxics| toxics.reset = true));
    assert!(is_reset(&mut old).await);
    // A new one is accepted by the system, and reset.
    let mut new = connect(&proxy).await;
    assert!(is_reset(&mut new).await);
    proxy.set(Toxics::default());
    let mut stream = connect(&proxy).await;
    assert_eq!(ask(&mut stream, "again").await.unwrap(), "again");
}

#[tokio::test]
async fn what_is_cut_refuses_and_comes_back_at_the_same_address() {
    let proxy = proxied().await;
    let mut old = connect(&proxy).await;
    ask(&mut old, "hello").await.unwrap();
    proxy.set(toxics(|toxics| toxics.cut = true));
    assert!(is_reset(&mut old).await);
    kit::testing::eventually("connections are refused", async || {
        TcpStream::connect(proxy.address())
            .await
            .is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
    })
    .await;
    proxy.set(Toxics::default());
    kit::testing::eventually("it listens again", async || {
        TcpStream::connect(proxy.address()).await.is_ok()
    })
    .await;
    let mut stream = connect(&proxy).await;
    assert_eq!(ask(&mut stream, "again").await.unwrap(), "again");
}

#[tokio::test]
async fn half_open_is_silence_and_then_a_reset() {
    for (up, down) in [(true, false), (false, true), (true, true)] {
        let proxy = proxied().await;
        let mut used = connect(&proxy).await;
        ask(&mut used, "hello").await.unwrap();
        let mut idle = connect(&proxy).await;
        ask(&mut idle, "hello").await.unwrap();
        proxy.set(toxics(|toxics| {
            (toxics.swallow_up, toxics.swallow_down) = (up, down);
        }));
        used.write_all(b"anyone?").await.unwrap();
        let mut byte = [0];
        let silence = tokio::time::timeout(SILENCE, used.read(&mut byte)).await;
        assert!(silence.is_err(), "neither an answer nor an end");
        proxy.set(Toxics::default());
        assert!(is_reset(&mut used).await, "what was swallowed is lost");
        // One on which nothing was lost goes on.
        assert_eq!(ask(&mut idle, "again").await.unwrap(), "again");
    }
}

#[tokio::test]
async fn a_target_that_is_away_is_told_by_a_reset() {
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = gone.local_addr().unwrap();
    drop(gone);
    let proxy = Proxy::start(address, 1).unwrap();
    assert!(is_reset(&mut connect(&proxy).await).await);
}

#[tokio::test]
async fn connections_end_with_their_proxy() {
    let proxy = proxied().await;
    let mut stream = connect(&proxy).await;
    ask(&mut stream, "hello").await.unwrap();
    drop(proxy);
    assert!(is_reset(&mut stream).await);
}
