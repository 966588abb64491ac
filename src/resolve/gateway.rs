//! Gateways: their listeners judged by themselves, before any reference is followed.

use crate::{
    Account, Inputs, Settings,
    class::Classes,
    isolation::{Surface, surface},
    kind::RouteKind,
    status::Fault,
};
use api::{FromNamespaces, GATEWAY_GROUP, LabelSelector, SecretObjectReference};
use engine::{Engine, Table};
use model::{Hostname, ObjectKey, Protocol};
use std::{collections::BTreeMap, sync::Arc};

/// The tables of Gateways.
#[derive(Clone, Copy)]
pub(crate) struct Gateways {
    /// Every Gateway of our classes.
    pub(crate) shapes: Table<ObjectKey, GatewayShape>,
    /// The same as routes see it: changes less often.
    pub(crate) surfaces: Table<ObjectKey, Surface>,
    /// Its pods as policies see them.
    pub(crate) workloads: Table<ObjectKey, Workload>,
    /// Those that are accepted.
    pub(crate) accepted: Table<ObjectKey, ()>,
    /// By the service account of its proxies.
    pub(crate) accounts: Table<Account, ObjectKey>,
}

/// A Gateway of ours, judged without looking at anything but its class.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct GatewayShape {
    pub(crate) generation: i64,
    pub(crate) class: Arc<str>,
    /// Why nothing of it can be programmed.
    pub(crate) fault: Option<Fault>,
    pub(crate) listeners: Vec<ListenerShape>,
    labels: BTreeMap<String, String>,
}

/// One listener, in the order of the spec.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ListenerShape {
    pub(crate) name: Arc<str>,
    pub(crate) port: u16,
    /// None if we don't speak it.
    pub(crate) protocol: Option<Protocol>,
    pub(crate) hostname: Hostname,
    pub(crate) allowed: Allowed,
    /// The kinds of routes that may attach.
    pub(crate) kinds: Vec<RouteKind>,
    pub(crate) certificates: Vec<SecretObjectReference>,
    /// Why it isn't accepted.
    pub(crate) fault: Option<Fault>,
    /// The other listeners that can't be told from it.
    pub(crate) conflict: Option<Fault>,
    /// Route kinds that we don't know.
    pub(crate) kinds_fault: Option<Fault>,
    /// Whether another HTTPS listener of the port has hosts in common with it.
    pub(crate) overlaps: Option<Arc<str>>,
}

/// From which namespaces routes may attach.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Allowed {
    Same,
    All,
    Selector(LabelSelector),
    None,
}

/// The pods of a Gateway's proxies.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Workload {
    pub(crate) class: Arc<str>,
    pub(crate) labels: BTreeMap<String, String>,
}

impl ListenerShape {
    /// Whether it may be programmed as far as the Gateway alone tells; certificates come on top.
    pub(crate) fn is_sound(&self) -> bool {
        self.fault.is_none() && self.conflict.is_none() && !self.kinds.is_empty()
    }
}

pub(crate) fn declare(engine: &mut Engine, inputs: &Inputs, classes: &Classes, settings: &Arc<Settings>) -> Gateways {
    let (classes, settings) = (*classes, settings.clone());
    let shapes = engine.derive("gateway shapes", &inputs.gateways, move |view, key, rows| {
        let shape = |gateway: &Arc<api::Gateway>| {
            let class = view.get(&classes, &ObjectKey::new("", &*gateway.spec.gateway_class_name))?;
            Some((key.clone(), shape(key, gateway, class.fault.as_ref(), &settings)))
        };
        rows.iter().filter_map(shape).collect()
    });
    let workloads = engine.derive("gateway workloads", &shapes, |_, key, rows| {
        let workload =
            |shape: &Arc<GatewayShape>| Workload { class: shape.class.clone(), labels: shape.labels.clone() };
        rows.iter().map(|shape| (key.clone(), workload(shape))).collect()
    });
    Gateways {
        shapes,
        surfaces: engine.derive("gateway surfaces", &shapes, |_, key, rows| {
            rows.iter().map(|shape| (key.clone(), surface(shape))).collect()
        }),
        workloads,
        accepted: engine.derive("accepted gateways", &shapes, |_, key, rows| {
            rows.iter().filter(|shape| shape.fault.is_none()).map(|_| (key.clone(), ())).collect()
        }),
        accounts: engine.derive("gateway accounts", &workloads, |_, key, rows| {
            let account = |workload: &Arc<Workload>| format!("{}-{}", key.name, workload.class).into();
            rows.iter().map(|workload| ((key.namespace.clone(), account(workload)), key.clone())).collect()
        }),
    }
}

