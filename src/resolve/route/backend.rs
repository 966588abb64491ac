//! Backend references followed: rules become routes.

use super::{
    PortlessRoute, Routed,
    filter::Filters,
    rule::{Outcome, Rule, Valid},
};
use crate::{
    grant::{Grants, Referent, Referrer, permits},
    kind::{RouteKey, RouteKind},
    service::{Port, Services, Transport},
    status::Fault,
};
use api::BackendObjectReference;
use engine::View;
use model::{Action, AuthProtocol, Backend, ExternalAuth, HeaderEdits, Mirror, ObjectKey, Route, Session, Steps};
use std::sync::Arc;

/// Follows the references of one route.
pub(crate) struct Resolver<'a> {
    pub(crate) view: &'a View<'a>,
    pub(crate) route: &'a RouteKey,
    pub(crate) services: Services,
    pub(crate) grants: Grants,
}

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
            let found = self.port(reference);
            match found {
                Ok(port) => {
                    let cluster = if http2 { port.http2_cluster() } else { port.cluster.clone() };
                    routed.clusters.insert(cluster.clone());
                    if cluster != port.cluster {
                        routed.http2.insert(cluster.clone());
                    }
                    Some(cluster)
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
                let Some(cluster) = follow(&auth.reference, http2, field) else { return self.failing() };
                let (authority, protocol) = (authority(&cluster), auth.protocol.clone());
                Some(Arc::new(ExternalAuth { cluster, authority, protocol, body: auth.body }))
            }
        };
        let mut resolve = |reference: &BackendObjectReference, field: String| follow(reference, self.is_grpc(), field);
        let mirrors = mirrors.iter().filter_map(|mirror| {
            let cluster = resolve(&mirror.reference, format!("filters[{}].requestMirror.backendRef", mirror.index))?;
            (mirror.per_million > 0).then_some(Mirror { cluster, per_million: mirror.per_million })
        });
        let mirrors = mirrors.collect();
        let backends = valid.backends.iter().enumerate().filter_map(|(index, backend)| {
            // One without weight is followed too: a reference that leads nowhere is said so.
            let cluster = resolve(&backend.reference, format!("backendRefs[{index}]"));
            let session = self.session(valid, &backend.reference).filter(|_| cluster.is_some());
            (backend.weight > 0).then(|| Backend {
                cluster,
                session,
                weight: backend.weight,
                host: backend.filters.rewrite.as_ref().and_then(|rewrite| rewrite.host.clone()),
                request_headers: backend.filters.request_headers.clone(),
                response_headers: backend.filters.response_headers.clone(),
            })
        });
        let mut backends: Vec<_> = backends.collect();
        // The only backend's session is the route's.
        let session = match &mut *backends {
            [only] => only.session.take(),
            _ => None,
        };
        let action = match redirect {
            Some(redirect) => Action::Redirect(redirect.clone()),
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
        let own = valid.session.is_some();
        (!own).then(|| self.view.get(&self.services.traffic, &self.target(reference)))??.session.clone()
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
        self.view.get(&self.services.clusters, cluster).is_some_and(|cluster| cluster.tls.is_some())
    }

    /// The cluster behind a reference, or why there is none.
    pub(crate) fn cluster(&self, reference: &BackendObjectReference) -> Result<Arc<str>, (&'static str, String)> {
        self.port(reference).map(|port| port.cluster)
    }

    fn target(&self, reference: &BackendObjectReference) -> ObjectKey {
        let namespace = reference.namespace.as_deref().map_or_else(|| self.route.object.namespace.clone(), Arc::from);
        ObjectKey::new(namespace, &*reference.name)
    }

    /// The port behind a reference, or why there is none.
    fn port(&self, reference: &BackendObjectReference) -> Result<Port, (&'static str, String)> {
        if (&*reference.group, &*reference.kind) != ("", "Service") {
            let (kind, group) = (&reference.kind, &reference.group);
            return Err(("InvalidKind", format!("wanted a Service, saw a {kind} of {group:?}")));
        }
        let target = self.target(reference);
        // Permission first: whether the Service of another namespace exists is nobody's business without it.
        let from = (Referrer::Route(self.route.kind), &self.route.object.namespace);
        if !permits(self.view, self.grants, from, Referent::Service, &target) {
            let (kind, from, to) = (self.route.kind.as_str(), &self.route.object.namespace, &target.namespace);
            let why =
                format!("no ReferenceGrant in namespace {to} lets {kind}s of namespace {from} use Service {target}");
            return Err(("RefNotPermitted", why));
        }
        let Some(service) = self.view.get(&self.services.shapes, &target) else {
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

/// The host and port that a cluster's name has in it.
fn authority(cluster: &str) -> Arc<str> {
    let port = cluster.split('|').nth(1).unwrap_or_default();
    let host = cluster.rsplit('|').next().unwrap_or_default();
    format!("{host}:{port}").into()
}
