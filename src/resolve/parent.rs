//! Attachment: which listeners take a route, and which hosts they meet in.

use crate::{
    Inputs,
    gateway::{Allowed, Gateways},
    isolation::{ListenerSurface, Surface},
    kind::{RouteHead, RouteKey},
    route::Routes,
    status::Fault,
};
use api::{GATEWAY_GROUP, LabelSelector, ParentReference};
use engine::{Engine, Table, View};
use model::{Hostname, ListenerKey, ObjectKey, VirtualHostKey};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// The tables of attachment.
#[derive(Clone, Copy)]
pub(crate) struct Parents {
    /// By route: what came of each reference to a Gateway of ours. No row without one.
    pub(crate) parents: Table<RouteKey, Attachment>,
    /// By listener: how many routes are attached. A table of its own, so that a count reaches statuses only.
    pub(crate) attached: Table<ListenerKey, u32>,
}

/// What came of a route's references to Gateways of ours.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Attachment {
    /// In the order of the spec.
    pub(crate) parents: Vec<Parent>,
    /// The virtual hosts that get the route's rules.
    pub(crate) hosts: BTreeSet<VirtualHostKey>,
}

/// What came of one reference.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Parent {
    pub(crate) reference: ParentReference,
    pub(crate) gateway: ObjectKey,
    /// Why the Gateway doesn't take the route.
    pub(crate) fault: Option<Fault>,
    /// The listeners that take it.
    listeners: Vec<Arc<str>>,
}

/// Labels of namespaces.
type Labels = Table<ObjectKey, BTreeMap<String, String>>;

pub(crate) fn declare(engine: &mut Engine, inputs: &Inputs, gateways: &Gateways, routes: &Routes) -> Parents {
    let labels = engine.derive("namespace labels", &inputs.namespaces, |_, key, rows| {
        rows.iter().map(|namespace| (key.clone(), namespace.metadata.labels.clone().unwrap_or_default())).collect()
    });
    let (surfaces, verdicts) = (gateways.surfaces, routes.verdicts);
    let parents = engine.derive("parents", &routes.heads, move |view, key, rows| {
        let fault = view.get(&verdicts, key).and_then(|verdict| verdict.rejected.clone());
        let attach = |head: &Arc<RouteHead>| attach(view, key, head, fault.as_ref(), surfaces, labels);
        rows.iter().filter_map(attach).map(|attachment| (key.clone(), attachment)).collect()
    });
    let attachments = engine.derive("attached routes", &parents, |_, _, rows| {
        let accepted = |attachment: &Arc<Attachment>| {
            let parents = attachment.parents.iter().filter(|parent| parent.fault.is_none());
            parents.flat_map(Parent::listener_keys).collect::<BTreeSet<_>>()
        };
        rows.iter().flat_map(accepted).map(|listener| (listener, ())).collect()
    });
    let attached = engine.derive("attached route counts", &attachments, |_, key, rows| {
        // Gateway API bounds it by an int32; more routes than that don't fit into memory.
        vec![(key.clone(), u32::try_from(rows.len()).unwrap_or(u32::MAX))]
    });
    Parents { parents, attached }
}

impl Parent {
    fn listener_keys(&self) -> impl Iterator<Item = ListenerKey> {
        self.listeners.iter().map(|name| ListenerKey { gateway: self.gateway.clone(), name: name.clone() })
    }
}

fn attach(
    view: &View,
    route: &RouteKey,
    head: &RouteHead,
    rejected: Option<&Fault>,
    surfaces: Table<ObjectKey, Surface>,
    labels: Labels,
) -> Option<Attachment> {
    let mut attachment = Attachment { parents: Vec::new(), hosts: BTreeSet::new() };
    for reference in &head.parents {
        if (&*reference.group, &*reference.kind) != (GATEWAY_GROUP, "Gateway") {
            continue;
        }
        let namespace = reference.namespace.as_deref().map_or_else(|| route.object.namespace.clone(), Arc::from);
        let gateway = ObjectKey::new(namespace, &*reference.name);
        // A Gateway that doesn't exist or is another controller's: no business of ours.
        let Some(surface) = view.get(&surfaces, &gateway) else { continue };
        let taken = listeners(view, route, reference, &gateway, &surface, &head.hostnames, labels);
        let listeners = taken.as_deref().unwrap_or_default();
        for listener in listeners {
            let hosts = head.hostnames.iter().filter_map(|hostname| listener.hostname.intersect(hostname));
            attachment.hosts.extend(hosts.filter_map(|host| listener.virtual_host(&gateway, host)));
        }
        let listeners = listeners.iter().map(|listener| listener.name.clone()).collect();
        let fault = taken.err().or_else(|| rejected.cloned());
        attachment.parents.push(Parent { reference: reference.clone(), gateway, fault, listeners });
    }
    (!attachment.parents.is_empty()).then_some(attachment)
}

