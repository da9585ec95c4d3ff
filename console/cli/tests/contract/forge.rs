//! Tokens that a gateway must refuse, made with the lab's real key.

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use crate::lab::lab;

/// The claims of a token, unverified.
pub fn claims(token: &str) -> Value {
    let payload = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&decode(payload)).unwrap()
}

/// A token with these claims, signed with the lab's key.
pub fn signed(algorithm: Algorithm, claims: &Value) -> String {
    let key = EncodingKey::from_secret(lab().secret("signing_key").as_bytes());
    jsonwebtoken::encode(&Header::new(algorithm), claims, &key).unwrap()
}

/// A token that claims to need no signature.
pub fn unsigned(claims: &Value) -> String {
    format!(
        "{}.{}.",
        encode(json!({"alg": "none", "typ": "JWT"}).to_string().as_bytes()),
        encode(claims.to_string().as_bytes())
    )
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

fn encode(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let bits = chunk
            .iter()
            .fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte))
            << (8 * (3 - chunk.len()));
        for place in 0..=chunk.len() {
            text.push(char::from(
                ALPHABET[(bits >> (18 - 6 * place) & 63) as usize],
            ));
        }
    }
    text
}

fn decode(text: &str) -> Vec<u8> {
    let (mut bytes, mut bits, mut count) = (Vec::new(), 0_u32, 0);
    for letter in text.bytes() {
        let value = ALPHABET.iter().position(|known| *known == letter).unwrap();
        bits = bits << 6 | value as u32;
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count & 255) as u8);
        }
    }
    bytes
}

#[test]
fn the_encoding_is_its_own_inverse() {
    for text in ["", "a", "ab", "abc", "{\"a\":1}"] {
        assert_eq!(decode(&encode(text.as_bytes())), text.as_bytes());
    }
}
