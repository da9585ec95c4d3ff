//! `/docs` and `/redoc` in a browser, with no other host.

use crate::{audit::audit, lab::lab, page::Page};

#[tokio::test]
async fn a_call_can_be_tried_from_the_docs() {
    let lab = lab();
    let Some(page) = Page::open(lab.url(), "/docs").await else {
        return;
    };
    page.until("document.querySelectorAll('.opblock').length > 20")
        .await;
    page.fits("/docs").await;
    audit(&page, "/docs").await;

    // Everybody may ask for this one.
    let total = "#operations-Totals-get_trips_total";
    page.click(&format!("{total} .opblock-summary-control"))
        .await;
    page.until(&format!("document.querySelector('{total} .execute')"))
        .await;
    page.click(&format!("{total} .execute")).await;
    let answer = format!("document.querySelector('{total} .live-responses-table')?.innerText");
    page.until(&format!("{answer}?.includes('total_trips')"))
        .await;

    // For this one a token is needed; its example is in the field already.
    let (_, granted) = lab.log_in("student1", "password").await;
    page.click(".btn.authorize").await;
    page.until("document.querySelector('.auth-container input')")
        .await;
    page.click(".auth-container input").await;
    page.type_over(granted["access_token"].as_str().unwrap())
        .await;
    page.click(".auth-container .modal-btn.authorize").await;
    page.click(".auth-container .btn-done").await;
    let balance = "#operations-Cards-get_cards_id_balance";
    page.click(&format!("{balance} .opblock-summary-control"))
        .await;
    page.until(&format!("document.querySelector('{balance} .execute')"))
        .await;
    page.click(&format!("{balance} .execute")).await;
    let answer = format!("document.querySelector('{balance} .live-responses-table')?.innerText");
    page.until(&format!("{answer}?.includes('\"balance\"')"))
        .await;
    page.picture("docs").await;
    page.leave(&[]).await;
}

#[tokio::test]
async fn the_reference_is_drawn() {
    let Some(page) = Page::open(lab().url(), "/redoc").await else {
        return;
    };
    page.until("document.querySelector('#reference h1')").await;
    page.until("document.querySelectorAll('[data-section-id^=\"tag/\"]').length > 5")
        .await;
    audit(&page, "/redoc").await;
    page.picture("redoc").await;
    page.leave(&[]).await;
}
