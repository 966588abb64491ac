//! Virtual hosts: the rules of all routes that meet in a host, in the order of precedence.
//!
//! The most specific host that a request matches decides alone: what its rules don't match is answered with 404 and not
//! looked for in wider hosts (Gateway API `HTTPRouteSpec.hostnames` speaks of precedence; Envoy's virtual hosts, and
//! every controller on top of them, decide like this).

use crate::{
    gateway::Gateways,
    isolation::{misdirected, own},
    parent::{Attachment, Parents},
    precedence,
    route::Routes,
};
use engine::{Engine, Table};
use model::{Action, HeaderEdits, Match, ObjectKey, PathMatch, Route, RouteOrder, Steps, VirtualHost, VirtualHostKey};
use std::{collections::BTreeSet, sync::Arc};

/// The tables of virtual hosts.
#[derive(Clone, Copy)]
pub(crate) struct Hosts {
    /// One row each.
    pub(crate) virtual_hosts: Table<VirtualHostKey, VirtualHost>,
    /// Which Gateway's routes name which cluster.
    pub(crate) gateway_clusters: Table<(ObjectKey, Arc<str>), ()>,
}

/// What one route adds to a host; a host that stands without routes has one that is empty.
#[derive(Clone, Debug, Default, PartialEq)]
struct Fragment(Vec<Arc<Route>>);

pub(crate) fn declare(engine: &mut Engine, gateways: &Gateways, parents: &Parents, routes: &Routes) -> Hosts {
    let routed = routes.routed;
    let standing = engine.derive("standing hosts", &gateways.shapes, |_, key, rows| {
        let own = rows.iter().flat_map(|shape| own(key, shape)).map(|host| (host, Fragment::default()));
        let misdirected = rows.iter().flat_map(|shape| misdirected(key, shape));
        own.chain(misdirected.map(|host| (host, Fragment(vec![Arc::new(refusal(key))])))).collect()
    });
    let of_routes = engine.derive("fragments", &parents.parents, move |view, key, rows| {
        let Some(routed) = view.get(&routed, key) else { return Vec::new() };
        let hosts = rows.iter().flat_map(|attachment| &attachment.hosts);
        let fragment = |host: &VirtualHostKey| {
            Fragment(routed.routes.iter().map(|route| route.on(host.https.is_some(), host.port)).collect())
        };
        hosts.map(|host| (host.clone(), fragment(host))).collect()
    });
    let fragments = engine.union("all fragments", &[standing, of_routes]);
    let virtual_hosts = engine.derive("virtual hosts", &fragments, |_, key, rows| {
        let routes = rows.iter().flat_map(|fragment| fragment.0.iter().cloned()).collect();
        vec![(key.clone(), precedence::sort(routes))]
    });
    let gateway_clusters = engine.derive("gateway clusters", &parents.parents, move |view, key, rows| {
        let Some(routed) = view.get(&routed, key) else { return Vec::new() };
        let gateways: BTreeSet<_> = rows.iter().flat_map(gateways_of).collect();
        let clusters = |gateway: &ObjectKey| {
            let gateway = gateway.clone();
            routed.clusters.iter().map(move |cluster| ((gateway.clone(), cluster.clone()), ()))
        };
        gateways.into_iter().flat_map(clusters).collect()
    });
    Hosts { virtual_hosts, gateway_clusters }
}

fn gateways_of(attachment: &Arc<Attachment>) -> impl Iterator<Item = &ObjectKey> {
    attachment.hosts.iter().map(|host| &host.gateway)
}

/// 421 to everything: the host is another listener's.
fn refusal(gateway: &ObjectKey) -> Route {
    Route {
        order: RouteOrder { created: i64::MAX, object: gateway.clone(), grpc: false, rule: 0, matched: 0 },
        rule_name: Some("misdirected".into()),
        matches: Match { path: PathMatch::Prefix("/".into()), method: None, headers: Vec::new(), query: Vec::new() },
        request_headers: HeaderEdits::default(),
        response_headers: HeaderEdits::default(),
        mirrors: Vec::new(),
        steps: Steps::default(),
        action: Action::Respond { status: 421 },
    }
}
