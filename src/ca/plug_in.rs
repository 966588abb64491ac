//! An authority from files that somebody else keeps, as Istio mounts them at `/etc/cacerts`.

use crate::{Authority, RootError};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use std::{
    fs,
    path::{Path, PathBuf},
    time::SystemTime,
};

/// The largest file that is read, in bytes.
const MAX_FILE: u64 = 1 << 20;

/// The bytes of the files, as they were when they were read.
#[derive(PartialEq, Eq)]
pub(crate) struct Files {
    names: &'static Names,
    certificate: Vec<u8>,
    key: Vec<u8>,
    chain: Vec<u8>,
    roots: Vec<u8>,
}

#[derive(PartialEq, Eq)]
struct Names {
    certificate: &'static str,
    key: &'static str,
    /// What stands between the CA certificate and the root; may be absent where the certificate's file holds it.
    chain: Option<&'static str>,
    roots: &'static str,
}

/// Istio's names, then those of a `kubernetes.io/tls` Secret.
const LAYOUTS: [Names; 2] = [
    Names { certificate: "ca-cert.pem", key: "ca-key.pem", chain: Some("cert-chain.pem"), roots: "root-cert.pem" },
    Names { certificate: "tls.crt", key: "tls.key", chain: None, roots: "ca.crt" },
];

impl Files {
    /// Reads a directory of either layout. All its files must be there.
    pub fn read(dir: &Path) -> Result<Self, RootError> {
        let [istio, secret] = &LAYOUTS;
        let names =
            if dir.join(secret.certificate).exists() && !dir.join(istio.certificate).exists() { secret } else { istio };
        let read = |name: &str| read_bounded(&dir.join(name));
        Ok(Self {
            names,
            certificate: read(names.certificate)?,
            key: read(names.key)?,
            chain: names.chain.map(read).transpose()?.unwrap_or_default(),
            roots: read(names.roots)?,
        })
    }

    /// The authority that these files make.
    pub fn authority(&self, dir: &Path, now: SystemTime) -> Result<Authority, RootError> {
        let mut chain = certificates(&dir.join(self.names.certificate), &self.certificate)?;
        // Istio's chain file begins with the CA certificate, and often ends with the root.
        for above in certificates_or_none(&dir.join(self.names.chain.unwrap_or_default()), &self.chain)? {
            if !chain.contains(&above) {
                chain.push(above);
            }
        }
        let roots = certificates(&dir.join(self.names.roots), &self.roots)?;
        let key = private_key(&dir.join(self.names.key), &self.key)?;
        Authority::new(&key, chain, roots, now).map_err(|error| RootError::Authority { path: dir.to_owned(), error })
    }
}

pub(crate) fn read_bounded(path: &Path) -> Result<Vec<u8>, RootError> {
    let failed = |error| RootError::File { path: path.to_owned(), error };
    let length = fs::metadata(path).map_err(failed)?.len();
    if length > MAX_FILE {
        let why = format!("it has {length} bytes, wanted at most {MAX_FILE}");
        return Err(RootError::Content { path: path.to_owned(), why });
    }
    fs::read(path).map_err(failed)
}

pub(crate) fn certificates(path: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, RootError> {
    let found = certificates_or_none(path, pem)?;
    if found.is_empty() {
        let why = "wanted PEM blocks CERTIFICATE, saw none".into();
        return Err(RootError::Content { path: path.to_owned(), why });
    }
    Ok(found)
}

fn certificates_or_none(path: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, RootError> {
    CertificateDer::pem_slice_iter(pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| RootError::Content { path: path.to_owned(), why: error.to_string() })
}

pub(crate) fn private_key(path: &PathBuf, pem: &[u8]) -> Result<PrivateKeyDer<'static>, RootError> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|error| RootError::Content {
        path: path.to_owned(),
        why: format!("no PEM block with a private key: {error}"),
    })
}
