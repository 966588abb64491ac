//! TLS that ends here: settings by filter chain, certificates by the configuration of the moment.
//!
//! Settings are made once and shared by all workers, so that a session can be resumed on any of them. A certificate is
//! looked up at each handshake: its swap touches no listener, no settings and no connection.

mod names;
mod resolve;

pub(crate) use names::peer_certificate;

use crate::config::{Config, Name, Secret, Shared, Tls, TlsVersion};
use resolve::Certificates;
use rustls::{
    RootCertStore, ServerConfig,
    crypto::{CryptoProvider, aws_lc_rs},
    server::{NoClientAuth, NoServerSessionStorage, WebPkiClientVerifier, danger::ClientCertVerifier},
};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

/// Why TLS can't end on a filter chain.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    #[error("the roots {0} that clients are checked against are not there")]
    NoRoots(Name),
    #[error("the roots {0} that clients are checked against can't be used: {1}")]
    BadRoots(Name, rustls::server::VerifierBuilderError),
    #[error(transparent)]
    Rustls(#[from] rustls::Error),
}

/// The settings of all filter chains, by what the chain says.
pub(crate) struct Settings {
    shared: Shared,
    provider: Arc<CryptoProvider>,
    made: Mutex<HashMap<(Tls, bool), Made>>,
}

struct Made {
    config: Arc<ServerConfig>,
    /// The roots that it was made with.
    roots: Option<Arc<Secret>>,
}

/// Settings of chains that are gone are dropped when there are more than these.
const MOST: usize = 4096;

impl Settings {
    pub(crate) fn new(shared: Shared) -> Self {
        Self { shared, provider: Arc::new(aws_lc_rs::default_provider()), made: Mutex::default() }
    }

    /// The settings for a connection. `alpn`: whether the client offers a protocol that the chain speaks; where it
    /// doesn't, no protocol is negotiated, as in Envoy, rather than the handshake refused.
    pub(crate) fn of(&self, config: &Config, tls: &Tls, alpn: bool) -> Result<Arc<ServerConfig>, TlsError> {
        let roots = match &tls.client_roots {
            None => None,
            Some(name) => Some(config.secrets.get(name).ok_or_else(|| TlsError::NoRoots(name.clone()))?),
        };
        // Poisoned: somebody panicked while it was locked, between two complete states.
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (tls.clone(), alpn);
        if let Some(made) = made.get(&key) {
            let same = match (&made.roots, roots) {
                (None, None) => true,
                (Some(old), Some(new)) => Arc::ptr_eq(old, new),
                _ => false,
            };
            if same {
                return Ok(made.config.clone());
            }
        }
        let config = Arc::new(self.make(tls, alpn, roots)?);
        if made.len() >= MOST {
            made.clear();
        }
        made.insert(key, Made { config: config.clone(), roots: roots.cloned() });
        Ok(config)
    }

    fn make(&self, tls: &Tls, alpn: bool, roots: Option<&Arc<Secret>>) -> Result<ServerConfig, TlsError> {
        let versions: Vec<_> =
            [(TlsVersion::Tls13, &rustls::version::TLS13), (TlsVersion::Tls12, &rustls::version::TLS12)]
                .into_iter()
                .filter(|(version, _)| (tls.min..=tls.max).contains(version))
                .map(|(_, version)| version)
                .collect();
        let mut config = ServerConfig::builder_with_provider(self.provider.clone())
            .with_protocol_versions(&versions)?
            .with_client_cert_verifier(self.verifier(tls, roots)?)
            .with_cert_resolver(Arc::new(Certificates::new(self.shared.clone(), tls.certificates.clone())));
        if alpn {
            config.alpn_protocols = tls.alpn.iter().map(|protocol| protocol.to_vec()).collect();
        }
        config.ignore_client_order = true;
        // Tickets hold the session, so that any worker can resume it and none has to remember it.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.ticketer = aws_lc_rs::Ticketer::new()?;
        config.send_tls13_tickets = 1;
        Ok(config)
    }

    fn verifier(&self, tls: &Tls, roots: Option<&Arc<Secret>>) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
        let (Some(name), Some(roots)) = (&tls.client_roots, roots) else { return Ok(Arc::new(NoClientAuth)) };
        let Secret::Roots(roots) = &**roots else { return Err(TlsError::NoRoots(name.clone())) };
        let mut store = RootCertStore::empty();
        store.add_parsable_certificates(roots.iter().cloned());
        let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(store), self.provider.clone());
        let builder = if tls.require_client_certificate { builder } else { builder.allow_unauthenticated() };
        builder.build().map_err(|error| TlsError::BadRoots(name.clone(), error))
    }
}
