//! CUSTOM policies of a Gateway: whom it asks, or that it denies.

use super::provider::{self, Providers};
use crate::{service::ServiceShape, wanted::Wanted};
use engine::{Engine, Table};
use model::{Authorizer, AuthorizerProtocol, ObjectKey, ObjectRef, Policy, PolicyAction};
use std::{collections::BTreeSet, sync::Arc};

/// A policy that holds for a Gateway.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Selected {
    pub(super) policy: Policy,
    /// Of a CUSTOM policy: whom it asks.
    pub(super) provider: Option<Arc<str>>,
}

/// The tables.
#[derive(Clone, Copy)]
pub(super) struct Custom {
    /// What holds for a Gateway. A CUSTOM policy for which nobody can be asked is a DENY policy.
    pub(super) policies: Table<ObjectKey, Policy>,
    pub(super) authorizers: Table<ObjectKey, Authorizer>,
    pub(super) gateway_clusters: Table<(ObjectKey, Arc<str>), ()>,
    pub(super) http2: Table<Arc<str>, ()>,
    /// The MeshConfig, where anybody is to be asked.
    pub(super) wanted: Wanted,
    /// By CUSTOM policy: why a Gateway can't ask anybody, the first Gateway first.
    pub(super) faults: Table<ObjectKey, String>,
}

pub(super) fn declare(
    engine: &mut Engine,
    selected: Table<ObjectKey, Selected>,
    providers: Providers,
    services: Table<ObjectKey, ServiceShape>,
    mesh_config: ObjectRef,
) -> Custom {
    // Apart, so that a Service or a provider reaches no policy unless it comes or goes.
    let asked = engine.derive("asked providers", &selected, move |view, gateway, rows| {
        let names: BTreeSet<&Arc<str>> = rows.iter().filter_map(|selected| selected.provider.as_ref()).collect();
        let asked = match names.iter().collect::<Vec<_>>()[..] {
            [] => return Vec::new(),
            [name] => provider::authorizer(view, name, providers, services),
            [first, second, ..] => Err(format!(
                "spec.provider.name: CUSTOM policies of Gateway {gateway} name more than one provider, {first:?} and \
                 {second:?}"
            )),
        };
        vec![(gateway.clone(), asked)]
    });
    let authorizers = engine.derive("authorizers", &asked, |_, gateway, rows| {
        rows.iter().filter_map(|asked| asked.as_ref().as_ref().ok()).map(|one| (gateway.clone(), one.clone())).collect()
    });
    let faults_by_gateway = engine.derive("authorizer faults", &asked, |_, gateway, rows| {
        rows.iter()
            .filter_map(|asked| asked.as_ref().as_ref().err())
            .map(|why| (gateway.clone(), why.clone()))
            .collect()
    });
    let policies = engine.derive("gateway policies", &selected, move |view, gateway, rows| {
        let is_lost = view.contains(&faults_by_gateway, gateway);
        let enforced = |selected: &Arc<Selected>| {
            let policy = selected.policy.clone();
            match policy.action {
                PolicyAction::Custom if is_lost => Policy { action: PolicyAction::Deny, ..policy },
                _ => policy,
            }
        };
        rows.iter().map(|selected| (gateway.clone(), enforced(selected))).collect()
    });
    let faults = engine.derive("custom policy faults", &faults_by_gateway, move |view, gateway, rows| {
        let selected = view.rows(&selected, gateway);
        let custom = selected.iter().filter(|selected| selected.provider.is_some());
        let why = |selected: &Arc<Selected>| Some((selected.policy.key.clone(), String::clone(rows.first()?)));
        custom.filter_map(why).collect()
    });
    let gateway_clusters = engine.derive("authorizers' clusters", &authorizers, |_, gateway, rows| {
        rows.iter().map(|one| ((gateway.clone(), one.cluster.clone()), ())).collect()
    });
    let http2 = engine.derive("authorizers in HTTP/2", &authorizers, |_, _, rows| {
        let grpc = rows.iter().filter(|one| one.protocol == AuthorizerProtocol::Grpc);
        grpc.filter(|one| one.cluster.contains("|http2|")).map(|one| (one.cluster.clone(), ())).collect()
    });
    let wanted = engine.derive("mesh config wanted", &asked, move |_, _, _| vec![(mesh_config.clone(), ())]);
    Custom { policies, authorizers, gateway_clusters, http2, wanted, faults }
}
