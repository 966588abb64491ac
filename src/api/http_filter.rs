//! Filters of HTTPRoute: what is changed on the way.

use crate::{BackendObjectReference, HttpExternalAuthFilter, LocalObjectReference};
use serde::{Deserialize, Serialize};

/// One filter. The field that `kind` names is present and the others are not (held by `validate`); so each is a box, that
/// the absent ones take no room.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpRouteFilter {
    /// Which.
    #[serde(rename = "type")]
    pub kind: HttpRouteFilterType,
    /// For `RequestHeaderModifier`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_header_modifier: Option<Box<HttpHeaderFilter>>,
    /// For `ResponseHeaderModifier`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_header_modifier: Option<Box<HttpHeaderFilter>>,
    /// For `RequestMirror`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_mirror: Option<Box<HttpRequestMirrorFilter>>,
    /// For `RequestRedirect`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_redirect: Option<Box<HttpRequestRedirectFilter>>,
    /// For `URLRewrite`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url_rewrite: Option<Box<HttpUrlRewriteFilter>>,
    /// For `CORS`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cors: Option<Box<HttpCorsFilter>>,
    /// For `ExternalAuth`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub external_auth: Option<Box<HttpExternalAuthFilter>>,
    /// For `ExtensionRef`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extension_ref: Option<Box<LocalObjectReference>>,
}

/// Which filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum HttpRouteFilterType {
    /// Changes the request's headers.
    RequestHeaderModifier,
    /// Changes the response's headers.
    ResponseHeaderModifier,
    /// Sends a copy elsewhere.
    RequestMirror,
    /// Sends the client elsewhere.
    RequestRedirect,
    /// Changes host or path.
    #[serde(rename = "URLRewrite")]
    UrlRewrite,
    /// Answers browsers' questions about other origins.
    #[serde(rename = "CORS")]
    Cors,
    /// Asks a service whether the request may pass.
    ExternalAuth,
    /// Something of an implementation.
    ExtensionRef,
}

/// Changes of headers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpHeaderFilter {
    /// Overwritten.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub set: Vec<HttpHeader>,
    /// Appended.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub add: Vec<HttpHeader>,
    /// Removed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remove: Vec<String>,
}

/// A header.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpHeader {
    /// Without regard to case.
    pub name: String,
    /// Its value.
    pub value: String,
}

/// A copy of requests to another backend.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpRequestMirrorFilter {
    /// Where to.
    pub backend_ref: BackendObjectReference,
    /// 0 to 100; absent, and no fraction, is all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub percent: Option<u32>,
    /// The share of requests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fraction: Option<Fraction>,
}

/// A share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fraction {
    /// At most the denominator.
    pub numerator: u32,
    /// At least 1.
    #[serde(default = "hundred")]
    pub denominator: u32,
}

/// A redirect.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpRequestRedirectFilter {
    /// Absent is the request's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scheme: Option<RedirectScheme>,
    /// Absent is the request's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// Absent is the request's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<HttpPathModifier>,
    /// Absent: the scheme's well-known port, or the listener's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// 301, 302, 303, 307 or 308.
    #[serde(default = "found")]
    pub status_code: u16,
}

/// The scheme of a redirect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "the names say it all")]
pub enum RedirectScheme {
    Http,
    Https,
}

/// Changes of host and path.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct HttpUrlRewriteFilter {
    /// The new host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// The new path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<HttpPathModifier>,
}

/// A change of the path. The field that `kind` names is present and the other is not (held by `validate`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpPathModifier {
    /// How.
    #[serde(rename = "type")]
    pub kind: HttpPathModifierType,
    /// For `ReplaceFullPath`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replace_full_path: Option<String>,
    /// For `ReplacePrefixMatch`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replace_prefix_match: Option<String>,
}

/// How a path is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum HttpPathModifierType {
    /// All of it.
    ReplaceFullPath,
    /// The prefix that matched.
    ReplacePrefixMatch,
}

/// Answers to browsers' questions about other origins.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpCorsFilter {
    /// Origins that may ask.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow_origins: Vec<String>,
    /// With cookies and the like.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow_credentials: Option<bool>,
    /// Methods, or `*`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow_methods: Vec<String>,
    /// Request headers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow_headers: Vec<String>,
    /// Response headers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub expose_headers: Vec<String>,
    /// Seconds.
    #[serde(default = "five")]
    pub max_age: u32,
}

fn hundred() -> u32 {
    100
}

fn found() -> u16 {
    302
}

fn five() -> u32 {
    5
}
