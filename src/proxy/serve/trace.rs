//! What is noted of a request on its way, for logs and metrics.

use super::exchange::Exchange;
use crate::{
    authz::{Explanation, Metadata},
    head::{Head, Reply},
    log::{Flags, Record},
    worker::now,
};
use std::{
    borrow::Cow,
    net::SocketAddr,
    time::{Duration, SystemTime},
};
use tokio::time::Instant;

/// Notes on one request; names are borrowed from the configuration.
pub(super) struct Trace<'c> {
    /// When the first byte of the request arrived.
    pub(super) started: Instant,
    /// When the last byte of the request was read.
    pub(super) request_read: Option<Instant>,
    /// When the head of the response arrived.
    pub(super) answered: Option<Instant>,
    /// Code; zero if there was no response.
    pub(super) status: u16,
    /// Flags.
    pub(super) flags: Flags,
    /// Envoy's `response_code_details`.
    pub(super) details: Cow<'static, str>,
    /// Bytes of the request's body.
    pub(super) received: u64,
    /// Bytes of the response's body.
    pub(super) sent: u64,
    /// The endpoint.
    pub(super) upstream: Option<SocketAddr>,
    /// Our end of the connection to it.
    pub(super) upstream_local: Option<SocketAddr>,
    /// Why the connection to it failed.
    pub(super) upstream_failure: Option<String>,
    /// How often it was tried.
    pub(super) attempts: u32,
    /// The cluster.
    pub(super) cluster: Option<&'c str>,
    /// The route.
    pub(super) route: Option<&'c str>,
    /// The virtual host.
    pub(super) virtual_host: Option<&'c str>,
    /// Why a policy denied it.
    pub(super) denied: Option<Box<Explanation>>,
    /// What the filters said of it.
    pub(super) metadata: Metadata,
}

impl Trace<'_> {
    pub(super) fn new(started: Instant) -> Self {
        Self {
            started,
            request_read: None,
            answered: None,
            status: 0,
            flags: Flags::NONE,
            details: Cow::Borrowed(""),
            received: 0,
            sent: 0,
            upstream: None,
            upstream_local: None,
            upstream_failure: None,
            attempts: 0,
            cluster: None,
            route: None,
            virtual_host: None,
            denied: None,
            metadata: Metadata::default(),
        }
    }

    /// Tells the observer.
    pub(super) fn tell(&self, x: &Exchange<'_>) {
        let (head, reply): (&Head, &Reply) = (x.head, x.reply);
        let (conn, http) = (&x.link.conn, &x.link.http);
        let duration = now().duration_since(self.started);
        let since_start = |at: Instant| at.duration_since(self.started);
        let rewritten = Some(head.target()).filter(|target| *target != head.sent_target());
        let record = Record {
            // Nobody else asks for it.
            start: if http.access_logs.is_empty() { None } else { SystemTime::now().checked_sub(duration) },
            duration,
            request_duration: self.request_read.map(since_start),
            response_duration: self.answered.map(since_start),
            upstream_time: self.upstream_time(),
            method: Some(head.method()).filter(|method| !method.is_empty()),
            path: Some(head.sent_target()).filter(|target| !target.is_empty()),
            rewritten_path: rewritten,
            authority: Some(head.sent_authority()).filter(|authority| !authority.is_empty()),
            scheme: Some(head.scheme()),
            protocol: Some(head.version().as_str()),
            request: Some(head.fields()),
            response: Some(&reply.fields),
            status: self.status,
            flags: self.flags,
            details: Some(&*self.details).filter(|details| !details.is_empty()),
            upstream_failure: self.upstream_failure.as_deref(),
            denied: self.denied.as_deref(),
            metadata: Some(&self.metadata),
            bytes_received: self.received,
            bytes_sent: self.sent,
            upstream: self.upstream,
            upstream_local: self.upstream_local,
            cluster: self.cluster,
            attempts: self.attempts,
            local: Some(conn.local),
            remote: Some(head.client().map_or(conn.remote, |client| {
                // A client behind trusted proxies has no port that we know.
                if client == conn.remote.ip() { conn.remote } else { SocketAddr::new(client, 0) }
            })),
            peer: Some(conn.peer),
            server_name: conn.sni.as_deref(),
            tls_version: conn.tls,
            peer_uri: conn.certificate.as_ref().and_then(|certificate| certificate.uris.first()).map(String::as_str),
            route: self.route,
            virtual_host: self.virtual_host,
            ..Record::default()
        };
        x.worker.observer.ended(http, &record);
    }

    fn upstream_time(&self) -> Option<Duration> {
        Some(self.answered?.saturating_duration_since(self.request_read?))
    }
}
