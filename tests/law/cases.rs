//! Policies and requests from a small world, so that they meet.

use crate::request::Request;
use model::{
    ConditionKey, ObjectKey, Operation, Policy, PolicyAction, PolicyCondition, PolicyRule, Source, StringMatch,
    ValueSet,
};
use proptest::{collection::vec, option, prelude::*, sample::select};
use std::{net::IpAddr, sync::Arc};

const DOMAINS: &[&str] = &["td", "cluster.local", "t+d"];
const NAMESPACES: &[&str] = &["a", "b", "a.b", "axb", "ab"];
const ACCOUNTS: &[&str] = &["x", "y", "x.*"];
const HOSTS: &[&str] =
    &["a.test", "A.Test", "b.a.test", "a.test:80", "a.test:evil", "axtest", "a.test:80:1", "[::1]:80", "[::1]", "t"];
const PATHS: &[&str] = &[
    "/", "/a", "/a/b", "/a/b/c", "/a.b", "/axb", "/a%2Fb", "/a%5cb", "/a/..;/b", "/admin", "/admin/x", "/a/c", "/aa",
    "/{*}",
];
const TEMPLATES: &[&str] = &["/a/{*}", "/{**}", "/a/{**}/c", "/{*}/b", "/a{*}", "/{*}"];
const METHODS: &[&str] = &["GET", "POST", "GETX"];
const TEXTS: &[&str] = &["", "a", "ab", "b", "a.b", "axb"];
const ISSUERS: &[&str] = &["i", "https://i/x", "i/s", ""];
const SUBJECTS: &[&str] = &["s", "s/t", "x", ""];
const NETS: &[&str] = &["10.0.0.0/8", "10.1.0.0/16", "10.1.2.3/32", "0.0.0.0/0", "::/0", "fd00::/8", "192.168.0.0/24"];
const ADDRESSES: &[&str] = &["10.1.2.3", "10.2.0.1", "192.168.0.9", "fd00::1", "2001:db8::1"];
const PORTS: &[u16] = &[80, 443, 8080];

fn net() -> impl Strategy<Value = ipnet::IpNet> {
    select(NETS).prop_map(|net| net.parse().expect("a net"))
}

fn string(texts: &'static [&'static str]) -> impl Strategy<Value = StringMatch> {
    cut(select(texts).prop_map(str::to_owned).boxed())
}

/// A whole text, the front or the back of it.
fn cut(texts: BoxedStrategy<String>) -> impl Strategy<Value = StringMatch> {
    (texts, 0..6, any::<proptest::sample::Index>()).prop_map(|(text, kind, at)| {
        let at = at.index(text.len() + 1);
        match kind {
            0 => StringMatch::Prefix(text[..at].into()),
            1 => StringMatch::Suffix(text[at..].into()),
            2 => StringMatch::Present,
            _ => StringMatch::Exact(text.into()),
        }
    })
}

fn path() -> impl Strategy<Value = StringMatch> {
    prop_oneof![3 => string(PATHS), 1 => select(TEMPLATES).prop_map(|text| StringMatch::Template(text.into()))]
}

fn principal() -> impl Strategy<Value = StringMatch> {
    let name = (select(DOMAINS), select(NAMESPACES), select(ACCOUNTS));
    cut(name.prop_map(|(domain, ns, account)| format!("{domain}/ns/{ns}/sa/{account}")).boxed())
}

fn request_principal() -> impl Strategy<Value = StringMatch> {
    cut((select(ISSUERS), select(SUBJECTS)).prop_map(|(issuer, subject)| format!("{issuer}/{subject}")).boxed())
}

fn account() -> impl Strategy<Value = (Arc<str>, Arc<str>)> {
    (select(NAMESPACES), select(ACCOUNTS)).prop_map(|(ns, account)| (ns.into(), account.into()))
}

/// Mostly nothing, so that some rules match.
fn set<T: Clone + std::fmt::Debug + 'static>(
    value: impl Strategy<Value = T> + Clone + 'static,
) -> impl Strategy<Value = ValueSet<T>> {
    prop_oneof![
        4 => Just(ValueSet { any: vec![], none: vec![] }),
        2 => vec(value.clone(), 1..4).prop_map(|any| ValueSet { any, none: vec![] }),
        1 => vec(value.clone(), 1..3).prop_map(|none| ValueSet { any: vec![], none }),
        1 => (vec(value.clone(), 1..4), vec(value, 1..3)).prop_map(|(any, none)| ValueSet { any, none }),
    ]
}

fn source() -> impl Strategy<Value = Source> {
    (
        set(principal().boxed()),
        set(request_principal().boxed()),
        set(string(NAMESPACES).boxed()),
        set(account().boxed()),
        set(string(DOMAINS).boxed()),
        set(net().boxed()),
        set(net().boxed()),
    )
        .prop_map(
            |(principals, request_principals, namespaces, service_accounts, trust_domains, ip_blocks, remote)| Source {
                principals,
                request_principals,
                namespaces,
                service_accounts,
                trust_domains,
                ip_blocks,
                remote_ip_blocks: remote,
            },
        )
}

