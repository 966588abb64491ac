//! Clusters: what a route forwards to, and the endpoints behind it.

use crate::{CertificateKey, TrustKey};
use std::{net::IpAddr, sync::Arc, time::Duration};

/// What a backend speaks, from the Service port's `appProtocol` (GEP-1911).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AppProtocol {
    /// HTTP/1.1, also WebSocket (`kubernetes.io/ws`).
    Http1,
    /// HTTP/2 with prior knowledge, without TLS (`kubernetes.io/h2c`).
    H2c,
    /// Anything that isn't HTTP: bytes are passed on.
    Opaque,
}

/// Where a cluster's addresses come from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Discovery {
    /// From EndpointSlices, by EDS under the cluster's own name.
    Endpoints,
    /// From DNS: a Service of type ExternalName, or a host outside of the cluster.
    Dns {
        /// The name to resolve.
        host: Arc<str>,
        /// The port to connect to.
        port: u16,
    },
}

/// A name in a certificate.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SubjectName {
    /// A DNS name.
    Dns(Arc<str>),
    /// A URI.
    Uri(Arc<str>),
}

/// How TLS starts towards a backend.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Originate {
    /// The server name that is sent.
    pub server_name: Arc<str>,
    /// The backend's certificate must have one of these; never empty.
    pub names: Vec<SubjectName>,
    /// Who must vouch for it.
    pub trust: TrustKey,
    /// What it gets to see of us.
    pub shown: Shown,
}

/// The certificate that a backend gets to see.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shown {
    /// The Gateway's, if it has one.
    OfGateway,
    /// This one.
    Own(CertificateKey),
    /// None, whatever the Gateway has.
    Nothing,
}

/// What a policy, or the backend itself, says of TLS to it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum BackendTls {
    /// It is spoken.
    Originate(Originate),
    /// That can't be kept: there is no way to the backend.
    Broken,
}

/// How many retries may be under way at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RetryBudget {
    /// Of a hundred requests; 0 to 100.
    pub percent: u8,
    /// The requests that count: those of the last seconds.
    pub interval: Duration,
    /// So many may always be.
    pub least: u32,
}

/// One backend, such as a port of a Service.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cluster {
    /// What it speaks.
    pub protocol: AppProtocol,
    /// Where its addresses come from.
    pub discovery: Discovery,
    /// None is clear text.
    pub tls: Option<BackendTls>,
    /// Whether a connection starts with a PROXY header that says whom it is for.
    pub proxy_protocol: bool,
    /// How many requests may be retries; none is without limit.
    pub retry_budget: Option<RetryBudget>,
}

/// Whether an endpoint may get requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Health {
    /// It is ready.
    Healthy,
    /// It is not ready; used only if the data plane's panic rules say so.
    Unhealthy,
}

/// One address of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint {
    /// The address.
    pub address: IpAddr,
    /// The port.
    pub port: u16,
    /// Whether it may get requests.
    pub health: Health,
    /// The zone it stands in, if known.
    pub zone: Option<Arc<str>>,
}

/// All addresses of a cluster: sorted, without duplicates; may be empty, which answers 503 at once.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Endpoints(pub Vec<Endpoint>);
