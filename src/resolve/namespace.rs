//! Namespaces: their labels, and which of them are meant.

use crate::Inputs;
use api::{FromNamespaces, LabelSelector};
use engine::{Engine, Table, View};
use model::ObjectKey;
use std::{collections::BTreeMap, sync::Arc};

/// Labels of namespaces.
pub(crate) type Labels = Table<ObjectKey, BTreeMap<String, String>>;

/// From which namespaces others may attach.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Allowed {
    Same,
    All,
    Selector(LabelSelector),
    None,
}

pub(crate) fn declare(engine: &mut Engine, inputs: &Inputs) -> Labels {
    engine.derive("namespace labels", &inputs.namespaces, |_, key, rows| {
        rows.iter().map(|namespace| (key.clone(), namespace.metadata.labels.clone().unwrap_or_default())).collect()
    })
}

impl Allowed {
    pub(crate) fn new(from: FromNamespaces, selector: Option<&LabelSelector>) -> Self {
        match (from, selector) {
            (FromNamespaces::Same, _) => Self::Same,
            (FromNamespaces::All, _) => Self::All,
            (FromNamespaces::Selector, Some(selector)) => Self::Selector(selector.clone()),
            (FromNamespaces::Selector, None) | (FromNamespaces::None, _) => Self::None,
        }
    }

    /// Whether an object of that namespace may attach to one of the namespace `own`.
    pub(crate) fn allows(&self, view: &View, labels: Labels, own: &Arc<str>, namespace: &Arc<str>) -> bool {
        match self {
            Self::Same => own == namespace,
            Self::All => true,
            Self::None => false,
            Self::Selector(selector) => {
                let known = view.get(&labels, &ObjectKey::new("", namespace.clone()));
                selects(selector, namespace, known.as_deref().unwrap_or(&BTreeMap::new()))
            }
        }
    }
}

/// Kubernetes' label selector on a namespace. Every namespace has the label with its name: the API server sets it, and a
/// directory of YAML need not even have the Namespace.
fn selects(selector: &LabelSelector, namespace: &str, labels: &BTreeMap<String, String>) -> bool {
    let value = |key: &str| match key {
        "kubernetes.io/metadata.name" => Some(namespace),
        key => labels.get(key).map(String::as_str),
    };
    let listed = |requirement: &api::LabelSelectorRequirement| {
        let values = requirement.values.as_deref().unwrap_or_default();
        value(&requirement.key).map(|value| values.iter().any(|wanted| wanted == value))
    };
    let holds = |requirement: &api::LabelSelectorRequirement| match &*requirement.operator {
        "In" => listed(requirement) == Some(true),
        "NotIn" => listed(requirement) != Some(true),
        "Exists" => value(&requirement.key).is_some(),
        "DoesNotExist" => value(&requirement.key).is_none(),
        _ => false,
    };
    selector.match_labels.iter().flatten().all(|(key, wanted)| value(key) == Some(wanted))
        && selector.match_expressions.iter().flatten().all(holds)
}
