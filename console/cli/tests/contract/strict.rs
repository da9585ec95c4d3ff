//! A fourth gateway, which asks everybody for a token (`--auth strict`) and lets nobody sign in often.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use kit::testing::free_address;
use reqwest::Method;

use crate::api::{Api, send};
use crate::lab::{eventually, lab};

struct Stopped(Child);

impl Drop for Stopped {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn a_strict_gateway() {
    let lab = lab();
    let (port, admin_port) = (free_address().port(), free_address().port());
    let source = |role: &str| format!("topology:{}#{role}", lab.topology_path().display());
    let mut command = Command::new(env!("CARGO_BIN_EXE_recarga"));
    command
        .args([
            "serve",
            "gateway",
            "--instance",
            "gateway-9",
            "--auth",
            "strict",
        ])
        .args(["--logins-per-user", "4", "--logins-per-address", "16"])
        .args([
            "--listen",
            &format!("127.0.0.1:{port}"),
            "--admin-listen",
            &format!("127.0.0.1:{admin_port}"),
        ])
        .env("RECARGA_OPERATOR_TOKEN", lab.secret("operator_token"))
        .env("RECARGA_SIGNING_KEY", lab.secret("signing_key"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    for role in ["travel", "search", "booking", "worker", "exercise", "cache"] {
        command.args([format!("--{role}"), source(role)]);
    }
    let _gateway = Stopped(command.spawn().unwrap());
    let api = Api::at(&format!("http://127.0.0.1:{port}"));
    eventually(
        Duration::from_secs(20),
        "the strict gateway is up",
        || async {
            let address = std::net::SocketAddr::from(([127, 0, 0, 1], port));
            tokio::net::TcpStream::connect(address).await.ok()
        },
    )
    .await;
    let ready = Api::at(&format!("http://127.0.0.1:{admin_port}"));
    eventually(Duration::from_secs(20), "it is ready", || async {
        (ready.get("/readyz").await.status == 200).then_some(())
    })
    .await;

    for path in [
        "/data",
        "/process",
        "/trips/total",
        "/trips/1",
        "/users/count",
        "/stations",
        "/task/1",
    ] {
        api.get(path).await.problem(401);
    }
    let off = api.get("/token").await;
    assert!(
        matches!(off.status, 401 | 403 | 404 | 405),
        "the demo token is off: {off}"
    );
    let token = api.sign_in("student1", "password").await;
    api.clone()
        .with_token(&token)
        .get("/trips/total")
        .await
        .expect(200);

    let hasty = lab.own_name("hasty");
    let form = [("username", hasty.as_str()), ("password", "wrong")];
    for _ in 0..4 {
        send(api.request(Method::POST, "/token").form(&form))
            .await
            .problem(401);
    }
    send(api.request(Method::POST, "/token").form(&form))
        .await
        .problem(429)
        .retry_after();
    api.sign_in("student2", "password").await;
    let others = (0..20).map(|number| {
        let form = [
            ("username", format!("{hasty}-{number}")),
            ("password", "wrong".to_owned()),
        ];
        send(api.request(Method::POST, "/token").form(&form))
    });
    let answers = futures::future::join_all(others).await;
    assert!(
        answers.iter().any(|answer| answer.status == 429),
        "an address is limited too"
    );
}
