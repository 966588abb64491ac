//! Which host of which route table belongs to which listener: each to the most specific one of its port.

use crate::gateway::{Allowed, GatewayShape, ListenerShape};
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
    /// Whether HTTPRoutes may attach.
    pub(crate) http_routes: bool,
    /// None if it serves nothing: then it only counts its routes.
    serves: Option<Serves>,
}

/// What a listener that is sound serves.
#[derive(Clone, Debug, PartialEq)]
struct Serves {
    https: bool,
    /// Host names of narrower listeners of the port: their hosts are not ours.
    narrower: Vec<Hostname>,
}

pub(crate) fn surface(shape: &GatewayShape) -> Surface {
    let sound = |listener: &ListenerShape| shape.fault.is_none() && listener.is_sound();
    let listeners = shape.listeners.iter().map(|listener| ListenerSurface {
        name: listener.name.clone(),
        port: listener.port,
        hostname: listener.hostname.clone(),
        allowed: listener.allowed.clone(),
        http_routes: listener.http_routes,
        serves: sound(listener).then(|| Serves {
            https: listener.protocol == Some(Protocol::Https),
            narrower: shape
                .listeners
                .iter()
                .filter(|other| sound(other) && other.port == listener.port && other.hostname != listener.hostname)
                .filter(|other| listener.hostname.covers(&other.hostname))
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
        (!serves.narrower.iter().any(|narrower| narrower.covers(&host))).then(|| self.key(gateway, serves, host))
    }

    /// The virtual hosts that exist even without a route, and then answer 404: its own host; and for HTTPS, where every
    /// listener has a route table of its own, the hosts of narrower listeners, which a client may ask for on a
    /// connection that it opened for another name.
    pub(crate) fn standing(&self, gateway: &ObjectKey) -> impl Iterator<Item = VirtualHostKey> {
        self.serves.iter().flat_map(move |serves| {
            let narrower = serves.narrower.iter().filter(|_| serves.https);
            std::iter::once(&self.hostname).chain(narrower).map(|host| self.key(gateway, serves, host.clone()))
        })
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
