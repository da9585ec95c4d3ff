//! The admin surface of every instance.

use std::time::Duration;

use reqwest::Method;
use serde_json::json;

use crate::api::{Api, send};
use crate::lab::{eventually, lab};

#[tokio::test]
async fn every_instance_tells_of_itself() {
    let _calm = lab().calm().await;
    for instance in lab().topology().instances {
        let admin = Api::at(&format!("http://{}", instance.admin));
        admin.get("/livez").await.expect(200);
        admin.get("/readyz").await.expect(200);
        let info = admin.get("/admin/info").await.expect(200);
        assert_eq!(
            (info.text("role"), info.text("instance")),
            (instance.role.as_str(), instance.name.as_str())
        );
        assert_eq!(info.int("pid"), i64::from(instance.pid.unwrap()));
        for member in [
            "service",
            "version",
            "started_at",
            "log_level",
            "listen",
            "admin",
        ] {
            assert!(info.body[member].is_string(), "{member}: {info}");
        }
        assert_eq!(
            (&info.body["ready"], &info.body["draining"]),
            (&json!(true), &json!(false)),
            "{info}"
        );
        let metrics = admin.get("/metrics").await.expect(200);
        let label = format!("instance=\"{}\"", instance.name);
        for name in [
            "process_cpu_seconds_total",
            "process_resident_memory_bytes",
            "recarga_draining",
            &label,
        ] {
            assert!(metrics.text.contains(name), "{name}: {}", instance.name);
        }
        admin.get("/nothing").await.problem(404);
    }
}

#[tokio::test]
async fn levers_need_the_operators_token() {
    let levers = [
        (Method::PUT, "/admin/log-level"),
        (Method::PUT, "/admin/faults"),
        (Method::POST, "/admin/drain"),
        (Method::POST, "/admin/undrain"),
        (Method::POST, "/admin/crash"),
    ];
    let user = Api::user().await;
    for instance in ["notification-1", "gateway-1", "balancer-1"] {
        let admin = Api::at(&lab().admin(instance));
        for (method, path) in levers.clone() {
            send(admin.request(method.clone(), path).json(&json!({})))
                .await
                .problem(401);
            for token in ["wrong", user.token()] {
                let admin = admin.clone().with_token(token);
                send(admin.request(method.clone(), path).json(&json!({})))
                    .await
                    .problem(403);
            }
        }
    }
}

#[tokio::test]
async fn the_log_level_changes() {
    let admin = Api::admin("search-1");
    admin
        .put("/admin/log-level", json!({"level": "debug"}))
        .await
        .expect(200);
    assert!(
        admin
            .get("/admin/info")
            .await
            .text("log_level")
            .contains("debug")
    );
    admin
        .put("/admin/log-level", json!({"level": "info"}))
        .await
        .expect(200);
    admin
        .put("/admin/log-level", json!({}))
        .await
        .names("level");
    admin
        .put("/admin/log-level", json!({"level": "=%!"}))
        .await
        .problem(422);
    send(admin.request(Method::PUT, "/admin/log-level").body("{"))
        .await
        .problem(400);
}

#[tokio::test]
async fn the_log_stream_can_be_filtered_by_request() {
    let id = lab().own_name("traced");
    let key = lab().own_name("traced");
    let path = format!("/data?key={key}");
    let request = Api::anonymous()
        .request(Method::GET, &path)
        .header("X-Request-Id", &id);
    let answer = send(request).await.expect(200);
    let gateway = answer.header("x-gateway").unwrap().to_owned();
    // Served requests are logged up to a rate; a failed one is logged each time.
    let refused = Api::anonymous()
        .request(Method::GET, "/cards/1/balance")
        .header("X-Request-Id", &id);
    let _ = send(refused).await;
    let _ = gateway;
    let admin = Api::at(&lab().admin("balancer-1"));
    let mut stream = admin
        .request(Method::GET, &format!("/logs?request_id={id}"))
        .send()
        .await
        .unwrap();
    assert!(
        stream.headers()["content-type"]
            .to_str()
            .unwrap()
            .starts_with("text/event-stream")
    );
    let line = tokio::time::timeout(Duration::from_secs(10), async {
        let mut text = String::new();
        while let Some(chunk) = stream.chunk().await.unwrap() {
            text.push_str(&String::from_utf8_lossy(&chunk));
            if let Some(line) = text.lines().find_map(|line| line.strip_prefix("data:")) {
                return line.to_owned();
            }
        }
        panic!("the stream ended: {text}");
    });
    let line: serde_json::Value =
        serde_json::from_str(&line.await.expect("a line arrives")).unwrap();
    assert_eq!(
        (&line["request_id"], &line["instance"]),
        (&json!(id), &json!("balancer-1")),
        "{line}"
    );
    for member in ["timestamp", "level", "target", "service", "message"] {
        assert!(line[member].is_string(), "{member}: {line}");
    }
    admin.get("/logs?level=loud").await.names("level");
}

