//! The SQL of the register of cached keys; what it is for is told in [`crate::register`].

use std::{collections::BTreeMap, sync::Arc};

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, header};
use kit::timing::timed;
use sqlx::{FromRow, Row, postgres::PgRow, types::Json};

use super::Store;

/// What was read, and whether caches may keep it.
#[derive(Debug)]
pub struct Read<T> {
    pub value: T,
    /// Its key is on the register: whoever changes the value has the caches forget it.
    pub registered: bool,
}

impl<T: for<'a> FromRow<'a, PgRow>> Read<Vec<T>> {
    /// A list out of rows that are all marked the same; an empty one is one row in which `id` is null.
    pub fn list(rows: &[PgRow], id: &str) -> Result<Option<Self>, sqlx::Error> {
        let Some(first) = rows.first() else {
            return Err(sqlx::Error::RowNotFound);
        };
        let value = if first.try_get::<Option<i64>, _>(id)?.is_some() {
            rows.iter().map(T::from_row).collect::<Result<_, _>>()?
        } else {
            Vec::new()
        };
        let registered = first.try_get("registered")?;
        let known: bool = first.try_get("known")?;
        Ok(known.then_some(Self { value, registered }))
    }
}

impl<T> Read<T> {
    /// An answer that caches keep only if they may.
    pub fn respond<R: IntoResponse>(self, answer: impl FnOnce(T) -> R) -> Response {
        let mut response = answer(self.value).into_response();
        if !self.registered {
            response
                .headers_mut()
                .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        }
        response
    }
}

/// A key as a writer found it on the register.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Registration {
    pub key: String,
    pub version: i64,
}

/// The keys that caches may hold, in their order, among those that a group of writes made stale; none when that is not
/// known.
pub type Registered = Option<Arc<[Registration]>>;

/// What a writer is told of the register: versions by their keys, in the order of the keys.
pub fn registered(told: Option<Json<BTreeMap<String, i64>>>) -> Registered {
    let registration = |(key, version)| Registration { key, version };
    told.map(|Json(versions)| versions.into_iter().map(registration).collect())
}

impl Store {
    /// Takes keys off the register that no cache holds any more, unless somebody registered them since; how many.
    pub async fn unregister(&self, gone: &[Registration]) -> Result<i64, sqlx::Error> {
        let (keys, versions): (Vec<&str>, Vec<i64>) = gone
            .iter()
            .map(|gone| (gone.key.as_str(), gone.version))
            .unzip();
        let mut connection = self.connection().await?;
        let query = sqlx::query_scalar("select travel.unregister_keys($1, $2)")
            .bind(keys)
            .bind(versions);
        timed("pg", query.fetch_one(&mut *connection)).await
    }

    /// Begins a register that was lost.
    pub async fn begin_register(&self) -> Result<(), sqlx::Error> {
        let mut connection = self.connection().await?;
        sqlx::query("select travel.begin_register()")
            .execute(&mut *connection)
            .await
            .map(drop)
    }
}
