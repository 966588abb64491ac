//! Kubernetes kinds as Rust types, and the door through which YAML becomes them.
//!
//! The core kinds are k8s-openapi's; those of Gateway API and of Istio are written here, field by field after their
//! CRDs, with the defaults that an API server would fill in. `manifest::read` turns the text of a file into objects and
//! problems; it holds every object to the same schema that the API server would (`validate`). What an object leads to
//! is not known here.

mod authorization_policy;
mod backend;
mod backend_tls_policy;
mod backend_traffic_policy;
#[cfg(test)]
mod definition;
mod duration;
mod external_auth;
mod gateway;
mod gateway_class;
mod grpc_route;
mod http_filter;
mod http_route;
mod listener_set;
pub mod manifest;
mod mesh_config;
mod object;
mod problem;
mod reference;
mod reference_grant;
mod request_authentication;
mod session;
mod stream_route;
pub mod validate;

pub use authorization_policy::{
    AuthorizationPolicy, AuthorizationPolicyAction, AuthorizationPolicySpec, Condition, ExtensionProvider, Operation,
    PolicyTargetReference, Rule, RuleFrom, RuleTo, Source, WorkloadSelector,
};
pub use backend::{
    BackendPort, BackendProtocol, BackendSpec, BackendTls, BackendTlsMode, BackendType, ExternalHostname, XBackend,
};
pub use backend_tls_policy::{
    BackendTlsPolicy, BackendTlsPolicySpec, BackendTlsPolicyValidation, SectionTargetReference, SubjectAltName,
    SubjectAltNameType,
};
pub use backend_traffic_policy::{
    BackendTrafficPolicySpec, LocalTargetReference, RequestRate, RetryBudget, RetryConstraint, XBackendTrafficPolicy,
};
pub use duration::{Duration, DurationError};
pub use external_auth::{ExternalAuthProtocol, ForwardBody, GrpcAuthConfig, HttpAuthConfig, HttpExternalAuthFilter};
pub use gateway::{
    AllowedListeners, AllowedRoutes, FromNamespaces, FrontendTlsConfig, FrontendTlsValidation, FrontendValidationMode,
    Gateway, GatewayBackendTls, GatewayInfrastructure, GatewaySpec, GatewaySpecAddress, GatewayTlsConfig, Listener,
    ListenerNamespaces, ListenerTlsConfig, RouteGroupKind, RouteNamespaces, TlsConfig, TlsModeType, TlsPortConfig,
};
pub use gateway_class::{GatewayClass, GatewayClassSpec};
pub use grpc_route::{
    GrpcBackendRef, GrpcMethodMatch, GrpcMethodMatchType, GrpcRoute, GrpcRouteFilter, GrpcRouteFilterType,
    GrpcRouteMatch, GrpcRouteRule, GrpcRouteSpec,
};
pub use http_filter::{
    Fraction, HttpCorsFilter, HttpHeader, HttpHeaderFilter, HttpPathModifier, HttpPathModifierType,
    HttpRequestMirrorFilter, HttpRequestRedirectFilter, HttpRouteFilter, HttpRouteFilterType, HttpUrlRewriteFilter,
    RedirectScheme,
};
pub use http_route::{
    HttpBackendRef, HttpHeaderMatch, HttpMethod, HttpPathMatch, HttpQueryParamMatch, HttpRoute, HttpRouteMatch,
    HttpRouteRetry, HttpRouteRule, HttpRouteSpec, HttpRouteTimeouts, PathMatchType, ValueMatchType,
};
pub use k8s_openapi::{
    api::{
        core::v1::{ConfigMap, Namespace, Secret, Service, ServicePort, ServiceSpec},
        discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice},
    },
    apimachinery::pkg::{
        apis::meta::v1::{LabelSelector, LabelSelectorRequirement, ObjectMeta},
        util::intstr::IntOrString,
    },
};
pub use listener_set::{ListenerSet, ListenerSetSpec, ParentGatewayReference};
pub use mesh_config::{
    AuthRequestBody, GrpcAuthProvider, HttpAuthProvider, MeshProvider, MeshProviderKind, extension_providers,
};
pub use object::{Kind, Object, ObjectId};
pub use problem::{FieldPath, Problem, Severity, Step};
pub use reference::{
    BackendObjectReference, LocalObjectReference, LocalParametersReference, ObjectReference, ParametersReference,
    ParentReference, SecretObjectReference,
};
pub use reference_grant::{ReferenceGrant, ReferenceGrantFrom, ReferenceGrantSpec, ReferenceGrantTo};
pub use request_authentication::{
    ClaimToHeader, JwtHeader, JwtPresence, JwtRule, RequestAuthentication, RequestAuthenticationSpec,
};
pub use session::{CookieConfig, CookieLifetimeType, SessionPersistence, SessionPersistenceType};
pub use stream_route::{
    StreamBackendRef, StreamRouteRule, StreamRouteSpec, TcpRoute, TlsRoute, TlsRouteSpec, UdpRoute,
};

/// The API group of Gateway API.
pub const GATEWAY_GROUP: &str = "gateway.networking.k8s.io";
/// The API group of what Gateway API tries out.
pub const X_GATEWAY_GROUP: &str = "gateway.networking.x-k8s.io";
