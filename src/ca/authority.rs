//! A signing key with its certificate, the way up to a root, and the roots that we tell others to trust.

use crate::{SignError, der, pem, x509};
use rustls::{
    SignatureScheme,
    crypto::aws_lc_rs::sign::any_supported_type,
    pki_types::{AlgorithmIdentifier, CertificateDer, PrivateKeyDer, alg_id},
    server::{WebPkiClientVerifier, danger::ClientCertVerifier},
    sign::Signer,
};
use std::{
    fmt,
    net::IpAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};

/// A name in a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Name {
    /// A SPIFFE identity.
    Uri(String),
    /// A DNS name, in ASCII.
    Dns(String),
    /// An address.
    Ip(IpAddr),
}

/// Everything that is needed to sign, checked to fit together when it was made; never changed, only replaced.
pub struct Authority {
    signer: Box<dyn Signer>,
    /// As TLV.
    algorithm: Vec<u8>,
    /// The subject of our certificate: every byte as it stands there, for verifiers compare bytes.
    issuer: Vec<u8>,
    /// The extensions that all our certificates share.
    extensions: Vec<u8>,
    /// The first end among our certificate and those above it.
    not_after: SystemTime,
    chain: Vec<CertificateDer<'static>>,
    chain_pem: Vec<String>,
    roots: Vec<CertificateDer<'static>>,
    roots_pem: String,
    root_not_after: SystemTime,
    client_verifier: Arc<dyn ClientCertVerifier>,
}

/// Why a key and certificates make no authority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthorityError {
    /// There is no certificate to sign with.
    NoCertificate,
    /// There is no root to trust.
    NoRoot,
    /// A certificate does not parse.
    Certificate(String),
    /// The key is of no kind that can sign.
    Key(String),
    /// The key is not the certificate's.
    Mismatch,
    /// The certificate is not one of an authority.
    NotAnAuthority,
    /// The certificate, or one above it, is not valid now.
    NotValidNow(String),
    /// The chain does not lead to any of the roots.
    Untrusted(String),
}

impl fmt::Display for AuthorityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoCertificate => f.write_str("there is no CA certificate"),
            Self::NoRoot => f.write_str("there is no root certificate"),
            Self::Certificate(why) => write!(f, "a certificate does not parse: {why}"),
            Self::Key(why) => write!(f, "the CA key can't be used: {why}"),
            Self::Mismatch => f.write_str("the CA key does not belong to the CA certificate"),
            Self::NotAnAuthority => {
                f.write_str("the CA certificate may not sign certificates: wanted basicConstraints CA:TRUE and keyUsage keyCertSign")
            }
            Self::NotValidNow(which) => write!(f, "not valid now: {which}"),
            Self::Untrusted(why) => write!(f, "the CA certificate does not lead to a root: {why}"),
        }
    }
}

impl std::error::Error for AuthorityError {}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Authority({} in its chain, {} roots)", self.chain.len(), self.roots.len())
    }
}

impl Authority {
    /// An authority that signs with `key`. `chain` begins with the key's certificate and goes up; certificates in it
    /// that are also roots are left out of what we send. `roots` is the trust bundle, in the order to publish.
    pub fn new(
        key: &PrivateKeyDer<'_>,
        chain: Vec<CertificateDer<'static>>,
        roots: Vec<CertificateDer<'static>>,
        now: SystemTime,
    ) -> Result<Self, AuthorityError> {
        let first = chain.first().ok_or(AuthorityError::NoCertificate)?;
        let ca = x509::Certificate::parse(first).map_err(AuthorityError::Certificate)?;
        let key = any_supported_type(key).map_err(|error| AuthorityError::Key(error.to_string()))?;
        if key.public_key().is_none_or(|public| *public != *ca.public_key) {
            return Err(AuthorityError::Mismatch);
        }
        if !ca.signs_certificates {
            return Err(AuthorityError::NotAnAuthority);
        }
        let (scheme, algorithm) = signature_scheme(&ca)?;
        let signer =
            key.choose_scheme(&[scheme]).ok_or_else(|| AuthorityError::Key("no common signature scheme".into()))?;
        let mut not_after = ca.not_after;
        for certificate in &chain {
            let certificate = x509::Certificate::parse(certificate).map_err(AuthorityError::Certificate)?;
            certificate.check_validity(now).map_err(AuthorityError::NotValidNow)?;
            not_after = not_after.min(certificate.not_after);
        }
        let root_not_after = first_end(&roots)?;
        let sent: Vec<_> = chain.iter().filter(|certificate| !roots.contains(certificate)).cloned().collect();
        let authority = Self {
            signer,
            algorithm: der::value(der::SEQUENCE, &[&algorithm]),
            issuer: ca.subject.clone(),
            extensions: shared_extensions(ca.key_id.as_deref()),
            not_after,
            chain_pem: sent.iter().map(|certificate| pem::certificate(certificate)).collect(),
            chain: sent,
            roots_pem: roots.iter().map(|root| pem::certificate(root)).collect(),
            client_verifier: client_verifier(&roots)?,
            roots,
            root_not_after,
        };
        authority.prove(&ca, now)?;
        Ok(authority)
    }

