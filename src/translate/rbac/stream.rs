//! Policies as they hold for a connection that nobody looks into: what needs a request can't be known.
//!
//! Fail closed, as Istio does: in an ALLOW policy a part that needs a request never matches; in a DENY policy it is left
//! out, so that the rule denies more than was written and never less.

use model::{ConditionKey, Operation, Policy, PolicyAction, PolicyCondition, PolicyRule, Source};

/// The policy without what needs a request.
pub(super) fn without_requests(policy: &Policy) -> Policy {
    let rules = policy.rules.iter();
    let rules = match policy.action {
        PolicyAction::Allow => rules.filter_map(narrowed).collect(),
        PolicyAction::Deny | PolicyAction::Audit | PolicyAction::Custom => rules.map(widened).collect(),
    };
    Policy { rules, ..policy.clone() }
}

/// Only the alternatives that can be judged; none if one of the lists has none left.
fn narrowed(rule: &PolicyRule) -> Option<PolicyRule> {
    let from: Vec<_> = rule.from.iter().filter(|from| from.request_principals.is_empty()).cloned().collect();
    let to: Vec<_> = rule.to.iter().filter(|to| is_bare(to)).cloned().collect();
    let is_lost = (from.is_empty() && !rule.from.is_empty())
        || (to.is_empty() && !rule.to.is_empty())
        || rule.when.iter().any(needs_request);
    (!is_lost).then(|| PolicyRule { index: rule.index, from, to, when: rule.when.clone() })
}

fn widened(rule: &PolicyRule) -> PolicyRule {
    let from = rule.from.iter().map(|from| Source { request_principals: Default::default(), ..from.clone() });
    let to = rule.to.iter().map(|to| Operation { ports: to.ports.clone(), ..Operation::default() });
    let when = rule.when.iter().filter(|when| !needs_request(when)).cloned();
    PolicyRule { index: rule.index, from: from.collect(), to: to.collect(), when: when.collect() }
}

fn is_bare(to: &Operation) -> bool {
    to.hosts.is_empty() && to.methods.is_empty() && to.paths.is_empty()
}

fn needs_request(when: &PolicyCondition) -> bool {
    match when.key {
        ConditionKey::Header(..)
        | ConditionKey::RequestPrincipal(_)
        | ConditionKey::RequestAudiences(_)
        | ConditionKey::RequestPresenter(_)
        | ConditionKey::RequestClaim(..) => true,
        ConditionKey::SourceIp(_)
        | ConditionKey::RemoteIp(_)
        | ConditionKey::SourceNamespace(_)
        | ConditionKey::SourceServiceAccount(_)
        | ConditionKey::SourceTrustDomain(_)
        | ConditionKey::SourcePrincipal(_)
        | ConditionKey::DestinationIp(_)
        | ConditionKey::DestinationPort(_)
        | ConditionKey::Sni(_) => false,
    }
}
