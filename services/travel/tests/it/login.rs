//! `POST /internal/login`.

use argon2::{Argon2, password_hash::PasswordHasher};
use serde_json::json;
use sqlx::PgPool;

use crate::support::Lab;

#[sqlx::test(migrations = "../../migrations")]
async fn only_the_right_password_signs_in(pool: PgPool) {
    let lab = Lab::start(pool).await;
    let hash = Argon2::default()
        .hash_password(b"password")
        .expect("a hash")
        .to_string();
    sqlx::query("insert into travel.credentials values (1, $1, 'user'), (3, '!', 'operator')")
        .bind(hash)
        .execute(&lab.pool)
        .await
        .expect("credentials");
    let login = async |username: &str, password: &str| {
        lab.post(
            "/internal/login",
            json!({"username": username, "password": password}),
        )
        .await
    };
    let right = login("student1", "password").await;
    assert_eq!(right.status, 200, "{right:?}");
    assert_eq!(
        right.body,
        json!({"user_id": 1, "username": "student1", "role": "user"})
    );
    for (username, password) in [
        ("student1", "Password"),
        ("student1", ""),
        ("STUDENT1", "password"),
        ("operator", "!"),
        ("operator", ""),
        ("student2", "password"),
        ("nobody", "password"),
        ("", ""),
        ("student1\0", "password"),
        ("student1", "password\0"),
        ("student1", &"x".repeat(100_000)),
    ] {
        login(username, password)
            .await
            .refused(401, "Incorrect username or password");
    }
    lab.post("/internal/login", json!({"username": "student1"}))
        .await
        .refused(422, "password");
    lab.post("/internal/login", json!({"username": 1, "password": "x"}))
        .await
        .refused(422, "username");
    assert_eq!(lab.get("/internal/login").await.status, 405);
}
