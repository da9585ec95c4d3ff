//! What can go wrong in the cache service, and the status of each.

use std::sync::Arc;

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode};
use kit::{Problem, caching::first_level::FENCED};

/// The largest value, in bytes of JSON.
pub const VALUE_LIMIT: usize = 1024 * 1024;

/// A call of the store that did not work.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    #[error("Redis is away")]
    Away,
    /// There is no link, and until there is one and all is purged nothing can be served, by nobody.
    #[error("Redis is away, and nothing old is served")]
    Fenced,
    #[error("Redis refused: {0}")]
    Redis(Arc<redis::RedisError>),
}

impl From<redis::RedisError> for StoreError {
    fn from(error: redis::RedisError) -> Self {
        Self::Redis(Arc::new(error))
    }
}

/// Why a request is refused.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    #[error("the key is not there")]
    NotCached,
    #[error("there is nothing to delete")]
    NothingToDelete,
    #[error("the body holds no value")]
    NoValue,
    #[error("the value is too large")]
    ValueTooLarge,
    #[error("the lease is void")]
    LeaseVoid,
    #[error("{0}")]
    Request(#[from] Problem),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<CacheError> for Problem {
    fn from(error: CacheError) -> Self {
        match error {
            CacheError::NotCached => {
                Self::not_found("Nothing fresh is stored under this key").with("value", ())
            }
            CacheError::NothingToDelete => Self::not_found("Key not found"),
            CacheError::NoValue => Self::bad_request("No value provided"),
            CacheError::ValueTooLarge => Self::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "The value is larger than 1 MiB",
            ),
            CacheError::LeaseVoid => {
                Self::conflict("This lease is void: the key was deleted or somebody else holds it")
            }
            CacheError::Request(problem) => problem,
            CacheError::Store(StoreError::Away) => {
                Self::unavailable("The cache's store is away; go to the source")
            }
            CacheError::Store(StoreError::Fenced) => Self::unavailable(
                "The cache's store is away, and nothing is served from before it left",
            ),
            CacheError::Store(StoreError::Redis(error)) => {
                tracing::error!(error = %error, "a Redis command failed");
                Self::internal()
            }
        }
    }
}

impl IntoResponse for CacheError {
    fn into_response(self) -> Response {
        let fenced = matches!(self, Self::Store(StoreError::Fenced));
        let mut response = Problem::from(self).into_response();
        if fenced {
            response
                .headers_mut()
                .insert(FENCED, HeaderValue::from_static("true"));
        }
        response
    }
}