    /// Signs a certificate for a public key (a SubjectPublicKeyInfo that the caller has checked), and says when it
    /// ends. It has an empty subject, serves and dials, and never outlives the authority.
    pub(crate) fn issue(
        &self,
        public_key: &[u8],
        names: &[Name],
        ttl: Duration,
        now: SystemTime,
    ) -> Result<(CertificateDer<'static>, SystemTime), SignError> {
        let not_after = (now + ttl).min(self.not_after);
        if not_after <= now {
            return Err(SignError::Authority("the authority's own certificate has ended".into()));
        }
        let tbs = x509::Draft {
            algorithm: &self.algorithm,
            issuer: &self.issuer,
            not_before: now - x509::CLOCK_SKEW,
            not_after,
            subject: &[der::SEQUENCE, 0],
            public_key,
            extensions: &[&self.extensions, &alternative_names(names)],
        }
        .to_der()
        .ok_or_else(|| SignError::Authority("no random numbers".into()))?;
        let signature = self.signer.sign(&tbs).map_err(|error| SignError::Authority(error.to_string()))?;
        Ok((x509::signed(&tbs, &self.algorithm, &signature), not_after))
    }

    /// A leaf and all that its holder needs, as PEM: leaf, intermediates one each, the trust bundle whole.
    pub(crate) fn chain_pem(&self, leaf: &[u8]) -> Vec<String> {
        let mut chain = Vec::with_capacity(self.chain_pem.len() + 2);
        chain.push(pem::certificate(leaf));
        chain.extend(self.chain_pem.iter().cloned());
        chain.push(self.roots_pem.clone());
        chain
    }

