//! Public keys (RFC 7517) and signatures. A key verifies only algorithms of its own kind: no token chooses how a key is
//! understood. Symmetric keys are none of ours.

use super::token::{Failure, Token};
use aws_lc_rs::signature::{self as sig, RsaPublicKeyComponents, UnparsedPublicKey};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::Value;
use std::fmt;

/// How a token is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "RFC 7518 and RFC 8037 name them")]
pub enum Algorithm {
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    Es256,
    Es384,
    Es512,
    EdDsa,
    /// Known, and signed with a key that both sides have: no key of ours fits.
    Symmetric,
}

impl Algorithm {
    /// None for `none` and whatever else isn't known.
    pub(super) fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "RS256" => Self::Rs256,
            "RS384" => Self::Rs384,
            "RS512" => Self::Rs512,
            "PS256" => Self::Ps256,
            "PS384" => Self::Ps384,
            "PS512" => Self::Ps512,
            "ES256" => Self::Es256,
            "ES384" => Self::Es384,
            "ES512" => Self::Es512,
            "EdDSA" => Self::EdDsa,
            "HS256" | "HS384" | "HS512" => Self::Symmetric,
            _ => return None,
        })
    }
}

/// A set of public keys.
pub struct Keys(Box<[Key]>);

struct Key {
    id: String,
    /// The only algorithm that it is for.
    algorithm: Option<Algorithm>,
    material: Material,
}

enum Material {
    Rsa {
        n: Vec<u8>,
        e: Vec<u8>,
    },
    /// An uncompressed point.
    P256(Vec<u8>),
    P384(Vec<u8>),
    P521(Vec<u8>),
    Ed25519(Vec<u8>),
}

impl Keys {
    /// Reads a set. Keys that are of no use here are left out.
    ///
    /// # Errors
    /// If it is no set of keys.
    pub fn parse(text: &str) -> Result<Self, String> {
        let set: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let keys = set.get("keys").and_then(Value::as_array).ok_or("wanted an object with a list `keys`")?;
        Ok(Self(keys.iter().filter_map(Key::read).collect()))
    }

    /// Verifies the signature of a token, whose text is given as well.
    pub(super) fn verify(&self, token: &Token, text: &str) -> Result<(), Failure> {
        if self.0.is_empty() {
            return Err(Failure::NoKeys);
        }
        let mut failure = Failure::NoSuchKey;
        for key in &self.0 {
            let other_id = !token.key_id.is_empty() && !key.id.is_empty() && key.id != token.key_id;
            if other_id || key.algorithm.is_some_and(|only| only != token.algorithm) {
                continue;
            }
            if key.material.verifies(token.algorithm, &text.as_bytes()[..token.signed], &token.signature) {
                return Ok(());
            }
            failure = Failure::Signature;
        }
        Err(failure)
    }
}

impl Key {
    fn read(value: &Value) -> Option<Self> {
        let text = |name: &str| value.get(name).and_then(Value::as_str);
        let bytes = |name: &str| BASE64_URL_SAFE_NO_PAD.decode(text(name)?.trim_end_matches('=')).ok();
        let point = |length: usize| {
            let (x, y) = (bytes("x")?, bytes("y")?);
            (x.len() == length && y.len() == length).then(|| [&[4], &x[..], &y[..]].concat())
        };
        let material = match (text("kty")?, text("crv")) {
            ("RSA", _) => Material::Rsa { n: bytes("n")?, e: bytes("e")? },
            ("EC", Some("P-256")) => Material::P256(point(32)?),
            ("EC", Some("P-384")) => Material::P384(point(48)?),
            ("EC", Some("P-521")) => Material::P521(point(66)?),
            ("OKP", Some("Ed25519")) => Material::Ed25519(bytes("x")?),
            _ => return None,
        };
        let algorithm = match text("alg") {
            None => None,
            Some(name) => Some(Algorithm::parse(name)?),
        };
        let id = text("kid").unwrap_or_default().to_owned();
        Some(Self { id, algorithm, material })
    }
}

impl Material {
    fn verifies(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        let rsa = |n: &[u8], e: &[u8]| {
            let parameters = match algorithm {
                Algorithm::Rs256 => &sig::RSA_PKCS1_2048_8192_SHA256,
                Algorithm::Rs384 => &sig::RSA_PKCS1_2048_8192_SHA384,
                Algorithm::Rs512 => &sig::RSA_PKCS1_2048_8192_SHA512,
                Algorithm::Ps256 => &sig::RSA_PSS_2048_8192_SHA256,
                Algorithm::Ps384 => &sig::RSA_PSS_2048_8192_SHA384,
                Algorithm::Ps512 => &sig::RSA_PSS_2048_8192_SHA512,
                _ => return false,
            };
            RsaPublicKeyComponents { n, e }.verify(parameters, message, signature).is_ok()
        };
        let one = |wanted, by: &'static dyn sig::VerificationAlgorithm, key: &[u8]| {
            algorithm == wanted && UnparsedPublicKey::new(by, key).verify(message, signature).is_ok()
        };
        match self {
            Self::Rsa { n, e } => rsa(n, e),
            Self::P256(key) => one(Algorithm::Es256, &sig::ECDSA_P256_SHA256_FIXED, key),
            Self::P384(key) => one(Algorithm::Es384, &sig::ECDSA_P384_SHA384_FIXED, key),
            Self::P521(key) => one(Algorithm::Es512, &sig::ECDSA_P521_SHA512_FIXED, key),
            Self::Ed25519(key) => one(Algorithm::EdDsa, &sig::ED25519, key),
        }
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|key| &key.id)).finish()
    }
}
