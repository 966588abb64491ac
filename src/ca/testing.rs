//! What the tests of this room share.

use crate::{Authority, Roots, Source};
use model::Identity;
use rcgen::{CertificateParams, DistinguishedName, KeyPair, SanType};
use std::{
    process::Command,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tempfile::TempDir;

/// The middle of the root's life in every test.
pub(crate) fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

pub(crate) fn web() -> Identity {
    "spiffe://cluster.local/ns/shop/sa/web".parse().unwrap()
}

/// A request by a new P-256 key that names these URIs.
pub(crate) fn csr(uris: &[&str]) -> String {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.subject_alt_names = uris.iter().map(|uri| SanType::URI((*uri).try_into().unwrap())).collect();
    params.serialize_request(&KeyPair::generate().unwrap()).unwrap().pem().unwrap()
}

pub(crate) fn self_signed() -> (TempDir, Arc<Authority>) {
    let dir = tempfile::tempdir().unwrap();
    let roots = Roots::open(Source::SelfSigned(dir.path().into()), "cluster.local", now()).unwrap();
    (dir, roots.authority())
}

/// The output of openssl, or `None` where there is none.
pub(crate) fn openssl(args: &[&str]) -> Option<(bool, String)> {
    let output = Command::new("openssl").args(args).output().ok()?;
    let text = [output.stdout, output.stderr].concat();
    Some((output.status.success(), String::from_utf8_lossy(&text).into_owned()))
}
