//! A deterministic Bogotá for the lab's database, and the migrations that make room for it.

/// The schema: every migration, embedded.
pub static MIGRATOR: sqlx::migrate::Migrator = sqlx::migrate!("../migrations");
