//! What a denial says, by table. That evaluation is Envoy's is proved in `tests/law`.

use super::*;
use crate::config::{HeaderMatch, HeaderRule, StringMatch};
use std::net::IpAddr;

fn exact(text: &str) -> StringMatch {
    StringMatch::Exact(text.into(), false)
}

fn header(name: &str, value: &str) -> Permission {
    Permission::Header(HeaderMatch {
        name: name.into(),
        rule: HeaderRule::Value(exact(value)),
        invert: false,
        missing_is_empty: false,
    })
}

fn rule(index: u32, permission: Permission, principal: Principal) -> Policy {
    Policy {
        name: format!("ns[shop]-policy[web]-rule[{index}]").into(),
        permissions: vec![permission],
        principals: vec![principal],
    }
}

fn explain(effect: Effect, policies: Vec<Policy>) -> String {
    let rbac = Rbac { rules: Some(Rules { effect, policies }), shadow: None };
    let request = Request {
        method: "POST",
        scheme: "http",
        host: "a.test",
        path: "/admin/x",
        query: None,
        headers: &[("x-env", "dev\"\n")][..],
    };
    let address = |text: &str| text.parse().unwrap();
    let input = Input {
        request: &request,
        peer: address("10.0.0.9:1000"),
        local: address("10.0.0.1:8080"),
        remote: IpAddr::from([192, 0, 2, 7]),
        server_name: None,
        certificate: None,
        metadata: &Metadata::default(),
    };
    match rbac.check(&input) {
        Verdict::Allowed => "allowed".into(),
        Verdict::Denied(why) => format!("{why} [{}]", why.details),
    }
}

#[test]
fn a_denial_names_policy_rule_and_clause() {
    let method = |name: &str| header(":method", name);
    let (any, path) = (|| Principal::Any, |text: &str| Permission::Path(exact(text)));
    let none = "[rbac_access_denied_matched_policy[none]]";
    let web = "no ALLOW policy matches; nearest is shop/web rule";
    for (effect, policies, wanted) in [
        (
            Effect::Deny,
            vec![rule(3, method("POST"), any())],
            "DENY policy shop/web rule 3 matches [rbac_access_denied_matched_policy[ns[shop]-policy[web]-rule[3]]]"
                .into(),
        ),
        (Effect::Deny, vec![rule(0, method("GET"), any())], "allowed".into()),
        (Effect::Log, vec![rule(0, method("POST"), any())], "allowed".into()),
        (Effect::Allow, vec![rule(0, method("POST"), any())], "allowed".into()),
        (Effect::Allow, vec![], format!("no ALLOW policy matches: there is no rule that could {none}")),
        (
            Effect::Allow,
            vec![rule(0, Permission::OneOf(vec![method("GET"), method("HEAD")]), any())],
            format!("{web} 0: operation.methods wanted \"GET\" or \"HEAD\", saw \"POST\" {none}"),
        ),
        (
            // Rule 1 misses one clause, rule 0 two.
            Effect::Allow,
            vec![
                rule(0, Permission::All(vec![method("GET"), path("/")]), any()),
                rule(1, Permission::All(vec![method("POST"), path("/")]), any()),
            ],
            format!("{web} 1: operation.paths wanted \"/\", saw \"/admin/x\" {none}"),
        ),
        (
            Effect::Allow,
            vec![rule(0, Permission::Any, Principal::Authenticated(Some(exact("spiffe://a/ns/b/sa/c"))))],
            format!("{web} 0: source.principals wanted \"spiffe://a/ns/b/sa/c\", saw no TLS {none}"),
        ),
        (
            Effect::Allow,
            vec![rule(
                0,
                Permission::Any,
                Principal::Not(Box::new(Principal::RemoteIp("192.0.2.0/24".parse().unwrap()))),
            )],
            format!("{web} 0: source.remoteIpBlocks wanted not 192.0.2.0/24, saw 192.0.2.7 {none}"),
        ),
        (
            // What a client chooses can't end a line or a quote.
            Effect::Allow,
            vec![rule(0, header("x-env", "prod"), any())],
            format!("{web} 0: request.headers[x-env] wanted \"prod\", saw \"dev\\\"\\n\" {none}"),
        ),
    ] {
        assert_eq!(explain(effect, policies), wanted);
    }
}

#[test]
fn no_rules_enforce_nothing() {
    let request = Request { method: "", scheme: "", host: "", path: "", query: None, headers: &[][..] };
    let address = "127.0.0.1:1".parse().unwrap();
    let remote = IpAddr::from([127, 0, 0, 1]);
    let input = Input {
        request: &request,
        peer: address,
        local: address,
        remote,
        server_name: None,
        certificate: None,
        metadata: &Metadata::default(),
    };
    assert_eq!(Rbac::default().check(&input), Verdict::Allowed);
}
