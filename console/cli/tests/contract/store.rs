//! The cache service on its own port.

use serde_json::json;

use crate::api::Api;
use crate::lab::{eventually, lab};

#[tokio::test]
async fn a_value_is_set_read_and_deleted() {
    let _calm = lab().calm().await;
    let (cache, key) = (Api::cache(), lab().own_name("value"));
    let path = format!("/cache/{key}");
    let miss = cache.get(&path).await.expect(404);
    assert!(
        miss.body["value"].is_null() && miss.body["detail"].is_string(),
        "{miss}"
    );
    for value in [
        json!("text"),
        json!(7),
        json!({"a": [1, null]}),
        json!(false),
        json!(""),
    ] {
        let set = cache.post(&path, json!({"value": value})).await.expect(200);
        assert_eq!(set.body["status"], "ok", "{set}");
        assert_eq!(cache.get(&path).await.expect(200).body["value"], value);
    }
    assert_eq!(
        cache.delete(&path).await.expect(200).body["status"],
        "deleted"
    );
    assert_eq!(
        cache.delete(&path).await.expect(404).body["error"],
        "Key not found"
    );
}

#[tokio::test]
async fn the_older_paths_do_the_same() {
    let _calm = lab().calm().await;
    let (cache, key) = (Api::cache(), lab().own_name("older"));
    cache
        .post(&format!("/set/{key}"), json!({"value": 1}))
        .await
        .expect(200);
    assert_eq!(
        cache.get(&format!("/get/{key}")).await.expect(200).body["value"],
        1
    );
    assert_eq!(
        cache.get(&format!("/cache/{key}")).await.expect(200).body["value"],
        1
    );
}

#[tokio::test]
async fn wrong_sets() {
    let (cache, key) = (Api::cache(), lab().own_name("wrong"));
    let path = format!("/cache/{key}");
    assert_eq!(
        cache.post(&path, json!({})).await.expect(400).body["error"],
        "No value provided"
    );
    assert_eq!(
        cache.post(&path, json!({"ttl": 5})).await.expect(400).body["error"],
        "No value provided"
    );
    cache
        .post_raw(&path, "application/json", "{\"value\":")
        .await
        .problem(400);
    for ttl in [json!("soon"), json!(-1), json!(0)] {
        cache
            .post(&path, json!({"value": 1, "ttl": ttl}))
            .await
            .names("ttl");
    }
    let huge = json!({"value": "x".repeat(1_200_000)});
    cache.post(&path, huge).await.problem(413);
    assert_eq!(cache.get(&path).await.status, 404, "none of them was kept");
}

#[tokio::test]
async fn a_value_expires() {
    let (cache, key) = (Api::cache(), lab().own_name("brief"));
    let path = format!("/cache/{key}");
    cache
        .post(&path, json!({"value": 1, "ttl": "1"}))
        .await
        .expect(200);
    eventually(
        std::time::Duration::from_secs(5),
        "the value expires",
        || async { (cache.get(&path).await.status == 404).then_some(()) },
    )
    .await;
}

#[tokio::test]
async fn a_prefix_is_deleted_and_nothing_else() {
    let _calm = lab().calm().await;
    let (cache, prefix) = (Api::cache(), lab().own_name("prefix"));
    let outside = lab().own_name("outside");
    for key in 0..5 {
        cache
            .post(&format!("/cache/{prefix}:{key}"), json!({"value": key}))
            .await
            .expect(200);
    }
    // A pattern's letters are plain letters here.
    cache
        .post(&format!("/cache/{outside}"), json!({"value": 1}))
        .await
        .expect(200);
    assert_eq!(
        cache
            .delete(&format!("/cache?prefix={prefix}*"))
            .await
            .expect(200)
            .int("count"),
        0
    );
    let deleted = cache
        .delete(&format!("/cache?prefix={prefix}:"))
        .await
        .expect(200);
    assert_eq!(
        (deleted.text("status"), deleted.int("count")),
        ("deleted", 5)
    );
    assert_eq!(cache.get(&format!("/cache/{prefix}:0")).await.status, 404);
    cache.get(&format!("/cache/{outside}")).await.expect(200);
    let without = cache.delete("/cache").await;
    assert!(matches!(without.status, 400 | 422), "{without}");
}

#[tokio::test]
async fn statistics_count() {
    let _calm = lab().calm().await;
    let (cache, key) = (Api::cache(), lab().own_name("counted"));
    let before = cache.get("/cache/stats").await.expect(200);
    cache.get(&format!("/cache/{key}")).await.expect(404);
    cache
        .post(&format!("/cache/{key}"), json!({"value": 1, "ttl": 120}))
        .await
        .expect(200);
    cache.get(&format!("/cache/{key}")).await.expect(200);
    let after = cache.get("/cache/stats").await.expect(200);
    assert!(after.int("hits") > before.int("hits"), "{after}");
    assert!(after.int("misses") > before.int("misses"), "{after}");
    assert!(
        after.int("size") >= 1 && after.int("bytes") > 0 && after.int("ttl") > 0,
        "{after}"
    );
    assert!(
        after.body["hit_ratio"]
            .as_f64()
            .is_some_and(|ratio| (0.0..=1.0).contains(&ratio)),
        "{after}"
    );
    assert!(after.body["evictions"].is_u64(), "{after}");
    assert!(
        after.body["items"].is_array() && after.body["ttl_remaining"].is_object(),
        "{after}"
    );
}

#[tokio::test]
async fn deleting_a_key_reaches_the_public_read() {
    let _calm = lab().calm().await;
    let (api, cache, key) = (Api::anonymous(), Api::cache(), lab().own_name("shared"));
    let path = format!("/data?key={key}");
    let data = api.get(&path).await.expect(200).text("data").to_owned();
    assert_eq!(
        cache.get(&format!("/cache/{key}")).await.expect(200).body["value"],
        data.as_str()
    );
    cache.delete(&format!("/cache/{key}")).await.expect(200);
    assert_eq!(api.get(&path).await.header("x-cache"), Some("MISS"));
}

#[tokio::test]
async fn a_flush_empties_all() {
    let _alone = lab().alone().await;
    let (cache, key) = (Api::cache(), lab().own_name("flushed"));
    for number in 0..3 {
        cache
            .post(&format!("/cache/{key}-{number}"), json!({"value": 1}))
            .await
            .expect(200);
    }
    let flushed = cache.post("/cache/flush", json!({})).await.expect(200);
    assert_eq!(flushed.text("status"), "flushed");
    assert!(flushed.int("count") >= 3, "{flushed}");
    assert_eq!(cache.get(&format!("/cache/{key}-1")).await.status, 404);
}
