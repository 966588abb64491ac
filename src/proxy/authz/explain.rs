//! Why a request was denied: policy, rule, and the nearest clause that did not hold, with wanted and seen.

use super::{Input, JWT, Metadata, MetadataMatch, PeerCertificate, Permission, Principal, Rules};
use crate::{
    config::{HeaderMatch, HeaderRule, StringMatch},
    route::Headers,
};
use std::fmt;

/// Longest text of a value in an explanation, characters: a client chooses what is seen.
const LONGEST: usize = 120;

/// One clause that did not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clause {
    /// As the policy spells it: `operation.methods`, `source.principals`, `request.headers[x]`.
    pub field: String,
    /// What it asks for.
    pub wanted: String,
    /// What the request has.
    pub seen: String,
}

/// What decided a denial.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// A DENY policy matched.
    Matched,
    /// No ALLOW policy matched.
    NoneMatched,
    /// The configuration names policies that have not come.
    Missing,
    /// A token is not valid.
    Token,
}

/// Why a request was denied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// The DENY policy that matched, or the ALLOW policy that came nearest; none if there is no policy at all.
    pub policy: Option<PolicyName>,
    /// What kept the nearest ALLOW policy from matching; none for a DENY policy that matched.
    pub clause: Option<Clause>,
    /// What decided.
    pub reason: Reason,
    /// Envoy's `response_code_details`.
    pub details: String,
}

/// A rule by the name that it has on the wire, `ns[<ns>]-policy[<name>]-rule[<i>]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyName {
    /// `<ns>/<name>`, or the whole text if it has another form.
    pub policy: String,
    /// The index of the rule.
    pub rule: Option<u32>,
}

impl PolicyName {
    /// Reads a name off the wire.
    pub fn parse(name: &str) -> Self {
        let parts = || {
            let rest = name.strip_prefix("ns[")?.strip_suffix(']')?;
            let (namespace, rest) = rest.split_once("]-policy[")?;
            let (policy, rule) = rest.rsplit_once("]-rule[")?;
            Some(Self { policy: format!("{namespace}/{policy}"), rule: Some(rule.parse().ok()?) })
        };
        parts().unwrap_or_else(|| Self { policy: name.into(), rule: None })
    }
}

impl fmt::Display for PolicyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.rule {
            Some(rule) => write!(f, "{} rule {rule}", self.policy),
            None => f.write_str(&self.policy),
        }
    }
}

impl Explanation {
    /// A DENY policy matched.
    pub(super) fn matched(name: &str) -> Self {
        let details = details(name);
        Self { policy: Some(PolicyName::parse(name)), clause: None, reason: Reason::Matched, details }
    }

    /// No ALLOW policy matched: the one with the fewest clauses that don't hold is named; the first of equals.
    pub(super) fn nearest<H: Headers + ?Sized>(rules: &Rules, input: &Input<'_, H>) -> Self {
        let nearest = rules.policies.iter().map(|policy| {
            let who = any(policy.principals.iter().map(|principal| principal.distance(input)));
            let what = any(policy.permissions.iter().map(|permission| permission.distance(input)));
            (policy, both(who, what))
        });
        let nearest = nearest.min_by_key(|(_, miss)| miss.count);
        Self {
            policy: nearest.as_ref().map(|(policy, _)| PolicyName::parse(&policy.name)),
            clause: nearest.and_then(|(_, miss)| miss.clause),
            reason: Reason::NoneMatched,
            details: details("none"),
        }
    }

    /// A token is not valid, says a rule of a RequestAuthentication, `<ns>/<name>/<index>`.
    pub fn token(provider: &str, failure: &str) -> Self {
        let (policy, rule) = match provider.rsplit_once('/') {
            Some((policy, rule)) => (policy, rule.parse().ok()),
            None => (provider, None),
        };
        let clause = clause("token", "a valid one".into(), failure.to_owned());
        Self {
            policy: Some(PolicyName { policy: policy.into(), rule }),
            clause: Some(clause),
            reason: Reason::Token,
            details: format!("jwt_authn_access_denied{{{}}}", failure.replace(' ', "_")),
        }
    }

    /// A policy that the configuration names has not arrived, so nothing may pass.
    pub fn missing(name: &str) -> Self {
        Self {
            policy: Some(PolicyName { policy: name.into(), rule: None }),
            clause: None,
            reason: Reason::Missing,
            details: details("none"),
        }
    }
}

