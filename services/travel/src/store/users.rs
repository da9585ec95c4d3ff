//! People and what they sign in with.

use chrono::{DateTime, Utc};
use kit::timing::timed;
use serde::Serialize;

use super::Store;
use crate::values::UserId;

/// The person who joined last.
#[derive(Debug, Serialize, sqlx::FromRow, utoipa::ToSchema)]
pub struct LatestUser {
    pub user_id: UserId,
    #[schema(example = "student1")]
    pub username: String,
    #[schema(example = "Ana Rojas")]
    pub full_name: String,
    pub created_at: DateTime<Utc>,
}

/// What a sign-in is checked against.
#[derive(sqlx::FromRow)]
pub struct Credentials {
    pub user_id: UserId,
    pub password_hash: String,
    pub role: String,
}

impl Store {
    pub async fn users_count(&self) -> Result<i64, sqlx::Error> {
        let mut connection = self.connection_for_sums().await?;
        let query = sqlx::query_scalar("select count(*) from travel.users");
        timed("pg", query.fetch_one(&mut *connection)).await
    }

    /// Those seen within the last `days`.
    pub async fn active_users_count(&self, days: i32) -> Result<i64, sqlx::Error> {
        let mut connection = self.connection_for_sums().await?;
        let query = sqlx::query_scalar(
            "select count(*) from travel.users where last_active_at > now() - make_interval(days => $1)",
        )
        .bind(days);
        timed("pg", query.fetch_one(&mut *connection)).await
    }

    pub async fn latest_user(&self) -> Result<Option<LatestUser>, sqlx::Error> {
        let mut connection = self.connection_for_sums().await?;
        let query = sqlx::query_as(
            "select id as user_id, username, full_name, created_at from travel.users
             order by created_at desc, id desc limit 1",
        );
        timed("pg", query.fetch_optional(&mut *connection)).await
    }

    pub async fn credentials(&self, username: &str) -> Result<Option<Credentials>, sqlx::Error> {
        let mut connection = self.connection().await?;
        let query = sqlx::query_as(
            "select c.user_id, c.password_hash, c.role
             from travel.users u join travel.credentials c on c.user_id = u.id where u.username = $1",
        )
        .bind(username);
        timed("pg", query.fetch_optional(&mut *connection)).await
    }
}
