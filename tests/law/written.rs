//! Policies as somebody would write them: `model::Policy` back to AuthorizationPolicies.

use anyhow::Result;
use model::{ConditionKey, Operation, Policy, PolicyAction, PolicyRule, Source, StringMatch, ValueSet};
use serde_json::{Map, Value, json};
use std::fmt::Display;

/// The same policies without what can't be written: texts with stars in them, empty lists, pseudo headers.
pub fn normal(mut policies: Vec<Policy>) -> Vec<Policy> {
    for rule in policies.iter_mut().flat_map(|policy| &mut policy.rules) {
        rule.from.iter_mut().for_each(source);
        rule.from.retain(|source| *source != Source::default());
        rule.to.iter_mut().for_each(operation);
        rule.to.retain(|operation| *operation != Operation::default());
        rule.when.retain_mut(|when| condition(&mut when.key));
    }
    policies
}

fn keep<T>(set: &mut ValueSet<T>, writable: impl Fn(&T) -> bool) {
    set.any.retain(&writable);
    set.none.retain(&writable);
}

fn texts(set: &mut ValueSet<StringMatch>) {
    keep(set, |value| text(value).is_some());
}

fn source(source: &mut Source) {
    texts(&mut source.principals);
    texts(&mut source.request_principals);
    texts(&mut source.namespaces);
    texts(&mut source.trust_domains);
    keep(&mut source.service_accounts, |(_, account)| !account.contains('*'));
    if source.service_accounts != ValueSet::default() {
        // Not together with these.
        (source.principals, source.namespaces) = Default::default();
    }
}

fn operation(operation: &mut Operation) {
    texts(&mut operation.hosts);
    texts(&mut operation.methods);
    texts(&mut operation.paths);
}

/// Says whether anything is left.
fn condition(key: &mut ConditionKey) -> bool {
    match key {
        ConditionKey::Header(name, _) if name.starts_with(':') => return false,
        ConditionKey::SourceServiceAccount(values) => keep(values, |(_, account)| !account.contains('*')),
        ConditionKey::Header(_, values)
        | ConditionKey::SourceNamespace(values)
        | ConditionKey::SourceTrustDomain(values)
        | ConditionKey::SourcePrincipal(values)
        | ConditionKey::RequestPrincipal(values)
        | ConditionKey::RequestAudiences(values)
        | ConditionKey::RequestPresenter(values)
        | ConditionKey::RequestClaim(_, values)
        | ConditionKey::Sni(values) => texts(values),
        _ => {}
    }
    let (_, any, none) = when(key);
    !any.is_empty() || !none.is_empty()
}

/// As it stands in a policy; none if it can't.
fn text(value: &StringMatch) -> Option<String> {
    let plain = |text: &str| (!text.is_empty() && !text.contains(['*', '{', '}'])).then(|| text.to_owned());
    match value {
        StringMatch::Exact(text) => plain(text),
        StringMatch::Prefix(text) => plain(text).map(|text| text + "*"),
        StringMatch::Suffix(text) => plain(text).map(|text| format!("*{text}")),
        StringMatch::Present => Some("*".into()),
        StringMatch::Template(text) => is_template(text).then(|| text.to_string()),
    }
}

/// Segments are `{*}` or literal; the last may be `{**}`.
fn is_template(text: &str) -> bool {
    let segments = text.strip_suffix("{**}").unwrap_or(text).split('/');
    segments.into_iter().all(|segment| segment == "{*}" || !segment.contains(['{', '}']))
}

fn strings(values: &[StringMatch]) -> Vec<Value> {
    values.iter().filter_map(text).map(Value::from).collect()
}

fn plain<T: Display>(values: &[T]) -> Vec<Value> {
    values.iter().map(|value| value.to_string().into()).collect()
}

fn accounts(values: &[(std::sync::Arc<str>, std::sync::Arc<str>)]) -> Vec<Value> {
    values.iter().map(|(namespace, name)| format!("{namespace}/{name}").into()).collect()
}

/// `name` and `notName` of an object, where there is something to say.
fn put(into: &mut Map<String, Value>, name: &str, any: Vec<Value>, none: Vec<Value>) {
    let negated = format!("not{}{}", name[..1].to_uppercase(), &name[1..]);
    for (name, values) in [(name.to_owned(), any), (negated, none)] {
        if !values.is_empty() {
            into.insert(name, values.into());
        }
    }
}

fn from(source: &Source) -> Value {
    let mut out = Map::new();
    let mut text = |name: &str, set: &ValueSet<StringMatch>| put(&mut out, name, strings(&set.any), strings(&set.none));
    text("principals", &source.principals);
    text("requestPrincipals", &source.request_principals);
    text("namespaces", &source.namespaces);
    text("trustDomains", &source.trust_domains);
    let set = &source.service_accounts;
    put(&mut out, "serviceAccounts", accounts(&set.any), accounts(&set.none));
    put(&mut out, "ipBlocks", plain(&source.ip_blocks.any), plain(&source.ip_blocks.none));
    put(&mut out, "remoteIpBlocks", plain(&source.remote_ip_blocks.any), plain(&source.remote_ip_blocks.none));
    json!({"source": out})
}

fn to(operation: &Operation) -> Value {
    let mut out = Map::new();
    let mut text = |name: &str, set: &ValueSet<StringMatch>| put(&mut out, name, strings(&set.any), strings(&set.none));
    text("hosts", &operation.hosts);
    text("methods", &operation.methods);
    text("paths", &operation.paths);
    put(&mut out, "ports", plain(&operation.ports.any), plain(&operation.ports.none));
    json!({"operation": out})
}

