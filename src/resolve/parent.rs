//! Attachment: which listeners take a route, and which hosts they meet in.

use crate::{
    gateway::Gateways,
    isolation::{ListenerSurface, ParentKey, Surface},
    kind::{RouteHead, RouteKey},
    namespace::Labels,
    rivals::Rivals,
    route::Routes,
    status::Fault,
};
use api::{GATEWAY_GROUP, ParentReference};
use engine::{Engine, Table, View};
use model::{Hostname, ListenerKey, ObjectKey, StreamKey, VirtualHostKey};
use std::{collections::BTreeSet, sync::Arc};

/// The tables of attachment.
#[derive(Clone, Copy)]
pub(crate) struct Parents {
    /// By route: what came of each reference to a Gateway of ours, or a ListenerSet of one. No row without one.
    pub(crate) parents: Table<RouteKey, Attachment>,
    /// By listener: how many routes are attached. A table of its own, so that a count reaches statuses only.
    pub(crate) attached: Table<ListenerKey, u32>,
}

/// What came of a route's references to Gateways of ours and their ListenerSets.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Attachment {
    /// In the order of the spec.
    pub(crate) parents: Vec<Parent>,
    /// The virtual hosts that get the route's rules; sorted, each once. No set: one with a single element has room for
    /// eleven, and there is one for every route.
    pub(crate) hosts: Vec<VirtualHostKey>,
    /// The streams that go where the route says, unless an older route has them; sorted, each once.
    pub(crate) streams: Vec<StreamKey>,
}

impl Attachment {
    /// The Gateways that take the route, each any number of times.
    pub(crate) fn gateways(&self) -> impl Iterator<Item = &ObjectKey> {
        let streams = self.streams.iter().map(|stream| &stream.listener.gateway);
        self.hosts.iter().map(|host| &host.gateway).chain(streams)
    }
}

/// What came of one reference.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Parent {
    pub(crate) reference: ParentReference,
    /// What it names.
    pub(crate) target: ObjectKey,
    /// Who minds the class of its Gateway.
    pub(crate) controller: Arc<str>,
    /// Why that doesn't take the route.
    pub(crate) fault: Option<Fault>,
    /// The listeners that take it.
    listeners: Vec<ListenerKey>,
}

pub(crate) fn declare(
    engine: &mut Engine,
    gateways: &Gateways,
    routes: &Routes,
    labels: Labels,
    rivals: Rivals,
) -> Parents {
    let (surfaces, verdicts) = (gateways.surfaces, routes.verdicts);
    let parents = engine.derive("parents", &routes.heads, move |view, key, rows| {
        let fault = view.get(&verdicts, key).and_then(|verdict| verdict.rejected.clone());
        let attach = |head: &Arc<RouteHead>| attach(view, key, head, fault.as_ref(), (surfaces, labels, rivals));
        rows.iter().filter_map(attach).map(|attachment| (key.clone(), attachment)).collect()
    });
    let attachments = engine.derive("attached routes", &parents, |_, _, rows| {
        let accepted = |attachment: &Arc<Attachment>| {
            let parents = attachment.parents.iter().filter(|parent| parent.fault.is_none());
            parents.flat_map(|parent| parent.listeners.iter().cloned()).collect::<BTreeSet<_>>()
        };
        rows.iter().flat_map(accepted).map(|listener| (listener, ())).collect()
    });
    let attached = engine.derive("attached route counts", &attachments, |_, key, rows| {
        // Gateway API bounds it by an int32; more routes than that don't fit into memory.
        vec![(key.clone(), u32::try_from(rows.len()).unwrap_or(u32::MAX))]
    });
    Parents { parents, attached }
}

fn attach(
    view: &View,
    route: &RouteKey,
    head: &RouteHead,
    rejected: Option<&Fault>,
    (surfaces, labels, rivals): (Table<ParentKey, Surface>, Labels, Rivals),
) -> Option<Attachment> {
    let (mut virtual_hosts, mut streams) = (BTreeSet::new(), BTreeSet::new());
    let mut parents = Vec::with_capacity(head.parents.len());
    for reference in &head.parents {
        // A Gateway that doesn't exist or is another controller's: no business of ours.
        let Some((parent, surface)) = parent(view, route, reference, surfaces) else { continue };
        let taken = listeners(view, route, (reference, &parent), &surface, &head.hostnames, labels);
        let taken = taken.and_then(|listeners| {
            let lost = |fault| rejected.cloned().unwrap_or(fault);
            rivals.without(view, route, listeners).map_err(lost)
        });
        let listeners = taken.as_deref().unwrap_or_default();
        for listener in listeners {
            let hosts = head.hostnames.iter().filter_map(|hostname| listener.hostname.intersect(hostname));
            if route.kind.is_http() {
                virtual_hosts.extend(hosts.filter_map(|host| listener.virtual_host(host)));
            } else {
                streams.extend(hosts.filter_map(|host| listener.stream(host)));
            }
        }
        let listeners = listeners.iter().map(|listener| listener.key.clone()).collect();
        let fault = taken.err().or_else(|| rejected.cloned());
        let (target, controller) = (parent.object().clone(), surface.controller.clone());
        parents.push(Parent { reference: reference.clone(), target, controller, fault, listeners });
    }
    let (hosts, streams) = (virtual_hosts.into_iter().collect(), streams.into_iter().collect());
    (!parents.is_empty()).then_some(Attachment { parents, hosts, streams })
}

/// What a reference names, if it is one of ours.
pub(crate) fn parent(
    view: &View,
    route: &RouteKey,
    reference: &ParentReference,
    surfaces: Table<ParentKey, Surface>,
) -> Option<(ParentKey, Arc<Surface>)> {
    let namespace = reference.namespace.as_deref().map_or_else(|| route.object.namespace.clone(), Arc::from);
    let target = ObjectKey::new(namespace, &*reference.name);
    let parent = match (&*reference.group, &*reference.kind) {
        (GATEWAY_GROUP, "Gateway") => ParentKey::Gateway(target),
        (GATEWAY_GROUP, "ListenerSet") => ParentKey::ListenerSet(target),
        _ => return None,
    };
    let surface = view.get(&surfaces, &parent)?;
    Some((parent, surface))
}

/// The listeners that take a route, or why none does: the last of section, permission and host that failed.
pub(crate) fn listeners<'a>(
    view: &View,
    route: &RouteKey,
    (reference, parent): (&ParentReference, &ParentKey),
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
        return Err(Fault::new("NoMatchingParent", format!("{parent} has no listener{section}{port}")));
    }
    let allowed = |listener: &&&ListenerSurface| {
        listener.kinds.contains(&route.kind)
            && listener.allowed.allows(view, labels, parent.namespace(), &route.object.namespace)
    };
    let allowed: Vec<_> = named.iter().filter(allowed).copied().collect();
    if allowed.is_empty() {
        let (names, kind, namespace) = (names(&named), route.kind.as_str(), &route.object.namespace);
        let what = format!(
            "spec.listeners[].allowedRoutes of {parent} ({names}) lets no {kind} of namespace {namespace} attach"
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
