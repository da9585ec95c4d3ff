//! Backups of real stores, and the ways they are restored or refused.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod place;

use std::{borrow::Cow, fs, path::Path, time::Duration};

use backup::{Error, Key, Made, Stores};
use place::{Place, Source};
use sha2::{Digest as _, Sha256};
use sqlx::{Connection as _, PgConnection, migrate::Migrator};
use tempfile::TempDir;

/// Every row as text, table by table; without ids of transactions, and without what is announced again.
async fn content(url: &str) -> Vec<(String, String)> {
    let mut connection = PgConnection::connect(url).await.unwrap();
    let tables: Vec<String> = sqlx::query_scalar(
        "select c.oid::regclass::text from pg_class c join pg_namespace n on n.oid = c.relnamespace
         where c.relkind = 'r' and c.relpersistence = 'p'
             and n.nspname in ('notification', 'travel', 'tutoring', 'worker') order by 1",
    )
    .fetch_all(&mut connection)
    .await
    .unwrap();
    assert!(tables.len() > 25, "{tables:?}");
    let mut all = Vec::new();
    for table in tables {
        let statement = format!(
            "select coalesce(md5(string_agg(row, '' order by row)), '') || ' ' || count(*) from (
                 select (to_jsonb(t) - 'xid' - 'state' - 'delivered_at')::text as row from {table} t) r"
        );
        let sum: String = sqlx::query_scalar(sqlx::AssertSqlSafe(statement))
            .fetch_one(&mut connection)
            .await
            .unwrap();
        all.push((table, sum));
    }
    all
}

async fn restored(
    made: &Made,
    key: Option<&Key>,
    place: &Place,
) -> backup::Result<backup::Restored> {
    backup::restore(&made.folder, key, &place.database, &place.queue, |_| ()).await
}

fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    files
}

fn key(folder: &Path, digit: &str) -> Key {
    let path = folder.join(format!("key-{digit}"));
    fs::write(&path, digit.repeat(64)).unwrap();
    Key::load(&path).unwrap()
}

#[tokio::test]
async fn what_was_backed_up_comes_back() {
    let (shelf, source) = (TempDir::new().unwrap(), Source::filled().await);
    let secret = key(shelf.path(), "a");
    let before = content(&source.place.database).await;
    for key in [None, Some(&secret)] {
        let made = backup::make(&source.stores(), shelf.path(), key)
            .await
            .unwrap();
        assert_eq!(
            backup::list(shelf.path()).unwrap().last(),
            Some(&made.folder)
        );
        let readable = fs::read(made.folder.join("travel.users.copy.gz")).is_ok();
        assert_eq!(readable, key.is_none());

        let place = Place::empty().await;
        let done = restored(&made, key, &place).await.unwrap();
        assert_eq!(done.manifest, made.manifest);
        assert_eq!(content(&place.database).await, before);
        assert_eq!(
            place.queue_content().await,
            source.place.queue_content().await
        );
        // One event was handed on just before the queue was read, one long before.
        assert_eq!(done.announced_again, 1);
        assert_eq!(place.outbox().await, ["delivered", "pending", "pending"]);
        place.goes_on_after(&source.place).await;
        place.remove().await;
    }
    source.place.remove().await;
}

#[tokio::test]
async fn a_flipped_byte_is_refused_and_nothing_is_touched() {
    let (shelf, source) = (TempDir::new().unwrap(), Source::small().await);
    let (secret, other) = (key(shelf.path(), "a"), key(shelf.path(), "b"));
    let place = Place::empty().await;
    for key in [None, Some(&secret)] {
        let made = backup::make(&source.stores(), shelf.path(), key)
            .await
            .unwrap();
        for file in files(&made.folder) {
            let good = fs::read(&file).unwrap();
            for at in [0, good.len() / 2, good.len() - 1] {
                let mut bad = good.clone();
                bad[at] ^= 4;
                fs::write(&file, &bad).unwrap();
                let refused = restored(&made, key, &place).await;
                assert!(refused.is_err(), "{}, byte {at}", file.display());
                assert!(place.is_untouched().await, "{}", file.display());
            }
            fs::write(&file, &good[..good.len() - 1]).unwrap();
            assert!(restored(&made, key, &place).await.is_err(), "cut off");
            fs::remove_file(&file).unwrap();
            assert!(restored(&made, key, &place).await.is_err(), "gone");
            fs::write(&file, &good).unwrap();
        }
        backup::check(&made.folder, key).unwrap();
        for (given, good) in [
            (None, key.is_none()),
            (Some(&secret), key.is_some()),
            (Some(&other), false),
        ] {
            assert_eq!(backup::check(&made.folder, given).is_ok(), good);
        }
    }
    place.remove().await;
    source.place.remove().await;
}

#[tokio::test]
async fn nothing_is_overwritten() {
    let (shelf, source) = (TempDir::new().unwrap(), Source::small().await);
    let made = backup::make(&source.stores(), shelf.path(), None)
        .await
        .unwrap();
    let (inhabited, empty) = (Source::small().await, Place::empty().await);
    let before = content(&inhabited.place.database).await;

    let mixed = |database: &Place, queue: &Place| Place {
        database: database.database.clone(),
        queue: queue.queue.clone(),
    };
    let refused = restored(&made, None, &mixed(&inhabited.place, &empty))
        .await
        .unwrap_err();
    assert!(
        refused.to_string().contains("the database is not empty"),
        "{refused}"
    );
    let refused = restored(&made, None, &mixed(&empty, &inhabited.place))
        .await
        .unwrap_err();
    assert!(
        refused.to_string().contains("Redis is not empty"),
        "{refused}"
    );
    assert!(empty.is_untouched().await);
    assert_eq!(content(&inhabited.place.database).await, before);
    for place in [source.place, inhabited.place, empty] {
        place.remove().await;
    }
}