/// A condition's key, values and values that must not be.
fn when(key: &ConditionKey) -> (String, Vec<Value>, Vec<Value>) {
    let texts = |key: &str, set: &ValueSet<StringMatch>| (key.to_owned(), strings(&set.any), strings(&set.none));
    match key {
        ConditionKey::Header(name, set) => texts(&format!("request.headers[{name}]"), set),
        ConditionKey::SourceIp(set) => ("source.ip".into(), plain(&set.any), plain(&set.none)),
        ConditionKey::RemoteIp(set) => ("remote.ip".into(), plain(&set.any), plain(&set.none)),
        ConditionKey::DestinationIp(set) => ("destination.ip".into(), plain(&set.any), plain(&set.none)),
        ConditionKey::SourceNamespace(set) => texts("source.namespace", set),
        ConditionKey::SourceServiceAccount(set) => {
            ("source.serviceAccount".into(), accounts(&set.any), accounts(&set.none))
        }
        ConditionKey::SourceTrustDomain(set) => texts("source.trustDomain", set),
        ConditionKey::SourcePrincipal(set) => texts("source.principal", set),
        ConditionKey::RequestPrincipal(set) => texts("request.auth.principal", set),
        ConditionKey::RequestAudiences(set) => texts("request.auth.audiences", set),
        ConditionKey::RequestPresenter(set) => texts("request.auth.presenter", set),
        ConditionKey::RequestClaim(path, set) => {
            let path: String = path.iter().map(|part| format!("[{part}]")).collect();
            texts(&format!("request.auth.claims{path}"), set)
        }
        ConditionKey::DestinationPort(set) => ("destination.port".into(), plain(&set.any), plain(&set.none)),
        ConditionKey::Sni(set) => texts("connection.sni", set),
    }
}

fn rule(rule: &PolicyRule) -> Value {
    let mut out = Map::new();
    if !rule.from.is_empty() {
        out.insert("from".into(), rule.from.iter().map(from).collect());
    }
    if !rule.to.is_empty() {
        out.insert("to".into(), rule.to.iter().map(to).collect());
    }
    if !rule.when.is_empty() {
        let condition = |key: &ConditionKey| {
            let (key, any, none) = when(key);
            let mut out = Map::from_iter([("key".to_owned(), Value::from(key))]);
            put(&mut out, "values", any, none);
            Value::from(out)
        };
        out.insert("when".into(), rule.when.iter().map(|when| condition(&when.key)).collect());
    }
    out.into()
}

fn object(policy: &Policy, namespace: &str, gateway: &str) -> Value {
    let action = match policy.action {
        PolicyAction::Allow => "ALLOW",
        PolicyAction::Deny => "DENY",
        PolicyAction::Audit => "AUDIT",
        PolicyAction::Custom => "CUSTOM",
    };
    let annotations = if policy.dry_run { json!({"istio.io/dry-run": "true"}) } else { json!({}) };
    json!({
        "apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy",
        "metadata": {
            "name": format!("{gateway}-{}", policy.key.name), "namespace": namespace, "annotations": annotations,
        },
        "spec": {
            "targetRefs": [{"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": gateway}],
            "action": action, "rules": policy.rules.iter().map(rule).collect::<Vec<_>>(),
        },
    })
}

fn route(namespace: &str, gateways: &[String]) -> Value {
    let parents: Vec<Value> = gateways.iter().map(|name| json!({"name": name})).collect();
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
        "metadata": {"name": "all", "namespace": namespace},
        "spec": {"parentRefs": parents, "rules": [{"backendRefs": [{"name": "web", "port": 80}]}]},
    })
}

/// Gateways in `ns`, each with its policies, a route for all of them and a backend.
pub fn objects<'a>(sets: impl Iterator<Item = (String, &'a Vec<Policy>)>) -> Result<String> {
    let mut items = vec![
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "ns"},
            "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]}}),
        json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {"name": "web", "namespace": "ns", "labels": {"kubernetes.io/service-name": "web"}},
            "ports": [{"port": 80}], "endpoints": [{"addresses": ["10.0.0.1"], "conditions": {"ready": true}}]}),
    ];
    let listeners: Vec<Value> = [80, 443, 8080]
        .iter()
        .map(|port| json!({"name": format!("p{port}"), "port": port, "protocol": "HTTP"}))
        .collect();
    let mut gateways = Vec::new();
    for (name, policies) in sets {
        items.push(json!({
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway",
            "metadata": {"name": name, "namespace": "ns"},
            "spec": {"gatewayClassName": "windlass", "listeners": listeners},
        }));
        items.extend(policies.iter().map(|policy| object(policy, "ns", &name)));
        gateways.push(name);
    }
    items.push(route("ns", &gateways));
    Ok(serde_json::to_string(&json!({"apiVersion": "v1", "kind": "List", "items": items}))?)
}

/// The policies on the Gateway `default/gw`, and a route to the Service `web`, as documents.
pub fn sample(policies: &[Policy]) -> Result<String> {
    let objects = policies.iter().map(|policy| object(policy, "default", "gw"));
    let documents = objects.chain([route("default", &["gw".to_owned()])]);
    let texts: Result<Vec<String>, _> = documents.map(|one| serde_json::to_string(&one)).collect();
    Ok(texts?.join("\n---\n") + "\n")
}
