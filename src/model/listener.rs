//! Listeners: where a gateway accepts connections.

use crate::{CertificateKey, Hostname, ObjectKey, TrustKey};
use std::sync::Arc;

/// Which listener of which Gateway.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ListenerKey {
    /// The Gateway.
    pub gateway: ObjectKey,
    /// The listener's `name`; of a ListenerSet's, `<namespace>/<set>/<name>`.
    pub name: Arc<str>,
}

/// What a listener speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// Cleartext HTTP/1.1 and HTTP/2.
    Http,
    /// The same behind TLS that ends here.
    Https,
    /// TLS around anything, chosen by server name; whether it ends here says the listener's `tls`.
    Tls,
    /// Connections that nobody looks into.
    Tcp,
    /// Datagrams that nobody looks into.
    Udp,
}

impl Protocol {
    /// Whether listeners of the two can't meet on a port: they have sockets of their own.
    pub fn is_apart(self, other: Self) -> bool {
        (self == Self::Udp) != (other == Self::Udp)
    }

    /// Whether its requests are routed by HTTP.
    pub fn is_http(self) -> bool {
        matches!(self, Self::Http | Self::Https)
    }

    /// Whether a server name decides what serves a connection.
    pub fn is_by_server_name(self) -> bool {
        matches!(self, Self::Https | Self::Tls)
    }
}

/// How TLS ends at a listener.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tls {
    /// The usable certificates, in the order of `certificateRefs`; never empty.
    pub certificates: Vec<CertificateKey>,
    /// How clients are checked; none asks them for no certificate.
    pub clients: Option<Clients>,
}

/// How the certificates of clients are checked.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Clients {
    /// Who must vouch for them.
    pub trust: TrustKey,
    /// Whether a client without a valid certificate is refused; else it is let in, and is nobody.
    pub required: bool,
}

/// A listener that may be programmed: valid, without conflict, its references resolved. Listeners that are not
/// have a status and no value of this type.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Listener {
    /// The port that the Gateway names, before any mapping of a laptop.
    pub port: u16,
    /// What it speaks.
    pub protocol: Protocol,
    /// Which hosts it serves.
    pub hostname: Hostname,
    /// Present if TLS ends here: always with HTTPS, never with HTTP, TCP and UDP.
    pub tls: Option<Tls>,
    /// Whether connections start with a PROXY header; all listeners of a port want one, or none.
    pub proxy_protocol: bool,
}
