//! An object of any of our kinds.

use crate::{
    AuthorizationPolicy, BackendTlsPolicy, ConfigMap, EndpointSlice, Gateway, GatewayClass, GrpcRoute, HttpRoute,
    ListenerSet, Namespace, ObjectMeta, ReferenceGrant, RequestAuthentication, Secret, Service, TcpRoute, TlsRoute,
    UdpRoute, XBackend, XBackendTrafficPolicy,
};
use serde::{Deserialize, Serialize};
use std::{
    fmt,
    sync::{Arc, LazyLock},
};

/// Kind, namespace and name. The namespace is empty for cluster-scoped kinds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ObjectId {
    /// Kind, as YAML spells it.
    pub kind: Arc<str>,
    /// Namespace.
    pub namespace: Arc<str>,
    /// Name.
    pub name: Arc<str>,
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.namespace {
            "" => write!(f, "{} {}", self.kind, self.name),
            namespace => write!(f, "{} {namespace}/{}", self.kind, self.name),
        }
    }
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident = $name:literal, $group:literal, $versions:expr, $namespaced:literal;)*) => {
        /// A kind that we know.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Kind { $($(#[$doc])* $kind,)* }

        /// An object of a kind that we know. Cloning shares it.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Object { $($(#[$doc])* $kind(Arc<$kind>),)* }

        impl Kind {
            /// All of them.
            pub const ALL: &'static [Kind] = &[$(Kind::$kind,)*];

            /// As YAML spells it.
            pub const fn as_str(self) -> &'static str {
                match self { $(Kind::$kind => $name,)* }
            }

            /// API group; empty is the core group.
            pub const fn group(self) -> &'static str {
                match self { $(Kind::$kind => $group,)* }
            }

            /// Versions of the group that we read; the first is the one that we write.
            pub const fn versions(self) -> &'static [&'static str] {
                match self { $(Kind::$kind => &$versions,)* }
            }

            /// Whether its objects belong to a namespace.
            pub const fn is_namespaced(self) -> bool {
                match self { $(Kind::$kind => $namespaced,)* }
            }
        }

        impl Object {
            /// Its kind.
            pub fn kind(&self) -> Kind {
                match self { $(Object::$kind(_) => Kind::$kind,)* }
            }

            /// Its metadata.
            pub fn metadata(&self) -> &ObjectMeta {
                match self { $(Object::$kind(object) => &object.metadata,)* }
            }

            /// The same object with other metadata; copies it only if it is shared.
            pub fn metadata_mut(&mut self) -> &mut ObjectMeta {
                match self { $(Object::$kind(object) => &mut Arc::make_mut(object).metadata,)* }
            }

            /// As JSON, without `apiVersion` and `kind` for kinds whose types don't carry them.
            fn to_bare_json(&self) -> Result<serde_json::Value, serde_json::Error> {
                match self { $(Object::$kind(object) => serde_json::to_value(&**object),)* }
            }

            /// Reads an object of a kind from JSON. The caller sees path and ignored fields through the deserializer.
            pub(crate) fn deserialize<'de, D: serde::Deserializer<'de>>(kind: Kind, from: D) -> Result<Self, D::Error> {
                match kind { $(Kind::$kind => <$kind>::deserialize(from).map(|object| Object::$kind(Arc::new(object))),)* }
            }
        }

        $(
            impl From<$kind> for Object {
                fn from(object: $kind) -> Self { Object::$kind(Arc::new(object)) }
            }
        )*
    };
}

kinds! {
    /// A namespace.
    Namespace = "Namespace", "", ["v1"], false;
    /// A GatewayClass.
    GatewayClass = "GatewayClass", "gateway.networking.k8s.io", ["v1", "v1beta1"], false;
    /// A Gateway.
    Gateway = "Gateway", "gateway.networking.k8s.io", ["v1", "v1beta1"], true;
    /// A ListenerSet.
    ListenerSet = "ListenerSet", "gateway.networking.k8s.io", ["v1"], true;
    /// A HTTPRoute.
    HttpRoute = "HTTPRoute", "gateway.networking.k8s.io", ["v1", "v1beta1"], true;
    /// A GRPCRoute.
    GrpcRoute = "GRPCRoute", "gateway.networking.k8s.io", ["v1"], true;
    /// A TCPRoute.
    TcpRoute = "TCPRoute", "gateway.networking.k8s.io", ["v1", "v1alpha2"], true;
    /// A TLSRoute.
    TlsRoute = "TLSRoute", "gateway.networking.k8s.io", ["v1", "v1alpha3", "v1alpha2"], true;
    /// A UDPRoute.
    UdpRoute = "UDPRoute", "gateway.networking.k8s.io", ["v1", "v1alpha2"], true;
    /// A ReferenceGrant.
    ReferenceGrant = "ReferenceGrant", "gateway.networking.k8s.io", ["v1", "v1beta1"], true;
    /// A Service.
    Service = "Service", "", ["v1"], true;
    /// An EndpointSlice.
    EndpointSlice = "EndpointSlice", "discovery.k8s.io", ["v1"], true;
    /// A Secret.
    Secret = "Secret", "", ["v1"], true;
    /// A ConfigMap.
    ConfigMap = "ConfigMap", "", ["v1"], true;
    /// A BackendTLSPolicy.
    BackendTlsPolicy = "BackendTLSPolicy", "gateway.networking.k8s.io", ["v1", "v1alpha3"], true;
    /// An XBackend.
    XBackend = "XBackend", "gateway.networking.x-k8s.io", ["v1alpha1"], true;
    /// An XBackendTrafficPolicy.
    XBackendTrafficPolicy = "XBackendTrafficPolicy", "gateway.networking.x-k8s.io", ["v1alpha1"], true;
    /// An AuthorizationPolicy.
    AuthorizationPolicy = "AuthorizationPolicy", "security.istio.io", ["v1", "v1beta1"], true;
    /// A RequestAuthentication.
    RequestAuthentication = "RequestAuthentication", "security.istio.io", ["v1", "v1beta1"], true;
}

impl Kind {
    /// As YAML spells it, shared: every object's id has it.
    pub fn name(self) -> Arc<str> {
        static NAMES: LazyLock<Vec<Arc<str>>> =
            LazyLock::new(|| Kind::ALL.iter().map(|kind| kind.as_str().into()).collect());
        NAMES[self as usize].clone()
    }

    /// The kind that a manifest names.
    pub fn find(group: &str, kind: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|known| known.group() == group && known.as_str() == kind)
    }

    /// `v1` or `<group>/<version>`, in the version that we write.
    pub fn api_version(self) -> String {
        match self.group() {
            "" => self.versions()[0].to_owned(),
            group => format!("{group}/{}", self.versions()[0]),
        }
    }
}

impl Object {
    /// Kind, namespace and name.
    pub fn id(&self) -> ObjectId {
        let metadata = self.metadata();
        ObjectId {
            kind: self.kind().name(),
            namespace: metadata.namespace.as_deref().unwrap_or_default().into(),
            name: metadata.name.as_deref().unwrap_or_default().into(),
        }
    }

    /// As JSON, the way that Kubernetes shows it.
    pub fn to_json(&self) -> Result<serde_json::Value, serde_json::Error> {
        let mut value = self.to_bare_json()?;
        if let Some(fields) = value.as_object_mut() {
            fields.insert("apiVersion".into(), self.kind().api_version().into());
            fields.insert("kind".into(), self.kind().as_str().into());
        }
        Ok(value)
    }
}
