//! Signed tokens: one algorithm, typed claims, all of them required.

use chrono::{DateTime, TimeDelta, Utc};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use kit::config::Secret;
use serde::{Deserialize, Serialize};

/// How long a token is valid.
pub const LIFETIME: TimeDelta = TimeDelta::minutes(30);
/// Who signs, and for whom.
const ISSUER: &str = "recarga";
/// No token of ours comes near it; longer ones are not even looked at.
const LENGTH_LIMIT: usize = 4096;

/// What a user may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    User,
    Operator,
}

impl Role {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Operator => "operator",
        }
    }
}

/// Who calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub user: String,
    pub role: Role,
}

#[derive(Serialize, Deserialize)]
struct Claims {
    sub: String,
    role: Role,
    iat: u64,
    exp: u64,
    iss: String,
    aud: String,
}

/// A token that is not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    #[error("the token has expired; POST /token gives a new one")]
    Expired,
    #[error("the token is not valid; POST /token gives one")]
    Invalid,
}

/// Makes and checks tokens.
pub struct Tokens {
    signing: EncodingKey,
    checking: DecodingKey,
    validation: Validation,
}

impl Tokens {
    #[must_use]
    pub fn new(key: &Secret) -> Self {
        let mut validation = Validation::new(Algorithm::HS256);
        validation.leeway = 0;
        validation.set_required_spec_claims(&["exp", "sub", "iss", "aud"]);
        validation.set_issuer(&[ISSUER]);
        validation.set_audience(&[ISSUER]);
        Self {
            signing: EncodingKey::from_secret(key.0.as_bytes()),
            checking: DecodingKey::from_secret(key.0.as_bytes()),
            validation,
        }
    }

    /// A token for half an hour from `now`.
    pub fn sign(
        &self,
        identity: &Identity,
        now: DateTime<Utc>,
    ) -> Result<String, jsonwebtoken::errors::Error> {
        let seconds = |time: DateTime<Utc>| u64::try_from(time.timestamp()).unwrap_or(0);
        let claims = Claims {
            sub: identity.user.clone(),
            role: identity.role,
            iat: seconds(now),
            exp: seconds(now + LIFETIME),
            iss: ISSUER.to_owned(),
            aud: ISSUER.to_owned(),
        };
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &self.signing)
    }

    /// Whose token this is.
    pub fn check(&self, token: &str) -> Result<Identity, TokenError> {
        if token.len() > LENGTH_LIMIT {
            return Err(TokenError::Invalid);
        }
        let decoded = jsonwebtoken::decode::<Claims>(token, &self.checking, &self.validation);
        let claims = decoded
            .map_err(|error| match error.kind() {
                jsonwebtoken::errors::ErrorKind::ExpiredSignature => TokenError::Expired,
                _ => TokenError::Invalid,
            })?
            .claims;
        // It goes into a header.
        let usable = !claims.sub.is_empty() && http::HeaderValue::from_str(&claims.sub).is_ok();
        if !usable || claims.iat > claims.exp {
            return Err(TokenError::Invalid);
        }
        Ok(Identity {
            user: claims.sub,
            role: claims.role,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const KEY: &str = "a key for signing in tests";

    fn tokens() -> Tokens {
        Tokens::new(&Secret(KEY.to_owned()))
    }

    fn signed(algorithm: Algorithm, key: &str, claims: &Value) -> String {
        jsonwebtoken::encode(
            &Header::new(algorithm),
            claims,
            &EncodingKey::from_secret(key.as_bytes()),
        )
        .expect("signed")
    }

    fn good() -> Value {
        let now = Utc::now().timestamp();
        json!({"sub": "student1", "role": "user", "iat": now, "exp": now + 60, "iss": "recarga", "aud": "recarga"})
    }

    fn with(name: &str, value: Value) -> Value {
        let mut claims = good();
        claims[name] = value;
        claims
    }

    #[test]
    fn a_signed_token_names_its_user() {
        let operator = Identity {
            user: "operator".to_owned(),
            role: Role::Operator,
        };
        let token = tokens().sign(&operator, Utc::now()).expect("signed");
        assert_eq!(tokens().check(&token), Ok(operator));
        let token = signed(Algorithm::HS256, KEY, &good());
        assert_eq!(tokens().check(&token).expect("valid").user, "student1");
    }

    #[test]
    fn tokens_expire() {
        let user = Identity {
            user: "student1".to_owned(),
            role: Role::User,
        };
        let old = Utc::now() - LIFETIME - TimeDelta::seconds(1);
        let token = tokens().sign(&user, old).expect("signed");
        assert_eq!(tokens().check(&token), Err(TokenError::Expired));
    }

    #[test]
    fn every_claim_is_needed_and_typed() {
        for name in ["sub", "role", "iat", "exp", "iss", "aud"] {
            let mut claims = good();
            claims.as_object_mut().expect("an object").remove(name);
            let token = signed(Algorithm::HS256, KEY, &claims);
            assert_eq!(
                tokens().check(&token),
                Err(TokenError::Invalid),
                "no {name}"
            );
        }
        let far = Utc::now().timestamp() + 600;
        for (name, value) in [
            ("sub", json!(17)),
            ("sub", json!("")),
            ("sub", json!("a\nb")),
            ("sub", json!(null)),
            ("role", json!("root")),
            ("role", json!(["operator"])),
            ("exp", json!(far.to_string())),
            ("exp", json!(null)),
            ("exp", json!(-1)),
            ("exp", json!("never")),
            ("iat", json!("now")),
            ("iat", json!(far)),
            ("iss", json!("somebody")),
            ("aud", json!("others")),
            ("aud", json!(["recarga"])),
        ] {
            let token = signed(Algorithm::HS256, KEY, &with(name, value.clone()));
            let refused = tokens().check(&token);
            assert!(refused.is_err(), "{name} {value}: {refused:?}");
        }
    }

    #[test]
    fn other_keys_and_algorithms_are_refused() {
        for token in [
            signed(Algorithm::HS256, "another key for signing", &good()),
            signed(Algorithm::HS384, KEY, &good()),
            signed(Algorithm::HS512, KEY, &good()),
        ] {
            assert_eq!(tokens().check(&token), Err(TokenError::Invalid));
        }
        let token = signed(Algorithm::HS256, KEY, &good());
        let mut parts = token.split('.');
        let (_, claims, signature) = (parts.next(), parts.next(), parts.next());
        let (claims, signature) = (claims.expect("claims"), signature.expect("a signature"));
        // {"alg":"none"}, {"alg":"HS256"} with somebody else's claims, and rubbish.
        let none = "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0";
        for forged in [
            format!("{none}.{claims}."),
            format!("{none}.{claims}.{signature}"),
            format!("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJvcGVyYXRvciJ9.{signature}"),
            token[..token.len() - 2].to_owned(),
            "..".to_owned(),
            String::new(),
            "x".repeat(5000),
        ] {
            assert_eq!(
                tokens().check(&forged),
                Err(TokenError::Invalid),
                "{forged}"
            );
        }
    }
}
