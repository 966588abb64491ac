//! Which host of which route table belongs to which listener: each to the most specific one of its port.

use crate::{
    gateway::{Allowed, GatewayShape, ListenerShape},
    kind::RouteKind,
};
use model::{Hostname, ObjectKey, Protocol, VirtualHostKey};
use std::sync::Arc;

/// A Gateway as routes see it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Surface {
    pub(crate) listeners: Vec<ListenerSurface>,
}

/// A listener as routes see it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ListenerSurface {
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
    https: bool,
    /// Host names of the other listeners of the port.
    others: Vec<Hostname>,
}

pub(crate) fn surface(shape: &GatewayShape) -> Surface {
    let sound = |listener: &ListenerShape| shape.fault.is_none() && listener.is_sound();
    let listeners = shape.listeners.iter().map(|listener| ListenerSurface {
        name: listener.name.clone(),
        port: listener.port,
        hostname: listener.hostname.clone(),
        allowed: listener.allowed.clone(),
        kinds: listener.kinds.clone(),
        serves: sound(listener).then(|| Serves {
            https: listener.protocol == Some(Protocol::Https),
            others: shape
                .listeners
                .iter()
                .filter(|other| sound(other) && other.port == listener.port && other.hostname != listener.hostname)
                .map(|other| other.hostname.clone())
                .collect(),
        }),
    });
    Surface { listeners: listeners.collect() }
}

impl ListenerSurface {
    /// The virtual host for a host in which the listener and a route meet, unless a narrower listener has it.
    pub(crate) fn virtual_host(&self, gateway: &ObjectKey, host: Hostname) -> Option<VirtualHostKey> {
        let serves = self.serves.as_ref()?;
        let is_theirs = |other: &Hostname| self.hostname.covers(other) && other.covers(&host);
        (!serves.others.iter().any(is_theirs)).then(|| self.key(gateway, serves, host))
    }

    /// The virtual host of its own hostname: it exists even without a route, and then answers 404.
    pub(crate) fn own(&self, gateway: &ObjectKey) -> Option<VirtualHostKey> {
        self.serves.as_ref().map(|serves| self.key(gateway, serves, self.hostname.clone()))
    }

    /// The hosts of other HTTPS listeners of the port, in this one's route table: a client may ask for them on a
    /// connection that it opened for one of ours, and is told that it is misdirected (421), so that it opens another.
    /// All HTTP listeners of a port share a route table, where a host leads to its own listener.
    pub(crate) fn misdirected(&self, gateway: &ObjectKey) -> impl Iterator<Item = VirtualHostKey> {
        let serves = self.serves.iter().filter(|serves| serves.https);
        serves.flat_map(move |serves| serves.others.iter().map(|host| self.key(gateway, serves, host.clone())))
    }

    fn key(&self, gateway: &ObjectKey, serves: &Serves, host: Hostname) -> VirtualHostKey {
        VirtualHostKey {
            gateway: gateway.clone(),
            port: self.port,
            https: serves.https.then(|| self.name.clone()),
            host,
        }
    }
}
