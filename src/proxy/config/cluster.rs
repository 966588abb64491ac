//! Clusters and their endpoints.

use super::{Name, TlsVersion};
use crate::upstream::Retries;
use std::{fmt, net::SocketAddr, sync::Arc, time::Duration};

/// Where the addresses come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Discovery {
    /// From EDS, or written in the cluster; they stand in [`Cluster::endpoints`].
    Endpoints,
    /// From DNS, asked by the data path: every address of the name (STRICT_DNS) or the first (LOGICAL_DNS).
    Dns {
        /// The names with their ports.
        hosts: Box<[(Name, u16)]>,
        /// How often to ask.
        refresh: Duration,
        /// All addresses, or the first only.
        all: bool,
    },
}

/// How an endpoint is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Balance {
    /// In turn, by weight.
    RoundRobin,
    /// The one with the fewest active requests among this many drawn.
    LeastRequest {
        /// At least two.
        choices: u32,
    },
    /// Any, by weight.
    Random,
}

/// What the backend speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upstream {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2 with prior knowledge (or ALPN, behind TLS).
    Http2,
    /// What the client spoke.
    SameAsDownstream,
}

/// HTTP/2 towards a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Http2Limits {
    /// Streams that we open on one connection.
    pub max_concurrent_streams: u32,
    /// Window of a stream, bytes.
    pub initial_stream_window: u32,
    /// Window of a connection, bytes.
    pub initial_connection_window: u32,
}

/// Circuit breakers (`DEFAULT` priority), for the whole proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Open connections.
    pub max_connections: u32,
    /// Requests that wait for a connection.
    pub max_pending_requests: u32,
    /// Requests under way.
    pub max_requests: u32,
    /// Retries under way.
    pub max_retries: u32,
    /// How many requests may be retries, in place of that number.
    pub retry_budget: Option<RetryBudget>,
}

/// How many retries may be under way, in relation to requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryBudget {
    /// Of a million requests.
    pub per_million: u32,
    /// The requests that count are those that began in the last so many seconds; zero: those that are under way.
    pub interval: Duration,
    /// So many may always be.
    pub least: u32,
}

/// A name in a certificate.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum SubjectName {
    /// A host, lower case.
    Dns(Name),
    /// A URI, such as a SPIFFE id.
    Uri(Name),
}

impl SubjectName {
    /// Whether a name of a certificate is this one. A wildcard of a certificate stands for one label.
    pub fn is_met_by(&self, seen: &SubjectName) -> bool {
        match (self, seen) {
            (Self::Dns(wanted), Self::Dns(seen)) => {
                let under = |suffix: &str| wanted.split_once('.').is_some_and(|(_, rest)| rest == suffix);
                wanted == seen || seen.strip_prefix("*.").is_some_and(under)
            }
            (Self::Uri(wanted), Self::Uri(seen)) => wanted == seen,
            _ => false,
        }
    }
}

impl fmt::Display for SubjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(name) => write!(f, "DNS name {name:?}"),
            Self::Uri(name) => write!(f, "URI {name:?}"),
        }
    }
}

/// TLS towards a backend.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct UpstreamTls {
    /// The server name to send.
    pub sni: Option<Name>,
    /// SDS name of the roots.
    pub roots: Name,
    /// SDS name of the certificate to present.
    pub certificate: Option<Name>,
    /// One of these must be in the backend's certificate; none asks for no name.
    pub names: Box<[SubjectName]>,
    /// In order.
    pub alpn: Box<[Box<[u8]>]>,
    /// The lowest version.
    pub min: TlsVersion,
    /// The highest version.
    pub max: TlsVersion,
}

impl UpstreamTls {
    /// The SDS names of what it needs.
    pub fn secrets(&self) -> impl Iterator<Item = &Name> {
        self.certificate.iter().chain([&self.roots])
    }
}

/// A cluster without its endpoints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterSpec {
    /// Its name.
    pub name: Name,
    /// Where the addresses come from.
    pub discovery: Discovery,
    /// The name of its ClusterLoadAssignment, if it comes by EDS.
    pub eds: Option<Name>,
    /// How an endpoint is chosen.
    pub balance: Balance,
    /// Percent of healthy endpoints below which all of them are used; 0 never does.
    pub panic_threshold: u8,
    /// What the backend speaks.
    pub upstream: Upstream,
    /// HTTP/2.
    pub http2: Http2Limits,
    /// TLS.
    pub tls: Option<UpstreamTls>,
    /// Whether a connection starts with a PROXY header.
    pub proxy_protocol: bool,
    /// Time to connect.
    pub connect_timeout: Duration,
    /// An idle pooled connection is closed after this; none keeps it.
    pub idle_timeout: Option<Duration>,
    /// A connection is closed after this age.
    pub max_connection_duration: Option<Duration>,
    /// A connection is closed after this many requests; 0 is without limit.
    pub max_requests_per_connection: u32,
    /// Circuit breakers.
    pub limits: Limits,
}

/// Whether an endpoint may get requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// Yes.
    Healthy,
    /// Only in panic.
    Unhealthy,
    /// No new requests; those under way go on.
    Draining,
}

/// Where endpoints stand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Locality {
    /// Region, zone, sub-zone.
    pub parts: [Name; 3],
}

/// One address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Where.
    pub address: SocketAddr,
    /// Whether it may get requests.
    pub health: Health,
    /// Its share, above zero.
    pub weight: u32,
    /// Zero first; others only if all before are unavailable.
    pub priority: u32,
    /// The share of its locality; none counts endpoints only.
    pub locality_weight: Option<u32>,
    /// Where it stands.
    pub locality: Option<Arc<Locality>>,
}

/// The endpoints of a cluster, sorted by priority.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Endpoints {
    /// May be empty: 503 at once.
    pub list: Box<[Endpoint]>,
}

/// A cluster with its endpoints. The two parts are shared separately: new endpoints leave the specification alone.
#[derive(Clone, Debug)]
pub struct Cluster {
    /// What it is.
    pub spec: Arc<ClusterSpec>,
    /// Where it is. Compare by pointer to learn of a change.
    pub endpoints: Arc<Endpoints>,
    /// Its retries, if it has a budget of them.
    pub retries: Option<Arc<Retries>>,
}
