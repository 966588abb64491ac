//! Authorisation: compiled Envoy RBAC policies, and why a request was denied.

mod evaluate;
mod explain;
mod metadata;
mod rule;
mod template;

pub use explain::{Clause, Explanation, PolicyName, Reason};
pub use metadata::{JWT, Metadata, MetadataMatch, Note, RBAC, ValueMatch};
pub use rule::{Effect, Permission, Policy, Principal, Rbac, Rules, Shadow};
pub use template::Template;

use crate::route::{Headers, Request};
use std::net::{IpAddr, SocketAddr};

/// The names in a client's verified certificate; one that nobody vouches for has none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerCertificate {
    /// Whether there is a certificate and an authority vouches for it.
    pub verified: bool,
    /// URI subject alternative names.
    pub uris: Vec<String>,
    /// DNS subject alternative names.
    pub dns: Vec<String>,
    /// The subject, RFC 2253.
    pub subject: String,
    /// What backends are told in `x-forwarded-client-cert`.
    pub forwarded: Option<String>,
}

/// What a policy looks at.
pub struct Input<'a, H: Headers + ?Sized> {
    /// The request, canonical.
    pub request: &'a Request<'a, H>,
    /// The connection's other end, as the socket says.
    pub peer: SocketAddr,
    /// The address that the client connected to.
    pub local: SocketAddr,
    /// The client's address after trusted `x-forwarded-for` hops.
    pub remote: IpAddr,
    /// The server name that the client asked for.
    pub server_name: Option<&'a str>,
    /// The client's names: none without TLS, an empty value for TLS without a client certificate.
    pub certificate: Option<&'a PeerCertificate>,
    /// What the filters before have said.
    pub metadata: &'a Metadata,
}

/// What a policy says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Go on.
    Allowed,
    /// Answer 403; the log says why. Boxed: the common case stays small.
    Denied(Box<Explanation>),
}

#[cfg(test)]
mod tests;
