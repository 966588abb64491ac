//! What is said of objects, before and after.

use super::Kind;
use crate::offline::World;
use model::{Condition, ObjectRef, Status};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// An object of which something else is said.
#[derive(Serialize)]
pub struct Change {
    pub(super) change: Kind,
    pub(super) object: String,
    pub(super) lines: Vec<String>,
}

/// The objects of which something else is said.
pub fn changes(old: &World, new: &World) -> Vec<Change> {
    let objects: BTreeSet<&ObjectRef> = old.statuses.keys().chain(new.statuses.keys()).collect();
    let change = |object: &ObjectRef| {
        let (before, after) = (old.statuses.get(object), new.statuses.get(object));
        let kind = match (before, after) {
            (None, _) => Kind::Added,
            (_, None) => Kind::Removed,
            _ => Kind::Changed,
        };
        let lines = difference(&facts(before), &facts(after));
        (kind != Kind::Changed || !lines.is_empty()).then(|| Change { change: kind, object: object.to_string(), lines })
    };
    objects.into_iter().filter_map(change).collect()
}

fn difference(old: &BTreeMap<String, String>, new: &BTreeMap<String, String>) -> Vec<String> {
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let line = |name: &String| match (old.get(name), new.get(name)) {
        (Some(old), Some(new)) if old == new => None,
        (Some(old), Some(new)) => Some(format!("{name}: {old} -> {new}")),
        (None, Some(new)) => Some(format!("{name}: + {new}")),
        (Some(old), None) => Some(format!("{name}: - {old}")),
        (None, None) => None,
    };
    names.into_iter().filter_map(line).collect()
}

/// A status as facts by name. The generation is none: in files it means nothing.
fn facts(status: Option<&Status>) -> BTreeMap<String, String> {
    let mut facts = BTreeMap::new();
    let Some(status) = status else { return facts };
    let mut conditions = |of: &str, all: &[Condition]| {
        for condition in all {
            let text = condition.to_string();
            let said = text.strip_prefix(condition.kind).and_then(|rest| rest.strip_prefix('=')).unwrap_or(&text);
            facts.insert(format!("{of}{}", condition.kind), said.to_owned());
        }
    };
    conditions("", &status.conditions);
    for listener in &status.listeners {
        conditions(&format!("listener {}: ", listener.name), &listener.conditions);
    }
    for parent in &status.parents {
        let section = parent.section.as_deref().map(|name| format!("/{name}")).unwrap_or_default();
        let port = parent.port.map(|port| format!(":{port}")).unwrap_or_default();
        conditions(&format!("parent {} {}{section}{port}: ", parent.kind.1, parent.parent), &parent.conditions);
    }
    for listener in &status.listeners {
        facts.insert(format!("listener {}: attachedRoutes", listener.name), listener.attached_routes.to_string());
    }
    facts
}
