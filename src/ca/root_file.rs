//! A root of our own: one file with the key, our roots (the newest first) and what carries trust between them.
//!
//! One file, so that it changes whole: it is written beside its place and renamed. When a root takes another's place
//! is in the certificates themselves, hence nothing else needs to be kept: an old root is trusted until
//! [`WINDOW`] after its successor began.

use crate::{
    Authority, AuthorityError, MAX_TTL, RootError, der, pem,
    plug_in::{certificates, private_key, read_bounded},
    x509,
};
use aws_lc_rs::{
    digest,
    encoding::AsDer,
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair},
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, alg_id};
use std::{
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

const DAY: Duration = Duration::from_secs(24 * 3600);
/// How long a root lives.
const LIFE: Duration = Duration::from_secs(3650 * 24 * 3600);
/// A root is replaced when this much of its life is left: a fifth, as Istio does.
const GRACE: Duration = Duration::from_secs(730 * 24 * 3600);
/// How long an old root stays trusted after its successor began: the longest life of a certificate, and a day.
const WINDOW: Duration = MAX_TTL.saturating_add(DAY);

/// How many roots are trusted at once. Verifiers go up six certificates (webpki) to ten, so the way down to the oldest
/// root must be shorter.
const MOST_ROOTS: usize = 5;

/// The file's content.
pub(crate) struct RootFile {
    path: PathBuf,
    key: PrivateKeyDer<'static>,
    /// Self-signed, the newest first: the key's own.
    roots: Vec<CertificateDer<'static>>,
    /// The key of each root but the oldest, certified by the root before it, in the order of `roots`. They are the
    /// way from the newest root down to whichever a peer knows.
    cross: Vec<CertificateDer<'static>>,
}

impl RootFile {
    /// Reads `root.pem`, or makes the first root.
    pub fn open(dir: &Path, organization: &str, now: SystemTime) -> Result<Self, RootError> {
        let path = dir.join("root.pem");
        match read_bounded(&path) {
            Ok(pem) => Self::parse(path, &pem),
            Err(RootError::File { error, .. }) if error.kind() == std::io::ErrorKind::NotFound => {
                std::fs::create_dir_all(dir).map_err(|error| RootError::File { path: dir.to_owned(), error })?;
                let first = Self::first(path, organization, now)?;
                first.save()?;
                Ok(first)
            }
            Err(error) => Err(error),
        }
    }

    /// The file of a new root.
    pub fn first(path: PathBuf, organization: &str, now: SystemTime) -> Result<Self, RootError> {
        let new = NewRoot::make(organization, now).map_err(|why| failed(&path, why))?;
        Ok(Self { path, key: new.key, roots: vec![new.certificate], cross: Vec::new() })
    }

    /// Reads the file's text.
    pub fn parse(path: PathBuf, pem: &[u8]) -> Result<Self, RootError> {
        let key = private_key(&path, pem)?;
        let (mut roots, mut cross) = (Vec::new(), Vec::new());
        for certificate in certificates(&path, pem)? {
            let parsed = x509::Certificate::parse(&certificate).map_err(|why| failed(&path, why))?;
            if parsed.is_self_issued() {
                roots.push(certificate);
            } else {
                cross.push(certificate);
            }
        }
        Ok(Self { path, key, roots, cross })
    }

    /// The authority that signs with the newest root.
    pub fn authority(&self, now: SystemTime) -> Result<Authority, RootError> {
        let failed = |error| RootError::Authority { path: self.path.clone(), error };
        // The first cross certificate has the newest root's name and key. Whoever trusts a root stops before the
        // certificate that leads away from it.
        let root = self.roots.first().ok_or_else(|| failed(AuthorityError::NoCertificate))?;
        let chain = if self.cross.is_empty() { vec![root.clone()] } else { self.cross.clone() };
        Authority::new(&self.key, chain, self.roots.clone(), now).map_err(failed)
    }

    /// The file after the changes that are due, if any: without roots whose time is over, and with a new root if the
    /// newest nears its end.
    pub fn next(&self, organization: &str, now: SystemTime) -> Result<Option<Self>, RootError> {
        let mut next = None;
        // Each step either drops roots or makes one that is not due for years.
        while let Some(step) = next.as_ref().unwrap_or(self).step(organization, now)? {
            next = Some(step);
        }
        Ok(next)
    }

    fn step(&self, organization: &str, now: SystemTime) -> Result<Option<Self>, RootError> {
        let mut parsed = Vec::with_capacity(self.roots.len());
        for root in &self.roots {
            parsed.push(x509::Certificate::parse(root).map_err(|why| failed(&self.path, why))?);
        }
        // Room is made first.
        let over = parsed.windows(2).position(|pair| pair[0].not_before + WINDOW < now || pair[1].not_after < now);
        if let Some(newer) = over {
            return Ok(Some(Self {
                path: self.path.clone(),
                key: self.key.clone_key(),
                roots: self.roots[..=newer].to_vec(),
                cross: self.cross.iter().take(newer).cloned().collect(),
            }));
        }
        let due = parsed.first().is_some_and(|newest| newest.not_after < now + GRACE);
        due.then(|| self.rotated(organization, now)).transpose()
    }

    /// The file with a new root on top.
    pub fn rotated(&self, organization: &str, now: SystemTime) -> Result<Self, RootError> {
        if self.roots.len() >= MOST_ROOTS {
            return Err(RootError::TooSoon(MOST_ROOTS));
        }
        let new = NewRoot::make(organization, now).map_err(|why| failed(&self.path, why))?;
        let old = self.roots.first().ok_or_else(|| failed(&self.path, "it holds no root"))?;
        let old = x509::Certificate::parse(old).map_err(|why| failed(&self.path, why))?;
        let signer = EcdsaKeyPair::from_private_key_der(&ECDSA_P256_SHA256_ASN1_SIGNING, self.key.secret_der())
            .map_err(|error| failed(&self.path, error))?;
        let (path, key) = (self.path.clone(), new.key.clone_key());
        if old.not_after <= now {
            // A root that has ended carries no trust, and nobody needs it.
            return Ok(Self { path, key, roots: vec![new.certificate], cross: Vec::new() });
        }
        let cross = new.certify(&old.subject, old.key_id.as_deref(), &signer, now, old.not_after);
        let cross = cross.map_err(|why| failed(&self.path, why))?;
        let on_top = |first, rest: &[_]| std::iter::once(first).chain(rest.iter().cloned()).collect();
        Ok(Self { path, key, roots: on_top(new.certificate, &self.roots), cross: on_top(cross, &self.cross) })
    }

    /// The file's text.
    pub fn text(&self) -> Vec<u8> {
        let mut text = pem::private_key(self.key.secret_der());
        for certificate in self.roots.iter().chain(&self.cross) {
            text += &pem::certificate(certificate);
        }
        text.into_bytes()
    }

    /// Writes the file, whole or not at all, for its owner's eyes only.
    pub fn save(&self) -> Result<(), RootError> {
        write_whole(&self.path, &self.text(), 0o600)
    }
}

/// Writes a file, whole or not at all.
pub(crate) fn write_whole(path: &Path, content: &[u8], mode: u32) -> Result<(), RootError> {
    let beside = path.with_extension(format!("{}.tmp", std::process::id()));
    let written = (|| {
        let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&beside)?;
        file.write_all(content)?;
        file.sync_all()?;
        std::fs::rename(&beside, path)
    })();
    written.map_err(|error| RootError::File { path: path.to_owned(), error })
}

