//! Every flow of the page, by keyboard alone.

use serde_json::json;

use crate::{
    driver::ENTER,
    lab::{SLOW_READ, lab},
    page::Page,
};

const CARD: u32 = 11;
const AMOUNT: i64 = 7_350;

#[tokio::test]
async fn everything_can_be_done_by_keyboard() {
    let lab = lab();
    let Some(page) = Page::open(lab.url(), "/").await else {
        return;
    };
    page.until("document.querySelectorAll('#gateways [data-up=true]').length === 3")
        .await;

    // Past the top, then in.
    page.press_at(".skip").await;
    assert_eq!(page.focus().await, "main");
    page.type_at("#login [name=password]", "password").await;
    page.press(&[ENTER]).await;
    page.until("document.body.dataset.session === 'in'").await;
    assert_eq!(page.focus().await, "card-title", "the focus goes on");
    let who = page.value("document.querySelector('#who').textContent");
    assert_eq!(who.await, "Logged in as student1");

    // Without a copy, then with one.
    page.type_at("#card-number", &CARD.to_string()).await;
    page.press_at("#balance button").await;
    page.until_said("balance", "Card 11 has $").await;
    assert_eq!(page.cache_badge("balance").await, "MISS");
    let hops =
        "[...document.querySelectorAll('#balance .waterfall .hop')].map((hop) => hop.textContent)";
    let hops = page.value(hops).await;
    for hop in [
        "browser",
        "balancer",
        "gateway",
        "cache",
        "travel",
        "PostgreSQL",
    ] {
        assert!(
            hops.as_array().unwrap().contains(&json!(hop)),
            "{hop}: {hops}"
        );
    }
    page.press(&[ENTER]).await;
    page.until("document.querySelector('#balance .way [data-cache=HIT]')")
        .await;
    let gateway = "document.querySelector('#balance .way [data-gateway]').textContent";
    let gateway = page.value(gateway).await;
    assert!(gateway.as_str().unwrap().contains("gateway-"), "{gateway}");

    // A recharge, and the same once more.
    let before = lab.balance(CARD).await;
    page.type_at("#recharge [name=amount]", &AMOUNT.to_string())
        .await;
    page.press_at("#recharge .fields button").await;
    page.until_said("recharge", "$7,350 for card 11").await;
    page.press_at("#repeat").await;
    page.until_said("recharge", "nothing was charged twice")
        .await;
    assert_eq!(page.focus().await, "repeat", "the focus stays");
    assert_eq!(lab.balance(CARD).await, before + AMOUNT);
    assert_eq!(lab.recharges(CARD, AMOUNT).await, 1);

    // What happened on the card, and before that.
    page.press_at("#history .fields button").await;
    page.until("document.querySelectorAll('#movements li').length === 5")
        .await;
    let newest = page.value("document.querySelector('#movements li').innerText");
    let newest = newest.await.as_str().unwrap().to_owned();
    assert!(
        newest.contains("+$7,350") && newest.contains("just now"),
        "{newest}"
    );
    page.press_at("#older").await;
    page.until("document.querySelectorAll('#movements li').length > 5")
        .await;

    // A tutor, a session, its notification.
    page.press_at("#search .fields button").await;
    page.until_said("search", "for Math, the best rated first")
        .await;
    page.press_at("#found button").await;
    page.until_said("book", "The notification was sent").await;
    page.until("document.querySelector('#steps [data-step=sent]').dataset.state === 'done'")
        .await;
    let booking =
        page.value(r"/Booking (\d+)/.exec(document.querySelector('#book .said').textContent)[1]");
    let booking = booking.await.as_str().unwrap().to_owned();
    let booking = lab.read(&format!("/bookings/{booking}")).await;
    assert_eq!(booking["notification"]["state"], "sent", "{booking}");

    // On board and off again.
    page.press_at("#arrivals .fields button").await;
    page.until_said("arrivals", "Next at ").await;
    page.press_at("#vehicles button").await;
    page.until_said("ride", "On board with card 11").await;
    page.press_at("#ride > button").await;
    page.until_said("ride", "is over").await;

    // The city.
    for (form, words) in [
        ("revenue", "Exactly $"),
        ("total", "trips."),
        ("users", "counted just now"),
        ("localities", "comes first with $"),
    ] {
        page.press_at(&format!("#{form} button:not([type=button])"))
            .await;
        page.until_said(form, words).await;
    }
    assert_eq!(page.cache_badge("users").await, "BYPASS");
    {
        let _others_wait = SLOW_READ.lock().await;
        page.type_at("#data [name=key]", "by_keyboard").await;
        page.press(&[ENTER]).await;
        page.until_said("data", "by_keyboard").await;
        assert_eq!(page.cache_badge("data").await, "MISS");
        page.press(&[ENTER]).await;
        page.until("document.querySelector('#data .way [data-cache=HIT]')")
            .await;
    }

    // One of the answers, opened in the list of all.
    page.press_at("#answers summary").await;
    page.until("document.querySelector('#answers details').open")
        .await;
    let listed = page
        .value("document.querySelectorAll('#answers > li').length")
        .await;
    assert!(listed.as_u64().unwrap() >= 15, "{listed}");
    let gateways = page.value("document.querySelectorAll('#by-gateway li').length");
    assert_eq!(gateways.await, 3, "three gateways share the work");
    page.picture("page-visited").await;

    // And out.
    page.press_at("#logout").await;
    page.until("document.body.dataset.session === 'out'").await;
    assert_eq!(page.focus().await, "password");
    page.leave(&[]).await;
}
