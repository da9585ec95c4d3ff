//! `POST /internal/login`: the gateways ask it before they sign a token. No route from outside leads here.

use axum::extract::State;
use kit::extract::Json;
use serde::{Deserialize, Serialize};

use crate::{App, error::Error, values::UserId};

/// Who wants in.
#[derive(Deserialize)]
pub struct LoginRequest {
    username: String,
    password: String,
}

/// Who it is.
#[derive(Debug, Serialize)]
pub struct Login {
    user_id: UserId,
    username: String,
    role: String,
}

/// 200 with who it is, or 401 in the same time for a wrong password, a locked account and nobody at all.
pub async fn login(
    State(app): State<App>,
    Json(request): Json<LoginRequest>,
) -> Result<axum::Json<Login>, Error> {
    let LoginRequest { username, password } = request;
    // PostgreSQL's text cannot hold it, so nobody is called that.
    let credentials = if username.contains('\0') {
        None
    } else {
        app.store.credentials(&username).await?
    };
    let hash = credentials.as_ref().map(|c| c.password_hash.clone());
    let matches = app.passwords.matches(password, hash).await?;
    let credentials = credentials
        .filter(|_| matches)
        .ok_or(Error::WrongCredentials)?;
    Ok(axum::Json(Login {
        user_id: credentials.user_id,
        username,
        role: credentials.role,
    }))
}
