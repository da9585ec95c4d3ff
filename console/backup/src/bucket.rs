//! Backups in a bucket of an S3-compatible store, each under a name of its own.
//!
//! A backup is made in a folder and then sent, its manifest last: it is there when its manifest is. The way back is the same. Who we are
//! to the store, and where it is, the environment says as it does to other programs (`AWS_ACCESS_KEY_ID`, `AWS_REGION`,
//! `AWS_ENDPOINT_URL` and so on).

mod transport;

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use futures::TryStreamExt as _;
use object_store::{
    ObjectStore, ObjectStoreExt as _, RetryConfig,
    aws::{AmazonS3Builder, AmazonS3ConfigKey},
    buffered::BufWriter,
    path::Path as Key,
};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt as _;

use crate::{
    error::{Error, Result},
    manifest, shelf,
};

const SCHEME: &str = "s3://";
/// How often something is asked for again; the pauses double from a tenth of a second.
const RETRIES: usize = 5;

/// Where backups are, or one of them: a folder, or in a bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    Folder(PathBuf),
    Bucket(Name),
}

/// `s3://BUCKET/KEY`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    bucket: String,
    key: Key,
}

impl fmt::Display for Name {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{SCHEME}{}/{}", self.bucket, self.key)
    }
}

impl std::str::FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let Some(rest) = text.strip_prefix(SCHEME) else {
            return Ok(Self::Folder(text.into()));
        };
        let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
        if bucket.is_empty() {
            return Err("a bucket is missing: s3://BUCKET/PREFIX names one".to_owned());
        }
        Ok(Self::Bucket(Name {
            bucket: bucket.to_owned(),
            key: Key::parse(key.trim_matches('/')).map_err(|error| error.to_string())?,
        }))
    }
}

/// A bucket that is spoken with.
#[derive(Debug)]
pub struct Bucket {
    store: Arc<dyn ObjectStore>,
    name: Name,
}

impl Bucket {
    /// Reads what the environment says of the store; nothing is asked yet.
    pub fn open(name: &Name) -> Result<Self> {
        Self::with(name, std::env::vars())
    }

