//! The public port: which path is which call.

mod entries;
mod flush;
mod invalidate;
mod list;
mod stats;
mod value;

use std::sync::Arc;

use axum::{
    Router,
    extract::FromRequestParts,
    routing::{delete, get, post},
};
use bytes::Bytes;
use http::request::Parts;
use kit::{Instance, Problem, caching::LONGEST_WINDOW};
use serde_json::value::RawValue;
use utoipa::OpenApi;

use crate::{
    error::{CacheError, StoreError, VALUE_LIMIT},
    key::{Key, Variant},
    statistics::Statistics,
    store::Store,
};

/// What the handlers share.
pub struct App {
    pub store: Arc<Store>,
    pub statistics: Arc<Statistics>,
    pub instance: Instance,
}

impl App {
    /// Runs work to its end also when the client leaves: a deletion must not stop half-way.
    async fn finish<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, StoreError>> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        self.instance.spawn(async move {
            // Nobody listens any more when the client left.
            let _ = sender.send(work.await);
        });
        receiver.await.unwrap_or(Err(StoreError::Away))
    }
}

pub fn router(app: Arc<App>) -> Router {
    let value = get(value::get).post(value::set);
    Router::new()
        .route("/cache/{key}", value.clone().delete(value::delete))
        .route("/get/{key}", get(value::get))
        .route("/set/{key}", post(value::set))
        .route("/cache", delete(flush::prefix))
        .route("/cache/flush", post(flush::everything))
        .route("/cache/stats", get(stats::get))
        .route("/entries", get(list::get))
        .route(
            "/entries/{key}",
            get(entries::look_up)
                .put(entries::fill)
                .delete(entries::release),
        )
        .route("/invalidate", post(invalidate::invalidate))
        .merge(kit::description::router(&openapi()))
        .fallback(async || Problem::not_found("The cache has no such path"))
        .with_state(app)
}

impl<S: Send + Sync> FromRequestParts<S> for Key {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let kit::extract::Path(text) =
            kit::extract::Path::<String>::from_request_parts(parts, state).await?;
        Self::parse(text)
    }
}

/// What keys begin with: a key's rules hold for its beginning too, but it may be empty.
fn beginning(prefix: String) -> Result<String, Problem> {
    if prefix.is_empty() {
        return Ok(prefix);
    }
    Key::parse(prefix.clone())
        .map_err(|_| Problem::invalid("prefix", "no key can begin like this"))?;
    Ok(prefix)
}

/// Counts a look-up that found nothing fresh, by its cause; `is_there` says whether an older value was.
fn miss(app: &App, key: &Key, variant: &Variant, is_there: bool) {
    let cause = app.store.causes().explain(
        key.as_str(),
        variant.as_str(),
        is_there,
        crate::store::now(),
    );
    app.statistics.miss(cause);
}

/// Takes JSON as a value: it must be JSON, and not too large.
fn checked(json: Bytes) -> Result<Bytes, CacheError> {
    if json.len() > VALUE_LIMIT {
        return Err(CacheError::ValueTooLarge);
    }
    serde_json::from_slice::<&RawValue>(&json)
        .map_err(|error| Problem::bad_request(format!("The value is not JSON: {error}")))?;
    Ok(json)
}

/// A time in whole seconds, between `least` and a day.
fn seconds(field: &str, given: Option<i64>, least: i64, default: u32) -> Result<u32, Problem> {
    match given {
        None => Ok(default),
        Some(seconds) if (least..=i64::from(LONGEST_WINDOW)).contains(&seconds) => {
            Ok(seconds as u32)
        }
        Some(_) => Err(Problem::invalid(
            field,
            format!("must be between {least} and {LONGEST_WINDOW} seconds"),
        )),
    }
}

#[derive(OpenApi)]
#[openapi(
    info(title = "Recarga: the cache", description = "Values with a time to live, leases against stampedes, and statistics."),
    paths(
        value::get,
        value::set,
        value::delete,
        flush::prefix,
        flush::everything,
        list::get,
        stats::get
    ),
    tags((name = "cache", description = "The cache service, on its own port (5004, loopback only)"))
)]
struct Documentation;

/// The description of the calls, which the service serves itself.
#[must_use]
pub fn openapi() -> utoipa::openapi::OpenApi {
    Documentation::openapi()
}
