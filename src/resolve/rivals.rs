//! HTTPRoutes and GRPCRoutes that meet in a host of a listener: only one of both kinds can have it, and that is the older
//! route's (Gateway API `GRPCRouteSpec.hostnames`). The younger route isn't accepted by that listener, with none of its hosts.
//!
//! Listeners without GRPCRoutes, nearly all of them, pay one look-up for each route. One that has both kinds is judged as
//! a whole when a route comes, goes or changes its hosts: who loses depends on who lost before.

use crate::{
    gateway::Gateways,
    isolation::{ListenerSurface, ParentKey, Surface},
    kind::{RouteHead, RouteKey, RouteKind},
    namespace::Labels,
    parent::{listeners, parent},
    route::Routes,
    status::Fault,
};
use engine::{Engine, Table, View};
use model::{Hostname, ListenerKey};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// The tables of rivals.
#[derive(Clone, Copy)]
pub(crate) struct Rivals {
    /// The listeners that GRPCRoutes claim hosts of.
    contested: Table<ListenerKey, ()>,
    /// By route: where an older route of the other kind has one of its hosts.
    lost: Table<RouteKey, Lost>,
}

/// A route that would attach to a listener.
#[derive(Clone, Debug, PartialEq)]
struct Claim {
    /// No rule of it is valid: what it matches is closed, unless somebody else has the host.
    rejected: bool,
    created: i64,
    route: RouteKey,
    /// In which it meets the listener.
    hosts: Vec<Hostname>,
}

/// A listener that doesn't take a route, and why.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Lost {
    listener: ListenerKey,
    fault: Fault,
}

pub(crate) fn declare(engine: &mut Engine, gateways: &Gateways, routes: &Routes, labels: Labels) -> Rivals {
    let (surfaces, verdicts) = (gateways.surfaces, routes.verdicts);
    let claims = move |view: &View, key: &RouteKey, head: &Arc<RouteHead>| {
        let rejected = view.get(&verdicts, key).is_some_and(|verdict| verdict.rejected.is_some());
        claims(view, key, (head, rejected), surfaces, labels)
    };
    let grpc = engine.derive("claims of gRPC routes", &routes.grpc_heads, move |view, key, rows| {
        rows.iter().flat_map(|head| claims(view, key, head)).collect()
    });
    let contested = engine.derive("contested listeners", &grpc, |_, key, _| vec![(key.clone(), ())]);
    let any = engine.derive("any gRPC route", &routes.grpc_heads, |_, _, _| vec![(true, ())]);
    let http = engine.derive("claims of HTTP routes", &routes.http_heads, move |view, key, rows| {
        if !view.contains(&any, &true) {
            return Vec::new();
        }
        let all = rows.iter().flat_map(|head| claims(view, key, head));
        all.filter(|(listener, _)| view.contains(&contested, listener)).collect()
    });
    let lost = engine.derive("lost hosts", &grpc, move |view, key, rows| {
        let of_http = view.rows(&http, key);
        losers(key, rows.iter().chain(of_http.iter()))
    });
    Rivals { contested, lost }
}

impl Rivals {
    /// The listeners that take a route in spite of older ones of the other kind, or why none does.
    pub(crate) fn without<'a>(
        self,
        view: &View,
        route: &RouteKey,
        listeners: Vec<&'a ListenerSurface>,
    ) -> Result<Vec<&'a ListenerSurface>, Fault> {
        let is_contested = |listener: &&ListenerSurface| view.contains(&self.contested, &listener.key);
        if !route.kind.is_http() || !listeners.iter().any(is_contested) {
            return Ok(listeners);
        }
        let lost = view.rows(&self.lost, route);
        let of = |listener: &ListenerSurface| lost.iter().find(|lost| lost.listener == listener.key);
        let first = listeners.iter().find_map(|listener| of(listener)).map(|lost| lost.fault.clone());
        let left: Vec<_> = listeners.into_iter().filter(|listener| of(listener).is_none()).collect();
        match first {
            Some(fault) if left.is_empty() => Err(fault),
            _ => Ok(left),
        }
    }
}

fn claims(
    view: &View,
    route: &RouteKey,
    (head, rejected): (&RouteHead, bool),
    surfaces: Table<ParentKey, Surface>,
    labels: Labels,
) -> Vec<(ListenerKey, Claim)> {
    let mut claims = BTreeMap::new();
    for reference in &head.parents {
        let Some((parent, surface)) = parent(view, route, reference, surfaces) else { continue };
        let taken = listeners(view, route, (reference, &parent), &surface, &head.hostnames, labels);
        for listener in taken.unwrap_or_default() {
            let hosts = head.hostnames.iter().filter_map(|hostname| listener.hostname.intersect(hostname)).collect();
            let claim = Claim { rejected, created: head.created, route: route.clone(), hosts };
            claims.insert(listener.key.clone(), claim);
        }
    }
    claims.into_iter().collect()
}

