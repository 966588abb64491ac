//! What is said of an object that the door refuses: it isn't accepted, and why. The last good state of it stays in use.
//!
//! An API server refuses most of that itself; one with other definitions than ours, or laxer ones, doesn't.

use api::{Kind, ObjectId, ParentReference};
use kube::api::DynamicObject;
use model::{Condition, ObjectKey, ParentStatus, Status};
use serde_json::Value;
use std::sync::Arc;

/// An object that was refused, as far as that matters for its status.
#[derive(Clone, Debug, PartialEq)]
pub struct Refusal {
    generation: i64,
    /// Fields and what is wrong with them.
    why: String,
    /// What a route or a ListenerSet attaches to, or a policy names.
    parents: Vec<ParentReference>,
    /// The class of a Gateway.
    class: Option<Arc<str>>,
}

/// The Gateway that a reference leads to, and whose it is, if it is one of ours.
pub type FindParent<'a> = &'a dyn Fn(&str, &ParentReference) -> Option<Arc<str>>;

impl Refusal {
    /// Of an object as it stands; what was wrong with it is said later.
    pub fn of(kind: Kind, object: &DynamicObject) -> Self {
        let spec = &object.data["spec"];
        let fields: &[&str] = match kind {
            Kind::ListenerSet => &["parentRef"],
            Kind::AuthorizationPolicy | Kind::RequestAuthentication => &["targetRefs", "targetRef"],
            kind if kind.as_str().ends_with("Route") => &["parentRefs"],
            _ => &[],
        };
        let class = spec["gatewayClassName"].as_str().filter(|_| kind == Kind::Gateway);
        Self {
            generation: object.metadata.generation.unwrap_or_default(),
            why: String::new(),
            parents: fields.iter().flat_map(|field| references(&spec[*field])).collect(),
            class: class.map(Arc::from),
        }
    }

    /// With what is wrong.
    pub fn because(self, why: String) -> Self {
        Self { why, ..self }
    }

    /// The class that a Gateway names.
    pub fn class(&self) -> Option<&str> {
        self.class.as_deref()
    }

    /// The status: what was said of the last good state, but that this one isn't accepted. Without one, only if the object
    /// concerns Gateways of ours.
    pub fn status(&self, id: &ObjectId, before: Option<&Status>, find: FindParent, has_class: bool) -> Option<Status> {
        if let Some(before) = before {
            return Some(self.instead_of(before.clone(), &id.kind));
        }
        let found = || self.parents.iter().filter_map(|parent| Some((parent, find(&id.namespace, parent)?)));
        let accepted = self.no("Accepted", &id.kind);
        let (conditions, parents) = match &*id.kind {
            "Gateway" if has_class => (vec![accepted, self.no("Programmed", &id.kind)], Vec::new()),
            "ListenerSet" if found().next().is_some() => (vec![accepted, self.no("Programmed", &id.kind)], Vec::new()),
            "AuthorizationPolicy" | "RequestAuthentication" if found().next().is_some() => (vec![accepted], Vec::new()),
            kind if kind.ends_with("Route") => {
                let parents = found().map(|(parent, controller)| {
                    parent_status(&id.namespace, parent, controller, vec![accepted.clone()])
                });
                (Vec::new(), parents.collect())
            }
            _ => return None,
        };
        let status = Status { observed_generation: self.generation, conditions, parents, ..Status::default() };
        (!status.conditions.is_empty() || !status.parents.is_empty()).then_some(status)
    }

    fn instead_of(&self, mut status: Status, kind: &str) -> Status {
        status.observed_generation = self.generation;
        let parents = status.parents.iter_mut().chain(&mut status.ancestors);
        let conditions = parents.flat_map(|parent| &mut parent.conditions).chain(&mut status.conditions);
        for condition in conditions.filter(|condition| ["Accepted", "Programmed"].contains(&condition.kind)) {
            *condition = self.no(condition.kind, kind);
        }
        status
    }

    fn no(&self, condition: &'static str, kind: &str) -> Condition {
        let reason = if kind.ends_with("Route") { "UnsupportedValue" } else { "Invalid" };
        Condition::no(condition, reason, &*self.why)
    }
}

/// One reference or a list of them; what can't be read is none.
fn references(value: &Value) -> Vec<ParentReference> {
    let all = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
    all.iter().filter_map(|one| serde_json::from_value(one.clone()).ok()).collect()
}

fn parent_status(
    namespace: &str,
    reference: &ParentReference,
    controller: Arc<str>,
    conditions: Vec<Condition>,
) -> ParentStatus {
    ParentStatus {
        controller,
        kind: (reference.group.as_str().into(), reference.kind.as_str().into()),
        parent: ObjectKey::new(reference.namespace.as_deref().unwrap_or(namespace), &*reference.name),
        explicit_namespace: reference.namespace.is_some(),
        section: reference.section_name.as_deref().map(Arc::from),
        port: reference.port,
        conditions,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn refusal(kind: Kind, spec: Value) -> (ObjectId, Refusal) {
        let object = json!({"metadata": {"name": "a", "namespace": "n", "generation": 2}, "spec": spec});
        let object: DynamicObject = serde_json::from_value(object).unwrap();
        let id = ObjectId { kind: kind.as_str().into(), namespace: "n".into(), name: "a".into() };
        (id, Refusal::of(kind, &object).because("spec.x: bad".into()))
    }

    fn find(namespace: &str, parent: &ParentReference) -> Option<Arc<str>> {
        (parent.name == "ours" && namespace == "n").then(|| "c".into())
    }

    #[test]
    fn only_what_concerns_us_is_told_of() {
        let parents = json!({"parentRefs": [{"name": "theirs"}, {"name": "ours", "sectionName": "s"}, 7], "rules": 7});
        let (id, route) = refusal(Kind::HttpRoute, parents);
        let status = route.status(&id, None, &find, false).unwrap();
        let [parent] = &*status.parents else { panic!("{status:?}") };
        assert_eq!(
            (&*parent.parent.name, parent.section.as_deref(), status.observed_generation),
            ("ours", Some("s"), 2)
        );
        assert_eq!(parent.conditions, [Condition::no("Accepted", "UnsupportedValue", "spec.x: bad")]);
        let (id, gateway) = refusal(Kind::Gateway, json!({"gatewayClassName": "windlass", "listeners": {}}));
        assert_eq!(gateway.class(), Some("windlass"));
        assert_eq!(gateway.status(&id, None, &find, true).unwrap().conditions[0].verdict.reason, "Invalid");
        assert_eq!(gateway.status(&id, None, &find, false), None);
        let (id, policy) = refusal(Kind::AuthorizationPolicy, json!({"targetRef": {"name": "theirs"}}));
        assert_eq!(policy.status(&id, None, &find, false), None);
    }

    #[test]
    fn what_was_said_before_stays_but_for_two_conditions() {
        let (id, gateway) = refusal(Kind::Gateway, json!({}));
        let conditions =
            ["Accepted", "Programmed", "ResolvedRefs"].map(|kind| Condition::yes(kind, kind)).into_iter().collect();
        let before = Status { observed_generation: 1, conditions, ..Status::default() };
        let status = gateway.status(&id, Some(&before), &find, false).unwrap();
        let holds: Vec<_> = status.conditions.iter().map(|condition| condition.verdict.holds).collect();
        assert_eq!((holds, status.observed_generation), (vec![Some(false), Some(false), Some(true)], 2));
    }
}
