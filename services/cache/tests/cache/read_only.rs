//! A lab that is only to be looked at.

use crate::support::{Cache, config};

#[tokio::test]
async fn nothing_is_flushed_in_a_read_only_lab() {
    let mut config = config("cache-1", &kit::testing::redis_url().await);
    config.common.read_only = true;
    let cache = Cache::start_with(config).await;
    let stored = cache.post("/cache/a", r#"{"value": 1}"#).await;
    assert_eq!(stored.status, 200, "what clients do stays");
    for refused in [
        cache.delete("/cache/a").await,
        cache.delete("/cache?prefix=a").await,
        cache.post("/cache/flush", "").await,
    ] {
        assert_eq!(refused.status, 403, "{refused:?}");
        assert_eq!(refused.json()["read_only"], true);
        let why = refused.json()["detail"].to_string();
        assert!(why.contains("--read-only"), "{why}");
    }
    assert_eq!(cache.get("/cache/a").await.status, 200, "it is still there");
    let counted = cache.delete("/cache?prefix=a&dry_run=true").await;
    assert_eq!(counted.json()["count"], 1);
    // What services promise each other is no lever.
    let told = cache.post("/invalidate", r#"{"keys": ["a"]}"#).await;
    assert!(told.status.is_success(), "{told:?}");
    cache.stop().await;
}
