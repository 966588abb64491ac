//! What [`sign`] signs, and what it does not.

use crate::{testing::*, *};
use rustls::pki_types::{CertificateSigningRequestDer, UnixTime, pem::PemObject};
use std::time::UNIX_EPOCH;
use x509_parser::{
    certificate::X509Certificate, certification_request::X509CertificationRequest, extensions::GeneralName,
    prelude::FromDer,
};

fn signed(csr: &str) -> Result<Chain, SignError> {
    let (_dir, authority) = self_signed();
    sign(csr, &web(), Duration::ZERO, now(), &authority)
}

#[test]
fn a_leaf_has_what_peers_look_for_and_nothing_else() {
    let chain = signed(&csr(&["spiffe://cluster.local/ns/shop/sa/web"])).unwrap();
    let (rest, leaf) = X509Certificate::from_der(&chain.leaf).unwrap();
    assert!(rest.is_empty());
    assert_eq!(leaf.version().0, 2);
    assert_eq!(leaf.subject().iter().count(), 0);
    assert_eq!(leaf.validity().not_before.timestamp(), 1_800_000_000 - 120);
    assert_eq!(leaf.validity().not_after.timestamp(), 1_800_000_000 + 24 * 3600);
    assert_eq!(chain.not_after, now() + DEFAULT_TTL);
    assert!(!leaf.is_ca());
    let names = leaf.subject_alternative_name().unwrap().unwrap();
    assert!(names.critical, "the subject is empty (RFC 5280 section 4.2.1.6)");
    assert_eq!(names.value.general_names, [GeneralName::URI("spiffe://cluster.local/ns/shop/sa/web")]);
    let usage = leaf.key_usage().unwrap().unwrap();
    assert!(usage.critical && usage.value.digital_signature() && usage.value.key_encipherment());
    assert_eq!(usage.value.flags.count_ones(), 2);
    let purpose = leaf.extended_key_usage().unwrap().unwrap().value;
    assert!(purpose.server_auth && purpose.client_auth && !purpose.any);
    assert_eq!(leaf.raw_serial().len(), 17);
    let again = signed(&csr(&[])).unwrap();
    assert_ne!(X509Certificate::from_der(&again.leaf).unwrap().1.raw_serial(), leaf.raw_serial());
}

#[test]
fn names_come_from_the_caller() {
    let chain = signed(include_str!("testdata/other-names.csr")).unwrap();
    assert_eq!(tls::identity(&chain.leaf), Some(web()));
    let (_, leaf) = X509Certificate::from_der(&chain.leaf).unwrap();
    assert_eq!(leaf.subject_alternative_name().unwrap().unwrap().value.general_names.len(), 1);
    assert_eq!(leaf.subject().iter().count(), 0, "the request's common name is ignored");

    for foreign in [
        &["spiffe://cluster.local/ns/kube-system/sa/root"][..],
        &["spiffe://cluster.local/ns/shop/sa/web", "spiffe://cluster.local/ns/shop/sa/api"],
        &["spiffe://cluster.local/ns/shop/sa/web/"],
        &["SPIFFE://cluster.local/ns/shop/sa/web"],
    ] {
        let seen = signed(&csr(foreign));
        assert!(matches!(seen, Err(SignError::ForeignName { .. })), "{foreign:?} {seen:?}");
    }
}

#[test]
fn strong_keys_are_certified_and_weak_ones_are_not() {
    for strong in [
        include_str!("testdata/rsa-2048.csr"),
        include_str!("testdata/p-384.csr"),
        include_str!("testdata/ed25519.csr"),
    ] {
        signed(strong).unwrap();
    }
    for weak in [
        include_str!("testdata/rsa-1024.csr"),
        include_str!("testdata/p-521.csr"),
        include_str!("testdata/secp256k1.csr"),
    ] {
        let seen = signed(weak);
        assert!(matches!(seen, Err(SignError::WeakKey(_))), "{seen:?}");
    }
    assert!(matches!(signed(include_str!("testdata/p-256-sha1.csr")), Err(SignError::BadSignature(_))));
}

