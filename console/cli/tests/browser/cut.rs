//! A recharge of which the answer never came: whoever tries again is charged once.

use proof::wire::{Proxy, Toxics};
use serde_json::json;

use crate::{
    lab::{Lab, eventually, lab},
    page::Page,
};

const CARD: u32 = 12;
const NOT_KNOWN: &str = "It is not known whether this was booked";

/// Sends a recharge whose request arrives and whose answer does not, and waits until the page knows that it knows nothing.
async fn lose_the_answer(page: &Page, lab: &Lab, proxy: &Proxy, amount: i64) {
    page.fill("#recharge [name=amount]", &amount.to_string())
        .await;
    let swallow_down = true;
    proxy.set(Toxics {
        swallow_down,
        ..Toxics::default()
    });
    page.click("#recharge .fields button").await;
    eventually("the recharge is booked", || async {
        lab.recharges(CARD, amount).await == 1
    })
    .await;
    let cut = true;
    proxy.set(Toxics {
        cut,
        ..Toxics::default()
    });
    page.until_said("recharge", NOT_KNOWN).await;
    proxy.set(Toxics::default());
}

#[tokio::test]
async fn a_recharge_tried_again_after_a_cut_is_booked_once() {
    let lab = lab();
    let proxy = Proxy::start(lab.address(), 1).unwrap();
    let origin = format!("http://{}", proxy.address());
    let Some(page) = Page::open(&origin, "/").await else {
        return;
    };
    page.log_in().await;
    page.fill("#card-number", &CARD.to_string()).await;
    let before = lab.balance(CARD).await;

    lose_the_answer(&page, lab, &proxy, 8_150).await;
    let key = "document.querySelector('#key code').textContent";
    let first = page.value(key).await;
    page.picture("recharge-cut-off").await;
    page.click("#recharge .retry").await;
    page.until_said("recharge", "nothing was charged twice")
        .await;
    assert_eq!(page.value(key).await, first, "the same key");
    assert!(
        page.value("document.querySelector('#recharge .retry').hidden")
            .await
            == true
    );
    assert_eq!(lab.recharges(CARD, 8_150).await, 1);

    // The button itself is safe too: the same values are the same recharge until its answer came.
    lose_the_answer(&page, lab, &proxy, 8_200).await;
    page.click("#recharge .fields button").await;
    page.until_said("recharge", "nothing was charged twice")
        .await;

    // Even when the page was loaded again in between, and the token was lost, too.
    lose_the_answer(&page, lab, &proxy, 8_250).await;
    page.script("sessionStorage.removeItem('recarga.session')", json!([]))
        .await;
    page.go(&format!("{origin}/")).await;
    page.until_said("recharge", "a recharge of $8,250 for card 12 never came")
        .await;
    page.click("#recharge .retry").await;
    page.until_said("recharge", "Log in first.").await;
    page.log_in().await;
    page.click("#recharge .retry").await;
    page.until_said("recharge", "nothing was charged twice")
        .await;

    // Under another name the same key would be another recharge: it is not offered.
    page.click("#logout").await;
    page.fill("#login [name=username]", "student2").await;
    page.log_in().await;
    assert!(page.value("document.querySelector('#repeat').hidden").await == true);

    for amount in [8_150, 8_200, 8_250] {
        assert_eq!(lab.recharges(CARD, amount).await, 1, "{amount}");
    }
    assert_eq!(lab.balance(CARD).await, before + 8_150 + 8_200 + 8_250);
    page.leave(&["net::ERR_", "status of 401"]).await;
}