/// Envoy's `response_code_details`: blanks would break a log line.
fn details(name: &str) -> String {
    format!("rbac_access_denied_matched_policy[{}]", name.replace([' ', '\t', '\n', '\r'], "_"))
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.policy, &self.clause, self.reason) {
            (Some(policy), _, Reason::Missing) => write!(f, "the policies {policy} have not been received"),
            (Some(policy), clause, Reason::Token) => {
                let seen = clause.as_ref().map_or("not valid", |clause| &clause.seen);
                write!(f, "RequestAuthentication {policy} takes no such token: {seen}")
            }
            (Some(policy), _, Reason::Matched) => write!(f, "DENY policy {policy} matches"),
            (Some(policy), Some(Clause { field, wanted, seen }), Reason::NoneMatched) => {
                write!(f, "no ALLOW policy matches; nearest is {policy}: {field} wanted {wanted}, saw {seen}")
            }
            (Some(policy), None, Reason::NoneMatched) => write!(f, "no ALLOW policy matches; nearest is {policy}"),
            (None, ..) => f.write_str("no ALLOW policy matches: there is no rule that could"),
        }
    }
}

/// How far something is from matching: how many of its clauses don't hold, and the first of them.
struct Miss {
    count: u32,
    clause: Option<Clause>,
}

const HIT: Miss = Miss { count: 0, clause: None };

/// The nearest of several; alternatives of one field are told together.
fn any(alternatives: impl Iterator<Item = Miss>) -> Miss {
    let mut nearest: Option<Miss> = None;
    for miss in alternatives {
        match &mut nearest {
            Some(best) if best.count < miss.count => {}
            Some(best) if best.count == miss.count => {
                if let (Some(one), Some(other)) = (&mut best.clause, &miss.clause)
                    && one.field == other.field
                    && one.wanted.len() < LONGEST
                    && !one.wanted.ends_with(&other.wanted)
                {
                    one.wanted = format!("{} or {}", one.wanted, other.wanted);
                }
            }
            _ => nearest = Some(miss),
        }
    }
    // Nothing to choose from: nothing can match.
    nearest.unwrap_or(Miss { count: 1, clause: None })
}

fn both(one: Miss, other: Miss) -> Miss {
    Miss { count: one.count.saturating_add(other.count), clause: one.clause.or(other.clause) }
}

impl Permission {
    fn distance<H: Headers + ?Sized>(&self, input: &Input<'_, H>) -> Miss {
        match self {
            Permission::All(all) => all.iter().map(|one| one.distance(input)).fold(HIT, both),
            Permission::OneOf(one_of) => any(one_of.iter().map(|one| one.distance(input))),
            _ if self.matches(input) => HIT,
            _ => Miss { count: 1, clause: Some(self.clause(input)) },
        }
    }

    fn clause<H: Headers + ?Sized>(&self, input: &Input<'_, H>) -> Clause {
        let request = input.request;
        match self {
            Permission::Not(one) => negated(one.clause(input)),
            Permission::Header(header) => header_clause(header, request.header(&header.name).as_deref()),
            Permission::Path(path) => clause("operation.paths", path.to_string(), quoted(request.path)),
            Permission::Template(path) => clause("operation.paths", path.to_string(), quoted(request.path)),
            Permission::DestinationIp(block) => {
                clause("destination.ip", block.to_string(), input.local.ip().to_string())
            }
            Permission::DestinationPort(port) => {
                clause("operation.ports", port.to_string(), input.local.port().to_string())
            }
            Permission::DestinationPorts(start, end) => {
                clause("operation.ports", format!("{start}..{end}"), input.local.port().to_string())
            }
            Permission::ServerName(name) => clause("connection.sni", name.to_string(), seen(input.server_name)),
            Permission::Metadata(wanted) => metadata_clause(wanted, input.metadata),
            Permission::Any => clause("operation", "anything".into(), "anything".into()),
            // A negated group: its first part stands for it.
            Permission::All(group) | Permission::OneOf(group) => match group.first() {
                Some(first) => first.clause(input),
                None => clause("operation", "nothing".into(), "anything".into()),
            },
        }
    }
}

impl Principal {
    fn distance<H: Headers + ?Sized>(&self, input: &Input<'_, H>) -> Miss {
        match self {
            Principal::All(all) => all.iter().map(|one| one.distance(input)).fold(HIT, both),
            Principal::OneOf(one_of) => any(one_of.iter().map(|one| one.distance(input))),
            _ if self.matches(input) => HIT,
            _ => Miss { count: 1, clause: Some(self.clause(input)) },
        }
    }

