//! Who a client's certificate says it is, and how backends are told.

use crate::{authz::PeerCertificate, config::CertificateDetails};
use base64::{Engine, engine::general_purpose::STANDARD};
use rustls::pki_types::CertificateDer;
use std::fmt::Write;
use x509_parser::{
    extensions::GeneralName,
    objects::{oid_registry, oid2abbrev},
    parse_x509_certificate,
    x509::X509Name,
};

/// The names in a certificate that has been verified. What can't be read counts as no name.
pub(crate) fn peer_certificate(
    chain: Option<&[CertificateDer<'_>]>,
    told: Option<&CertificateDetails>,
) -> PeerCertificate {
    let mut names = PeerCertificate::default();
    let Some(leaf) = chain.and_then(<[_]>::first) else { return names };
    let Ok((_, certificate)) = parse_x509_certificate(leaf) else { return names };
    names.verified = true;
    names.subject = subject(certificate.subject());
    if let Ok(Some(alternatives)) = certificate.subject_alternative_name() {
        for name in &alternatives.value.general_names {
            match name {
                GeneralName::URI(uri) => names.uris.push((*uri).to_owned()),
                GeneralName::DNSName(dns) => names.dns.push((*dns).to_owned()),
                _ => {}
            }
        }
    }
    names.forwarded = told.map(|told| forwarded(leaf, &names, told));
    names
}

/// An element of `x-forwarded-client-cert`, as Envoy writes it.
fn forwarded(leaf: &CertificateDer<'_>, names: &PeerCertificate, told: &CertificateDetails) -> String {
    let mut text = String::from("Hash=");
    for byte in aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, leaf).as_ref() {
        let _ = write!(text, "{byte:02x}");
    }
    if told.certificate {
        let _ = write!(text, ";Cert=\"{}\"", url_encoded(&pem(leaf)));
    }
    if told.subject {
        let _ = write!(text, ";Subject=\"{}\"", names.subject);
    }
    if told.uri {
        if names.uris.is_empty() {
            text += ";URI=";
        }
        for uri in &names.uris {
            let _ = write!(text, ";URI={uri}");
        }
    }
    if told.dns {
        for name in &names.dns {
            let _ = write!(text, ";DNS={name}");
        }
    }
    text
}

fn pem(leaf: &CertificateDer<'_>) -> String {
    let encoded = STANDARD.encode(leaf);
    let mut text = String::from("-----BEGIN CERTIFICATE-----\n");
    for line in encoded.as_bytes().chunks(64) {
        text.extend(line.iter().copied().map(char::from));
        text.push('\n');
    }
    text + "-----END CERTIFICATE-----\n"
}

/// As Envoy encodes a certificate: the characters that PEM has.
fn url_encoded(pem: &str) -> String {
    let mut text = String::with_capacity(pem.len() + 64);
    for c in pem.chars() {
        match c {
            '\n' => text += "%0A",
            ' ' => text += "%20",
            '+' => text += "%2B",
            '/' => text += "%2F",
            '=' => text += "%3D",
            c => text.push(c),
        }
    }
    text
}

/// RFC 2253: the last part first.
fn subject(name: &X509Name<'_>) -> String {
    let parts: Vec<_> = name.iter_rdn().collect();
    let one = |part: &x509_parser::x509::AttributeTypeAndValue<'_>| {
        let kind =
            oid2abbrev(part.attr_type(), oid_registry()).map_or_else(|_| part.attr_type().to_string(), str::to_owned);
        format!("{kind}={}", escaped(part.as_str().unwrap_or_default()))
    };
    let set =
        |part: &&x509_parser::x509::RelativeDistinguishedName<'_>| part.iter().map(one).collect::<Vec<_>>().join("+");
    parts.iter().rev().map(set).collect::<Vec<_>>().join(",")
}

fn escaped(value: &str) -> String {
    let mut text = String::new();
    for (at, c) in value.char_indices() {
        let edge = (at == 0 && matches!(c, ' ' | '#')) || (at + 1 == value.len() && c == ' ');
        match c {
            ',' | '+' | '"' | '\\' | '<' | '>' | ';' => text.extend(['\\', c]),
            c if edge => text.extend(['\\', c]),
            c if c.is_ascii() && !c.is_ascii_control() => text.push(c),
            c => c.encode_utf8(&mut [0; 4]).bytes().for_each(|byte| {
                let _ = write!(text, "\\{byte:02X}");
            }),
        }
    }
    text
}
