//! TLS that ends or starts here: settings by filter chain and by cluster, certificates by the configuration of the moment.
//!
//! Settings are made once and shared by all workers, so that a session can be resumed on any of them. A certificate is
//! looked up at each handshake: its swap touches no listener, no settings and no connection.

mod backend;
mod hello;
mod names;
mod resolve;
mod trust;

pub(crate) use hello::{LONGEST as LONGEST_HELLO, server_name};
pub(crate) use names::peer_certificate;

use crate::config::{Config, Name, Secret, Shared, Tls, TlsVersion, UpstreamTls};
use resolve::Certificates;
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, UnixTime},
    server::{NoClientAuth, NoServerSessionStorage, WebPkiClientVerifier, danger::ClientCertVerifier},
};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};
use trust::Lenient;

/// Why there can't be TLS.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    #[error("the roots {0} that the backend is checked against are not there")]
    NoBackendRoots(Name),
    #[error("the certificate {0} that the backend is to be shown is not there")]
    NoCertificate(Name),
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
    towards: Mutex<HashMap<UpstreamTls, Towards>>,
}

/// Settings towards a backend, with what they were made with.
struct Towards {
    config: Arc<ClientConfig>,
    roots: Arc<Secret>,
    certificate: Option<Arc<Secret>>,
}

struct Made {
    config: Arc<ServerConfig>,
    /// The roots that it was made with.
    roots: Option<Arc<Secret>>,
    /// Who says whether a client's certificate is trusted, if that is asked after the handshake.
    verifier: Option<Arc<dyn ClientCertVerifier>>,
}

/// Settings of chains that are gone are dropped when there are more than these.
const MOST: usize = 4096;

impl Settings {
    pub(crate) fn new(shared: Shared) -> Self {
        Self {
            shared,
            provider: Arc::new(aws_lc_rs::default_provider()),
            made: Mutex::default(),
            towards: Mutex::default(),
        }
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
        let verifier = self.verifier(tls, roots)?;
        let config = Arc::new(self.make(tls, alpn, &verifier)?);
        if made.len() >= MOST {
            made.clear();
        }
        let verifier = Some(verifier).filter(|_| tls.accept_untrusted);
        made.insert(key, Made { config: config.clone(), roots: roots.cloned(), verifier });
        Ok(config)
    }

    /// Whether an authority vouches for the certificate with which a handshake has been made. Not asked again of one
    /// that wouldn't have been let in otherwise.
    pub(crate) fn vouches(&self, tls: &Tls, alpn: bool, chain: &[CertificateDer<'_>]) -> bool {
        let made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let verifier = made.get(&(tls.clone(), alpn)).and_then(|made| made.verifier.clone());
        drop(made);
        let (Some(verifier), [leaf, intermediates @ ..]) = (verifier, chain) else { return !tls.accept_untrusted };
        verifier.verify_client_cert(leaf, intermediates, UnixTime::now()).is_ok()
    }

    /// The settings for a connection to a backend. New roots or a new certificate make new ones, so that no session
    /// that was trusted before is resumed.
    pub(crate) fn towards(&self, config: &Config, tls: &UpstreamTls) -> Result<Arc<ClientConfig>, TlsError> {
        let secret = |name: &Name| config.secrets.get(name).cloned();
        let roots = secret(&tls.roots).ok_or_else(|| TlsError::NoBackendRoots(tls.roots.clone()))?;
        let certificate = tls.certificate.as_ref();
        let certificate =
            certificate.map(|name| secret(name).ok_or_else(|| TlsError::NoCertificate(name.clone()))).transpose()?;
        // Poisoned: somebody panicked while it was locked, between two complete states.
        let mut towards = self.towards.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = towards.get(tls)
            && Arc::ptr_eq(&known.roots, &roots)
            && known.certificate.as_ref().map(Arc::as_ptr) == certificate.as_ref().map(Arc::as_ptr)
        {
            return Ok(known.config.clone());
        }
        let Secret::Roots(trusted) = &*roots else { return Err(TlsError::NoBackendRoots(tls.roots.clone())) };
        let own = match (certificate.as_deref(), &tls.certificate) {
            (None, _) => None,
            (Some(Secret::Certificate(own)), _) => Some(&own.key),
            (Some(_), name) => return Err(TlsError::NoCertificate(name.clone().unwrap_or_default())),
        };
        let config = Arc::new(backend::settings(tls, trusted, own, &self.provider)?);
        if towards.len() >= MOST {
            towards.clear();
        }
        towards.insert(tls.clone(), Towards { config: config.clone(), roots, certificate });
        Ok(config)
    }

    fn make(&self, tls: &Tls, alpn: bool, verifier: &Arc<dyn ClientCertVerifier>) -> Result<ServerConfig, TlsError> {
        let verifier = match tls.accept_untrusted {
            true => Arc::new(Lenient(verifier.clone())),
            false => verifier.clone(),
        };
        let mut config = ServerConfig::builder_with_provider(self.provider.clone())
            .with_protocol_versions(&TlsVersion::range(tls.min, tls.max))?
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(Arc::new(Certificates::new(self.shared.clone(), tls.certificates.clone())));
        if alpn {
            config.alpn_protocols = tls.alpn.iter().map(|protocol| protocol.to_vec()).collect();
        }
        config.ignore_client_order = true;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        if tls.client_roots.is_some() {
            // A resumed session would not look again whether the client's certificate is still valid and trusted.
            config.send_tls13_tickets = 0;
        } else {
            // Tickets hold the session, so that any worker can resume it and none has to remember it.
            config.ticketer = aws_lc_rs::Ticketer::new()?;
            config.send_tls13_tickets = 1;
        }
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