fn failed(path: &Path, why: impl ToString) -> RootError {
    RootError::Content { path: path.to_owned(), why: why.to_string() }
}

/// A root that was just made: a P-256 key and its own certificate for it.
struct NewRoot {
    key: PrivateKeyDer<'static>,
    public_key: Vec<u8>,
    name: Vec<u8>,
    key_id: Vec<u8>,
    certificate: CertificateDer<'static>,
}

impl NewRoot {
    fn make(organization: &str, now: SystemTime) -> Result<Self, String> {
        let random = SystemRandom::new();
        let pkcs8 =
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random).map_err(|e| e.to_string())?;
        let pair =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, pkcs8.as_ref()).map_err(|e| e.to_string())?;
        let public_key = pair.public_key().as_der().map_err(|e| e.to_string())?.as_ref().to_vec();
        let key_id = digest::digest(&digest::SHA256, pair.public_key().as_ref()).as_ref()[..20].to_vec();
        // Each root has a name of its own, so that a verifier which picks roots by name never picks the wrong one.
        let short: String = key_id[..4].iter().map(|byte| format!("{byte:02x}")).collect();
        let name = der::value(
            der::SEQUENCE,
            &[&attribute(10, organization), &attribute(3, &format!("Windlass root {short}"))],
        );
        let key = PrivateKeyDer::Pkcs8(pkcs8.as_ref().to_vec().into());
        let mut new = Self { key, public_key, name, key_id, certificate: Vec::new().into() };
        new.certificate = new.certify(&new.name, Some(&new.key_id), &pair, now, now + LIFE)?;
        Ok(new)
    }

    /// A certificate for this root's key by an issuer: itself, or the root before it.
    fn certify(
        &self,
        issuer: &[u8],
        issuer_key_id: Option<&[u8]>,
        signer: &EcdsaKeyPair,
        now: SystemTime,
        not_after: SystemTime,
    ) -> Result<CertificateDer<'static>, String> {
        let mut extensions = [
            der::extension(&[0x55, 0x1d, 0x13], true, &der::value(der::SEQUENCE, &[der::TRUE])),
            der::extension(&[0x55, 0x1d, 0x0f], true, &[der::BIT_STRING, 2, 1, 0b0000_0110]), // keyCertSign, cRLSign
            der::extension(&[0x55, 0x1d, 0x0e], false, &der::value(der::OCTET_STRING, &[&self.key_id])),
        ]
        .concat();
        extensions.extend(issuer_key_id.map(x509::authority_key_id).unwrap_or_default());
        let algorithm = der::value(der::SEQUENCE, &[&alg_id::ECDSA_SHA256]);
        let tbs = x509::Draft {
            algorithm: &algorithm,
            issuer,
            not_before: now - x509::CLOCK_SKEW,
            not_after,
            subject: &self.name,
            public_key: &self.public_key,
            extensions: &[&extensions],
        }
        .to_der()
        .ok_or("no random numbers")?;
        let signature = signer.sign(&SystemRandom::new(), &tbs).map_err(|error| error.to_string())?;
        Ok(x509::signed(&tbs, &algorithm, signature.as_ref()))
    }
}

/// One part of a name; `kind` is the last part of an X.520 attribute type.
fn attribute(kind: u8, text: &str) -> Vec<u8> {
    let kind = der::value(der::OID, &[&[0x55, 0x04, kind]]);
    let pair = der::value(der::SEQUENCE, &[&kind, &der::value(der::UTF8_STRING, &[text.as_bytes()])]);
    der::value(der::SET, &[&pair])
}