    /// The same with these variables.
    pub fn with(
        name: &Name,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self> {
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(&name.bucket)
            .with_http_connector(transport::Connector)
            .with_retry(RetryConfig {
                max_retries: RETRIES,
                ..RetryConfig::default()
            });
        for (variable, value) in variables {
            let variable = variable.to_ascii_lowercase();
            if variable.starts_with("aws_endpoint") && value.starts_with("http://") {
                builder = builder.with_allow_http(true);
            }
            let known = variable.starts_with("aws_").then(|| variable.parse());
            if let Some(Ok(known)) = known {
                let known: AmazonS3ConfigKey = known;
                builder = builder.with_config(known, value);
            }
        }
        let store = builder
            .build()
            .map_err(|error| Error::Refused(format!("{name} cannot be used: {error}")))?;
        Ok(Self {
            store: Arc::new(store),
            name: name.clone(),
        })
    }

    /// Sends a backup, whose folder's name it keeps.
    pub async fn put(&self, folder: &Path) -> Result<Name> {
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        let key = self.name.key.clone().join(&*name);
        let mut files = Vec::new();
        for entry in std::fs::read_dir(folder).map_err(Error::on(folder))? {
            files.push(entry.map_err(Error::on(folder))?.path());
        }
        // It is there when its manifest is.
        files.sort_by_key(|path| path.file_name() == Some(manifest::NAME.as_ref()));
        for path in files {
            let file = path.file_name().unwrap_or_default().to_string_lossy();
            let to = key.clone().join(&*file);
            let mut from = tokio::fs::File::open(&path)
                .await
                .map_err(Error::on(&path))?;
            let mut writer = BufWriter::new(self.store.clone(), to.clone());
            let sent = match tokio::io::copy(&mut from, &mut writer).await {
                Ok(_) => writer.shutdown().await,
                Err(error) => {
                    let _ = writer.abort().await;
                    Err(error)
                }
            };
            sent.map_err(|error| self.failed("sending", &to)(error.into()))?;
        }
        Ok(Name {
            key,
            ..self.name.clone()
        })
    }

    /// Fetches the backup of this name into a folder that goes away with what is returned.
    pub async fn fetch(&self) -> Result<TempDir> {
        let folder =
            TempDir::with_prefix("recarga-backup-").map_err(Error::on(&std::env::temp_dir()))?;
        let mut objects = self.store.list(Some(&self.name.key));
        let mut is_whole = false;
        while let Some(object) = objects
            .try_next()
            .await
            .map_err(|error| self.failed("listing", &self.name.key)(error.into()))?
        {
            let Some(file) = object.location.filename() else {
                continue;
            };
            // Of this very name, and of no other that begins with it or is under it.
            if self.name.key.clone().join(file) != object.location {
                continue;
            }
            is_whole |= file == manifest::NAME;
            let path = folder.path().join(file);
            let fetched = async {
                let mut to = tokio::fs::File::create(&path).await?;
                let mut parts = self.store.get(&object.location).await?.into_stream();
                while let Some(part) = parts.try_next().await? {
                    to.write_all(&part).await?;
                }
                to.sync_all().await?;
                Ok::<_, Cause>(())
            };
            fetched
                .await
                .map_err(self.failed("fetching", &object.location))?;
        }
        if !is_whole {
            return Err(Error::Refused(format!(
                "there is no backup {}: its {} is not there",
                self.name,
                manifest::NAME
            )));
        }
        Ok(folder)
    }

    /// Removes all but the newest, and what was left on the way to one before them; which backups they were.
    pub async fn keep(&self, newest: usize) -> Result<Vec<Name>> {
        let mut backups: BTreeMap<Key, Vec<Key>> = BTreeMap::new();
        let failed =
            |error: object_store::Error| self.failed("listing", &self.name.key)(error.into());
        let found: Vec<_> = self
            .store
            .list(Some(&self.name.key))
            .try_collect()
            .await
            .map_err(failed)?;
        for object in found {
            let mut parts = object
                .location
                .prefix_match(&self.name.key)
                .into_iter()
                .flatten();
            let (Some(backup), Some(_), None) = (parts.next(), parts.next(), parts.next()) else {
                continue;
            };
            if backup.as_ref().starts_with(shelf::PREFIX) {
                let key = self.name.key.clone().join(backup);
                backups
                    .entry(key)
                    .or_default()
                    .push(object.location.clone());
            }
        }
        let is_whole = |backup: &Key| {
            let manifest = backup.clone().join(manifest::NAME);
            backups[backup].contains(&manifest)
        };
        let whole: Vec<Key> = backups
            .keys()
            .filter(|key| is_whole(key))
            .cloned()
            .collect();
        let Some(oldest_kept) = whole.get(whole.len().saturating_sub(newest)) else {
            return Ok(Vec::new());
        };
        let mut removed = Vec::new();
        for (backup, objects) in backups.range(..oldest_kept.clone()) {
            let mut objects = objects.clone();
            // First, what makes it one.
            objects.sort_by_key(|key| key.filename() != Some(manifest::NAME));
            for object in objects {
                let deleted = self.store.delete(&object).await;
                deleted.map_err(|error| self.failed("removing", &object)(error.into()))?;
            }
            if is_whole(backup) {
                removed.push(Name {
                    key: backup.clone(),
                    ..self.name.clone()
                });
            }
        }
        Ok(removed)
    }

    fn failed<'a>(&'a self, doing: &'a str, key: &'a Key) -> impl FnOnce(Cause) -> Error + 'a {
        move |cause| {
            let bucket = &self.name.bucket;
            Error::Bucket {
                doing: format!("{doing} {SCHEME}{bucket}/{key}"),
                cause,
            }
        }
    }
}

/// What went wrong on the way to or from a bucket.
#[derive(Debug, thiserror::Error)]
pub enum Cause {
    #[error(transparent)]
    Store(#[from] object_store::Error),
    #[error(transparent)]
    File(#[from] std::io::Error),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_folder_or_in_a_bucket() {
        let place = |text: &str| text.parse::<Place>();
        assert_eq!(place("a/b"), Ok(Place::Folder("a/b".into())));
        let Ok(Place::Bucket(name)) = place("s3://lab/a/b/") else {
            panic!("no bucket");
        };
        assert_eq!(name.to_string(), "s3://lab/a/b");
        assert!(place("s3://lab").is_ok());
        for wrong in ["s3://", "s3:///a", "s3://lab/a//b"] {
            assert!(place(wrong).is_err(), "{wrong}");
        }
    }
}
