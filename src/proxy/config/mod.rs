//! The configuration as the data path reads it: own types, checked, immutable, swapped whole.
//!
//! A [`Config`] is a tree of persistent maps: one that differs in one virtual host among ten thousand shares all the
//! rest with the one before. Workers hold an `Arc` of it and look at one atomic generation to learn of a newer one.
//! Names are resolved per request (`config.table(..)`, `config.cluster(..)`), so that a change of a route, a policy, a
//! cluster or a certificate never touches a listener or a connection.

mod cluster;
mod extension;
mod headers;
mod http;
mod journal;
mod listener;
mod parse;
mod route;
mod secret;
mod shared;
mod store;
mod stream;
mod tables;

pub use cluster::{
    Balance, Cluster, ClusterSpec, Discovery, Endpoint, Endpoints, Health, Http2Limits, Limits, Locality, RetryBudget,
    SubjectName, Upstream, UpstreamTls,
};
pub use extension::{AuthBody, AuthService, Cors, ExtAuthz, HttpAuth, RouteSteps, Session, Step};
pub use headers::{AppendAction, HeaderEdit, HeaderEdits};
pub use http::{
    AccessLog, CertificateDetails, Codec, HttpFilter, HttpManager, LogSink, RoutesFrom, ServerHeader, Underscores,
};
pub use listener::{ChainMatch, FilterChain, Listener, Serves, Tls, TlsVersion, Transport};
pub use route::{
    Action, DirectResponse, Fallback, Forward, HeaderMatch, HeaderRule, HostRewrite, Mirror, PathMatch, PathRewrite,
    QueryMatch, Redirect, RegexRewrite, RetryOn, RetryPolicy, Route, RouteMatch, RouteTable, StringMatch, VirtualHost,
    WeightedCluster,
};
pub use secret::{CertificateSecret, Secret};
pub use shared::Shared;
pub use store::Store;
pub use stream::{PolicySource, ProxySource, StreamChain, TcpProxy, UdpProxy};

pub use parse::{Context, Fault, Parsed, parse};

use std::sync::Arc;

/// A name that many places share.
pub type Name = Arc<str>;

/// A persistent map by name: cloning is free, one insertion copies a path of the tree.
pub type Map<V> = imbl::GenericHashMap<Name, V, rustc_hash::FxBuildHasher, imbl::shared_ptr::DefaultSharedPtr>;

/// Everything that the data path reads.
#[derive(Clone, Default)]
pub struct Config {
    /// Grows with every swap; zero is the empty configuration before the first.
    pub generation: u64,
    /// Listeners for which everything they need has arrived, by name.
    pub listeners: Map<Arc<Listener>>,
    /// Route tables (RDS, with their virtual hosts) by name.
    pub tables: Map<Arc<RouteTable>>,
    /// Clusters with their endpoints, by name.
    pub clusters: Map<Arc<Cluster>>,
    /// Policies and other steps that came as extension resources (ECDS), by name.
    pub extensions: Map<Step>,
    /// Where streams go that came as extension resources (ECDS), by name.
    pub proxies: Map<Arc<TcpProxy>>,
    /// Certificates (SDS), by name.
    pub secrets: Map<Arc<Secret>>,
}

impl Config {
    /// The route table that a connection manager names. Absent only if the control plane removed it under a listener
    /// that still names it; a request is then answered 404, as Envoy does.
    pub fn table<'a>(&'a self, from: &'a RoutesFrom) -> Option<&'a Arc<RouteTable>> {
        match from {
            RoutesFrom::Named(name) => self.tables.get(name),
            RoutesFrom::Inline(table) => Some(table),
        }
    }

    /// The policy that a stream names; none denies (fail closed).
    pub fn policy<'a>(&'a self, from: &'a PolicySource) -> Option<&'a Arc<crate::authz::Rbac>> {
        match from {
            PolicySource::Named(name) => match self.extensions.get(name)? {
                Step::Rbac(rbac) => Some(rbac),
                Step::ExtAuthz(_) | Step::Jwt(_) | Step::Session(_) | Step::Chain(_) => None,
            },
            PolicySource::Inline(rbac) => Some(rbac),
        }
    }

    /// Where the connections of a stream go; none closes them.
    pub fn proxy<'a>(&'a self, from: &'a ProxySource) -> Option<&'a Arc<TcpProxy>> {
        match from {
            ProxySource::Named(name) => self.proxies.get(name),
            ProxySource::Inline(proxy) => Some(proxy),
        }
    }

    /// A cluster by name.
    pub fn cluster(&self, name: &str) -> Option<&Arc<Cluster>> {
        self.clusters.get(name)
    }
}
