//! Clusters that are spoken to in HTTP/2 although the Service's port doesn't say so: callers of gRPC know that it is. Such a
//! cluster stands beside the port's own, and only where a route wants it.

use engine::{Engine, Table, View};
use model::{AppProtocol, Cluster, Endpoints};
use std::sync::Arc;

/// The cluster that is spoken to in HTTP/2 whatever `protocol` says of that one: itself, or the one beside it.
pub(crate) fn name(cluster: &Arc<str>, protocol: Option<AppProtocol>) -> Arc<str> {
    match protocol {
        Some(AppProtocol::H2c) => cluster.clone(),
        _ => cluster.replacen("||", "|http2|", 1).into(),
    }
}

/// The name of the cluster beside which that one stands.
fn beside(name: &str) -> Arc<str> {
    name.replacen("|http2|", "||", 1).into()
}

/// All clusters: those that stand for what is written, and those that are `wanted`.
pub(crate) fn clusters(
    engine: &mut Engine,
    written: &[Table<Arc<str>, Cluster>],
    wanted: Table<Arc<str>, ()>,
) -> Table<Arc<str>, Cluster> {
    let written = engine.union("clusters as written", written);
    let http2 = engine.derive("HTTP/2 clusters", &wanted, move |view: &View, name, _| {
        let cluster = view.get(&written, &beside(name));
        let in_http2 = |cluster: &Cluster| Cluster { protocol: AppProtocol::H2c, ..cluster.clone() };
        cluster.map(|cluster| (name.clone(), in_http2(&cluster))).into_iter().collect()
    });
    engine.union("all clusters", &[written, http2])
}

/// Their endpoints: the same as beside.
pub(crate) fn endpoints(
    engine: &mut Engine,
    of_ports: Table<Arc<str>, Endpoints>,
    wanted: Table<Arc<str>, ()>,
) -> Table<Arc<str>, Endpoints> {
    let http2 = engine.derive("HTTP/2 endpoints", &wanted, move |view: &View, name, _| {
        let endpoints = view.get(&of_ports, &beside(name));
        endpoints.map(|endpoints| (name.clone(), Endpoints::clone(&endpoints))).into_iter().collect()
    });
    engine.union("all endpoints", &[of_ports, http2])
}
