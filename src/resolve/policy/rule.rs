//! Rules of a policy.

use super::{
    clause::{Never, Reader, block, host, path, port, principal, service_account, string},
    condition,
};
use model::{Operation, PolicyAction, PolicyRule, Source};
use std::sync::Arc;

/// The rules that can match. Of an ALLOW policy those are left out that can't be read.
pub(super) fn read(
    action: PolicyAction,
    namespace: &Arc<str>,
    rules: &[api::Rule],
    problems: &mut Vec<String>,
) -> Vec<PolicyRule> {
    let mut reader = Reader { action, namespace, problems };
    let each = (0..).zip(rules);
    each.filter_map(|(index, written)| rule(&mut reader, index, written).ok()).collect()
}

fn rule(reader: &mut Reader, index: u32, written: &api::Rule) -> Result<PolicyRule, Never> {
    let at = |field: &str| format!("spec.rules[{index}].{field}");
    let from = alternatives(reader, &at("from"), written.from.as_deref(), |reader, at, from| match &from.source {
        Some(written) => source(reader, &format!("{at}.source"), written),
        None => reader.problem(format!("{at}.source: missing")),
    });
    let to = alternatives(reader, &at("to"), written.to.as_deref(), |reader, at, to| match &to.operation {
        Some(written) => operation(reader, &format!("{at}.operation"), written),
        None => reader.problem(format!("{at}.operation: missing")),
    });
    let mut when = Vec::new();
    let mut never = None;
    for (place, written) in written.when.iter().enumerate() {
        match condition::read(reader, &at(&format!("when[{place}]")), written) {
            Ok(condition) => when.extend(condition),
            Err(why) => never = Some(why),
        }
    }
    match never {
        Some(never) => Err(never),
        None => Ok(PolicyRule { index, from: from?, to: to?, when }),
    }
}

/// Any of several; absent is everything. Those that never match are left out, and if none is left nothing matches.
fn alternatives<W, T: PartialEq + Default>(
    reader: &mut Reader,
    at: &str,
    written: Option<&[W]>,
    read: impl Fn(&mut Reader, &str, &W) -> Result<T, Never>,
) -> Result<Vec<T>, Never> {
    let Some(written) = written else { return Ok(Vec::new()) };
    if written.is_empty() {
        return reader.problem(format!("{at}: is empty; leave it out if everything shall match"));
    }
    let each = written.iter().enumerate();
    let alternatives: Vec<T> = each.filter_map(|(i, one)| read(reader, &format!("{at}[{i}]"), one).ok()).collect();
    if alternatives.is_empty() { Err(Never) } else { Ok(alternatives) }
}

fn source(reader: &mut Reader, at: &str, written: &api::Source) -> Result<Source, Never> {
    if *written == api::Source::default() {
        return reader.problem(format!("{at}: is empty; leave out the whole entry if everyone shall match"));
    }
    let api::Source {
        principals,
        not_principals,
        request_principals,
        not_request_principals,
        namespaces,
        not_namespaces,
        service_accounts,
        not_service_accounts,
        trust_domains,
        not_trust_domains,
        ip_blocks,
        not_ip_blocks,
        remote_ip_blocks,
        not_remote_ip_blocks,
    } = written;
    let accounts = !service_accounts.is_empty() || !not_service_accounts.is_empty();
    let others = [principals, not_principals, namespaces, not_namespaces].iter().any(|list| !list.is_empty());
    if accounts && others {
        return reader.problem(format!("{at}.serviceAccounts: can't stand beside principals and namespaces"));
    }
    let own = reader.namespace.clone();
    let account = move |text: &str| service_account(&own, text);
    // Every clause is read before one may fail the source, so that all problems are told.
    let principals = reader.set(at, ["principals", "notPrincipals"], [principals, not_principals], principal);
    let requests = [&request_principals[..], not_request_principals];
    let request_principals = reader.set(at, ["requestPrincipals", "notRequestPrincipals"], requests, string);
    let namespaces = reader.set(at, ["namespaces", "notNamespaces"], [namespaces, not_namespaces], string);
    let accounts = [&service_accounts[..], not_service_accounts];
    let service_accounts = reader.set(at, ["serviceAccounts", "notServiceAccounts"], accounts, account);
    let trust_domains = reader.set(at, ["trustDomains", "notTrustDomains"], [trust_domains, not_trust_domains], string);
    let ip_blocks = reader.set(at, ["ipBlocks", "notIpBlocks"], [ip_blocks, not_ip_blocks], block);
    let remotes = [&remote_ip_blocks[..], not_remote_ip_blocks];
    let remote_ip_blocks = reader.set(at, ["remoteIpBlocks", "notRemoteIpBlocks"], remotes, block);
    Ok(Source {
        principals: principals?,
        request_principals: request_principals?,
        namespaces: namespaces?,
        service_accounts: service_accounts?,
        trust_domains: trust_domains?,
        ip_blocks: ip_blocks?,
        remote_ip_blocks: remote_ip_blocks?,
    })
}

fn operation(reader: &mut Reader, at: &str, written: &api::Operation) -> Result<Operation, Never> {
    if *written == api::Operation::default() {
        return reader.problem(format!("{at}: is empty; leave out the whole entry if everything shall match"));
    }
    let api::Operation { hosts, not_hosts, ports, not_ports, methods, not_methods, paths, not_paths } = written;
    let hosts = reader.set(at, ["hosts", "notHosts"], [hosts, not_hosts], host);
    let ports = reader.set(at, ["ports", "notPorts"], [ports, not_ports], port);
    let methods = reader.set(at, ["methods", "notMethods"], [methods, not_methods], string);
    let paths = reader.set(at, ["paths", "notPaths"], [paths, not_paths], path);
    Ok(Operation { hosts: hosts?, ports: ports?, methods: methods?, paths: paths? })
}
