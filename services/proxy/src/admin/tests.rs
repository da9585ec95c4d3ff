use std::net::SocketAddr;

use axum::body::Body;
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use kit::discovery::Endpoint;
use tower::ServiceExt;

use super::*;
use crate::{metrics::Metrics, pool::PoolSettings, selection::Selection};

fn pool(name: &str) -> Pool {
    let pool = Pool::new(PoolSettings::new(name), &Metrics::default());
    let endpoints: Vec<Endpoint> = (1..=2)
        .map(|number| Endpoint {
            name: Some(format!("{name}-{number}")),
            address: SocketAddr::from(([127, 0, 0, 1], number)),
        })
        .collect();
    pool.set_endpoints(&endpoints);
    pool
}

async fn call(pools: &[Pool], method: &str, path: &str, body: Value) -> (u16, Value) {
    let router = open(pools.to_vec()).merge(operator(pools.to_vec()));
    let body = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    let request = Request::builder()
        .method(method)
        .uri(path)
        .body(Body::from(body))
        .unwrap();
    let response = router.oneshot(request).await.unwrap();
    let status = response.status().as_u16();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&bytes).unwrap())
}

async fn get_of(pools: &[Pool], path: &str) -> Value {
    let (status, body) = call(pools, "GET", path, Value::Null).await;
    assert_eq!(status, StatusCode::OK, "{path}: {body}");
    body
}

#[tokio::test]
async fn one_pool_need_not_be_named_and_several_are_told_together() {
    let one = [pool("gateway")];
    let body = get_of(&one, "/admin/upstreams").await;
    assert_eq!(
        (&body["pool"], &body["policy"]),
        (&json!("gateway"), &json!("round_robin"))
    );
    let upstream = &body["upstreams"][0];
    for field in [
        "name",
        "address",
        "state",
        "reason",
        "since_seconds",
        "in_flight",
        "weight",
        "effective_weight",
        "expected_share",
        "ejected",
        "breaker",
        "slow_start",
        "ewma_ms",
        "requests",
        "failures",
        "last_check_ms",
    ] {
        assert!(upstream.get(field).is_some(), "{field} in {upstream}");
    }
    let two = [pool("travel"), pool("search")];
    let body = get_of(&two, "/admin/upstreams").await;
    assert_eq!(body[0]["pool"], "search");
    assert_eq!(body[1]["pool"], "travel");
    assert_eq!(
        get_of(&two, "/admin/upstreams?pool=travel").await["pool"],
        "travel"
    );
    let (status, body) = call(&two, "GET", "/admin/upstreams?pool=nothing", Value::Null).await;
    assert_eq!(status, 404);
    assert!(
        body["detail"].as_str().unwrap().contains("search, travel"),
        "{body}"
    );
    let (status, body) = call(&two, "GET", "/admin/balancing", Value::Null).await;
    assert_eq!((status, &body["field"]), (422, &json!("pool")));
}

#[tokio::test]
async fn settings_are_merged_and_what_cannot_be_is_named() {
    let pools = [pool("gateway")];
    let put = async |path: &str, body: Value| call(&pools, "PUT", path, body).await;
    let (status, body) = put("/admin/balancing", json!({"breaker": {"failures": 9}})).await;
    assert_eq!((status, &body["breaker"]["failures"]), (200, &json!(9)));
    let (status, body) = put("/admin/policy", json!({"policy": "p2c"})).await;
    assert_eq!(
        (status, &body["policy"], &body["breaker"]["failures"]),
        (200, &json!("p2c"), &json!(9))
    );
    let (status, body) = put("/admin/weights", json!({"gateway-1": 3})).await;
    assert_eq!((status, &body["weights"]), (200, &json!({"gateway-1": 3})));
    assert_eq!(get_of(&pools, "/admin/balancing").await, body);
    assert_eq!(
        get_of(&pools, "/admin/upstreams").await["upstreams"][0]["weight"],
        3
    );
    for (path, wrong, field) in [
        ("/admin/balancing", json!({"polcy": "p2c"}), "polcy"),
        (
            "/admin/balancing",
            json!({"breaker": {"base_ms": 1}}),
            "breaker.base_ms",
        ),
        ("/admin/policy", json!({"policy": "best"}), "policy"),
        ("/admin/policy", json!({}), "policy"),
        (
            "/admin/policy",
            json!({"policy": "p2c", "weight": 1}),
            "weight",
        ),
        (
            "/admin/weights",
            json!({"gateway-1": 0}),
            "weights.gateway-1",
        ),
        (
            "/admin/upstreams/gateway-1",
            json!({"drain": "yes"}),
            "drain",
        ),
    ] {
        let (status, answer) = put(path, wrong.clone()).await;
        assert_eq!(
            (status, &answer["field"]),
            (422, &json!(field)),
            "{wrong}: {answer}"
        );
    }
    assert_eq!(
        get_of(&pools, "/admin/balancing").await,
        body,
        "nothing was changed"
    );
    assert_eq!(put("/admin/balancing", Value::Null).await.0, 400);
}

#[tokio::test]
async fn one_that_is_drained_gets_nothing_new_until_it_is_taken_back() {
    let pools = [pool("gateway")];
    let put = async |name: &str, drain: bool| {
        let path = format!("/admin/upstreams/{name}");
        call(&pools, "PUT", &path, json!({"drain": drain})).await
    };
    let picked = || {
        let lease = pools[0]
            .pick(&Selection::default(), std::time::Instant::now())
            .unwrap();
        lease.name().to_string()
    };
    let (status, body) = put("gateway-1", true).await;
    assert_eq!(
        (status, &body["upstream"]["state"]),
        (200, &json!("draining"))
    );
    assert_eq!(body["upstream"]["reason"], "drained by the operator");
    assert_eq!([picked(), picked()], ["gateway-2", "gateway-2"]);
    assert_eq!(put("gateway-1", false).await.0, 200);
    assert_eq!([picked(), picked()], ["gateway-1", "gateway-2"]);
    assert_eq!(put("gateway-9", true).await.0, 404);
    let body = get_of(&pools, "/admin/explain?limit=3").await;
    assert_eq!(body["picks"].as_array().unwrap().len(), 3);
    assert_eq!(body["picks"][0]["picked"], "gateway-2");
    assert_eq!(body["picks"][2]["others"][0]["why"], "drained_by_operator");
    let (status, body) = call(&pools, "GET", "/admin/explain?limit=129", Value::Null).await;
    assert_eq!((status, &body["field"]), (422, &json!("limit")));
}
