//! Which host of which route table belongs to which listener: each to the most specific one of its port.

use crate::{
    gateway::{GatewayShape, ListenerShape},
    kind::RouteKind,
    namespace::Allowed,
};
use model::{Hostname, ListenerKey, ObjectKey, Protocol, StreamKey, VirtualHostKey};
use std::{collections::BTreeMap, fmt, sync::Arc};

/// What a route may name as its parent.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum ParentKey {
    Gateway(ObjectKey),
    ListenerSet(ObjectKey),
}

/// A Gateway's own listeners, or those of a ListenerSet, as routes see them.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Surface {
    /// Who minds the Gateway's class.
    pub(crate) controller: Arc<str>,
    pub(crate) listeners: Vec<ListenerSurface>,
}

/// A listener as routes see it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ListenerSurface {
    pub(crate) key: ListenerKey,
    pub(crate) name: Arc<str>,
    pub(crate) port: u16,
    pub(crate) hostname: Hostname,
    pub(crate) allowed: Allowed,
    /// The kinds of routes that may attach.
    pub(crate) kinds: Vec<RouteKind>,
    /// None if it serves nothing: then it only counts its routes.
    serves: Option<Serves>,
}

/// What a listener that is sound serves.
#[derive(Clone, Debug, PartialEq)]
struct Serves {
    protocol: Protocol,
    /// Host names of the listeners of the port that take hosts away from it: its own covers theirs.
    narrower: Vec<Hostname>,
}

impl ParentKey {
    fn parts(&self) -> (&'static str, &ObjectKey) {
        match self {
            Self::Gateway(key) => ("Gateway", key),
            Self::ListenerSet(key) => ("ListenerSet", key),
        }
    }

    pub(crate) fn object(&self) -> &ObjectKey {
        self.parts().1
    }

    pub(crate) fn namespace(&self) -> &Arc<str> {
        &self.object().namespace
    }
}

impl fmt::Display for ParentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, key) = self.parts();
        write!(f, "{kind} {key}")
    }
}

/// What routes see of a Gateway and of each ListenerSet that names it. One that isn't taken has no listeners.
pub(crate) fn surfaces(gateway: &ObjectKey, shape: &GatewayShape) -> Vec<(ParentKey, Surface)> {
    let parent = |set: Option<&ObjectKey>| match set {
        None => ParentKey::Gateway(gateway.clone()),
        Some(set) => ParentKey::ListenerSet(set.clone()),
    };
    let empty = || Surface { controller: shape.controller.clone(), listeners: Vec::new() };
    let parents = std::iter::once(None).chain(shape.sets.iter().map(|set| Some(&set.key)));
    let mut surfaces: BTreeMap<_, _> = parents.map(|set| (parent(set), empty())).collect();
    for listener in &shape.listeners {
        let surface = surfaces.entry(parent(listener.set.as_ref())).or_insert_with(empty);
        surface.listeners.push(self::surface(gateway, shape, listener));
    }
    surfaces.into_iter().collect()
}

fn surface(gateway: &ObjectKey, shape: &GatewayShape, listener: &ListenerShape) -> ListenerSurface {
    let is_narrower = |other: &&ListenerShape| listener.hostname.covers(&other.hostname);
    ListenerSurface {
        key: listener.key(gateway),
        name: listener.name.clone(),
        port: listener.port,
        hostname: listener.hostname.clone(),
        allowed: listener.allowed.clone(),
        kinds: listener.kinds.clone(),
        serves: listener.protocol.filter(|_| sound(shape, listener)).map(|protocol| Serves {
            protocol,
            narrower: others(shape, listener).filter(is_narrower).map(|other| other.hostname.clone()).collect(),
        }),
    }
}

