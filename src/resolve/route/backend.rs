//! Backend references followed: rules become routes.

use super::{
    PortlessRoute, Routed,
    filter::Filters,
    rule::{Outcome, Rule, Valid},
};
use crate::{
    grant::{Grants, Referent, Referrer, permits},
    http2,
    kind::{RouteKey, RouteKind},
    service::{Port, Services, Transport},
    status::Fault,
    xbackend::{Place, XBackends},
};
use api::{BackendObjectReference, X_GATEWAY_GROUP};
use engine::{Table, View};
use model::{
    Action, AppProtocol, AuthProtocol, Backend, ExternalAuth, HeaderEdits, Mirror, ObjectKey, Redirect, Route, Session,
    Steps,
};
use std::sync::Arc;

/// What references may lead to.
#[derive(Clone, Copy)]
pub(crate) struct Backends {
    pub(crate) services: Services,
    pub(crate) xbackends: Table<ObjectKey, Place>,
    pub(crate) grants: Grants,
}

impl Backends {
    pub(crate) fn new(services: &Services, xbackends: &XBackends, grants: Grants) -> Self {
        Self { services: *services, xbackends: xbackends.places, grants }
    }
}

/// Follows the references of one route.
pub(crate) struct Resolver<'a> {
    pub(crate) view: &'a View<'a>,
    pub(crate) route: &'a RouteKey,
    pub(crate) backends: Backends,
}

/// Where a reference leads.
enum Destination {
    Port(Port),
    XBackend(Arc<Place>),
}

impl Destination {
    fn cluster(&self) -> &Arc<str> {
        match self {
            Self::Port(port) => &port.cluster,
            Self::XBackend(place) => &place.cluster,
        }
    }

    /// The same in HTTP/2.
    fn http2(&self) -> Arc<str> {
        match self {
            Self::Port(port) => port.http2_cluster(),
            Self::XBackend(place) => http2::name(&place.cluster, Some(place.protocol)),
        }
    }

    /// Host and port, as a request to it has them.
    fn authority(&self) -> Arc<str> {
        match self {
            Self::Port(port) => authority(&port.cluster),
            Self::XBackend(place) => format!("{}:{}", place.host, place.port).into(),
        }
    }
}

