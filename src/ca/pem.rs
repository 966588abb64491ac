//! PEM (RFC 7468), written. It is read by `rustls::pki_types::pem`.

use base64::{Engine, engine::general_purpose::STANDARD};

/// A certificate as a PEM block.
pub(crate) fn certificate(der: &[u8]) -> String {
    block("CERTIFICATE", der)
}

/// A PKCS #8 private key as a PEM block.
pub(crate) fn private_key(der: &[u8]) -> String {
    block("PRIVATE KEY", der)
}

pub(crate) fn block(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let mut out = String::with_capacity(text.len() + text.len() / 64 + 2 * label.len() + 40);
    out.extend(["-----BEGIN ", label, "-----\n"]);
    let mut rest = text.as_str();
    while !rest.is_empty() {
        // Base64 is ASCII: every index is a boundary.
        let (line, more) = rest.split_at(rest.len().min(64));
        out.extend([line, "\n"]);
        rest = more;
    }
    out.extend(["-----END ", label, "-----\n"]);
    out
}