#[tokio::test]
async fn faults_are_planted_shown_and_cleared() {
    let admin = Api::admin("notification-1");
    let service = Api::at(&format!(
        "http://{}",
        lab().instance("notification-1").listen
    ));
    let fault = json!({"faults": [{"route": "/planted", "error_rate": 1.0, "error_status": 503}]});
    admin.put("/admin/faults", fault).await.expect(200);
    assert!(admin.get("/admin/info").await.text.contains("/planted"));
    assert_eq!(service.get("/planted").await.status, 503);
    service.get("/health").await.expect(200);
    admin
        .put("/admin/faults", json!({"faults": []}))
        .await
        .expect(200);
    assert_eq!(service.get("/planted").await.status, 404);
    for wrong in [
        json!({"faults": [{"error_rate": 2.0}]}),
        json!({"faults": [{"latency_ms": -1}]}),
        json!({"faults": [{"unheard_of": 1}]}),
        json!({"faults": 1}),
        json!({}),
    ] {
        admin.put("/admin/faults", wrong).await.problem(422);
    }
}

#[tokio::test]
async fn a_drained_instance_gets_no_work_and_a_crashed_one_comes_back() {
    let _alone = lab().alone().await;
    let (api, admin) = (Api::anonymous(), Api::admin("exercise-3"));
    admin.post("/admin/drain", json!({})).await.expect(200);
    assert_eq!(admin.get("/readyz").await.status, 503);
    eventually(
        Duration::from_secs(10),
        "the gateways notice the drain",
        || async {
            let mut served = Vec::new();
            for _ in 0..9 {
                served.push(
                    api.get("/process")
                        .await
                        .expect(200)
                        .text("service_id")
                        .to_owned(),
                );
            }
            served.iter().all(|id| id != "3").then_some(())
        },
    )
    .await;
    admin.post("/admin/undrain", json!({})).await.expect(200);
    admin.get("/readyz").await.expect(200);

    let before = lab().instance("exercise-3");
    admin.post("/admin/crash", json!({})).await.expect(202);
    eventually(
        Duration::from_secs(30),
        "the supervisor starts it again",
        || async {
            let now = lab().instance("exercise-3");
            api.get("/process").await.expect(200);
            (now.pid != before.pid && now.restarts > before.restarts).then_some(())
        },
    )
    .await;
    eventually(Duration::from_secs(30), "it gets work again", || async {
        (api.get("/process").await.expect(200).text("service_id") == "3").then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_exercises_delay_is_set() {
    let _alone = lab().alone().await;
    let names = ["exercise-1", "exercise-2", "exercise-3"];
    let api = Api::anonymous();
    for name in names {
        Api::admin(name)
            .put("/admin/delays", json!({"data_ms": 400, "process_ms": 0}))
            .await
            .expect(200);
    }
    let started = std::time::Instant::now();
    let answer = api
        .get(&format!("/data?key={}", lab().own_name("delay")))
        .await;
    let elapsed = started.elapsed();
    for name in names {
        Api::admin(name)
            .put("/admin/delays", json!({"data_ms": 100, "process_ms": 100}))
            .await
            .expect(200);
    }
    answer.expect(200);
    assert!(elapsed >= Duration::from_millis(390), "{elapsed:?}");
    Api::admin("exercise-1")
        .put("/admin/delays", json!({"data_ms": -1}))
        .await
        .names("data_ms");
}

#[tokio::test]
async fn the_balancer_lists_its_gateways() {
    let answer = Api::at(&lab().admin("balancer-1"))
        .get("/admin/upstreams")
        .await;
    let answer = if answer.status == 401 {
        Api::admin("balancer-1").get("/admin/upstreams").await
    } else {
        answer
    };
    let answer = answer.expect(200);
    for name in ["gateway-1", "gateway-2", "gateway-3"] {
        assert!(answer.text.contains(name), "{answer}");
    }
}
