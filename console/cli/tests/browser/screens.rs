//! The page on every screen, light and dark: nothing sticks out, and an audit finds nothing serious.

use crate::{
    audit::audit,
    lab::{SLOW_READ, lab},
    page::Page,
};

#[tokio::test]
async fn it_fits_every_screen_and_everybody_can_use_it() {
    let lab = lab();
    let Some(page) = Page::open(lab.url(), "/").await else {
        return;
    };
    page.until("document.querySelectorAll('#gateways li').length === 3")
        .await;
    page.picture("page-logged-out").await;
    audit(&page, "logged out").await;

    page.log_in().await;
    page.fill("#card-number", "14").await;
    page.click(".legend summary").await;
    for (button, form, words) in [
        ("#balance button", "balance", "has $"),
        ("#recharge .fields button", "recharge", "which now has"),
        ("#repeat", "recharge", "nothing was charged twice"),
        ("#history .fields button", "history", "the newest first"),
        ("#search .fields button", "search", "best rated"),
        ("#book .fields button", "book", "was sent"),
        ("#arrivals .fields button", "arrivals", "Next at"),
        ("#vehicles button", "ride", "On board"),
        ("#revenue button", "revenue", "Exactly"),
        ("#total button", "total", "Exactly"),
        ("#users button", "users", "Exactly"),
        ("#localities button", "localities", "comes first"),
    ] {
        page.click(button).await;
        page.until_said(form, words).await;
    }
    {
        let _others_wait = SLOW_READ.lock().await;
        page.click("#data button").await;
        page.until_said("data", "by gateway").await;
    }
    // An error to look at, too.
    page.fill("#recharge [name=amount]", "1").await;
    page.click("#recharge .fields button").await;
    page.until("document.querySelector('.field-error')").await;
    page.click("#answers summary").await;

    for scheme in ["light", "dark"] {
        page.scheme(scheme).await;
        for width in [320, 360, 768, 1440] {
            page.resize(width).await;
            page.fits(&format!("{width} pixels, {scheme}")).await;
            if width != 320 {
                page.picture(&format!("page-{width}-{scheme}")).await;
            }
            if width == 360 || width == 1440 {
                audit(&page, &format!("logged in, {width} pixels, {scheme}")).await;
            }
        }
    }
    page.leave(&["status of 422"]).await;
}
