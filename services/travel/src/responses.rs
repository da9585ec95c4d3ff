//! The refusals that many calls share, as the API pages show them.

use kit::problem::ProblemBody;

/// Of every call.
#[derive(utoipa::IntoResponses)]
#[expect(dead_code, reason = "only the documentation reads it")]
pub enum Always {
    /// A value cannot be used; `field` names it
    #[response(status = 422, content_type = "application/problem+json")]
    Invalid(#[to_schema] ProblemBody),
    /// The database is away; `Retry-After` says when to try again
    #[response(status = 503, content_type = "application/problem+json")]
    Unavailable(#[to_schema] ProblemBody),
    /// Too slow for the caller's deadline
    #[response(status = 504, content_type = "application/problem+json")]
    TimedOut(#[to_schema] ProblemBody),
}

/// Of calls that need a token.
#[derive(utoipa::IntoResponses)]
#[expect(dead_code, reason = "only the documentation reads it")]
pub enum SignedIn {
    /// No token, or one that is not valid
    #[response(status = 401, content_type = "application/problem+json")]
    Unauthorized(#[to_schema] ProblemBody),
}

/// Of calls with a body.
#[derive(utoipa::IntoResponses)]
#[expect(dead_code, reason = "only the documentation reads it")]
pub enum WithBody {
    /// The body is not JSON
    #[response(status = 400, content_type = "application/problem+json")]
    Unreadable(#[to_schema] ProblemBody),
    /// The body is too large
    #[response(status = 413, content_type = "application/problem+json")]
    TooLarge(#[to_schema] ProblemBody),
}
