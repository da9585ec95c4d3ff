//! Tiers that know each other by certificates: who is let in, whom one believes, and what is said when files do not fit.

#![expect(clippy::unwrap_used, reason = "these are tests")]

use std::{fs, net::SocketAddr, path::Path, time::Duration};

use axum::{Router, routing::get};
use chrono::Utc;
use host::certificates::{OPERATOR, make};
use kit::{
    Common, Listeners, Service, Shutdown,
    client::{CallError, Peer},
    discovery::Endpoint,
    testing::eventually,
    tls::{Link, MutualTlsArgs, Tiers},
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::watch,
};

struct Tier {
    address: SocketAddr,
    admin: SocketAddr,
    shutdown: Shutdown,
}

impl Drop for Tier {
    fn drop(&mut self) {
        self.shutdown.request();
    }
}

impl Tier {
    async fn metrics(&self) -> String {
        let answer = reqwest::get(format!("http://{}/metrics", self.admin)).await;
        answer.unwrap().text().await.unwrap()
    }

    async fn refused(&self, reason: &str) -> bool {
        let reason = format!("reason=\"{reason}\"");
        let metrics = self.metrics().await;
        let line = metrics
            .lines()
            .find(|line| line.starts_with("recarga_mtls_refused_total") && line.contains(&reason));
        line.is_some_and(|line| !line.ends_with(" 0"))
    }
}

fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    make(folder.path(), 30, Utc::now()).unwrap();
    folder
}

fn common(mtls: MutualTlsArgs) -> Common {
    Common {
        mtls,
        ..Common::for_tests("travel-1")
    }
}

/// A service that shows the certificate of `travel`.
async fn travel(folder: &Path) -> Tier {
    serve(MutualTlsArgs::of(folder, "travel")).await
}

async fn serve(mtls: MutualTlsArgs) -> Tier {
    let common = common(mtls);
    let listeners = Listeners::bind(&common).await.unwrap();
    let address = listeners.public.local_addr().unwrap();
    let admin = listeners.admin.local_addr().unwrap();
    let shutdown = Shutdown::new();
    let service = Service::new("travel", &common, shutdown.clone())
        .unwrap()
        .public(Router::new().route("/", get(async || "travelled")));
    tokio::spawn(service.run(listeners));
    Tier {
        address,
        admin,
        shutdown,
    }
}

fn tiers(folder: &Path, role: &str) -> Tiers {
    Tiers::load(&MutualTlsArgs::of(folder, role)).unwrap()
}

/// What whoever asks `role` at the address gets to hear.
async fn ask(role: &'static str, tiers: &Tiers, address: SocketAddr) -> Result<String, CallError> {
    let (_keep, endpoints) = watch::channel(vec![Endpoint {
        name: None,
        address,
    }]);
    let peer = Peer::new(role, endpoints, Duration::from_secs(5), tiers).unwrap();
    let answer = peer.call(http::Method::GET, "/", |request| request).await?;
    Ok(answer.text().await.unwrap())
}

#[tokio::test]
async fn those_of_one_authority_speak_with_each_other() {
    let folder = folder();
    let travel = travel(folder.path()).await;
    for role in ["gateway", OPERATOR] {
        let answer = ask("travel", &tiers(folder.path(), role), travel.address).await;
        assert_eq!(answer.unwrap(), "travelled");
    }
}

#[tokio::test]
async fn one_who_does_not_shake_hands_is_passed_over() {
    let folder = folder();
    let travel = travel(folder.path()).await;
    // As a process that was frozen: the kernel takes its connections.
    let frozen = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoints = [frozen.local_addr().unwrap(), travel.address]
        .map(|address| Endpoint {
            name: None,
            address,
        })
        .to_vec();
    let (_keep, endpoints) = watch::channel(endpoints);
    let gateway = tiers(folder.path(), "gateway");
    let peer = Peer::new("travel", endpoints, Duration::from_secs(20), &gateway).unwrap();
    let answer = peer.call(http::Method::GET, "/", |request| request).await;
    assert_eq!(answer.unwrap().text().await.unwrap(), "travelled");
}

