//! Gateways: their listeners, and those of their ListenerSets, judged by themselves, before any reference is followed.

use crate::{
    Account, Inputs, Settings,
    address::{self, Addresses},
    class::{Class, Classes},
    conflict,
    frontend::Validation,
    infrastructure::{self, Wishes},
    isolation::{ParentKey, Surface, surfaces},
    kind::RouteKind,
    listener_set::{self, Members, SetShape},
    namespace::{Allowed, Labels},
    parameters,
    proxy_protocol::{ACCEPT, Ports},
    status::Fault,
};
use api::{GATEWAY_GROUP, SecretObjectReference};
use engine::{Engine, Table, View};
use model::{DataPlane, Hostname, Infrastructure, ListenerKey, ObjectKey, Protocol};
use std::{collections::BTreeMap, sync::Arc};

/// The tables of Gateways.
#[derive(Clone, Copy)]
pub(crate) struct Gateways {
    /// Every Gateway of our classes.
    pub(crate) shapes: Table<ObjectKey, GatewayShape>,
    /// The same as routes see it, by what they name: changes less often.
    pub(crate) surfaces: Table<ParentKey, Surface>,
    /// Its pods as policies see them.
    pub(crate) workloads: Table<ObjectKey, Workload>,
    /// Those that are accepted.
    pub(crate) accepted: Table<ObjectKey, ()>,
    /// By the service account of its proxies.
    pub(crate) accounts: Table<Account, ObjectKey>,
    /// What they get of the addresses that they ask for.
    pub(crate) addresses: Table<ObjectKey, Addresses>,
    /// What is to be made for them.
    pub(crate) infrastructures: Table<ObjectKey, Infrastructure>,
}

/// A Gateway of ours, judged without looking at anything but its class and its ListenerSets.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct GatewayShape {
    pub(crate) generation: i64,
    pub(crate) class: Arc<str>,
    /// Who minds the class.
    pub(crate) controller: Arc<str>,
    pub(crate) data_plane: DataPlane,
    /// Why nothing of it can be programmed.
    pub(crate) fault: Option<Fault>,
    pub(crate) wishes: Wishes,
    /// Its own, in the order of the spec, then those of the ListenerSets that it takes.
    pub(crate) listeners: Vec<ListenerShape>,
    /// The ListenerSets that name it, in the order of precedence.
    pub(crate) sets: Vec<SetShape>,
    /// The certificate that backends are shown.
    pub(crate) shown: Option<SecretObjectReference>,
    /// Whether some clients are let in whatever certificate they show.
    pub(crate) insecure: bool,
    labels: BTreeMap<String, String>,
}

/// One listener.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ListenerShape {
    /// The ListenerSet that it stands in; none is the Gateway itself.
    pub(crate) set: Option<ObjectKey>,
    /// Its place in `spec.listeners`.
    index: usize,
    pub(crate) name: Arc<str>,
    pub(crate) port: u16,
    /// None if we don't speak it.
    pub(crate) protocol: Option<Protocol>,
    /// Whether TLS goes on to the backend.
    pub(crate) is_passthrough: bool,
    pub(crate) hostname: Hostname,
    pub(crate) allowed: Allowed,
    /// The kinds of routes that may attach.
    pub(crate) kinds: Vec<RouteKind>,
    pub(crate) certificates: Vec<SecretObjectReference>,
    /// What is wanted of clients' certificates.
    pub(crate) clients: Option<Validation>,
    /// Why it isn't accepted.
    pub(crate) fault: Option<Fault>,
    /// The other listeners that can't be told from it.
    pub(crate) conflict: Option<Fault>,
    /// Route kinds that we don't know.
    pub(crate) kinds_fault: Option<Fault>,
    /// Whether connections start with a PROXY header.
    pub(crate) proxy_protocol: bool,
    /// Another HTTPS listener of the port that has hosts in common with it.
    pub(crate) overlaps: Option<Arc<str>>,
}

/// The pods of a Gateway's proxies.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Workload {
    pub(crate) class: Arc<str>,
    pub(crate) controller: Arc<str>,
    pub(crate) account: Arc<str>,
    pub(crate) labels: BTreeMap<String, String>,
}

impl ListenerShape {
    /// What it is called among all of the Gateway's.
    pub(crate) fn key(&self, gateway: &ObjectKey) -> ListenerKey {
        let name = match &self.set {
            None => self.name.clone(),
            Some(set) => format!("{}/{}/{}", set.namespace, set.name, self.name).into(),
        };
        ListenerKey { gateway: gateway.clone(), name }
    }

