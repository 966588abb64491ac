//! What is known about the client's connection.

use crate::authz::PeerCertificate;
use std::{net::SocketAddr, sync::Arc};

/// Facts about a client's connection that don't change while it lasts.
#[derive(Clone, Debug)]
pub struct Conn {
    /// The other end, as the socket says.
    pub peer: SocketAddr,
    /// The client: the other end, or whom a PROXY header names.
    pub remote: SocketAddr,
    /// The address that the client connected to: our end, or what a PROXY header names.
    pub local: SocketAddr,
    /// The version of TLS that ended here: `TLSv1.3`.
    pub tls: Option<&'static str>,
    /// The server name of the TLS handshake, in lower case.
    pub sni: Option<Arc<str>>,
    /// The client's names: none without TLS, an empty value for TLS without a client certificate.
    pub certificate: Option<Arc<PeerCertificate>>,
}
