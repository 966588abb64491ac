//! Statuses: verdicts put together as Kubernetes shows them.

use crate::{
    Inputs,
    address::Addresses,
    class::Classes,
    feature::SUPPORTED_FEATURES,
    frontend::Frontends,
    gateway::{GatewayShape, Gateways, ListenerShape},
    kind::RouteHead,
    listener::{Listeners, Resolved},
    listener_set::SetShape,
    parent::{Parent, Parents},
    policy::Policies,
    route::{Routes, Verdict},
};
use api::GATEWAY_GROUP;
use engine::{Engine, Table, View};
use model::{Condition, ListenerKey, ListenerStatus, ObjectKey, ObjectRef, ParentStatus, Status};
use std::{collections::BTreeMap, sync::Arc};

/// Why a condition doesn't hold.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Fault {
    pub(crate) reason: &'static str,
    /// What was wanted, what was seen, where.
    pub(crate) message: String,
}

impl Fault {
    pub(crate) fn new(reason: &'static str, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }
}

/// A text out of an object as messages quote it: cut if it is long, since an API server takes 32 KiB of message.
pub(crate) fn quoted(text: &str) -> String {
    match text.char_indices().nth(100) {
        None => format!("{text:?}"),
        Some((end, _)) => format!("{:?}…", &text[..end]),
    }
}

/// A condition that holds unless there is a fault; its reason then is the kind itself.
pub(crate) fn unless(kind: &'static str, fault: Option<&Fault>) -> Condition {
    match fault {
        None => Condition::yes(kind, kind),
        Some(fault) => Condition::no(kind, fault.reason, &*fault.message),
    }
}

/// `Programmed` without a fault waits for the proxies' word.
fn programmed(fault: Option<&Fault>) -> Condition {
    match fault {
        None => Condition::unknown("Programmed", "Pending", "no proxy has acknowledged it yet"),
        Some(fault) => Condition::no("Programmed", fault.reason, &*fault.message),
    }
}

#[allow(clippy::too_many_arguments, reason = "statuses are where everything meets")]
pub(crate) fn declare(
    engine: &mut Engine,
    inputs: &Inputs,
    classes: &Classes,
    gateways: &Gateways,
    listeners: &Listeners,
    frontends: &Frontends,
    routes: &Routes,
    parents: &Parents,
    policies: &Policies,
) -> Table<ObjectRef, Status> {
    let (classes, resolved, attached) = (*classes, listeners.resolved, parents.attached);
    let (shown_faults, addresses) = (frontends.faults, gateways.addresses);
    let of_classes = engine.derive("class statuses", &inputs.gateway_classes, move |view, key, rows| {
        let Some(class) = view.get(&classes, key) else { return Vec::new() };
        let status = |object: &Arc<api::GatewayClass>| Status {
            observed_generation: object.metadata.generation.unwrap_or_default(),
            conditions: vec![
                unless("Accepted", class.fault.as_ref()),
                Condition::yes("SupportedVersion", "SupportedVersion"),
            ],
            supported_features: SUPPORTED_FEATURES,
            ..Status::default()
        };
        rows.iter().map(|object| (ObjectRef::new("GatewayClass", key.clone()), status(object))).collect()
    });
    let of_gateways = engine.derive("gateway statuses", &gateways.shapes, move |view, key, rows| {
        rows.iter()
            .flat_map(|shape| Judge { view, key, shape, resolved, attached, shown_faults, addresses }.all())
            .collect()
    });
    let (parents, verdicts, refs) = (parents.parents, routes.verdicts, routes.refs);
    let of_routes = engine.derive("route statuses", &routes.heads, move |view, key, rows| {
        let Some(attachment) = view.get(&parents, key) else { return Vec::new() };
        let verdict = view.get(&verdicts, key);
        let refs_fault = view.get(&refs, key);
        let parent = |parent: &Parent| parent_status(parent, verdict.as_deref(), refs_fault.as_deref());
        let status = |head: &Arc<RouteHead>| Status {
            observed_generation: head.generation,
            parents: attachment.parents.iter().map(parent).collect(),
            ..Status::default()
        };
        let object = || ObjectRef::new(key.kind.as_str(), key.object.clone());
        rows.iter().map(|head| (object(), status(head))).collect()
    });
    engine.union("statuses", &[of_classes, of_gateways, of_routes, policies.statuses])
}

/// Says the statuses of a Gateway and of the ListenerSets that name it.
struct Judge<'a> {
    view: &'a View<'a>,
    key: &'a ObjectKey,
    shape: &'a GatewayShape,
    resolved: Table<ListenerKey, Resolved>,
    attached: Table<ListenerKey, u32>,
    shown_faults: Table<ObjectKey, Fault>,
    addresses: Table<ObjectKey, Addresses>,
}

