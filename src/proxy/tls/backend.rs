//! TLS that starts here, towards a backend: its certificate is held against roots and names.

use super::trust::Trust;
use crate::config::{SubjectName, TlsVersion, UpstreamTls};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, OtherError, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
    sign::{CertifiedKey, SingleCertAndKey},
};
use std::{fmt, sync::Arc};
use x509_parser::{extensions::GeneralName, parse_x509_certificate};

/// The settings of a cluster.
pub(super) fn settings(
    tls: &UpstreamTls,
    roots: &[CertificateDer<'static>],
    own: Option<&Arc<CertifiedKey>>,
    provider: &Arc<CryptoProvider>,
) -> Result<ClientConfig, Error> {
    let trust = Trust::new(roots, provider);
    let verifier = Verifier { trust, names: tls.names.clone(), provider: provider.clone() };
    let config = ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&TlsVersion::range(tls.min, tls.max))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = match own {
        Some(own) => config.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(own.clone()))),
        None => config.with_no_client_auth(),
    };
    config.enable_sni = tls.sni.is_some();
    config.alpn_protocols = tls.alpn.iter().map(|protocol| protocol.to_vec()).collect();
    Ok(config)
}

#[derive(Debug)]
struct Verifier {
    trust: Trust,
    names: Box<[SubjectName]>,
    provider: Arc<CryptoProvider>,
}

/// None of the names of a certificate is one that was wanted.
struct OtherNames {
    wanted: Box<[SubjectName]>,
    seen: Vec<SubjectName>,
}

impl fmt::Display for OtherNames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |names: &[SubjectName]| names.iter().map(ToString::to_string).collect::<Vec<_>>().join(" or ");
        let seen = self.seen.iter().take(8).cloned().collect::<Vec<_>>();
        let seen = if seen.is_empty() { "no name".to_owned() } else { list(&seen).replace(" or ", ", ") };
        write!(f, "wanted a certificate with {}, saw one with {seen}", list(&self.wanted))
    }
}

/// rustls shows errors that aren't its own in this form.
impl fmt::Debug for OtherNames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for OtherNames {}

impl Verifier {
    fn names(&self, leaf: &CertificateDer<'_>) -> Result<(), Error> {
        if self.names.is_empty() {
            return Ok(());
        }
        let (_, parsed) = parse_x509_certificate(leaf).map_err(|_| CertificateError::BadEncoding)?;
        let alternatives = parsed.subject_alternative_name().map_err(|_| CertificateError::BadEncoding)?;
        let names = alternatives.iter().flat_map(|extension| &extension.value.general_names);
        let seen: Vec<SubjectName> = names
            .filter_map(|name| match name {
                GeneralName::DNSName(name) => Some(SubjectName::Dns(name.to_ascii_lowercase().into())),
                GeneralName::URI(uri) => Some(SubjectName::Uri((*uri).into())),
                _ => None,
            })
            .collect();
        if self.names.iter().any(|wanted| seen.iter().any(|seen| wanted.is_met_by(seen))) {
            return Ok(());
        }
        let names = OtherNames { wanted: self.names.clone(), seen };
        Err(CertificateError::Other(OtherError(Arc::new(names))).into())
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.trust.server(leaf, intermediates, now)?;
        self.names(leaf)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, leaf, signature, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, leaf, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
