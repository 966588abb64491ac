//! Streams: connections and datagrams that nobody looks into, and where they go.

use crate::{Hostname, ListenerKey, Protocol};
use std::sync::Arc;

/// Which stream of which listener: a TCP or UDP listener has one, a TLS listener one for each host of its routes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamKey {
    /// The listener.
    pub listener: ListenerKey,
    /// Its port.
    pub port: u16,
    /// TCP, TLS or UDP.
    pub protocol: Protocol,
    /// The server names (SNI) that it is for; every host for TCP and UDP.
    pub host: Hostname,
}

/// Where a stream goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stream {
    /// Backends with a weight above zero, in the order of the object. None: connections are rejected.
    pub backends: Vec<StreamBackend>,
}

/// One weighted backend of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamBackend {
    /// The cluster's name; none if the reference is invalid: its share of the connections is rejected.
    pub cluster: Option<Arc<str>>,
    /// Above zero.
    pub weight: u32,
}
