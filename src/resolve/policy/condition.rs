//! `when` of a policy's rules.

use super::clause::{Never, Reader, block, host, port, principal, service_account, string};
use crate::status::quoted;
use model::{ConditionKey, PolicyCondition};
use std::sync::Arc;

/// Reads a condition. None is one that can't be read and restricts nothing, in a DENY policy.
pub(super) fn read(reader: &mut Reader, at: &str, written: &api::Condition) -> Result<Option<PolicyCondition>, Never> {
    if written.values.is_empty() && written.not_values.is_empty() {
        return reader.problem(format!("{at}: wanted values or notValues"));
    }
    let before = reader.problems.len();
    let key = key(reader, at, written)?;
    // A clause that was given up in a DENY policy would otherwise stand as one without values.
    Ok(key.filter(|_| reader.problems.len() == before).map(|key| PolicyCondition { key }))
}

fn key(reader: &mut Reader, at: &str, written: &api::Condition) -> Result<Option<ConditionKey>, Never> {
    let names = ["values", "notValues"];
    let values = [&written.values[..], &written.not_values[..]];
    let own = reader.namespace.clone();
    let account = move |text: &str| service_account(&own, text);
    Ok(Some(match &*written.key {
        "source.ip" => ConditionKey::SourceIp(reader.set(at, names, values, block)?),
        "remote.ip" => ConditionKey::RemoteIp(reader.set(at, names, values, block)?),
        "source.namespace" => ConditionKey::SourceNamespace(reader.set(at, names, values, string)?),
        "source.serviceAccount" => ConditionKey::SourceServiceAccount(reader.set(at, names, values, account)?),
        "source.trustDomain" => ConditionKey::SourceTrustDomain(reader.set(at, names, values, string)?),
        "source.principal" => ConditionKey::SourcePrincipal(reader.set(at, names, values, principal)?),
        "request.auth.principal" => ConditionKey::RequestPrincipal(reader.set(at, names, values, string)?),
        "request.auth.audiences" => ConditionKey::RequestAudiences(reader.set(at, names, values, string)?),
        "request.auth.presenter" => ConditionKey::RequestPresenter(reader.set(at, names, values, string)?),
        "destination.ip" => ConditionKey::DestinationIp(reader.set(at, names, values, block)?),
        "destination.port" => ConditionKey::DestinationPort(reader.set(at, names, values, port)?),
        "connection.sni" => ConditionKey::Sni(reader.set(at, names, values, host)?),
        other => match (header(other), claim(other)) {
            (Some(name), _) => ConditionKey::Header(name, reader.set(at, names, values, string)?),
            (_, Some(path)) => ConditionKey::RequestClaim(path, reader.set(at, names, values, string)?),
            (None, None) => return reader.problem(format!("{at}.key: {} is not known", quoted(other))),
        },
    }))
}

/// `request.headers[name]`
fn header(key: &str) -> Option<Arc<str>> {
    let name = key.strip_prefix("request.headers[")?.strip_suffix(']')?;
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let plain = name.strip_prefix(':').unwrap_or(name);
    (!plain.is_empty() && plain.bytes().all(is_name)).then(|| name.to_ascii_lowercase().into())
}

/// `request.auth.claims[a][b]`
fn claim(key: &str) -> Option<Vec<Arc<str>>> {
    let path = key.strip_prefix("request.auth.claims[")?.strip_suffix(']')?;
    let parts: Vec<Arc<str>> = path.split("][").map(Arc::from).collect();
    parts.iter().all(|part| !part.is_empty() && !part.contains(['[', ']'])).then_some(parts)
}
