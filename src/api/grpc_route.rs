//! GRPCRoute: what happens to which calls of gRPC.

use crate::{
    BackendObjectReference, HttpBackendRef, HttpHeaderFilter, HttpHeaderMatch, HttpRequestMirrorFilter,
    HttpRouteFilter, HttpRouteFilterType, LocalObjectReference, ObjectMeta, ParentReference, SessionPersistence,
    http_route::{one, service},
};
use serde::{Deserialize, Serialize};

/// `gateway.networking.k8s.io` GRPCRoute.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GrpcRoute {
    /// Name, labels, …
    pub metadata: ObjectMeta,
    /// What is wanted.
    pub spec: GrpcRouteSpec,
}

/// Spec of a [`GrpcRoute`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GrpcRouteSpec {
    /// What it attaches to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parent_refs: Vec<ParentReference>,
    /// Empty is every host of the listener.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hostnames: Vec<String>,
    /// Up to 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<GrpcRouteRule>,
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GrpcRouteRule {
    /// Its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Any of these; empty matches every call.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub matches: Vec<GrpcRouteMatch>,
    /// What is changed on the way.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub filters: Vec<GrpcRouteFilter>,
    /// Where it goes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub backend_refs: Vec<GrpcBackendRef>,
    /// Whether the calls of a client go to one endpoint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_persistence: Option<Box<SessionPersistence>>,
}

/// What a call must be like; all parts must match.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GrpcRouteMatch {
    /// What is called; absent is anything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<GrpcMethodMatch>,
    /// Headers, which gRPC calls metadata.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<HttpHeaderMatch>,
}

/// What must be called: service, method or both.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrpcMethodMatch {
    /// How both are matched.
    #[serde(rename = "type", default)]
    pub kind: GrpcMethodMatchType,
    /// With its package; absent or empty is any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// Absent or empty is any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
}

/// How service and method are matched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum GrpcMethodMatchType {
    /// Equal.
    #[default]
    Exact,
    /// RE2.
    RegularExpression,
}

/// One filter. The field that `kind` names is present and the others are not (held by `validate`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GrpcRouteFilter {
    /// Which.
    #[serde(rename = "type")]
    pub kind: GrpcRouteFilterType,
    /// For `RequestHeaderModifier`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_header_modifier: Option<Box<HttpHeaderFilter>>,
    /// For `ResponseHeaderModifier`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_header_modifier: Option<Box<HttpHeaderFilter>>,
    /// For `RequestMirror`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_mirror: Option<Box<HttpRequestMirrorFilter>>,
    /// For `ExtensionRef`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extension_ref: Option<Box<LocalObjectReference>>,
}

/// Which filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum GrpcRouteFilterType {
    /// Changes the request's headers.
    RequestHeaderModifier,
    /// Changes the response's headers.
    ResponseHeaderModifier,
    /// Sends a copy elsewhere.
    RequestMirror,
    /// Something of an implementation.
    ExtensionRef,
}

/// The filters are some of HTTPRoute's, and mean the same.
impl From<&GrpcRouteFilter> for HttpRouteFilter {
    fn from(filter: &GrpcRouteFilter) -> Self {
        let filter = filter.clone();
        Self {
            kind: match filter.kind {
                GrpcRouteFilterType::RequestHeaderModifier => HttpRouteFilterType::RequestHeaderModifier,
                GrpcRouteFilterType::ResponseHeaderModifier => HttpRouteFilterType::ResponseHeaderModifier,
                GrpcRouteFilterType::RequestMirror => HttpRouteFilterType::RequestMirror,
                GrpcRouteFilterType::ExtensionRef => HttpRouteFilterType::ExtensionRef,
            },
            request_header_modifier: filter.request_header_modifier,
            response_header_modifier: filter.response_header_modifier,
            request_mirror: filter.request_mirror,
            request_redirect: None,
            url_rewrite: None,
            cors: None,
            external_auth: None,
            extension_ref: filter.extension_ref,
        }
    }
}

/// A backend with its weight.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "FlatBackendRef", into = "FlatBackendRef")]
pub struct GrpcBackendRef {
    /// Which.
    pub backend: BackendObjectReference,
    /// 0 to 1,000,000: its share of the sum.
    pub weight: u32,
    /// What is changed on the way to this backend only.
    pub filters: Vec<GrpcRouteFilter>,
}

impl From<&GrpcBackendRef> for HttpBackendRef {
    fn from(backend: &GrpcBackendRef) -> Self {
        let filters = backend.filters.iter().map(HttpRouteFilter::from).collect();
        Self { backend: backend.backend.clone(), weight: backend.weight, filters }
    }
}

/// [`GrpcBackendRef`] as it is written. `serde(flatten)` would do the same and lose the path to an error.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
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
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    filters: Vec<GrpcRouteFilter>,
}

impl From<FlatBackendRef> for GrpcBackendRef {
    fn from(flat: FlatBackendRef) -> Self {
        let FlatBackendRef { group, kind, name, namespace, port, weight, filters } = flat;
        Self { backend: BackendObjectReference { group, kind, name, namespace, port }, weight, filters }
    }
}

impl From<GrpcBackendRef> for FlatBackendRef {
    fn from(backend: GrpcBackendRef) -> Self {
        let GrpcBackendRef { backend: BackendObjectReference { group, kind, name, namespace, port }, weight, filters } =
            backend;
        Self { group, kind, name, namespace, port, weight, filters }
    }
}
