//! ReferenceGrants: which references into another namespace are welcome.

use crate::{Inputs, kind::RouteKind};
use api::{GATEWAY_GROUP, X_GATEWAY_GROUP};
use engine::{Engine, Table, View};
use model::ObjectKey;
use std::sync::Arc;

/// Kinds that refer to others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Referrer {
    Gateway,
    ListenerSet,
    Route(RouteKind),
    XBackend,
}

/// Kinds that others refer to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Referent {
    ConfigMap,
    Secret,
    Service,
    XBackend,
}

/// From a kind in a namespace to a kind in a namespace: who asks for this reads no other grant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct GrantKey {
    from: (Referrer, Arc<str>),
    to: (Referent, Arc<str>),
}

/// The name that is granted; none is every name.
pub(crate) type Grants = Table<GrantKey, Option<Arc<str>>>;

pub(crate) fn declare(engine: &mut Engine, inputs: &Inputs) -> Grants {
    engine.derive("grants", &inputs.reference_grants, |_, key, rows| {
        rows.iter().flat_map(|grant| granted(&key.namespace, &grant.spec)).collect()
    })
}

fn granted(namespace: &Arc<str>, spec: &api::ReferenceGrantSpec) -> Vec<(GrantKey, Option<Arc<str>>)> {
    let from = spec.from.iter().filter_map(|from| {
        let kind = match (&*from.group, &*from.kind) {
            (GATEWAY_GROUP, "Gateway") => Referrer::Gateway,
            (GATEWAY_GROUP, "ListenerSet") => Referrer::ListenerSet,
            (X_GATEWAY_GROUP, "XBackend") => Referrer::XBackend,
            (group, kind) => Referrer::Route(RouteKind::find(group, kind)?),
        };
        Some((kind, Arc::<str>::from(&*from.namespace)))
    });
    let to = |to: &api::ReferenceGrantTo| {
        let kind = match (&*to.group, &*to.kind) {
            ("", "ConfigMap") => Referent::ConfigMap,
            ("", "Secret") => Referent::Secret,
            ("", "Service") => Referent::Service,
            (X_GATEWAY_GROUP, "XBackend") => Referent::XBackend,
            _ => return None,
        };
        // The API server lets an empty name pass; it means the same as none.
        let name = to.name.as_deref().filter(|name| !name.is_empty()).map(Arc::from);
        Some(((kind, namespace.clone()), name))
    };
    from.flat_map(|from| {
        let to = spec.to.iter().filter_map(to);
        to.map(move |(to, name)| (GrantKey { from: from.clone(), to }, name)).collect::<Vec<_>>()
    })
    .collect()
}

/// Whether a reference is permitted: inside a namespace always, into another with a grant there.
pub(crate) fn permits(
    view: &View,
    grants: Grants,
    from: (Referrer, &Arc<str>),
    kind: Referent,
    target: &ObjectKey,
) -> bool {
    if *from.1 == target.namespace {
        return true;
    }
    let key = GrantKey { from: (from.0, from.1.clone()), to: (kind, target.namespace.clone()) };
    view.rows(&grants, &key).iter().any(|name| name.as_ref().as_ref().is_none_or(|name| *name == target.name))
}