fn operation() -> impl Strategy<Value = Operation> {
    (set(string(HOSTS).boxed()), set(select(PORTS).boxed()), set(string(METHODS).boxed()), set(path().boxed()))
        .prop_map(|(hosts, ports, methods, paths)| Operation { hosts, ports, methods, paths })
}

fn condition() -> impl Strategy<Value = PolicyCondition> {
    let path = prop_oneof![Just(vec!["role"]), Just(vec!["deep", "role"]), Just(vec!["none"])]
        .prop_map(|path| path.into_iter().map(Arc::from).collect());
    let key = prop_oneof![
        set(string(TEXTS).boxed()).prop_map(|values| ConditionKey::Header("x-a".into(), values)),
        set(string(METHODS).boxed()).prop_map(|values| ConditionKey::Header(":method".into(), values)),
        set(net().boxed()).prop_map(ConditionKey::SourceIp),
        set(net().boxed()).prop_map(ConditionKey::RemoteIp),
        set(net().boxed()).prop_map(ConditionKey::DestinationIp),
        set(string(NAMESPACES).boxed()).prop_map(ConditionKey::SourceNamespace),
        set(account().boxed()).prop_map(ConditionKey::SourceServiceAccount),
        set(string(DOMAINS).boxed()).prop_map(ConditionKey::SourceTrustDomain),
        set(principal().boxed()).prop_map(ConditionKey::SourcePrincipal),
        set(request_principal().boxed()).prop_map(ConditionKey::RequestPrincipal),
        set(string(TEXTS).boxed()).prop_map(ConditionKey::RequestAudiences),
        set(string(TEXTS).boxed()).prop_map(ConditionKey::RequestPresenter),
        (path, set(string(TEXTS).boxed())).prop_map(|(path, values)| ConditionKey::RequestClaim(path, values)),
        set(select(PORTS).boxed()).prop_map(ConditionKey::DestinationPort),
        set(string(HOSTS).boxed()).prop_map(ConditionKey::Sni),
    ];
    key.prop_map(|key| PolicyCondition { key })
}

/// A few policies with up to three rules each.
pub fn policies() -> impl Strategy<Value = Vec<Policy>> {
    let rule = (vec(source(), 0..3), vec(operation(), 0..3), vec(condition(), 0..3));
    let action = select(&[PolicyAction::Allow, PolicyAction::Allow, PolicyAction::Deny, PolicyAction::Audit][..]);
    let dry_run = proptest::bool::weighted(0.2);
    vec((action, dry_run, vec(rule, 0..3)), 0..5).prop_map(|policies| {
        let named = policies.into_iter().enumerate().map(|(i, (action, dry_run, rules))| Policy {
            key: ObjectKey::new("ns", format!("p{i}")),
            action,
            dry_run,
            rules: (0u32..).zip(rules).map(|(index, (from, to, when))| PolicyRule { index, from, to, when }).collect(),
        });
        named.collect()
    })
}

fn peer() -> impl Strategy<Value = Option<String>> {
    let identity = (select(DOMAINS), select(NAMESPACES), select(ACCOUNTS))
        .prop_map(|(domain, ns, account)| format!("spiffe://{domain}/ns/{ns}/sa/{account}"));
    let odd = select(&["spiffe://td", "https://td/ns/a/sa/x", "spiffe://td/ns/a/sa/x/y"][..]).prop_map(str::to_owned);
    prop_oneof![2 => Just(None), 6 => identity.prop_map(Some), 1 => odd.prop_map(Some)]
}

fn claims() -> impl Strategy<Value = Option<serde_json::Value>> {
    let claims = (select(ISSUERS), select(SUBJECTS), select(TEXTS), vec(select(TEXTS), 0..3), select(TEXTS));
    option::of(claims.prop_map(|(iss, sub, azp, many, role)| {
        serde_json::json!({"iss": iss, "sub": sub, "azp": azp, "aud": many, "role": role, "deep": {"role": [role, 1]}})
    }))
}

/// A request.
pub fn request() -> impl Strategy<Value = Request> {
    let address = || select(ADDRESSES).prop_map(|address| address.parse::<IpAddr>().expect("an address"));
    (
        (select(METHODS), select(HOSTS), select(PATHS), vec(select(TEXTS), 0..3), peer()),
        (address(), address(), address(), select(PORTS), option::of(select(HOSTS)), claims()),
    )
        .prop_map(|((method, host, path, lines, peer), (direct, remote, local, port, sni, claims))| Request {
            method: method.to_owned(),
            host: host.to_owned(),
            path: path.to_owned(),
            headers: lines.iter().map(|value| ("x-a".to_owned(), (*value).to_owned())).collect(),
            peer,
            direct,
            remote,
            local,
            port,
            sni: sni.map(str::to_owned),
            claims,
        })
}
