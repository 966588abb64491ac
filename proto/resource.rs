//! Resources as named, versioned bytes.

use bytes::Bytes;
use prost::Message;
use std::{fmt, sync::Arc};

/// The types that we serve and consume, in the order of make before break (CDS, EDS, SDS, LDS, ECDS, RDS, VHDS).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TypeUrl {
    /// `envoy.config.cluster.v3.Cluster`
    Cluster,
    /// `envoy.config.endpoint.v3.ClusterLoadAssignment`
    Endpoints,
    /// `envoy.extensions.transport_sockets.tls.v3.Secret`
    Secret,
    /// `envoy.config.listener.v3.Listener`
    Listener,
    /// `envoy.config.core.v3.TypedExtensionConfig`
    Extension,
    /// `envoy.config.route.v3.RouteConfiguration`; as a [`Resource`] its shell, see [`assemble`](crate::assemble)
    Route,
    /// `envoy.config.route.v3.VirtualHost`, named `<route configuration>/<host>`
    VirtualHost,
}

impl TypeUrl {
    /// All of them, in order.
    pub const ALL: [TypeUrl; 7] = [
        TypeUrl::Cluster,
        TypeUrl::Endpoints,
        TypeUrl::Secret,
        TypeUrl::Listener,
        TypeUrl::Extension,
        TypeUrl::Route,
        TypeUrl::VirtualHost,
    ];

    /// As it stands in requests: `type.googleapis.com/…`.
    pub const fn as_str(self) -> &'static str {
        match self {
            TypeUrl::Cluster => "type.googleapis.com/envoy.config.cluster.v3.Cluster",
            TypeUrl::Endpoints => "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
            TypeUrl::Secret => "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret",
            TypeUrl::Listener => "type.googleapis.com/envoy.config.listener.v3.Listener",
            TypeUrl::Extension => "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig",
            TypeUrl::Route => "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
            TypeUrl::VirtualHost => "type.googleapis.com/envoy.config.route.v3.VirtualHost",
        }
    }

    /// The type of that URL, if it is one of ours.
    pub fn parse(url: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|url_type| url_type.as_str() == url)
    }
}

impl fmt::Display for TypeUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Who gets a resource: `gateway/<ns>/<name>`. Everything in a scope is the same for all clients of the scope.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Scope(pub Arc<str>);

impl Scope {
    /// The scope of one Gateway's proxies.
    pub fn gateway(namespace: &str, name: &str) -> Self {
        Self(format!("gateway/{namespace}/{name}").into())
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Which resource of which scope.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResourceKey {
    /// Who gets it.
    pub scope: Scope,
    /// Its type.
    pub type_url: TypeUrl,
    /// Its name, unique within scope and type.
    pub name: Arc<str>,
}

/// One resource, encoded. Cloning shares the bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Resource {
    /// Hash of the bytes (XXH3): equal bytes have equal versions, on every replica and after every restart.
    pub version: u64,
    /// The message, without the `Any` around it.
    pub body: Bytes,
}

impl Resource {
    /// Encodes a message. The message must not hold maps with more than one entry: their order isn't defined.
    pub fn encode(message: &impl Message) -> Self {
        Self::from_bytes(message.encode_to_vec().into())
    }

    /// A resource of bytes that are already encoded.
    pub fn from_bytes(body: Bytes) -> Self {
        Self { version: xxhash_rust::xxh3::xxh3_64(&body), body }
    }

    /// The version as it stands on the wire: 16 hexadecimal digits.
    pub fn version_text(&self) -> String {
        format!("{:016x}", self.version)
    }
}

impl fmt::Debug for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Resource({:016x}, {} bytes)", self.version, self.body.len())
    }
}
