//! BackendTLSPolicy.

use super::{Check, gateway::local_reference, name};
use crate::{
    BackendTlsPolicySpec, BackendTlsPolicyValidation, SectionTargetReference, SubjectAltName, SubjectAltNameType,
};

pub fn policy(check: &mut Check, spec: &BackendTlsPolicySpec) {
    check.field("spec", |check| {
        check.each("targetRefs", &spec.target_refs, 1..=16, |check, target| {
            check.text("group", &target.group, &name::GROUP);
            check.text("kind", &target.kind, &name::KIND);
            check.text("name", &target.name, &name::OBJECT_NAME);
            check.maybe("sectionName", target.section_name.as_deref(), &name::DNS_SUBDOMAIN);
        });
        targets_differ(check, &spec.target_refs);
        check.field("validation", |check| validation(check, &spec.validation));
        check.field("options", |check| check.hold(spec.options.len() <= 16, "wanted at most 16 options"));
    });
}

fn targets_differ(check: &mut Check, targets: &[SectionTargetReference]) {
    let object = |target: &SectionTargetReference| (target.group.clone(), target.kind.clone(), target.name.clone());
    check.unique("targetRefs", targets, "targets", |target| (object(target), target.section_name.clone()));
    let whole = targets.iter().find(|target| {
        let same = targets.iter().filter(|other| object(other) == object(target));
        target.section_name.is_none() && same.count() > 1
    });
    check.field("targetRefs", |check| {
        let message = "wanted a sectionName in each of several references to the same target, one has none";
        check.hold(whole.is_none(), message);
    });
}

pub fn validation(check: &mut Check, validation: &BackendTlsPolicyValidation) {
    check.each("caCertificateRefs", &validation.ca_certificate_refs, 0..=8, local_reference);
    let well_known = validation.well_known_ca_certificates.as_deref();
    check.maybe("wellKnownCACertificates", well_known, &name::WELL_KNOWN_AUTHORITIES);
    let refers = !validation.ca_certificate_refs.is_empty();
    let one = refers != well_known.is_some();
    let seen = if refers { "both" } else { "neither" };
    check.hold(one, format!("wanted either caCertificateRefs or wellKnownCACertificates, saw {seen}"));
    check.text("hostname", &validation.hostname, &name::PRECISE_HOSTNAME);
    check.each("subjectAltNames", &validation.subject_alt_names, 0..=5, subject_alt_name);
}

fn subject_alt_name(check: &mut Check, name: &SubjectAltName) {
    check.maybe("hostname", name.hostname.as_deref(), &name::HOSTNAME_OR_WILDCARD);
    check.maybe("uri", name.uri.as_deref(), &name::URI);
    let (wanted, other) = match name.kind {
        SubjectAltNameType::Hostname => (&name.hostname, ("hostname", name.uri.is_some(), "uri")),
        SubjectAltNameType::Uri => (&name.uri, ("uri", name.hostname.is_some(), "hostname")),
    };
    let (field, has_other, other) = other;
    check.hold(wanted.is_some(), format!("wanted {field} with this type, it is missing"));
    check.hold(!has_other, format!("wanted no {other} with this type"));
}
