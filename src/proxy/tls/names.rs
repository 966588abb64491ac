//! Who a client's certificate says it is.

use crate::authz::PeerCertificate;
use rustls::pki_types::CertificateDer;
use x509_parser::{extensions::GeneralName, parse_x509_certificate};

/// The names in a certificate that has been verified. What can't be read counts as no name.
pub(crate) fn peer_certificate(chain: Option<&[CertificateDer<'_>]>) -> PeerCertificate {
    let mut names = PeerCertificate::default();
    let Some(leaf) = chain.and_then(<[_]>::first) else { return names };
    let Ok((_, certificate)) = parse_x509_certificate(leaf) else { return names };
    names.subject = certificate.subject().to_string();
    if let Ok(Some(alternatives)) = certificate.subject_alternative_name() {
        for name in &alternatives.value.general_names {
            match name {
                GeneralName::URI(uri) => names.uris.push((*uri).to_owned()),
                GeneralName::DNSName(dns) => names.dns.push((*dns).to_owned()),
                _ => {}
            }
        }
    }
    names
}
