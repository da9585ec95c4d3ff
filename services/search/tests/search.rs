//! The search service on real sockets and a real PostgreSQL.

use std::time::Duration;

use kit::{
    Common, DatabaseArgs, Listeners, Shutdown,
    config::Secret,
    testing::{eventually, free_address},
};
use serde_json::{Value, json};
use sqlx::{ConnectOptions, PgPool};

struct Lab {
    url: String,
    shutdown: Shutdown,
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.shutdown.request();
    }
}

impl Lab {
    async fn start(database_url: String) -> Self {
        let shutdown = Shutdown::new();
        let config = search::Config {
            common: Common::for_tests("search-1"),
            database: DatabaseArgs {
                database_url: Secret(database_url),
                database_direct_url: None,
                database_connections: 2,
            },
        };
        let listeners = Listeners::bind(&config.common).await.expect("free ports");
        let url = format!("http://{}", listeners.public.local_addr().expect("bound"));
        tokio::spawn(search::run(listeners, config, shutdown.clone()));
        Self { url, shutdown }
    }

    /// On a database with four tutors.
    async fn with_tutors(pool: &PgPool) -> Self {
        for statement in [
            "insert into tutoring.subjects (name) values ('Math'), ('Física')",
            "insert into tutoring.tutors (name, subject, rating) values
                 ('Laura', 'Math', 4.5), ('Pedro', 'Math', 4.8), ('Ana', 'Math', 4.5), ('Iván', 'Física', 5)",
        ] {
            sqlx::query(statement).execute(pool).await.expect(statement);
        }
        Self::start(pool.connect_options().to_url_lossy().to_string()).await
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        let response = reqwest::get(format!("{}{path}", self.url))
            .await
            .expect("an answer");
        let status = response.status().as_u16();
        (status, response.json().await.expect("JSON"))
    }
}

#[sqlx::test(migrations = "../../migrations")]
async fn the_best_rated_come_first(pool: PgPool) {
    let lab = Lab::with_tutors(&pool).await;
    let expected = json!({"data": [
        {"id": 2, "name": "Pedro", "subject": "Math", "rating": 4.8},
        {"id": 1, "name": "Laura", "subject": "Math", "rating": 4.5},
        {"id": 3, "name": "Ana", "subject": "Math", "rating": 4.5}]});
    for subject in ["Math", "math", "MATH", "%20Math%20"] {
        let (status, body) = lab.get(&format!("/search?subject={subject}")).await;
        assert_eq!((status, &body), (200, &expected), "{subject}");
    }
    let (status, body) = lab.get("/search?subject=f%C3%8Dsica&other=1").await;
    assert_eq!((status, &body["data"][0]["name"]), (200, &json!("Iván")));
}

#[sqlx::test(migrations = "../../migrations")]
async fn an_unknown_subject_has_no_tutors(pool: PgPool) {
    let lab = Lab::with_tutors(&pool).await;
    for subject in [
        "Alchemy",
        "Mat",
        "%25",
        "M_th",
        "%00",
        "Math%00",
        "'",
        &"x".repeat(5_000),
    ] {
        let (status, body) = lab.get(&format!("/search?subject={subject}")).await;
        assert_eq!((status, body), (200, json!({"data": []})), "{subject}");
    }
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_subject_is_needed(pool: PgPool) {
    let lab = Lab::with_tutors(&pool).await;
    for query in [
        "",
        "?",
        "?subject=",
        "?subject=%20",
        "?Subject=Math",
        "?subject=Math&subject=Music",
    ] {
        let (status, body) = lab.get(&format!("/search{query}")).await;
        assert_eq!(status, 422, "{query}: {body}");
        assert!(
            body["detail"]
                .as_str()
                .expect("a detail")
                .contains("subject"),
            "{query}: {body}"
        );
    }
    assert_eq!(lab.get("/searches").await.0, 404);
    let posted = reqwest::Client::new()
        .post(format!("{}/search?subject=Math", lab.url))
        .send()
        .await;
    assert_eq!(posted.expect("an answer").status(), 405);
}

#[sqlx::test(migrations = "../../migrations")]
async fn an_answer_tells_its_time_and_obeys_the_deadline(pool: PgPool) {
    let lab = Lab::with_tutors(&pool).await;
    let url = format!("{}/search?subject=Math", lab.url);
    let response = reqwest::get(&url).await.expect("an answer");
    let timing = response.headers()["server-timing"]
        .to_str()
        .expect("text")
        .to_owned();
    assert!(
        timing.contains("search;dur=") && timing.contains("pg;dur="),
        "{timing}"
    );

    let mut holder = pool.begin().await.expect("a transaction");
    sqlx::query("lock table tutoring.tutors in access exclusive mode")
        .execute(&mut *holder)
        .await
        .expect("the lock");
    let request = reqwest::Client::new()
        .get(&url)
        .header("x-recarga-deadline-ms", "200");
    assert_eq!(request.send().await.expect("an answer").status(), 504);
    holder.rollback().await.expect("released");
}

#[tokio::test]
async fn without_a_database_it_is_unavailable() {
    let address = free_address();
    let lab = Lab::start(format!("postgres://nobody@{address}/nothing")).await;
    eventually("it fails fast", async || {
        let started = std::time::Instant::now();
        let (status, body) = lab.get("/search?subject=Math").await;
        assert_eq!(status, 503, "{body}");
        started.elapsed() < Duration::from_secs(1)
    })
    .await;
    assert_eq!(lab.get("/search").await.0, 422);
}

#[test]
fn the_call_is_described() {
    let described = serde_json::to_value(search::openapi()).expect("JSON");
    let call = &described["paths"]["/search"]["get"];
    assert_eq!(call["parameters"][0]["name"], "subject");
    assert!(call["responses"]["200"]["content"]["application/json"]["example"].is_object());
}
