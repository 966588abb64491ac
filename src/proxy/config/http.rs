//! The HTTP connection manager: how a connection's requests are read, canonicalised, authorised and routed.

use super::{Name, RouteTable, Step};
use crate::{head::Normalize, log::Format};
use std::{sync::Arc, time::Duration};

/// Which HTTP a downstream connection may speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    /// By ALPN, else by the first bytes.
    Auto,
    /// HTTP/1.1 only.
    Http1,
    /// HTTP/2 only.
    Http2,
}

/// Header names with an underscore (`headers_with_underscores_action`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Underscores {
    /// Like any other.
    #[default]
    Allow,
    /// 400 for the request.
    Reject,
    /// The header is dropped.
    Drop,
}

/// The `server` header of responses (`server_header_transformation`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerHeader {
    /// Always this.
    Overwrite(Name),
    /// This, if the backend said nothing.
    IfAbsent(Name),
    /// What the backend said.
    PassThrough,
}

/// Where the route table comes from.
#[derive(Clone, Debug)]
pub enum RoutesFrom {
    /// By RDS.
    Named(Name),
    /// Written in the listener.
    Inline(Arc<RouteTable>),
}

/// One filter before the router. The router itself is implied: a chain must end with it.
#[derive(Clone, Debug)]
pub enum HttpFilter {
    /// By ECDS; as long as it has not come, nothing passes.
    Named(Name),
    /// Written in the listener.
    Inline(Step),
    /// Where CORS acts, as the route says.
    Cors,
    /// Where the route's own steps act.
    OfRoute,
}

/// Where an access log goes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum LogSink {
    /// Standard output (`/dev/stdout`).
    Stdout,
    /// Standard error.
    Stderr,
    /// A file that lines are appended to.
    File(Arc<str>),
}

/// What is said of a client's certificate beside its hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CertificateDetails {
    /// The certificate itself.
    pub certificate: bool,
    /// Its subject.
    pub subject: bool,
    /// Its URI names.
    pub uri: bool,
    /// Its DNS names.
    pub dns: bool,
}

/// One access log.
#[derive(Clone, Debug)]
pub struct AccessLog {
    /// How a line looks.
    pub format: Arc<Format>,
    /// Where it goes.
    pub sink: LogSink,
}

/// The connection manager of a filter chain. Durations: none is without limit.
#[derive(Clone, Debug)]
pub struct HttpManager {
    /// The prefix of its statistics.
    pub stat_prefix: Name,
    /// Which HTTP.
    pub codec: Codec,
    /// Its routes.
    pub routes: RoutesFrom,
    /// In order.
    pub filters: Box<[HttpFilter]>,
    /// One line per request in each.
    pub access_logs: Box<[AccessLog]>,
    /// The canonical form of requests.
    pub normalize: Normalize,
    /// Header names with an underscore.
    pub underscores: Underscores,
    /// The `server` header of responses.
    pub server: ServerHeader,
    /// `via` to add to requests and responses.
    pub via: Option<Name>,
    /// True: the peer's address is the client's, and we append it to `x-forwarded-for`.
    pub use_remote_address: bool,
    /// How many proxies in front of us are trusted to have written `x-forwarded-for`.
    pub trusted_hops: u32,
    /// Leave `x-forwarded-for` as it came.
    pub skip_xff_append: bool,
    /// Make an `x-request-id` where there is none.
    pub generate_request_id: bool,
    /// Keep a stranger's `x-request-id`.
    pub preserve_request_id: bool,
    /// Forward `x-forwarded-client-cert` from clients; false removes it.
    pub forward_client_cert: bool,
    /// What is said of a client's verified certificate in `x-forwarded-client-cert`; none says nothing.
    pub tell_client_cert: Option<CertificateDetails>,
    /// Whether `Upgrade: websocket` is allowed where a route doesn't say.
    pub websocket: bool,
    /// Total bytes of a request's head.
    pub max_request_headers_bytes: usize,
    /// Count of header lines.
    pub max_headers: usize,
    /// An idle connection is closed.
    pub idle_timeout: Option<Duration>,
    /// A connection is drained after this age.
    pub max_connection_duration: Option<Duration>,
    /// A stream on which nothing moves is reset (504 or 408).
    pub stream_idle_timeout: Option<Duration>,
    /// The whole request must have arrived.
    pub request_timeout: Option<Duration>,
    /// The whole head must have arrived.
    pub request_headers_timeout: Option<Duration>,
    /// How long a draining connection may go on.
    pub drain_timeout: Duration,
    /// HTTP/2: streams a client may have open.
    pub max_concurrent_streams: u32,
    /// HTTP/2: window of a stream, bytes.
    pub initial_stream_window: u32,
    /// HTTP/2: window of a connection, bytes.
    pub initial_connection_window: u32,
    /// No `x-envoy-` headers are added to what is forwarded and returned.
    pub suppress_envoy_headers: bool,
    /// HTTP/1.0 requests are answered.
    pub accept_http_10: bool,
}
