//! What is known of a request when it has ended.

use super::Flags;
use crate::{
    authz::{Explanation, Metadata},
    route::Headers,
};
use std::{net::SocketAddr, time::Duration, time::SystemTime};

/// Headers behind a pointer, for records.
pub trait Lookup {
    /// The value of the first line of a name in lower case, if it is there.
    fn first<'a>(&'a self, name: &'a str) -> Option<&'a [u8]>;
}

impl<H: Headers> Lookup for H {
    fn first<'a>(&'a self, name: &'a str) -> Option<&'a [u8]> {
        self.values(name).next()
    }
}

/// One request, ended. What is none is logged as `-`.
#[derive(Clone, Copy, Default)]
pub struct Record<'a> {
    /// When its first byte arrived; none is the epoch.
    pub start: Option<SystemTime>,
    /// From the first byte to the last byte of the response.
    pub duration: Duration,
    /// From the first byte to the last byte of the request.
    pub request_duration: Option<Duration>,
    /// From the first byte to the first byte of the backend's response.
    pub response_duration: Option<Duration>,
    /// What the backend needed: from the last byte sent to the first byte received.
    pub upstream_time: Option<Duration>,
    /// The method.
    pub method: Option<&'a str>,
    /// The path with its query, as it arrived.
    pub path: Option<&'a str>,
    /// The path with its query as it was forwarded, if it was rewritten.
    pub rewritten_path: Option<&'a str>,
    /// The host, as it arrived.
    pub authority: Option<&'a str>,
    /// `http` or `https`.
    pub scheme: Option<&'a str>,
    /// `HTTP/1.1`, `HTTP/2`.
    pub protocol: Option<&'a str>,
    /// The rest of the request's headers.
    pub request: Option<&'a dyn Lookup>,
    /// The response's headers.
    pub response: Option<&'a dyn Lookup>,
    /// The code; zero if there was no response.
    pub status: u16,
    /// Flags.
    pub flags: Flags,
    /// Envoy's `response_code_details`: `via_upstream`, `route_not_found`, `rbac_access_denied_matched_policy[…]`.
    pub details: Option<&'a str>,
    /// Why the connection ended, if that ended the request.
    pub connection_details: Option<&'a str>,
    /// Why the connection to the backend failed.
    pub upstream_failure: Option<&'a str>,
    /// Why a policy denied it.
    pub denied: Option<&'a Explanation>,
    /// What filters said of it.
    pub metadata: Option<&'a Metadata>,
    /// Bytes of the request's body.
    pub bytes_received: u64,
    /// Bytes of the response's body.
    pub bytes_sent: u64,
    /// The chosen endpoint.
    pub upstream: Option<SocketAddr>,
    /// Our end of the connection to it.
    pub upstream_local: Option<SocketAddr>,
    /// The cluster's name.
    pub cluster: Option<&'a str>,
    /// How often it was tried.
    pub attempts: u32,
    /// Our end of the client's connection.
    pub local: Option<SocketAddr>,
    /// The client, after `x-forwarded-for`.
    pub remote: Option<SocketAddr>,
    /// The client's end of its connection.
    pub peer: Option<SocketAddr>,
    /// The server name that the client asked for.
    pub server_name: Option<&'a str>,
    /// `TLSv1.3`.
    pub tls_version: Option<&'a str>,
    /// The cipher suite, in OpenSSL's spelling.
    pub tls_cipher: Option<&'a str>,
    /// The URI name in the client's certificate.
    pub peer_uri: Option<&'a str>,
    /// The route's name.
    pub route: Option<&'a str>,
    /// The virtual host's name.
    pub virtual_host: Option<&'a str>,
}