    /// What stands between a leaf and a root, in order.
    pub fn intermediates(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    /// The roots that our peers are to trust.
    pub fn roots(&self) -> &[CertificateDer<'static>] {
        &self.roots
    }

    /// The roots as PEM, as they stand in `root-cert.pem`.
    pub fn roots_pem(&self) -> &str {
        &self.roots_pem
    }

    /// When the first of our chain ends: no certificate of ours lives longer.
    pub fn not_after(&self) -> SystemTime {
        self.not_after
    }

    /// When the first root of the bundle ends.
    pub fn root_not_after(&self) -> SystemTime {
        self.root_not_after
    }

    /// Whether a root that our chain leads to is among another's roots.
    pub(crate) fn shares_root_with(&self, next: &Authority) -> bool {
        let above = self.chain.last().and_then(|last| x509::Certificate::parse(last).ok()).map(|last| last.issuer);
        let above = above.as_ref().unwrap_or(&self.issuer);
        self.roots.iter().any(|root| {
            next.roots.contains(root) && x509::Certificate::parse(root).is_ok_and(|root| root.subject == *above)
        })
    }

    /// Verifies the certificates of clients against our roots; a client may have none.
    pub(crate) fn client_verifier(&self) -> &Arc<dyn ClientCertVerifier> {
        &self.client_verifier
    }

    /// Signs a certificate for our own key and verifies it as a peer would: whatever is wrong with the chain, its
    /// order, or its roots shows here, and not at the first workload.
    fn prove(&self, ca: &x509::Certificate, now: SystemTime) -> Result<(), AuthorityError> {
        let untrusted = |error: &dyn fmt::Display| AuthorityError::Untrusted(error.to_string());
        let names = [Name::Uri("spiffe://probe/ns/probe/sa/probe".into())];
        let (leaf, _) = self.issue(&ca.public_key, &names, x509::CLOCK_SKEW, now).map_err(|error| untrusted(&error))?;
        let since = now.duration_since(SystemTime::UNIX_EPOCH).map_err(|error| untrusted(&error))?;
        self.client_verifier
            .verify_client_cert(&leaf, &self.chain, rustls::pki_types::UnixTime::since_unix_epoch(since))
            .map_err(|error| untrusted(&error))?;
        Ok(())
    }
}

fn first_end(roots: &[CertificateDer<'_>]) -> Result<SystemTime, AuthorityError> {
    let mut ends = Vec::with_capacity(roots.len());
    for root in roots {
        ends.push(x509::Certificate::parse(root).map_err(AuthorityError::Certificate)?.not_after);
    }
    ends.into_iter().min().ok_or(AuthorityError::NoRoot)
}

fn client_verifier(roots: &[CertificateDer<'static>]) -> Result<Arc<dyn ClientCertVerifier>, AuthorityError> {
    let mut store = rustls::RootCertStore::empty();
    for root in roots {
        store.add(root.clone()).map_err(|error| AuthorityError::Certificate(error.to_string()))?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    WebPkiClientVerifier::builder_with_provider(Arc::new(store), provider)
        .allow_unauthenticated()
        .build()
        .map_err(|error| AuthorityError::Certificate(error.to_string()))
}

/// How a key of this kind signs certificates.
fn signature_scheme(ca: &x509::Certificate) -> Result<(SignatureScheme, AlgorithmIdentifier), AuthorityError> {
    let is = |algorithm: AlgorithmIdentifier| {
        ca.public_key.get(..).is_some_and(|key| x509::key_algorithm(key) == Some(&*algorithm))
    };
    Ok(match () {
        () if is(alg_id::ECDSA_P256) => (SignatureScheme::ECDSA_NISTP256_SHA256, alg_id::ECDSA_SHA256),
        () if is(alg_id::ECDSA_P384) => (SignatureScheme::ECDSA_NISTP384_SHA384, alg_id::ECDSA_SHA384),
        () if is(alg_id::ECDSA_P521) => (SignatureScheme::ECDSA_NISTP521_SHA512, alg_id::ECDSA_SHA512),
        () if is(alg_id::ED25519) => (SignatureScheme::ED25519, alg_id::ED25519),
        () if is(alg_id::RSA_ENCRYPTION) => (SignatureScheme::RSA_PKCS1_SHA256, alg_id::RSA_PKCS1_SHA256),
        () => return Err(AuthorityError::Key("wanted RSA, P-256, P-384, P-521 or Ed25519".into())),
    })
}

/// Basic constraints, key usage, extended key usage, authority key identifier (RFC 5280 section 4.2.1).
fn shared_extensions(authority_key_id: Option<&[u8]>) -> Vec<u8> {
    let purpose = |last: u8| der::value(der::OID, &[&[0x2b, 6, 1, 5, 5, 7, 3, last]]);
    let (server, client) = (purpose(1), purpose(2));
    let mut extensions = [
        der::extension(&[0x55, 0x1d, 0x0f], true, &[der::BIT_STRING, 2, 5, 0b1010_0000]), // digitalSignature, keyEncipherment
        der::extension(&[0x55, 0x1d, 0x25], false, &der::value(der::SEQUENCE, &[&server, &client])),
        der::extension(&[0x55, 0x1d, 0x13], true, &[der::SEQUENCE, 0]), // not an authority
    ]
    .concat();
    extensions.extend(authority_key_id.map(x509::authority_key_id).unwrap_or_default());
    extensions
}

fn alternative_names(names: &[Name]) -> Vec<u8> {
    let names: Vec<u8> = names
        .iter()
        .flat_map(|name| match name {
            Name::Uri(uri) => der::value(der::context_primitive(6), &[uri.as_bytes()]),
            Name::Dns(name) => der::value(der::context_primitive(2), &[name.as_bytes()]),
            Name::Ip(IpAddr::V4(address)) => der::value(der::context_primitive(7), &[&address.octets()]),
            Name::Ip(IpAddr::V6(address)) => der::value(der::context_primitive(7), &[&address.octets()]),
        })
        .collect();
    der::extension(&[0x55, 0x1d, 0x11], true, &der::value(der::SEQUENCE, &[&names]))
}
