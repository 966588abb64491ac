//! Streams: what serves connections and datagrams that nobody looks into.

use super::{AccessLog, Name};
use crate::authz::Rbac;
use std::{sync::Arc, time::Duration};

/// What serves the connections of a filter chain without HTTP.
#[derive(Clone, Debug)]
pub struct StreamChain {
    /// All of them must let a connection pass.
    pub policies: Box<[PolicySource]>,
    /// Where it goes.
    pub proxy: ProxySource,
}

/// Where a policy comes from.
#[derive(Clone, Debug)]
pub enum PolicySource {
    /// By ECDS.
    Named(Name),
    /// Written in the listener.
    Inline(Arc<Rbac>),
}

impl PolicySource {
    /// Its name, if it has one.
    pub fn name(&self) -> &str {
        match self {
            Self::Named(name) => name,
            Self::Inline(_) => "inline",
        }
    }
}

/// Where the word on where connections go comes from.
#[derive(Clone, Debug)]
pub enum ProxySource {
    /// By ECDS.
    Named(Name),
    /// Written in the listener.
    Inline(Arc<TcpProxy>),
}

/// Where connections go.
#[derive(Clone, Debug)]
pub struct TcpProxy {
    /// Clusters by weight; never empty.
    pub clusters: Box<[(Name, u32)]>,
    /// A connection on which nothing moves is closed.
    pub idle_timeout: Option<Duration>,
    /// How often an endpoint is tried.
    pub connect_attempts: u32,
    /// Told of each connection that has ended.
    pub access_logs: Box<[AccessLog]>,
}

/// Where datagrams go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UdpProxy {
    /// The cluster.
    pub cluster: Name,
    /// A session on which nothing moves is forgotten.
    pub idle_timeout: Duration,
}

impl TcpProxy {
    /// The cluster for a uniformly drawn number.
    pub fn pick(&self, random: u64) -> &Name {
        let total: u64 = self.clusters.iter().map(|(_, weight)| u64::from(*weight)).sum();
        let mut rest = random % total.max(1);
        for (cluster, weight) in &self.clusters {
            match rest.checked_sub(u64::from(*weight)) {
                None => return cluster,
                Some(left) => rest = left,
            }
        }
        // Not reached: the weights add up to the total.
        &self.clusters[0].0
    }
}
