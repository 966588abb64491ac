//! What policies mean, straight from `model::policy` and `src/ARCHITECTURE.md` ("One canonical request").

use crate::request::Request;
use ipnet::IpNet;
use model::{ConditionKey, Operation, Policy, PolicyAction, PolicyRule, Source, StringMatch, ValueSet};
use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

/// Whether a request may pass.
pub fn allows(policies: &[Policy], request: &Request) -> bool {
    let of = |action| policies.iter().filter(move |policy| policy.action == action && !policy.dry_run);
    let hit = |policy: &Policy| hits(policy, request);
    !of(PolicyAction::Deny).any(hit) && (of(PolicyAction::Allow).next().is_none() || of(PolicyAction::Allow).any(hit))
}

/// What is noted of a request that gets as far as every filter: by prefix, what would be decided. AUDIT policies say
/// whether any of them matches.
pub fn noted(policies: &[Policy], request: &Request) -> BTreeMap<String, bool> {
    let kinds = [
        ("windlass_audit_", PolicyAction::Audit),
        ("istio_dry_run_deny_", PolicyAction::Deny),
        ("istio_dry_run_allow_", PolicyAction::Allow),
    ];
    let note = |(prefix, action): (&str, PolicyAction)| {
        let is_noted = |policy: &&Policy| policy.action == action && (policy.dry_run || action == PolicyAction::Audit);
        let policies: Vec<&Policy> = policies.iter().filter(is_noted).collect();
        let hit = policies.iter().any(|policy| hits(policy, request));
        (!policies.is_empty()).then(|| (prefix.to_owned(), hit != (action == PolicyAction::Deny)))
    };
    kinds.into_iter().filter_map(note).collect()
}

fn hits(policy: &Policy, request: &Request) -> bool {
    policy.rules.iter().any(|rule| matches(policy.action, rule, request))
}

fn matches(action: PolicyAction, rule: &PolicyRule, request: &Request) -> bool {
    (rule.from.is_empty() || rule.from.iter().any(|from| source(from, request)))
        && (rule.to.is_empty() || rule.to.iter().any(|to| operation(action, to, request)))
        && rule.when.iter().all(|when| condition(&when.key, request))
}

fn set<T>(set: &ValueSet<T>, matches: impl Fn(&T) -> bool) -> bool {
    (set.any.is_empty() || set.any.iter().any(&matches)) && !set.none.iter().any(&matches)
}

/// Matches what is there; what isn't there matches nothing.
fn text(wanted: &StringMatch, seen: Option<&str>) -> bool {
    let Some(seen) = seen else { return false };
    match wanted {
        StringMatch::Exact(text) => seen == &**text,
        StringMatch::Prefix(text) => seen.starts_with(&**text),
        StringMatch::Suffix(text) => seen.ends_with(&**text),
        StringMatch::Present => !seen.is_empty(),
        StringMatch::Template(template) => glob(template, seen),
    }
}

fn glob(template: &str, path: &str) -> bool {
    if let Some(rest) = template.strip_prefix("{**}") {
        return (0..=path.len()).any(|at| glob(rest, &path[at..]));
    }
    if let Some(rest) = template.strip_prefix("{*}") {
        let segment = path.find('/').unwrap_or(path.len());
        return (1..=segment).any(|at| glob(rest, &path[at..]));
    }
    match (template.chars().next(), path.chars().next()) {
        (None, None) => true,
        (Some(a), Some(b)) if a == b => glob(&template[1..], &path[1..]),
        _ => false,
    }
}

/// Trust domain, namespace, service account.
fn identity(request: &Request) -> Option<[&str; 3]> {
    let parts: Vec<&str> = request.peer.as_deref()?.strip_prefix("spiffe://")?.split('/').collect();
    match parts[..] {
        [domain, "ns", namespace, "sa", account] => Some([domain, namespace, account]),
        _ => None,
    }
}

fn principal(wanted: &StringMatch, request: &Request) -> bool {
    text(wanted, request.peer.as_deref().and_then(|uri| uri.strip_prefix("spiffe://")))
}

fn namespace(wanted: &StringMatch, request: &Request) -> bool {
    text(wanted, identity(request).map(|[_, namespace, _]| namespace))
}

fn trust_domain(wanted: &StringMatch, request: &Request) -> bool {
    text(wanted, identity(request).map(|[domain, ..]| domain))
}

fn account(wanted: &(Arc<str>, Arc<str>), request: &Request) -> bool {
    identity(request).is_some_and(|[_, namespace, account]| namespace == &*wanted.0 && account == &*wanted.1)
}

fn ip(net: &IpNet, address: IpAddr) -> bool {
    net.contains(&address)
}

