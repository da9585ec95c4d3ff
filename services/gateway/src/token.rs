//! Signed tokens: one algorithm, typed claims, all of them required and none besides.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use http::HeaderValue;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use kit::config::Secret;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::bounded::Bounded;

/// How long a token is valid.
pub const LIFETIME: TimeDelta = TimeDelta::minutes(30);
/// How far the clocks of two gateways may be apart.
const SKEW: TimeDelta = TimeDelta::minutes(1);
/// Who signs, and for whom.
const ISSUER: &str = "recarga";
/// No token of ours comes near it; longer ones are not even looked at.
const LENGTH_LIMIT: usize = 4096;
/// So many verified tokens are remembered.
const REMEMBERED: usize = 16_384;

/// What a user may do. Read from a string only: an enum as such would also be read from an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", try_from = "String")]
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

impl TryFrom<String> for Role {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        [Self::User, Self::Operator]
            .into_iter()
            .find(|role| role.name() == name)
            .ok_or_else(|| format!("{name:?} is no role"))
    }
}

/// Who calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    user: HeaderValue,
    pub role: Role,
}

impl Identity {
    /// None for a name that would not come out of a header as it went in: it is visible ASCII, with spaces inside only.
    #[must_use]
    pub fn new(user: &str, role: Role) -> Option<Self> {
        let plain = !user.is_empty()
            && user.trim() == user
            && user.bytes().all(|b| b.is_ascii_graphic() || b == b' ');
        let user = HeaderValue::from_str(user).ok().filter(|_| plain)?;
        Some(Self { user, role })
    }

    #[must_use]
    pub fn user(&self) -> &str {
        // It was text when it was made.
        self.user.to_str().unwrap_or_default()
    }

    /// The name, for the services.
    #[must_use]
    pub fn header(&self) -> HeaderValue {
        self.user.clone()
    }
}

/// What is in a token. Whatever else a token claims, such as `nbf`, we did not put there and would have to obey: it is refused,
/// and so are members that are there twice.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
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
    /// Verified tokens by their SHA-256, so that a token in use is verified once.
    ///
    /// The look-up need not take constant time, as the comparison of a signature must: what is compared are hashes of what was
    /// sent, and nobody can choose the first bytes of a hash step by step. Only who has a whole valid token finds an entry.
    /// Tokens that are not valid leave nothing here.
    verified: Bounded<[u8; 32], Arc<Verified>>,
}

/// A token that was believed.
#[derive(Debug, PartialEq, Eq)]
pub struct Verified {
    pub identity: Identity,
    /// Seconds since 1970.
    pub expires: u64,
}

impl Tokens {
    #[must_use]
    pub fn new(key: &Secret) -> Self {
        let mut validation = Validation::new(Algorithm::HS256);
        // The claims are checked below, by type and against the time we are given.
        validation.required_spec_claims.clear();
        validation.validate_exp = false;
        validation.validate_aud = false;
        Self {
            signing: EncodingKey::from_secret(key.0.as_bytes()),
            checking: DecodingKey::from_secret(key.0.as_bytes()),
            validation,
            verified: Bounded::new(REMEMBERED),
        }
    }

