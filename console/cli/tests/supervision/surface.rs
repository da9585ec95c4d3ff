//! The processes of a lab, seen and steered over HTTP.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::lab::{Lab, folder};

/// The supervisor's surface of a lab.
struct Supervisor {
    url: String,
    token: String,
    http: reqwest::Client,
}

impl Supervisor {
    fn of(lab: &Lab) -> Self {
        let secrets = std::fs::read(lab.path().join("secrets.json")).unwrap();
        let secrets: Value = serde_json::from_slice(&secrets).unwrap();
        Self {
            url: lab.topology().supervisor_url.unwrap(),
            token: secrets["operator_token"].as_str().unwrap().to_owned(),
            http: reqwest::Client::builder()
                .timeout(Duration::from_mins(2))
                .build()
                .unwrap(),
        }
    }

    async fn call(&self, method: Method, path: &str, body: Value) -> (StatusCode, Value) {
        let request = self.http.request(method, format!("{}{path}", self.url));
        let answer = request
            .bearer_auth(&self.token)
            .json(&body)
            .send()
            .await
            .unwrap();
        let status = answer.status();
        (status, answer.json().await.unwrap_or_default())
    }

    async fn processes(&self) -> Value {
        let answer = self.http.get(format!("{}/admin/processes", self.url));
        answer.send().await.unwrap().json().await.unwrap()
    }
}

fn process<'a>(processes: &'a Value, name: &str) -> &'a Value {
    let list = processes["processes"].as_array().unwrap();
    let found = list.iter().find(|process| process["name"] == name);
    found.unwrap_or_else(|| panic!("no {name} in {processes}"))
}

#[tokio::test]
async fn processes_are_told_killed_restarted_and_scaled_over_http() {
    let lab = Lab::start().await;
    let supervisor = Supervisor::of(&lab);
    let before = supervisor.processes().await;
    assert_eq!(before["read_only"], false);
    let gateway = process(&before, "gateway-1");
    assert_eq!(
        (
            &gateway["state"],
            &gateway["kind"],
            &gateway["role"],
            &gateway["restarts"]
        ),
        (
            &json!("running"),
            &json!("service"),
            &json!("gateway"),
            &json!(0)
        )
    );
    assert!(
        gateway["since"].is_string() && gateway["pid"].is_u64(),
        "{gateway}"
    );
    assert_eq!(process(&before, "postgres")["kind"], "store");

    let refused = supervisor
        .http
        .post(format!("{}/admin/processes/gateway-1/kill", supervisor.url));
    assert_eq!(
        refused.try_clone().unwrap().send().await.unwrap().status(),
        401
    );
    assert_eq!(
        refused.bearer_auth("wrong").send().await.unwrap().status(),
        403
    );

    let (status, killed) = supervisor
        .call(Method::POST, "/admin/processes/gateway-1/kill", json!({}))
        .await;
    assert_eq!((status.as_u16(), &killed["pid"]), (202, &gateway["pid"]));
    let back = lab.back("gateway-1", 0).await;
    assert_ne!(json!(back.pid), gateway["pid"]);

    let search = lab.instance("search-1").unwrap();
    let (status, restarted) = supervisor
        .call(Method::POST, "/admin/processes/search-1/restart", json!({}))
        .await;
    assert_eq!(
        (status.as_u16(), &restarted["state"]),
        (200, &json!("running"))
    );
    assert_ne!(restarted["pid"], json!(search.pid));

    let (status, scaled) = supervisor
        .call(Method::PUT, "/admin/roles/search", json!({"count": 2}))
        .await;
    assert_eq!(
        (status.as_u16(), &scaled["count"], &scaled["previous"]),
        (200, &json!(2), &json!(1))
    );
    assert!(lab.instance("search-2").is_some());

    for (method, path, body, expected) in [
        (
            Method::PUT,
            "/admin/roles/search",
            json!({"count": 21}),
            422,
        ),
        (
            Method::PUT,
            "/admin/roles/balancer",
            json!({"count": 0}),
            422,
        ),
        (
            Method::PUT,
            "/admin/roles/search",
            json!({"count": -1}),
            422,
        ),
        (Method::PUT, "/admin/roles/search", json!({}), 422),
        (Method::PUT, "/admin/roles/nobody", json!({"count": 1}), 404),
        (Method::POST, "/admin/roles/nobody/restart", json!({}), 404),
        (
            Method::POST,
            "/admin/processes/gateway-9/kill",
            json!({}),
            404,
        ),
        (Method::POST, "/admin/processes/%00/restart", json!({}), 404),
        (
            Method::POST,
            "/admin/processes/postgres/restart",
            json!({}),
            409,
        ),
        (Method::POST, "/nothing", json!({}), 404),
    ] {
        let (status, answer) = supervisor.call(method, path, body.clone()).await;
        assert_eq!(status.as_u16(), expected, "{path} {body}: {answer}");
        assert!(answer["detail"].is_string(), "{path}: {answer}");
    }
    assert_eq!(lab.topology().of_role("search").count(), 2);
}

#[tokio::test]
async fn a_read_only_lab_is_steered_by_nobody() {
    let lab = Lab::spawn(folder(), &["--free-ports", "--read-only"]);
    lab.line("the lab is ready", |line| line.starts_with("ready: "))
        .await;
    let topology = lab.topology();
    assert!(topology.read_only);
    let supervisor = Supervisor::of(&lab);
    assert_eq!(supervisor.processes().await["read_only"], true);
    for (method, path) in [
        (Method::POST, "/admin/processes/gateway-1/kill"),
        (Method::POST, "/admin/processes/gateway-1/restart"),
        (Method::POST, "/admin/roles/gateway/restart"),
        (Method::PUT, "/admin/roles/gateway"),
    ] {
        let (status, answer) = supervisor.call(method, path, json!({"count": 1})).await;
        assert_eq!(status, 403, "{path}: {answer}");
        assert_eq!(answer["read_only"], true, "{answer}");
    }
    for command in [["scale", "gateway=1"], ["restart", "gateway-1"]] {
        let output = lab.recarga(&command).await;
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            !output.status.success() && text.contains("read-only"),
            "{text}"
        );
    }
    // Every admin port, with the operator's token.
    for instance in &topology.instances {
        let at = Supervisor {
            url: format!("http://{}", instance.admin),
            token: supervisor.token.clone(),
            http: supervisor.http.clone(),
        };
        let (status, answer) = at.call(Method::POST, "/admin/drain", json!({})).await;
        assert_eq!(status, 403, "{}: {answer}", instance.name);
    }
    let flush = supervisor
        .http
        .post(format!("{}/cache/flush", topology.cache_url));
    assert_eq!(flush.send().await.unwrap().status(), 403);
    // What the business offers stays.
    let data = format!("{}/data", topology.public_url);
    let answer = supervisor.http.get(data).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert!(lab.recarga(&["down"]).await.status.success());
}