/// The virtual hosts of the listeners' own hostnames: they exist even without a route, and then answer 404.
pub(crate) fn own(gateway: &ObjectKey, shape: &GatewayShape) -> impl Iterator<Item = VirtualHostKey> {
    let is_http = |listener: &&ListenerShape| listener.protocol.is_some_and(Protocol::is_http);
    let listeners = shape.listeners.iter().filter(is_http).filter(|listener| sound(shape, listener));
    listeners
        .map(|listener| host_key(&listener.key(gateway), listener.port, is_https(listener), listener.hostname.clone()))
}

/// The streams that TCP and UDP listeners have even without a route.
pub(crate) fn own_streams(gateway: &ObjectKey, shape: &GatewayShape) -> impl Iterator<Item = StreamKey> {
    let listeners = shape.listeners.iter().filter(|listener| sound(shape, listener));
    listeners.filter_map(|listener| {
        let protocol = listener.protocol.filter(|protocol| matches!(protocol, Protocol::Tcp | Protocol::Udp))?;
        Some(stream_key(&listener.key(gateway), listener.port, protocol, listener.hostname.clone()))
    })
}

fn stream_key(key: &ListenerKey, port: u16, protocol: Protocol, host: Hostname) -> StreamKey {
    StreamKey { listener: key.clone(), port, protocol, host }
}

/// The hosts of other HTTPS listeners of a port, in each one's route table: a client may ask for them on a connection
/// that it opened for one of ours, and is told that it is misdirected (421), so that it opens another. All HTTP listeners
/// of a port share a route table, where a host leads to its own listener.
pub(crate) fn misdirected(gateway: &ObjectKey, shape: &GatewayShape) -> impl Iterator<Item = VirtualHostKey> {
    shape.listeners.iter().filter(|listener| is_https(listener) && sound(shape, listener)).flat_map(|listener| {
        let key = listener.key(gateway);
        others(shape, listener).map(move |other| host_key(&key, listener.port, true, other.hostname.clone()))
    })
}

/// The listeners of the port that serve other hosts.
fn others<'a>(shape: &'a GatewayShape, listener: &'a ListenerShape) -> impl Iterator<Item = &'a ListenerShape> {
    let is_near = |other: Protocol| listener.protocol.is_some_and(|protocol| !protocol.is_apart(other));
    let is_other = move |other: &&ListenerShape| {
        other.port == listener.port && other.hostname != listener.hostname && other.protocol.is_some_and(is_near)
    };
    shape.listeners.iter().filter(is_other).filter(|other| sound(shape, other))
}

fn sound(shape: &GatewayShape, listener: &ListenerShape) -> bool {
    shape.fault.is_none() && listener.is_sound()
}

fn is_https(listener: &ListenerShape) -> bool {
    listener.protocol == Some(Protocol::Https)
}

fn host_key(key: &ListenerKey, port: u16, https: bool, host: Hostname) -> VirtualHostKey {
    VirtualHostKey { gateway: key.gateway.clone(), port, https: https.then(|| key.name.clone()), host }
}

impl ListenerSurface {
    /// The virtual host for a host in which the listener and a route meet, unless a narrower listener has it.
    pub(crate) fn virtual_host(&self, host: Hostname) -> Option<VirtualHostKey> {
        let serves = self.serves.as_ref().filter(|serves| serves.protocol.is_http())?;
        let is_https = serves.protocol == Protocol::Https;
        serves.has(&host).then(|| host_key(&self.key, self.port, is_https, host))
    }

    /// The stream for a host in which the listener and a route meet, unless a narrower listener has it.
    pub(crate) fn stream(&self, host: Hostname) -> Option<StreamKey> {
        let serves = self.serves.as_ref().filter(|serves| !serves.protocol.is_http())?;
        serves.has(&host).then(|| stream_key(&self.key, self.port, serves.protocol, host))
    }
}

impl Serves {
    /// Whether no narrower listener has that host.
    fn has(&self, host: &Hostname) -> bool {
        !self.narrower.iter().any(|other| other.covers(host))
    }
}