    /// A token for half an hour from `now`.
    pub fn sign(
        &self,
        identity: &Identity,
        now: DateTime<Utc>,
    ) -> Result<String, jsonwebtoken::errors::Error> {
        let claims = Claims {
            sub: identity.user().to_owned(),
            role: identity.role,
            iat: seconds(now),
            exp: seconds(now + LIFETIME),
            iss: ISSUER.to_owned(),
            aud: ISSUER.to_owned(),
        };
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &self.signing)
    }

    /// Whose token this is.
    pub fn check(&self, token: &str, now: DateTime<Utc>) -> Result<Arc<Verified>, TokenError> {
        if token.len() > LENGTH_LIMIT {
            return Err(TokenError::Invalid);
        }
        let hash = Sha256::digest(token).into();
        let known = self.verified.get(&hash);
        let is_new = known.is_none();
        let verified = match known {
            Some(verified) => verified,
            None => Arc::new(self.verify(token, now)?),
        };
        if verified.expires <= seconds(now) {
            return Err(TokenError::Expired);
        }
        if is_new {
            self.verified.insert(hash, verified.clone());
        }
        Ok(verified)
    }

    /// Checks everything about a token but whether its time is over.
    fn verify(&self, token: &str, now: DateTime<Utc>) -> Result<Verified, TokenError> {
        let decoded = jsonwebtoken::decode::<Claims>(token, &self.checking, &self.validation)
            .map_err(|_| TokenError::Invalid)?;
        // Exactly the head that we write: what else may stand there asks for other keys or extensions (`kid`, `jwk`, `crit`).
        let untyped = Header {
            typ: None,
            ..Header::new(Algorithm::HS256)
        };
        if decoded.header != Header::new(Algorithm::HS256) && decoded.header != untyped {
            return Err(TokenError::Invalid);
        }
        let Claims {
            sub,
            role,
            iat,
            exp,
            iss,
            aud,
        } = decoded.claims;
        // No token of ours is longer valid or from the future.
        let plausible = iss == ISSUER
            && aud == ISSUER
            && iat < exp
            && exp - iat <= LIFETIME.num_seconds().unsigned_abs()
            && iat <= seconds(now + SKEW);
        let identity = Identity::new(&sub, role)
            .filter(|_| plausible)
            .ok_or(TokenError::Invalid)?;
        Ok(Verified {
            identity,
            expires: exp,
        })
    }

    /// Forgets the tokens whose time is over.
    pub fn tidy(&self, now: DateTime<Utc>) {
        let now = seconds(now);
        self.verified.retain(|verified| verified.expires > now);
    }
}

