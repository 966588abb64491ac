//! Certificates (RFC 5280): what we want to know of one, and how one is put together.

use crate::der;
use rustls::pki_types::CertificateDer;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use x509_parser::{
    certificate::X509Certificate,
    extensions::{GeneralName, ParsedExtension},
    prelude::FromDer,
    time::ASN1Time,
};

/// A certificate, parsed.
pub(crate) struct Certificate {
    /// The subject, as it stands in DER.
    pub subject: Vec<u8>,
    /// The issuer, as it stands in DER.
    pub issuer: Vec<u8>,
    /// SubjectPublicKeyInfo, as it stands in DER.
    pub public_key: Vec<u8>,
    /// The subject key identifier.
    pub key_id: Option<Vec<u8>>,
    /// It may sign certificates.
    pub signs_certificates: bool,
    pub not_before: SystemTime,
    pub not_after: SystemTime,
    /// The URIs among its alternative names.
    pub uris: Vec<String>,
    /// The subject as people write it.
    subject_text: String,
}

impl Certificate {
    pub fn parse(der: &[u8]) -> Result<Self, String> {
        let (_, certificate) = X509Certificate::from_der(der).map_err(|error| error.to_string())?;
        let mut parsed = Self {
            subject: certificate.subject().as_raw().to_vec(),
            issuer: certificate.issuer().as_raw().to_vec(),
            public_key: certificate.public_key().raw.to_vec(),
            key_id: None,
            signs_certificates: certificate.is_ca(),
            not_before: system_time(certificate.validity().not_before),
            not_after: system_time(certificate.validity().not_after),
            uris: Vec::new(),
            subject_text: certificate.subject().to_string(),
        };
        for extension in certificate.extensions() {
            match extension.parsed_extension() {
                ParsedExtension::SubjectKeyIdentifier(id) => parsed.key_id = Some(id.0.to_vec()),
                ParsedExtension::KeyUsage(usage) => parsed.signs_certificates &= usage.key_cert_sign(),
                ParsedExtension::SubjectAlternativeName(names) => {
                    parsed.uris.extend(names.general_names.iter().filter_map(|name| match name {
                        GeneralName::URI(uri) => Some((*uri).to_owned()),
                        _ => None,
                    }));
                }
                _ => {}
            }
        }
        Ok(parsed)
    }

    /// Whether it is its own issuer, by name.
    pub fn is_self_issued(&self) -> bool {
        self.subject == self.issuer
    }

    pub fn check_validity(&self, now: SystemTime) -> Result<(), String> {
        if (self.not_before..=self.not_after).contains(&now) { Ok(()) } else { Err(self.subject_text.clone()) }
    }
}

/// The AlgorithmIdentifier in a SubjectPublicKeyInfo, without its outer tag and length (which are one byte each:
/// no algorithm's identifier is longer than 127 bytes).
pub(crate) fn key_algorithm(info: &[u8]) -> Option<&[u8]> {
    let header = match info.get(1)? {
        length if *length < 0x80 => 2,
        length => 2 + usize::from(length & 0x7f),
    };
    let algorithm = info.get(header..)?;
    algorithm.get(2..2 + usize::from(*algorithm.get(1)?))
}

fn system_time(time: ASN1Time) -> SystemTime {
    match u64::try_from(time.timestamp()) {
        Ok(seconds) => UNIX_EPOCH + Duration::from_secs(seconds),
        Err(_) => UNIX_EPOCH,
    }
}

/// How far back a certificate begins, for peers whose clocks are slow.
pub(crate) const CLOCK_SKEW: Duration = Duration::from_secs(120);

/// A certificate before it is signed; slices are DER.
pub(crate) struct Draft<'a> {
    pub algorithm: &'a [u8],
    /// Every byte as it stands in the issuer's certificate, for verifiers compare bytes.
    pub issuer: &'a [u8],
    pub not_before: SystemTime,
    pub not_after: SystemTime,
    pub subject: &'a [u8],
    pub public_key: &'a [u8],
    pub extensions: &'a [&'a [u8]],
}

impl Draft<'_> {
    /// TBSCertificate, with a serial number of 128 random bits; `None` without a source of randomness.
    pub fn to_der(&self) -> Option<Vec<u8>> {
        // The byte before the random ones keeps the number positive and its encoding the shortest.
        let mut serial = [1; 17];
        aws_lc_rs::rand::fill(&mut serial[1..]).ok()?;
        let extensions = der::value(der::SEQUENCE, self.extensions);
        Some(der::value(
            der::SEQUENCE,
            &[
                &[der::context(0), 3, der::INTEGER, 1, 2], // version 3
                &der::value(der::INTEGER, &[&serial]),
                self.algorithm,
                self.issuer,
                &der::value(der::SEQUENCE, &[&der::time(self.not_before), &der::time(self.not_after)]),
                self.subject,
                self.public_key,
                &der::value(der::context(3), &[&extensions]),
            ],
        ))
    }
}

/// A draft and its signature, put together.
pub(crate) fn signed(tbs: &[u8], algorithm: &[u8], signature: &[u8]) -> CertificateDer<'static> {
    der::value(der::SEQUENCE, &[tbs, algorithm, &der::bits(signature)]).into()
}

/// The extension that names the issuer's key.
pub(crate) fn authority_key_id(id: &[u8]) -> Vec<u8> {
    der::extension(
        &[0x55, 0x1d, 0x23],
        false,
        &der::value(der::SEQUENCE, &[&der::value(der::context_primitive(0), &[id])]),
    )
}
