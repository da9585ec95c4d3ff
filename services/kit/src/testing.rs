//! Help for tests on real stores: where they are, and a corner of them for each test.

/// A Redis URL whose logical database no other test uses.
///
/// # Panics
/// When `RECARGA_TEST_REDIS_URL` is not set or its server does not answer: `cargo recarga test` provides it.
pub async fn redis_url() -> String {
    let base = std::env::var("RECARGA_TEST_REDIS_URL")
        .expect("RECARGA_TEST_REDIS_URL is not set: run the tests with `cargo recarga test`");
    let client = redis::Client::open(base.as_str()).expect("RECARGA_TEST_REDIS_URL is a Redis URL");
    let mut connection = client
        .get_multiplexed_async_connection()
        .await
        .expect("the test Redis answers");
    let number: i64 = redis::cmd("INCR")
        .arg("recarga:test:databases")
        .query_async(&mut connection)
        .await
        .expect("the test Redis counts");
    // Database 0 holds the counter; the test server is started with 20,000 databases.
    let url = format!("{}/{}", base.trim_end_matches('/'), 1 + number % 19_998);
    let client = redis::Client::open(url.as_str()).expect("a Redis URL");
    let mut connection = client
        .get_multiplexed_async_connection()
        .await
        .expect("the test Redis answers");
    redis::cmd("FLUSHDB")
        .query_async::<()>(&mut connection)
        .await
        .expect("the test database is emptied");
    url
}

/// Waits until `condition` holds.
///
/// # Panics
/// When it does not within ten seconds; `what` says what was waited for.
pub async fn eventually<F: Future<Output = bool>>(what: &str, mut condition: impl FnMut() -> F) {
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(10);
    while !condition().await {
        assert!(
            tokio::time::Instant::now() < deadline,
            "waited ten seconds in vain: {what}"
        );
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}
