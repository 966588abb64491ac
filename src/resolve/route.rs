//! Routes of HTTP and gRPC: their rules as routes of ours, first by themselves, then with their references followed.
//!
//! A rule that is invalid keeps what it matches, as far as that can be understood, and answers it with 500 (UNAVAILABLE
//! in gRPC): what it would have guarded must not fall to a wider rule (Gateway API `HTTPRouteFilter.type`).

pub(crate) mod backend;
mod cors;
pub(crate) mod filter;
mod matching;
mod rule;
pub(crate) mod session;

use crate::{
    Inputs,
    kind::{RouteHead, RouteKey, RouteKind},
    status::Fault,
};
use backend::{Backends, Resolver};
use engine::{Engine, Table};
use model::{Action, ObjectKey, Redirect, Route};
use rule::{Outcome, Rule};
use std::{collections::BTreeSet, sync::Arc};

/// The tables of routes.
#[derive(Clone, Copy)]
pub(crate) struct Routes {
    /// Every route, as attachment sees it. Apart, so that an edit of a rule doesn't attach the route anew.
    pub(crate) heads: Table<RouteKey, RouteHead>,
    /// The HTTPRoutes among them.
    pub(crate) http_heads: Table<RouteKey, RouteHead>,
    /// The GRPCRoutes among them.
    pub(crate) grpc_heads: Table<RouteKey, RouteHead>,
    /// Whether its rules are valid. Apart, so that an edit of a backend doesn't attach the route anew.
    pub(crate) verdicts: Table<RouteKey, Verdict>,
    /// The first reference that leads nowhere; no row if all lead somewhere.
    pub(crate) refs: Table<RouteKey, Fault>,
    /// The rules with their references followed.
    pub(crate) routed: Table<RouteKey, Routed>,
    /// The clusters that are wanted in HTTP/2; a row for each route that does.
    pub(crate) http2: Table<Arc<str>, ()>,
    /// The XBackends that routes refer to.
    pub(crate) xbackends: Table<RouteKey, ObjectKey>,
}

/// What is wrong with a route's rules, whatever its parents.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Verdict {
    /// No rule is valid.
    pub(crate) rejected: Option<Fault>,
    /// Some rules are invalid.
    pub(crate) partly: Option<Fault>,
}

/// The rules of a route, ready to be put into virtual hosts.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Routed {
    pub(crate) routes: Vec<PortlessRoute>,
    /// The clusters that the routes name.
    pub(crate) clusters: BTreeSet<Arc<str>>,
    /// Those of them that stand only for being spoken to in HTTP/2.
    pub(crate) http2: BTreeSet<Arc<str>>,
    /// The XBackends that the rules refer to and may.
    pub(crate) xbackends: BTreeSet<ObjectKey>,
    /// The first reference that leads nowhere.
    pub(crate) refs_fault: Option<Fault>,
}

/// A route before it is known on which listener it stands.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct PortlessRoute(pub(crate) Arc<Route>);

impl PortlessRoute {
    /// The route as it stands on a listener: the port of a redirect depends on it.
    pub(crate) fn on(&self, https: bool, port: u16) -> Arc<Route> {
        match &self.0.action {
            Action::Redirect(redirect) => {
                let redirect = Redirect { port: redirect_port(redirect, https, port), ..redirect.clone() };
                Arc::new(Route { action: Action::Redirect(redirect), ..Route::clone(&self.0) })
            }
            _ => self.0.clone(),
        }
    }
}

/// The port to write into a `Location`, by the rules of Gateway API `HTTPRequestRedirectFilter.port`: the one that is
/// written, else that of the scheme, else the listener's. It is left out where the scheme says it.
fn redirect_port(redirect: &Redirect, https: bool, listener: u16) -> Option<u16> {
    let well_known = |https: bool| if https { 443 } else { 80 };
    let target = redirect.scheme.as_deref().map_or(https, |scheme| scheme == "https");
    let implied = if redirect.scheme.is_some() { well_known(target) } else { listener };
    let port = redirect.port.unwrap_or(implied);
    (port != well_known(target)).then_some(port)
}

