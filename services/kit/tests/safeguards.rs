//! Safeguards that an operator switches off for a while: who may, what is refused, what is told, and that they come back.

use std::net::SocketAddr;

use axum::Router;
use kit::{
    Common, Listeners, Service, Shutdown,
    safeguards::Safeguard,
    testing::{OPERATOR_TOKEN, eventually},
};
use serde_json::{Value, json};

/// A running service; what is off is off for all of this process, so each test has safeguards of its own.
struct Demo {
    admin: String,
    http: reqwest::Client,
    shutdown: Shutdown,
}

impl Drop for Demo {
    fn drop(&mut self) {
        self.shutdown.request();
    }
}

impl Demo {
    async fn start(common: Common, safeguards: &'static [Safeguard]) -> Self {
        let shutdown = Shutdown::new();
        let listeners = Listeners::bind(&common).await.expect("free ports");
        let url = |address: SocketAddr| format!("http://{address}");
        let admin = url(listeners.admin.local_addr().expect("bound"));
        let service = Service::new("demo", &common, shutdown.clone())
            .expect("a service")
            .safeguards(safeguards)
            .public(Router::new());
        tokio::spawn(service.run(listeners));
        let http = reqwest::Client::new();
        let live = format!("{admin}/livez");
        eventually("it answers", || async {
            http.get(&live).send().await.is_ok()
        })
        .await;
        Self {
            admin,
            http,
            shutdown,
        }
    }

    fn request(&self, method: http::Method) -> reqwest::RequestBuilder {
        self.http
            .request(method, format!("{}/admin/safeguards", self.admin))
    }

    async fn put(&self, body: Value) -> (u16, Value) {
        let request = self.request(http::Method::PUT).bearer_auth(OPERATOR_TOKEN);
        let answer = request.json(&body).send().await.expect("an answer");
        let status = answer.status().as_u16();
        (status, answer.json().await.expect("JSON"))
    }

    async fn info(&self) -> Value {
        let url = format!("{}/admin/info", self.admin);
        let answer = self.http.get(url).send().await.expect("an answer");
        answer.json().await.expect("JSON")
    }

    async fn gauge(&self, safeguard: &str) -> Option<String> {
        let url = format!("{}/metrics", self.admin);
        let answer = self.http.get(url).send().await.expect("an answer");
        let text = answer.text().await.expect("text");
        let labels = format!("instance=\"demo-7\",safeguard=\"{safeguard}\"}} ");
        text.lines()
            .filter(|line| line.starts_with("recarga_safeguard_off{"))
            .find_map(|line| Some(line.split_once(&labels)?.1.to_owned()))
    }
}

