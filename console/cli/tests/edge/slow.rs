//! A gateway that has become slow, and what part of the requests it gets.

use serde_json::json;

use crate::{
    lab::Lab,
    load::{Load, Tally, warm_up},
    operator::{Alone, Operator, alone, front, reading},
};

/// What the slow gateway adds to every request, in milliseconds.
const LATENCY_MS: u64 = 200;
/// Requests that make a window: enough that chance moves a share by a few percent only.
const WINDOW: u64 = 2_000;

/// A lab with clients, and one gateway that may become slow.
struct Scene {
    _alone: Alone,
    lab: Lab,
    operator: Operator,
    load: Load,
}

impl Scene {
    async fn start() -> Self {
        let alone = alone().await;
        let lab = Lab::start().await;
        let operator = Operator::of(&lab);
        let calls = reading(&operator.demo_token(&lab).await);
        operator.up(&lab, 3).await;
        warm_up(front(&lab), calls.clone()).await;
        let load = Load::start(front(&lab), calls);
        Self {
            _alone: alone,
            lab,
            operator,
            load,
        }
    }

    async fn slow_down(&self) {
        let faults = json!({"faults": [{"latency_ms": LATENCY_MS}]});
        self.operator
            .put(&self.lab, "gateway-1", "/admin/faults", &faults)
            .await;
    }

    /// What the next requests give.
    async fn window(&self) -> Tally {
        self.load.take();
        self.load.answers(WINDOW).await;
        let tally = self.load.take();
        assert_eq!(tally.failed, 0, "{:#?}", tally.failures);
        tally
    }
}

/// The part of the answers that the slow gateway gave.
fn share(tally: &Tally) -> f64 {
    let slow = tally.gateways.get("gateway-1").copied().unwrap_or(0);
    slow as f64 / tally.answered as f64
}

#[tokio::test]
async fn taking_turns_gives_a_slow_gateway_as_much_as_the_others() {
    let scene = Scene::start().await;
    let before = scene.window().await;
    scene.slow_down().await;
    let after = scene.window().await;
    println!(
        "share {:.2} and {:.2}, p99 {:?} and {:?}",
        share(&before),
        share(&after),
        before.quantile(0.99),
        after.quantile(0.99)
    );
    for tally in [&before, &after] {
        assert!((0.25..0.42).contains(&share(tally)), "{:?}", tally.gateways);
    }
    assert!(after.quantile(0.99).as_millis() >= u128::from(LATENCY_MS));
}

#[tokio::test]
async fn two_choices_leave_a_slow_gateway_little() {
    let scene = Scene::start().await;
    let p2c = json!({"policy": "p2c"});
    scene
        .operator
        .put(&scene.lab, "balancer-1", "/admin/policy", &p2c)
        .await;
    let before = scene.window().await;
    scene.slow_down().await;
    // Two seconds to find out.
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    let after = scene.window().await;
    println!(
        "share {:.2} and {:.2}, p99 {:?} and {:?}",
        share(&before),
        share(&after),
        before.quantile(0.99),
        after.quantile(0.99)
    );
    let third_of_fair = 1.0 / 9.0;
    assert!(share(&after) < third_of_fair, "{:?}", after.gateways);
    // What it still gets, to see whether it has recovered, is too little to be seen in the 99th percentile. On a busy machine
    // that may be high before, and then twice as high is no more than as it should be.
    let bound = (2 * before.quantile(0.99)).max(std::time::Duration::from_millis(LATENCY_MS));
    assert!(
        after.quantile(0.99) < bound,
        "p99 {:?} before, {:?} after",
        before.quantile(0.99),
        after.quantile(0.99)
    );
}
