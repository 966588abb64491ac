//! Virtual hosts and routes: what happens to a request, in the order of precedence.

use crate::{Hostname, ObjectKey};
use std::{sync::Arc, time::Duration};

/// Which route table: one for all HTTP listeners of a port, one for each HTTPS listener (a filter chain by SNI).
/// `(gateway, port, https listener)`, and within it the host.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VirtualHostKey {
    /// The Gateway.
    pub gateway: ObjectKey,
    /// The port.
    pub port: u16,
    /// The name of the HTTPS listener; none for cleartext HTTP.
    pub https: Option<Arc<str>>,
    /// The host: an intersection of a listener's and a route's host names.
    pub host: Hostname,
}

/// The routes of one host. Empty answers 404: a listener's host is never answered by a less specific listener.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VirtualHost {
    /// In order of precedence, the first that matches wins.
    pub routes: Vec<Arc<Route>>,
}

/// Where a route came from and what it may be compared by when matches tie: oldest first, then name, then rule, then
/// match (Gateway API `HTTPRouteRule.matches`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RouteOrder {
    /// `metadata.creationTimestamp`, seconds since 1970; an object without one counts as newest.
    pub created: i64,
    /// The HTTPRoute or GRPCRoute.
    pub object: ObjectKey,
    /// Whether it is a GRPCRoute.
    pub grpc: bool,
    /// Index of the rule.
    pub rule: u32,
    /// Index of the match within the rule.
    pub matched: u32,
}

/// One match with its action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Its origin, which is also its name in logs: `<ns>/<name>/<rule>/<match>`, for gRPC behind its kind.
    pub order: RouteOrder,
    /// The rule's own name, if it has one.
    pub rule_name: Option<Arc<str>>,
    /// What a request must be like.
    pub matches: Match,
    /// Edits of the request before it is forwarded.
    pub request_headers: HeaderEdits,
    /// Edits of the response before it is returned.
    pub response_headers: HeaderEdits,
    /// Copies of the request go there too; the answers are dropped.
    pub mirrors: Vec<Mirror>,
    /// What else is done with the request before.
    pub steps: Steps,
    /// What happens to the request.
    pub action: Action,
}

/// What only some routes do, in this order. Shared by the matches of a rule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Steps {
    /// Browsers' questions about other origins are answered.
    pub cors: Option<Arc<Cors>>,
    /// A service decides whether the request may pass.
    pub auth: Option<Arc<ExternalAuth>>,
    /// Requests of one session go to one endpoint.
    pub session: Option<Arc<Session>>,
}

/// Cross-origin resource sharing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cors {
    /// Origins that may ask.
    pub origins: Vec<Origin>,
    /// Methods, or `*`.
    pub methods: Vec<Arc<str>>,
    /// Request headers, or `*`.
    pub headers: Vec<Arc<str>>,
    /// Response headers, or `*`.
    pub expose: Vec<Arc<str>>,
    /// With cookies and the like.
    pub credentials: bool,
    /// How long browsers may keep an answer, seconds.
    pub max_age: u32,
}

/// Origins that may ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// All of them.
    Any,
    /// `<scheme>://<host>[:<port>]`
    These {
        /// Whether it is `https`.
        https: bool,
        /// The host; after a star if it stands for all that end so, and then perhaps empty.
        host: Arc<str>,
        /// Whether the host is only the end.
        wildcard: bool,
        /// None is the scheme's own.
        port: Option<u16>,
    },
}

/// A service that decides whether a request may pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExternalAuth {
    /// The cluster's name.
    pub cluster: Arc<str>,
    /// The name that the service is called by.
    pub authority: Arc<str>,
    /// What it speaks.
    pub protocol: AuthProtocol,
    /// Bytes of the request's body that it sees, cut off there; none is no body.
    pub body: Option<u32>,
}

/// What an authorization service speaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthProtocol {
    /// Envoy's `ext_authz`; the headers that it sees, none is all.
    Grpc(Vec<Arc<str>>),
    /// The request under another path; 200 lets it pass.
    Http {
        /// Stands before the path; may be empty.
        path: Arc<str>,
        /// Headers that it sees besides those that it always does.
        request_headers: Vec<Arc<str>>,
        /// Headers of its answer that go into the request; none is all.
        response_headers: Vec<Arc<str>>,
    },
}

/// How a session is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// The name of cookie or header.
    pub name: Arc<str>,
    /// Which.
    pub kind: SessionKind,
}

/// How a session is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionKind {
    /// By a header that the client repeats.
    Header,
    /// By a cookie; with how long it lives, or else until the browser forgets it.
    Cookie(Option<Duration>),
}

/// What a request must be like; all parts must match.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Match {
    /// The path, without query.
    pub path: PathMatch,
    /// The method.
    pub method: Option<Arc<str>>,
    /// Headers; names are lower case and differ.
    pub headers: Vec<HeaderMatch>,
    /// Query parameters; names differ.
    pub query: Vec<QueryMatch>,
}

