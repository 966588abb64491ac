//! Route tables, virtual hosts, routes.

use super::{HeaderEdits, Map, Name, RouteSteps, Step};
use crate::route::RouteIndex;
use regex::Regex;
use std::{sync::Arc, time::Duration};

/// A string matcher (`envoy.type.matcher.v3.StringMatcher`). With `ignore_case` the pattern is stored in lower case.
#[derive(Clone, Debug)]
pub enum StringMatch {
    /// Equal.
    Exact(Name, bool),
    /// Starts with.
    Prefix(Name, bool),
    /// Ends with.
    Suffix(Name, bool),
    /// Contains.
    Contains(Name, bool),
    /// RE2, the whole value.
    Regex(Arc<Regex>),
}

/// How a route matches a path. The query is not part of it.
#[derive(Clone, Debug)]
pub enum PathMatch {
    /// Equal.
    Exact(Name),
    /// Starts with.
    Prefix(Name),
    /// By whole segments: `/a` matches `/a` and `/a/b`.
    Segments(Name),
    /// RE2, the whole path.
    Regex(Arc<Regex>),
}

/// What a header must be like.
#[derive(Clone, Debug)]
pub enum HeaderRule {
    /// Present (or, if false, absent).
    Present(bool),
    /// Its lines, joined by commas.
    Value(StringMatch),
    /// An integer in `start..end`.
    Range(i64, i64),
}

/// A header matcher; pseudo headers (`:method`, `:authority`, `:path`) too.
#[derive(Clone, Debug)]
pub struct HeaderMatch {
    /// Lower case.
    pub name: Name,
    /// What it must be like.
    pub rule: HeaderRule,
    /// The opposite.
    pub invert: bool,
    /// An absent header is an empty one.
    pub missing_is_empty: bool,
}

/// A query parameter matcher; the first of a name counts.
#[derive(Clone, Debug)]
pub struct QueryMatch {
    /// Its name, case-sensitive.
    pub name: Name,
    /// Its value; none asks only that it is there.
    pub value: Option<StringMatch>,
}

/// What a request must be like; all parts must match.
#[derive(Clone, Debug)]
pub struct RouteMatch {
    /// The path.
    pub path: PathMatch,
    /// Whether the path's case counts.
    pub case_sensitive: bool,
    /// Headers.
    pub headers: Box<[HeaderMatch]>,
    /// Query parameters.
    pub query: Box<[QueryMatch]>,
    /// Only requests that say that they are calls of gRPC.
    pub grpc: bool,
}

/// A pattern and what takes its place: RE2, `\1` is a group.
#[derive(Clone, Debug)]
pub struct RegexRewrite {
    /// What is replaced, everywhere it occurs.
    pub pattern: Arc<Regex>,
    /// In the syntax of the regex crate.
    pub substitution: Name,
}

/// A change of the path; the query stays.
#[derive(Clone, Debug)]
pub enum PathRewrite {
    /// The whole path.
    Full(Name),
    /// In place of the prefix (or of the exact path) that matched.
    Prefix(Name),
    /// By pattern.
    Regex(Box<RegexRewrite>),
}

/// A change of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostRewrite {
    /// To this.
    Literal(Name),
    /// To the host name of the chosen endpoint (clusters by DNS).
    Endpoint,
}

/// A copy of a request that is sent elsewhere, its answer dropped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirror {
    /// Where.
    pub cluster: Name,
    /// Of a million requests, how many.
    pub per_million: u32,
    /// Leave the host as it is; else `-shadow` is appended to it, as in Envoy.
    pub keep_host: bool,
}

/// One of the clusters that share a route.
#[derive(Clone, Debug)]
pub struct WeightedCluster {
    /// Which; it may not exist (`Forward::not_found`).
    pub cluster: Name,
    /// Its share.
    pub weight: u32,
    /// The host for this cluster only.
    pub host: Option<HostRewrite>,
    /// Edits for this cluster only; they come before the route's.
    pub request_headers: HeaderEdits,
    /// Edits for this cluster only.
    pub response_headers: HeaderEdits,
    /// In place of the route's chain.
    pub chain: Option<Box<[Step]>>,
}

/// When a request is sent again (`retry_on`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RetryOn {
    /// Any 5xx, or no answer at all (`5xx`).
    pub server_error: bool,
    /// 502, 503, 504 (`gateway-error`).
    pub gateway_error: bool,
    /// No answer: disconnect, reset, read timeout (`reset`).
    pub reset: bool,
    /// The same, before the head of the request was sent (`reset-before-request`).
    pub reset_before_request: bool,
    /// No connection (`connect-failure`).
    pub connect_failure: bool,
    /// REFUSED_STREAM (`refused-stream`).
    pub refused_stream: bool,
    /// 409 (`retriable-4xx`).
    pub retriable_4xx: bool,
    /// One of [`RetryPolicy::status_codes`] (`retriable-status-codes`).
    pub status_codes: bool,
    /// Bits of gRPC status codes: `1 << code`.
    pub grpc: u32,
}

impl RetryOn {
    /// Whether a try may be repeated after the request was sent, so that its body must be kept.
    pub fn after_sending(&self) -> bool {
        self.server_error
            || self.gateway_error
            || self.reset
            || self.retriable_4xx
            || self.status_codes
            || self.grpc != 0
    }
}

