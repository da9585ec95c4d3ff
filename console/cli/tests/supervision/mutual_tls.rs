//! A lab whose tiers know each other by certificates: everything works, and nobody else gets past the front door.

use kit::testing::eventually;
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::lab::{Lab, folder};

#[tokio::test]
async fn tiers_take_nobody_without_a_certificate() {
    let lab = Lab::spawn(folder(), &["--free-ports", "--mutual-tls"]);
    lab.line("the lab is ready", |line| line.starts_with("ready: "))
        .await;
    let topology = lab.topology();
    let http = reqwest::Client::new();
    let front = &topology.public_url;
    let answer = http.get(format!("{front}/token")).send().await.unwrap();
    let token = answer.json::<Value>().await.unwrap()["token"].clone();
    let token = token.as_str().unwrap();

    // A write and a read, through all of the tiers that they need.
    let recharge = http
        .post(format!("{front}/recharges"))
        .bearer_auth(token)
        .header("idempotency-key", "mutual")
        .json(&json!({"card_id": 7, "amount": 5_000}))
        .send()
        .await
        .unwrap();
    assert_eq!(recharge.status(), StatusCode::CREATED);
    let recharge: Value = recharge.json().await.unwrap();
    let balance = http
        .get(format!("{front}/cards/7/balance"))
        .bearer_auth(token)
        .send()
        .await
        .unwrap();
    assert_eq!(balance.headers()["x-cache"], "MISS", "the cache was asked");
    let balance: Value = balance.json().await.unwrap();
    assert_eq!(balance["balance"], recharge["balance"]);

    // Whoever goes past the front door without a certificate is told so, and its request with all that it says.
    for instance in &topology.instances {
        if instance.role != "balancer" {
            let asked = http.get(format!("http://{}/health", instance.listen));
            let status = asked.send().await.unwrap().status();
            assert_eq!(status, StatusCode::BAD_REQUEST, "{}", instance.name);
        }
    }

    // The lab's own tools have one.
    for arguments in [
        &["queues"][..],
        &["do", "--yes", "call GET travel-1:/health"],
        &["scale", "gateway=4"],
        &["verify", "--reads", "100"],
    ] {
        let output = lab.recarga(arguments).await;
        assert!(output.status.success(), "{arguments:?}: {output:?}");
    }
    // As from another machine, which has been given the operator's.
    let url = format!("{}/admin/topology", topology.supervisor_url.unwrap());
    let given = topology.mutual_tls.unwrap();
    let call = [
        "do",
        "--yes",
        "--topology",
        &url,
        "call GET travel-1:/health",
    ];
    let shown = ["--certificates", given.to_str().unwrap()];
    for (arguments, told) in [
        ([&call[..], &shown].concat(), "/health: 200"),
        (call.to_vec(), "it takes TLS with a certificate"),
    ] {
        let output = lab.recarga(&arguments).await;
        let words = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(words.contains(told), "{words}");
    }

    let status = lab.recarga(&["status"]).await;
    let status = String::from_utf8_lossy(&status.stdout).into_owned();
    assert!(status.contains("mutual TLS"), "{status}");
    eventually("the new gateway is picked", || async {
        let asked = http.get(format!("{front}/cards/8/balance"));
        let answer = asked.bearer_auth(token).send().await.unwrap();
        answer.headers()["x-gateway"] == "gateway-4"
    })
    .await;
}