fn seconds(time: DateTime<Utc>) -> u64 {
    u64::try_from(time.timestamp()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const KEY: &str = "a key for signing in tests";

    fn tokens() -> Tokens {
        Tokens::new(&Secret(KEY.to_owned()))
    }

    fn check(token: &str) -> Result<(String, Role), TokenError> {
        let verified = tokens().check(token, Utc::now())?;
        Ok((verified.identity.user().to_owned(), verified.identity.role))
    }

    /// Signs any head and any claims, as text, with our key.
    fn forged(head: &str, claims: &str) -> String {
        let message = format!("{}.{}", encode(head), encode(claims));
        let signature = jsonwebtoken::crypto::sign(
            message.as_bytes(),
            &EncodingKey::from_secret(KEY.as_bytes()),
            Algorithm::HS256,
        );
        format!("{message}.{}", signature.expect("signed"))
    }

    fn encode(text: &str) -> String {
        const ALPHABET: &[u8; 64] =
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let mut encoded = String::new();
        for chunk in text.as_bytes().chunks(3) {
            let bits = chunk
                .iter()
                .fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte))
                << (8 * (3 - chunk.len()));
            for place in 0..=chunk.len() {
                let index = bits >> (18 - 6 * place) & 63;
                encoded.push(char::from(ALPHABET[index as usize]));
            }
        }
        encoded
    }

    const HEAD: &str = r#"{"typ":"JWT","alg":"HS256"}"#;

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
        let operator = Identity::new("operator", Role::Operator).expect("a name");
        let token = tokens().sign(&operator, Utc::now()).expect("signed");
        assert_eq!(check(&token), Ok(("operator".to_owned(), Role::Operator)));
        let student = Ok(("student1".to_owned(), Role::User));
        assert_eq!(check(&signed(Algorithm::HS256, KEY, &good())), student);
        assert_eq!(check(&forged(HEAD, &good().to_string())), student);
        assert_eq!(
            check(&forged(r#"{"alg":"HS256"}"#, &good().to_string())),
            student
        );
    }

    #[test]
    fn tokens_expire_also_when_they_are_known() {
        let user = Identity::new("student1", Role::User).expect("a name");
        let (tokens, now) = (tokens(), Utc::now());
        let token = tokens.sign(&user, now).expect("signed");
        let end = now + LIFETIME;
        for _ in 0..2 {
            assert!(tokens.check(&token, now).is_ok());
            let last = end - TimeDelta::seconds(1);
            assert!(tokens.check(&token, last).is_ok());
            // The time must be before `exp`, not at it.
            assert_eq!(tokens.check(&token, end), Err(TokenError::Expired));
        }
        let old = now - LIFETIME - TimeDelta::seconds(1);
        let token = tokens.sign(&user, old).expect("signed");
        assert_eq!(tokens.check(&token, now), Err(TokenError::Expired));
    }

    #[test]
    fn only_good_tokens_are_remembered_and_only_while_they_last() {
        let user = Identity::new("student1", Role::User).expect("a name");
        let (tokens, now) = (tokens(), Utc::now());
        let token = tokens.sign(&user, now).expect("signed");
        for bad in ["", "x", "a.b.c", &token[1..], &format!("{token}x")] {
            assert!(tokens.check(bad, now).is_err());
        }
        assert_eq!(tokens.verified.len(), 0);
        let first = tokens.check(&token, now).expect("valid");
        let second = tokens.check(&token, now).expect("valid");
        assert!(Arc::ptr_eq(&first, &second), "verified once");
        tokens.tidy(now);
        assert_eq!(tokens.verified.len(), 1);
        tokens.tidy(now + LIFETIME);
        assert_eq!(tokens.verified.len(), 0);
    }

    #[test]
    fn every_claim_is_needed_and_typed() {
        for name in ["sub", "role", "iat", "exp", "iss", "aud"] {
            let mut claims = good();
            claims.as_object_mut().expect("an object").remove(name);
            let token = signed(Algorithm::HS256, KEY, &claims);
            assert_eq!(check(&token), Err(TokenError::Invalid), "no {name}");
        }
        let now = Utc::now().timestamp();
        for (name, value) in [
            ("sub", json!(17)),
            ("sub", json!("")),
            ("sub", json!(" a")),
            ("sub", json!("a\nb")),
            ("sub", json!("a\tb")),
            ("sub", json!("ñ")),
            ("sub", json!(null)),
            ("sub", json!(["student1"])),
            ("role", json!("root")),
            ("role", json!("Operator")),
            ("role", json!(["operator"])),
            ("role", json!({"operator": null})),
            ("exp", json!((now + 600).to_string())),
            ("exp", json!(null)),
            ("exp", json!(true)),
            ("exp", json!(-1)),
            ("exp", json!(now as f64 + 600.0)),
            ("exp", json!(now as f64 + 600.5)),
            ("exp", json!("never")),
            ("exp", json!([now + 600])),
            // Longer than any of ours, up to the end of time.
            ("exp", json!(now + 1801)),
            ("exp", json!(u64::MAX)),
            ("iat", json!("now")),
            ("iat", json!(now + 600)),
            ("iat", json!(now as f64)),
            ("iat", json!(-5)),
            ("iss", json!("somebody")),
            ("aud", json!("others")),
            ("aud", json!(["recarga"])),
            // Not ours, whatever it may mean.
            ("nbf", json!(now + 600)),
            ("admin", json!(true)),
        ] {
            let token = signed(Algorithm::HS256, KEY, &with(name, value.clone()));
            assert_eq!(check(&token), Err(TokenError::Invalid), "{name} {value}");
        }
        let (later, last) = (now + 120, now + 180);
        let future = json!({"sub": "a", "role": "user", "iat": later, "exp": last, "iss": "recarga", "aud": "recarga"});
        assert_eq!(
            check(&signed(Algorithm::HS256, KEY, &future)),
            Err(TokenError::Invalid)
        );
    }

    #[test]
    fn claims_that_no_json_writer_writes_are_refused() {
        let now = Utc::now().timestamp();
        let claims = |exp: &str, more: &str| {
            format!(
                r#"{{"sub":"student1","role":"user","iat":{now},"exp":{exp},"iss":"recarga","aud":"recarga"{more}}}"#
            )
        };
        let exp = (now + 60).to_string();
        assert!(check(&forged(HEAD, &claims(&exp, ""))).is_ok());
        for bad in [
            claims("NaN", ""),
            claims("Infinity", ""),
            claims("1e999", ""),
            claims("1e20", ""),
            claims("18446744073709551616", ""),
            claims("-0", ""),
            claims("1.7e9", ""),
            claims(&exp, r#","role":"operator""#),
            claims(&exp, r#","sub":"operator""#),
            claims(&exp, &format!(r#","exp":{exp}"#)),
            claims(&exp, r#","\u0072ole":"operator""#),
            format!("[{}]", claims(&exp, "")),
            format!(r#"["student1","user",{now},{exp},"recarga","recarga"]"#),
            format!("{} {{}}", claims(&exp, "")),
            "null".to_owned(),
            String::new(),
        ] {
            assert_eq!(
                check(&forged(HEAD, &bad)),
                Err(TokenError::Invalid),
                "{bad}"
            );
        }
    }

    #[test]
    fn heads_that_are_not_ours_are_refused() {
        let claims = good().to_string();
        for head in [
            r#"{"typ":"JWT","alg":"none"}"#,
            r#"{"typ":"JWT","alg":"None"}"#,
            r#"{"typ":"JWT","alg":"hs256"}"#,
            r#"{"typ":"JWT","alg":""}"#,
            r#"{"typ":"JWT","alg":null}"#,
            r#"{"typ":"JWT"}"#,
            // Signed with HMAC and our key, whatever they claim.
            r#"{"typ":"JWT","alg":"HS512"}"#,
            r#"{"typ":"JWT","alg":"RS256"}"#,
            r#"{"typ":"JWT","alg":"ES256"}"#,
            r#"{"typ":"JWT","alg":["HS256"]}"#,
            r#"{"typ":"JWT","alg":"HS256","alg":"HS256"}"#,
            r#"{"typ":"JWT","alg":"none","alg":"HS256"}"#,
            r#"{"typ":"JWE","alg":"HS256"}"#,
            r#"{"typ":"JWT","alg":"HS256","crit":["exp"]}"#,
            r#"{"typ":"JWT","alg":"HS256","crit":["b64"],"b64":false}"#,
            r#"{"typ":"JWT","alg":"HS256","kid":"1"}"#,
            r#"{"typ":"JWT","alg":"HS256","kid":"../../dev/null"}"#,
            r#"{"typ":"JWT","alg":"HS256","jku":"http://192.0.2.1/"}"#,
            r#"{"typ":"JWT","alg":"HS256","jwk":{"kty":"oct","k":"AA"}}"#,
            r#"{"typ":"JWT","alg":"HS256","x5u":"http://192.0.2.1/"}"#,
            r#"{"typ":"JWT","alg":"HS256","zip":"DEF"}"#,
            r#"{"typ":"JWT","alg":"HS256","cty":"JWT"}"#,
            r#"{"typ":"JWT","alg":"HS256","anything":1}"#,
            r#"["JWT","HS256"]"#,
            "",
        ] {
            assert_eq!(
                check(&forged(head, &claims)),
                Err(TokenError::Invalid),
                "{head}"
            );
        }
    }

    #[test]
    fn other_keys_and_algorithms_are_refused() {
        for token in [
            signed(Algorithm::HS256, "another key for signing", &good()),
            signed(Algorithm::HS256, "", &good()),
            signed(Algorithm::HS384, KEY, &good()),
            signed(Algorithm::HS512, KEY, &good()),
        ] {
            assert_eq!(check(&token), Err(TokenError::Invalid));
        }
        let token = signed(Algorithm::HS256, KEY, &good());
        let mut parts = token.split('.');
        let (_, claims, signature) = (parts.next(), parts.next(), parts.next());
        let (claims, signature) = (claims.expect("claims"), signature.expect("a signature"));
        let none = encode(r#"{"alg":"none","typ":"JWT"}"#);
        for forged in [
            format!("{none}.{claims}."),
            format!("{none}.{claims}.{signature}"),
            format!(
                "{}.{}.{signature}",
                encode(HEAD),
                encode(r#"{"sub":"operator"}"#)
            ),
            token[..token.len() - 2].to_owned(),
            format!("{token}="),
            format!("{token}."),
            format!("{token}.{signature}"),
            "..".to_owned(),
            String::new(),
            "x".repeat(5000),
            format!("{token}{}", " ".repeat(5000)),
        ] {
            assert_eq!(check(&forged), Err(TokenError::Invalid), "{forged}");
        }
    }
}
