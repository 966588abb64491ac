//! Routes of streams: TCPRoutes, TLSRoutes and UDPRoutes, and which of them a stream follows.
//!
//! Several routes may attach to a listener, and to one host of a TLS listener; a connection has nothing that could tell
//! them apart, so the oldest one has it (Gateway API, "Conflicts").

use crate::{
    Inputs,
    gateway::Gateways,
    isolation::own_streams,
    kind::{RouteHead, RouteKey, RouteKind, created},
    parent::Parents,
    route::{
        Routes,
        backend::{Backends, Resolver},
    },
    status::Fault,
};
use api::{ObjectMeta, StreamRouteRule};
use engine::{Engine, Table, View};
use model::{ObjectKey, Protocol, Stream, StreamBackend, StreamKey};
use std::{collections::BTreeSet, sync::Arc};

/// The tables of routes of streams.
#[derive(Clone, Copy)]
pub(crate) struct StreamRoutes {
    /// As attachment sees them.
    heads: Table<RouteKey, RouteHead>,
    /// The first reference that leads nowhere; no row if all lead somewhere.
    refs: Table<RouteKey, Fault>,
    /// The XBackends that routes refer to.
    xbackends: Table<RouteKey, ObjectKey>,
    routed: Table<RouteKey, Routed>,
}

impl StreamRoutes {
    /// What all routes have, with those of HTTP and gRPC.
    pub(crate) fn beside(&self, engine: &mut Engine, routes: Routes) -> Routes {
        let heads = engine.union("all route heads", &[routes.heads, self.heads]);
        let refs = engine.union("all reference faults", &[routes.refs, self.refs]);
        let xbackends = engine.union("all xbackends of routes", &[routes.xbackends, self.xbackends]);
        Routes { heads, refs, xbackends, ..routes }
    }
}

/// The tables of streams.
#[derive(Clone, Copy)]
pub(crate) struct Streams {
    /// One row each.
    pub(crate) streams: Table<StreamKey, Stream>,
    /// Which Gateway's streams name which cluster.
    pub(crate) gateway_clusters: Table<(ObjectKey, Arc<str>), ()>,
}

/// A route with its references followed.
#[derive(Clone, Debug, Default, PartialEq)]
struct Routed {
    created: i64,
    stream: Stream,
    /// The XBackends that it refers to and may.
    xbackends: BTreeSet<ObjectKey>,
    refs_fault: Option<Fault>,
}

/// A route that would have a stream; none is a stream that stands without routes.
type Candidate = Option<RouteKey>;

pub(crate) fn declare_routes(engine: &mut Engine, inputs: &Inputs, backends: Backends) -> StreamRoutes {
    let tcp = RouteKind::Tcp;
    let heads = [
        engine.derive("tcp route heads", &inputs.tcp_routes, move |_, key, rows| {
            let head = |route: &api::TcpRoute| RouteHead::new(&route.metadata, &route.spec.parent_refs, &[]);
            rows.iter().map(|route| (tcp.key(key.clone()), head(route))).collect()
        }),
        engine.derive("tls route heads", &inputs.tls_routes, |_, key, rows| {
            let head =
                |route: &api::TlsRoute| RouteHead::new(&route.metadata, &route.spec.parent_refs, &route.spec.hostnames);
            rows.iter().map(|route| (RouteKind::Tls.key(key.clone()), head(route))).collect()
        }),
        engine.derive("udp route heads", &inputs.udp_routes, |_, key, rows| {
            let head = |route: &api::UdpRoute| RouteHead::new(&route.metadata, &route.spec.parent_refs, &[]);
            rows.iter().map(|route| (RouteKind::Udp.key(key.clone()), head(route))).collect()
        }),
    ];
    let routed = [
        engine.derive("tcp routes", &inputs.tcp_routes, move |view, key, rows| {
            let key = RouteKind::Tcp.key(key.clone());
            let routed = |route: &Arc<api::TcpRoute>| routed(view, &key, &route.metadata, &route.spec.rules, backends);
            rows.iter().map(|route| (key.clone(), routed(route))).collect()
        }),
        engine.derive("tls routes", &inputs.tls_routes, move |view, key, rows| {
            let key = RouteKind::Tls.key(key.clone());
            let routed = |route: &Arc<api::TlsRoute>| routed(view, &key, &route.metadata, &route.spec.rules, backends);
            rows.iter().map(|route| (key.clone(), routed(route))).collect()
        }),
        engine.derive("udp routes", &inputs.udp_routes, move |view, key, rows| {
            let key = RouteKind::Udp.key(key.clone());
            let routed = |route: &Arc<api::UdpRoute>| routed(view, &key, &route.metadata, &route.spec.rules, backends);
            rows.iter().map(|route| (key.clone(), routed(route))).collect()
        }),
    ];
    let routed = engine.union("stream routes", &routed);
    let refs = engine.derive("stream reference faults", &routed, |_, key, rows| {
        rows.iter().filter_map(|routed| Some((key.clone(), routed.refs_fault.clone()?))).collect()
    });
    let xbackends = engine.derive("xbackends of stream routes", &routed, |_, key, rows| {
        rows.iter().flat_map(|routed| routed.xbackends.iter().map(|named| (key.clone(), named.clone()))).collect()
    });
    StreamRoutes { heads: engine.union("stream route heads", &heads), refs, xbackends, routed }
}

