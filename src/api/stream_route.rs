//! TCPRoute, TLSRoute and UDPRoute: where connections and datagrams go that nobody looks into. They differ in host names only.

use crate::{BackendObjectReference, ObjectMeta, ParentReference};
use serde::{Deserialize, Serialize};

/// `gateway.networking.k8s.io` TCPRoute.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TcpRoute {
    /// Name, labels, …
    pub metadata: ObjectMeta,
    /// What is wanted.
    pub spec: StreamRouteSpec,
}

/// `gateway.networking.k8s.io` UDPRoute.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UdpRoute {
    /// Name, labels, …
    pub metadata: ObjectMeta,
    /// What is wanted.
    pub spec: StreamRouteSpec,
}

/// `gateway.networking.k8s.io` TLSRoute.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TlsRoute {
    /// Name, labels, …
    pub metadata: ObjectMeta,
    /// What is wanted.
    pub spec: TlsRouteSpec,
}

/// Spec of a [`TcpRoute`] and of a [`UdpRoute`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StreamRouteSpec {
    /// What it attaches to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parent_refs: Vec<ParentReference>,
    /// Exactly one.
    pub rules: Vec<StreamRouteRule>,
}

/// Spec of a [`TlsRoute`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TlsRouteSpec {
    /// What it attaches to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parent_refs: Vec<ParentReference>,
    /// The server names that clients ask for (SNI); 1 to 1024.
    pub hostnames: Vec<String>,
    /// Exactly one.
    pub rules: Vec<StreamRouteRule>,
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StreamRouteRule {
    /// Its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Where it goes; 1 to 16.
    pub backend_refs: Vec<StreamBackendRef>,
}

/// A backend with its weight.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "FlatBackendRef", into = "FlatBackendRef")]
pub struct StreamBackendRef {
    /// Which.
    pub backend: BackendObjectReference,
    /// 0 to 1,000,000: its share of the sum.
    pub weight: u32,
}

/// [`StreamBackendRef`] as it is written. `serde(flatten)` would do the same and lose the path to an error.
#[derive(Serialize, Deserialize)]
struct FlatBackendRef {
    #[serde(default)]
    group: String,
    #[serde(default = "service")]
    kind: String,
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    port: Option<u16>,
    #[serde(default = "one")]
    weight: u32,
}

impl From<FlatBackendRef> for StreamBackendRef {
    fn from(FlatBackendRef { group, kind, name, namespace, port, weight }: FlatBackendRef) -> Self {
        Self { backend: BackendObjectReference { group, kind, name, namespace, port }, weight }
    }
}

impl From<StreamBackendRef> for FlatBackendRef {
    fn from(StreamBackendRef { backend, weight }: StreamBackendRef) -> Self {
        let BackendObjectReference { group, kind, name, namespace, port } = backend;
        Self { group, kind, name, namespace, port, weight }
    }
}

fn service() -> String {
    "Service".into()
}

const fn one() -> u32 {
    1
}
