//! Which Gateways a policy holds for.

use crate::gateway::Workload;
use api::{GATEWAY_GROUP, PolicyTargetReference, WorkloadSelector};
use model::ObjectKey;
use std::{collections::BTreeMap, sync::Arc};

/// Where policies are looked for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Scope {
    Gateway(ObjectKey),
    Class(Arc<str>),
    Namespace(Arc<str>),
    Mesh,
}

impl Scope {
    /// Those that a Gateway is in.
    pub(crate) fn of(key: &ObjectKey, workload: &Workload) -> [Self; 4] {
        let (class, namespace) = (workload.class.clone(), key.namespace.clone());
        [Self::Gateway(key.clone()), Self::Class(class), Self::Namespace(namespace), Self::Mesh]
    }
}

/// How far a policy reaches.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Reach {
    pub(crate) scopes: Vec<Scope>,
    /// Labels that the pods must have, where a scope is a namespace or the mesh.
    selector: BTreeMap<String, String>,
    /// Gateways that are named, with the field that does.
    pub(crate) targets: Vec<(String, ObjectKey)>,
}

impl Reach {
    pub(crate) fn read(
        key: &ObjectKey,
        selector: Option<&WorkloadSelector>,
        target: Option<&PolicyTargetReference>,
        targets: &[PolicyTargetReference],
        root: &Arc<str>,
        problems: &mut Vec<String>,
    ) -> Self {
        let single = target.iter().map(|target| ("spec.targetRef".to_owned(), *target));
        let many = targets.iter().enumerate().map(|(i, target)| (format!("spec.targetRefs[{i}]"), target));
        let written: Vec<_> = single.chain(many).collect();
        let mut reach = Self { scopes: Vec::new(), selector: BTreeMap::new(), targets: Vec::new() };
        for (field, target) in &written {
            match scope(key, target, root) {
                Ok(scope) => {
                    if let Scope::Gateway(gateway) = &scope {
                        reach.targets.push((field.clone(), gateway.clone()));
                    }
                    reach.scopes.push(scope);
                }
                Err(why) => problems.push(format!("{field}{why}")),
            }
        }
        if target.is_some() && !targets.is_empty() {
            problems.push("spec.targetRef: must be absent beside targetRefs; both are used".into());
        }
        if selector.is_some() && !written.is_empty() {
            problems.push("spec.selector: must be absent beside targetRefs; both are used".into());
        }
        // A policy whose targets can't be understood may be meant for any Gateway that it could name.
        let lost = !written.is_empty() && reach.scopes.is_empty();
        if written.is_empty() || selector.is_some() || lost {
            let everywhere = key.namespace == *root;
            reach.scopes.push(if everywhere { Scope::Mesh } else { Scope::Namespace(key.namespace.clone()) });
            reach.selector = selector.map(|selector| selector.match_labels.clone()).unwrap_or_default();
        }
        reach
    }

    /// Whether it holds for a Gateway that is in one of its scopes.
    pub(crate) fn covers(&self, key: &ObjectKey, workload: &Workload) -> bool {
        let selected = || self.selector.iter().all(|(label, value)| workload.labels.get(label) == Some(value));
        self.scopes.iter().any(|scope| match scope {
            Scope::Gateway(gateway) => gateway == key,
            Scope::Class(class) => *class == workload.class,
            Scope::Namespace(namespace) => *namespace == key.namespace && selected(),
            Scope::Mesh => selected(),
        })
    }
}

/// What a target names, or what is wrong with it, from the field on.
fn scope(key: &ObjectKey, target: &PolicyTargetReference, root: &Arc<str>) -> Result<Scope, String> {
    let foreign =
        target.namespace.as_deref().filter(|namespace| !namespace.is_empty() && **namespace != *key.namespace);
    if let Some(namespace) = foreign {
        return Err(format!(".namespace: wanted the policy's own, saw {namespace:?}"));
    }
    match (&*target.group, &*target.kind) {
        (GATEWAY_GROUP, "Gateway") => Ok(Scope::Gateway(ObjectKey::new(key.namespace.clone(), &*target.name))),
        (GATEWAY_GROUP, "GatewayClass") if key.namespace == *root => Ok(Scope::Class((*target.name).into())),
        (GATEWAY_GROUP, "GatewayClass") => {
            Err(format!(": a GatewayClass can be named in the root namespace {root} only"))
        }
        (group, kind) => {
            Err(format!(": wanted a Gateway or a GatewayClass of {GATEWAY_GROUP}, saw a {kind} of {group:?}"))
        }
    }
}
