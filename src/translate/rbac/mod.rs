//! Policies as Envoy's RBAC filter: one filter denies, one allows.
//!
//! Every rule is one Envoy policy, named `ns[<ns>]-policy[<name>]-rule[<i>]`, whose permissions are the rule's `to` and
//! whose principals are its `from`; `when` goes to the side that can express it, since both must match. Every field of
//! [`model::Policy`] can be expressed, so that none is ever left out.

mod condition;
mod operation;
mod source;
mod text;
mod tree;

use crate::{Settings, wire};
use model::{Policy, PolicyAction, PolicyRule};
use prost::Message;
use proto::{
    Resource,
    assemble::field,
    envoy::{
        envoy::{
            config::{
                core::v3::TypedExtensionConfig,
                rbac::v3::{Permission, Policy as EnvoyPolicy, Principal, Rbac as Rules, rbac::Action},
            },
            extensions::filters::http::rbac::v3::Rbac,
        },
        google::protobuf::Any,
    },
};
use std::{collections::BTreeMap, sync::Arc};
use tree::Tree;

/// The name of the filter, and of the resource, that refuses what a DENY rule matches.
pub(crate) const DENY: &str = "authz.deny";
/// The name of the filter, and of the resource, that refuses what no ALLOW rule matches.
pub(crate) const ALLOW: &str = "authz.allow";

/// `Rbac.rules`
const RULES: u32 = 1;

/// The two filters of a gateway with these policies. Without policies of its kind a filter does nothing.
pub(crate) fn filters(settings: &Settings, policies: &[Arc<Policy>]) -> [(&'static str, Resource); 2] {
    [(DENY, PolicyAction::Deny, Action::Deny), (ALLOW, PolicyAction::Allow, Action::Allow)].map(
        |(name, ours, theirs)| {
            let mine: Vec<_> = policies.iter().filter(|policy| policy.action == ours).map(|policy| &**policy).collect();
            (name, filter(settings, name, theirs, &mine))
        },
    )
}

fn filter(settings: &Settings, name: &str, action: Action, policies: &[&Policy]) -> Resource {
    // Put together by hand: prost writes the entries of a map in any order.
    let mut filter = Vec::new();
    if !policies.is_empty() {
        let mut rules = Rules { action: action.into(), ..Default::default() }.encode_to_vec();
        for (name, policy) in named_rules(settings, policies) {
            let one = Rules { policies: [(name, policy)].into(), ..Default::default() };
            rules.extend(one.encode_to_vec());
        }
        field(&mut filter, RULES, &rules);
    }
    let config = Any { type_url: <Rbac as prost::Name>::type_url(), value: filter };
    Resource::encode(&TypedExtensionConfig { name: name.to_owned(), typed_config: Some(config) })
}

fn named_rules(settings: &Settings, policies: &[&Policy]) -> BTreeMap<String, EnvoyPolicy> {
    let rules = policies.iter().flat_map(|policy| {
        let name = &policy.key;
        policy.rules.iter().map(move |one| {
            let id = format!("ns[{}]-policy[{}]-rule[{}]", name.namespace, name.name, one.index);
            (id, rule(settings, policy.action, one))
        })
    });
    rules.collect()
}

fn rule(settings: &Settings, action: PolicyAction, rule: &PolicyRule) -> EnvoyPolicy {
    let mut permissions: Vec<Permission> = Vec::new();
    let mut principals: Vec<Principal> = Vec::new();
    if !rule.to.is_empty() {
        permissions.push(Tree::or(rule.to.iter().map(|to| operation::operation(settings, action, to)).collect()));
    }
    if !rule.from.is_empty() {
        principals.push(Tree::or(rule.from.iter().map(source::source).collect()));
    }
    for when in &rule.when {
        condition::condition(settings, &when.key, &mut permissions, &mut principals);
    }
    EnvoyPolicy {
        permissions: vec![Tree::and(permissions)],
        principals: vec![Tree::and(principals)],
        ..Default::default()
    }
}

/// An address range as Envoy writes it.
fn range(net: &ipnet::IpNet) -> proto::envoy::envoy::config::core::v3::CidrRange {
    wire::cidr(net.network(), net.prefix_len())
}
