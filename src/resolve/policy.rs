//! AuthorizationPolicies: read strictly, and brought to the Gateways that they hold for.
//!
//! Fail closed. What can't be read of an ALLOW policy never matches; what can't be read of a DENY policy narrows
//! nothing, so that it denies more than was written, never less. Either way the status names the field.

mod clause;
mod condition;
mod rule;
pub(crate) mod scope;

use crate::{
    Inputs, Settings,
    gateway::{Gateways, Workload},
    status::Fault,
};
use api::AuthorizationPolicyAction;
use engine::{Engine, Table, View};
use model::{Condition, ObjectKey, ObjectRef, Policy, PolicyAction, Status};
use scope::{Reach, Scope};
use std::{collections::BTreeSet, sync::Arc};

/// The tables of policies.
#[derive(Clone, Copy)]
pub(crate) struct Policies {
    /// By Gateway, in the order of their keys.
    pub(crate) by_gateway: Table<ObjectKey, Policy>,
    pub(crate) statuses: Table<ObjectRef, Status>,
}

/// A policy as read.
#[derive(Clone, Debug, PartialEq)]
struct ReadPolicy {
    policy: Policy,
    reach: Reach,
    /// Sentences that start with the field.
    problems: Vec<String>,
}

pub(crate) fn declare(engine: &mut Engine, inputs: &Inputs, gateways: &Gateways, settings: &Arc<Settings>) -> Policies {
    let root = settings.root_namespace.clone();
    let policies = engine.derive("policies read", &inputs.authorization_policies, move |_, key, rows| {
        rows.iter().map(|policy| (key.clone(), read(key, policy, &root))).collect()
    });
    let by_scope = engine.derive("policies by scope", &policies, |_, key, rows| {
        let scopes = rows.iter().flat_map(|policy| policy.reach.scopes.iter().cloned());
        scopes.map(|scope| (scope, key.clone())).collect()
    });
    let workloads = gateways.workloads;
    let by_gateway = engine.derive("gateway policies", &workloads, move |view, key, rows| {
        let of = |workload: &Arc<Workload>| for_gateway(view, key, workload, by_scope, policies);
        rows.iter().flat_map(of).map(|policy| (key.clone(), policy)).collect()
    });
    let statuses = engine.derive("policy statuses", &inputs.authorization_policies, move |view, key, rows| {
        let Some(policy) = view.get(&policies, key) else { return Vec::new() };
        let missing = policy.reach.targets.iter().find(|(_, target)| !view.contains(&workloads, target));
        let status = |object: &Arc<api::AuthorizationPolicy>| Status {
            observed_generation: object.metadata.generation.unwrap_or_default(),
            conditions: vec![accepted(&policy, missing)],
            ..Status::default()
        };
        rows.iter().map(|object| (ObjectRef::new("AuthorizationPolicy", key.clone()), status(object))).collect()
    });
    Policies { by_gateway, statuses }
}

fn for_gateway(
    view: &View,
    key: &ObjectKey,
    workload: &Workload,
    by_scope: Table<Scope, ObjectKey>,
    policies: Table<ObjectKey, ReadPolicy>,
) -> Vec<Policy> {
    let scopes = Scope::of(key, workload);
    let named: BTreeSet<ObjectKey> =
        scopes.iter().flat_map(|scope| view.rows(&by_scope, scope)).map(|policy| ObjectKey::clone(&policy)).collect();
    let policies = named.iter().filter_map(|policy| view.get(&policies, policy));
    policies.filter(|policy| policy.reach.covers(key, workload)).map(|policy| policy.policy.clone()).collect()
}

fn read(key: &ObjectKey, object: &api::AuthorizationPolicy, root: &Arc<str>) -> ReadPolicy {
    let spec = &object.spec;
    let mut problems = Vec::new();
    let action = match spec.action {
        AuthorizationPolicyAction::Allow => PolicyAction::Allow,
        AuthorizationPolicyAction::Deny => PolicyAction::Deny,
        AuthorizationPolicyAction::Audit => PolicyAction::Audit,
        AuthorizationPolicyAction::Custom => {
            problems.push("spec.action: CUSTOM is not supported; what the policy matches is denied".into());
            PolicyAction::Deny
        }
    };
    let reach =
        Reach::read(key, spec.selector.as_ref(), spec.target_ref.as_ref(), &spec.target_refs, root, &mut problems);
    let rules = rule::read(action, &key.namespace, &spec.rules, &mut problems);
    let annotations = object.metadata.annotations.as_ref();
    let dry_run = annotations.and_then(|all| all.get("istio.io/dry-run")).is_some_and(|value| value == "true");
    ReadPolicy { policy: Policy { key: key.clone(), action, dry_run, rules }, reach, problems }
}

fn accepted(policy: &ReadPolicy, missing: Option<&(String, ObjectKey)>) -> Condition {
    let fault = match (&*policy.problems, missing) {
        ([], None) if policy.policy.dry_run => {
            return Condition::yes_but("Accepted", "Accepted", "annotation istio.io/dry-run: it is not enforced");
        }
        ([], None) => return Condition::yes("Accepted", "Accepted"),
        ([], Some((field, target))) => {
            Fault::new("TargetNotFound", format!("{field}: there is no Gateway {target} of ours"))
        }
        (problems, _) => {
            let more = match problems.len() {
                0..=5 => String::new(),
                count => format!("; and {} more", count - 5),
            };
            let first: Vec<&str> = problems.iter().take(5).map(String::as_str).collect();
            Fault::new("Invalid", first.join("; ") + &more)
        }
    };
    Condition::no("Accepted", fault.reason, fault.message)
}
