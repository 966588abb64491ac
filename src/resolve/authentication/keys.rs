//! JSON Web Key Sets: only what both data planes can use goes on, in one form.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ECDSA_P521_SHA512_FIXED, ParsedPublicKey, VerificationAlgorithm,
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// Longest set, bytes.
const LONGEST: usize = 256 << 10;
/// Most keys of a set.
const MOST: usize = 64;

/// Stands for no keys at all, since Envoy refuses an empty set. Nobody has its private key: its x is the first of the
/// SHA-256 digests of `windlass: nobody has the private key 0`, `.. 1`, .. that lies on the curve.
const NOBODYS: &str = concat!(
    r#"{"keys":[{"alg":"ES256","crv":"P-256","kid":"none","kty":"EC","#,
    r#""x":"Vu1DOwPCPYLy6um88ZwJFggUdnlF8sDPqpIl2Sflxbg","y":"3egMNWHXZNd-7I17Rc1yo_wcjGM8MxfkWEFtou6naOg"}]}"#
);

/// A set with which no token is valid.
pub(super) fn none() -> Arc<str> {
    NOBODYS.into()
}

/// The public keys of a set that can verify a token, with nothing but what is needed for that.
pub(super) fn read(text: &str) -> Result<Arc<str>, String> {
    if text.len() > LONGEST {
        return Err(format!("wanted at most {LONGEST} bytes, saw {}", text.len()));
    }
    let set: Value = serde_json::from_str(text).map_err(|error| format!("wanted a JSON Web Key Set, saw {error}"))?;
    let Some(keys) = set.get("keys").and_then(Value::as_array) else {
        return Err("wanted a JSON Web Key Set: an object with a list `keys`".into());
    };
    let mut faults = Vec::new();
    let mut good = Vec::new();
    for (index, written) in keys.iter().enumerate() {
        match key(written) {
            Ok(key) => good.push(key),
            Err(why) => faults.push(format!("keys[{index}]: {why}")),
        }
    }
    good.truncate(MOST);
    match (good.is_empty(), faults.first()) {
        (false, _) => Ok(json!({ "keys": good }).to_string().into()),
        (true, Some(first)) => Err(format!("no key can be used: {first}")),
        (true, None) => Err("there is no key in it".into()),
    }
}

fn key(written: &Value) -> Result<Value, String> {
    let text = |name: &str| written.get(name).and_then(Value::as_str);
    let bytes = |name: &str| {
        let decoded = text(name).and_then(|text| BASE64_URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).ok());
        decoded.ok_or_else(|| format!("{name}: wanted base64url"))
    };
    let encode = |bytes: &[u8]| Value::from(BASE64_URL_SAFE_NO_PAD.encode(bytes));
    if text("use").is_some_and(|purpose| purpose != "sig") {
        return Err("it is not for signatures".into());
    }
    let mut key = Map::new();
    let mut algorithms: &[&str] = &["EdDSA"];
    match (text("kty"), text("crv")) {
        (Some("RSA"), _) => {
            let (n, e) = (bytes("n")?, bytes("e")?);
            let bits = 8 * n.iter().skip_while(|byte| **byte == 0).count();
            if !(2048..=8192).contains(&bits) {
                return Err(format!("wanted an RSA key of 2048 to 8192 bits, saw {bits}"));
            }
            // What BoringSSL takes.
            let exponent = e.iter().skip_while(|byte| **byte == 0).count();
            let odd = |bytes: &[u8]| bytes.last().is_some_and(|byte| byte % 2 == 1);
            if !odd(&n) || !odd(&e) || exponent > 4 || e.ends_with(&[1]) && exponent == 1 {
                return Err("wanted an odd modulus and an odd exponent of 2 to 32 bits".into());
            }
            algorithms = &["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"];
            key.extend([("kty".into(), "RSA".into()), ("n".into(), encode(&n)), ("e".into(), encode(&e))]);
        }
        (Some("EC"), Some(curve @ ("P-256" | "P-384" | "P-521"))) => {
            let (length, only): (usize, &[&str]) = match curve {
                "P-256" => (32, &["ES256"]),
                "P-384" => (48, &["ES384"]),
                _ => (66, &["ES512"]),
            };
            let (x, y) = (bytes("x")?, bytes("y")?);
            if x.len() != length || y.len() != length {
                return Err(format!("wanted coordinates of {length} bytes for {curve}"));
            }
            let on_curve: &'static dyn VerificationAlgorithm = match curve {
                "P-256" => &ECDSA_P256_SHA256_FIXED,
                "P-384" => &ECDSA_P384_SHA384_FIXED,
                _ => &ECDSA_P521_SHA512_FIXED,
            };
            if ParsedPublicKey::new(on_curve, [&[4], &x[..], &y[..]].concat()).is_err() {
                return Err(format!("wanted a point of the curve {curve}"));
            }
            algorithms = only;
            let point = [("crv".into(), curve.into()), ("x".into(), encode(&x)), ("y".into(), encode(&y))];
            key.extend([("kty".into(), "EC".into())].into_iter().chain(point));
        }
        (Some("OKP"), Some("Ed25519")) => {
            let x = bytes("x")?;
            if x.len() != 32 {
                return Err("wanted 32 bytes for Ed25519".into());
            }
            key.extend([("kty".into(), "OKP".into()), ("crv".into(), "Ed25519".into()), ("x".into(), encode(&x))]);
        }
        (Some("oct"), _) => return Err("a symmetric key signs as well as it verifies, and is no public key".into()),
        (kind, _) => return Err(format!("wanted RSA, EC or OKP, saw {kind:?}")),
    }
    if let Some(algorithm) = text("alg") {
        if !algorithms.contains(&algorithm) {
            return Err(format!("alg: wanted one of {}, saw {algorithm:?}", algorithms.join(", ")));
        }
        key.insert("alg".into(), algorithm.into());
    }
    if let Some(id) = text("kid") {
        key.insert("kid".into(), id.into());
    }
    Ok(Value::Object(key))
}
