//! TLS for the port that serves certificates and xDS: our own certificate, swapped while connections go on, and
//! clients' certificates verified against the roots of the moment.

use crate::{Authority, Name, Roots, SignError, x509};
use arc_swap::ArcSwap;
use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair},
};
use model::Identity;
use rustls::{
    DigitallySignedStruct, DistinguishedName, ServerConfig, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::{CryptoProvider, aws_lc_rs::sign::any_ecdsa_type},
    pki_types::{CertificateDer, PrivateKeyDer, UnixTime},
    server::{
        ClientHello, NoServerSessionStorage, ResolvesServerCert,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
    sign::CertifiedKey,
};
use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

/// How long a serving certificate lives. Half of it goes by before the next one is made.
const LIFE: Duration = Duration::from_secs(24 * 3600);

/// Who is at the other end of a connection, as its handshake proved it. Belongs into the extensions of each request
/// of the connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Peer {
    /// The client's identity, if it has a certificate that names exactly one.
    pub identity: Option<Identity>,
    /// The client has a certificate, and it is trusted.
    pub has_certificate: bool,
}

impl Peer {
    /// The peer of a connection after its handshake.
    pub fn of(connection: &rustls::ServerConnection) -> Self {
        let certificate = connection.peer_certificates().and_then(<[_]>::first);
        Self { identity: certificate.and_then(|leaf| identity(leaf)), has_certificate: certificate.is_some() }
    }
}

/// The identity that a certificate names. One that names several is nobody's: which of them spoke can't be told.
pub fn identity(certificate: &CertificateDer<'_>) -> Option<Identity> {
    match &x509::Certificate::parse(certificate).ok()?.uris[..] {
        [uri] => uri.parse().ok(),
        _ => None,
    }
}

/// Our serving certificate.
pub(crate) struct Serving {
    roots: Arc<Roots>,
    names: Vec<Name>,
    current: ArcSwap<Issued>,
}

struct Issued {
    certified: Arc<CertifiedKey>,
    renew_at: SystemTime,
    by: Arc<Authority>,
}

impl Serving {
    pub fn new(roots: Arc<Roots>, names: Vec<Name>, now: SystemTime) -> Result<Self, SignError> {
        let first = issue(&roots, &names, now)?;
        Ok(Self { roots, names, current: ArcSwap::from_pointee(first) })
    }

    /// Makes the next certificate if it is time, or if the authority was replaced. On failure the last one stays.
    pub fn refresh(&self, now: SystemTime) -> Result<(), SignError> {
        let current = self.current.load();
        if now >= current.renew_at || !Arc::ptr_eq(&current.by, &self.roots.authority()) {
            self.current.store(Arc::new(issue(&self.roots, &self.names, now)?));
        }
        Ok(())
    }
}

/// A certificate for a new key of our own.
fn issue(roots: &Roots, names: &[Name], now: SystemTime) -> Result<Issued, SignError> {
    let failed =
        |error: &dyn fmt::Display| SignError::Authority(format!("no key for our serving certificate: {error}"));
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &SystemRandom::new())
        .map_err(|error| failed(&error))?;
    let key = any_ecdsa_type(&PrivateKeyDer::Pkcs8(pkcs8.as_ref().into())).map_err(|error| failed(&error))?;
    let public_key = key.public_key().ok_or_else(|| failed(&"it has no public half"))?;
    let authority = roots.authority();
    let (leaf, not_after) = authority.issue(&public_key, names, LIFE, now)?;
    let chain = std::iter::once(leaf).chain(authority.intermediates().iter().cloned()).collect();
    let renew_at = now + not_after.duration_since(now).unwrap_or_default() / 2;
    Ok(Issued { certified: Arc::new(CertifiedKey::new(chain, key)), renew_at, by: authority })
}

impl fmt::Debug for Serving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Serving({:?})", self.names)
    }
}

impl ResolvesServerCert for Serving {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.load().certified.clone())
    }
}

/// The configuration of the port: HTTP/2 over TLS 1.2 or 1.3, client certificates optional. Sessions are not resumed,
/// for a resumed session would not look again whether the client's certificate is still valid and trusted.
pub(crate) fn server_config(serving: Arc<Serving>, roots: Arc<Roots>) -> Result<ServerConfig, rustls::Error> {
    let provider: Arc<CryptoProvider> = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(Arc::new(CurrentRoots(roots)))
        .with_cert_resolver(serving);
    config.alpn_protocols = vec![b"h2".to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

/// Verifies clients against the roots of the moment of the handshake.
struct CurrentRoots(Arc<Roots>);

impl fmt::Debug for CurrentRoots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CurrentRoots")
    }
}

impl ClientCertVerifier for CurrentRoots {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        self.0.authority().client_verifier().verify_client_cert(leaf, intermediates, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.authority().client_verifier().verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.authority().client_verifier().verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.authority().client_verifier().supported_verify_schemes()
    }
}