impl Judge<'_> {
    fn all(&self) -> Vec<(ObjectRef, Status)> {
        let mut listeners: BTreeMap<Option<&ObjectKey>, Vec<(&ListenerShape, ListenerStatus)>> = BTreeMap::new();
        for listener in &self.shape.listeners {
            listeners.entry(listener.set.as_ref()).or_default().push((listener, self.listener(listener)));
        }
        let own = listeners.remove(&None).unwrap_or_default();
        let sets = self.shape.sets.iter().map(|set| {
            let listeners = listeners.remove(&Some(&set.key)).unwrap_or_default();
            (ObjectRef::new("ListenerSet", set.key.clone()), self.listener_set(set, listeners))
        });
        let mut statuses: Vec<_> = sets.collect();
        let attached = statuses.iter().filter(|(_, status)| status.conditions[0].verdict.holds == Some(true)).count();
        let mut gateway = self.gateway(own);
        // A Gateway has fewer ListenerSets than an i32 has numbers.
        gateway.attached_listener_sets = (!statuses.is_empty()).then(|| attached.try_into().unwrap_or(u32::MAX));
        statuses.push((ObjectRef::new("Gateway", self.key.clone()), gateway));
        statuses
    }

    fn gateway(&self, listeners: Vec<(&ListenerShape, ListenerStatus)>) -> Status {
        let shape = self.shape;
        let accepted = match &shape.fault {
            Some(fault) => Condition::no("Accepted", fault.reason, &*fault.message),
            None => accepted_but(&listeners),
        };
        let invalid = shape.fault.as_ref().map(|fault| Fault::new("Invalid", &*fault.message));
        let addresses = self.view.get(&self.addresses, self.key).unwrap_or_default();
        let unprogrammed = invalid.as_ref().or(addresses.fault.as_ref());
        Status {
            observed_generation: shape.generation,
            conditions: [vec![accepted, programmed(unprogrammed)], self.tls()].concat(),
            listeners: listeners.into_iter().map(|(_, status)| status).collect(),
            addresses: if shape.fault.is_some() { Vec::new() } else { addresses.usable.clone() },
            gateway: Some(self.key.clone()),
            ..Status::default()
        }
    }

    /// What is to be said of the Gateway's own TLS settings, if it has any.
    fn tls(&self) -> Vec<Condition> {
        let mut conditions = Vec::new();
        if self.shape.shown.is_some() {
            conditions.push(unless("ResolvedRefs", self.view.get(&self.shown_faults, self.key).as_deref()));
        }
        if self.shape.insecure {
            let what = "spec.tls.frontend: mode AllowInsecureFallback lets clients in without a valid certificate; to \
                        policies they are nobody";
            conditions.push(Condition::yes_but("InsecureFrontendValidationMode", "ConfigurationChanged", what));
        }
        conditions
    }

    fn listener_set(&self, set: &SetShape, listeners: Vec<(&ListenerShape, ListenerStatus)>) -> Status {
        let conditions = match self.set_fault(set, &listeners) {
            Some((accepted, programmed)) => vec![
                Condition::no("Accepted", accepted.reason, &*accepted.message),
                Condition::no("Programmed", programmed, accepted.message),
            ],
            None => vec![accepted_but(&listeners), programmed(None)],
        };
        Status {
            observed_generation: set.generation,
            conditions,
            listeners: listeners.into_iter().map(|(_, status)| status).collect(),
            gateway: Some(self.key.clone()),
            ..Status::default()
        }
    }

    /// Why a ListenerSet isn't accepted, and the reason for which it isn't programmed then.
    fn set_fault(
        &self,
        set: &SetShape,
        listeners: &[(&ListenerShape, ListenerStatus)],
    ) -> Option<(Fault, &'static str)> {
        if let Some(fault) = &set.fault {
            return Some((fault.clone(), fault.reason));
        }
        if let Some(fault) = self.shape.fault.as_ref().filter(|fault| fault.reason != NO_LISTENER) {
            let what = format!("spec.parentRef: Gateway {} is not accepted ({})", self.key, fault.reason);
            return Some((Fault::new("ParentNotAccepted", what), "ParentNotProgrammed"));
        }
        let usable = |(listener, _): &(&ListenerShape, ListenerStatus)| {
            self.resolved(listener).is_some_and(|one| one.listener.is_some())
        };
        let none = !listeners.iter().any(usable);
        none.then(|| (Fault::new(NO_LISTENER, "no listener is valid; see theirs in status.listeners"), NO_LISTENER))
    }

    fn listener(&self, listener: &ListenerShape) -> ListenerStatus {
        let resolved = self.resolved(listener);
        let usable = resolved.as_ref().is_some_and(|resolved| resolved.listener.is_some());
        ListenerStatus {
            name: listener.name.clone(),
            port: listener.port,
            supported_kinds: listener.kinds.iter().map(|kind| (GATEWAY_GROUP, kind.as_str())).collect(),
            attached_routes: self.view.get(&self.attached, &listener.key(self.key)).map_or(0, |count| *count),
            conditions: listener_conditions(listener, self.shape, resolved.as_deref(), usable),
        }
    }

    fn resolved(&self, listener: &ListenerShape) -> Option<Arc<Resolved>> {
        self.view.get(&self.resolved, &listener.key(self.key))
    }
}

