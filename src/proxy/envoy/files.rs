//! The files from which Envoy has its certificate: it reads them again when something is moved into their directory.

use super::bootstrap::{CHAIN, KEY, secrets};
use crate::certs::Certificate;
use std::{
    fs::OpenOptions,
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

/// Writes key, chain, and what names them, into a directory that is there.
///
/// # Errors
/// If the system doesn't let us.
pub fn write(directory: &Path, certificate: &Certificate, roots: &Path, server_name: &str) -> io::Result<()> {
    // In files of their own: what Envoy reads as a chain its admin page shows.
    replace(&directory.join(KEY), certificate.key_pem())?;
    replace(&directory.join(CHAIN), &certificate.chain_pem())?;
    for (file, secret) in secrets(directory, roots, server_name) {
        replace(&directory.join(file), &secret.to_string())?;
    }
    Ok(())
}

/// Writes a file aside, for its owner's eyes only, and moves it where it belongs: Envoy never reads half of it.
pub(super) fn replace(path: &Path, text: &str) -> io::Result<()> {
    let aside = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&aside)?;
    file.write_all(text.as_bytes())?;
    std::fs::rename(&aside, path)
}