fn shape(key: &ObjectKey, gateway: &api::Gateway, class: Option<&Fault>, settings: &Settings) -> GatewayShape {
    let spec = &gateway.spec;
    let mut listeners: Vec<_> =
        (0..).zip(&spec.listeners).map(|(index, l)| listener(index, l, spec, settings)).collect();
    find_conflicts(&mut listeners);
    find_overlaps(&mut listeners);
    let fault = match class {
        Some(_) => Some(Fault::new(
            "NotReconciled",
            format!("spec.gatewayClassName: GatewayClass {} is not accepted; see its status", spec.gateway_class_name),
        )),
        None => gateway_fault(spec, &listeners),
    };
    let infrastructure = spec.infrastructure.as_ref();
    let mut labels = infrastructure.map(|infrastructure| infrastructure.labels.clone()).unwrap_or_default();
    labels.insert("gateway.networking.k8s.io/gateway-name".into(), key.name.to_string());
    labels.insert("gateway.networking.k8s.io/gateway-class-name".into(), spec.gateway_class_name.clone());
    GatewayShape {
        generation: gateway.metadata.generation.unwrap_or_default(),
        class: (*spec.gateway_class_name).into(),
        fault,
        listeners,
        labels,
    }
}

fn gateway_fault(spec: &api::GatewaySpec, listeners: &[ListenerShape]) -> Option<Fault> {
    if let Some(parameters) = spec.infrastructure.as_ref().and_then(|i| i.parameters_ref.as_ref()) {
        let what = format!("spec.infrastructure.parametersRef: {} {} is not known", parameters.kind, parameters.name);
        return Some(Fault::new("InvalidParameters", what));
    }
    let known = ["IPAddress", "Hostname"];
    if let Some((index, address)) = spec.addresses.iter().enumerate().find(|(_, a)| !known.contains(&&*a.kind)) {
        let what = format!("spec.addresses[{index}].type: wanted IPAddress or Hostname, saw {:?}", address.kind);
        return Some(Fault::new("UnsupportedAddress", what));
    }
    let bad = |listener: &ListenerShape| listener.fault.is_some() || listener.conflict.is_some();
    listeners
        .iter()
        .all(bad)
        .then(|| Fault::new("ListenersNotValid", "no listener is valid; see theirs in status.listeners"))
}

fn listener(index: usize, listener: &api::Listener, spec: &api::GatewaySpec, settings: &Settings) -> ListenerShape {
    let at = |field: &str| format!("spec.listeners[{index}].{field}");
    let protocol = match &*listener.protocol {
        "HTTP" => Some(Protocol::Http),
        "HTTPS" => Some(Protocol::Https),
        _ => None,
    };
    let kinds = &listener.allowed_routes.kinds;
    let fitting = protocol.map(RouteKind::of).unwrap_or_default();
    let known = |kind: &api::RouteGroupKind| RouteKind::find(&kind.group, &kind.kind).filter(|k| fitting.contains(k));
    let unknown = kinds.iter().enumerate().find(|(_, kind)| known(kind).is_none());
    let kinds_fault = unknown.filter(|_| protocol.is_some()).map(|(kind_index, kind)| {
        let field = at(&format!("allowedRoutes.kinds[{kind_index}]"));
        let wanted: Vec<_> = fitting.iter().map(|kind| kind.as_str()).collect();
        let wanted = wanted.join(" or ");
        let what = format!("{field}: wanted {wanted} of {GATEWAY_GROUP}, saw {} of {:?}", kind.kind, kind.group);
        Fault::new("InvalidRouteKinds", what)
    });
    let namespaces = &listener.allowed_routes.namespaces;
    ListenerShape {
        name: (*listener.name).into(),
        port: listener.port,
        protocol,
        hostname: Hostname::new(listener.hostname.as_deref()),
        allowed: match (namespaces.from, &namespaces.selector) {
            (FromNamespaces::Same, _) => Allowed::Same,
            (FromNamespaces::All, _) => Allowed::All,
            (FromNamespaces::Selector, Some(selector)) => Allowed::Selector(selector.clone()),
            (FromNamespaces::Selector, None) | (FromNamespaces::None, _) => Allowed::None,
        },
        kinds: match &**kinds {
            [] => fitting.to_vec(),
            named => fitting.iter().copied().filter(|kind| named.iter().any(|n| known(n) == Some(*kind))).collect(),
        },
        certificates: listener.tls.as_ref().map(|tls| tls.certificate_refs.clone()).unwrap_or_default(),
        fault: listener_fault(&at, listener, protocol, spec, settings),
        conflict: None,
        kinds_fault,
        overlaps: None,
    }
}

