//! BackendTLSPolicies: which TLS a Service's port gets, and whom it is held against.
//!
//! Of several policies for a target the oldest has it, whether it is valid or not: a policy that can't be kept closes
//! the backend, since what it wanted was that nobody speaks to it unchecked.

use crate::{
    Inputs,
    authority::Authorities,
    service_policy::{Claim, Reach, Target, Targets, winner},
    status::{Fault, unless},
    wanted::Wanted,
};
use api::{BackendTlsPolicySpec, SubjectAltNameType};
use engine::{Engine, Table, View};
use model::{BackendTls, ObjectKey, ObjectRef, Originate, Status, SubjectName, Trust, TrustKey};
use std::sync::Arc;

const KIND: &str = "BackendTLSPolicy";

/// The tables of policies for TLS to backends.
#[derive(Clone, Copy)]
pub(crate) struct BackendTlsPolicies {
    read: Table<ObjectKey, ReadPolicy>,
    judged: Table<ObjectKey, Judged>,
    claims: Table<Target, Claim>,
    /// The authorities that the policies name.
    pub(crate) trust: Table<TrustKey, Trust>,
    /// The ConfigMaps that they are in.
    pub(crate) wanted: Wanted,
}

/// A policy by itself.
#[derive(Clone, Debug, PartialEq)]
struct ReadPolicy {
    targets: Targets,
    originate: Originate,
    authorities: Vec<Result<ObjectKey, Fault>>,
    /// What is wrong with it whatever it refers to.
    fault: Option<Fault>,
}

/// A policy with its references followed.
#[derive(Clone, Debug, PartialEq)]
struct Judged {
    tls: BackendTls,
    fault: Option<Fault>,
    refs_fault: Option<Fault>,
}

pub(crate) fn declare(engine: &mut Engine, inputs: &Inputs, authorities: &Authorities) -> BackendTlsPolicies {
    let read = engine.derive("backend TLS policies read", &inputs.backend_tls_policies, |_, key, rows| {
        rows.iter().map(|policy| (key.clone(), read(key, policy))).collect()
    });
    let verdicts = authorities.verdicts;
    let judged = engine.derive("backend TLS policies judged", &read, move |view, key, rows| {
        rows.iter().map(|policy| (key.clone(), judge(view, policy, verdicts))).collect()
    });
    let claims = engine.derive("backend TLS claims", &read, |_, _, rows| {
        rows.iter().flat_map(|policy| policy.targets.claims()).collect()
    });
    let usable = authorities.usable;
    let trust = engine.derive("backend authorities", &read, move |view, key, rows| {
        rows.iter().filter_map(|policy| trust(view, key, policy, usable)).collect()
    });
    let wanted = engine.derive("objects wanted by backend TLS policies", &read, |_, _, rows| {
        let maps = rows.iter().flat_map(|policy| policy.authorities.iter().flatten());
        maps.map(|map| (ObjectRef::new("ConfigMap", map.clone()), ())).collect()
    });
    BackendTlsPolicies { read, judged, claims, trust, wanted }
}

impl BackendTlsPolicies {
    /// How a port of a Service is spoken to; none is in clear text.
    pub(crate) fn of_port(&self, view: &View, service: &ObjectKey, port: &Arc<str>) -> Option<BackendTls> {
        let own = Some(port)
            .filter(|name| !name.is_empty())
            .and_then(|name| winner(view, self.claims, &(service.clone(), Some(name.clone()))));
        let policy = own.or_else(|| winner(view, self.claims, &(service.clone(), None)))?;
        Some(view.get(&self.judged, &policy).map_or(BackendTls::Broken, |judged| judged.tls.clone()))
    }
}

fn read(key: &ObjectKey, policy: &api::BackendTlsPolicy) -> ReadPolicy {
    let spec = &policy.spec;
    let references = spec.target_refs.iter();
    let references =
        references.map(|target| (&*target.group, &*target.kind, &*target.name, target.section_name.as_deref()));
    let validation = &spec.validation;
    let authorities = validation.ca_certificate_refs.iter().enumerate();
    let authorities = authorities.map(|(index, reference)| match (&*reference.group, &*reference.kind) {
        ("", "ConfigMap") => Ok(ObjectKey::new(key.namespace.clone(), &*reference.name)),
        (group, kind) => {
            let field = format!("spec.validation.caCertificateRefs[{index}]");
            Err(Fault::new("InvalidKind", format!("{field}: wanted a ConfigMap, saw a {kind} of {group:?}")))
        }
    });
    let trust = match validation.well_known_ca_certificates {
        Some(_) => TrustKey::System,
        None => TrustKey::Backend(key.clone()),
    };
    let server_name: Arc<str> = (*validation.hostname).into();
    let names = match &*validation.subject_alt_names {
        [] => vec![SubjectName::Dns(server_name.clone())],
        names => names.iter().filter_map(subject_name).collect(),
    };
    ReadPolicy {
        targets: Targets::new(key, &policy.metadata, references),
        originate: Originate { server_name, names, trust },
        authorities: authorities.collect(),
        fault: fault(spec),
    }
}

