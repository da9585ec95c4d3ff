//! Routes that are changed while they are used: by the operator, by their file, one step back, and under load.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use axum::response::IntoResponse;
use futures::future::join_all;
use gateway::RouteInfo;
use http::{Method, StatusCode};
use kit::testing::eventually;
use serde_json::{Value, json};

use crate::support::{Lab, Plan, Reply, RoutesFile, config, soon, start_gateway};

fn with(change: impl FnOnce(&mut Vec<RouteInfo>)) -> Vec<RouteInfo> {
    let mut routes = gateway::routes();
    change(&mut routes);
    routes
}

fn route<'a>(routes: &'a mut [RouteInfo], path: &str) -> &'a mut RouteInfo {
    let mut all = routes.iter_mut();
    all.find(|route| route.path == path).expect("a route")
}

impl Lab {
    async fn change(&self, path: &str, headers: &[(&str, &str)], body: &str) -> Reply {
        let method = if path.ends_with("rollback") {
            Method::POST
        } else {
            Method::PUT
        };
        let url = format!("{}{path}", self.gateways[0].admin);
        let operator = kit::Common::for_tests("x").operator_token.0;
        let mut request = self.http.request(method, url).bearer_auth(operator);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = request.body(body.to_owned()).send().await;
        Reply::read(answer.expect("an answer")).await
    }

    async fn put(&self, routes: &[RouteInfo]) -> Reply {
        let document = gateway::document::write(routes);
        self.change("/admin/routes", &[], &document).await
    }

    async fn shown(&self) -> Value {
        self.admin(0, "/admin/routes").await
    }
}

