//! Statuses: verdicts put together as Kubernetes shows them.

use crate::{
    Inputs,
    class::Classes,
    gateway::{GatewayShape, Gateways, ListenerShape},
    kind::RouteHead,
    listener::{Listeners, Resolved},
    parent::{Parent, Parents},
    policy::Policies,
    route::{Routes, Verdict},
};
use api::GATEWAY_GROUP;
use engine::{Engine, Table, View};
use model::{Condition, ListenerKey, ListenerStatus, ObjectKey, ObjectRef, ParentStatus, Status};
use std::sync::Arc;

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
fn unless(kind: &'static str, fault: Option<&Fault>) -> Condition {
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
    routes: &Routes,
    parents: &Parents,
    policies: &Policies,
) -> Table<ObjectRef, Status> {
    let (classes, resolved, attached) = (*classes, listeners.resolved, parents.attached);
    let of_classes = engine.derive("class statuses", &inputs.gateway_classes, move |view, key, rows| {
        let Some(class) = view.get(&classes, key) else { return Vec::new() };
        let status = |object: &Arc<api::GatewayClass>| Status {
            observed_generation: object.metadata.generation.unwrap_or_default(),
            conditions: vec![
                unless("Accepted", class.fault.as_ref()),
                Condition::yes("SupportedVersion", "SupportedVersion"),
            ],
            ..Status::default()
        };
        rows.iter().map(|object| (ObjectRef::new("GatewayClass", key.clone()), status(object))).collect()
    });
    let of_gateways = engine.derive("gateway statuses", &gateways.shapes, move |view, key, rows| {
        let status = |shape: &Arc<GatewayShape>| gateway(view, key, shape, resolved, attached);
        rows.iter().map(|shape| (ObjectRef::new("Gateway", key.clone()), status(shape))).collect()
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

fn gateway(
    view: &View,
    key: &ObjectKey,
    shape: &GatewayShape,
    resolved: Table<ListenerKey, Resolved>,
    attached: Table<ListenerKey, u32>,
) -> Status {
    let bad: Vec<&str> =
        shape.listeners.iter().filter(|listener| own_fault(listener).is_some()).map(|l| &*l.name).collect();
    let accepted = match &shape.fault {
        Some(fault) => Condition::no("Accepted", fault.reason, &*fault.message),
        None if bad.is_empty() => Condition::yes("Accepted", "Accepted"),
        None => {
            let what = format!("listeners that are not valid: {}; see theirs in status.listeners", bad.join(", "));
            Condition::yes_but("Accepted", "ListenersNotValid", what)
        }
    };
    let invalid = shape.fault.as_ref().map(|fault| Fault::new("Invalid", &*fault.message));
    let listener = |listener: &ListenerShape| {
        let key = ListenerKey { gateway: key.clone(), name: listener.name.clone() };
        let attached_routes = view.get(&attached, &key).map_or(0, |count| *count);
        let resolved = view.get(&resolved, &key);
        let refs_fault = resolved.as_ref().and_then(|resolved| resolved.refs_fault.as_ref());
        let usable = resolved.as_ref().is_some_and(|resolved| resolved.listener.is_some());
        ListenerStatus {
            name: listener.name.clone(),
            supported_kinds: listener.kinds.iter().map(|kind| (GATEWAY_GROUP, kind.as_str())).collect(),
            attached_routes,
            conditions: listener_conditions(listener, shape, refs_fault, usable),
        }
    };
    Status {
        observed_generation: shape.generation,
        conditions: vec![accepted, programmed(invalid.as_ref())],
        listeners: shape.listeners.iter().map(listener).collect(),
        ..Status::default()
    }
}

fn own_fault(listener: &ListenerShape) -> Option<&Fault> {
    listener.fault.as_ref().or(listener.conflict.as_ref())
}

fn listener_conditions(
    listener: &ListenerShape,
    shape: &GatewayShape,
    refs_fault: Option<&Fault>,
    usable: bool,
) -> Vec<Condition> {
    let conflicted = match &listener.conflict {
        Some(fault) => Condition::yes_but("Conflicted", fault.reason, &*fault.message),
        None => Condition::no("Conflicted", "NoConflicts", ""),
    };
    let unusable = match (&listener.conflict, own_fault(listener).or(shape.fault.as_ref()).or(refs_fault)) {
        _ if usable => None,
        (Some(conflict), _) => Some(conflict.clone()),
        (None, fault) => Some(Fault::new("Invalid", fault.map_or("", |fault| &fault.message))),
    };
    let mut conditions = vec![
        unless("Accepted", own_fault(listener)),
        programmed(unusable.as_ref()),
        conflicted,
        unless("ResolvedRefs", refs_fault),
    ];
    if let Some(other) = &listener.overlaps {
        let what =
            format!("listener {other} on the same port has hosts in common; clients may reuse connections for both");
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
        kind: ((*reference.group).into(), (*reference.kind).into()),
        parent: parent.gateway.clone(),
        explicit_namespace: reference.namespace.is_some(),
        section: reference.section_name.as_deref().map(Arc::from),
        port: reference.port,
        conditions,
    }
}
