//! A gateway that is killed takes no request that may be repeated with it.

use rustix::process::Signal;

use crate::{
    lab::{Lab, signal},
    load::{Load, warm_up},
    operator::{Operator, alone, front, reading},
};

/// Requests before a death, and after a return.
const CALM: u64 = 300;

#[tokio::test]
async fn no_read_fails_when_gateways_are_killed() {
    let _alone = alone().await;
    let lab = Lab::start().await;
    let operator = Operator::of(&lab);
    let calls = reading(&operator.demo_token(&lab).await);
    warm_up(front(&lab), calls.clone()).await;
    let load = Load::start(front(&lab), calls);
    for name in ["gateway-2", "gateway-1", "gateway-3"] {
        operator.up(&lab, 3).await;
        load.answers(CALM).await;
        let before = lab.instance(name).unwrap();
        signal(before.pid.unwrap(), Signal::KILL);
        lab.back(name, before.restarts).await;
        let tally = load.take();
        assert_eq!(tally.failed, 0, "{name}: {:#?}", tally.failures);
        println!(
            "{name} was killed: {} answers, none failed, p99 {:?}",
            tally.answered,
            tally.quantile(0.99)
        );
    }
    operator.up(&lab, 3).await;
    load.answers(CALM).await;
    let tally = load.stop().await;
    assert_eq!(tally.failed, 0, "{:#?}", tally.failures);
    assert_eq!(
        tally.gateways.len(),
        3,
        "all serve again: {:?}",
        tally.gateways
    );
}