/// How a path is matched.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PathMatch {
    /// Equal.
    Exact(Arc<str>),
    /// By whole path elements: `/abc` matches `/abc` and `/abc/d`, not `/abcd`. `/` matches everything. Stored
    /// without a trailing slash unless it is `/`.
    Prefix(Arc<str>),
    /// RE2 syntax, the whole path.
    Regex(Arc<str>),
    /// A call of gRPC, that is `/<service>/<method>` in a request that says that it is one; none is any.
    Call {
        /// The service with its package.
        service: Option<ValueMatch>,
        /// The method.
        method: Option<ValueMatch>,
    },
}

/// How a value is matched.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ValueMatch {
    /// Equal.
    Exact(Arc<str>),
    /// RE2 syntax, the whole value.
    Regex(Arc<str>),
}

/// A header that must match. Of several lines of one name, one that matches is enough.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HeaderMatch {
    /// Lower case.
    pub name: Arc<str>,
    /// Its value.
    pub value: ValueMatch,
}

/// A query parameter that must match; the first of a name counts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueryMatch {
    /// Case-sensitive.
    pub name: Arc<str>,
    /// Its value.
    pub value: ValueMatch,
}

/// One header and its value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HeaderEdit {
    /// As written in the object.
    pub name: Arc<str>,
    /// The literal value: no format operator is ever expanded.
    pub value: Arc<str>,
}

/// Edits of headers, applied in this order: set, add, remove. Never of `host`, which is a [`Rewrite`].
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HeaderEdits {
    /// Overwrites.
    pub set: Vec<HeaderEdit>,
    /// Appends another line.
    pub add: Vec<HeaderEdit>,
    /// Names to remove.
    pub remove: Vec<Arc<str>>,
}

/// What happens to a request that matched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// To one of the backends, by weight.
    Forward {
        /// Backends with a weight above zero, in the order of the object; weights of backends that can't be resolved
        /// count too and answer 500, or 503 to calls of gRPC (Gateway API `backendRefs`).
        backends: Vec<Backend>,
        /// What is changed on the way.
        rewrite: Rewrite,
        /// How long it may take.
        timeouts: Timeouts,
        /// When it is tried again; none is what is safe for any request.
        retry: Option<Retry>,
    },
    /// An answer of our own that sends the client elsewhere.
    Redirect(Redirect),
    /// An answer of our own without body: 500 where no backend is usable (503 to calls of gRPC, which is UNAVAILABLE),
    /// 421 where the host is another listener's.
    Respond {
        /// The code.
        status: u16,
    },
}

/// One weighted backend of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backend {
    /// The cluster's name, `outbound|<port>||<service>.<namespace>.svc.<domain>`; none if the reference is invalid.
    pub cluster: Option<Arc<str>>,
    /// Above zero.
    pub weight: u32,
    /// The session of requests to this backend, where the route has none for all of them.
    pub session: Option<Arc<Session>>,
    /// The new Host, for this backend only.
    pub host: Option<Arc<str>>,
    /// Edits for this backend only.
    pub request_headers: HeaderEdits,
    /// Edits for this backend only.
    pub response_headers: HeaderEdits,
}

/// When a request is tried again, besides when no connection came up, or the one there was broke.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retry {
    /// Codes of responses.
    pub codes: Vec<u16>,
    /// How often at most.
    pub attempts: u32,
    /// The pause before.
    pub backoff: Option<Duration>,
}

/// Changes of the request line.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rewrite {
    /// The new Host.
    pub host: Option<Arc<str>>,
    /// The new path.
    pub path: Option<PathRewrite>,
}

/// A change of the path; the query stays.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PathRewrite {
    /// The whole path.
    Full(Arc<str>),
    /// The prefix that matched; Gateway API `ReplacePrefixMatch` with its table of slashes.
    Prefix(Arc<str>),
}

/// How long things may take; none is without limit.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timeouts {
    /// From the whole request received to the whole response sent (GEP-1742).
    pub request: Option<Duration>,
    /// One try.
    pub backend: Option<Duration>,
}

/// A redirect; what is absent is taken from the request.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Redirect {
    /// `http` or `https`.
    pub scheme: Option<Arc<str>>,
    /// The host.
    pub host: Option<Arc<str>>,
    /// The path.
    pub path: Option<PathRewrite>,
    /// Already decided by the rules of `HTTPRequestRedirectFilter.port`: the port to write, or none for no port, whatever
    /// the request's Host says.
    pub port: Option<u16>,
    /// 301, 302, 303, 307 or 308.
    pub status: u16,
}

/// A copy of a request.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mirror {
    /// The cluster's name.
    pub cluster: Arc<str>,
    /// Of a million requests, how many are copied.
    pub per_million: u32,
}
