//! A certificate with its key and the roots that came with it, verified when it was made.

use super::schedule;
use model::Identity;
use rustls::{
    crypto::aws_lc_rs::sign::any_supported_type,
    pki_types::{CertificateDer, PrivateKeyDer, UnixTime, pem::PemObject},
    server::WebPkiClientVerifier,
    sign::CertifiedKey,
};
use serde::{Deserialize, Serialize};
use std::{
    fmt,
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use x509_parser::{certificate::X509Certificate, extensions::GeneralName, prelude::FromDer};

const FILE: &str = "certificate.json";

/// A certificate that is ours, its private key, and whom to trust. Never changed, only replaced.
pub struct Certificate {
    parts: Parts,
    certified: Arc<CertifiedKey>,
    roots: Vec<CertificateDer<'static>>,
    not_before: SystemTime,
    not_after: SystemTime,
    renew_at: SystemTime,
}

/// As it came and as it is kept.
#[derive(Serialize, Deserialize)]
struct Parts {
    /// PEM.
    key: String,
    /// PEM: leaf, intermediates one each, the roots together as the last.
    chain: Vec<String>,
    /// When it came, in seconds since 1970.
    received: u64,
}

/// Why a certificate is not taken.
#[derive(Debug)]
pub enum CertificateError {
    /// It can't be read.
    Malformed(String),
    /// It is for another key.
    OtherKey,
    /// It is for somebody else.
    OtherIdentity {
        /// Who we are.
        wanted: String,
        /// Whom it names.
        seen: Vec<String>,
    },
    /// It is not valid now.
    NotValidNow,
    /// It does not lead to the roots that came with it.
    Untrusted(rustls::Error),
    /// The file that keeps it can't be read or written.
    File(PathBuf, io::Error),
}

impl fmt::Display for CertificateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(why) => write!(f, "the certificate can't be read: {why}"),
            Self::OtherKey => f.write_str("the certificate is for another key than ours"),
            Self::OtherIdentity { wanted, seen } => {
                write!(f, "wanted a certificate for {wanted}, saw one for {seen:?}")
            }
            Self::NotValidNow => f.write_str("the certificate is not valid now"),
            Self::Untrusted(error) => {
                write!(f, "the certificate does not lead to the roots that came with it: {error}")
            }
            Self::File(path, error) => write!(f, "{}: {error}", path.display()),
        }
    }
}

impl std::error::Error for CertificateError {}

impl Certificate {
    /// Checks what an authority sent for our key.
    pub(crate) fn new(
        key: String,
        chain: Vec<String>,
        identity: &Identity,
        now: SystemTime,
    ) -> Result<Self, CertificateError> {
        let received = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        Self::check(Parts { key, chain, received }, identity, now)
    }

