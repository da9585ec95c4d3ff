//! The slow read, the business logic, and the operator's lever.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::time::{Duration, Instant};

use kit::testing::{OPERATOR_TOKEN, Process, database_url, eventually};
use serde_json::{Value, json};
use sqlx::PgPool;

fn start(pool: &PgPool) -> (Process, reqwest::Client) {
    let flags = [
        "--database-url",
        &database_url(pool),
        "--data-delay-ms",
        "0",
        "--process-delay-ms",
        "0",
    ];
    let process = Process::start("exercise-2", &flags, exercise::run);
    (
        process,
        reqwest::Client::builder().no_proxy().build().unwrap(),
    )
}

async fn get(http: &reqwest::Client, url: String) -> (u16, Value) {
    let response = http.get(url).send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

#[sqlx::test(migrations = "../../migrations")]
async fn both_answer(pool: PgPool) {
    let (process, http) = start(&pool);
    let at = |path: &str| format!("http://{}{path}", process.public);
    let (status, data) = get(&http, at("/data")).await;
    assert_eq!(status, 200);
    assert!(
        data["data"]
            .as_str()
            .unwrap()
            .starts_with("my_data, read at 2"),
        "{data}"
    );
    let (_, data) = get(&http, at("/data?key=ñandú%20%27%3B--")).await;
    assert!(
        data["data"].as_str().unwrap().starts_with("ñandú ';--, "),
        "{data}"
    );
    for key in ["", "%00", "a%0Ab", &"k".repeat(257)] {
        let (status, problem) = get(&http, at(&format!("/data?key={key}"))).await;
        assert_eq!((status, &problem["field"]), (422, &json!("key")), "{key}");
    }
    assert_eq!(
        get(&http, at(&format!("/data?key={}", "ñ".repeat(256))))
            .await
            .0,
        200
    );
    let (status, processed) = get(&http, at("/process")).await;
    assert_eq!((status, &processed["service_id"]), (200, &json!("2")));
    assert_eq!(processed["message"], "Processed by exercise-2");
}

#[sqlx::test(migrations = "../../migrations")]
async fn the_operator_sets_the_delays(pool: PgPool) {
    let (process, http) = start(&pool);
    let url = format!("http://{}/admin/delays", process.admin);
    let put =
        |body: Value, token: &'static str| http.put(&url).bearer_auth(token).json(&body).send();
    assert_eq!(
        put(json!({"data_ms": 1}), "somebody")
            .await
            .unwrap()
            .status(),
        403
    );
    for body in [
        json!({"data_ms": 60_001}),
        json!({"process_ms": -1}),
        json!({"speed": 1}),
        json!({"process_places": 10_001}),
        json!({"data_ms": 5, "process_ms": 70_000}),
    ] {
        assert_eq!(
            put(body.clone(), OPERATOR_TOKEN).await.unwrap().status(),
            422,
            "{body}"
        );
    }
    let answer = put(json!({"data_ms": 300}), OPERATOR_TOKEN).await.unwrap();
    assert_eq!(
        answer.json::<Value>().await.unwrap(),
        json!({
            "data_ms": 300, "process_ms": 0, "process_places": 0,
            "previous": {"data_ms": 0, "process_ms": 0, "process_places": 0},
        })
    );
    let started = Instant::now();
    let data = get(&http, format!("http://{}/data", process.public)).await;
    assert_eq!(data.0, 200);
    assert!(started.elapsed() >= Duration::from_millis(300));
}

#[sqlx::test(migrations = "../../migrations")]
async fn work_waits_for_a_place_in_the_order_of_its_arrival(pool: PgPool) {
    let (process, http) = start(&pool);
    let url = format!("http://{}/admin/delays", process.admin);
    let set = async |body: Value| {
        let request = http.put(&url).bearer_auth(OPERATOR_TOKEN).json(&body);
        assert_eq!(request.send().await.unwrap().status(), 200, "{body}");
    };
    let gauge = async |name: &str| {
        let url = format!("http://{}/metrics", process.admin);
        let text = http.get(url).send().await.unwrap().text().await.unwrap();
        let line = text.lines().find(|line| line.starts_with(name)).unwrap();
        line.rsplit(' ').next().unwrap().parse::<i64>().unwrap()
    };
    set(json!({"process_ms": 60_000, "process_places": 2})).await;
    let ask = || {
        tokio::spawn(
            http.get(format!("http://{}/process", process.public))
                .send(),
        )
    };
    let asked: Vec<_> = (0..5).map(|_| ask()).collect();
    eventually("two work and three wait", || async {
        (
            gauge("recarga_work_in_progress").await,
            gauge("recarga_work_waiting").await,
        ) == (2, 3)
    })
    .await;
    // Who leaves while he waits is forgotten; what was begun keeps its place.
    asked.iter().for_each(tokio::task::JoinHandle::abort);
    eventually("nobody waits", || async {
        gauge("recarga_work_waiting").await == 0
    })
    .await;
    assert_eq!(gauge("recarga_work_in_progress").await, 2);
    let waits = ask();
    eventually("one waits", || async {
        gauge("recarga_work_waiting").await == 1
    })
    .await;
    // Any number: who waits comes in at once.
    set(json!({"process_ms": 0, "process_places": 0})).await;
    assert_eq!(waits.await.unwrap().unwrap().status(), 200);
    process.stop().await;
}
