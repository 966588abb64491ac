//! BackendTLSPolicies: which TLS a Service's port gets, and whom it is held against.
//!
//! Of several policies for a target the oldest has it, whether it is valid or not: a policy that can't be kept closes
//! the backend, since what it wanted was that nobody speaks to it unchecked.

use crate::{
    Inputs,
    authority::Authorities,
    service_policy::{Claim, Reach, Target, Targets, winner},
    status::{Fault, unless},
    validation::Validation,
    wanted::Wanted,
};
use api::BackendTlsPolicySpec;
use engine::{Engine, Table, View};
use model::{BackendTls, ObjectKey, ObjectRef, Shown, Status, Trust, TrustKey};
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
    validation: Validation,
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
    let authorities = *authorities;
    let judged = engine.derive("backend TLS policies judged", &read, move |view, key, rows| {
        rows.iter().map(|policy| (key.clone(), judge(view, policy, &authorities))).collect()
    });
    let claims = engine.derive("backend TLS claims", &read, |_, _, rows| {
        rows.iter().flat_map(|policy| policy.targets.claims()).collect()
    });
    let trust = engine.derive("backend authorities", &read, move |view, _, rows| {
        rows.iter().filter_map(|policy| policy.validation.trust(view, &authorities)).collect()
    });
    let wanted = engine.derive("objects wanted by backend TLS policies", &read, |_, _, rows| {
        rows.iter().flat_map(|policy| policy.validation.wanted()).map(|object| (object, ())).collect()
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
    let field = (key, "spec.validation");
    let validation = Validation::read(field, TrustKey::Backend(key.clone()), Shown::OfGateway, &spec.validation);
    let fault = validation.fault.clone().or_else(|| unknown_option(spec));
    ReadPolicy { targets: Targets::new(key, &policy.metadata, references), validation, fault }
}

/// An option may ask for more security than we would give without it.
fn unknown_option(spec: &BackendTlsPolicySpec) -> Option<Fault> {
    let option = spec.options.keys().next()?;
    Some(Fault::new("Invalid", format!("spec.options: {option:?} is not known; remove it")))
}

fn judge(view: &View, policy: &ReadPolicy, authorities: &Authorities) -> Judged {
    let checked = policy.validation.judge(view, authorities);
    let fault = policy.fault.clone().or(checked.fault);
    let tls = match &fault {
        None => BackendTls::Originate(policy.validation.originate.clone()),
        Some(_) => BackendTls::Broken,
    };
    Judged { tls, fault, refs_fault: checked.refs_fault }
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
