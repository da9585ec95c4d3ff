//! `GET /search`.

use axum::{Json, extract::State};
use kit::{Problem, extract::Query, problem::ProblemBody, timing::timed};
use serde::{Deserialize, Serialize};

use crate::App;

/// What is looked for.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Subject {
    /// The subject, in any case.
    #[param(example = "Math")]
    subject: String,
}

/// Who was found. The gateway adds `cached`.
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Found {
    /// The best rated first; empty for a subject that nobody teaches.
    pub data: Vec<Tutor>,
}

/// Somebody who teaches.
#[derive(Debug, Serialize, Deserialize, PartialEq, sqlx::FromRow, utoipa::ToSchema)]
pub struct Tutor {
    #[schema(example = 1, minimum = 1)]
    pub id: i64,
    #[schema(example = "Laura Gómez")]
    pub name: String,
    #[schema(example = "Math")]
    pub subject: String,
    /// 0 to 5.
    #[schema(example = 4.8, minimum = 0, maximum = 5)]
    pub rating: f32,
}

/// The tutors of a subject, the best rated first
#[utoipa::path(get, path = "/search", tag = "Tutors", security(("bearer" = [])), params(Subject),
    responses(
        (status = 200, description = "The tutors; none for an unknown subject", body = Found,
            example = json!({"cached": false,
                "data": [{"id": 1, "name": "Laura Gómez", "subject": "Math", "rating": 4.8}]})),
        (status = 401, description = "No token, or one that is not valid", body = ProblemBody,
            content_type = "application/problem+json"),
        (status = 422, description = "No subject", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "The database is away", body = ProblemBody,
            content_type = "application/problem+json"),
        (status = 504, description = "Too slow for the caller's deadline", body = ProblemBody,
            content_type = "application/problem+json")))]
pub async fn search(
    State(app): State<App>,
    Query(Subject { subject }): Query<Subject>,
) -> Result<Json<Found>, Problem> {
    let subject = subject.trim();
    if subject.is_empty() {
        return Err(Problem::invalid("subject", "this field is required"));
    }
    // PostgreSQL's text cannot hold it, so no subject has it.
    if subject.contains('\0') {
        return Ok(Json(Found { data: Vec::new() }));
    }
    let data = timed("pg", tutors(&app, subject)).await?;
    Ok(Json(Found { data }))
}

async fn tutors(app: &App, subject: &str) -> Result<Vec<Tutor>, sqlx::Error> {
    let mut connection = kit::postgres::acquire(&app.instance, &app.pool).await?;
    // The few subjects are compared without their case, here and not in SQL, where `lower` knows only the letters of the
    // database's locale; the many tutors are then found by index.
    let wanted = subject.to_lowercase();
    let subjects: Vec<String> = sqlx::query_scalar("select name from tutoring.subjects")
        .fetch_all(&mut *connection)
        .await?;
    let Some(subject) = subjects
        .into_iter()
        .find(|name| name.to_lowercase() == wanted)
    else {
        return Ok(Vec::new());
    };
    sqlx::query_as(
        "select t.id, t.name, t.subject, t.rating from tutoring.tutors t
         where t.subject = $1 order by t.rating desc, t.id",
    )
    .bind(subject)
    .fetch_all(&mut *connection)
    .await
}
