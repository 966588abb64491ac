//! Which Secrets and ConfigMaps are referred to by somebody who may: no others need to be read, and those that may not be
//! referred to must not.

use crate::{
    Inputs, frontend,
    gateway::{GatewayShape, Gateways, ListenerShape},
    grant::Grants,
    listener, parameters,
};
use engine::{Engine, Table, View};
use model::{ObjectKey, ObjectRef};
use std::sync::Arc;

/// A row for each reference.
pub(crate) type Wanted = Table<ObjectRef, ()>;

/// Why an object that is referred to can't be read, by kind.
#[derive(Clone, Copy)]
pub(crate) struct Unreadable {
    pub(crate) secrets: Table<ObjectKey, Option<String>>,
    pub(crate) config_maps: Table<ObjectKey, Option<String>>,
}

/// In the form of the verdicts on what can be read.
pub(crate) fn unreadable(engine: &mut Engine, inputs: &Inputs) -> Unreadable {
    let mut of = |name, kind: &'static str| {
        engine.derive(name, &inputs.unreadable, move |_, object, rows| {
            let rows = rows.iter().filter(|_| *object.kind == *kind);
            rows.map(|why| (object.key.clone(), Some(format!("can't be read: {why}")))).collect()
        })
    };
    Unreadable { secrets: of("unreadable secrets", "Secret"), config_maps: of("unreadable config maps", "ConfigMap") }
}

pub(crate) fn declare(
    engine: &mut Engine,
    inputs: &Inputs,
    gateways: &Gateways,
    grants: Grants,
    others: &[Wanted],
) -> Wanted {
    let written = inputs.gateways;
    let of_gateways = engine.derive("objects wanted by gateways", &gateways.shapes, move |view, key, rows| {
        let parameters = view.get(&written, key).and_then(|gateway| parameters::target(key, &gateway.spec));
        let parameters = parameters.filter(|_| !rows.is_empty()).map(|map| ObjectRef::new("ConfigMap", map));
        let references = rows.iter().flat_map(|shape| of_gateway(view, key, shape, grants));
        references.chain(parameters).map(|object| (object, ())).collect()
    });
    engine.union("objects wanted", &[&[of_gateways], others].concat())
}

fn of_gateway(view: &View, key: &ObjectKey, shape: &Arc<GatewayShape>, grants: Grants) -> Vec<ObjectRef> {
    let of_listener = |listener: &ListenerShape| {
        let from = (listener::referrer(listener), listener.object(key));
        let secrets = listener.certificates.iter().filter_map(|one| listener::target(view, from, one, grants).ok());
        let secrets = secrets.map(|secret| ObjectRef::new("Secret", secret));
        let maps = listener.clients.iter().flat_map(|validation| validation.references());
        let maps = maps.filter_map(|one| frontend::target(view, key, one, grants).ok());
        secrets.chain(maps.map(|map| ObjectRef::new("ConfigMap", map))).collect::<Vec<_>>()
    };
    let shown = shape.shown.iter().filter_map(|one| frontend::shown(view, key, one, grants).ok());
    let shown = shown.map(|secret| ObjectRef::new("Secret", secret));
    let mut all: Vec<ObjectRef> = shape.listeners.iter().flat_map(of_listener).chain(shown).collect();
    all.sort();
    all.dedup();
    all
}
