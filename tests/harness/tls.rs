//! A certificate authority of the test's own, and the client's side of TLS.

use anyhow::{Context, Result};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, SanType};
use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, ServerConfig, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
    server::WebPkiClientVerifier,
};
use std::sync::Arc;
use tokio::{io::AsyncWriteExt, net::TcpStream};
use tokio_rustls::{TlsConnector, client::TlsStream};

/// A certificate with its key, both PEM.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// The chain.
    pub chain: String,
    /// The key.
    pub key: String,
}

impl Certificate {
    fn parsed(&self) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)> {
        let chain = CertificateDer::pem_slice_iter(self.chain.as_bytes()).collect::<Result<_, _>>().ok();
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes()).ok();
        Ok((chain.context("a chain")?, key.context("a key")?))
    }
}

/// Makes a self-signed certificate for these names.
pub fn certificate(names: &[String]) -> Result<Certificate> {
    let made = rcgen::generate_simple_self_signed(names.to_vec()).context("make a certificate")?;
    Ok(Certificate { chain: made.cert.pem(), key: made.signing_key.serialize_pem() })
}

/// An authority that signs certificates.
pub struct Authority {
    params: CertificateParams,
    key: KeyPair,
    /// Its own certificate, PEM.
    pub pem: String,
}

impl Authority {
    /// A new one.
    pub fn new(name: &str) -> Result<Self> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate()?;
        let pem = params.self_signed(&key)?.pem();
        Ok(Self { params, key, pem })
    }

    /// A certificate for these names; one with `://` is a URI, one with `=` the common name.
    pub fn certificate(&self, names: &[String]) -> Result<Certificate> {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        for name in names {
            match name.strip_prefix("CN=") {
                Some(name) => params.distinguished_name.push(DnType::CommonName, name),
                None if name.contains("://") => params.subject_alt_names.push(SanType::URI(name.as_str().try_into()?)),
                None => params.subject_alt_names.push(SanType::DnsName(name.as_str().try_into()?)),
            }
        }
        let key = KeyPair::generate()?;
        let signed = params.signed_by(&key, &Issuer::from_params(&self.params, &self.key))?;
        Ok(Certificate { chain: signed.pem(), key: key.serialize_pem() })
    }
}

/// The settings of a server with that certificate. With an authority, clients need a certificate of it.
pub fn server(shown: &Certificate, clients: Option<&Authority>, alpn: &[u8]) -> Result<Arc<ServerConfig>> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions()?;
    let config = match clients {
        None => config.with_no_client_auth(),
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            roots.add(CertificateDer::from_pem_slice(authority.pem.as_bytes()).context("an authority")?)?;
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build()?;
            config.with_client_cert_verifier(verifier)
        }
    };
    let (chain, key) = shown.parsed()?;
    let mut config = config.with_single_cert(chain, key)?;
    config.alpn_protocols = vec![alpn.to_vec()];
    Ok(Arc::new(config))
}

/// Connects with that server name; empty sends none.
pub async fn connect(
    tcp: TcpStream,
    sni: &str,
    http2: bool,
    own: Option<&Certificate>,
) -> Result<TlsStream<TcpStream>> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anything(provider)));
    let mut config = match own {
        None => config.with_no_client_auth(),
        Some(own) => {
            let (chain, key) = own.parsed()?;
            config.with_client_auth_cert(chain, key)?
        }
    };
    config.enable_sni = !sni.is_empty();
    config.alpn_protocols = vec![if http2 { b"h2".to_vec() } else { b"http/1.1".to_vec() }];
    let name = if sni.is_empty() { "unnamed.invalid" } else { sni };
    let name = ServerName::try_from(name.to_owned()).with_context(|| format!("{sni:?} is no server name"))?;
    let mut stream = TlsConnector::from(Arc::new(config)).connect(name, tcp).await.context("TLS handshake")?;
    stream.flush().await?;
    Ok(stream)
}

/// The first certificate that a server shows for that name, DER.
pub async fn shown_certificate(to: std::net::SocketAddr, sni: &str) -> Result<Vec<u8>> {
    let stream = connect(TcpStream::connect(to).await?, sni, false, None).await?;
    let chain = stream.get_ref().1.peer_certificates().context("no certificate was shown")?;
    Ok(chain.first().context("an empty chain was shown")?.to_vec())
}

/// The tests look at which certificate is shown, not at who signed it.
#[derive(Debug)]
struct Anything(Arc<CryptoProvider>);

impl ServerCertVerifier for Anything {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
