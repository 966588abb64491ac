//! Roots on disk: kept, rotated, plugged in, replaced while running.

use crate::{testing::*, *};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::pki_types::{CertificateDer, UnixTime};
use std::{fs, os::unix::fs::PermissionsExt, path::Path, time::UNIX_EPOCH};

const DAY: Duration = Duration::from_secs(24 * 3600);

fn own(dir: &Path, now: SystemTime) -> Roots {
    Roots::open(Source::SelfSigned(dir.into()), "cluster.local", now).unwrap()
}

fn leaf(authority: &Authority, now: SystemTime) -> CertificateDer<'static> {
    sign(&csr(&[]), &web(), Duration::ZERO, now, authority).unwrap().leaf
}

/// Whether somebody who trusts `roots` takes what `authority` issues.
fn trusted_by(roots: &Authority, issued_by: &Authority, now: SystemTime) -> bool {
    let since = UnixTime::since_unix_epoch(now.duration_since(UNIX_EPOCH).unwrap());
    let leaf = leaf(issued_by, now);
    roots.client_verifier().verify_client_cert(&leaf, issued_by.intermediates(), since).is_ok()
}

#[test]
fn a_root_outlives_a_restart_and_is_for_its_owner_only() {
    let dir = tempfile::tempdir().unwrap();
    let first = own(dir.path(), now()).authority();
    let second = own(dir.path(), now() + DAY).authority();
    assert_eq!(first.roots(), second.roots());
    let mode = fs::metadata(dir.path().join("root.pem")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left beside it");
}

#[test]
fn a_rotated_root_is_trusted_by_all_at_once_and_the_old_one_until_its_certificates_end() {
    let dir = tempfile::tempdir().unwrap();
    let roots = own(dir.path(), now());
    let before = roots.authority();
    roots.rotate(now()).unwrap();
    let after = roots.authority();
    assert_eq!(after.roots().len(), 2);
    assert!(trusted_by(&before, &after, now()), "who knows only the old root");
    assert!(trusted_by(&after, &before, now()), "who shows an old certificate");
    assert!(trusted_by(&after, &after, now()));
    assert_eq!(own(dir.path(), now()).authority().roots(), after.roots(), "after a restart");

    assert!(!roots.refresh(now() + MAX_TTL).unwrap());
    assert!(trusted_by(&roots.authority(), &before, now() + MAX_TTL));
    let over = now() + MAX_TTL + 2 * DAY;
    assert!(roots.refresh(over).unwrap());
    let alone = roots.authority();
    assert_eq!(alone.roots(), &after.roots()[..1]);
    assert!(alone.intermediates().is_empty(), "nobody needs the way through the old root any more");
    assert!(!trusted_by(&alone, &before, over));
    assert!(!roots.refresh(over).unwrap());
}

#[test]
fn roots_may_be_rotated_faster_than_they_retire() {
    let dir = tempfile::tempdir().unwrap();
    let roots = own(dir.path(), now());
    let first = roots.authority();
    for day in 1..5 {
        roots.rotate(now() + DAY * day).unwrap();
    }
    assert!(matches!(roots.rotate(now() + DAY * 5), Err(RootError::TooSoon(5))));
    let last = roots.authority();
    assert_eq!(last.roots().len(), 5);
    assert!(trusted_by(&first, &last, now() + DAY * 4), "who knows only the first root");
    assert!(trusted_by(&last, &first, now() + DAY * 4));
    let over = now() + MAX_TTL + DAY * 3 + Duration::from_secs(3600);
    assert!(roots.refresh(over).unwrap(), "two have gone");
    assert_eq!(roots.authority().roots(), &last.roots()[..3]);
    assert_eq!(roots.authority().intermediates().len(), 2);
    assert!(trusted_by(&roots.authority(), &roots.authority(), over));
}

#[test]
fn a_root_near_its_end_is_replaced_by_itself_even_if_the_end_was_slept_through() {
    let dir = tempfile::tempdir().unwrap();
    let roots = own(dir.path(), now());
    assert!(!roots.refresh(now() + DAY * 2900).unwrap());
    assert!(roots.refresh(now() + DAY * 2930).unwrap());
    assert_eq!(roots.authority().roots().len(), 2);

    let late = now() + DAY * 20_000;
    assert!(roots.refresh(late).unwrap());
    assert_eq!(roots.authority().roots().len(), 1);
    let late = late + DAY * 20_000;
    let woken = own(dir.path(), late).authority();
    assert!(trusted_by(&woken, &woken, late));
    assert_eq!(own(dir.path(), late).authority().roots().len(), 1);
}

#[test]
fn a_spoilt_root_is_an_error_and_stays_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let good = own(dir.path(), now());
    let path = dir.path().join("root.pem");
    let text = fs::read_to_string(&path).unwrap();
    let (key, certificate) = text.split_at(text.find("-----BEGIN CERTIFICATE").unwrap());
    let other = tempfile::tempdir().unwrap();
    own(other.path(), now());
    let stranger = fs::read_to_string(other.path().join("root.pem")).unwrap();
    let stranger = &stranger[stranger.find("-----BEGIN CERTIFICATE").unwrap()..];
    for spoilt in ["", "garbage", key, certificate, &format!("{key}{stranger}"), &text[..text.len() / 2]] {
        fs::write(&path, spoilt).unwrap();
        let seen = Roots::open(Source::SelfSigned(dir.path().into()), "cluster.local", now());
        let error = seen.err().expect(spoilt).to_string();
        assert!(error.contains("root.pem"), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), spoilt, "it is somebody's only copy");
    }
    assert!(trusted_by(&good.authority(), &good.authority(), now()), "who has it goes on");
}

