//! What is to be written to an object's status, if anything: from what stands there and from what we say; pure.
//!
//! Only what is ours is touched: our entries among `parents` and `ancestors`, our types among `conditions`. What is
//! equal is no difference, whatever its order.

use super::show::{condition, listener, parent_ref};
use model::{Condition, ParentStatus, Status};
use serde_json::{Map, Value, json};

/// What is to be written.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// The fields of `status` that change; null takes one away.
    pub fields: Map<String, Value>,
    /// Nothing but how many routes or ListenerSets are attached: it can wait for more.
    pub is_count: bool,
    /// `Programmed` stays True although it is pending again.
    pub is_held: bool,
}

/// What the comparison needs to know besides.
pub struct Around<'a> {
    /// Whether a controller's name is one of ours.
    pub is_ours: &'a dyn Fn(&str) -> bool,
    /// Whether a parent or ancestor is minded by another revision, which writes under the same names.
    pub is_elsewhere: &'a dyn Fn(&Value) -> bool,
    /// The time, as Kubernetes writes it.
    pub now: &'a str,
    /// Whether a `Programmed` that is True for the same generation outlives that proxies haven't acknowledged everything
    /// now: they had what the object says, and routes that change are no business of its status. Proxies that come,
    /// and all of them after the control plane's restart, get there in no time.
    pub hold: bool,
}

/// Condition types that we write, and so take away where we don't say them.
const TYPES: &[&str] = &[
    "Accepted",
    "Conflicted",
    "InsecureFrontendValidationMode",
    "OverlappingTLSConfig",
    "PartiallyInvalid",
    "Programmed",
    "ResolvedRefs",
    "SupportedVersion",
];

/// Whether the statuses of a kind are by parent, by ancestor, or of the whole object.
fn list(kind: &str) -> Option<(&'static str, &'static str)> {
    match kind {
        "BackendTLSPolicy" | "XBackendTrafficPolicy" => Some(("ancestors", "ancestorRef")),
        kind if kind == "XBackend" || kind.ends_with("Route") => Some(("parents", "parentRef")),
        _ => None,
    }
}

/// Compares. Without a status we have nothing to say: only entries of ours in lists go.
pub fn difference(kind: &str, present: &Value, wanted: Option<&Status>, around: &Around) -> Option<Difference> {
    let mut compare = Compare { around, is_held: false };
    let fields = match (list(kind), wanted) {
        (Some((list, reference)), wanted) => compare.entries(&present[list], (list, reference), wanted),
        (None, Some(wanted)) => compare.whole(kind, present, wanted),
        (None, None) => Map::new(),
    };
    let is_count = fields.iter().all(|(name, value)| match &**name {
        "attachedListenerSets" => true,
        "listeners" => without_counts(value) == without_counts(&present[name]),
        _ => false,
    });
    (!fields.is_empty() || compare.is_held).then_some(Difference { fields, is_count, is_held: compare.is_held })
}

struct Compare<'a> {
    around: &'a Around<'a>,
    is_held: bool,
}

