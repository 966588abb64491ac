//! Certificates in Secrets: read, and checked to be what both data planes can present.

use crate::{Inputs, wanted::Unreadable};
use api::Secret;
use engine::{Engine, Table};
use model::{CertificateKey, KeyPair, ObjectKey};
use rustls::{
    Error, InconsistentKeys, SignatureAlgorithm,
    crypto::aws_lc_rs::sign::any_supported_type,
    pki_types::{CertificateDer, PrivateKeyDer, pem, pem::PemObject},
    sign::CertifiedKey,
};

/// The tables of certificates.
#[derive(Clone, Copy)]
pub(crate) struct Certificates {
    /// What can be presented.
    pub(crate) usable: Table<CertificateKey, KeyPair>,
    /// For every Secret that is known what is wrong with it as a certificate. Apart, so that a renewal reaches no listener.
    pub(crate) verdicts: Table<ObjectKey, Option<String>>,
}

pub(crate) fn declare(engine: &mut Engine, inputs: &Inputs, unreadable: &Unreadable) -> Certificates {
    let read = engine.derive("secrets read", &inputs.secrets, |_, key, rows| {
        rows.iter().map(|secret| (key.clone(), read(secret))).collect()
    });
    let verdicts = engine.derive("certificate verdicts", &read, |_, key, rows| {
        rows.iter().map(|read| (key.clone(), read.as_ref().as_ref().err().cloned())).collect()
    });
    Certificates {
        usable: engine.derive("certificates", &read, |_, key, rows| {
            let usable = rows.iter().filter_map(|read| read.as_ref().as_ref().ok());
            usable.map(|pair| (CertificateKey(key.clone()), pair.clone())).collect()
        }),
        verdicts: engine.union("all certificate verdicts", &[verdicts, unreadable.secrets]),
    }
}

/// What the Secret holds, or a sentence on why that can't be presented.
fn read(secret: &Secret) -> Result<KeyPair, String> {
    // `tls.crt` and `tls.key` as in a Secret of type kubernetes.io/tls; `cert` and `key` are Istio's generic form.
    let (chain_key, chain) = entry(secret, ["tls.crt", "cert"]).ok_or("has no data[\"tls.crt\"]")?;
    let (key_key, key) = entry(secret, ["tls.key", "key"]).ok_or("has no data[\"tls.key\"]")?;
    let certificates = certificates(chain).map_err(|why| format!("data[{chain_key:?}] {why}"))?;
    let private = PrivateKeyDer::from_pem_slice(key)
        .map_err(|why| format!("data[{key_key:?}] holds no private key in PEM: {}", pem_error(&why)))?;
    let signer = any_supported_type(&private)
        .map_err(|_| format!("data[{key_key:?}] is no key that can be used: {WANTED_KEY}"))?;
    if signer.algorithm() == SignatureAlgorithm::ED25519 {
        return Err(format!("data[{key_key:?}] is an Ed25519 key, which Envoy can't present: {WANTED_KEY}"));
    }
    match CertifiedKey::new(certificates, signer).keys_match() {
        Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => {
            Ok(KeyPair { chain: chain.into(), key: key.into() })
        }
        Err(Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => {
            Err(format!("data[{key_key:?}] is not the key of the first certificate in data[{chain_key:?}]"))
        }
        Err(Error::InvalidCertificate(why)) => {
            Err(format!("data[{chain_key:?}] starts with no valid X.509 certificate ({why:?})"))
        }
        Err(why) => Err(format!("data[{chain_key:?}] and data[{key_key:?}] can't be used together: {why}")),
    }
}

const WANTED_KEY: &str = "wanted RSA of 2048 bits or more, or ECDSA on P-256, P-384 or P-521";

fn entry<'a>(secret: &'a Secret, names: [&'static str; 2]) -> Option<(&'static str, &'a [u8])> {
    names.into_iter().find_map(|name| {
        let plain = secret.string_data.as_ref().and_then(|data| data.get(name)).map(String::as_bytes);
        let encoded = || secret.data.as_ref().and_then(|data| data.get(name)).map(|data| &*data.0);
        plain.or_else(encoded).map(|bytes| (name, bytes))
    })
}

fn certificates(chain: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(chain)
        .collect::<Result<_, _>>()
        .map_err(|why| format!("is no PEM: {}", pem_error(&why)))?;
    match certificates.is_empty() {
        true => Err("holds no certificate in PEM (-----BEGIN CERTIFICATE-----)".into()),
        false => Ok(certificates),
    }
}

/// Says no more than the kind of the error: the texts of the library quote the input, which may be a key.
pub(crate) fn pem_error(error: &pem::Error) -> &'static str {
    match error {
        pem::Error::NoItemsFound => "no such section found",
        pem::Error::MissingSectionEnd { .. } => "a section has no end",
        pem::Error::IllegalSectionStart { .. } => "a section has no proper start",
        pem::Error::Base64Decode(_) => "a section is no base64",
        _ => "can't be read",
    }
}