    fn check(parts: Parts, identity: &Identity, now: SystemTime) -> Result<Self, CertificateError> {
        let Parts { key, chain, received } = &parts;
        let malformed = |error: &dyn fmt::Display| CertificateError::Malformed(error.to_string());
        let [sent @ .., bundle] = &chain[..] else {
            return Err(CertificateError::Malformed("wanted a certificate and roots, saw nothing".into()));
        };
        let read = |pem: &String| CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<Vec<_>, _>>();
        let roots = read(bundle).map_err(|error| malformed(&error))?;
        let certificates: Result<Vec<_>, _> = sent.iter().map(read).collect();
        let certificates: Vec<_> = certificates.map_err(|error| malformed(&error))?.into_iter().flatten().collect();
        let leaf = certificates.first().ok_or_else(|| CertificateError::Malformed("it holds no leaf".into()))?;
        let (not_before, not_after) = check_leaf(leaf, identity)?;
        if !(not_before..not_after).contains(&now) {
            return Err(CertificateError::NotValidNow);
        }
        verify(leaf, &certificates[1..], &roots, now)?;

        let private = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|error| malformed(&error))?;
        let private = any_supported_type(&private).map_err(|error| malformed(&error))?;
        let certified = CertifiedKey::new(certificates, private);
        certified.keys_match().map_err(|_| CertificateError::OtherKey)?;
        let received = UNIX_EPOCH + Duration::from_secs((*received).min(u32::MAX.into()));
        let renew_at = schedule::renewal(received.max(not_before).min(now), not_after);
        Ok(Self { parts, certified: Arc::new(certified), roots, not_before, not_after, renew_at })
    }

    /// The chain and the key, as TLS wants them.
    pub fn certified(&self) -> &Arc<CertifiedKey> {
        &self.certified
    }

    /// The chain, leaf first, as PEM, for programs that read files.
    pub fn chain_pem(&self) -> String {
        // The last of what an authority sends is its trust bundle.
        let leaf_and_above = self.parts.chain.split_last().map_or(&[][..], |(_, sent)| sent);
        leaf_and_above.iter().map(|part| format!("{}\n", part.trim_end())).collect()
    }

    /// The private key as PEM, for programs that read files.
    pub fn key_pem(&self) -> &str {
        &self.parts.key
    }

    /// The roots to trust.
    pub fn roots(&self) -> &[CertificateDer<'static>] {
        &self.roots
    }

    /// When it ends.
    pub fn not_after(&self) -> SystemTime {
        self.not_after
    }

    /// When it should be renewed.
    pub fn renew_at(&self) -> SystemTime {
        self.renew_at
    }

    /// Whether it may be shown at `now`.
    pub fn is_valid(&self, now: SystemTime) -> bool {
        (self.not_before..self.not_after).contains(&now)
    }

    /// What was kept in the directory, if anything.
    pub(crate) fn load(dir: &Path, identity: &Identity, now: SystemTime) -> Result<Option<Self>, CertificateError> {
        let path = dir.join(FILE);
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(CertificateError::File(path, error)),
        };
        let parts = serde_json::from_slice(&text).map_err(|error| CertificateError::Malformed(error.to_string()))?;
        Self::check(parts, identity, now).map(Some)
    }

    /// Keeps it in the directory, whole or not at all, for its owner's eyes only.
    pub(crate) fn save(&self, dir: &Path) -> Result<(), CertificateError> {
        let text = serde_json::to_vec(&self.parts).map_err(|error| CertificateError::Malformed(error.to_string()))?;
        let (place, beside) = (dir.join(FILE), dir.join(format!("{FILE}.{}.tmp", std::process::id())));
        let written = (|| {
            std::fs::create_dir_all(dir)?;
            let mut file =
                std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
            file.write_all(&text)?;
            file.sync_all()?;
            std::fs::rename(&beside, &place)
        })();
        written.map_err(|error| CertificateError::File(place, error))
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Certificate(until {:?})", self.not_after)
    }
}

/// Its only URI must be our identity. Returns when it begins and ends.
fn check_leaf(leaf: &CertificateDer<'_>, identity: &Identity) -> Result<(SystemTime, SystemTime), CertificateError> {
    let malformed = |error: &dyn fmt::Display| CertificateError::Malformed(error.to_string());
    let (_, parsed) = X509Certificate::from_der(leaf).map_err(|error| malformed(&error))?;
    let names = parsed.subject_alternative_name().map_err(|error| malformed(&error))?;
    let names = names.map(|names| names.value.general_names.as_slice()).unwrap_or_default();
    let seen: Vec<String> = names
        .iter()
        .filter_map(|name| match name {
            GeneralName::URI(uri) => Some((*uri).to_owned()),
            _ => None,
        })
        .collect();
    let wanted = identity.to_string();
    if seen != [wanted.as_str()] {
        return Err(CertificateError::OtherIdentity { wanted, seen });
    }
    let time = |at: i64| UNIX_EPOCH + Duration::from_secs(u64::try_from(at).unwrap_or(0));
    let validity = parsed.validity();
    Ok((time(validity.not_before.timestamp()), time(validity.not_after.timestamp())))
}

fn verify(
    leaf: &CertificateDer<'_>,
    above: &[CertificateDer<'_>],
    roots: &[CertificateDer<'static>],
    now: SystemTime,
) -> Result<(), CertificateError> {
    let mut store = rustls::RootCertStore::empty();
    for root in roots {
        store.add(root.clone()).map_err(CertificateError::Untrusted)?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(store), provider)
        .build()
        .map_err(|error| CertificateError::Malformed(error.to_string()))?;
    let now = UnixTime::since_unix_epoch(now.duration_since(UNIX_EPOCH).unwrap_or_default());
    verifier.verify_client_cert(leaf, above, now).map_err(CertificateError::Untrusted)?;
    Ok(())
}
