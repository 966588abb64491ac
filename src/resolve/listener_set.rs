//! ListenerSets: listeners that other namespaces add to a Gateway, if it lets them.

use crate::{
    Inputs,
    namespace::{Allowed, Labels},
    status::Fault,
};
use api::GATEWAY_GROUP;
use engine::{Engine, Table, View};
use model::ObjectKey;
use std::sync::Arc;

/// By Gateway: the ListenerSets that name it.
pub(crate) type Members = Table<ObjectKey, ObjectKey>;

/// A ListenerSet that names a Gateway of ours, without its listeners.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SetShape {
    pub(crate) key: ObjectKey,
    pub(crate) generation: i64,
    /// Why the Gateway doesn't take it.
    pub(crate) fault: Option<Fault>,
}

pub(crate) fn declare(engine: &mut Engine, inputs: &Inputs) -> Members {
    engine.derive("listener sets of gateways", &inputs.listener_sets, |_, key, rows| {
        rows.iter().filter_map(|set| Some((gateway(key, &set.spec.parent_ref)?, key.clone()))).collect()
    })
}

/// The Gateway that a ListenerSet names; none if it names something else.
fn gateway(set: &ObjectKey, reference: &api::ParentGatewayReference) -> Option<ObjectKey> {
    let is_gateway = (&*reference.group, &*reference.kind) == (GATEWAY_GROUP, "Gateway");
    let namespace = || reference.namespace.as_deref().map_or_else(|| set.namespace.clone(), Arc::from);
    is_gateway.then(|| ObjectKey::new(namespace(), &*reference.name))
}

/// The ListenerSets that name a Gateway, the oldest first, then by namespace and name.
pub(crate) fn of_gateway(
    view: &View,
    gateway: &ObjectKey,
    allowed: &Allowed,
    (inputs, members, labels): (&Inputs, Members, Labels),
) -> Vec<(SetShape, Arc<api::ListenerSet>)> {
    let keys = view.rows(&members, gateway);
    let mut sets: Vec<_> =
        keys.iter().filter_map(|key| Some((key, view.get(&inputs.listener_sets, &**key)?))).collect();
    // Without a time (a directory of YAML) it counts as the newest.
    let created =
        |set: &api::ListenerSet| set.metadata.creation_timestamp.as_ref().map_or(i64::MAX, |at| at.0.as_second());
    sets.sort_by(|(a, x), (b, y)| created(x).cmp(&created(y)).then_with(|| a.cmp(b)));
    let shape = |(key, set): (&Arc<ObjectKey>, Arc<api::ListenerSet>)| {
        let fault = (!allowed.allows(view, labels, &gateway.namespace, &key.namespace)).then(|| {
            let what = format!(
                "spec.parentRef: spec.allowedListeners of Gateway {gateway} lets no ListenerSet of namespace {} attach",
                key.namespace
            );
            Fault::new("NotAllowed", what)
        });
        let generation = set.metadata.generation.unwrap_or_default();
        (SetShape { key: ObjectKey::clone(key), generation, fault }, set)
    };
    sets.into_iter().map(shape).collect()
}
