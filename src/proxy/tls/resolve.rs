//! Which certificate a client is shown.

use crate::config::{CertificateSecret, Name, Secret, Shared};
use rustls::{
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use std::{fmt, sync::Arc};

/// Looks for certificates in the configuration of the moment.
pub(super) struct Certificates {
    shared: Shared,
    names: Box<[Name]>,
}

impl Certificates {
    pub(super) fn new(shared: Shared, names: Box<[Name]>) -> Self {
        Self { shared, names }
    }
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Certificates({:?})", self.names)
    }
}

impl ResolvesServerCert for Certificates {
    /// The first that names the server exactly, then by wildcard, then the first of all; among them those whose key
    /// the client can check.
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let config = self.shared.load();
        let secrets = self.names.iter().filter_map(|name| match config.secrets.get(name).map(|secret| &**secret) {
            Some(Secret::Certificate(certificate)) => Some(certificate),
            _ => None,
        });
        let checkable = |secret: &&CertificateSecret| secret.key.key.choose_scheme(hello.signature_schemes()).is_some();
        let server_name = hello.server_name().unwrap_or_default().to_ascii_lowercase();
        let rank = |secret: &&CertificateSecret| {
            let names = || secret.names.iter();
            let wildcard = |name: &Arc<str>| {
                let suffix = name.strip_prefix('*');
                suffix.is_some_and(|suffix| {
                    server_name.split_once('.').is_some_and(|(_, rest)| suffix.strip_prefix('.') == Some(rest))
                })
            };
            match () {
                () if names().any(|name| **name == *server_name) => 0,
                () if names().any(wildcard) => 1,
                () => 2,
            }
        };
        // min_by_key keeps the first of equals.
        secrets.filter(checkable).min_by_key(rank).map(|secret| secret.key.clone())
    }
}