/// The reason of a Gateway or ListenerSet without a listener that is valid.
const NO_LISTENER: &str = "ListenersNotValid";

/// `Accepted`, although some listeners may not be valid.
fn accepted_but(listeners: &[(&ListenerShape, ListenerStatus)]) -> Condition {
    let bad: Vec<&str> = listeners
        .iter()
        .filter(|(_, status)| status.conditions[0].verdict.holds == Some(false))
        .map(|(shape, _)| &*shape.name)
        .collect();
    if bad.is_empty() {
        return Condition::yes("Accepted", "Accepted");
    }
    let what = format!("listeners that are not valid: {}; see theirs in status.listeners", bad.join(", "));
    Condition::yes_but("Accepted", NO_LISTENER, what)
}

fn own_fault(listener: &ListenerShape) -> Option<&Fault> {
    listener.fault.as_ref().or(listener.conflict.as_ref())
}

fn listener_conditions(
    listener: &ListenerShape,
    shape: &GatewayShape,
    resolved: Option<&Resolved>,
    usable: bool,
) -> Vec<Condition> {
    let refs_fault = resolved.and_then(|resolved| resolved.refs_fault.as_ref());
    let own_fault = own_fault(listener).or(resolved.and_then(|resolved| resolved.fault.as_ref()));
    let conflicted = match &listener.conflict {
        Some(fault) => Condition::yes_but("Conflicted", fault.reason, &*fault.message),
        None => Condition::no("Conflicted", "NoConflicts", ""),
    };
    let unusable = match (&listener.conflict, own_fault.or(shape.fault.as_ref()).or(refs_fault)) {
        _ if usable => None,
        (Some(conflict), _) => Some(conflict.clone()),
        (None, fault) => Some(Fault::new("Invalid", fault.map_or("", |fault| &fault.message))),
    };
    let mut conditions = vec![
        unless("Accepted", own_fault),
        programmed(unusable.as_ref()),
        conflicted,
        unless("ResolvedRefs", refs_fault),
    ];
    if let Some(other) = &listener.overlaps {
        let what = format!("{other} on the same port has hosts in common; clients may reuse connections for both");
        conditions.push(Condition::yes_but("OverlappingTLSConfig", "OverlappingHostnames", what));
    }
    conditions
}

fn parent_status(parent: &Parent, verdict: Option<&Verdict>, refs_fault: Option<&Fault>) -> ParentStatus {
    let reference = &parent.reference;
    let mut conditions = vec![unless("Accepted", parent.fault.as_ref()), unless("ResolvedRefs", refs_fault)];
    let partly = verdict.and_then(|verdict| verdict.partly.as_ref()).filter(|_| parent.fault.is_none());
    conditions.extend(partly.map(|partly| Condition::yes_but("PartiallyInvalid", partly.reason, &*partly.message)));
    ParentStatus {
        controller: parent.controller.clone(),
        kind: ((*reference.group).into(), (*reference.kind).into()),
        parent: parent.target.clone(),
        explicit_namespace: reference.namespace.is_some(),
        section: reference.section_name.as_deref().map(Arc::from),
        port: reference.port,
        conditions,
    }
}