    /// The object that it is written in: the ListenerSet or the Gateway.
    pub(crate) fn object<'a>(&'a self, gateway: &'a ObjectKey) -> &'a ObjectKey {
        self.set.as_ref().unwrap_or(gateway)
    }

    /// The path of one of its fields.
    pub(crate) fn field(&self, field: &str) -> String {
        format!("spec.listeners[{}]{field}", self.index)
    }

    /// Whether it may be programmed as far as the Gateway alone tells; certificates come on top.
    pub(crate) fn is_sound(&self) -> bool {
        self.fault.is_none() && self.conflict.is_none() && !self.kinds.is_empty()
    }
}

pub(crate) fn declare(
    engine: &mut Engine,
    inputs: &Inputs,
    classes: &Classes,
    labels: Labels,
    settings: &Arc<Settings>,
) -> Gateways {
    let members = listener_set::declare(engine, inputs);
    let (classes, around) = (*classes, (*inputs, members, labels));
    let decided = settings.clone();
    let shapes = engine.derive("gateway shapes", &inputs.gateways, move |view, key, rows| {
        let shape = |gateway: &Arc<api::Gateway>| {
            let class = view.get(&classes, &ObjectKey::new("", &*gateway.spec.gateway_class_name))?;
            let sets = sets(view, key, &gateway.spec, &around);
            let overlays = parameters::read(view, &around.0, key, &gateway.spec);
            let (fault, overlays) = match overlays {
                Ok(overlays) => (None, overlays),
                Err(fault) => (Some(fault), BTreeMap::new()),
            };
            let wishes = Wishes::read(key, gateway, overlays, &decided);
            Some((key.clone(), shape(key, gateway, sets, (&class, fault, wishes), &decided)))
        };
        rows.iter().filter_map(shape).collect()
    });
    let workloads = engine.derive("gateway workloads", &shapes, |_, key, rows| {
        let workload = |shape: &Arc<GatewayShape>| Workload {
            class: shape.class.clone(),
            controller: shape.controller.clone(),
            account: shape.wishes.account.clone(),
            labels: shape.labels.clone(),
        };
        rows.iter().map(|shape| (key.clone(), workload(shape))).collect()
    });
    Gateways {
        shapes,
        surfaces: engine.derive("gateway surfaces", &shapes, |_, key, rows| {
            rows.iter().flat_map(|shape| surfaces(key, shape)).collect()
        }),
        workloads,
        accepted: engine.derive("accepted gateways", &shapes, |_, key, rows| {
            rows.iter().filter(|shape| shape.fault.is_none()).map(|_| (key.clone(), ())).collect()
        }),
        accounts: engine.derive("gateway accounts", &workloads, |_, key, rows| {
            rows.iter().map(|workload| ((key.namespace.clone(), workload.account.clone()), key.clone())).collect()
        }),
        addresses: address::declare(engine, inputs, shapes, settings),
        infrastructures: infrastructure::declare(engine, shapes, settings),
    }
}

/// The ListenerSets that name a Gateway, in the order of precedence.
fn sets(view: &View, key: &ObjectKey, spec: &api::GatewaySpec, around: &(Inputs, Members, Labels)) -> Sets {
    let namespaces = spec.allowed_listeners.as_ref().map(|allowed| &allowed.namespaces);
    let allowed =
        namespaces.map_or(Allowed::None, |namespaces| Allowed::new(namespaces.from, namespaces.selector.as_ref()));
    listener_set::of_gateway(view, key, &allowed, (&around.0, around.1, around.2))
}

type Sets = Vec<(SetShape, Arc<api::ListenerSet>)>;

