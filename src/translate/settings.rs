//! What translation needs to know of the mesh and of the machine.

use std::{net::IpAddr, net::Ipv4Addr};

/// What access logs look like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AccessLog {
    /// None.
    Off,
    /// One line of text a request.
    #[default]
    Text,
    /// One JSON object a request.
    Json,
}

/// The same for all that is translated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The address that listeners bind.
    pub bind: IpAddr,
    /// Added to the port of every listener, for a machine where ports below 1024 can't be bound. Names stay by the
    /// Gateway's port.
    pub port_offset: u16,
    /// What gateways log.
    pub access_log: AccessLog,
}

impl Default for Settings {
    fn default() -> Self {
        Self { bind: Ipv4Addr::UNSPECIFIED.into(), port_offset: 0, access_log: AccessLog::Text }
    }
}

impl Settings {
    /// The port that is bound for a port of a Gateway: the sum, or the Gateway's own port if there is no such port.
    pub fn bound_port(&self, port: u16) -> u16 {
        port.checked_add(self.port_offset).unwrap_or(port)
    }
}