#[tokio::test]
async fn a_restore_that_is_cut_off_leaves_room_for_another() {
    let (shelf, source) = (TempDir::new().unwrap(), Source::filled().await);
    let made = backup::make(&source.stores(), shelf.path(), None)
        .await
        .unwrap();
    let place = Place::empty().await;
    let mut cut = 0;
    for wait in [20, 100, 400, 1000, 2000] {
        let attempt =
            tokio::time::timeout(Duration::from_millis(wait), restored(&made, None, &place));
        match attempt.await {
            Err(_) => cut += 1,
            // Quicker than that: there is nothing left to cut off.
            Ok(done) => {
                done.unwrap();
                break;
            }
        }
        if place.queue_content().await.is_empty() {
            assert_eq!(place.people().await, 0);
            continue;
        }
        // Behind its commit, or while that is on its way: all of it is there, or the queue's part, which is put back first.
        assert_eq!(
            place.queue_content().await,
            source.place.queue_content().await
        );
        let committed = async {
            while place.people().await == 0 {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        if tokio::time::timeout(Duration::from_secs(2), committed)
            .await
            .is_err()
        {
            let again = restored(&made, None, &place).await.unwrap_err();
            assert!(again.to_string().contains("Redis is not empty"), "{again}");
            redis::cmd("FLUSHDB")
                .exec_async(&mut place.redis().await)
                .await
                .unwrap();
        }
        break;
    }
    assert!(cut > 0);
    if place.people().await == 0 {
        restored(&made, None, &place).await.unwrap();
    }
    assert_eq!(
        content(&place.database).await,
        content(&source.place.database).await
    );
    place.remove().await;
    source.place.remove().await;
}

#[tokio::test]
async fn a_backup_of_an_older_schema_is_brought_up_to_date() {
    let shelf = TempDir::new().unwrap();
    let all: Vec<_> = seed::MIGRATOR.iter().cloned().collect();
    let older = Migrator {
        migrations: Cow::Owned(all[..all.len() - 1].to_vec()),
        ..Migrator::DEFAULT
    };
    let old = Place::empty().await;
    let mut connection = PgConnection::connect(&old.database).await.unwrap();
    older.run(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    let stores = Stores {
        database_url: old.database.clone(),
        redis_urls: vec![old.queue.clone()],
    };
    let made = backup::make(&stores, shelf.path(), None).await.unwrap();
    assert_eq!(made.manifest.migrations.len(), all.len() - 1);

    // Into a new database, and into one that is as old; but not into one that is newer already.
    let (new, newer) = (Place::empty().await, Source::small().await.place);
    restored(&made, None, &new).await.unwrap();
    assert_eq!(new.migrations().await, all.len());
    let refused = Place {
        database: newer.database.clone(),
        queue: new.queue.clone(),
    };
    let refused = restored(&made, None, &refused).await.unwrap_err();
    assert!(
        refused.to_string().contains("newer than the backup's"),
        "{refused}"
    );

    // One that this version knows nothing of.
    let path = made.folder.join("manifest.json");
    let document: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    let mut manifest = document["manifest"].clone();
    manifest["migrations"][0]["version"] = 99_999.into();
    let sum = hex::encode(Sha256::digest(manifest.to_string()));
    fs::write(
        &path,
        format!(r#"{{"manifest": {manifest}, "sha256": "{sum}"}}"#),
    )
    .unwrap();
    let place = Place::empty().await;
    let refused = restored(&made, None, &place).await.unwrap_err();
    assert!(refused.to_string().contains("does not know"), "{refused}");
    for place in [old, new, newer, place] {
        place.remove().await;
    }
}

#[tokio::test]
async fn what_is_no_backup_is_told_so() {
    let folder = TempDir::new().unwrap();
    let told = |error: Error| error.to_string();
    let path = folder.path().join("manifest.json");
    assert!(told(backup::check(folder.path(), None).unwrap_err()).contains("is no backup"));
    for text in [
        "",
        "{}",
        "[1, 2]",
        "{\"manifest\": 7, \"sha256\": \"\"}",
        "\u{0}\u{1}",
    ] {
        fs::write(&path, text).unwrap();
        assert!(
            told(backup::check(folder.path(), None).unwrap_err()).contains("not what was written"),
            "{text}"
        );
    }
    fs::write(&path, r#"{"manifest": {"format": 2}, "sha256": ""}"#).unwrap();
    assert!(told(backup::check(folder.path(), None).unwrap_err()).contains("has format 2"));

    let place = Place::empty().await;
    let stores = Stores {
        database_url: place.database.clone(),
        redis_urls: Vec::new(),
    };
    let refused = backup::make(&stores, folder.path(), None)
        .await
        .unwrap_err();
    assert!(told(refused).contains("none of our schemas"));
    assert_eq!(
        backup::list(folder.path()).unwrap(),
        [] as [std::path::PathBuf; 0]
    );
    place.remove().await;
}