#[tokio::test]
async fn the_operator_replaces_all_routes_or_none() {
    let lab = Lab::start().await;
    let built_in = lab.shown().await;
    assert_eq!(
        (&built_in["version"], &built_in["origin"]),
        (&json!(1), &json!("built_in"))
    );
    assert_eq!(
        built_in["hash"],
        gateway::document::hash(&gateway::routes())
    );
    assert_eq!(
        built_in["routes"].as_array().map(Vec::len),
        Some(gateway::routes().len())
    );
    let first = built_in["hash"].as_str().expect("a hash");

    let routes = with(|routes| {
        routes.retain(|route| route.path != "/users/latest");
        let count = route(routes, "/users/count");
        count.upstream_path = Some("/counted".to_owned());
        let mut new = count.clone();
        new.path = "/users/{id}/latest".to_owned();
        new.upstream_path = None;
        routes.push(new);
    });
    let changed = lab.put(&routes).await;
    assert_eq!(changed.status, 200, "{changed:?}");
    let body = changed.json();
    assert_eq!(body["version"], 2);
    assert_eq!(
        body["changes"],
        json!({
            "added": ["GET /users/{id}/latest"],
            "removed": ["GET /users/latest"],
            "changed": [{"route": "GET /users/count", "fields": ["upstream_path"]}],
        })
    );
    assert_eq!(lab.get("/users/latest").await.status, 404);
    assert_eq!(lab.get("/users/count").await.status, 200);
    assert_eq!(lab.travel.last().target, "/counted");
    assert_eq!(lab.get("/users/7/latest").await.status, 200);
    assert_eq!(lab.travel.last().target, "/users/7/latest");
    let hash = body["hash"].as_str().expect("a hash");
    assert_eq!(changed.header("etag"), format!("\"{hash}\""));
    let metrics = lab.metrics().await;
    for line in [
        r#"recarga_routes_version{role="gateway",instance="gateway-1"} 2"#.to_owned(),
        format!(
            r#"recarga_routes_info{{role="gateway",instance="gateway-1",hash="{hash}",origin="operator"}} 1"#
        ),
    ] {
        assert!(metrics.contains(&line), "{line}\n{metrics}");
    }
    assert!(!metrics.contains(first), "only the routes in force");

    // Everything that is wrong is told, and nothing is changed.
    let bad = with(|routes| {
        route(routes, "/users/count").timeout_ms = 99_999;
        route(routes, "/process").method = "BREW".to_owned();
        routes.push(routes[0].clone());
    });
    let refused = lab.put(&bad).await;
    assert_eq!(refused.status, 422, "{refused:?}");
    let problems = refused.json()["problems"].clone();
    let about: Vec<_> = problems
        .as_array()
        .expect("a list")
        .iter()
        .map(|problem| format!("{} {}", problem["route"], problem["field"]))
        .collect();
    assert_eq!(
        about,
        [
            r#""BREW /process" "method""#,
            r#""GET /users/count" "timeout_ms""#,
            r#""POST /token" "path""#
        ]
    );
    assert!(problems[0]["line"].as_u64().is_some_and(|line| line > 1));
    for (body, status) in [
        ("", 422),
        ("{", 422),
        ("[]", 422),
        (r#"{"routes": 7}"#, 422),
    ] {
        assert_eq!(
            lab.change("/admin/routes", &[], body).await.status,
            status,
            "{body}"
        );
    }
    let too_large = " ".repeat(1024 * 1024 + 1);
    let refused = lab.change("/admin/routes", &[], &too_large).await;
    assert_eq!(refused.status, 413);
    assert_eq!(lab.shown().await["hash"], hash);

    // One step back.
    let back = lab.change("/admin/routes/rollback", &[], "").await;
    assert_eq!(back.status, 200);
    assert_eq!(
        (&back.json()["version"], &back.json()["hash"]),
        (&json!(3), &json!(first))
    );
    assert_eq!(lab.get("/users/latest").await.status, 200);
    let further = lab.change("/admin/routes/rollback", &[], "").await;
    assert_eq!(further.status, 409);
    lab.stop().await;
}

#[tokio::test]
async fn only_the_operator_changes_routes_and_nobody_by_mistake() {
    let lab = Lab::start().await;
    let url = format!("{}/admin/routes", lab.gateways[0].admin);
    let document = gateway::document::write(&[]);
    for (token, status) in [(None, 401), (Some("another"), 403)] {
        let mut request = lab.http.put(&url).body(document.clone());
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        assert_eq!(request.send().await.expect("an answer").status(), status);
    }
    let hash = lab.shown().await["hash"]
        .as_str()
        .expect("a hash")
        .to_owned();
    let tag = format!("\"{hash}\"");
    let change = async |expected: &str| {
        let headers = [("if-match", expected)];
        lab.change("/admin/routes", &headers, &document)
            .await
            .status
    };
    assert_eq!(change("\"0123456789abcdef\"").await, 412);
    assert_eq!(change("nonsense").await, 422);
    assert_eq!(lab.get("/users/count").await.status, 200);
    assert_eq!(change(&tag).await, 200);
    assert_eq!(lab.get("/users/count").await.status, 404);
    assert_eq!(change(&tag).await, 412, "it was replaced meanwhile");
    // The same again is no change, and the way back stays.
    assert_eq!(change("*").await, 200);
    assert_eq!(lab.shown().await["version"], 2);
    assert_eq!(lab.shown().await["previous"]["hash"], hash);
    let schema = lab.admin(0, "/admin/routes/schema").await;
    assert_eq!(
        schema["$schema"],
        "https://json-schema.org/draft/2020-12/schema"
    );
    lab.stop().await;
}

#[tokio::test]
async fn the_file_is_followed_and_a_bad_one_is_not() {
    let file = RoutesFile::new(&gateway::routes());
    let lab = Lab::start_with(Plan {
        routes: Some(file.path()),
        ..Plan::default()
    })
    .await;
    let shown = lab.shown().await;
    assert_eq!(
        (&shown["origin"], &shown["file"]["problems"]),
        (&json!("file"), &Value::Null)
    );
    let first = shown["hash"].clone();
    let becomes = async |what: &str, condition: &dyn Fn(&Value) -> bool| {
        eventually(what, || async { condition(&lab.shown().await) }).await;
    };
    let without = with(|routes| routes.retain(|route| route.path != "/users/count"));
    file.write(&gateway::document::write(&without));
    becomes("the file is read again", &|shown| shown["version"] == 2).await;
    assert_eq!(lab.get("/users/count").await.status, 404);

    file.write("{\"routes\": [\n{\"method\": \"GET\", \"path\": \"/a\"}]}");
    becomes("the bad file is noticed", &|shown| {
        shown["file"]["problems"][0]["line"] == 2
    })
    .await;
    let metrics = lab.metrics().await;
    assert!(
        metrics.contains(r#"recarga_routes_file_bad{role="gateway",instance="gateway-1"} 1"#),
        "{metrics}"
    );
    std::fs::remove_file(file.path()).expect("it is there");
    becomes("the missing file is noticed", &|shown| {
        let reason = shown["file"]["problems"][0]["reason"].as_str();
        reason.is_some_and(|reason| reason.starts_with("cannot be read"))
    })
    .await;
    assert_eq!(lab.get("/users/active/count").await.status, 200);
    assert_eq!(lab.shown().await["version"], 2);

    file.write(&gateway::document::write(&gateway::routes()));
    becomes("the good file is read", &|shown| {
        shown["version"] == 3 && shown["hash"] == first && shown["file"]["problems"].is_null()
    })
    .await;
    assert_eq!(lab.get("/users/count").await.status, 200);
    // What the operator puts in force stays until the file changes.
    assert_eq!(lab.put(&without).await.status, 200);
    file.write(&gateway::document::write(&gateway::routes()));
    assert_eq!(lab.shown().await["origin"], "operator");
    lab.stop().await;
}

#[tokio::test]
async fn a_bad_file_stops_the_start() {
    let lab = Lab::start_with(Plan {
        gateways: 0,
        ..Plan::default()
    })
    .await;
    let file = RoutesFile::new(&[]);
    let start = async |text: &str| {
        file.write(text);
        let config = gateway::Config {
            routes: Some(file.path()),
            ..config(&lab, 1)
        };
        let listeners = kit::Listeners::bind(&config.common).await.expect("ports");
        let run = gateway::run(listeners, config, kit::Shutdown::new());
        let error = soon("it stops", run).await.expect_err("bad routes");
        error.to_string()
    };
    let error = start(
        "{\"routes\": [\n{\"method\": \"GET\", \"path\": \"/a\", \"level\": \"open\", \"upstream\": \"travel\", \"timeout_ms\": 30000},\n7]}",
    )
    .await;
    for part in [
        "RECARGA_ROUTES (--routes): ",
        "line 2: GET /a: timeout_ms: 30000 is not 1 to 25000",
        "\nline 3: routes[1]: ",
    ] {
        assert!(error.contains(part), "{error}");
    }
    assert!(start("").await.contains("one JSON object"));
    std::fs::remove_file(file.path()).expect("it is there");
    let config = gateway::Config {
        routes: Some(file.path()),
        ..config(&lab, 1)
    };
    let listeners = kit::Listeners::bind(&config.common).await.expect("ports");
    let run = gateway::run(listeners, config, kit::Shutdown::new());
    let error = soon("it stops", run).await.expect_err("no routes");
    assert!(error.to_string().contains("cannot be read"), "{error}");
    lab.stop().await;
}

#[tokio::test]
async fn what_is_on_its_way_keeps_its_route() {
    let lab = Lab::start().await;
    let bell = lab.travel.hold();
    let slow = lab.get("/users/count");
    let change = async {
        eventually("the service is asked", || async { lab.travel.count() == 1 }).await;
        assert_eq!(lab.put(&[]).await.status, 200);
        assert_eq!(lab.get("/users/count").await.status, 404);
        bell.notify_one();
    };
    let (slow, ()) = soon("both", async { tokio::join!(slow, change) }).await;
    assert_eq!(slow.status, 200);
    let metrics = lab.metrics().await;
    assert!(
        metrics.contains(r#"route="/users/count",status="200"} 1"#),
        "{metrics}"
    );
    lab.stop().await;
}

#[tokio::test]
async fn changes_under_load_lose_nothing() {
    let lab = Lab::start().await;
    lab.travel.answers(|asked| {
        let body = axum::Json(
            json!({"target": asked.target, "user": asked.headers.contains_key("x-recarga-user")}),
        );
        (StatusCode::OK, body).into_response()
    });
    // In one table open and asked for as it is; in the other for users, and asked for elsewhere. Nothing in between is right.
    let open = with(|_| {});
    let closed = with(|routes| {
        let count = route(routes, "/users/count");
        count.level = gateway::Level::User;
        count.upstream_path = Some("/elsewhere".to_owned());
    });
    let token = lab.token().await;
    let stop = Arc::new(AtomicBool::new(false));
    let readers = (0..8).map(|number| {
        let (lab, stop, token) = (&lab, stop.clone(), token.as_str());
        async move {
            let (mut seen_open, mut seen_closed) = (0_u32, 0_u32);
            let headers = [("authorization", token)];
            let headers = if number % 2 == 0 { &headers[..] } else { &[] };
            while !stop.load(Ordering::Relaxed) {
                let answer = lab.call(0, Method::GET, "/users/count", headers, "").await;
                match (answer.status.as_u16(), headers.is_empty()) {
                    (401, true) => seen_closed += 1,
                    (200, anonymous) => {
                        let body = answer.json();
                        if body["target"] == "/elsewhere" {
                            assert!(!anonymous, "let in by one table, sent on by the other");
                            seen_closed += 1;
                        } else {
                            assert_eq!(body["target"], "/users/count");
                            seen_open += 1;
                        }
                    }
                    _ => panic!("{answer:?}"),
                }
            }
            (seen_open, seen_closed)
        }
    });
    let changes = async {
        for round in 0..30 {
            let routes = if round % 2 == 0 { &closed } else { &open };
            assert_eq!(lab.put(routes).await.status, 200);
            let before = lab.travel.count();
            eventually("requests go on", || async {
                lab.travel.count() > before + 3
            })
            .await;
        }
        stop.store(true, Ordering::Relaxed);
    };
    let (seen, ()) = soon("all changes", async {
        tokio::join!(join_all(readers), changes)
    })
    .await;
    let seen_open: u32 = seen.iter().map(|(open, _)| open).sum();
    let seen_closed: u32 = seen.iter().map(|(_, closed)| closed).sum();
    assert!(seen_open > 10 && seen_closed > 10, "{seen:?}");
    assert_eq!(lab.shown().await["version"], 31);
    lab.stop().await;
}

#[tokio::test]
async fn a_thousand_routes_are_served() {
    let mut lab = Lab::start_with(Plan {
        gateways: 0,
        ..Plan::default()
    })
    .await;
    let routes = with(|routes| {
        let count = route(routes, "/users/count").clone();
        routes.extend((0..1000).map(|number| RouteInfo {
            path: format!("/many/{number}/{{id}}"),
            ..count.clone()
        }));
    });
    let file = RoutesFile::new(&routes);
    let config = gateway::Config {
        routes: Some(file.path()),
        ..config(&lab, 1)
    };
    lab.gateways.push(start_gateway(config).await);
    assert_eq!(lab.get("/many/999/7").await.status, 200);
    assert_eq!(lab.travel.last().target, "/many/999/7");
    assert_eq!(lab.get("/many/1000/7").await.status, 404);
    lab.stop().await;
}