#[tokio::test]
async fn an_authority_is_replaced_while_a_file_names_two() {
    let (old, new) = (folder(), folder());
    let both = old.path().join("both.pem");
    let text = |folder: &TempDir| fs::read_to_string(folder.path().join("ca.crt")).unwrap();
    fs::write(&both, text(&old) + &text(&new)).unwrap();
    let believing_both = |folder: &TempDir, role| MutualTlsArgs {
        mtls_authority: Some(both.clone()),
        ..MutualTlsArgs::of(folder.path(), role)
    };
    let travel = serve(believing_both(&old, "travel")).await;
    let gateway = Tiers::load(&believing_both(&new, "gateway")).unwrap();
    let answer = ask("travel", &gateway, travel.address).await;
    assert_eq!(answer.unwrap(), "travelled");
}

#[tokio::test]
async fn nobody_answers_for_another_role() {
    let folder = folder();
    let travel = travel(folder.path()).await;
    let gateway = tiers(folder.path(), "gateway");
    let answer = ask("booking", &gateway, travel.address).await;
    assert!(
        matches!(
            answer,
            Err(CallError::Unreachable {
                role: "booking",
                ..
            })
        ),
        "{answer:?}"
    );
}

#[tokio::test]
async fn strangers_are_refused_and_counted() {
    let (ours, theirs) = (folder(), folder());
    let travel = travel(ours.path()).await;

    // Of another authority: neither believes the other.
    let stranger = tiers(theirs.path(), "gateway");
    let answer = ask("travel", &stranger, travel.address).await;
    assert!(
        matches!(answer, Err(CallError::Unreachable { .. })),
        "{answer:?}"
    );
    // One who believes us and is not believed.
    let mixed = Tiers::load(&MutualTlsArgs {
        mtls_authority: Some(ours.path().join("ca.crt")),
        ..MutualTlsArgs::of(theirs.path(), "gateway")
    });
    let answer = ask("travel", &mixed.unwrap(), travel.address).await;
    assert!(answer.is_err(), "{answer:?}");
    eventually("a stranger's certificate is counted", || {
        travel.refused("certificate")
    })
    .await;

    // Without TLS: told what this is.
    let mut plain = TcpStream::connect(travel.address).await.unwrap();
    plain
        .write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    let mut word = String::new();
    plain.read_to_string(&mut word).await.unwrap();
    assert!(word.starts_with("HTTP/1.1 400 "), "{word}");
    let (head, body) = word.split_once("\r\n\r\n").unwrap();
    assert!(head.contains(&format!("content-length: {}", body.len())));
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    assert!(body["detail"].as_str().unwrap().contains("certificate"));
    eventually("plain HTTP is counted", || travel.refused("plain")).await;
}

#[tokio::test]
async fn a_renewed_certificate_is_shown_without_a_restart() {
    let folder = folder();
    let travel = travel(folder.path()).await;
    let shown = || async {
        let config = tiers(folder.path(), "gateway").client("travel").unwrap();
        let link = Link::connect(travel.address, config.as_ref())
            .await
            .unwrap();
        let Link::Encrypted(stream) = link else {
            panic!("it was in the clear");
        };
        let (_, session) = stream.get_ref();
        session.peer_certificates().unwrap()[0].to_vec()
    };
    let before = shown().await;
    make(folder.path(), 30, Utc::now()).unwrap();
    eventually("the new one is shown", || async { shown().await != before }).await;
    assert!(
        travel
            .metrics()
            .await
            .contains("recarga_mtls_renewals_total")
    );
}

#[tokio::test]
async fn what_cannot_be_used_is_named() {
    let folder = folder();
    let of = |role: &str| MutualTlsArgs::of(folder.path(), role);
    let empty = folder.path().join("empty.pem");
    fs::write(&empty, "").unwrap();
    let cases = [
        (
            MutualTlsArgs {
                mtls_key: None,
                ..of("travel")
            },
            "RECARGA_MTLS_CERTIFICATE",
        ),
        (
            MutualTlsArgs {
                mtls_certificate: Some(folder.path().join("nowhere.pem")),
                ..of("travel")
            },
            "RECARGA_MTLS_CERTIFICATE",
        ),
        (
            MutualTlsArgs {
                mtls_key: Some(folder.path().join("gateway/tls.key")),
                ..of("travel")
            },
            "RECARGA_MTLS_KEY",
        ),
        (
            MutualTlsArgs {
                mtls_authority: Some(empty),
                ..of("travel")
            },
            "RECARGA_MTLS_AUTHORITY",
        ),
    ];
    for (args, named) in cases {
        let error = Service::new("travel", &common(args), Shutdown::new())
            .map(drop)
            .unwrap_err()
            .to_string();
        assert!(error.contains(named), "{error}");
    }
}
