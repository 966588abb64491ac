//! BackendTLSPolicies: which TLS a Service's port gets, and whom it is held against.
//!
//! Of several policies for a target the oldest has it, whether it is valid or not: a policy that can't be kept closes
//! the backend, since what it wanted was that nobody speaks to it unchecked.

use crate::{
    Inputs,
    authority::Authorities,
    gateway::Workload,
    service::{ServiceShape, Services},
    status::Fault,
    wanted::Wanted,
};
use api::{BackendTlsPolicySpec, GATEWAY_GROUP, SubjectAltNameType};
use engine::{Engine, Table, View};
use model::{BackendTls, ObjectKey, ObjectRef, Originate, ParentStatus, Status, SubjectName, Trust, TrustKey};
use std::{collections::BTreeSet, sync::Arc};

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

/// A Service and the name of one of its ports; none is all of it.
type Target = (ObjectKey, Option<Arc<str>>);

/// When a policy was created, and which: the least has the target.
type Claim = (i64, ObjectKey);

/// The most ancestors that a status may name.
const MOST_ANCESTORS: usize = 16;

/// A policy by itself.
#[derive(Clone, Debug, PartialEq)]
struct ReadPolicy {
    claim: Claim,
    /// With the field that names it.
    targets: Vec<(String, Target)>,
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
        let claims = |policy: &Arc<ReadPolicy>| {
            let policy = policy.clone();
            (0..policy.targets.len()).map(move |index| (policy.targets[index].1.clone(), policy.claim.clone()))
        };
        rows.iter().flat_map(claims).collect()
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
            .and_then(|name| self.winner(view, &(service.clone(), Some(name.clone()))));
        let policy = own.or_else(|| self.winner(view, &(service.clone(), None)))?;
        Some(view.get(&self.judged, &policy).map_or(BackendTls::Broken, |judged| judged.tls.clone()))
    }

    fn winner(&self, view: &View, target: &Target) -> Option<ObjectKey> {
        view.rows(&self.claims, target).iter().min().map(|claim| claim.1.clone())
    }
}

fn read(key: &ObjectKey, policy: &api::BackendTlsPolicy) -> ReadPolicy {
    let spec = &policy.spec;
    let created = policy.metadata.creation_timestamp.as_ref().map_or(i64::MAX, |time| time.0.as_second());
    let validation = &spec.validation;
    let references = validation.ca_certificate_refs.iter().enumerate();
    let authorities = references.map(|(index, reference)| match (&*reference.group, &*reference.kind) {
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
        claim: (created, key.clone()),
        targets: targets(key, spec),
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

/// The Services that it names; other kinds have no Gateway that could say so.
fn targets(key: &ObjectKey, spec: &BackendTlsPolicySpec) -> Vec<(String, Target)> {
    let targets = spec.target_refs.iter().enumerate();
    let services = targets.filter(|(_, target)| (&*target.group, &*target.kind) == ("", "Service"));
    services
        .map(|(index, target)| {
            let section = target.section_name.as_deref().map(Arc::from);
            let service = ObjectKey::new(key.namespace.clone(), &*target.name);
            (format!("spec.targetRefs[{index}]"), (service, section))
        })
        .collect()
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
    services: &Services,
    gateway_clusters: Table<(ObjectKey, Arc<str>), ()>,
    workloads: Table<ObjectKey, Workload>,
) -> Table<ObjectRef, Status> {
    let users = engine.derive("gateways of clusters", &gateway_clusters, |_, (gateway, cluster), _| {
        vec![(cluster.clone(), gateway.clone())]
    });
    let (policies, shapes) = (*policies, services.shapes);
    engine.derive("backend TLS policy statuses", &inputs.backend_tls_policies, move |view, key, rows| {
        let status = |object: &Arc<api::BackendTlsPolicy>| {
            let ancestors = ancestors(view, key, &policies, shapes, (users, workloads));
            let observed_generation = object.metadata.generation.unwrap_or_default();
            let status = Status { observed_generation, ancestors, ..Status::default() };
            (!status.ancestors.is_empty()).then(|| (ObjectRef::new("BackendTLSPolicy", key.clone()), status))
        };
        rows.iter().filter_map(status).collect()
    })
}

fn ancestors(
    view: &View,
    key: &ObjectKey,
    policies: &BackendTlsPolicies,
    shapes: Table<ObjectKey, ServiceShape>,
    (users, workloads): (Table<Arc<str>, ObjectKey>, Table<ObjectKey, Workload>),
) -> Vec<ParentStatus> {
    let (Some(policy), Some(judged)) = (view.get(&policies.read, key), view.get(&policies.judged, key)) else {
        return Vec::new();
    };
    let mut gateways = BTreeSet::new();
    let mut target_fault = None;
    for (field, target) in &policy.targets {
        let (service, section) = target;
        let Some(shape) = view.get(&shapes, service) else { continue };
        let named = |port: &&crate::service::Port| section.as_ref().is_none_or(|section| *section == port.name);
        let clusters: Vec<_> = shape.ports.iter().filter(named).map(|port| &port.cluster).collect();
        if clusters.is_empty() {
            let section = section.as_deref().unwrap_or_default();
            let what = format!("{field}.sectionName: Service {service} has no port named {section:?}");
            target_fault.get_or_insert_with(|| Fault::new("TargetNotFound", what));
        }
        let clusters =
            if clusters.is_empty() { shape.ports.iter().map(|port| &port.cluster).collect() } else { clusters };
        for cluster in clusters {
            gateways.extend(view.rows(&users, cluster).into_iter().map(|gateway| ObjectKey::clone(&gateway)));
        }
        if let Some(winner) = policies.winner(view, target).filter(|winner| winner != key) {
            let what = format!("{field}: BackendTLSPolicy {winner} is older or first by name, and has it");
            target_fault.get_or_insert_with(|| Fault::new("Conflicted", what));
        }
    }
    let accepted = judged.fault.as_ref().filter(|fault| fault.reason == "Invalid");
    let accepted = accepted.or(target_fault.as_ref()).or(judged.fault.as_ref());
    let conditions = vec![
        crate::status::unless("Accepted", accepted),
        crate::status::unless("ResolvedRefs", judged.refs_fault.as_ref()),
    ];
    let controller = |gateway: &ObjectKey| Some(view.get(&workloads, gateway)?.controller.clone());
    let ancestor = |gateway: ObjectKey| ParentStatus {
        controller: controller(&gateway).unwrap_or_default(),
        kind: (GATEWAY_GROUP.into(), "Gateway".into()),
        parent: gateway,
        explicit_namespace: true,
        section: None,
        port: None,
        conditions: conditions.clone(),
    };
    gateways.into_iter().take(MOST_ANCESTORS).map(ancestor).collect()
}
