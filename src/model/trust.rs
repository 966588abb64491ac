//! Whom we trust: authorities that vouch for backends and for clients.

use crate::ObjectKey;
use std::{fmt, sync::Arc};

/// A set of authorities. Its text is the SDS resource name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TrustKey {
    /// What a BackendTLSPolicy names: `backend-ca://<ns>/<name>`.
    Backend(ObjectKey),
    /// What an XBackend names: `xbackend-ca://<ns>/<name>`.
    XBackend(ObjectKey),
    /// What a Gateway names for its clients, for one port or by default: `client-ca://<ns>/<gateway>/<port>`.
    Clients {
        /// The Gateway.
        gateway: ObjectKey,
        /// The port; none is the default.
        port: Option<u16>,
    },
    /// What the machine's owner trusts: `system-ca`.
    System,
}

impl fmt::Display for TrustKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Backend(policy) => write!(f, "backend-ca://{policy}"),
            Self::XBackend(backend) => write!(f, "xbackend-ca://{backend}"),
            Self::Clients { gateway, port: Some(port) } => write!(f, "client-ca://{gateway}/{port}"),
            Self::Clients { gateway, port: None } => write!(f, "client-ca://{gateway}/default"),
            Self::System => f.write_str("system-ca"),
        }
    }
}

/// The authorities of a set.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trust {
    /// Their certificates in PEM; never empty.
    Roots(Arc<[u8]>),
    /// Those of the machine that the proxy runs on.
    System,
}
