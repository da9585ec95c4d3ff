//! `/token`, and what becomes of good and bad tokens.

use jsonwebtoken::Algorithm;
use reqwest::Method;
use serde_json::{Value, json};

use crate::api::{Api, send};
use crate::forge;
use crate::lab::lab;

async fn form(api: &Api, fields: &[(&str, &str)]) -> crate::api::Answer {
    send(api.request(Method::POST, "/token").form(fields)).await
}

#[tokio::test]
async fn the_seeded_users_sign_in() {
    let api = Api::anonymous();
    for username in ["student1", "student2"] {
        let answer = form(&api, &[("username", username), ("password", "password")])
            .await
            .expect(200);
        assert_eq!(answer.text("token_type"), "bearer");
        assert_eq!(answer.int("expires_in"), 1800);
        assert_eq!(forge::claims(answer.text("access_token"))["sub"], username);
    }
}

#[tokio::test]
async fn the_operator_signs_in_with_the_generated_password() {
    let token = Api::anonymous()
        .sign_in("operator", lab().secret("operator_password"))
        .await;
    assert_eq!(forge::claims(&token)["role"], "operator");
}

#[tokio::test]
async fn a_wrong_password_and_an_unknown_user_look_the_same() {
    let api = Api::anonymous();
    for (username, password) in [
        ("student2", "wrong"),
        ("nobody-at-all", "password"),
        ("operator", "password"),
    ] {
        let answer = form(&api, &[("username", username), ("password", password)])
            .await
            .problem(401);
        assert_eq!(answer.text("detail"), "Incorrect username or password");
    }
}

#[tokio::test]
async fn a_sign_in_with_a_field_missing_names_it() {
    let api = Api::anonymous();
    form(&api, &[("username", "student1")])
        .await
        .names("password");
    form(&api, &[("password", "password")])
        .await
        .names("username");
    form(&api, &[]).await.problem(422);
}

#[tokio::test]
async fn a_huge_sign_in_is_refused() {
    let huge = "x".repeat(1_200_000);
    form(
        &Api::anonymous(),
        &[("username", "student1"), ("password", &huge)],
    )
    .await
    .problem(413);
}

#[tokio::test]
async fn the_demo_token_is_a_users() {
    let api = Api::anonymous();
    let answer = api.get("/token").await.expect(200);
    let token = answer.text("token");
    assert_eq!(forge::claims(token)["role"], "user");
    api.with_token(token)
        .get("/cards/1/balance")
        .await
        .expect(200);
}

#[tokio::test]
async fn the_bare_token_of_older_clients_passes() {
    let user = Api::user().await;
    let request = Api::anonymous()
        .request(Method::GET, "/cards/1/balance")
        .header("Authorization", user.token());
    send(request).await.expect(200);
}

#[tokio::test]
async fn user_calls_need_a_token() {
    let api = Api::anonymous();
    for path in [
        "/search?subject=Math",
        "/bookings/1",
        "/cards/1/balance",
        "/cards/1/history",
        "/users/1/recharges",
    ] {
        let answer = api.get(path).await.problem(401);
        assert!(answer.header("www-authenticate").is_some(), "{answer}");
    }
    for path in ["/book", "/recharges", "/trips", "/trips/1/end"] {
        api.post(path, json!({})).await.problem(401);
    }
}

/// Claims like a real token's, with changes; a null takes a claim away.
async fn claims_with(changes: Value) -> Value {
    let mut claims = forge::claims(Api::user().await.token());
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => claims.as_object_mut().unwrap().remove(name),
            value => claims
                .as_object_mut()
                .unwrap()
                .insert(name.clone(), value.clone()),
        };
    }
    claims
}

#[tokio::test]
async fn bad_tokens_are_refused_even_where_none_is_needed() {
    let now = chrono::Utc::now().timestamp();
    let whole = claims_with(json!({})).await;
    let control = forge::signed(Algorithm::HS256, &whole);
    Api::anonymous()
        .with_token(&control)
        .get("/cards/1/balance")
        .await
        .expect(200);

    let genuine = Api::user().await.token().to_owned();
    let (head, signature) = genuine.rsplit_once('.').unwrap();
    let turned: String = signature.chars().rev().collect();
    let bad = [
        (
            "expired",
            forge::signed(
                Algorithm::HS256,
                &claims_with(json!({"exp": now - 3600})).await,
            ),
        ),
        ("another algorithm", forge::signed(Algorithm::HS512, &whole)),
        ("a third algorithm", forge::signed(Algorithm::HS384, &whole)),
        ("no algorithm", forge::unsigned(&whole)),
        (
            "no expiry",
            forge::signed(Algorithm::HS256, &claims_with(json!({"exp": null})).await),
        ),
        (
            "expiry as text",
            forge::signed(
                Algorithm::HS256,
                &claims_with(json!({"exp": (now + 600).to_string()})).await,
            ),
        ),
        (
            "expiry as a list",
            forge::signed(
                Algorithm::HS256,
                &claims_with(json!({"exp": [now + 600]})).await,
            ),
        ),
        (
            "no subject",
            forge::signed(Algorithm::HS256, &claims_with(json!({"sub": null})).await),
        ),
        (
            "subject as number",
            forge::signed(Algorithm::HS256, &claims_with(json!({"sub": 1})).await),
        ),
        (
            "unknown role",
            forge::signed(
                Algorithm::HS256,
                &claims_with(json!({"role": "emperor"})).await,
            ),
        ),
        ("another signature", format!("{head}.{turned}")),
        ("no signature", format!("{head}.")),
        ("garbage", "garbage".to_owned()),
        ("three parts of garbage", "a.b.c".to_owned()),
        ("very long", "x".repeat(6000)),
    ];
    for (what, token) in bad {
        let api = Api::anonymous().with_token(&token);
        for path in ["/cards/1/balance", "/data", "/trips/total"] {
            let answer = api.get(path).await;
            assert_eq!(answer.status, 401, "{what} on {path}: {answer}");
            answer.problem(401);
        }
    }
}

#[tokio::test]
async fn odd_authorization_headers_are_refused() {
    for value in [
        "Basic c3R1ZGVudDE6cGFzc3dvcmQ=",
        "Bearer",
        "Bearer  ",
        "bearer a b c",
    ] {
        let request = Api::anonymous()
            .request(Method::GET, "/cards/1/balance")
            .header("Authorization", value);
        send(request).await.problem(401);
    }
}

#[tokio::test]
async fn identity_cannot_be_claimed_by_header() {
    let request = Api::anonymous()
        .request(Method::GET, "/cards/1/balance")
        .header("X-Recarga-User", "operator")
        .header("X-Recarga-Role", "operator");
    send(request).await.problem(401);
}
