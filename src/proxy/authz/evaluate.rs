//! Evaluation: Envoy's rules, branch by branch.

use super::{Effect, Explanation, Input, Note, PeerCertificate, Permission, Policy, Principal, Rbac, Verdict};
use crate::{config::StringMatch, route::Headers};
use std::net::IpAddr;

impl Rbac {
    /// Whether a request may go on. Denials cost the search for the nearest policy; the common case does not.
    pub fn check<H: Headers + ?Sized>(&self, input: &Input<'_, H>) -> Verdict {
        let Some(rules) = &self.rules else { return Verdict::Allowed };
        let matched = rules.policies.iter().find(|policy| policy.matches(input));
        match (rules.effect, matched) {
            (Effect::Log, _) | (Effect::Allow, Some(_)) | (Effect::Deny, None) => Verdict::Allowed,
            (Effect::Deny, Some(policy)) => Verdict::Denied(Box::new(Explanation::matched(&policy.name))),
            (Effect::Allow, None) => Verdict::Denied(Box::new(Explanation::nearest(rules, input))),
        }
    }

    /// What the shadow rules would decide, if there are any.
    pub fn shadow<H: Headers + ?Sized>(&self, input: &Input<'_, H>) -> Option<Note> {
        let shadow = self.shadow.as_ref()?;
        let matched = shadow.rules.policies.iter().find(|policy| policy.matches(input));
        let allowed = match shadow.rules.effect {
            Effect::Allow => matched.is_some(),
            Effect::Deny => matched.is_none(),
            Effect::Log => true,
        };
        Some(Note { prefix: shadow.prefix.clone(), allowed, policy: matched.map(|policy| policy.name.clone()) })
    }
}

impl Policy {
    /// Whether any permission and any principal match.
    pub fn matches<H: Headers + ?Sized>(&self, input: &Input<'_, H>) -> bool {
        self.permissions.iter().any(|permission| permission.matches(input))
            && self.principals.iter().any(|principal| principal.matches(input))
    }
}

impl Permission {
    /// Whether this is what is asked for.
    pub fn matches<H: Headers + ?Sized>(&self, input: &Input<'_, H>) -> bool {
        match self {
            Permission::Any => true,
            Permission::All(all) => all.iter().all(|one| one.matches(input)),
            Permission::OneOf(any) => any.iter().any(|one| one.matches(input)),
            Permission::Not(one) => !one.matches(input),
            Permission::Header(header) => header.matches(input.request),
            Permission::Path(path) => path.matches(input.request.path),
            Permission::Template(template) => template.matches(input.request.path),
            Permission::DestinationIp(block) => block.contains(&canonical(input.local.ip())),
            Permission::DestinationPort(port) => input.local.port() == *port,
            Permission::DestinationPorts(start, end) => (*start..*end).contains(&input.local.port()),
            Permission::ServerName(name) => name.matches(input.server_name.unwrap_or_default()),
            Permission::Metadata(wanted) => wanted.matches(input.metadata),
        }
    }
}

impl Principal {
    /// Whether this is who asks.
    pub fn matches<H: Headers + ?Sized>(&self, input: &Input<'_, H>) -> bool {
        match self {
            Principal::Any => true,
            Principal::All(all) => all.iter().all(|one| one.matches(input)),
            Principal::OneOf(any) => any.iter().any(|one| one.matches(input)),
            Principal::Not(one) => !one.matches(input),
            Principal::Authenticated(name) => authenticated(input.certificate, name.as_ref()),
            Principal::Verified(name) => input.certificate.is_some_and(|certificate| {
                let is_named = |name: &StringMatch| certificate.uris.iter().any(|uri| name.matches(uri));
                certificate.verified && name.as_ref().is_none_or(is_named)
            }),
            Principal::DirectIp(block) => block.contains(&canonical(input.peer.ip())),
            Principal::RemoteIp(block) => block.contains(&canonical(input.remote)),
            Principal::Header(header) => header.matches(input.request),
            Principal::Path(path) => path.matches(input.request.path),
            Principal::Metadata(wanted) => wanted.matches(input.metadata),
        }
    }
}

/// Envoy's order: no TLS is no one; any name will do if none is asked for; else URI names, DNS names, the subject.
fn authenticated(certificate: Option<&PeerCertificate>, wanted: Option<&StringMatch>) -> bool {
    let Some(PeerCertificate { uris, dns, subject, .. }) = certificate else { return false };
    wanted.is_none_or(|wanted| {
        uris.iter().any(|uri| wanted.matches(uri))
            || dns.iter().any(|name| wanted.matches(name))
            || wanted.matches(subject)
    })
}

/// A mapped address is the IPv4 address that it maps, so that no block can be stepped around by the other spelling.
pub(super) fn canonical(address: IpAddr) -> IpAddr {
    address.to_canonical()
}
