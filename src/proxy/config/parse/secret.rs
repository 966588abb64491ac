//! SDS.

use super::at::{At, Fault, take};
use crate::config::{CertificateSecret, Name, Secret};
use proto::envoy::envoy::{
    config::core::v3::{DataSource, data_source::Specifier},
    extensions::transport_sockets::tls::v3::{self as pb, secret::Type},
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use std::sync::Arc;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

pub(super) fn secret(at: &At<'_>, name: &Name, message: pb::Secret) -> Result<Secret, Fault> {
    at.same_name(name, &message.name)?;
    take!(at, message => pb::Secret { r#type } moot { name } refuse {});
    match r#type {
        Some(Type::TlsCertificate(certificate)) => {
            certificate_secret(&at.field("tls_certificate"), certificate).map(Secret::Certificate)
        }
        Some(Type::ValidationContext(context)) => roots(&at.field("validation_context"), context).map(Secret::Roots),
        _ => at.field("type").fail("wanted tls_certificate or validation_context"),
    }
}

fn certificate_secret(at: &At<'_>, message: pb::TlsCertificate) -> Result<CertificateSecret, Fault> {
    take!(at, message => pb::TlsCertificate { certificate_chain, private_key } moot { ocsp_staple }
    refuse {
        pkcs12, watched_directory, private_key_provider, password, signed_certificate_timestamp, tls_params,
    });
    let chain = certificates(&at.field("certificate_chain"), at.want("certificate_chain", certificate_chain)?)?;
    let at_key = at.field("private_key");
    let key = PrivateKeyDer::from_pem_slice(&bytes(&at_key, at.want("private_key", private_key)?)?);
    let key = key.map_err(|error| at_key.fault(format!("wanted a private key as PEM: {error}")))?;
    let at_chain = at.field("certificate_chain");
    let (names, not_after) = leaf(&at_chain, &chain[0])?;
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let key = rustls::sign::CertifiedKey::from_der(chain, key, &provider)
        .map_err(|error| at.fault(format!("chain and key don't make a usable certificate: {error}")))?;
    Ok(CertificateSecret { key: Arc::new(key), names, not_after })
}

/// DNS names and end of validity.
fn leaf(at: &At<'_>, der: &CertificateDer<'_>) -> Result<(Vec<Name>, i64), Fault> {
    let (_, certificate) =
        X509Certificate::from_der(der).map_err(|error| at.fault(format!("wanted an X.509 certificate: {error}")))?;
    let alternatives = certificate.subject_alternative_name().ok().flatten();
    let names = alternatives.iter().flat_map(|extension| &extension.value.general_names);
    let names = names.filter_map(|name| match name {
        GeneralName::DNSName(name) => Some(at.name(&name.to_ascii_lowercase())),
        _ => None,
    });
    Ok((names.collect(), certificate.validity().not_after.timestamp()))
}

fn roots(at: &At<'_>, message: pb::CertificateValidationContext) -> Result<Vec<CertificateDer<'static>>, Fault> {
    take!(at, message => pb::CertificateValidationContext { trusted_ca } moot { suppress_client_ca_list }
    refuse {
        ca_certificate_provider_instance, system_root_certs, watched_directory, verify_certificate_spki,
        verify_certificate_hash, match_typed_subject_alt_names, match_subject_alt_names,
        require_signed_certificate_timestamp, crl, allow_expired_certificate, trust_chain_verification,
        custom_validator_config, only_verify_leaf_cert_crl, max_verify_depth,
    });
    let (at, source) = (at.field("trusted_ca"), at.want("trusted_ca", trusted_ca)?);
    match &source.specifier {
        Some(Specifier::Filename(file)) if SYSTEM_AUTHORITIES.contains(&&**file) => system_authorities(&at),
        _ => certificates(&at, source),
    }
}

/// Where systems keep the authorities that their owner trusts. Any of these names means all of them: a control plane
/// doesn't know which system we run on.
const SYSTEM_AUTHORITIES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

fn system_authorities(at: &At<'_>) -> Result<Vec<CertificateDer<'static>>, Fault> {
    let Some(pem) = SYSTEM_AUTHORITIES.iter().find_map(|file| std::fs::read(file).ok()) else {
        return at.fail(format!("no certificates of authorities on this system: looked for {SYSTEM_AUTHORITIES:?}"));
    };
    let roots: Vec<_> = CertificateDer::pem_slice_iter(&pem).filter_map(Result::ok).collect();
    if roots.is_empty() { at.fail("the system's file of authorities holds no certificate as PEM") } else { Ok(roots) }
}

/// One certificate at least.
fn certificates(at: &At<'_>, source: DataSource) -> Result<Vec<CertificateDer<'static>>, Fault> {
    let pem = bytes(at, source)?;
    let chain = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>();
    match chain {
        Ok(chain) if !chain.is_empty() => Ok(chain),
        Ok(_) => at.fail("wanted a certificate as PEM, saw none"),
        Err(error) => at.fail(format!("wanted certificates as PEM: {error}")),
    }
}

/// What is written in the resource itself. A server must not make us read files or our environment.
pub(super) fn bytes(at: &At<'_>, source: DataSource) -> Result<Vec<u8>, Fault> {
    take!(at, source => DataSource { specifier } moot {} refuse { watched_directory });
    match specifier {
        Some(Specifier::InlineBytes(bytes)) => Ok(bytes),
        Some(Specifier::InlineString(text)) => Ok(text.into_bytes()),
        _ => at.fail("wanted inline_bytes or inline_string"),
    }
}
