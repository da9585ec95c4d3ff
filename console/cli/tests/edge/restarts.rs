//! All gateways are restarted, one after the other, and neither a read nor a write fails.

use serde_json::{Value, json};

use crate::{
    lab::Lab,
    load::{Call, Load, warm_up},
    operator::{Operator, alone, front, reads},
};

/// Every so many requests is a write.
const WRITE_EVERY: u64 = 4;
/// Cards that are written to: more than clients, which would wait for each other's locks otherwise.
const CARDS: u64 = 50;
const AMOUNT: i64 = 1_000;
/// Requests before the first restart, and after the last.
const CALM: u64 = 300;

#[tokio::test]
async fn nothing_fails_while_all_gateways_are_restarted() {
    let _alone = alone().await;
    let lab = Lab::start().await;
    let token = Operator::of(&lab).demo_token(&lab).await;
    let others = CARDS + 1;
    warm_up(front(&lab), calls(&token, others, "warm")).await;

    let before = balances(&lab, &token).await;
    let load = Load::start(front(&lab), calls(&token, 1, "edge"));
    load.answers(CALM).await;
    let restarted = lab.recarga(&["restart", "gateway"]).await;
    let words = String::from_utf8_lossy(&restarted.stdout);
    assert!(restarted.status.success(), "{words}");
    assert_eq!(words.lines().count(), 3, "{words}");
    load.answers(CALM).await;
    let tally = load.stop().await;
    assert_eq!(tally.failed, 0, "{:#?}", tally.failures);
    println!(
        "{} answers, none failed, p99 {:?}\n{words}",
        tally.answered,
        tally.quantile(0.99)
    );

    // Each write was done, and done once.
    let after = balances(&lab, &token).await;
    assert_eq!(
        after - before,
        AMOUNT * i64::try_from(tally.created).unwrap()
    );
}

/// Reads, and recharges of the cards from `first`.
fn calls(token: &str, first: u64, key: &'static str) -> impl Fn(u64) -> Call + Send + Sync + use<> {
    let reads = reads(token);
    let bearer = format!("Bearer {token}");
    move |number| {
        if number.is_multiple_of(WRITE_EVERY) {
            let card = first + (number / WRITE_EVERY) % CARDS;
            Call::post("/recharges", &json!({"card_id": card, "amount": AMOUNT}))
                .header("Authorization", &bearer)
                .header("Idempotency-Key", &format!("{key}-{number}"))
        } else {
            reads[number as usize % reads.len()].clone()
        }
    }
}

/// The money on all cards that are written to.
async fn balances(lab: &Lab, token: &str) -> i64 {
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let mut sum = 0;
    for card in 1..=CARDS {
        let url = format!("{}/cards/{card}/balance", lab.topology().public_url);
        let answer = http.get(url).bearer_auth(token).send().await.unwrap();
        let answer: Value = answer.json().await.unwrap();
        sum += answer["balance"].as_i64().unwrap();
    }
    sum
}
