//! Parts of a status as Kubernetes has them.

use model::{Condition, ListenerStatus, ParentStatus};
use serde_json::{Value, json};

/// A condition whose status changed just now.
pub fn condition(condition: &Condition, generation: i64, now: &str) -> Value {
    let status = match condition.verdict.holds {
        Some(true) => "True",
        Some(false) => "False",
        None => "Unknown",
    };
    json!({
        "type": condition.kind,
        "status": status,
        "reason": condition.verdict.reason,
        "message": cut(&condition.verdict.message),
        "observedGeneration": generation,
        "lastTransitionTime": now,
    })
}

/// An API server takes 32 KiB of message.
fn cut(message: &str) -> &str {
    message.get(..message.floor_char_boundary(LONGEST)).unwrap_or(message)
}

const LONGEST: usize = 8 * 1024;

/// What is said of a listener, with its conditions.
pub fn listener(listener: &ListenerStatus, conditions: Value) -> Value {
    let kinds = listener.supported_kinds.iter().map(|(group, kind)| json!({"group": group, "kind": kind}));
    json!({
        "name": &*listener.name,
        "supportedKinds": kinds.collect::<Vec<_>>(),
        "attachedRoutes": listener.attached_routes,
        "conditions": conditions,
    })
}

/// The reference to a parent, as the route writes it.
pub fn parent_ref(parent: &ParentStatus) -> Value {
    let (group, kind) = &parent.kind;
    let mut reference = json!({"group": &**group, "kind": &**kind, "name": &*parent.parent.name});
    if parent.explicit_namespace {
        reference["namespace"] = (&*parent.parent.namespace).into();
    }
    if let Some(section) = &parent.section {
        reference["sectionName"] = (&**section).into();
    }
    if let Some(port) = parent.port {
        reference["port"] = port.into();
    }
    reference
}