#[tokio::test]
async fn an_operator_switches_a_safeguard_off_and_on() {
    let demo = Demo::start(
        Common::for_tests("demo-7"),
        &[Safeguard::Claim, Safeguard::Leases],
    )
    .await;
    let on = json!({"on": true, "seconds_left": null});
    assert_eq!(
        demo.info().await["safeguards"],
        json!({"claim": on, "leases": on})
    );
    assert_eq!(demo.info().await["safeguards_off"], json!([]));
    assert_eq!(demo.gauge("leases").await.as_deref(), Some("0"));
    assert_eq!(demo.gauge("inbox").await, None, "it does not matter here");

    let anybody = demo.request(http::Method::GET).send().await.unwrap();
    assert_eq!(anybody.status(), 401);
    let wrong = demo.request(http::Method::PUT).bearer_auth("somebody");
    let body = json!({"safeguard": "leases", "on": false});
    assert_eq!(wrong.json(&body).send().await.unwrap().status(), 403);

    for (body, field, words) in [
        (
            json!({"safeguard": "seatbelt", "on": false}),
            "safeguard",
            "demo has claim, leases",
        ),
        (
            json!({"safeguard": "inbox", "on": false}),
            "safeguard",
            "inbox does not matter to demo",
        ),
        (
            json!({"safeguard": "leases", "on": false, "seconds": 0}),
            "seconds",
            "1 to 3600",
        ),
        (
            json!({"safeguard": "leases", "on": false, "seconds": 3_601}),
            "seconds",
            "1 to 3600",
        ),
        (
            json!({"safeguard": "leases", "on": true, "seconds": 5}),
            "seconds",
            "goes with",
        ),
        (
            json!({"safeguard": "leases", "on": false, "forever": true}),
            "forever",
            "",
        ),
    ] {
        let (status, problem) = demo.put(body.clone()).await;
        assert_eq!(
            (status, &problem["field"]),
            (422, &json!(field)),
            "{body}: {problem}"
        );
        let detail = problem["detail"].as_str().expect("a detail");
        assert!(detail.contains(words), "{detail}");
    }
    assert!(Safeguard::Leases.is_on());

    let (status, answer) = demo.put(body.clone()).await;
    assert_eq!(
        (status, answer),
        (
            200,
            json!({"safeguard": "leases", "on": false, "seconds_left": 300, "previous": on})
        )
    );
    assert!(!Safeguard::Leases.is_on() && Safeguard::Claim.is_on());
    let info = demo.info().await;
    assert_eq!(info["safeguards_off"], json!(["leases"]));
    let left = info["safeguards"]["leases"]["seconds_left"].as_u64();
    assert!((200..=300).contains(&left.expect("seconds")), "{info}");
    assert_eq!(demo.gauge("leases").await.as_deref(), Some("1"));
    assert_eq!(demo.gauge("claim").await.as_deref(), Some("0"));
    let read = demo.request(http::Method::GET).bearer_auth(OPERATOR_TOKEN);
    let read: Value = read.send().await.unwrap().json().await.unwrap();
    assert_eq!(read["safeguards"]["claim"], on);

    let (_, answer) = demo.put(json!({"safeguard": "leases", "on": true})).await;
    assert_eq!(
        (&answer["on"], &answer["previous"]["on"]),
        (&json!(true), &json!(false))
    );
    assert!(Safeguard::Leases.is_on());
    assert_eq!(demo.gauge("leases").await.as_deref(), Some("0"));
}

#[tokio::test]
async fn what_is_off_comes_back_by_itself() {
    let demo = Demo::start(Common::for_tests("demo-7"), &[Safeguard::Shedding]).await;
    demo.put(json!({"safeguard": "shedding", "on": false, "seconds": 3_600}))
        .await;
    // The last word counts, also when it is shorter.
    let (_, answer) = demo
        .put(json!({"safeguard": "shedding", "on": false, "seconds": 1}))
        .await;
    assert_eq!(answer["previous"]["seconds_left"], 3_600);
    assert!(!Safeguard::Shedding.is_on());
    eventually("it is on again", || async { Safeguard::Shedding.is_on() }).await;
    assert_eq!(demo.info().await["safeguards_off"], json!([]));
}

#[tokio::test]
async fn a_read_only_lab_keeps_its_safeguards() {
    let common = Common {
        read_only: true,
        ..Common::for_tests("demo-7")
    };
    let demo = Demo::start(common, &[Safeguard::Inbox]).await;
    let (status, _) = demo.put(json!({"safeguard": "inbox", "on": false})).await;
    assert_eq!(status, 403);
    assert!(Safeguard::Inbox.is_on());
}

#[tokio::test]
async fn a_service_without_safeguards_says_so() {
    let demo = Demo::start(Common::for_tests("demo-7"), &[]).await;
    let (status, problem) = demo.put(json!({"safeguard": "claim", "on": false})).await;
    assert_eq!(status, 422);
    let detail = problem["detail"].as_str().expect("a detail");
    assert!(detail.contains("demo has no safeguard"), "{detail}");
}

#[tokio::test]
async fn a_process_may_be_started_without_one() {
    let common = Common {
        // The second one does not matter to this service.
        without_safeguard: vec![Safeguard::Fencing, Safeguard::RetryBudget],
        ..Common::for_tests("demo-7")
    };
    let demo = Demo::start(common, &[Safeguard::Fencing]).await;
    assert!(!Safeguard::Fencing.is_on() && Safeguard::RetryBudget.is_on());
    let info = demo.info().await;
    assert_eq!(info["safeguards_off"], json!(["fencing"]));
    assert_eq!(info["safeguards"]["fencing"]["seconds_left"], Value::Null);
}
