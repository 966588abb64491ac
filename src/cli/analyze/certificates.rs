//! Certificates that end soon, or that are not for the host that they are presented for.

use super::finding::{Finding, Level};
use crate::{offline::World, path::path};
use api::{FieldPath, Object, ObjectId};
use serde_json::Value;
use time::{Duration, OffsetDateTime, format_description::well_known::Rfc3339};
use x509_parser::{extensions::GeneralName, pem::Pem};

/// Less than this is soon.
const SOON: Duration = Duration::days(30);

/// What is read of a certificate.
struct Leaf {
    names: Vec<String>,
    ends: OffsetDateTime,
}

/// Every Secret that a listener of ours presents, whatever kind of object has the listener.
pub fn findings(world: &World, now: OffsetDateTime) -> Vec<Finding> {
    let owners = world.objects.iter().filter(|(id, _)| world.status(id).is_some());
    owners.flat_map(|(id, object)| of_owner(world, id, &object.to_json().unwrap_or_default(), now)).collect()
}

fn of_owner(world: &World, owner: &ObjectId, json: &Value, now: OffsetDateTime) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (index, listener) in json["spec"]["listeners"].as_array().into_iter().flatten().enumerate() {
        let references = listener["tls"]["certificateRefs"].as_array().map(Vec::as_slice).unwrap_or_default();
        let leaves: Vec<_> = references
            .iter()
            .enumerate()
            .filter_map(|(at, reference)| {
                let id = secret(reference, owner)?;
                Some((at, leaf(world, &id)?, id))
            })
            .collect();
        let at = |rest: &str| path(&format!("spec.listeners[{index}].{rest}")).unwrap_or_default();
        for (place, leaf, id) in &leaves {
            findings.extend(ends(world, owner, &at(&format!("tls.certificateRefs[{place}]")), leaf, id, now));
        }
        let host = listener["hostname"].as_str().unwrap_or_default().to_ascii_lowercase();
        if !host.is_empty() && !leaves.is_empty() && !leaves.iter().any(|(_, leaf, _)| leaf.is_for(&host)) {
            let names: Vec<&str> = leaves.iter().flat_map(|(_, leaf, _)| &leaf.names).map(String::as_str).collect();
            let names = if names.is_empty() { "no DNS name".into() } else { names.join(", ") };
            let message = format!("wanted a certificate for {host}, saw {names}: clients will refuse it");
            findings.push(Finding::new(world, Level::Warning, "CertificateHost", owner, &at("hostname"), message));
        }
    }
    findings
}

fn ends(
    world: &World,
    owner: &ObjectId,
    at: &FieldPath,
    leaf: &Leaf,
    id: &ObjectId,
    now: OffsetDateTime,
) -> Option<Finding> {
    let left = leaf.ends - now;
    let end = leaf.ends.format(&Rfc3339).unwrap_or_default();
    if left <= Duration::ZERO {
        let message = format!("the certificate in {id} ended at {end}");
        return Some(Finding::new(world, Level::Error, "CertificateExpired", owner, at, message));
    }
    (left < SOON).then(|| {
        let message = format!("the certificate in {id} ends at {end}, in {} days", left.whole_days());
        Finding::new(world, Level::Warning, "CertificateExpires", owner, at, message)
    })
}

/// The Secret that a reference names; others aren't certificates that we know.
fn secret(reference: &Value, owner: &ObjectId) -> Option<ObjectId> {
    let text = |name: &str| reference[name].as_str();
    let of_core = text("group").is_none_or(str::is_empty) && text("kind").is_none_or(|kind| kind == "Secret");
    let namespace = text("namespace").unwrap_or(&owner.namespace);
    of_core
        .then(|| Some(ObjectId { kind: "Secret".into(), namespace: namespace.into(), name: text("name")?.into() }))?
}

fn leaf(world: &World, secret: &ObjectId) -> Option<Leaf> {
    let Object::Secret(secret) = world.objects.get(secret)? else { return None };
    let pem = &secret.data.as_ref()?.get("tls.crt")?.0;
    let first = Pem::iter_from_buffer(pem).filter_map(Result::ok).find(|block| block.label == "CERTIFICATE")?;
    let certificate = first.parse_x509().ok()?;
    let names =
        certificate.subject_alternative_name().ok().flatten().into_iter().flat_map(|names| &names.value.general_names);
    let names = names.filter_map(|name| match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        _ => None,
    });
    let ends = certificate.validity().not_after.to_datetime();
    Some(Leaf { names: names.collect(), ends })
}

impl Leaf {
    /// RFC 9525: a wildcard stands for the first label. Of a listener with a wildcard some host at least is to be covered.
    fn is_for(&self, host: &str) -> bool {
        let wildcard = host.split_once('.').map(|(_, rest)| format!("*.{rest}"));
        self.names.iter().any(|name| match host.strip_prefix('*') {
            Some(within) => name.ends_with(within) || name == "*",
            None => name == host || name == "*" || Some(name) == wildcard.as_ref(),
        })
    }
}
