//! The PROXY protocol: whom a connection was opened for, said by who passes it on (haproxy's `proxy-protocol.txt`).

mod read;
#[cfg(test)]
mod tests;
mod write;

pub use read::{Fault, Header, Step};
pub use write::version2;

use std::net::SocketAddr;

/// Both ends of the connection that was passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    /// Who opened it.
    pub from: SocketAddr,
    /// Where to.
    pub to: SocketAddr,
}
