//! The front door: page, documents, health, metrics, and what is no call.

use reqwest::Method;
use serde_json::json;

use crate::api::{Api, send};
use crate::lab::lab;

#[tokio::test]
async fn the_page_and_its_json() {
    let api = Api::anonymous();
    let page = send(api.request(Method::GET, "/").header("Accept", "text/html"))
        .await
        .expect(200);
    assert!(
        page.header("content-type")
            .unwrap()
            .starts_with("text/html"),
        "{page}"
    );
    assert!(page.text.to_lowercase().contains("<html"), "{page}");
    let status = send(
        api.request(Method::GET, "/")
            .header("Accept", "application/json"),
    )
    .await
    .expect(200);
    assert_eq!(
        (status.text("service"), status.text("status")),
        ("Load Balancer", "running")
    );
    assert_eq!(
        status.body["gateways"].as_object().unwrap().len(),
        3,
        "{status}"
    );
}

#[tokio::test]
async fn health_on_every_published_port() {
    let _calm = lab().calm().await;
    let answer = Api::anonymous().get("/health").await.expect(200);
    assert_eq!(answer.text("status"), "up");
    assert_eq!(
        answer.body["gateways"],
        json!({"gateway-1": true, "gateway-2": true, "gateway-3": true})
    );
    for api in [Api::cache(), Api::queue(), Api::worker()] {
        assert_eq!(api.get("/health").await.expect(200).text("status"), "up");
    }
}

#[tokio::test]
async fn the_documents_work_without_the_internet() {
    let api = Api::anonymous();
    for path in ["/docs", "/redoc"] {
        let mut page = api.get(path).await;
        if (300..400).contains(&page.status) {
            page = api.get(page.header("location").unwrap()).await;
        }
        let page = page.expect(200);
        assert!(
            page.header("content-type")
                .unwrap()
                .starts_with("text/html"),
            "{path}: {page}"
        );
        for foreign in [
            "src=\"http",
            "src='http",
            "href=\"http",
            "@import",
            "src=\"//",
        ] {
            assert!(
                !page.text.contains(foreign),
                "{path} loads from elsewhere: {foreign}"
            );
        }
    }
}

#[tokio::test]
async fn cache_and_queue_describe_themselves() {
    for (service, calls) in [
        (
            Api::cache(),
            &["/cache/{key}", "/cache", "/cache/flush", "/cache/stats"][..],
        ),
        (
            Api::queue(),
            &[
                "/enqueue",
                "/dequeue",
                "/queues",
                "/queues/{queue}/messages",
            ],
        ),
    ] {
        let answer = service.get("/openapi.json").await.expect(200);
        assert!(answer.text("openapi").starts_with("3.1"), "{answer}");
        assert_eq!(answer.header("content-type"), Some("application/json"));
        for path in calls {
            assert!(answer.body["paths"][path].is_object(), "{path}: {answer}");
        }
    }
}

#[tokio::test]
async fn the_description_holds_every_call() {
    let answer = Api::anonymous().get("/openapi.json").await.expect(200);
    assert!(
        answer.text("openapi").starts_with("3.1"),
        "{}",
        answer.body["openapi"]
    );
    let paths = answer.body["paths"].as_object().unwrap();
    for (path, methods) in [
        ("/token", &["get", "post"][..]),
        ("/search", &["get"]),
        ("/book", &["post"]),
        ("/bookings/{id}", &["get"]),
        ("/data", &["get"]),
        ("/process", &["get"]),
        ("/longtask", &["post"]),
        ("/task/{id}", &["get"]),
        ("/recharges", &["post"]),
        ("/cards/{id}/balance", &["get"]),
        ("/cards/{id}/history", &["get"]),
        ("/users/{id}/recharges", &["get"]),
        ("/trips", &["post"]),
        ("/trips/{id}", &["get"]),
        ("/trips/{id}/end", &["post"]),
        ("/trips/total", &["get"]),
        ("/trips/total/localities", &["get"]),
        ("/finance/revenue", &["get"]),
        ("/trips/finance/revenue", &["get"]),
        ("/finance/revenue/localities", &["get"]),
        ("/users/count", &["get"]),
        ("/users/active/count", &["get"]),
        ("/users/latest", &["get"]),
        ("/stations", &["get"]),
        ("/stations/{id}/arrivals", &["get"]),
        ("/health", &["get"]),
        ("/metrics", &["get"]),
        ("/", &["get"]),
    ] {
        for method in methods {
            assert!(
                paths.get(path).is_some_and(|item| item[method].is_object()),
                "{method} {path} is not described"
            );
        }
    }
}

#[tokio::test]
async fn the_balancers_metrics_are_public() {
    let answer = Api::anonymous().get("/metrics").await.expect(200);
    assert!(
        answer.header("content-type").unwrap().contains("text"),
        "{:?}",
        answer.headers
    );
    for name in [
        "recarga_http_requests_total",
        "recarga_upstream_up",
        "recarga_host_cpu_ratio",
        "role=\"balancer\"",
    ] {
        assert!(answer.text.contains(name), "{name}");
    }
}

#[tokio::test]
async fn what_is_no_call() {
    let api = Api::user().await;
    for path in [
        "/nothing",
        "/admin/info",
        "/livez",
        "/readyz",
        "/cards",
        "/data/x",
        "/../etc/passwd",
    ] {
        api.get(path).await.problem(404);
    }
    for (method, path) in [
        (Method::DELETE, "/recharges"),
        (Method::PUT, "/data"),
        (Method::GET, "/longtask"),
    ] {
        send(api.request(method, path)).await.problem(405);
    }
}

#[tokio::test]
async fn a_head_answers_like_a_get_without_a_body() {
    let api = Api::anonymous();
    let answer = send(api.request(Method::HEAD, "/health")).await.expect(200);
    assert!(answer.text.is_empty());
}