fn subject_name(name: &api::SubjectAltName) -> Option<SubjectName> {
    match name.kind {
        SubjectAltNameType::Hostname => name.hostname.as_deref().map(|name| SubjectName::Dns(name.into())),
        SubjectAltNameType::Uri => name.uri.as_deref().map(|uri| SubjectName::Uri(uri.into())),
    }
}

fn fault(spec: &BackendTlsPolicySpec) -> Option<Fault> {
    let known = spec.validation.well_known_ca_certificates.as_deref();
    if let Some(other) = known.filter(|known| *known != "System") {
        let what = format!("spec.validation.wellKnownCACertificates: wanted System, saw {other:?}");
        return Some(Fault::new("Invalid", what));
    }
    // An option may ask for more security than we would give without it.
    let option = spec.options.keys().next()?;
    Some(Fault::new("Invalid", format!("spec.options: {option:?} is not known; remove it")))
}

fn judge(view: &View, policy: &ReadPolicy, verdicts: Table<ObjectKey, Option<String>>) -> Judged {
    let invalid = |index: usize, why: String| {
        Fault::new("InvalidCACertificateRef", format!("spec.validation.caCertificateRefs[{index}]: {why}"))
    };
    let faults = policy.authorities.iter().enumerate().map(|(index, authority)| match authority {
        Err(fault) => Some(fault.clone()),
        Ok(map) => match view.get(&verdicts, map).as_deref() {
            None => Some(invalid(index, format!("ConfigMap {map} does not exist"))),
            Some(Some(why)) => Some(invalid(index, format!("ConfigMap {map} {why}"))),
            Some(None) => None,
        },
    });
    let faults: Vec<_> = faults.collect();
    let nobody = !faults.is_empty() && faults.iter().all(Option::is_some);
    let refs_fault = faults.into_iter().flatten().next();
    let no_authority = refs_fault.as_ref().filter(|_| nobody);
    let no_authority = no_authority.map(|fault| Fault::new("NoValidCACertificate", &*fault.message));
    let fault = policy.fault.clone().or(no_authority);
    let tls = match &fault {
        None => BackendTls::Originate(policy.originate.clone()),
        Some(_) => BackendTls::Broken,
    };
    Judged { tls, fault, refs_fault }
}

fn trust(
    view: &View,
    key: &ObjectKey,
    policy: &ReadPolicy,
    usable: Table<ObjectKey, Arc<[u8]>>,
) -> Option<(TrustKey, Trust)> {
    if policy.originate.trust == TrustKey::System {
        return Some((TrustKey::System, Trust::System));
    }
    let maps = policy.authorities.iter().filter_map(|authority| authority.as_ref().ok());
    let roots = maps.filter_map(|map| view.get(&usable, map)).fold(Vec::new(), |mut all, pem| {
        all.extend_from_slice(&pem);
        all
    });
    (!roots.is_empty()).then(|| (TrustKey::Backend(key.clone()), Trust::Roots(roots.into())))
}

/// Declares the statuses. Their ancestors are the Gateways whose routes lead to the Service.
pub(crate) fn statuses(
    engine: &mut Engine,
    inputs: &Inputs,
    policies: &BackendTlsPolicies,
    reach: Reach,
) -> Table<ObjectRef, Status> {
    let BackendTlsPolicies { read, judged, claims, .. } = *policies;
    engine.derive("backend TLS policy statuses", &inputs.backend_tls_policies, move |view, key, rows| {
        let (Some(policy), Some(judged)) = (view.get(&read, key), view.get(&judged, key)) else { return Vec::new() };
        let (gateways, target_fault) = reach.of(view, KIND, &policy.targets, claims);
        let accepted = judged.fault.as_ref().filter(|fault| fault.reason == "Invalid");
        let accepted = accepted.or(target_fault.as_ref()).or(judged.fault.as_ref());
        let conditions = [unless("Accepted", accepted), unless("ResolvedRefs", judged.refs_fault.as_ref())];
        let status = |object: &Arc<api::BackendTlsPolicy>| {
            let status = reach.status(view, &object.metadata, gateways.clone(), &conditions)?;
            Some((ObjectRef::new(KIND, key.clone()), status))
        };
        rows.iter().filter_map(status).collect()
    })
}
