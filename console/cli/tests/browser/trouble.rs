//! What goes wrong is told in words, at its place, with the way on.

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::json;

use crate::{
    lab::{SLOW_READ, eventually, lab},
    page::Page,
};

/// A token that was good an hour ago, signed with the lab's own key.
fn expired_token() -> String {
    let now = chrono::Utc::now().timestamp();
    let claims = json!({"sub": "student1", "role": "user", "iss": "recarga", "aud": "recarga",
        "iat": now - 5_400, "exp": now - 3_600});
    let key = EncodingKey::from_secret(lab().secret("signing_key").as_bytes());
    jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &key).unwrap()
}

#[tokio::test]
async fn trouble_is_told_where_it_is() {
    let lab = lab();
    let Some(page) = Page::open(lab.url(), "/").await else {
        return;
    };

    // Who is not logged in is told so; who types nothing, too.
    page.click("#balance button").await;
    page.until_said("balance", "Log in first.").await;
    page.click("#login button").await;
    page.until("document.querySelector('#login .field-error')")
        .await;
    assert_eq!(page.focus().await, "password");
    page.fill("#login [name=password]", "wrong").await;
    page.click("#login button").await;
    page.until_said("login", "User or password is wrong.").await;

    // A token that ran out: the way back to where one was.
    let session =
        json!({"token": expired_token(), "username": "student1", "until": 4_102_444_800_000_i64});
    let keep = "sessionStorage.setItem('recarga.session', arguments[0])";
    page.script(keep, json!([session.to_string()])).await;
    page.go(&format!("{}/", lab.url())).await;
    page.until("document.body.dataset.session === 'in'").await;
    page.fill("#card-number", "13").await;
    page.click("#balance button").await;
    page.until_said("login", "Log in again to go on").await;
    assert_eq!(page.focus().await, "password");
    page.picture("page-expired").await;
    page.log_in().await;
    let back = "document.querySelector('#balance button') === document.activeElement";
    assert!(page.value(back).await == true, "{}", page.focus().await);

    // A bad value is told at its field.
    page.fill("#recharge [name=amount]", "1030").await;
    page.click("#recharge .fields button").await;
    page.until("document.querySelector('#recharge .field-error')")
        .await;
    let told = "(() => { const field = document.querySelector('#recharge [name=amount]'); \
        return [field === document.activeElement, field.getAttribute('aria-invalid'), \
        document.getElementById(field.getAttribute('aria-describedby')).textContent]; })()";
    let told = page.value(told).await;
    let words = told[2].as_str().unwrap();
    assert!(
        told[0] == true && told[1] == "true" && words.contains("1,000 to 200,000 pesos"),
        "{told}"
    );
    page.picture("page-bad-value").await;
    page.fill("#card-number", "999999999").await;
    page.click("#balance button").await;
    page.until_said("balance", "No such card.").await;

    // Nobody there to serve it, and then somebody.
    {
        let _others_wait = SLOW_READ.lock().await;
        lab.command("exercise", "/admin/drain").await;
        lab.slow_read_is(503).await;
        page.fill("#data [name=key]", "trouble").await;
        page.click("#data button").await;
        page.until_said("data", "It may be tried again in").await;
        page.until("document.querySelector('#data .retry').textContent.startsWith('Try again')")
            .await;
        page.picture("page-nobody-there").await;
        lab.command("exercise", "/admin/undrain").await;
        lab.slow_read_is(200).await;
        page.until("document.querySelector('#data .retry').ariaDisabled === 'false'")
            .await;
        page.click("#data .retry").await;
        page.until_said("data", "trouble").await;
    }

    // Offline.
    let network = |offline: bool| {
        let settings = json!({"offline": offline, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1});
        page.devtools("Network.emulateNetworkConditions", settings)
    };
    network(true).await;
    page.click("#users button").await;
    page.until_said("users", "This device is offline.").await;
    page.until("document.querySelector('#system').textContent === 'This device is offline'")
        .await;
    network(false).await;
    page.click("#users .retry").await;
    page.until_said("users", "counted just now").await;

    // Too many log-ins under one name.
    let name = format!("flood-{}", std::process::id());
    page.click("#logout").await;
    page.fill("#login [name=username]", &name).await;
    page.fill("#login [name=password]", "wrong").await;
    // One log-in a second is let through again: on a busy machine the page may be the one that gets it.
    eventually("the page is told to wait", || async {
        while lab.log_in(&name, "wrong").await.0 != 429 {}
        page.click("#login button").await;
        page.until("document.querySelector('#login').ariaBusy === 'false'")
            .await;
        let said = page.value("document.querySelector('#login .said').textContent");
        let said = said.await.as_str().unwrap().to_owned();
        said.starts_with("Too many requests. It may be tried again in")
    })
    .await;
    let retry = page.value("document.querySelector('#login .retry').textContent");
    assert!(retry.await.as_str().unwrap().starts_with("Try again"));
    page.leave(&[
        "the server responded with a status of 4",
        "status of 503",
        "net::ERR_INTERNET_DISCONNECTED",
    ])
    .await;
}