/// The listeners that take a route, or why none does: the last of section, permission and host that failed.
fn listeners<'a>(
    view: &View,
    route: &RouteKey,
    reference: &ParentReference,
    gateway: &ObjectKey,
    surface: &'a Surface,
    hostnames: &[Hostname],
    labels: Labels,
) -> Result<Vec<&'a ListenerSurface>, Fault> {
    let named = |listener: &&ListenerSurface| {
        reference.section_name.as_deref().is_none_or(|section| section.is_empty() || section == &*listener.name)
            && reference.port.is_none_or(|port| port == listener.port)
    };
    let named: Vec<_> = surface.listeners.iter().filter(named).collect();
    if named.is_empty() {
        let section = reference.section_name.as_ref().map(|name| format!(" named {name:?}")).unwrap_or_default();
        let port = reference.port.map(|port| format!(" with port {port}")).unwrap_or_default();
        return Err(Fault::new("NoMatchingParent", format!("Gateway {gateway} has no listener{section}{port}")));
    }
    let allowed = |listener: &&&ListenerSurface| {
        listener.kinds.contains(&route.kind)
            && allows(view, &listener.allowed, gateway, &route.object.namespace, labels)
    };
    let allowed: Vec<_> = named.iter().filter(allowed).copied().collect();
    if allowed.is_empty() {
        let (names, kind, namespace) = (names(&named), route.kind.as_str(), &route.object.namespace);
        let what = format!(
            "spec.listeners[].allowedRoutes of Gateway {gateway} ({names}) lets no {kind} of namespace {namespace} attach"
        );
        return Err(Fault::new("NotAllowedByListeners", what));
    }
    let meets =
        |listener: &&&ListenerSurface| hostnames.iter().any(|hostname| listener.hostname.intersect(hostname).is_some());
    let met: Vec<_> = allowed.iter().filter(meets).copied().collect();
    if met.is_empty() {
        let hosts: Vec<_> = allowed.iter().take(5).map(|listener| listener.hostname.as_str()).collect();
        let what = format!("spec.hostnames: none lies within those of the listeners ({})", hosts.join(", "));
        return Err(Fault::new("NoMatchingListenerHostname", what));
    }
    Ok(met)
}

fn names(listeners: &[&ListenerSurface]) -> String {
    let names: Vec<_> = listeners.iter().take(5).map(|listener| &*listener.name).collect();
    names.join(", ")
}

fn allows(view: &View, allowed: &Allowed, gateway: &ObjectKey, namespace: &Arc<str>, labels: Labels) -> bool {
    match allowed {
        Allowed::Same => gateway.namespace == *namespace,
        Allowed::All => true,
        Allowed::None => false,
        Allowed::Selector(selector) => {
            let known = view.get(&labels, &ObjectKey::new("", namespace.clone()));
            selects(selector, namespace, known.as_deref().unwrap_or(&BTreeMap::new()))
        }
    }
}

/// Kubernetes' label selector on a namespace. Every namespace has the label with its name: the API server sets it, and a
/// directory of YAML need not even have the Namespace.
fn selects(selector: &LabelSelector, namespace: &str, labels: &BTreeMap<String, String>) -> bool {
    let value = |key: &str| match key {
        "kubernetes.io/metadata.name" => Some(namespace),
        key => labels.get(key).map(String::as_str),
    };
    let listed = |requirement: &api::LabelSelectorRequirement| {
        let values = requirement.values.as_deref().unwrap_or_default();
        value(&requirement.key).map(|value| values.iter().any(|wanted| wanted == value))
    };
    let holds = |requirement: &api::LabelSelectorRequirement| match &*requirement.operator {
        "In" => listed(requirement) == Some(true),
        "NotIn" => listed(requirement) != Some(true),
        "Exists" => value(&requirement.key).is_some(),
        "DoesNotExist" => value(&requirement.key).is_none(),
        _ => false,
    };
    selector.match_labels.iter().flatten().all(|(key, wanted)| value(key) == Some(wanted))
        && selector.match_expressions.iter().flatten().all(holds)
}
