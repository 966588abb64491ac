//! A token taken apart (RFC 7519, compact form). Nothing here says that it is true.

use super::keys::Algorithm;
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::{Map, Value};
use std::borrow::Cow;

/// What is wrong with a token. The texts are Envoy's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the texts say it")]
pub enum Failure {
    #[error("Jwt is missing")]
    Missing,
    #[error("Jwt not yet valid")]
    NotYet,
    #[error("Jwt is expired")]
    Expired,
    #[error("Jwt is not in the form of Header.Payload.Signature with two dots and 3 sections")]
    Form,
    #[error("Jwt header is an invalid Base64url encoded")]
    HeaderBase64,
    #[error("Jwt header is an invalid JSON")]
    HeaderJson,
    #[error("Jwt header [alg] field is required and must be a string")]
    NoAlgorithm,
    #[error("Jwt header [alg] is not supported")]
    Algorithm,
    #[error("Jwt header [kid] field is not a string")]
    KeyId,
    #[error("Jwt payload is an invalid Base64url encoded")]
    PayloadBase64,
    #[error("Jwt payload is an invalid JSON")]
    PayloadJson,
    #[error("Jwt payload [iss] field is not a string")]
    Issuer,
    #[error("Jwt payload [sub] field is not a string")]
    Subject,
    #[error("Jwt payload [nbf] field is not an integer")]
    NotBefore,
    #[error("Jwt payload [exp] field is not an integer")]
    Expires,
    #[error("Jwt payload [aud] field is not a string or string list")]
    Audiences,
    #[error("Jwt signature is an invalid Base64url encoded")]
    SignatureBase64,
    #[error("Jwt issuer is not configured")]
    UnknownIssuer,
    #[error("Audiences in Jwt are not allowed")]
    Audience,
    #[error("Jwt verification fails")]
    Signature,
    #[error("Jwks doesn't have any valid public key")]
    NoKeys,
    #[error("Jwks doesn't have key to match kid or alg from Jwt")]
    NoSuchKey,
}

impl Failure {
    /// The status of the answer.
    pub fn status(self) -> u16 {
        if self == Self::Audience { 403 } else { 401 }
    }
}

/// A token.
#[derive(Debug)]
pub struct Token {
    pub(super) algorithm: Algorithm,
    /// Empty if it says none.
    pub(super) key_id: String,
    /// How much of the text is signed.
    pub(super) signed: usize,
    pub(super) signature: Vec<u8>,
    /// As it was sent.
    pub(super) payload: Box<str>,
    /// What it says, lists separated by blanks taken apart.
    pub(super) claims: Map<String, Value>,
    not_before: u64,
    expires: u64,
}

impl Token {
    /// Takes a text apart.
    ///
    /// # Errors
    /// If it is no token, or one that can't be verified.
    pub fn parse(text: &str, space_delimited: &[crate::config::Name]) -> Result<Self, Failure> {
        let mut parts = text.split('.');
        let (Some(header), Some(payload), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(Failure::Form);
        };
        if [header, payload, signature].contains(&"") {
            return Err(Failure::Form);
        }
        let decode = |text: &str, failure| BASE64_URL_SAFE_NO_PAD.decode(text).map_err(|_| failure);
        let fields = object(&decode(header, Failure::HeaderBase64)?).ok_or(Failure::HeaderJson)?;
        let Some(Value::String(algorithm)) = fields.get("alg") else { return Err(Failure::NoAlgorithm) };
        let algorithm = Algorithm::parse(algorithm).ok_or(Failure::Algorithm)?;
        // What must be understood and isn't (RFC 7515 4.1.11).
        if fields.contains_key("crit") {
            return Err(Failure::Algorithm);
        }
        let key_id = text_of(&fields, "kid", Failure::KeyId)?.unwrap_or_default().to_owned();
        let mut claims = object(&decode(payload, Failure::PayloadBase64)?).ok_or(Failure::PayloadJson)?;
        text_of(&claims, "iss", Failure::Issuer)?;
        text_of(&claims, "sub", Failure::Subject)?;
        let (not_before, expires) =
            (seconds(&claims, "nbf", Failure::NotBefore)?, seconds(&claims, "exp", Failure::Expires)?);
        let is_text = |value: &Value| value.is_string();
        match claims.get("aud") {
            None | Some(Value::String(_)) => {}
            Some(Value::Array(all)) if all.iter().all(is_text) => {}
            Some(_) => return Err(Failure::Audiences),
        }
        let signature_bytes = decode(signature, Failure::SignatureBase64)?;
        for name in space_delimited {
            if let Some(value) = claims.get_mut(&**name)
                && let Value::String(text) = value
            {
                *value = text.split(' ').filter(|part| !part.is_empty()).collect();
            }
        }
        Ok(Self {
            algorithm,
            key_id,
            signed: text.len() - signature.len() - 1,
            signature: signature_bytes,
            payload: payload.into(),
            claims,
            not_before,
            expires,
        })
    }

    /// Who issued it; empty if it doesn't say.
    pub fn issuer(&self) -> &str {
        self.claims.get("iss").and_then(Value::as_str).unwrap_or_default()
    }

    /// For whom it is, in the form that audiences are compared in.
    pub fn audiences(&self) -> impl Iterator<Item = Cow<'_, str>> {
        let list = match self.claims.get("aud") {
            Some(Value::Array(all)) => &all[..],
            Some(one) => std::slice::from_ref(one),
            None => &[],
        };
        list.iter().filter_map(Value::as_str).map(|text| Cow::Borrowed(audience(text)))
    }

    pub(super) fn check_time(&self, now: u64, skew: u64) -> Result<(), Failure> {
        if self.not_before > now.saturating_add(skew) {
            return Err(Failure::NotYet);
        }
        if self.expires > 0 && now > self.expires.saturating_add(skew) {
            return Err(Failure::Expired);
        }
        Ok(())
    }
}

/// Audiences are compared without scheme and without a slash at the end.
pub fn audience(text: &str) -> &str {
    let text = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")).unwrap_or(text);
    text.strip_suffix('/').unwrap_or(text)
}

fn object(bytes: &[u8]) -> Option<Map<String, Value>> {
    match serde_json::from_slice(bytes) {
        Ok(Value::Object(fields)) => Some(fields),
        _ => None,
    }
}

fn text_of<'a>(fields: &'a Map<String, Value>, name: &str, failure: Failure) -> Result<Option<&'a str>, Failure> {
    match fields.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(failure),
    }
}

/// Seconds since 1970; none is 0, a part of a second is dropped.
fn seconds(fields: &Map<String, Value>, name: &str, failure: Failure) -> Result<u64, Failure> {
    match fields.get(name) {
        None => Ok(0),
        Some(Value::Number(number)) => match number.as_u64() {
            Some(seconds) => Ok(seconds),
            None => {
                let seconds = number.as_f64().filter(|seconds| (0.0..1e18).contains(seconds));
                seconds.map(|seconds| seconds as u64).ok_or(failure)
            }
        },
        Some(_) => Err(failure),
    }
}
