//! What can go wrong with a backup, in words that say what to do.

use std::{
    io,
    path::{Path, PathBuf},
};

use crate::bucket::Cause;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{doing}: {source}")]
    Database { doing: String, source: sqlx::Error },
    #[error("{doing}: {source}")]
    Redis {
        doing: String,
        source: redis::RedisError,
    },
    #[error("bringing the schema to where the backup's was: {0}")]
    Schema(#[from] sqlx::migrate::MigrateError),
    #[error("{}: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("{doing}: {cause}")]
    Bucket { doing: String, cause: Cause },
    /// Not what was written.
    #[error("{}: {reason}; nothing of this backup was used", path.display())]
    Damaged { path: PathBuf, reason: String },
    /// It cannot be done like this; the words say how it can.
    #[error("{0}")]
    Refused(String),
}

pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    pub(crate) fn on(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        |source| Self::File { path, source }
    }

    pub(crate) fn database(doing: impl Into<String>) -> impl FnOnce(sqlx::Error) -> Self {
        let doing = doing.into();
        |source| Self::Database { doing, source }
    }

    pub(crate) fn redis(doing: impl Into<String>) -> impl FnOnce(redis::RedisError) -> Self {
        let doing = doing.into();
        |source| Self::Redis { doing, source }
    }

    pub(crate) fn damaged(path: &Path, reason: impl Into<String>) -> Self {
        Self::Damaged {
            path: path.to_owned(),
            reason: reason.into(),
        }
    }
}