/// An authority made by others, for the plug-in directory.
struct Made {
    params: CertificateParams,
    key: KeyPair,
    pem: String,
}

fn made(name: &str, by: Option<&Made>) -> Made {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::OrganizationName, "Example");
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let key = KeyPair::generate().unwrap();
    let certificate = match by {
        Some(by) => params.signed_by(&key, &Issuer::from_params(&by.params, &by.key)).unwrap(),
        None => params.self_signed(&key).unwrap(),
    };
    Made { params, key, pem: certificate.pem() }
}

fn write_istio(dir: &Path, ca: &Made, roots: &[&Made]) {
    let roots: String = roots.iter().map(|root| root.pem.as_str()).collect();
    fs::write(dir.join("ca-cert.pem"), &ca.pem).unwrap();
    fs::write(dir.join("ca-key.pem"), ca.key.serialize_pem()).unwrap();
    fs::write(dir.join("cert-chain.pem"), format!("{}{roots}", ca.pem)).unwrap();
    fs::write(dir.join("root-cert.pem"), roots).unwrap();
}

fn plugged(dir: &Path) -> Result<Roots, RootError> {
    Roots::open(Source::PlugIn(dir.into()), "", now())
}

#[test]
fn both_layouts_plug_in() {
    let root = made("root", None);
    let ca = made("ca", Some(&root));
    let istio = tempfile::tempdir().unwrap();
    write_istio(istio.path(), &ca, &[&root]);
    let secret = tempfile::tempdir().unwrap();
    fs::write(secret.path().join("tls.crt"), &ca.pem).unwrap();
    fs::write(secret.path().join("tls.key"), ca.key.serialize_pem()).unwrap();
    fs::write(secret.path().join("ca.crt"), &root.pem).unwrap();
    for dir in [istio, secret] {
        let authority = plugged(dir.path()).unwrap().authority();
        assert_eq!((authority.intermediates().len(), authority.roots().len()), (1, 1));
        let chain = sign(&csr(&[]), &web(), Duration::ZERO, now(), &authority).unwrap();
        let [_, intermediate, bundle] = &chain.pem[..] else { panic!("{:?}", chain.pem) };
        assert_eq!(intermediate.trim(), ca.pem.trim().replace("\r\n", "\n"));
        assert_eq!(bundle.trim(), root.pem.trim().replace("\r\n", "\n"));
    }
}

#[test]
fn authorities_of_every_key_type_sign() {
    let Some(_) = openssl(&["version"]) else { return };
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    for algorithm in ["rsa:2048", "ec -pkeyopt ec_paramgen_curve:P-384", "ed25519"] {
        // As corporate authorities are named: the same part twice, several parts in one, which a careless copy loses.
        let subject = "/DC=com/DC=example/OU=a/OU=b+CN=Multi Valued";
        let (key, certificate) = (path("ca-key.pem"), path("ca-cert.pem"));
        let mut args = vec!["req", "-x509", "-nodes", "-days", "36500", "-subj", subject];
        args.extend(["-addext", "keyUsage=critical,keyCertSign", "-keyout", &key, "-out", &certificate, "-newkey"]);
        args.extend(algorithm.split(' '));
        let (ok, text) = openssl(&args).unwrap();
        assert!(ok, "{text}");
        for copy in ["root-cert.pem", "cert-chain.pem"] {
            fs::copy(&certificate, path(copy)).unwrap();
        }
        let since = SystemTime::now();
        let authority = Roots::open(Source::PlugIn(dir.path().into()), "", since).unwrap().authority();
        let chain = sign(&csr(&[]), &web(), Duration::ZERO, since, &authority).unwrap();
        fs::write(path("leaf.pem"), &chain.pem[0]).unwrap();
        let (ok, text) = openssl(&["verify", "-CAfile", &certificate, &path("leaf.pem")]).unwrap();
        assert!(ok, "{algorithm}: {text}");
    }
}