pub(crate) fn declare(engine: &mut Engine, inputs: &Inputs, backends: Backends) -> Routes {
    let (http_heads, grpc_heads) = heads(engine, inputs);
    let heads = engine.union("route heads", &[http_heads, grpc_heads]);
    let http = engine.derive("HTTP route rules", &inputs.http_routes, |_, key, rows| {
        rows.iter().map(|route| (RouteKind::Http.key(key.clone()), rule::of_http(key, route))).collect()
    });
    let grpc = engine.derive("gRPC route rules", &inputs.grpc_routes, |_, key, rows| {
        rows.iter().map(|route| (RouteKind::Grpc.key(key.clone()), rule::of_grpc(key, route))).collect()
    });
    let rules = engine.union("route rules", &[http, grpc]);
    let verdicts = engine.derive("route verdicts", &rules, |_, key, rows| {
        rows.iter().map(|rules| (key.clone(), verdict(key.kind, rules))).collect()
    });
    let routed = engine.derive("routed rules", &rules, move |view, key, rows| {
        let resolver = Resolver { view, route: key, backends };
        rows.iter().map(|rules| (key.clone(), resolver.routed(rules))).collect()
    });
    let http2 = engine.derive("clusters in HTTP/2", &routed, |_, _, rows| {
        rows.iter().flat_map(|routed| routed.http2.iter().map(|cluster| (cluster.clone(), ()))).collect()
    });
    let refs = engine.derive("route reference faults", &routed, |_, key, rows| {
        rows.iter().filter_map(|routed| Some((key.clone(), routed.refs_fault.clone()?))).collect()
    });
    let xbackends = engine.derive("xbackends of routes", &routed, |_, key, rows| {
        rows.iter().flat_map(|routed| routed.xbackends.iter().map(|named| (key.clone(), named.clone()))).collect()
    });
    Routes { heads, http_heads, grpc_heads, verdicts, refs, routed, http2, xbackends }
}

/// HTTPRoutes and GRPCRoutes as attachment sees them.
fn heads(engine: &mut Engine, inputs: &Inputs) -> (Table<RouteKey, RouteHead>, Table<RouteKey, RouteHead>) {
    let http = engine.derive("HTTP route heads", &inputs.http_routes, |_, key, rows| {
        let head =
            |route: &api::HttpRoute| RouteHead::new(&route.metadata, &route.spec.parent_refs, &route.spec.hostnames);
        rows.iter().map(|route| (RouteKind::Http.key(key.clone()), head(route))).collect()
    });
    let grpc = engine.derive("gRPC route heads", &inputs.grpc_routes, |_, key, rows| {
        let head =
            |route: &api::GrpcRoute| RouteHead::new(&route.metadata, &route.spec.parent_refs, &route.spec.hostnames);
        rows.iter().map(|route| (RouteKind::Grpc.key(key.clone()), head(route))).collect()
    });
    (http, grpc)
}

fn verdict(kind: RouteKind, rules: &[Rule]) -> Verdict {
    let invalid: Vec<(usize, &Fault)> =
        rules.iter().enumerate().filter_map(|(i, rule)| Some((i, rule.fault()?))).collect();
    let Some((_, first)) = invalid.first() else { return Verdict::default() };
    if invalid.len() == rules.len() {
        return Verdict { rejected: Some((*first).clone()), partly: None };
    }
    let what: Vec<_> = invalid.iter().map(|(index, fault)| format!("{index} ({})", fault.message)).collect();
    let answer = if kind == RouteKind::Grpc { "UNAVAILABLE" } else { "500" };
    let message = format!("Dropped Rule {}: what they match is answered with {answer}", what.join(", "));
    Verdict { rejected: None, partly: Some(Fault::new("UnsupportedValue", message)) }
}

impl Rule {
    fn fault(&self) -> Option<&Fault> {
        match &self.outcome {
            Outcome::Invalid(fault) => Some(fault),
            Outcome::Valid(_) => None,
        }
    }
}
