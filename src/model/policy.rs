//! Authorization policies: who may do what.
//!
//! Semantics (Istio AuthorizationPolicy): a rule matches if any of its `from`, any of its `to` and all of its `when`
//! match; absent parts match everything. DENY wins over ALLOW; once there is an ALLOW policy, what none of them matches
//! is denied. A policy without rules matches nothing, so ALLOW without rules denies everything.

use crate::ObjectKey;
use ipnet::IpNet;
use std::sync::Arc;

/// What a policy does with what it matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// Lets through.
    Allow,
    /// Refuses.
    Deny,
    /// Notes, and decides nothing.
    Audit,
    /// Asks the Gateway's [`crate::Authorizer`].
    Custom,
}

/// One policy that applies to a gateway.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Policy {
    /// The AuthorizationPolicy.
    pub key: ObjectKey,
    /// What it does.
    pub action: Action,
    /// Decides nothing: what it would have decided is noted.
    pub dry_run: bool,
    /// Those that can match: one that was refused is left out of an ALLOW policy.
    pub rules: Vec<Rule>,
}

/// One rule.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rule {
    /// Its place in the object. Rule `i` is named `ns[<ns>]-policy[<name>]-rule[<i>]` on the wire.
    pub index: u32,
    /// Any of these; empty is everyone.
    pub from: Vec<Source>,
    /// Any of these; empty is everything.
    pub to: Vec<Operation>,
    /// All of these.
    pub when: Vec<Condition>,
}

/// A set of values and its opposite: matches if any of `any` matches (or it is empty) and none of `none` does.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ValueSet<T> {
    /// Any of these; empty is no condition.
    pub any: Vec<T>,
    /// None of these.
    pub none: Vec<T>,
}

impl<T> Default for ValueSet<T> {
    fn default() -> Self {
        Self { any: Vec::new(), none: Vec::new() }
    }
}

impl<T> ValueSet<T> {
    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        self.any.is_empty() && self.none.is_empty()
    }
}

/// Istio's string match.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StringMatch {
    /// `abc`
    Exact(Arc<str>),
    /// `abc*`
    Prefix(Arc<str>),
    /// `*abc`
    Suffix(Arc<str>),
    /// `*`: present and not empty; of a header: present.
    Present,
    /// A path template: `{*}` is one segment, `{**}` any number. Only in `paths`.
    Template(Arc<str>),
}

/// Who; all fields must match.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Source {
    /// `<trust domain>/ns/<ns>/sa/<sa>`, without scheme.
    pub principals: ValueSet<StringMatch>,
    /// `<issuer>/<subject>` of a verified JWT.
    pub request_principals: ValueSet<StringMatch>,
    /// Namespace of the peer.
    pub namespaces: ValueSet<StringMatch>,
    /// `(namespace, service account)` of the peer.
    pub service_accounts: ValueSet<(Arc<str>, Arc<str>)>,
    /// Trust domain of the peer.
    pub trust_domains: ValueSet<StringMatch>,
    /// Address of the connection's peer.
    pub ip_blocks: ValueSet<IpNet>,
    /// Address of the client, after X-Forwarded-For or PROXY.
    pub remote_ip_blocks: ValueSet<IpNet>,
}

/// What; all fields must match.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Operation {
    /// Host, without regard to case.
    pub hosts: ValueSet<StringMatch>,
    /// Port of the listener that the client connected to.
    pub ports: ValueSet<u16>,
    /// Method.
    pub methods: ValueSet<StringMatch>,
    /// Canonical path, without query.
    pub paths: ValueSet<StringMatch>,
}

/// A further condition.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Condition {
    /// What is looked at, with the values it may have.
    pub key: ConditionKey,
}

/// What a condition looks at, with its values in the form that it needs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ConditionKey {
    /// `request.headers[name]`, the name in lower case. One line that matches is enough.
    Header(Arc<str>, ValueSet<StringMatch>),
    /// `source.ip`
    SourceIp(ValueSet<IpNet>),
    /// `remote.ip`
    RemoteIp(ValueSet<IpNet>),
    /// `source.namespace`
    SourceNamespace(ValueSet<StringMatch>),
    /// `source.serviceAccount`
    SourceServiceAccount(ValueSet<(Arc<str>, Arc<str>)>),
    /// `source.trustDomain`
    SourceTrustDomain(ValueSet<StringMatch>),
    /// `source.principal`
    SourcePrincipal(ValueSet<StringMatch>),
    /// `request.auth.principal`
    RequestPrincipal(ValueSet<StringMatch>),
    /// `request.auth.audiences`
    RequestAudiences(ValueSet<StringMatch>),
    /// `request.auth.presenter`
    RequestPresenter(ValueSet<StringMatch>),
    /// `request.auth.claims[a][b]`
    RequestClaim(Vec<Arc<str>>, ValueSet<StringMatch>),
    /// `destination.ip`
    DestinationIp(ValueSet<IpNet>),
    /// `destination.port`
    DestinationPort(ValueSet<u16>),
    /// `connection.sni`
    Sni(ValueSet<StringMatch>),
}
