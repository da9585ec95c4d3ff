//! Who may call what: a pure decision from the route's level, the mode and the token that came along.

use std::sync::Arc;

use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use kit::Problem;

use crate::{
    config::AuthMode,
    table::Level,
    token::{Role, TokenError, Tokens, Verified},
};

/// Why a request is not let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    Missing,
    Bad(TokenError),
    Forbidden,
}

impl IntoResponse for Refusal {
    /// With the challenge of RFC 6750: who sent no token learns only that one is needed.
    fn into_response(self) -> Response {
        let (problem, challenge) = match self {
            Self::Missing => (
                Problem::unauthorized(
                    "A token is needed; POST /token gives one for a user and password",
                ),
                "Bearer",
            ),
            Self::Bad(error) => (
                Problem::unauthorized(error.to_string()),
                match error {
                    TokenError::Expired => {
                        r#"Bearer error="invalid_token", error_description="The token has expired""#
                    }
                    TokenError::Invalid => {
                        r#"Bearer error="invalid_token", error_description="The token is not valid""#
                    }
                },
            ),
            Self::Forbidden => (
                Problem::new(
                    StatusCode::FORBIDDEN,
                    "This needs a token with the role operator",
                ),
                r#"Bearer error="insufficient_scope""#,
            ),
        };
        let mut response = problem.into_response();
        response.headers_mut().insert(
            header::WWW_AUTHENTICATE,
            HeaderValue::from_static(challenge),
        );
        response
    }
}

/// A token that came along, as it was judged.
pub type Claimed = Option<Result<Arc<Verified>, TokenError>>;

/// What the request's head claims about its sender: nothing, or a token (good or bad).
pub fn claimed(headers: &HeaderMap, tokens: &Tokens, now: DateTime<Utc>) -> Claimed {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next()?;
    // Two of them may be read as either.
    if values.next().is_some() {
        return Some(Err(TokenError::Invalid));
    }
    let Ok(text) = value.to_str() else {
        return Some(Err(TokenError::Invalid));
    };
    let token = match text.trim().split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token.trim(),
        // Older clients send the bare token.
        None => text.trim(),
        Some(_) => return Some(Err(TokenError::Invalid)),
    };
    Some(tokens.check(token, now))
}

/// Lets a request in, with the identity it proved, or refuses it. The token is looked at only where it matters.
pub fn admit(
    level: Level,
    mode: AuthMode,
    claimed: impl FnOnce() -> Claimed,
) -> Result<Option<Arc<Verified>>, Refusal> {
    let level = match (level, mode) {
        (Level::Public, _) => return Ok(None),
        (Level::Open, AuthMode::Strict) => Level::User,
        (level, _) => level,
    };
    match (level, claimed()) {
        (_, Some(Err(error))) => Err(Refusal::Bad(error)),
        (Level::Public | Level::Open, None) => Ok(None),
        (Level::User | Level::Operator, None) => Err(Refusal::Missing),
        (Level::Operator, Some(Ok(verified))) if verified.identity.role != Role::Operator => {
            Err(Refusal::Forbidden)
        }
        (_, Some(Ok(verified))) => Ok(Some(verified)),
    }
}

#[cfg(test)]
mod tests {
    use kit::config::Secret;

    use super::*;
    use crate::token::Identity;

    fn verified(role: Role) -> Arc<Verified> {
        let identity = Identity::new("somebody", role).expect("a name");
        Arc::new(Verified {
            identity,
            expires: 1,
        })
    }

    #[test]
    fn who_is_let_in() {
        use AuthMode::{Open, Strict};
        let good = || Some(Ok(verified(Role::User)));
        let operator = || Some(Ok(verified(Role::Operator)));
        let bad = || Some(Err(TokenError::Expired));
        let user = Ok(Some(verified(Role::User)));
        let chief = Ok(Some(verified(Role::Operator)));
        let expired = Err(Refusal::Bad(TokenError::Expired));
        let missing = Err(Refusal::Missing);
        for (level, mode, claimed, expected) in [
            (Level::Public, Open, None, Ok(None)),
            (Level::Public, Open, bad(), Ok(None)),
            (Level::Public, Strict, None, Ok(None)),
            (Level::Open, Open, None, Ok(None)),
            (Level::Open, Open, good(), user.clone()),
            (Level::Open, Open, bad(), expired.clone()),
            (Level::Open, Strict, None, missing.clone()),
            (Level::Open, Strict, good(), user.clone()),
            (Level::Open, Strict, bad(), expired.clone()),
            (Level::User, Open, None, missing.clone()),
            (Level::User, Open, good(), user),
            (Level::User, Strict, bad(), expired.clone()),
            (Level::User, Open, operator(), chief.clone()),
            (Level::Operator, Open, None, missing),
            (Level::Operator, Open, good(), Err(Refusal::Forbidden)),
            (Level::Operator, Strict, operator(), chief),
            (Level::Operator, Open, bad(), expired),
        ] {
            let shown = format!("{level:?} {mode:?} {claimed:?}");
            assert_eq!(admit(level, mode, || claimed), expected, "{shown}");
        }
    }

    #[test]
    fn tokens_come_with_and_without_a_scheme() {
        let tokens = Tokens::new(&Secret("a key for signing in tests".to_owned()));
        let token = tokens
            .sign(&verified(Role::User).identity, Utc::now())
            .expect("signed");
        for (values, valid) in [
            (vec![format!("Bearer {token}")], Some(true)),
            (vec![format!("bearer  {token}")], Some(true)),
            (vec![token.clone()], Some(true)),
            (vec![format!("Basic {token}")], Some(false)),
            (vec!["Bearer".to_owned()], Some(false)),
            (vec![String::new()], Some(false)),
            (vec![token.clone(), token.clone()], Some(false)),
            (vec![], None),
        ] {
            let mut headers = HeaderMap::new();
            for value in &values {
                let value = HeaderValue::from_str(value).expect("a header");
                headers.append(header::AUTHORIZATION, value);
            }
            let found = claimed(&headers, &tokens, Utc::now()).map(|claimed| claimed.is_ok());
            assert_eq!(found, valid, "{values:?}");
        }
    }

    #[test]
    fn refusals_carry_a_challenge() {
        for (refusal, status, challenge) in [
            (Refusal::Missing, 401, "Bearer"),
            (
                Refusal::Bad(TokenError::Expired),
                401,
                r#"Bearer error="invalid_token", error_description="The token has expired""#,
            ),
            (
                Refusal::Bad(TokenError::Invalid),
                401,
                r#"Bearer error="invalid_token", error_description="The token is not valid""#,
            ),
            (
                Refusal::Forbidden,
                403,
                r#"Bearer error="insufficient_scope""#,
            ),
        ] {
            let response = refusal.into_response();
            assert_eq!(response.status(), status);
            assert_eq!(response.headers()[header::WWW_AUTHENTICATE], challenge);
        }
    }
}