/// Retries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// When.
    pub on: RetryOn,
    /// How many at most.
    pub retries: u32,
    /// Time for one try; none is the rest of the route's timeout.
    pub per_try_timeout: Option<Duration>,
    /// For `retriable-status-codes`.
    pub status_codes: Box<[u16]>,
    /// The first pause; it doubles with jitter.
    pub base_interval: Duration,
    /// The longest pause.
    pub max_interval: Duration,
}

/// What is answered if a cluster doesn't exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fallback(pub u16);

/// To a cluster.
#[derive(Clone, Debug)]
pub struct Forward {
    /// One or more, by weight.
    pub clusters: Box<[WeightedCluster]>,
    /// The sum of the weights, above zero.
    pub total_weight: u64,
    /// What is answered if the chosen cluster doesn't exist: 503, 404 or 500.
    pub not_found: Fallback,
    /// The path.
    pub path: Option<PathRewrite>,
    /// The host.
    pub host: Option<HostRewrite>,
    /// From the end of the request to the end of the response; none is without limit.
    pub timeout: Option<Duration>,
    /// A stream on which nothing moves; none takes the connection manager's, zero is without limit.
    pub idle_timeout: Option<Duration>,
    /// Retries.
    pub retry: Option<Box<RetryPolicy>>,
    /// Copies.
    pub mirrors: Box<[Mirror]>,
    /// Whether `Upgrade: websocket` is allowed; none asks the connection manager.
    pub websocket: Option<bool>,
    /// Send the original host as `x-forwarded-host` when it is rewritten.
    pub append_forwarded_host: bool,
}

/// To somewhere else; what is none is taken from the request.
#[derive(Clone, Debug)]
pub struct Redirect {
    /// `http` or `https`.
    pub scheme: Option<Name>,
    /// The host.
    pub host: Option<Name>,
    /// The port.
    pub port: Option<u16>,
    /// The path.
    pub path: Option<PathRewrite>,
    /// Drop the query.
    pub strip_query: bool,
    /// 301, 302, 303, 307 or 308.
    pub status: u16,
}

/// An answer of our own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectResponse {
    /// The code.
    pub status: u16,
    /// The body.
    pub body: bytes::Bytes,
}

/// What happens to a request.
#[derive(Clone, Debug)]
pub enum Action {
    /// To a cluster.
    Forward(Forward),
    /// To somewhere else.
    Redirect(Box<Redirect>),
    /// An answer of our own.
    Direct(DirectResponse),
}

/// One route.
#[derive(Clone, Debug)]
pub struct Route {
    /// For logs.
    pub name: Name,
    /// Which requests.
    pub matches: RouteMatch,
    /// What happens.
    pub action: Action,
    /// Edits of the request; after the weighted cluster's, before the virtual host's.
    pub request_headers: HeaderEdits,
    /// Edits of the response.
    pub response_headers: HeaderEdits,
    /// What is done with its requests before, if anything.
    pub steps: Option<Box<RouteSteps>>,
}

/// The routes of some hosts.
#[derive(Debug)]
pub struct VirtualHost {
    /// Its name.
    pub name: Name,
    /// `a.test`, `*.a.test`, `a.*`, `*`; lower case.
    pub domains: Box<[Name]>,
    /// In order: the first that matches.
    pub routes: Box<[Route]>,
    /// Edits of every route's requests.
    pub request_headers: HeaderEdits,
    /// Edits of every route's responses.
    pub response_headers: HeaderEdits,
    /// Retries of routes that have none of their own.
    pub retry: Option<Box<RetryPolicy>>,
    /// Send `x-envoy-attempt-count` to the backend.
    pub attempt_count: bool,
    /// Finds the first route that matches without trying all.
    pub(crate) index: RouteIndex,
}

/// A route table: virtual hosts by domain.
#[derive(Clone, Debug, Default)]
pub struct RouteTable {
    /// Its name.
    pub name: Option<Name>,
    /// Edits of every request.
    pub request_headers: HeaderEdits,
    /// Edits of every response.
    pub response_headers: HeaderEdits,
    /// Edits apply from the table to the weighted cluster instead of the other way, so that the most specific is last.
    pub most_specific_wins: bool,
    /// Headers that are removed from what strangers send.
    pub internal_only_headers: Box<[Name]>,
    /// Ports don't count when hosts are matched.
    pub ignore_port: bool,
    /// Whole hosts.
    pub(crate) exact: Map<Arc<VirtualHost>>,
    /// `*suffix`, by suffix.
    pub(crate) suffixes: Map<Arc<VirtualHost>>,
    /// `prefix*`, by prefix.
    pub(crate) prefixes: Map<Arc<VirtualHost>>,
    /// How many suffixes there are of each length.
    pub(crate) suffix_lengths: std::collections::BTreeMap<usize, usize>,
    /// How many prefixes there are of each length.
    pub(crate) prefix_lengths: std::collections::BTreeMap<usize, usize>,
    /// `*`
    pub(crate) any: Option<Arc<VirtualHost>>,
}