impl Compare<'_> {
    fn whole(&mut self, kind: &str, present: &Value, wanted: &Status) -> Map<String, Value> {
        let generation = wanted.observed_generation;
        let mut status = Map::new();
        status.insert("conditions".into(), self.conditions(&present["conditions"], &wanted.conditions, generation));
        if ["Gateway", "ListenerSet"].contains(&kind) {
            status.insert("listeners".into(), self.listeners(&present["listeners"], wanted));
        }
        if kind == "Gateway" {
            let address = |(kind, value): &(&str, std::sync::Arc<str>)| json!({"type": kind, "value": &**value});
            status.insert("addresses".into(), wanted.addresses.iter().map(address).collect());
            status.insert("attachedListenerSets".into(), wanted.attached_listener_sets.into());
        }
        if kind == "GatewayClass" {
            let features = wanted.supported_features.iter().map(|name| json!({"name": name}));
            status.insert("supportedFeatures".into(), features.collect());
        }
        let is_empty = |value: &Value| value.is_null() || value.as_array().is_some_and(Vec::is_empty);
        status.retain(|name, value| *value != present[name] && !(is_empty(value) && is_empty(&present[name])));
        status
    }

    /// The conditions as they should be, in the order in which they stand.
    fn conditions(&mut self, present: &Value, wanted: &[Condition], generation: i64) -> Value {
        let present = present.as_array().map(Vec::as_slice).unwrap_or_default();
        let find = |kind: &str| wanted.iter().find(|one| one.kind == kind);
        let mut all: Vec<Value> = Vec::new();
        for known in present {
            let kind = known["type"].as_str().unwrap_or_default();
            match find(kind) {
                Some(wanted) => all.push(self.condition(known, wanted, generation)),
                None if TYPES.contains(&kind) => {}
                None => all.push(known.clone()),
            }
        }
        let is_new = |one: &&Condition| present.iter().all(|known| known["type"] != one.kind);
        all.extend(wanted.iter().filter(is_new).map(|one| condition(one, generation, self.around.now)));
        all.into()
    }

    fn condition(&mut self, known: &Value, wanted: &Condition, generation: i64) -> Value {
        let is_pending = wanted.kind == "Programmed" && wanted.verdict.reason == "Pending";
        if is_pending && known["status"] == "True" && known["observedGeneration"] == generation {
            self.is_held |= self.around.hold;
            if self.around.hold {
                return known.clone();
            }
        }
        let mut condition = condition(wanted, generation, self.around.now);
        if known["status"] == condition["status"] && known["lastTransitionTime"].is_string() {
            condition["lastTransitionTime"] = known["lastTransitionTime"].clone();
        }
        condition
    }

    fn listeners(&mut self, present: &Value, wanted: &Status) -> Value {
        let present = present.as_array().map(Vec::as_slice).unwrap_or_default();
        let one = |one: &model::ListenerStatus| {
            let known = present.iter().find(|known| known["name"] == *one.name);
            let conditions = known.map_or(&Value::Null, |known| &known["conditions"]);
            listener(one, self.conditions(conditions, &one.conditions, wanted.observed_generation))
        };
        wanted.listeners.iter().map(one).collect()
    }

    /// `parents` or `ancestors`: those of others as they stand, and ours.
    fn entries(&mut self, present: &Value, names: (&str, &str), wanted: Option<&Status>) -> Map<String, Value> {
        let (list, reference) = names;
        let present = present.as_array().map(Vec::as_slice).unwrap_or_default();
        let wanted_entries = wanted.map(|wanted| if list == "parents" { &wanted.parents } else { &wanted.ancestors });
        let mut left: Vec<&ParentStatus> = wanted_entries.into_iter().flatten().collect();
        let generation = wanted.map_or(0, |wanted| wanted.observed_generation);
        let mut all = Vec::new();
        for known in present {
            let is_ours = known["controllerName"].as_str().is_some_and(self.around.is_ours);
            if !is_ours || (self.around.is_elsewhere)(&known[reference]) {
                all.push(known.clone());
                continue;
            }
            let is_this =
                |one: &&ParentStatus| *one.controller == known["controllerName"] && parent_ref(one) == known[reference];
            if let Some(place) = left.iter().position(is_this) {
                all.push(self.entry(left.remove(place), &known["conditions"], reference, generation));
            }
        }
        all.extend(left.into_iter().map(|one| self.entry(one, &Value::Null, reference, generation)));
        let mut fields = Map::new();
        if all != present {
            fields.insert(list.into(), all.into());
        }
        fields
    }

    fn entry(&mut self, one: &ParentStatus, known: &Value, reference: &str, generation: i64) -> Value {
        json!({
            reference: parent_ref(one),
            "controllerName": &*one.controller,
            "conditions": self.conditions(known, &one.conditions, generation),
        })
    }
}

fn without_counts(listeners: &Value) -> Value {
    let without = |listener: &Value| {
        let mut listener = listener.clone();
        if let Some(fields) = listener.as_object_mut() {
            fields.remove("attachedRoutes");
        }
        listener
    };
    listeners.as_array().map(|all| all.iter().map(without).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests;