fn shape(
    key: &ObjectKey,
    gateway: &api::Gateway,
    sets: Sets,
    (class, parameters, wishes): (&Class, Option<Fault>, Wishes),
    settings: &Settings,
) -> GatewayShape {
    let spec = &gateway.spec;
    let taken = sets.iter().filter(|(set, _)| set.fault.is_none());
    let theirs = taken.flat_map(|(set, object)| object.spec.listeners.iter().enumerate().map(move |l| (Some(set), l)));
    let own = spec.listeners.iter().enumerate().map(|listener| (None, listener));
    let parse = |(set, (index, written)): (Option<&SetShape>, (usize, &api::Listener))| {
        listener((set.map(|set| set.key.clone()), index), written, spec, settings)
    };
    let mut listeners: Vec<_> = own.chain(theirs).map(parse).collect();
    conflict::find(&mut listeners);
    conflict::bound(&mut listeners);
    find_overlaps(&mut listeners);
    let announced = Ports::of(&gateway.metadata, ACCEPT);
    for listener in listeners.iter_mut().filter(|listener| listener.protocol != Some(Protocol::Udp)) {
        listener.proxy_protocol = announced.as_ref().is_ok_and(|ports| ports.has(listener.port));
    }
    let fault = match (&class.fault, announced) {
        (Some(_), _) => Some(Fault::new(
            "NotReconciled",
            format!("spec.gatewayClassName: GatewayClass {} is not accepted; see its status", spec.gateway_class_name),
        )),
        // Without a header, everybody would have the address of who passes connections on.
        (None, Err(what)) => Some(Fault::new("Invalid", what)),
        (None, Ok(_)) => parameters.or_else(|| gateway_fault(spec, &listeners)),
    };
    let infrastructure = spec.infrastructure.as_ref();
    let mut labels = infrastructure.map(|infrastructure| infrastructure.labels.clone()).unwrap_or_default();
    labels.insert(address::GATEWAY_NAME.into(), key.name.to_string());
    labels.insert("gateway.networking.k8s.io/gateway-class-name".into(), spec.gateway_class_name.clone());
    GatewayShape {
        generation: gateway.metadata.generation.unwrap_or_default(),
        class: (*spec.gateway_class_name).into(),
        controller: class.controller.clone(),
        data_plane: class.data_plane,
        fault,
        wishes,
        listeners,
        sets: sets.into_iter().map(|(set, _)| set).collect(),
        shown: spec.tls.as_ref().and_then(|tls| tls.backend.as_ref()?.client_certificate_ref.clone()),
        insecure: Validation::any_insecure(spec.tls.as_ref()),
        labels,
    }
}

fn gateway_fault(spec: &api::GatewaySpec, listeners: &[ListenerShape]) -> Option<Fault> {
    if let Some(fault) = address::unsupported(spec) {
        return Some(fault);
    }
    let bad = |listener: &ListenerShape| listener.fault.is_some() || listener.conflict.is_some();
    listeners
        .iter()
        .all(bad)
        .then(|| Fault::new("ListenersNotValid", "no listener is valid; see theirs in status.listeners"))
}

fn listener(
    (set, index): (Option<ObjectKey>, usize),
    listener: &api::Listener,
    spec: &api::GatewaySpec,
    settings: &Settings,
) -> ListenerShape {
    let at = |field: &str| format!("spec.listeners[{index}].{field}");
    let protocol = match &*listener.protocol {
        "HTTP" => Some(Protocol::Http),
        "HTTPS" => Some(Protocol::Https),
        "TLS" => Some(Protocol::Tls),
        "TCP" => Some(Protocol::Tcp),
        "UDP" => Some(Protocol::Udp),
        _ => None,
    };
    let kinds = &listener.allowed_routes.kinds;
    let is_passthrough = listener.tls.as_ref().is_some_and(|tls| tls.mode == api::TlsModeType::Passthrough);
    let fitting = protocol.map(|protocol| RouteKind::fitting(protocol, is_passthrough)).unwrap_or_default();
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
        set,
        index,
        name: (*listener.name).into(),
        port: listener.port,
        protocol,
        is_passthrough,
        hostname: Hostname::new(listener.hostname.as_deref()),
        allowed: Allowed::new(namespaces.from, namespaces.selector.as_ref()),
        kinds: match &**kinds {
            [] => protocol.map(RouteKind::of).unwrap_or_default().to_vec(),
            named => fitting.iter().copied().filter(|kind| named.iter().any(|n| known(n) == Some(*kind))).collect(),
        },
        certificates: listener.tls.as_ref().map(|tls| tls.certificate_refs.clone()).unwrap_or_default(),
        clients: match protocol {
            Some(Protocol::Https) => Validation::of(spec.tls.as_ref(), listener.port),
            _ => None,
        },
        fault: listener_fault(&at, listener, protocol, settings),
        conflict: None,
        kinds_fault,
        proxy_protocol: false,
        overlaps: None,
    }
}

