//! Connections to the control plane: TLS with our certificate, against the roots that we trust at the moment.

use super::{Certificate, Manager, Options};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
    sign::SingleCertAndKey,
};
use std::{io, sync::Arc, time::Duration};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

/// How long a connection may take to open.
const PATIENCE: Duration = Duration::from_secs(5);

/// Opens connections for the xDS client. It waits for a certificate first: resources are bound to the identity that
/// the certificate proves.
#[derive(Clone, Debug)]
pub struct Connector {
    manager: Arc<Manager>,
    address: String,
}

impl Connector {
    pub(super) fn new(manager: Arc<Manager>, address: String) -> Self {
        Self { manager, address }
    }
}

impl xds::client::Connect for Connector {
    type Io = TlsStream<TcpStream>;

    async fn connect(&self) -> io::Result<Self::Io> {
        let certificate = self.manager.ready().await;
        open(&self.manager.options, &self.address, Some(&certificate), self.manager.known().as_deref()).await
    }
}

/// Opens a connection to `address`, showing a certificate or none. `known` is the newest certificate that we have had:
/// its roots are trusted beside those of the file, for each may learn of a new root first.
pub(super) async fn open(
    options: &Options,
    address: &str,
    shown: Option<&Certificate>,
    known: Option<&Certificate>,
) -> io::Result<TlsStream<TcpStream>> {
    let config = Arc::new(client_config(options, shown, known)?);
    let name = ServerName::try_from(options.server_name.clone()).map_err(io::Error::other)?;
    let opened = tokio::time::timeout(PATIENCE, async {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        TlsConnector::from(config).connect(name, stream).await
    });
    match opened.await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => Err(io::Error::new(error.kind(), format!("{address}: {error}"))),
        Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, format!("{address}: not open after {PATIENCE:?}"))),
    }
}

fn client_config(
    options: &Options,
    shown: Option<&Certificate>,
    known: Option<&Certificate>,
) -> io::Result<ClientConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots(options, known)?);
    let mut config = match shown {
        Some(certificate) => {
            builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(certificate.certified().clone())))
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    // A resumed session would speak for the certificate of the session before it.
    config.resumption = rustls::client::Resumption::disabled();
    Ok(config)
}

fn roots(options: &Options, known: Option<&Certificate>) -> io::Result<RootCertStore> {
    let path = options.roots.display();
    let mut store = RootCertStore::empty();
    let kept = known.map(Certificate::roots).unwrap_or_default();
    // A file that has gone bad must not keep us from the roots that we already know.
    let read = CertificateDer::pem_file_iter(&options.roots).and_then(|blocks| blocks.collect::<Result<Vec<_>, _>>());
    let file = match read {
        Ok(file) => file,
        Err(error) if kept.is_empty() => return Err(io::Error::other(format!("{path}: no roots to trust: {error}"))),
        Err(error) => {
            tracing::warn!(%error, %path, "the roots to trust can't be read; those that came with our certificate stay");
            Vec::new()
        }
    };
    for root in file.iter().chain(kept) {
        store.add(root.clone()).map_err(|error| io::Error::other(format!("{path}: a root can't be used: {error}")))?;
    }
    if store.is_empty() {
        return Err(io::Error::other(format!("{path}: no roots to trust: wanted PEM blocks CERTIFICATE, saw none")));
    }
    Ok(store)
}
