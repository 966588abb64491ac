//! Certificate signing requests, checked at the door (RFC 2986).
//!
//! Of a request only the public key goes on; nothing else that the caller wrote reaches a certificate.

use crate::{der, sign::SignError};
use aws_lc_rs::signature::{self, UnparsedPublicKey, VerificationAlgorithm};
use model::Identity;
use rustls::pki_types::{CertificateSigningRequestDer, alg_id, pem::PemObject};
use x509_parser::{
    certification_request::X509CertificationRequest,
    cri_attributes::ParsedCriAttribute,
    extensions::{GeneralName, ParsedExtension},
    prelude::FromDer,
    public_key::PublicKey,
    x509::SubjectPublicKeyInfo,
};

/// The longest request that is read, as PEM, in bytes. An RSA 8192 request takes about 3 KiB.
pub const MAX_CSR: usize = 16 * 1024;

/// The public key of a request, in the form in which certificates carry it (SubjectPublicKeyInfo).
pub(crate) struct PublicKeyInfo(pub Vec<u8>);

/// Checks a PEM request: it is whole, its key is one that we certify, its signature proves that the caller has the
/// private key, and if it names identities, they are the caller's.
pub(crate) fn check(pem: &str, caller: &Identity) -> Result<PublicKeyInfo, SignError> {
    if pem.len() > MAX_CSR {
        return Err(SignError::Malformed(format!("it has {} bytes, wanted at most {MAX_CSR}", pem.len())));
    }
    let der = CertificateSigningRequestDer::from_pem_slice(pem.as_bytes())
        .map_err(|error| SignError::Malformed(format!("no PEM block CERTIFICATE REQUEST: {error}")))?;
    let (rest, csr) = X509CertificationRequest::from_der(&der)
        .map_err(|error| SignError::Malformed(format!("its DER does not parse: {error}")))?;
    if !rest.is_empty() {
        return Err(SignError::Malformed(format!("{} bytes follow its DER", rest.len())));
    }
    let key = Key::parse(&csr.certification_request_info.subject_pki)?;
    key.verify(&csr)?;
    check_names(&csr, caller)?;
    Ok(PublicKeyInfo(key.to_der()))
}

/// The names of a request are ignored, for they come from the caller's proof, except that a request for somebody
/// else's name is refused instead of answered with a certificate that its sender did not ask for.
fn check_names(csr: &X509CertificationRequest<'_>, caller: &Identity) -> Result<(), SignError> {
    let caller = caller.to_string();
    let requests = csr.certification_request_info.iter_attributes().map(|attribute| attribute.parsed_attribute());
    for extension in requests.flat_map(|attribute| match attribute {
        ParsedCriAttribute::ExtensionRequest(request) => request.extensions.as_slice(),
        _ => &[],
    }) {
        match extension.parsed_extension() {
            ParsedExtension::SubjectAlternativeName(names) => {
                for name in &names.general_names {
                    match name {
                        GeneralName::URI(uri) if *uri != caller => {
                            let seen = uri.chars().take(200).collect();
                            return Err(SignError::ForeignName { wanted: caller, seen });
                        }
                        _ => {}
                    }
                }
            }
            ParsedExtension::ParseError { error } => {
                return Err(SignError::Malformed(format!("a requested extension does not parse: {error}")));
            }
            _ => {}
        }
    }
    Ok(())
}

/// The kinds of keys that we certify.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    P256,
    P384,
    Ed25519,
    Rsa,
}

/// A key of a known kind and of sufficient size.
struct Key<'a> {
    kind: Kind,
    bits: &'a [u8],
}

impl<'a> Key<'a> {
    fn parse(info: &'a SubjectPublicKeyInfo<'a>) -> Result<Self, SignError> {
        let algorithm = info.algorithm.algorithm.to_id_string();
        let bits = info.subject_public_key.data.as_ref();
        let kind = match algorithm.as_str() {
            "1.2.840.10045.2.1" => {
                let curve = info.algorithm.parameters.as_ref().and_then(|parameters| parameters.as_oid().ok());
                match curve.map(|oid| oid.to_id_string()).as_deref() {
                    Some("1.2.840.10045.3.1.7") if bits.len() == 65 => Kind::P256,
                    Some("1.3.132.0.34") if bits.len() == 97 => Kind::P384,
                    other => {
                        return Err(SignError::WeakKey(format!("an EC key on {}", other.unwrap_or("no named curve"))));
                    }
                }
            }
            "1.3.101.112" => Kind::Ed25519,
            "1.2.840.113549.1.1.1" => match info.parsed() {
                Ok(PublicKey::RSA(key)) if (2048..=8192).contains(&key.key_size()) => Kind::Rsa,
                Ok(PublicKey::RSA(key)) => {
                    return Err(SignError::WeakKey(format!("an RSA key of {} bits", key.key_size())));
                }
                _ => return Err(SignError::Malformed("its RSA key does not parse".into())),
            },
            other => return Err(SignError::WeakKey(format!("a key of algorithm {other}"))),
        };
        Ok(Self { kind, bits })
    }

    /// The algorithm of a signature that this kind of key can make.
    fn signature_algorithm(&self, oid: &str) -> Option<&'static dyn VerificationAlgorithm> {
        Some(match (self.kind, oid) {
            (Kind::P256, "1.2.840.10045.4.3.2") => &signature::ECDSA_P256_SHA256_ASN1,
            (Kind::P256, "1.2.840.10045.4.3.3") => &signature::ECDSA_P256_SHA384_ASN1,
            (Kind::P384, "1.2.840.10045.4.3.2") => &signature::ECDSA_P384_SHA256_ASN1,
            (Kind::P384, "1.2.840.10045.4.3.3") => &signature::ECDSA_P384_SHA384_ASN1,
            (Kind::Ed25519, "1.3.101.112") => &signature::ED25519,
            (Kind::Rsa, "1.2.840.113549.1.1.11") => &signature::RSA_PKCS1_2048_8192_SHA256,
            (Kind::Rsa, "1.2.840.113549.1.1.12") => &signature::RSA_PKCS1_2048_8192_SHA384,
            (Kind::Rsa, "1.2.840.113549.1.1.13") => &signature::RSA_PKCS1_2048_8192_SHA512,
            _ => return None,
        })
    }

    fn verify(&self, csr: &X509CertificationRequest<'_>) -> Result<(), SignError> {
        let oid = csr.signature_algorithm.algorithm.to_id_string();
        let algorithm = self
            .signature_algorithm(&oid)
            .ok_or_else(|| SignError::BadSignature(format!("algorithm {oid} is not one for a {:?} key", self.kind)))?;
        if csr.signature_value.unused_bits != 0 {
            return Err(SignError::BadSignature("it is not a whole number of bytes".into()));
        }
        UnparsedPublicKey::new(algorithm, self.bits)
            .verify(csr.certification_request_info.raw, &csr.signature_value.data)
            .map_err(|_| SignError::BadSignature("it is not by the key in the request".into()))
    }

    /// Written anew, so that a certificate holds no byte that we did not understand.
    fn to_der(&self) -> Vec<u8> {
        let algorithm = match self.kind {
            Kind::P256 => alg_id::ECDSA_P256,
            Kind::P384 => alg_id::ECDSA_P384,
            Kind::Ed25519 => alg_id::ED25519,
            Kind::Rsa => alg_id::RSA_ENCRYPTION,
        };
        let algorithm = der::value(der::SEQUENCE, &[&algorithm]);
        der::value(der::SEQUENCE, &[&algorithm, &der::bits(self.bits)])
    }
}
