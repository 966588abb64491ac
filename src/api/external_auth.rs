//! The filter that asks a service whether a request may pass.

use crate::BackendObjectReference;
use serde::{Deserialize, Serialize};

/// Asks a service whether a request may pass.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpExternalAuthFilter {
    /// What the service speaks.
    pub protocol: ExternalAuthProtocol,
    /// The service.
    pub backend_ref: BackendObjectReference,
    /// For `GRPC`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grpc: Option<GrpcAuthConfig>,
    /// For `HTTP`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpAuthConfig>,
    /// What the service sees of the request's body; absent is nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub forward_body: Option<ForwardBody>,
}

/// What an authorization service speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExternalAuthProtocol {
    /// A request like the client's; 200 lets it pass.
    #[serde(rename = "HTTP")]
    Http,
    /// Envoy's `envoy.service.auth.v3.Authorization`.
    #[serde(rename = "GRPC")]
    Grpc,
}

/// A service that speaks gRPC.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GrpcAuthConfig {
    /// The request headers that it sees; empty is all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allowed_headers: Vec<String>,
}

/// A service that speaks HTTP.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpAuthConfig {
    /// Stands before the request's path.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub path: String,
    /// The request headers that it sees besides those that it always does.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allowed_headers: Vec<String>,
    /// Headers of its answer that are copied into the request; empty is all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allowed_response_headers: Vec<String>,
}

/// What an authorization service sees of a request's body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ForwardBody {
    /// Bytes; 0 is nothing.
    #[serde(default)]
    pub max_size: u16,
}
