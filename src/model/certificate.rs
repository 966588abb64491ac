//! Certificates that listeners present.

use crate::ObjectKey;
use std::{fmt, sync::Arc};

/// The Secret that holds a certificate. Its text is the SDS resource name, `kubernetes-gateway://<ns>/<name>`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CertificateKey(pub ObjectKey);

impl fmt::Display for CertificateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "kubernetes-gateway://{}", self.0)
    }
}

/// A certificate chain and its private key, checked to belong together.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyPair {
    /// PEM, leaf first.
    pub chain: Arc<[u8]>,
    /// PEM.
    pub key: Arc<[u8]>,
}

impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The key stays out of logs and test output.
        write!(f, "KeyPair({} bytes of chain)", self.chain.len())
    }
}