fn listener_fault(
    at: &dyn Fn(&str) -> String,
    listener: &api::Listener,
    protocol: Option<Protocol>,
    spec: &api::GatewaySpec,
    settings: &Settings,
) -> Option<Fault> {
    let fault = |reason, field, what: &str| Some(Fault::new(reason, format!("{}: {what}", at(field))));
    let Some(protocol) = protocol else {
        return fault("UnsupportedProtocol", "protocol", &format!("wanted HTTP or HTTPS, saw {:?}", listener.protocol));
    };
    if settings.reserved_ports.contains(&listener.port) {
        return fault("PortUnavailable", "port", &format!("{} is used by the proxy itself", listener.port));
    }
    let tls = listener.tls.as_ref()?;
    if protocol == Protocol::Http {
        return fault("UnsupportedValue", "tls", "must be absent with protocol HTTP; did you mean HTTPS?");
    }
    if tls.mode == api::TlsModeType::Passthrough {
        return fault("UnsupportedValue", "tls.mode", "must be Terminate with protocol HTTPS");
    }
    if let Some(option) = tls.options.keys().next() {
        // An option may ask for more security than we would give without it.
        return fault("UnsupportedValue", "tls.options", &format!("{option:?} is not known; remove it"));
    }
    let frontend = spec.tls.as_ref().and_then(|tls| tls.frontend.as_ref())?;
    let own = frontend.per_port.iter().find(|port| port.port == listener.port).map(|port| &port.tls);
    own.unwrap_or(&frontend.default).validation.as_ref()?;
    let what = "spec.tls.frontend: client certificates can't be checked yet, so the listener stays closed";
    Some(Fault::new("UnsupportedValue", what))
}

/// Marks listeners that can't be told from another one: all of them, there is no winner (Gateway API
/// `GatewaySpec.listeners`, "Handling indistinct Listeners").
fn find_conflicts(listeners: &mut [ListenerShape]) {
    let conflicts: Vec<_> = (0..listeners.len()).map(|index| conflict(index, listeners)).collect();
    for (listener, conflict) in listeners.iter_mut().zip(conflicts) {
        listener.conflict = conflict;
    }
}

fn conflict(index: usize, all: &[ListenerShape]) -> Option<Fault> {
    let listener = &all[index];
    listener.protocol?;
    let others = || {
        let others = all.iter().enumerate().filter(move |(other, _)| *other != index).map(|(_, other)| other);
        others.filter(|other| other.port == listener.port && other.protocol.is_some())
    };
    let fault = |reason, what: &str, other: &ListenerShape| {
        let (port, name) = (listener.port, &other.name);
        Fault::new(reason, format!("spec.listeners[{index}]: listener {name} has {what} on port {port}"))
    };
    let protocol = others().find(|other| other.protocol != listener.protocol);
    let hostname = || others().find(|other| other.hostname == listener.hostname);
    protocol
        .map(|other| fault("ProtocolConflict", "another protocol", other))
        .or_else(|| hostname().map(|other| fault("HostnameConflict", "the same hostname", other)))
}

/// Marks HTTPS listeners of one port with hosts in common (Gateway API `OverlappingTLSConfig`).
fn find_overlaps(listeners: &mut [ListenerShape]) {
    let overlap = |listener: &ListenerShape| {
        let other = |other: &&ListenerShape| {
            (other.name != listener.name && other.port == listener.port)
                && (other.protocol, listener.protocol) == (Some(Protocol::Https), Some(Protocol::Https))
                && other.hostname.intersect(&listener.hostname).is_some()
        };
        listeners.iter().find(other).map(|other| other.name.clone())
    };
    let overlaps: Vec<_> = listeners.iter().map(overlap).collect();
    for (listener, overlap) in listeners.iter_mut().zip(overlaps) {
        listener.overlaps = overlap;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listener(name: &str, port: u16, protocol: &str, hostname: Option<&str>) -> api::Listener {
        api::Listener {
            name: name.into(),
            hostname: hostname.map(str::to_owned),
            port,
            protocol: protocol.into(),
            tls: None,
            allowed_routes: api::AllowedRoutes::default(),
        }
    }

    /// An API server refuses what is the same twice, so no manifest can show this conflict; a Gateway stored by an older
    /// one can.
    #[test]
    fn listeners_that_cannot_be_told_apart_are_all_refused() {
        let listeners = vec![
            listener("a", 80, "HTTP", Some("x.test")),
            listener("b", 80, "HTTP", Some("X.test.")),
            listener("c", 80, "HTTP", Some("*.test")),
            listener("d", 81, "HTTP", Some("x.test")),
            listener("e", 443, "HTTP", None),
            listener("f", 443, "HTTPS", Some("y.test")),
            listener("g", 443, "TCP", None),
        ];
        let spec = api::GatewaySpec {
            gateway_class_name: "windlass".into(),
            listeners,
            addresses: Vec::new(),
            infrastructure: None,
            allowed_listeners: None,
            tls: None,
        };
        let gateway = api::Gateway { metadata: api::ObjectMeta::default(), spec };
        let shape = shape(&ObjectKey::new("ns", "gw"), &gateway, None, &Settings::default());
        let conflict = |listener: &ListenerShape| listener.conflict.as_ref().map(|fault| fault.reason);
        let reasons: Vec<_> = shape.listeners.iter().map(conflict).collect();
        let (host, protocol) = (Some("HostnameConflict"), Some("ProtocolConflict"));
        assert_eq!(reasons, [host, host, None, None, protocol, protocol, None]);
        assert_eq!(shape.fault, None);
    }
}
