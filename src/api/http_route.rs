//! HTTPRoute: what happens to which requests.

use crate::{BackendObjectReference, Duration, HttpRouteFilter, ObjectMeta, ParentReference, SessionPersistence};
use serde::{Deserialize, Serialize};

/// `gateway.networking.k8s.io` HTTPRoute.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HttpRoute {
    /// Name, labels, …
    pub metadata: ObjectMeta,
    /// What is wanted.
    pub spec: HttpRouteSpec,
}

/// Spec of a [`HttpRoute`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpRouteSpec {
    /// What it attaches to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parent_refs: Vec<ParentReference>,
    /// Empty is every host of the listener.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hostnames: Vec<String>,
    /// 1 to 16; absent is one that matches everything and goes nowhere.
    #[serde(default = "default_rules")]
    pub rules: Vec<HttpRouteRule>,
}

impl Default for HttpRouteSpec {
    fn default() -> Self {
        Self { parent_refs: Vec::new(), hostnames: Vec::new(), rules: default_rules() }
    }
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpRouteRule {
    /// Its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Any of these; empty matches everything.
    #[serde(default = "default_matches")]
    pub matches: Vec<HttpRouteMatch>,
    /// What is changed on the way.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub filters: Vec<HttpRouteFilter>,
    /// Where it goes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub backend_refs: Vec<HttpBackendRef>,
    /// How long it may take.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeouts: Option<Box<HttpRouteTimeouts>>,
    /// When it is tried again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry: Option<Box<HttpRouteRetry>>,
    /// Whether the requests of a client go to one endpoint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_persistence: Option<Box<SessionPersistence>>,
}

/// When a request is tried again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpRouteRetry {
    /// Codes of responses, 400 to 599; broken connections always count.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub codes: Vec<u16>,
    /// How often at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempts: Option<u32>,
    /// The pause before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backoff: Option<Duration>,
}

/// What a request must be like; all parts must match.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpRouteMatch {
    /// The path.
    #[serde(default)]
    pub path: HttpPathMatch,
    /// Headers; of several with one name (without regard to case) only the first counts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<HttpHeaderMatch>,
    /// Query parameters; of several with one name only the first counts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub query_params: Vec<HttpQueryParamMatch>,
    /// The method.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<HttpMethod>,
}

/// What a path must be like.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpPathMatch {
    /// How.
    #[serde(rename = "type", default)]
    pub kind: PathMatchType,
    /// What.
    #[serde(default = "root_path")]
    pub value: String,
}

impl Default for HttpPathMatch {
    fn default() -> Self {
        Self { kind: PathMatchType::PathPrefix, value: root_path() }
    }
}

/// How a path is matched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum PathMatchType {
    /// Equal.
    Exact,
    /// By whole elements.
    #[default]
    PathPrefix,
    /// RE2.
    RegularExpression,
}

/// A header that a request must have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpHeaderMatch {
    /// How.
    #[serde(rename = "type", default)]
    pub kind: ValueMatchType,
    /// Without regard to case.
    pub name: String,
    /// What.
    pub value: String,
}

/// A query parameter that a request must have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpQueryParamMatch {
    /// How.
    #[serde(rename = "type", default)]
    pub kind: ValueMatchType,
    /// Case counts.
    pub name: String,
    /// What.
    pub value: String,
}

/// How a value is matched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ValueMatchType {
    /// Equal.
    #[default]
    Exact,
    /// RE2.
    RegularExpression,
}

/// Methods that can be matched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
#[allow(missing_docs, reason = "the names say it all")]
pub enum HttpMethod {
    Get,
    Head,
    Post,
    Put,
    Delete,
    Connect,
    Options,
    Trace,
    Patch,
}

impl HttpMethod {
    /// As on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
            Self::Connect => "CONNECT",
            Self::Options => "OPTIONS",
            Self::Trace => "TRACE",
            Self::Patch => "PATCH",
        }
    }
}

/// A backend with its weight.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "FlatBackendRef", into = "FlatBackendRef")]
pub struct HttpBackendRef {
    /// Which.
    pub backend: BackendObjectReference,
    /// 0 to 1,000,000: its share of the sum.
    pub weight: u32,
    /// What is changed on the way to this backend only.
    pub filters: Vec<HttpRouteFilter>,
}

/// [`HttpBackendRef`] as it is written. `serde(flatten)` would do the same and lose the path to an error.
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
    filters: Vec<HttpRouteFilter>,
}

impl From<FlatBackendRef> for HttpBackendRef {
    fn from(flat: FlatBackendRef) -> Self {
        let FlatBackendRef { group, kind, name, namespace, port, weight, filters } = flat;
        Self { backend: BackendObjectReference { group, kind, name, namespace, port }, weight, filters }
    }
}

impl From<HttpBackendRef> for FlatBackendRef {
    fn from(backend: HttpBackendRef) -> Self {
        let HttpBackendRef { backend: BackendObjectReference { group, kind, name, namespace, port }, weight, filters } =
            backend;
        Self { group, kind, name, namespace, port, weight, filters }
    }
}

/// How long things may take.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpRouteTimeouts {
    /// The whole request; zero is without limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<Duration>,
    /// One try; zero is without limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backend_request: Option<Duration>,
}

fn default_rules() -> Vec<HttpRouteRule> {
    vec![HttpRouteRule {
        name: None,
        matches: default_matches(),
        filters: Vec::new(),
        backend_refs: Vec::new(),
        timeouts: None,
        retry: None,
        session_persistence: None,
    }]
}

fn default_matches() -> Vec<HttpRouteMatch> {
    vec![HttpRouteMatch::default()]
}

fn root_path() -> String {
    "/".into()
}

pub(crate) fn service() -> String {
    "Service".into()
}

pub(crate) fn one() -> u32 {
    1
}
