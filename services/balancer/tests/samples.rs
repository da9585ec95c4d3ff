//! The last sampled requests, as the admin port tells them.

#![expect(clippy::unwrap_used, reason = "these are tests")]

mod support;

use std::time::Duration;

use serde_json::{Value, json};
use support::{Balancer, Gateway};

async fn samples(balancer: &Balancer, query: &str) -> (u16, Value) {
    let url = format!("{}/admin/requests{query}", balancer.admin);
    let response = balancer.http.get(url).send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

async fn one(flags: &[&str]) -> (Balancer, Gateway) {
    let gateway = Gateway::start("gateway-1").await;
    let balancer = Balancer::start(&[gateway.address], flags).await;
    balancer.shows(json!({"gateway-1": true})).await;
    (balancer, gateway)
}

#[tokio::test]
async fn a_sampled_request_tells_its_whole_way() {
    let (balancer, _gateway) = one(&[]).await;
    let request = balancer.get("/data?key=secret");
    let answer = request
        .header("x-request-id", "mine-1")
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 200);
    let (status, body) = samples(&balancer, "").await;
    assert_eq!((status, &body["last"]), (200, &json!(1)));
    let sample = &body["requests"][0];
    for (field, expected) in [
        ("id", json!(1)),
        ("request_id", json!("mine-1")),
        ("method", json!("GET")),
        ("path", json!("/data")),
        ("status", json!(200)),
        ("cache", json!("miss")),
        ("upstream", json!("gateway-1")),
        ("attempts", json!(1)),
        ("why", json!("regular")),
    ] {
        assert_eq!(sample[field], expected, "{field} of {sample}");
    }
    let timing = sample["timing"].as_array().unwrap();
    let names: Vec<_> = timing.iter().map(|entry| &entry["name"]).collect();
    assert_eq!(names, ["balancer", "gateway", "travel"]);
    assert_eq!(timing[0]["duration_ms"], sample["duration_ms"]);
    assert!(timing[1]["start_ms"].as_f64().unwrap() <= sample["duration_ms"].as_f64().unwrap());
}

#[tokio::test]
async fn failures_are_sampled_and_what_is_not_forwarded_is_not() {
    let (balancer, gateway) = one(&["--check-interval-ms", "60000"]).await;
    balancer.get("/").send().await.unwrap();
    balancer.get("/health").send().await.unwrap();
    assert_eq!(samples(&balancer, "").await.1["last"], 0);
    gateway.kill().await;
    let answer = balancer.get("/data").send().await.unwrap();
    let status = answer.status().as_u16();
    assert!(status >= 500, "{status}");
    let (_, body) = samples(&balancer, "?after=0&limit=1").await;
    let sample = &body["requests"][0];
    assert_eq!(
        (&sample["status"], &sample["why"]),
        (&json!(status), &json!("error"))
    );
    assert_eq!(sample["upstream"], "gateway-1");
    assert!(sample["attempts"].as_u64().unwrap() >= 1, "{sample}");
}

#[tokio::test]
async fn what_goes_through_the_router_is_sampled_too() {
    let (balancer, _gateway) = one(&["--upstream-http2"]).await;
    let answer = balancer.get("/trips/9?x=1").send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let (_, body) = samples(&balancer, "").await;
    let sample = &body["requests"][0];
    assert_eq!(sample["path"], "/trips/9");
    assert_eq!(sample["upstream"], "gateway-1");
    assert_eq!(
        sample["request_id"],
        answer.headers()["x-request-id"].to_str().unwrap()
    );
}

#[tokio::test]
async fn a_flood_is_sampled_thinly_and_a_reader_goes_on_where_it_was() {
    let (balancer, _gateway) = one(&["--sample-rate", "2"]).await;
    for _ in 0..200 {
        balancer.get("/data").send().await.unwrap();
    }
    let (_, body) = samples(&balancer, "?limit=256").await;
    let last = body["last"].as_u64().unwrap();
    assert!((2..200).contains(&last), "{last}");
    assert_eq!(body["per_second"], 2);
    let (_, none) = samples(&balancer, &format!("?after={last}")).await;
    assert_eq!(
        (&none["requests"], &none["skipped"]),
        (&json!([]), &json!(0))
    );
    tokio::time::timeout(Duration::from_secs(30), async {
        loop {
            balancer.get("/data").send().await.unwrap();
            let (_, next) = samples(&balancer, &format!("?after={last}")).await;
            if next["requests"][0]["id"] == last + 1 {
                return;
            }
        }
    })
    .await
    .expect("another one is sampled");
}

#[tokio::test]
async fn a_question_that_makes_no_sense_is_refused() {
    let (balancer, _gateway) = one(&["--sample-rate", "0"]).await;
    balancer.get("/data").send().await.unwrap();
    assert_eq!(samples(&balancer, "").await.1["last"], 0);
    for query in [
        "?limit=0",
        "?limit=257",
        "?after=-1",
        "?after=x",
        "?colour=red",
    ] {
        let (status, body) = samples(&balancer, query).await;
        assert!((400..=422).contains(&status), "{query}: {status}");
        assert!(body["detail"].is_string(), "{query}: {body}");
    }
}