fn routed(
    view: &View,
    route: &RouteKey,
    metadata: &ObjectMeta,
    rules: &[StreamRouteRule],
    backends: Backends,
) -> Routed {
    let resolver = Resolver { view, route, backends };
    let mut routed = Routed { created: created(metadata), stream: Stream::default(), ..Routed::default() };
    let backends = rules.iter().enumerate().flat_map(|(rule, written)| {
        written.backend_refs.iter().enumerate().map(move |(index, backend)| (rule, index, backend))
    });
    for (rule, index, backend) in backends {
        routed.xbackends.extend(resolver.xbackend_named(&backend.backend));
        // One without weight is followed too: a reference that leads nowhere is said so.
        let cluster = resolver.cluster(&backend.backend).map_err(|(reason, why)| {
            let place = format!("spec.rules[{rule}].backendRefs[{index}]");
            routed.refs_fault.get_or_insert_with(|| Fault::new(reason, format!("{place}: {why}")));
        });
        if backend.weight > 0 {
            routed.stream.backends.push(StreamBackend { cluster: cluster.ok(), weight: backend.weight });
        }
    }
    routed
}

pub(crate) fn declare(engine: &mut Engine, gateways: &Gateways, parents: &Parents, routes: &StreamRoutes) -> Streams {
    let routed = routes.routed;
    let standing = engine.derive("standing streams", &gateways.shapes, |_, key, rows| {
        let streams = rows.iter().flat_map(|shape| own_streams(key, shape));
        streams.map(|stream| (stream, Candidate::None)).collect()
    });
    let of_routes = engine.derive("stream candidates", &parents.parents, |_, key, rows| {
        let streams = rows.iter().flat_map(|attachment| &attachment.streams);
        streams.map(|stream| (stream.clone(), Candidate::Some(key.clone()))).collect()
    });
    let candidates = engine.union("all stream candidates", &[standing, of_routes]);
    let streams = engine.derive("streams", &candidates, move |view, key, rows| {
        let routes = rows.iter().filter_map(|candidate| candidate.as_ref().as_ref());
        let routes = routes.filter_map(|route| Some((view.get(&routed, route)?, route)));
        let oldest = routes.min_by(|(a, one), (b, other)| {
            (a.created, &one.object, one.kind).cmp(&(b.created, &other.object, other.kind))
        });
        vec![(key.clone(), oldest.map(|(routed, _)| routed.stream.clone()).unwrap_or_default())]
    });
    let gateway_clusters = engine.derive("stream clusters", &streams, |_, key, rows| {
        // Sessions of datagrams have a cluster by listener.
        let streams = rows.iter().filter(|_| key.protocol != Protocol::Udp);
        let clusters: BTreeSet<_> =
            streams.flat_map(|stream| &stream.backends).filter_map(|backend| backend.cluster.clone()).collect();
        clusters.into_iter().map(|cluster| ((key.listener.gateway.clone(), cluster), ())).collect()
    });
    Streams { streams, gateway_clusters }
}
