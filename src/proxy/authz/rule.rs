//! Envoy's RBAC in compiled form.

use super::MetadataMatch;
use crate::config::{HeaderMatch, Name, StringMatch};
use ipnet::IpNet;

/// What a set of policies does with what it matches (`RBAC.action`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// What matches goes on, all else is denied.
    Allow,
    /// What matches is denied, all else goes on.
    Deny,
    /// Nothing is denied.
    Log,
}

/// What is asked for.
#[derive(Clone, Debug)]
pub enum Permission {
    /// Anything.
    Any,
    /// All of them.
    All(Vec<Permission>),
    /// One of them.
    OneOf(Vec<Permission>),
    /// Not this.
    Not(Box<Permission>),
    /// A header, `:method`, `:authority`.
    Header(HeaderMatch),
    /// The canonical path, without query.
    Path(StringMatch),
    /// The path fits a template (`envoy.path.match.uri_template`).
    Template(super::Template),
    /// The address that the client connected to.
    DestinationIp(IpNet),
    /// The port that the client connected to.
    DestinationPort(u16),
    /// The port is in `start..end`.
    DestinationPorts(u16, u16),
    /// The server name that the client asked for; none is empty.
    ServerName(StringMatch),
    /// What filters before have said.
    Metadata(MetadataMatch),
}

/// Who asks.
#[derive(Clone, Debug)]
pub enum Principal {
    /// Anyone.
    Any,
    /// All of them.
    All(Vec<Principal>),
    /// One of them.
    OneOf(Vec<Principal>),
    /// Not this.
    Not(Box<Principal>),
    /// A client whose certificate was verified; with a match, one whose URI name, else DNS name, else subject matches.
    Authenticated(Option<StringMatch>),
    /// A client whose certificate was verified; with a match, one of whose URI names matches.
    Verified(Option<StringMatch>),
    /// The address of the connection's peer.
    DirectIp(IpNet),
    /// The address of the client after `x-forwarded-for`.
    RemoteIp(IpNet),
    /// A header.
    Header(HeaderMatch),
    /// The canonical path, without query.
    Path(StringMatch),
    /// What filters before have said.
    Metadata(MetadataMatch),
}

/// One policy: any permission and any principal.
#[derive(Clone, Debug)]
pub struct Policy {
    /// `ns[<ns>]-policy[<name>]-rule[<i>]`
    pub name: Name,
    /// Any of these.
    pub permissions: Vec<Permission>,
    /// Any of these.
    pub principals: Vec<Principal>,
}

/// Policies with one effect.
#[derive(Clone, Debug)]
pub struct Rules {
    /// What they do.
    pub effect: Effect,
    /// By name.
    pub policies: Vec<Policy>,
}

/// An RBAC filter.
#[derive(Clone, Debug, Default)]
pub struct Rbac {
    /// None enforces nothing.
    pub rules: Option<Rules>,
    /// Rules that decide nothing: what they would decide is noted.
    pub shadow: Option<Shadow>,
}

/// Rules that decide nothing.
#[derive(Clone, Debug)]
pub struct Shadow {
    /// What would be decided.
    pub rules: Rules,
    /// What the keys of the note start with.
    pub prefix: Name,
}