fn listener_fault(
    at: &dyn Fn(&str) -> String,
    listener: &api::Listener,
    protocol: Option<Protocol>,
    settings: &Settings,
) -> Option<Fault> {
    let fault = |reason, field, what: &str| Some(Fault::new(reason, format!("{}: {what}", at(field))));
    let Some(protocol) = protocol else {
        return fault(
            "UnsupportedProtocol",
            "protocol",
            &format!("wanted HTTP, HTTPS, TLS, TCP or UDP, saw {:?}", listener.protocol),
        );
    };
    if settings.reserved_ports.contains(&listener.port) {
        return fault("PortUnavailable", "port", &format!("{} is used by the proxy itself", listener.port));
    }
    let Some(tls) = &listener.tls else {
        let is_missing = protocol == Protocol::Tls;
        return fault("UnsupportedValue", "tls", "wanted with protocol TLS, it is missing").filter(|_| is_missing);
    };
    if !protocol.is_by_server_name() {
        let protocol = &listener.protocol;
        let what = format!("must be absent with protocol {protocol}; did you mean HTTPS or TLS?");
        return fault("UnsupportedValue", "tls", &what);
    }
    if protocol == Protocol::Https && tls.mode == api::TlsModeType::Passthrough {
        return fault("UnsupportedValue", "tls.mode", "must be Terminate with protocol HTTPS");
    }
    if let Some(option) = tls.options.keys().next() {
        // An option may ask for more security than we would give without it.
        return fault("UnsupportedValue", "tls.options", &format!("{option:?} is not known; remove it"));
    }
    None
}

/// Marks HTTPS listeners of one port with hosts in common (Gateway API `OverlappingTLSConfig`).
fn find_overlaps(listeners: &mut [ListenerShape]) {
    let overlap = |listener: &ListenerShape| {
        let other = |other: &&ListenerShape| {
            ((&other.set, other.index) != (&listener.set, listener.index) && other.port == listener.port)
                && (other.protocol, listener.protocol) == (Some(Protocol::Https), Some(Protocol::Https))
                && other.hostname.intersect(&listener.hostname).is_some()
        };
        listeners.iter().find(other).map(|other| match other.set == listener.set {
            true => format!("listener {}", other.name).into(),
            // What others have in their namespaces is not told.
            false => "a listener of the Gateway or of another ListenerSet".into(),
        })
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

    fn judged(listeners: Vec<api::Listener>, sets: Sets) -> GatewayShape {
        let spec = api::GatewaySpec {
            gateway_class_name: "windlass".into(),
            listeners,
            addresses: Vec::new(),
            infrastructure: None,
            allowed_listeners: None,
            tls: None,
        };
        let gateway = api::Gateway { metadata: api::ObjectMeta::default(), spec };
        let (key, settings) = (ObjectKey::new("ns", "gw"), Settings::default());
        let class = Class { controller: "c".into(), data_plane: DataPlane::Windlass, fault: None };
        let wishes = Wishes::read(&key, &gateway, BTreeMap::new(), &settings);
        shape(&key, &gateway, sets, (&class, None, wishes), &settings)
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
            listener("h", 443, "UDP", None),
            listener("i", 444, "SCTP", None),
        ];
        let shape = judged(listeners, Vec::new());
        let conflict = |listener: &ListenerShape| listener.conflict.as_ref().map(|fault| fault.reason);
        let reasons: Vec<_> = shape.listeners.iter().map(conflict).collect();
        let (host, protocol) = (Some("HostnameConflict"), Some("ProtocolConflict"));
        assert_eq!(reasons, [host, host, None, None, protocol, protocol, protocol, None, None]);
        assert_eq!(shape.fault, None);
    }
    /// A Gateway alone can't have so many; a case of so many would be long.
    #[test]
    fn the_last_of_too_many_https_listeners_are_refused() {
        let set = |number: usize| {
            let host = |n: usize| format!("h{n}.s{number}.test");
            let listeners = (0..64).map(|n| listener(&format!("l{n}"), 443, "HTTPS", Some(&host(n)))).collect();
            let parent_ref = api::ParentGatewayReference {
                group: GATEWAY_GROUP.into(),
                kind: "Gateway".into(),
                name: "gw".into(),
                namespace: None,
            };
            let spec = api::ListenerSetSpec { parent_ref, listeners };
            let shape = SetShape { key: ObjectKey::new("ns", format!("s{number}")), generation: 1, fault: None };
            (shape, Arc::new(api::ListenerSet { metadata: api::ObjectMeta::default(), spec }))
        };
        let shape = judged(vec![listener("http", 80, "HTTP", None)], (0..5).map(set).collect());
        let (taken, refused) = shape.listeners.split_at(1 + 256);
        assert!(taken.iter().all(ListenerShape::is_sound));
        assert_eq!(refused.len(), 64);
        let reason = |listener: &ListenerShape| listener.fault.as_ref().map(|fault| fault.reason);
        assert!(refused.iter().all(|listener| reason(listener) == Some("TooManyListeners")));
    }
}