    fn clause<H: Headers + ?Sized>(&self, input: &Input<'_, H>) -> Clause {
        match self {
            Principal::Not(one) => negated(one.clause(input)),
            Principal::Authenticated(name) | Principal::Verified(name) => {
                let wanted = name.as_ref().map_or("any client certificate".into(), ToString::to_string);
                clause("source.principals", wanted, certificate(input.certificate))
            }
            Principal::DirectIp(block) => clause("source.ipBlocks", block.to_string(), input.peer.ip().to_string()),
            Principal::RemoteIp(block) => clause("source.remoteIpBlocks", block.to_string(), input.remote.to_string()),
            Principal::Header(header) => header_clause(header, input.request.header(&header.name).as_deref()),
            Principal::Path(path) => clause("operation.paths", path.to_string(), quoted(input.request.path)),
            Principal::Metadata(wanted) => metadata_clause(wanted, input.metadata),
            Principal::Any => clause("source", "anyone".into(), "anyone".into()),
            Principal::All(group) | Principal::OneOf(group) => match group.first() {
                Some(first) => first.clause(input),
                None => clause("source", "no one".into(), "anyone".into()),
            },
        }
    }
}

fn clause(field: &str, wanted: String, seen: String) -> Clause {
    Clause { field: field.into(), wanted, seen }
}

fn negated(inner: Clause) -> Clause {
    Clause { wanted: format!("not {}", inner.wanted), ..inner }
}

fn header_clause(header: &HeaderMatch, value: Option<&str>) -> Clause {
    let field = match &*header.name {
        ":method" => "operation.methods".into(),
        ":authority" | "host" => "operation.hosts".into(),
        ":path" => "operation.paths".into(),
        name => format!("request.headers[{name}]"),
    };
    let wanted = match &header.rule {
        HeaderRule::Present(true) => "a value".into(),
        HeaderRule::Present(false) => "none".into(),
        HeaderRule::Value(value) => value.to_string(),
        HeaderRule::Range(start, end) => format!("{start}..{end}"),
    };
    let wanted = if header.invert { format!("not {wanted}") } else { wanted };
    Clause { field, wanted, seen: seen(value) }
}

/// Claims have the names that policies give them.
fn metadata_clause(wanted: &MetadataMatch, metadata: &Metadata) -> Clause {
    let keys: Vec<&str> = wanted.path.iter().map(|key| &**key).collect();
    let field = match (&*wanted.filter, &keys[..]) {
        (JWT, [_, "iss"]) => "source.requestPrincipals (issuer)".to_owned(),
        (JWT, [_, "sub"]) => "source.requestPrincipals (subject)".to_owned(),
        (JWT, [_, "aud"]) => "request.auth.audiences".to_owned(),
        (JWT, [_, "azp"]) => "request.auth.presenter".to_owned(),
        (JWT, [_, claims @ ..]) => format!("request.auth.claims[{}]", claims.join("][")),
        (filter, keys) => format!("{filter}[{}]", keys.join("][")),
    };
    let value = metadata.get(&wanted.filter, &wanted.path).map(|value| value.to_string());
    let seen = value.map_or("none".to_owned(), |value| value.chars().take(LONGEST).collect());
    let text = wanted.value.wanted().to_string();
    Clause { field, wanted: if wanted.invert { format!("not {text}") } else { text }, seen }
}

fn certificate(names: Option<&PeerCertificate>) -> String {
    match names {
        None => "no TLS".into(),
        Some(names) => match names.uris.first().or(names.dns.first()).map(String::as_str).unwrap_or(&names.subject) {
            "" => "no client certificate".into(),
            name => quoted(name),
        },
    }
}

fn seen(value: Option<&str>) -> String {
    value.map_or("none".into(), quoted)
}

fn quoted(text: &str) -> String {
    match text.char_indices().nth(LONGEST) {
        None => format!("{text:?}"),
        Some((end, _)) => format!("{:?}…", &text[..end]),
    }
}

impl fmt::Display for StringMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StringMatch::Exact(text, _) => write!(f, "{text:?}"),
            StringMatch::Prefix(text, _) => write!(f, "\"{text}*\""),
            StringMatch::Suffix(text, _) => write!(f, "\"*{text}\""),
            StringMatch::Contains(text, _) => write!(f, "\"*{text}*\""),
            StringMatch::Regex(regex) => write!(f, "/{regex}/"),
        }
    }
}
