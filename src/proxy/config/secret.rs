//! Certificates that listeners present and trust.

use rustls::pki_types::CertificateDer;
use std::{fmt, sync::Arc};

/// A certificate chain with its key, checked to belong together.
pub struct CertificateSecret {
    /// Ready for rustls.
    pub key: Arc<rustls::sign::CertifiedKey>,
    /// The DNS names of the leaf, lower case: which certificate a server name gets.
    pub names: Vec<Arc<str>>,
    /// When the leaf stops being valid, seconds since 1970.
    pub not_after: i64,
}

/// One SDS resource.
pub enum Secret {
    /// What we present.
    Certificate(CertificateSecret),
    /// Whom we trust.
    Roots(Vec<CertificateDer<'static>>),
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Secret::Certificate(certificate) => write!(f, "Certificate({:?})", certificate.names),
            Secret::Roots(roots) => write!(f, "Roots({})", roots.len()),
        }
    }
}