/// Who of all that claim hosts of a listener comes too late: the oldest first, each against those before that came in.
fn losers<'a>(listener: &ListenerKey, claims: impl Iterator<Item = &'a Arc<Claim>>) -> Vec<(RouteKey, Lost)> {
    let mut claims: Vec<_> = claims.collect();
    claims.sort_by_cached_key(|claim| claim.rank());
    let (mut of_http, mut of_grpc, mut lost) = (Taken::default(), Taken::default(), Vec::new());
    for claim in claims {
        let (own, other) = match claim.route.kind {
            RouteKind::Grpc => (&mut of_grpc, &of_http),
            _ => (&mut of_http, &of_grpc),
        };
        match claim.hosts.iter().find_map(|host| Some((host, other.owner(host)?))) {
            None => claim.hosts.iter().for_each(|host| own.take(host, &claim.route)),
            Some((host, winner)) => {
                let (kind, object) = (winner.kind.as_str(), &winner.object);
                let what = format!(
                    "spec.hostnames: {kind} {object} comes first and has hosts of {host} on listener {}; HTTPRoutes and \
                     GRPCRoutes share none",
                    listener.name
                );
                let fault = Fault::new("HostnameConflict", what);
                lost.push((claim.route.clone(), Lost { listener: listener.clone(), fault }));
            }
        }
    }
    lost
}

impl Claim {
    /// The first come first.
    fn rank(&self) -> impl Ord + use<> {
        (self.rejected, self.created, self.route.object.clone(), self.route.kind)
    }
}

/// The hosts that routes of a kind have.
#[derive(Default)]
struct Taken<'a> {
    hosts: BTreeMap<Hostname, &'a RouteKey>,
    /// The wildcards above them.
    above: BTreeMap<Hostname, &'a RouteKey>,
}

impl<'a> Taken<'a> {
    fn take(&mut self, host: &Hostname, route: &'a RouteKey) {
        self.hosts.entry(host.clone()).or_insert(route);
        for wildcard in wildcards(host) {
            self.above.entry(wildcard).or_insert(route);
        }
    }

    /// Who has that host, one that covers it, or one that it covers.
    fn owner(&self, host: &Hostname) -> Option<&'a RouteKey> {
        let covers = || wildcards(host).into_iter().find_map(|wildcard| self.hosts.get(&wildcard));
        self.hosts.get(host).or_else(covers).or_else(|| self.above.get(host)).copied()
    }
}

/// All wildcards that cover a host besides itself.
fn wildcards(host: &Hostname) -> BTreeSet<Hostname> {
    let text = host.as_str();
    let name = text.strip_prefix("*.").unwrap_or(text);
    let suffixes = name.match_indices('.').map(|(dot, _)| Hostname::new(Some(&format!("*{}", &name[dot..]))));
    let any = (!host.is_any()).then(|| Hostname::new(None));
    suffixes.chain(any).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::ObjectKey;
    use proptest::prelude::*;

    fn host() -> impl Strategy<Value = Hostname> {
        let hosts = vec!["*", "*.test", "*.a.test", "a.test", "b.a.test", "c.test", "*.b.a.test", "x.b.a.test"];
        prop::sample::select(hosts).prop_map(|host| Hostname::new(Some(host)))
    }

    fn claim() -> impl Strategy<Value = Claim> {
        let kind = prop::sample::select(vec![RouteKind::Http, RouteKind::Grpc]);
        let name = prop::sample::select(vec!["a", "b", "c", "d"]);
        (any::<bool>(), 0..4i64, kind, name, prop::collection::vec(host(), 1..4)).prop_map(
            |(rejected, created, kind, name, hosts)| Claim {
                rejected,
                created,
                route: kind.key(ObjectKey::new("ns", name)),
                hosts,
            },
        )
    }

    proptest! {
        /// Of each pair that meets one is out; and who is out met one that is in, is of the other kind and older.
        #[test]
        fn one_kind_has_a_host(claims in prop::collection::vec(claim(), 0..8)) {
            let claims: BTreeMap<_, _> = claims.into_iter().map(|claim| (claim.route.clone(), Arc::new(claim))).collect();
            let listener = ListenerKey { gateway: ObjectKey::new("ns", "gw"), name: "http".into() };
            let lost: BTreeSet<_> =
                losers(&listener, claims.values()).into_iter().map(|(route, _)| route).collect();
            let meet = |one: &Claim, other: &Claim| {
                one.route.kind != other.route.kind
                    && one.hosts.iter().any(|host| other.hosts.iter().any(|with| host.intersect(with).is_some()))
            };
            for one in claims.values() {
                let mut older = claims.values().filter(|other| meet(one, other) && other.rank() < one.rank());
                prop_assert_eq!(lost.contains(&one.route), older.any(|other| !lost.contains(&other.route)));
            }
        }
    }
}