#[test]
fn plug_in_files_that_do_not_fit_are_refused_and_the_old_ones_go_on() {
    let (root, stranger) = (made("root", None), made("stranger", None));
    let ca = made("ca", Some(&root));
    let dir = tempfile::tempdir().unwrap();
    write_istio(dir.path(), &ca, &[&root]);
    let roots = plugged(dir.path()).unwrap();
    let good = roots.authority();
    let spoil: [(&str, &dyn Fn()); 7] = [
        ("ca-key.pem", &|| fs::remove_file(dir.path().join("ca-key.pem")).unwrap()),
        ("does not belong", &|| fs::write(dir.path().join("ca-key.pem"), stranger.key.serialize_pem()).unwrap()),
        ("ca-cert.pem", &|| fs::write(dir.path().join("ca-cert.pem"), "garbage").unwrap()),
        ("does not lead to a root", &|| fs::write(dir.path().join("root-cert.pem"), &stranger.pem).unwrap()),
        ("root-cert.pem", &|| fs::write(dir.path().join("root-cert.pem"), "").unwrap()),
        ("cert-chain.pem", &|| fs::write(dir.path().join("cert-chain.pem"), &root.pem[..200]).unwrap()),
        ("no longer among the roots", &|| write_istio(dir.path(), &made("x", Some(&stranger)), &[&stranger])),
    ];
    for (wanted, spoil) in spoil {
        spoil();
        let error = roots.refresh(now()).expect_err(wanted).to_string();
        assert!(error.contains(wanted), "wanted {wanted:?}, saw {error:?}");
        assert!(Arc::ptr_eq(&good, &roots.authority()));
        write_istio(dir.path(), &ca, &[&root]);
        assert!(!roots.refresh(now()).unwrap(), "mended");
    }
}

#[test]
fn a_plug_in_root_rotates_through_a_bundle_of_both() {
    let (old, new) = (made("old", None), made("new", None));
    let (old_ca, new_ca) = (made("old ca", Some(&old)), made("new ca", Some(&new)));
    let dir = tempfile::tempdir().unwrap();
    write_istio(dir.path(), &old_ca, &[&old]);
    let roots = plugged(dir.path()).unwrap();
    for (ca, bundle) in [(&old_ca, &[&old, &new][..]), (&new_ca, &[&old, &new]), (&new_ca, &[&new])] {
        let before = roots.authority();
        write_istio(dir.path(), ca, bundle);
        assert!(roots.refresh(now()).unwrap());
        let after = roots.authority();
        assert!(trusted_by(&before, &after, now()), "each step is trusted by those who are one behind");
    }
}

#[test]
fn a_root_that_somebody_keeps_changes_only_through_them() {
    let start = now();
    let kept = crate::Kept::new("Secret n/s", crate::new_root("cluster.local", start).unwrap());
    let replicas = [(); 2].map(|()| Roots::open(Source::Kept(kept.clone()), "cluster.local", start).unwrap());
    assert_eq!(replicas[0].authority().roots_pem(), replicas[1].authority().roots_pem());
    assert_eq!(replicas[0].next(start).unwrap(), None, "nothing is due");
    assert!(matches!(replicas[0].rotate(start), Err(RootError::NotOurs)));

    // Near its end a change is due, which one of them writes; both then use it, and trust the old one still.
    let late = start + Duration::from_secs(3600 * 24 * 3000);
    let next = replicas[0].next(late).unwrap().unwrap();
    assert!(!replicas[1].refresh(late).unwrap(), "nobody has written it yet");
    let before = replicas[1].authority();
    kept.set(next);
    for roots in &replicas {
        assert!(roots.refresh(late).unwrap());
        assert!(before.shares_root_with(&roots.authority()));
        assert_ne!(roots.authority().roots_pem(), before.roots_pem());
        assert_eq!(roots.next(late).unwrap(), None);
    }

    // A root that nobody knows does not take the place of one that is in use.
    kept.set(crate::new_root("cluster.local", late).unwrap());
    assert!(matches!(replicas[0].refresh(late), Err(RootError::RootDropped(_))));
    kept.set(b"nonsense".to_vec());
    assert!(replicas[0].refresh(late).is_err());
}
