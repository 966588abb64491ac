//! Conditions that say that something is wrong, of whatever kind the object is.

use super::finding::{Finding, Level};
use crate::{
    condition::{State, is_negative, judge},
    offline::{World, id},
    path::path,
};
use api::{FieldPath, ObjectId, Step};
use model::{Condition, ListenerStatus, ParentStatus, Status};
use serde_json::Value;
use std::collections::BTreeSet;

/// One finding for each thing that is said, however many conditions say it.
pub fn findings(world: &World) -> Vec<Finding> {
    let all = world.statuses.iter().flat_map(|(object, status)| of_object(world, &id(object), status));
    all.collect()
}

fn of_object(world: &World, object: &ObjectId, status: &Status) -> Vec<Finding> {
    let json = world.objects.get(object).and_then(|object| object.to_json().ok()).unwrap_or_default();
    let mut said = BTreeSet::new();
    let mut findings = Vec::new();
    let mut take = |condition: &Condition, around: &FieldPath| {
        for (level, at, message) in parts(condition) {
            if said.insert(message.clone()) {
                let at = at.unwrap_or_else(|| around.clone());
                findings.push(Finding::new(world, level, condition.verdict.reason, object, &at, message));
            }
        }
    };
    for listener in &status.listeners {
        let around = listener_path(&json, listener);
        // `Programmed` repeats what others say with a better reason.
        let (last, first): (Vec<_>, Vec<_>) = listener.conditions.iter().partition(|one| one.kind == "Programmed");
        first.into_iter().chain(last).for_each(|condition| take(condition, &around));
    }
    for (index, parent) in status.parents.iter().enumerate() {
        let around = parent_path(&json, parent, index);
        parent.conditions.iter().for_each(|condition| take(condition, &around));
    }
    // What is said of the whole because of its listeners has been said.
    let of_listeners = !status.listeners.is_empty() && status.listeners.iter().any(is_bad);
    let repeats = |condition: &Condition| {
        of_listeners && (condition.verdict.reason == "ListenersNotValid" || condition.kind == "Programmed")
    };
    for condition in status.conditions.iter().filter(|condition| !repeats(condition)) {
        take(condition, &FieldPath::default());
    }
    findings
}

fn is_bad(listener: &ListenerStatus) -> bool {
    listener.conditions.iter().any(|condition| judge(condition) == State::Bad)
}

/// What a condition complains of, each thing with its field.
fn parts(condition: &Condition) -> Vec<(Level, Option<FieldPath>, String)> {
    let message = condition.verdict.message.as_str();
    let level = match judge(condition) {
        // What the specification wants to be told, and nobody has to change.
        State::Bad if condition.kind == "OverlappingTLSConfig" => Level::Note,
        // Addresses are found where Gateways run.
        State::Bad if condition.verdict.reason == "AddressNotAssigned" => Level::Note,
        State::Bad => Level::Error,
        State::Good if !message.is_empty() && !is_negative(condition.kind) => Level::Note,
        State::Good | State::Waits => return Vec::new(),
    };
    let parts = message.split("; spec.").enumerate();
    let parts = parts.map(|(index, part)| if index == 0 { part.to_owned() } else { format!("spec.{part}") });
    let part = |part: String| match part.split_once(": ").and_then(|(head, rest)| Some((path(head)?, rest.to_owned())))
    {
        Some((at, rest)) => (level, Some(at), rest),
        // The first field that a longer text names.
        None => {
            let named =
                part.split_once("(spec.").and_then(|(_, rest)| path(&format!("spec.{}", rest.split_once(": ")?.0)));
            let text = if part.is_empty() { condition.to_string() } else { part };
            (level, named, text)
        }
    };
    parts.map(part).collect()
}

fn listener_path(json: &Value, listener: &ListenerStatus) -> FieldPath {
    let listeners = json["spec"]["listeners"].as_array();
    let index = listeners.and_then(|all| all.iter().position(|one| one["name"] == *listener.name));
    index.map(|index| item("listeners", index)).unwrap_or_default()
}

/// The parentRef that a status speaks of: the one that reads the same, else the one in its place.
fn parent_path(json: &Value, parent: &ParentStatus, index: usize) -> FieldPath {
    let field = ["parentRefs", "targetRefs"].into_iter().find(|field| json["spec"][field].is_array());
    let Some(field) = field else { return FieldPath::default() };
    let same = |reference: &Value| {
        let text = |name: &str| reference[name].as_str();
        text("name") == Some(&*parent.parent.name)
            && text("namespace").is_none_or(|namespace| *namespace == *parent.parent.namespace)
            && text("sectionName") == parent.section.as_deref()
            && reference["port"].as_u64() == parent.port.map(u64::from)
    };
    let found = json["spec"][field].as_array().and_then(|all| all.iter().position(same));
    item(field, found.unwrap_or(index))
}

/// `spec.<list>[<index>]`
pub fn item(list: &str, index: usize) -> FieldPath {
    FieldPath(vec![Step::Field("spec".into()), Step::Field(list.into()), Step::Item(index)])
}
