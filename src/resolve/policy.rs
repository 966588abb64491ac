//! AuthorizationPolicies: read strictly, and brought to the Gateways that they hold for.
//!
//! Fail closed. What can't be read of an ALLOW policy never matches; what can't be read of a DENY policy narrows
//! nothing, so that it denies more than was written, never less. Either way the status names the field. A CUSTOM policy
//! is read like DENY, and is one where nobody can be asked ([`custom`]).

mod clause;
mod condition;
mod custom;
mod provider;
mod rule;
pub(crate) mod scope;

use crate::{
    Inputs, Settings,
    gateway::{Gateways, Workload},
    service::ServiceShape,
    status::Fault,
    wanted::Wanted,
};
use api::AuthorizationPolicyAction;
use custom::Selected;
use engine::{Engine, Table, View};
use model::{Authorizer, Condition, ObjectKey, ObjectRef, Policy, PolicyAction, Status};
use scope::{Reach, Scope};
use std::{collections::BTreeSet, sync::Arc};

/// The tables of policies.
#[derive(Clone, Copy)]
pub(crate) struct Policies {
    /// By Gateway, in the order of their keys.
    pub(crate) by_gateway: Table<ObjectKey, Policy>,
    /// Whom a Gateway asks about what its CUSTOM policies match.
    pub(crate) authorizers: Table<ObjectKey, Authorizer>,
    /// The clusters of those.
    pub(crate) gateway_clusters: Table<(ObjectKey, Arc<str>), ()>,
    /// Those of them that are spoken to in HTTP/2 although their Service doesn't say so.
    pub(crate) http2: Table<Arc<str>, ()>,
    /// The MeshConfig, if it is needed.
    pub(crate) wanted: Wanted,
    pub(crate) statuses: Table<ObjectRef, Status>,
}

/// A policy as read.
#[derive(Clone, Debug, PartialEq)]
struct ReadPolicy {
    policy: Policy,
    /// Whom a CUSTOM policy asks.
    provider: Option<Arc<str>>,
    reach: Reach,
    /// Sentences that start with the field.
    problems: Vec<String>,
}

pub(crate) fn declare(
    engine: &mut Engine,
    inputs: &Inputs,
    gateways: &Gateways,
    services: Table<ObjectKey, ServiceShape>,
    settings: &Arc<Settings>,
) -> Policies {
    let root = settings.root_namespace.clone();
    let policies = engine.derive("policies read", &inputs.authorization_policies, move |_, key, rows| {
        rows.iter().map(|policy| (key.clone(), read(key, policy, &root))).collect()
    });
    let by_scope = engine.derive("policies by scope", &policies, |_, key, rows| {
        let scopes = rows.iter().flat_map(|policy| policy.reach.scopes.iter().cloned());
        scopes.map(|scope| (scope, key.clone())).collect()
    });
    let workloads = gateways.workloads;
    let selected = engine.derive("selected policies", &workloads, move |view, key, rows| {
        let of = |workload: &Arc<Workload>| for_gateway(view, key, workload, by_scope, policies);
        rows.iter().flat_map(of).map(|policy| (key.clone(), policy)).collect()
    });
    let providers = provider::declare(engine, inputs, settings);
    let custom = custom::declare(engine, selected, providers, services, provider::mesh_config(settings));
    let statuses = engine.derive("policy statuses", &inputs.authorization_policies, move |view, key, rows| {
        let Some(policy) = view.get(&policies, key) else { return Vec::new() };
        let missing = policy.reach.targets.iter().find(|(_, target)| !view.contains(&workloads, target));
        let unasked = view.rows(&custom.faults, key).first().cloned();
        let status = |object: &Arc<api::AuthorizationPolicy>| Status {
            observed_generation: object.metadata.generation.unwrap_or_default(),
            conditions: vec![accepted(&policy, missing, unasked.as_deref())],
            ..Status::default()
        };
        rows.iter().map(|object| (ObjectRef::new("AuthorizationPolicy", key.clone()), status(object))).collect()
    });
    Policies {
        by_gateway: custom.policies,
        authorizers: custom.authorizers,
        gateway_clusters: custom.gateway_clusters,
        http2: custom.http2,
        wanted: custom.wanted,
        statuses,
    }
}

fn for_gateway(
    view: &View,
    key: &ObjectKey,
    workload: &Workload,
    by_scope: Table<Scope, ObjectKey>,
    policies: Table<ObjectKey, ReadPolicy>,
) -> Vec<Selected> {
    let scopes = Scope::of(key, workload);
    let named: BTreeSet<ObjectKey> =
        scopes.iter().flat_map(|scope| view.rows(&by_scope, scope)).map(|policy| ObjectKey::clone(&policy)).collect();
    let policies = named.iter().filter_map(|policy| view.get(&policies, policy));
    let policies = policies.filter(|policy| policy.reach.covers(key, workload));
    policies.map(|read| Selected { policy: read.policy.clone(), provider: read.provider.clone() }).collect()
}

fn read(key: &ObjectKey, object: &api::AuthorizationPolicy, root: &Arc<str>) -> ReadPolicy {
    let spec = &object.spec;
    let mut problems = Vec::new();
    let action = match spec.action {
        AuthorizationPolicyAction::Allow => PolicyAction::Allow,
        AuthorizationPolicyAction::Deny => PolicyAction::Deny,
        AuthorizationPolicyAction::Audit => PolicyAction::Audit,
        AuthorizationPolicyAction::Custom => PolicyAction::Custom,
    };
    let provider = spec.provider.as_ref().map(|provider| &*provider.name).filter(|name| !name.is_empty());
    match (action, provider) {
        (PolicyAction::Custom, None) => problems.push("spec.provider.name: missing, CUSTOM asks for it".into()),
        (PolicyAction::Custom, Some(_)) | (_, None) => {}
        (_, Some(_)) => problems.push("spec.provider: only CUSTOM policies ask somebody".into()),
    }
    let reach =
        Reach::read(key, spec.selector.as_ref(), spec.target_ref.as_ref(), &spec.target_refs, root, &mut problems);
    let rules = rule::read(action, &key.namespace, &spec.rules, &mut problems);
    let annotations = object.metadata.annotations.as_ref();
    let mut dry_run = annotations.and_then(|all| all.get("istio.io/dry-run")).is_some_and(|value| value == "true");
    if dry_run && action == PolicyAction::Custom {
        problems.push("annotation istio.io/dry-run: CUSTOM can't be rehearsed; it is enforced".into());
        dry_run = false;
    }
    let provider = (action == PolicyAction::Custom).then(|| provider.unwrap_or_default().into());
    ReadPolicy { policy: Policy { key: key.clone(), action, dry_run, rules }, provider, reach, problems }
}

fn accepted(policy: &ReadPolicy, missing: Option<&(String, ObjectKey)>, unasked: Option<&String>) -> Condition {
    let fault = match (&*policy.problems, missing) {
        ([], None) if let Some(why) = unasked => Fault::new("Invalid", format!("{why}; what it matches is denied")),
        ([], None) if policy.policy.action == PolicyAction::Custom => {
            let but = "on TCP, TLS and UDP listeners nobody can be asked: there it denies what it matches";
            return Condition::yes_but("Accepted", "Accepted", but);
        }
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