fn request_principal(wanted: &StringMatch, request: &Request) -> bool {
    let part = |name: &str| request.claims.as_ref()?.get(name)?.as_str();
    let both = part("iss").zip(part("sub")).map(|(issuer, subject)| format!("{issuer}/{subject}"));
    text(wanted, both.as_deref())
}

fn claim(path: &[Arc<str>], wanted: &StringMatch, request: &Request) -> bool {
    let mut value = request.claims.as_ref();
    for key in path {
        value = value.and_then(|value| value.get(&**key));
    }
    match value {
        Some(serde_json::Value::Array(list)) => list.iter().any(|one| text(wanted, one.as_str())),
        Some(value) => text(wanted, value.as_str()),
        None => false,
    }
}

fn source(from: &Source, request: &Request) -> bool {
    set(&from.principals, |one| principal(one, request))
        && set(&from.request_principals, |one| request_principal(one, request))
        && set(&from.namespaces, |one| namespace(one, request))
        && set(&from.service_accounts, |one| account(one, request))
        && set(&from.trust_domains, |one| trust_domain(one, request))
        && set(&from.ip_blocks, |one| ip(one, request.direct))
        && set(&from.remote_ip_blocks, |one| ip(one, request.remote))
}

fn host(wanted: &StringMatch, request: &Request) -> bool {
    let seen = request.host.to_ascii_lowercase();
    let wanted = match wanted {
        StringMatch::Exact(text) => StringMatch::Exact(text.to_ascii_lowercase().into()),
        StringMatch::Prefix(text) => StringMatch::Prefix(text.to_ascii_lowercase().into()),
        StringMatch::Suffix(text) => StringMatch::Suffix(text.to_ascii_lowercase().into()),
        other => other.clone(),
    };
    let without_port = match seen.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => host,
        _ => &seen,
    };
    text(&wanted, Some(&seen)) || text(&wanted, Some(without_port))
}

fn operation(action: PolicyAction, to: &Operation, request: &Request) -> bool {
    set(&to.hosts, |one| host(one, request))
        && set(&to.ports, |port| *port == request.port)
        && set(&to.methods, |one| text(one, Some(&request.method)))
        && paths(action, &to.paths, &request.path)
}

/// A path with an escaped slash, or a dot segment with parameters, can't be judged: DENY assumes the worst of it, and so does ALLOW.
fn paths(action: PolicyAction, paths: &ValueSet<StringMatch>, path: &str) -> bool {
    let lower = path.to_ascii_lowercase();
    let doubtful = ["%2f", "%5c", "/.;", "/..;"].iter().any(|part| lower.contains(part));
    let part = |values: &[StringMatch], wanted: bool| {
        let holds = values.iter().any(|one| text(one, Some(path))) == wanted;
        match (doubtful && !values.contains(&StringMatch::Present), action) {
            (false, _) => holds,
            (true, PolicyAction::Deny | PolicyAction::Audit | PolicyAction::Custom) => true,
            (true, PolicyAction::Allow) => false,
        }
    };
    (paths.any.is_empty() || part(&paths.any, true)) && (paths.none.is_empty() || part(&paths.none, false))
}

/// One line is enough; to be there is to have a line.
fn header(wanted: &StringMatch, lines: &[&str]) -> bool {
    lines.iter().any(|line| *wanted == StringMatch::Present || text(wanted, Some(line)))
}

fn condition(key: &ConditionKey, request: &Request) -> bool {
    match key {
        ConditionKey::Header(name, values) => set(values, |one| header(one, &request.lines(name))),
        ConditionKey::SourceIp(values) => set(values, |one| ip(one, request.direct)),
        ConditionKey::RemoteIp(values) => set(values, |one| ip(one, request.remote)),
        ConditionKey::SourceNamespace(values) => set(values, |one| namespace(one, request)),
        ConditionKey::SourceServiceAccount(values) => set(values, |one| account(one, request)),
        ConditionKey::SourceTrustDomain(values) => set(values, |one| trust_domain(one, request)),
        ConditionKey::SourcePrincipal(values) => set(values, |one| principal(one, request)),
        ConditionKey::RequestPrincipal(values) => set(values, |one| request_principal(one, request)),
        ConditionKey::RequestAudiences(values) => set(values, |one| claim(&["aud".into()], one, request)),
        ConditionKey::RequestPresenter(values) => set(values, |one| claim(&["azp".into()], one, request)),
        ConditionKey::RequestClaim(path, values) => set(values, |one| claim(path, one, request)),
        ConditionKey::DestinationIp(values) => set(values, |one| ip(one, request.local)),
        ConditionKey::DestinationPort(values) => set(values, |port| *port == request.port),
        // Envoy looks at the name asked for, and none is the empty name.
        ConditionKey::Sni(values) => set(values, |one| text(one, Some(request.sni.as_deref().unwrap_or_default()))),
    }
}
