//! Kinds of routes: all attach in the same way; here is what differs.

use api::{GATEWAY_GROUP, ParentReference};
use model::{Hostname, ObjectKey, Protocol};

/// A kind of route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum RouteKind {
    Http,
    Grpc,
    Tcp,
    Tls,
    Udp,
}

/// A route of any kind.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct RouteKey {
    pub(crate) kind: RouteKind,
    pub(crate) object: ObjectKey,
}

/// A route as attachment sees it, whatever its kind.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RouteHead {
    pub(crate) generation: i64,
    pub(crate) created: i64,
    pub(crate) parents: Vec<ParentReference>,
    /// Never empty: a route that names none is for every host.
    pub(crate) hostnames: Vec<Hostname>,
}

impl RouteKind {
    const ALL: [Self; 5] = [Self::Http, Self::Grpc, Self::Tcp, Self::Tls, Self::Udp];

    /// As YAML spells it.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "HTTPRoute",
            Self::Grpc => "GRPCRoute",
            Self::Tcp => "TCPRoute",
            Self::Tls => "TLSRoute",
            Self::Udp => "UDPRoute",
        }
    }

    /// The kind that an object names.
    pub(crate) fn find(group: &str, kind: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| group == GATEWAY_GROUP && kind == known.as_str())
    }

    /// The kinds that a listener of such a protocol takes if it names none.
    pub(crate) const fn of(protocol: Protocol) -> &'static [Self] {
        match protocol {
            Protocol::Http | Protocol::Https => &[Self::Http, Self::Grpc],
            Protocol::Tls => &[Self::Tls],
            Protocol::Tcp => &[Self::Tcp],
            Protocol::Udp => &[Self::Udp],
        }
    }

    /// The kinds that such a listener may name. What is left of TLS that ends here is TCP: a TCPRoute has to be named,
    /// since it takes every host of the listener.
    pub(crate) const fn fitting(protocol: Protocol, is_passthrough: bool) -> &'static [Self] {
        match (protocol, is_passthrough) {
            (Protocol::Tls, false) => &[Self::Tls, Self::Tcp],
            (protocol, _) => Self::of(protocol),
        }
    }

    /// Whether what it routes are requests, those of gRPC included.
    pub(crate) const fn is_http(self) -> bool {
        matches!(self, Self::Http | Self::Grpc)
    }

    pub(crate) const fn key(self, object: ObjectKey) -> RouteKey {
        RouteKey { kind: self, object }
    }
}

/// When an object was made, in seconds since 1970. Without a time (a directory of YAML) it counts as the newest.
pub(crate) fn created(metadata: &api::ObjectMeta) -> i64 {
    metadata.creation_timestamp.as_ref().map_or(i64::MAX, |time| time.0.as_second())
}

impl RouteHead {
    pub(crate) fn new(metadata: &api::ObjectMeta, parents: &[ParentReference], hostnames: &[String]) -> Self {
        let hostnames = match hostnames {
            [] => vec![Hostname::new(None)],
            some => some.iter().map(|hostname| Hostname::new(Some(hostname))).collect(),
        };
        let (generation, created) = (metadata.generation.unwrap_or_default(), created(metadata));
        Self { generation, created, parents: parents.to_vec(), hostnames }
    }
}
