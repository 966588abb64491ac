//! Certificates.

use model::{CertificateKey, KeyPair};
use proto::{
    Resource,
    envoy::envoy::{
        config::core::v3::{DataSource, data_source::Specifier},
        extensions::transport_sockets::tls::v3::{Secret, TlsCertificate, secret::Type},
    },
};

/// A certificate chain and its key.
pub(crate) fn secret(key: &CertificateKey, pair: &KeyPair) -> Resource {
    let inline = |bytes: &[u8]| {
        Some(DataSource { specifier: Some(Specifier::InlineBytes(bytes.to_vec())), ..Default::default() })
    };
    let certificate =
        TlsCertificate { certificate_chain: inline(&pair.chain), private_key: inline(&pair.key), ..Default::default() };
    Resource::encode(&Secret { name: key.to_string(), r#type: Some(Type::TlsCertificate(certificate)) })
}
