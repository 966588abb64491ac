//! Policies that target Services: which of several has a target, and which Gateways their statuses speak of.
//!
//! Of several policies of one kind for a target the oldest has it, then the first by name (GEP-713), whether it is valid
//! or not: what a newer one asks for would else come and go with another's mistakes.

use crate::{
    gateway::Workload,
    kind::created,
    service::{Port, ServiceShape},
    status::Fault,
};
use api::GATEWAY_GROUP;
use engine::{Engine, Table, View};
use model::{Condition, ObjectKey, ParentStatus, Status};
use std::{collections::BTreeSet, sync::Arc};

/// A Service and the name of one of its ports; none is all of it.
pub(crate) type Target = (ObjectKey, Option<Arc<str>>);

/// When a policy was created, and which: the least has the target.
pub(crate) type Claim = (i64, ObjectKey);

/// The most ancestors that a status may name.
const MOST_ANCESTORS: usize = 16;

/// What a policy is for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Targets {
    claim: Claim,
    /// With the field that names it.
    targets: Vec<(String, Target)>,
}

/// A reference as policies write it: group, kind, name, and the name of a port.
pub(crate) type Reference<'a> = (&'a str, &'a str, &'a str, Option<&'a str>);

impl Targets {
    /// The Services among the references; other kinds have no Gateway that could say anything of them.
    pub(crate) fn new<'a>(
        key: &ObjectKey,
        metadata: &api::ObjectMeta,
        references: impl Iterator<Item = Reference<'a>>,
    ) -> Self {
        let services = references.enumerate().filter(|(_, (group, kind, ..))| (*group, *kind) == ("", "Service"));
        let target = |(index, (_, _, name, section)): (usize, Reference<'a>)| {
            let service = ObjectKey::new(key.namespace.clone(), name);
            (format!("spec.targetRefs[{index}]"), (service, section.map(Arc::from)))
        };
        Self { claim: (created(metadata), key.clone()), targets: services.map(target).collect() }
    }

    /// What it claims.
    pub(crate) fn claims(&self) -> Vec<(Target, Claim)> {
        self.targets.iter().map(|(_, target)| (target.clone(), self.claim.clone())).collect()
    }
}

/// The policy that has a target.
pub(crate) fn winner(view: &View, claims: Table<Target, Claim>, target: &Target) -> Option<ObjectKey> {
    view.rows(&claims, target).iter().min().map(|claim| claim.1.clone())
}

/// Who gets to what policies target.
#[derive(Clone, Copy)]
pub(crate) struct Reach {
    shapes: Table<ObjectKey, ServiceShape>,
    /// Gateways by cluster.
    users: Table<Arc<str>, ObjectKey>,
    workloads: Table<ObjectKey, Workload>,
}

impl Reach {
    pub(crate) fn declare(
        engine: &mut Engine,
        shapes: Table<ObjectKey, ServiceShape>,
        gateway_clusters: Table<(ObjectKey, Arc<str>), ()>,
        workloads: Table<ObjectKey, Workload>,
    ) -> Self {
        let users = engine.derive("gateways of clusters", &gateway_clusters, |_, (gateway, cluster), _| {
            vec![(cluster.clone(), gateway.clone())]
        });
        Self { shapes, users, workloads }
    }

    /// The Gateways whose routes lead to what a policy of that kind targets, and what is wrong with its targets.
    pub(crate) fn of(
        &self,
        view: &View,
        kind: &str,
        policy: &Targets,
        claims: Table<Target, Claim>,
    ) -> (BTreeSet<ObjectKey>, Option<Fault>) {
        let (mut gateways, mut fault) = (BTreeSet::new(), None);
        for (field, target) in &policy.targets {
            let (service, section) = target;
            let Some(shape) = view.get(&self.shapes, service) else { continue };
            let named = |port: &&Port| section.as_ref().is_none_or(|section| *section == port.name);
            let mut ports: Vec<&Port> = shape.ports.iter().filter(named).collect();
            if ports.is_empty() {
                let section = section.as_deref().unwrap_or_default();
                let what = format!("{field}.sectionName: Service {service} has no port named {section:?}");
                fault.get_or_insert_with(|| Fault::new("TargetNotFound", what));
                ports = shape.ports.iter().collect();
            }
            for cluster in ports.into_iter().flat_map(|port| [port.cluster.clone(), port.http2_cluster()]) {
                gateways.extend(view.rows(&self.users, &cluster).into_iter().map(|gateway| ObjectKey::clone(&gateway)));
            }
            if let Some(winner) = winner(view, claims, target).filter(|winner| *winner != policy.claim.1) {
                let what = format!("{field}: {kind} {winner} is older or first by name, and has it");
                fault.get_or_insert_with(|| Fault::new("Conflicted", what));
            }
        }
        (gateways, fault)
    }

    /// A status that says the same of each Gateway; none without any.
    pub(crate) fn status(
        &self,
        view: &View,
        metadata: &api::ObjectMeta,
        gateways: BTreeSet<ObjectKey>,
        conditions: &[Condition],
    ) -> Option<Status> {
        let gateways = gateways.into_iter().take(MOST_ANCESTORS);
        let ancestors = of_gateways(view, self.workloads, gateways, conditions);
        let observed_generation = metadata.generation.unwrap_or_default();
        (!ancestors.is_empty()).then(|| Status { observed_generation, ancestors, ..Status::default() })
    }
}

/// What is said in the same words of each Gateway.
pub(crate) fn of_gateways(
    view: &View,
    workloads: Table<ObjectKey, Workload>,
    gateways: impl Iterator<Item = ObjectKey>,
    conditions: &[Condition],
) -> Vec<ParentStatus> {
    let controller = |gateway: &ObjectKey| Some(view.get(&workloads, gateway)?.controller.clone());
    let entry = |gateway: ObjectKey| ParentStatus {
        controller: controller(&gateway).unwrap_or_default(),
        kind: (GATEWAY_GROUP.into(), "Gateway".into()),
        parent: gateway,
        explicit_namespace: true,
        section: None,
        port: None,
        conditions: conditions.to_vec(),
    };
    gateways.map(entry).collect()
}
