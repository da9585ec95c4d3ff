//! Who may call what: a pure decision from the route's level, the mode and the token that came along.

use http::{HeaderMap, header};
use kit::Problem;

use crate::{
    config::AuthMode,
    table::Level,
    token::{Identity, Role, TokenError, Tokens},
};

/// Why a request is not let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    Missing,
    Bad(TokenError),
    Forbidden,
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Missing => Self::unauthorized(
                "A token is needed; POST /token gives one for a user and password",
            ),
            Refusal::Bad(error) => Self::unauthorized(error.to_string()),
            Refusal::Forbidden => Self::forbidden("This needs a token with the role operator"),
        }
    }
}

/// What the request's head claims about its sender: nothing, or a token (good or bad).
pub fn claimed(headers: &HeaderMap, tokens: &Tokens) -> Option<Result<Identity, TokenError>> {
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
    Some(tokens.check(token))
}

/// Lets a request in, with the identity it proved, or refuses it.
pub fn admit(
    level: Level,
    mode: AuthMode,
    claimed: Option<Result<Identity, TokenError>>,
) -> Result<Option<Identity>, Refusal> {
    let level = match (level, mode) {
        (Level::Public, _) => return Ok(None),
        (Level::Open, AuthMode::Strict) => Level::User,
        (level, _) => level,
    };
    match (level, claimed) {
        (_, Some(Err(error))) => Err(Refusal::Bad(error)),
        (Level::Public | Level::Open, None) => Ok(None),
        (Level::User | Level::Operator, None) => Err(Refusal::Missing),
        (Level::Operator, Some(Ok(identity))) if identity.role != Role::Operator => {
            Err(Refusal::Forbidden)
        }
        (_, Some(Ok(identity))) => Ok(Some(identity)),
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use kit::config::Secret;

    use super::*;

    fn identity(role: Role) -> Identity {
        Identity {
            user: "somebody".to_owned(),
            role,
        }
    }

    #[test]
    fn who_is_let_in() {
        use AuthMode::{Open, Strict};
        let good = || Some(Ok(identity(Role::User)));
        let operator = || Some(Ok(identity(Role::Operator)));
        let bad = || Some(Err(TokenError::Expired));
        let user = Ok(Some(identity(Role::User)));
        let chief = Ok(Some(identity(Role::Operator)));
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
            assert_eq!(admit(level, mode, claimed), expected, "{shown}");
        }
    }

    #[test]
    fn tokens_come_with_and_without_a_scheme() {
        let tokens = Tokens::new(&Secret("a key for signing in tests".to_owned()));
        let token = tokens
            .sign(&identity(Role::User), chrono::Utc::now())
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
            let found = claimed(&headers, &tokens).map(|claimed| claimed.is_ok());
            assert_eq!(found, valid, "{values:?}");
        }
    }
}