/// Why a reference leads nowhere, with its reason.
type Nowhere = (&'static str, String);

/// What a rule does once its references are followed.
struct Resolved {
    request_headers: HeaderEdits,
    response_headers: HeaderEdits,
    mirrors: Vec<Mirror>,
    steps: Steps,
    action: Action,
}

impl Resolver<'_> {
    pub(super) fn routed(&self, rules: &[Rule]) -> Routed {
        let mut routed = Routed::default();
        for rule in rules {
            let resolved = match &rule.outcome {
                Outcome::Valid(valid) => self.resolve(valid, &mut routed),
                Outcome::Invalid(_) => self.failing(),
            };
            routed.routes.extend(rule.matches.iter().map(|(order, matches)| {
                PortlessRoute(Arc::new(Route {
                    order: order.clone(),
                    rule_name: rule.name.clone(),
                    matches: matches.clone(),
                    request_headers: resolved.request_headers.clone(),
                    response_headers: resolved.response_headers.clone(),
                    mirrors: resolved.mirrors.clone(),
                    steps: resolved.steps.clone(),
                    action: resolved.action.clone(),
                }))
            }));
        }
        routed
    }

    fn resolve(&self, valid: &Valid, routed: &mut Routed) -> Resolved {
        let Filters { request_headers, response_headers, rewrite, redirect, mirrors, cors, auth, .. } = &valid.filters;
        let mut follow = |reference: &BackendObjectReference, http2: bool, field: String| {
            routed.xbackends.extend(self.xbackend_named(reference));
            match self.destination(reference) {
                Ok(found) => {
                    let cluster = if http2 { found.http2() } else { found.cluster().clone() };
                    routed.clusters.insert(cluster.clone());
                    if cluster != *found.cluster() {
                        routed.http2.insert(cluster.clone());
                    }
                    Some((cluster, found))
                }
                Err((reason, why)) => {
                    let place = format!("spec.rules[{}].{field}", valid.index);
                    routed.refs_fault.get_or_insert_with(|| Fault::new(reason, format!("{place}: {why}")));
                    None
                }
            }
        };
        // A service that can't be asked lets nothing pass (Gateway API `HTTPRouteFilter.type`).
        let auth = match auth {
            None => None,
            Some(auth) => {
                let http2 = matches!(auth.protocol, AuthProtocol::Grpc(_));
                let field = format!("filters[{}].externalAuth.backendRef", auth.index);
                let Some((cluster, found)) = follow(&auth.reference, http2, field) else { return self.failing() };
                let (authority, protocol) = (found.authority(), auth.protocol.clone());
                Some(Arc::new(ExternalAuth { cluster, authority, protocol, body: auth.body }))
            }
        };
        let mut resolve = |reference: &BackendObjectReference, field: String| {
            follow(reference, self.is_grpc(), field).map(|(cluster, _)| cluster)
        };
        let mirrors = mirrors.iter().filter_map(|mirror| {
            let cluster = resolve(&mirror.reference, format!("filters[{}].requestMirror.backendRef", mirror.index))?;
            (mirror.per_million > 0).then_some(Mirror { cluster, per_million: mirror.per_million })
        });
        let mirrors = mirrors.collect();
        let backends = valid.backends.iter().enumerate().filter_map(|(index, backend)| {
            // One without weight is followed too: a reference that leads nowhere is said so.
            let cluster = resolve(&backend.reference, format!("backendRefs[{index}]"));
            let session = self.session(valid, &backend.reference).filter(|_| cluster.is_some());
            let filters = backend.filters.as_deref();
            (backend.weight > 0).then(|| Backend {
                cluster,
                session,
                weight: backend.weight,
                host: filters.and_then(|filters| filters.rewrite.as_ref()?.host.clone()),
                request_headers: filters.map(|filters| filters.request_headers.clone()).unwrap_or_default(),
                response_headers: filters.map(|filters| filters.response_headers.clone()).unwrap_or_default(),
            })
        });
        let mut backends: Vec<_> = backends.collect();
        // The only backend's session is the route's.
        let session = match &mut *backends {
            [only] => only.session.take(),
            _ => None,
        };
        let action = match redirect {
            Some(redirect) => Action::Redirect(Redirect::clone(redirect)),
            None if backends.iter().all(|backend| backend.cluster.is_none()) => self.failing().action,
            None => {
                let (rewrite, timeouts) = (rewrite.clone().unwrap_or_default(), valid.timeouts.clone());
                Action::Forward { backends, rewrite, timeouts, retry: valid.retry.clone() }
            }
        };
        let (request_headers, response_headers) = (request_headers.clone(), response_headers.clone());
        let steps = Steps { cors: cors.clone(), auth, session: valid.session.clone().or(session) };
        Resolved { request_headers, response_headers, mirrors, steps, action }
    }

    /// The session that a policy asks for of a backend, where the rule has none of its own.
    fn session(&self, valid: &Valid, reference: &BackendObjectReference) -> Option<Arc<Session>> {
        let asks = valid.session.is_none() && is_service(reference);
        asks.then(|| self.view.get(&self.backends.services.traffic, &self.target(reference)))??.session.clone()
    }

    fn is_grpc(&self) -> bool {
        self.route.kind == RouteKind::Grpc
    }

    /// An answer to whatever matches: 500; to calls of gRPC 503, which is UNAVAILABLE (Gateway API `backendRefs`).
    fn failing(&self) -> Resolved {
        Resolved {
            request_headers: HeaderEdits::default(),
            response_headers: HeaderEdits::default(),
            mirrors: Vec::new(),
            steps: Steps::default(),
            action: Action::Respond { status: if self.is_grpc() { 503 } else { 500 } },
        }
    }

    fn has_tls(&self, cluster: &Arc<str>) -> bool {
        self.view.get(&self.backends.services.clusters, cluster).is_some_and(|cluster| cluster.tls.is_some())
    }

    /// The cluster behind a reference, or why there is none.
    pub(crate) fn cluster(&self, reference: &BackendObjectReference) -> Result<Arc<str>, Nowhere> {
        self.destination(reference).map(|found| found.cluster().clone())
    }

    /// The XBackend that a reference names and may, whether it can be spoken to or not.
    pub(crate) fn xbackend_named(&self, reference: &BackendObjectReference) -> Option<ObjectKey> {
        let named = is_xbackend(reference).then(|| self.permitted(reference, Referent::XBackend).ok())??;
        self.view.contains(&self.backends.xbackends, &named).then_some(named)
    }

    fn destination(&self, reference: &BackendObjectReference) -> Result<Destination, Nowhere> {
        match is_xbackend(reference) {
            true => self.xbackend(reference).map(Destination::XBackend),
            false => self.port(reference).map(Destination::Port),
        }
    }

    fn target(&self, reference: &BackendObjectReference) -> ObjectKey {
        let namespace = reference.namespace.as_deref().map_or_else(|| self.route.object.namespace.clone(), Arc::from);
        ObjectKey::new(namespace, &*reference.name)
    }

    /// What a reference names, if it may. Permission first: what exists in another namespace is nobody's business
    /// without it.
    fn permitted(&self, reference: &BackendObjectReference, kind: Referent) -> Result<ObjectKey, Nowhere> {
        let target = self.target(reference);
        let from = (Referrer::Route(self.route.kind), &self.route.object.namespace);
        if !permits(self.view, self.backends.grants, from, kind, &target) {
            let (route, from, to) = (self.route.kind.as_str(), &self.route.object.namespace, &target.namespace);
            let why =
                format!("no ReferenceGrant in namespace {to} lets {route}s of namespace {from} use {kind:?} {target}");
            return Err(("RefNotPermitted", why));
        }
        Ok(target)
    }

    /// The port behind a reference, or why there is none.
    fn port(&self, reference: &BackendObjectReference) -> Result<Port, Nowhere> {
        if !is_service(reference) {
            let (kind, group) = (&reference.kind, &reference.group);
            return Err(("InvalidKind", format!("wanted a Service or an XBackend, saw a {kind} of {group:?}")));
        }
        let target = self.permitted(reference, Referent::Service)?;
        let Some(service) = self.view.get(&self.backends.services.shapes, &target) else {
            return Err(("BackendNotFound", format!("Service {target} does not exist")));
        };
        if let Some(why) = &service.fault {
            return Err(("UnsupportedProtocol", format!("Service {target}: {why}")));
        }
        let Some(number) = reference.port else {
            return Err(("BackendNotFound", format!("names no port of Service {target}")));
        };
        let transport = if self.route.kind == RouteKind::Udp { Transport::Udp } else { Transport::Tcp };
        let Some(port) = service.port(number, transport) else {
            return Err(("BackendNotFound", format!("Service {target} has no port {number} in spec.ports")));
        };
        match &port.protocol {
            _ if !self.route.kind.is_http() && port.transport == transport => Ok(port.clone()),
            Ok(_) if self.route.kind.is_http() => Ok(port.clone()),
            Err(_) if self.route.kind.is_http() && port.wants_tls() && self.has_tls(&port.cluster) => Ok(port.clone()),
            protocol => Err((
                "UnsupportedProtocol",
                format!(
                    "port {number} of Service {target} speaks {}, which {}s can't be sent to",
                    protocol.as_ref().map_or_else(|name| &**name, |_| "TCP"),
                    self.route.kind.as_str()
                ),
            )),
        }
    }
}

