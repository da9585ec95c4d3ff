//! Backups in a bucket, over HTTP to an S3 server on a folder.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on says so by panicking"
)]

use std::{
    fs,
    path::{Path, PathBuf},
};

use backup::{Bucket, Name, Place};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use s3s::{auth::SimpleAuth, service::S3ServiceBuilder};
use tempfile::TempDir;

const SECRET: &str = "only-for-this-test";

/// A server with one bucket, `lab`.
struct Server {
    root: TempDir,
    url: String,
}

impl Server {
    async fn start() -> Self {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("lab")).unwrap();
        let mut builder = S3ServiceBuilder::new(s3s_fs::FileSystem::new(root.path()).unwrap());
        builder.set_auth(SimpleAuth::from_single("recarga", SECRET));
        let service = builder.build();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let service = service.clone();
                tokio::spawn(async move {
                    let connections = auto::Builder::new(TokioExecutor::new());
                    let _ = connections
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Self { root, url }
    }

    fn bucket(&self, place: &str) -> Bucket {
        self.bucket_with(place, SECRET)
    }

    fn bucket_with(&self, place: &str, secret: &str) -> Bucket {
        let variables = [
            ("AWS_ACCESS_KEY_ID", "recarga"),
            ("AWS_SECRET_ACCESS_KEY", secret),
            ("AWS_REGION", "us-east-1"),
            ("AWS_ENDPOINT_URL", &self.url),
            ("UNRELATED", "x"),
        ];
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
        Bucket::with(&name(place), variables).unwrap()
    }

    fn file(&self, path: &str) -> PathBuf {
        self.root.path().join("lab").join(path)
    }
}

fn name(place: &str) -> Name {
    let Ok(Place::Bucket(name)) = place.parse() else {
        panic!("{place} is no bucket");
    };
    name
}

/// What a backup's folder looks like from outside.
fn folder(shelf: &Path, name: &str) -> PathBuf {
    let folder = shelf.join(name);
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("manifest.json"), name).unwrap();
    // More than one part of an upload.
    let large: Vec<u8> = (0..12_000_000_u32).map(|n| (n / 7) as u8).collect();
    fs::write(folder.join("travel.cards.copy"), large).unwrap();
    fs::write(folder.join("queue.packed"), b"").unwrap();
    folder
}

fn contents(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (name, fs::read(path).unwrap())
        })
        .collect();
    found.sort();
    found
}

#[tokio::test]
async fn what_is_sent_is_fetched_and_the_newest_are_kept() {
    let server = Server::start().await;
    let shelf = tempfile::tempdir().unwrap();
    let bucket = server.bucket("s3://lab/a/b");
    let mut sent = Vec::new();
    for number in 1..=3 {
        let folder = folder(shelf.path(), &format!("recarga-{number}"));
        sent.push(bucket.put(&folder).await.unwrap());
    }
    assert_eq!(sent[0].to_string(), "s3://lab/a/b/recarga-1");
    let back = server
        .bucket("s3://lab/a/b/recarga-2")
        .fetch()
        .await
        .unwrap();
    let original = contents(&shelf.path().join("recarga-2"));
    assert!(contents(back.path()) == original, "it is not what was sent");

    // Left by somebody who died on the way, and what is not ours.
    for left in ["recarga-0", "recarga-4"] {
        let left = server.file(&format!("a/b/{left}/queue.packed"));
        fs::create_dir_all(left.parent().unwrap()).unwrap();
        fs::write(left, b"").unwrap();
    }
    fs::write(server.file("a/b/stranger"), b"").unwrap();
    assert_eq!(bucket.keep(2).await.unwrap(), [sent[0].clone()]);
    assert_eq!(bucket.keep(2).await.unwrap(), []);
    for (path, is_there) in [
        ("recarga-0/queue.packed", false),
        ("recarga-1/manifest.json", false),
        ("recarga-2/manifest.json", true),
        ("recarga-3/travel.cards.copy", true),
        // It may be on its way.
        ("recarga-4/queue.packed", true),
        ("stranger", true),
    ] {
        assert_eq!(server.file("a/b").join(path).exists(), is_there, "{path}");
    }
    let missing = server.bucket("s3://lab/a/b/recarga-4").fetch().await;
    let words = missing.unwrap_err().to_string();
    assert!(words.contains("manifest.json is not there"), "{words}");
}

#[tokio::test]
async fn a_store_that_refuses_or_is_away_is_named() {
    let server = Server::start().await;
    let shelf = tempfile::tempdir().unwrap();
    let folder = folder(shelf.path(), "recarga-1");
    let stranger = server.bucket_with("s3://lab/a", "wrong").put(&folder).await;
    let words = stranger.unwrap_err().to_string();
    assert!(words.contains("sending s3://lab/a/recarga-1/"), "{words}");
    assert_eq!(fs::read_dir(server.file("")).unwrap().count(), 0);
    let away = Server {
        url: "http://127.0.0.1:1".to_owned(),
        ..server
    };
    let words = away.bucket("s3://lab/a").fetch().await.unwrap_err();
    assert!(words.to_string().contains("listing s3://lab/a"), "{words}");
    assert!(words.to_string().contains("refused"), "{words}");
}
