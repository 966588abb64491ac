//! Policies as Envoy's RBAC filter: one filter notes, one denies, one allows.
//!
//! Every rule is one Envoy policy, named `ns[<ns>]-policy[<name>]-rule[<i>]`, whose permissions are the rule's `to` and
//! whose principals are its `from`; `when` goes to the side that can express it, since both must match. Every field of
//! [`model::Policy`] can be expressed, so that none is ever left out.

mod condition;
mod operation;
mod source;
mod stream;
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
            extensions::filters::{http::rbac::v3::Rbac, network::rbac::v3::Rbac as StreamRbac},
        },
        google::protobuf::Any,
    },
};
use std::{collections::BTreeMap, sync::Arc};
use tree::Tree;

/// The name of the filter, and of the resource, that notes what an AUDIT rule matches.
pub(crate) const AUDIT: &str = "authz.audit";
/// The name of the filter, and of the resource, that refuses what a DENY rule matches.
pub(crate) const DENY: &str = "authz.deny";
/// The name of the filter, and of the resource, that refuses what no ALLOW rule matches.
pub(crate) const ALLOW: &str = "authz.allow";

/// The same for connections that nobody looks into.
pub(crate) const STREAM_DENY: &str = "authz.deny.stream";
/// The same for connections that nobody looks into.
pub(crate) const STREAM_ALLOW: &str = "authz.allow.stream";

/// What the notes of AUDIT policies start with, in metadata and statistics.
pub(crate) const AUDITED: &str = "windlass_audit_";
/// What the notes of dry runs start with, as Istio has it.
pub(crate) const WOULD_DENY: &str = "istio_dry_run_deny_";
/// The same of ALLOW policies.
pub(crate) const WOULD_ALLOW: &str = "istio_dry_run_allow_";

/// `Rbac.rules`, of both filters
const RULES: u32 = 1;
/// `Rbac.shadow_rules`
const SHADOW_RULES: u32 = 2;
/// `Rbac.shadow_rules_stat_prefix`
const SHADOW_PREFIX: u32 = 3;

/// The filters of a gateway with these policies. Without policies of its kind a filter does nothing.
///
/// What is noted and decides nothing are the filter's shadow rules: Envoy counts them and writes result and policy to
/// the metadata that access logs show. AUDIT rules stand there as if they allowed, so that what they match has a name.
pub(crate) fn filters(settings: &Settings, policies: &[Arc<Policy>]) -> [(&'static str, Resource); 3] {
    let of = |action, dry_run: Option<bool>| -> Vec<&Policy> {
        let all = policies.iter().map(|policy| &**policy).filter(|policy| policy.action == action);
        all.filter(|policy| dry_run.is_none_or(|wanted| policy.dry_run == wanted)).collect()
    };
    let (deny, allow) = (PolicyAction::Deny, PolicyAction::Allow);
    [
        (AUDIT, Action::Allow, Vec::new(), of(PolicyAction::Audit, None), AUDITED),
        (DENY, Action::Deny, of(deny, Some(false)), of(deny, Some(true)), WOULD_DENY),
        (ALLOW, Action::Allow, of(allow, Some(false)), of(allow, Some(true)), WOULD_ALLOW),
    ]
    .map(|(name, action, enforced, noted, prefix)| {
        // Put together by hand: prost writes the entries of a map in any order.
        let mut filter = Vec::new();
        if !enforced.is_empty() {
            field(&mut filter, RULES, &rules(settings, action, &enforced));
        }
        if !noted.is_empty() {
            field(&mut filter, SHADOW_RULES, &rules(settings, action, &noted));
            field(&mut filter, SHADOW_PREFIX, prefix.as_bytes());
        }
        let config = Any { type_url: <Rbac as prost::Name>::type_url(), value: filter };
        (name, Resource::encode(&TypedExtensionConfig { name: name.to_owned(), typed_config: Some(config) }))
    })
}

/// A filter that notes which CUSTOM rule matches, and decides nothing.
pub(crate) fn noting_custom(settings: &Settings, policies: &[Arc<Policy>]) -> Any {
    let custom: Vec<&Policy> =
        policies.iter().map(|policy| &**policy).filter(|policy| policy.action == PolicyAction::Custom).collect();
    let mut filter = Vec::new();
    field(&mut filter, SHADOW_RULES, &rules(settings, Action::Allow, &custom));
    field(&mut filter, SHADOW_PREFIX, crate::custom::ASKED.as_bytes());
    Any { type_url: <Rbac as prost::Name>::type_url(), value: filter }
}

/// The two filters of a gateway's streams. Nothing is noted of connections, and nobody can be asked about them: what
/// CUSTOM policies match is denied.
pub(crate) fn stream_filters(settings: &Settings, policies: &[Arc<Policy>]) -> [(&'static str, Resource); 2] {
    [(STREAM_DENY, PolicyAction::Deny, Action::Deny), (STREAM_ALLOW, PolicyAction::Allow, Action::Allow)].map(
        |(name, ours, theirs)| {
            let is_ours = |action| match action {
                PolicyAction::Custom => ours == PolicyAction::Deny,
                action => action == ours,
            };
            let enforced = policies.iter().filter(|policy| is_ours(policy.action) && !policy.dry_run);
            let mine: Vec<_> = enforced.map(|policy| stream::without_requests(policy)).collect();
            let mut filter = StreamRbac { stat_prefix: name.to_owned(), ..Default::default() }.encode_to_vec();
            if !mine.is_empty() {
                field(&mut filter, RULES, &rules(settings, theirs, &mine.iter().collect::<Vec<_>>()));
            }
            let config = Any { type_url: <StreamRbac as prost::Name>::type_url(), value: filter };
            (name, Resource::encode(&TypedExtensionConfig { name: name.to_owned(), typed_config: Some(config) }))
        },
    )
}

fn rules(settings: &Settings, action: Action, policies: &[&Policy]) -> Vec<u8> {
    let mut rules = Rules { action: action.into(), ..Default::default() }.encode_to_vec();
    for (name, policy) in named_rules(settings, policies) {
        let one = Rules { policies: [(name, policy)].into(), ..Default::default() };
        rules.extend(one.encode_to_vec());
    }
    rules
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