impl Resolver<'_> {
    /// The XBackend behind a reference, or why there is none.
    fn xbackend(&self, reference: &BackendObjectReference) -> Result<Arc<Place>, Nowhere> {
        let target = self.permitted(reference, Referent::XBackend)?;
        let Some(place) = self.view.get(&self.backends.xbackends, &target) else {
            return Err(("BackendNotFound", format!("XBackend {target} does not exist")));
        };
        let Place { port, protocol, fault, .. } = &*place;
        if let Some(fault) = fault {
            let reason = if fault.reason == "Invalid" { "BackendNotFound" } else { fault.reason };
            return Err((reason, format!("XBackend {target}: {}", fault.message)));
        }
        if let Some(other) = reference.port.filter(|other| other != port) {
            let why = format!("port: wanted {port}, the port of XBackend {target}, or none, saw {other}");
            return Err(("BackendNotFound", why));
        }
        let kind = self.route.kind;
        if kind == RouteKind::Udp || kind.is_http() && *protocol == AppProtocol::Opaque {
            let why = format!("XBackend {target} speaks TCP, which {}s can't be sent to", kind.as_str());
            return Err(("UnsupportedProtocol", why));
        }
        Ok(place)
    }
}

fn is_service(reference: &BackendObjectReference) -> bool {
    (&*reference.group, &*reference.kind) == ("", "Service")
}

fn is_xbackend(reference: &BackendObjectReference) -> bool {
    (&*reference.group, &*reference.kind) == (X_GATEWAY_GROUP, "XBackend")
}

/// The host and port that a cluster's name has in it.
fn authority(cluster: &str) -> Arc<str> {
    let port = cluster.split('|').nth(1).unwrap_or_default();
    let host = cluster.rsplit('|').next().unwrap_or_default();
    format!("{host}:{port}").into()
}
