//! A checked request and a proven caller in, a certificate chain out. Pure, but for the serial number.

use crate::{Authority, Name, csr};
use model::Identity;
use rustls::pki_types::CertificateDer;
use std::{
    fmt,
    time::{Duration, SystemTime},
};

/// How long a certificate lives if the request doesn't say.
pub const DEFAULT_TTL: Duration = Duration::from_secs(24 * 3600);
/// The longest life that a request may ask for.
pub const MAX_TTL: Duration = Duration::from_secs(90 * 24 * 3600);

/// A signed chain.
#[derive(Clone, Debug)]
pub struct Chain {
    /// The new certificate.
    pub leaf: CertificateDer<'static>,
    /// When it ends.
    pub not_after: SystemTime,
    /// All of it as PEM, in the order that Istio's clients want: the leaf, the intermediates one each, and as the
    /// last one the whole trust bundle.
    pub pem: Vec<String>,
}

/// Why a request was not signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SignError {
    /// The request can't be read.
    Malformed(String),
    /// A kind or size of key that we don't certify.
    WeakKey(String),
    /// The caller does not have the private key, or says so in an unknown way.
    BadSignature(String),
    /// The request names an identity that the caller is not.
    ForeignName {
        /// The caller.
        wanted: String,
        /// The name in the request.
        seen: String,
    },
    /// A life longer than [`MAX_TTL`].
    TtlTooLong(Duration),
    /// The authority's own certificate has ended, or the key failed; not the caller's fault.
    Authority(String),
}

impl fmt::Display for SignError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(why) => write!(f, "the request can't be read: {why}"),
            Self::WeakKey(seen) => {
                write!(f, "wanted a P-256, P-384, Ed25519 or RSA (2048 to 8192 bits) key, saw {seen}")
            }
            Self::BadSignature(why) => write!(f, "the signature of the request does not verify: {why}"),
            Self::ForeignName { wanted, seen } => write!(f, "the request names {seen:?}, its caller is {wanted:?}"),
            Self::TtlTooLong(seen) => {
                write!(
                    f,
                    "requested TTL {}s is greater than the max allowed TTL {}s",
                    seen.as_secs(),
                    MAX_TTL.as_secs()
                )
            }
            Self::Authority(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for SignError {}

/// Signs a PEM request for a caller whose identity was proven elsewhere.
///
/// The certificate's only name is the caller's identity, in a critical extension because the subject is empty
/// (RFC 5280 section 4.2.1.6). A `ttl` of zero asks for [`DEFAULT_TTL`]; no certificate outlives the authority's own.
pub fn sign(
    csr: &str,
    caller: &Identity,
    ttl: Duration,
    now: SystemTime,
    authority: &Authority,
) -> Result<Chain, SignError> {
    let ttl = match ttl {
        Duration::ZERO => DEFAULT_TTL,
        ttl if ttl > MAX_TTL => return Err(SignError::TtlTooLong(ttl)),
        ttl => ttl,
    };
    let key = csr::check(csr, caller)?;
    let (leaf, not_after) = authority.issue(&key.0, &[Name::Uri(caller.to_string())], ttl, now)?;
    Ok(Chain { pem: authority.chain_pem(&leaf), leaf, not_after })
}