#[test]
fn a_changed_request_is_refused() {
    let der = CertificateSigningRequestDer::from_pem_slice(csr(&[]).as_bytes()).unwrap();
    let (_, parsed) = X509CertificationRequest::from_der(&der).unwrap();
    let within = |part: &[u8]| {
        let start = part.as_ptr() as usize - der.as_ptr() as usize;
        start..start + part.len()
    };
    // What lies between the two, the algorithm of the signature, is not signed.
    for at in within(parsed.certification_request_info.raw).chain(within(&parsed.signature_value.data)) {
        let mut changed = der.to_vec();
        changed[at] ^= 1;
        let seen = signed(&pem::block("CERTIFICATE REQUEST", &changed));
        assert!(seen.is_err(), "byte {at}");
    }
    for end in 0..der.len() {
        let seen = signed(&pem::block("CERTIFICATE REQUEST", &der[..end]));
        assert!(matches!(seen, Err(SignError::Malformed(_))), "cut at {end}");
    }
}

#[test]
fn what_is_no_request_is_refused() {
    let good = csr(&[]);
    let longer = format!("{}{good}", "x".repeat(MAX_CSR));
    let certificate = good.replace("CERTIFICATE REQUEST", "CERTIFICATE");
    for garbage in ["", "garbage", &good[..good.len() / 2], &longer, &certificate, &good.replace("\nM", "\n!")] {
        let seen = signed(garbage);
        assert!(matches!(seen, Err(SignError::Malformed(_))), "{garbage:.40} {seen:?}");
    }
}

#[test]
fn a_life_is_bounded_by_the_caller_the_limit_and_the_authority() {
    let (_dir, authority) = self_signed();
    let ask = |ttl, now| sign(&csr(&[]), &web(), ttl, now, &authority).map(|chain| chain.not_after);
    let hour = Duration::from_secs(3600);
    assert_eq!(ask(hour, now()), Ok(now() + hour));
    assert_eq!(ask(Duration::ZERO, now()), Ok(now() + DEFAULT_TTL));
    assert_eq!(ask(MAX_TTL, now()), Ok(now() + MAX_TTL));
    let longer = MAX_TTL + Duration::from_secs(1);
    assert_eq!(ask(longer, now()), Err(SignError::TtlTooLong(longer)));
    let late = authority.not_after() - hour;
    assert_eq!(ask(DEFAULT_TTL, late), Ok(authority.not_after()));
    assert!(matches!(ask(hour, authority.not_after()), Err(SignError::Authority(_))));
}

#[test]
fn the_chain_verifies() {
    let (dir, authority) = self_signed();
    let chain = sign(&csr(&[]), &web(), Duration::ZERO, now(), &authority).unwrap();
    let at = |time: SystemTime| UnixTime::since_unix_epoch(time.duration_since(UNIX_EPOCH).unwrap());
    let verify =
        |time| authority.client_verifier().verify_client_cert(&chain.leaf, authority.intermediates(), at(time));
    verify(now()).unwrap();
    verify(now() - Duration::from_secs(100)).unwrap();
    assert!(verify(now() + DEFAULT_TTL + Duration::from_secs(1)).is_err());
    assert!(verify(now() - Duration::from_secs(200)).is_err());

    let [leaf, roots] = &chain.pem[..] else { panic!("wanted leaf and roots, saw {} parts", chain.pem.len()) };
    let (leaf_path, roots_path) = (dir.path().join("leaf.pem"), dir.path().join("roots.pem"));
    std::fs::write(&leaf_path, leaf).unwrap();
    std::fs::write(&roots_path, roots).unwrap();
    let (leaf_path, roots_path) = (leaf_path.to_str().unwrap(), roots_path.to_str().unwrap());
    let args =
        ["verify", "-x509_strict", "-attime", "1800000000", "-purpose", "sslclient", "-CAfile", roots_path, leaf_path];
    if let Some((ok, text)) = openssl(&args) {
        assert!(ok, "{text}");
    }
}
