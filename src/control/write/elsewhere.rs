//! What another revision minds: Gateways by their label, and what hangs on them.

use crate::cluster::Revision;
use api::{GATEWAY_GROUP, Kind, ObjectId};
use kube::api::DynamicObject;
use model::ObjectKey;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// What is minded elsewhere, as far as statuses are concerned.
#[derive(Default)]
pub struct Elsewhere {
    revision: Revision,
    gateways: BTreeSet<ObjectKey>,
    classes: BTreeSet<ObjectKey>,
    /// The Gateways of ListenerSets, and those that policies name.
    named: BTreeMap<ObjectId, Vec<ObjectKey>>,
}

impl Elsewhere {
    /// Nothing is known yet.
    pub fn new(revision: Revision) -> Self {
        Self { revision, ..Self::default() }
    }

    /// An object is there in this form.
    pub fn see(&mut self, kind: Kind, id: &ObjectId, object: &DynamicObject) {
        let key = ObjectKey::new(id.namespace.clone(), id.name.clone());
        let spec = &object.data["spec"];
        let set = match kind {
            Kind::Gateway => &mut self.gateways,
            Kind::GatewayClass => &mut self.classes,
            Kind::ListenerSet => {
                return self.name(id, gateway(&id.namespace, &spec["parentRef"]).into_iter().collect());
            }
            Kind::AuthorizationPolicy | Kind::RequestAuthentication => {
                let targets = spec["targetRefs"].as_array().into_iter().flatten().chain([&spec["targetRef"]]);
                let gateways = targets.filter_map(|target| gateway(&id.namespace, target)).collect();
                return self.name(id, gateways);
            }
            _ => return,
        };
        match self.revision.minds(&object.metadata) {
            true => set.remove(&key),
            false => set.insert(key),
        };
    }

    /// An object is gone.
    pub fn forget(&mut self, id: &ObjectId) {
        let key = ObjectKey::new(id.namespace.clone(), id.name.clone());
        match &*id.kind {
            "Gateway" => drop(self.gateways.remove(&key)),
            "GatewayClass" => drop(self.classes.remove(&key)),
            _ => drop(self.named.remove(id)),
        }
    }

    /// Whether an object's status is written there: also that of a policy that names any of their Gateways, lest two
    /// rewrite each other.
    pub fn minds(&self, id: &ObjectId) -> bool {
        let key = ObjectKey::new(id.namespace.clone(), id.name.clone());
        match &*id.kind {
            "Gateway" => self.gateways.contains(&key),
            "GatewayClass" => self.classes.contains(&key),
            _ => self.named.get(id).is_some_and(|named| named.iter().any(|gateway| self.gateways.contains(gateway))),
        }
    }

    /// Whether a parent or ancestor that an object of a namespace names is minded there.
    pub fn minds_parent(&self, namespace: &str, reference: &Value) -> bool {
        if reference["kind"] == "ListenerSet" {
            let (namespace, name) = target(namespace, reference);
            return self.minds(&ObjectId {
                kind: "ListenerSet".into(),
                namespace: namespace.into(),
                name: name.into(),
            });
        }
        gateway(namespace, reference).is_some_and(|gateway| self.gateways.contains(&gateway))
    }

    fn name(&mut self, id: &ObjectId, gateways: Vec<ObjectKey>) {
        match gateways.is_empty() {
            true => self.named.remove(id),
            false => self.named.insert(id.clone(), gateways),
        };
    }
}

/// The Gateway that a reference names.
fn gateway(namespace: &str, reference: &Value) -> Option<ObjectKey> {
    let is = |field: &str, wanted: &str| reference[field].as_str().is_none_or(|seen| seen == wanted);
    let (namespace, name) = target(namespace, reference);
    (!name.is_empty() && is("kind", "Gateway") && is("group", GATEWAY_GROUP)).then(|| ObjectKey::new(namespace, name))
}

fn target<'a>(namespace: &'a str, reference: &'a Value) -> (&'a str, &'a str) {
    (reference["namespace"].as_str().unwrap_or(namespace), reference["name"].as_str().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn see(elsewhere: &mut Elsewhere, kind: Kind, name: &str, revision: Option<&str>, spec: Value) -> ObjectId {
        let labels = revision.map(|revision| json!({"istio.io/rev": revision}));
        let object = json!({"metadata": {"name": name, "namespace": "n", "labels": labels}, "spec": spec});
        let id = ObjectId { kind: kind.as_str().into(), namespace: "n".into(), name: name.into() };
        elsewhere.see(kind, &id, &serde_json::from_value(object).unwrap());
        id
    }

    #[test]
    fn what_hangs_on_their_gateways_is_theirs() {
        let mut elsewhere = Elsewhere::default();
        let ours = see(&mut elsewhere, Kind::Gateway, "ours", None, json!({}));
        let theirs = see(&mut elsewhere, Kind::Gateway, "theirs", Some("canary"), json!({}));
        assert!(!elsewhere.minds(&ours) && elsewhere.minds(&theirs));
        let target = |name: &str| json!({"group": GATEWAY_GROUP, "kind": "Gateway", "name": name});
        let set = see(&mut elsewhere, Kind::ListenerSet, "set", None, json!({"parentRef": {"name": "theirs"}}));
        let policy = json!({"targetRefs": [target("ours"), target("theirs")]});
        let both = see(&mut elsewhere, Kind::AuthorizationPolicy, "both", None, policy);
        let one = see(&mut elsewhere, Kind::AuthorizationPolicy, "one", None, json!({"targetRef": target("ours")}));
        assert!(elsewhere.minds(&set) && elsewhere.minds(&both) && !elsewhere.minds(&one));
        assert!(elsewhere.minds_parent("n", &json!({"name": "theirs"})));
        assert!(elsewhere.minds_parent("other", &json!({"name": "set", "namespace": "n", "kind": "ListenerSet"})));
        assert!(!elsewhere.minds_parent("other", &json!({"name": "theirs"})));
        assert!(!elsewhere.minds_parent("n", &json!({"name": "theirs", "kind": "Service", "group": ""})));

        // It changes hands.
        see(&mut elsewhere, Kind::Gateway, "theirs", Some("default"), json!({}));
        assert!(!elsewhere.minds(&theirs) && !elsewhere.minds(&set) && !elsewhere.minds(&both));
    }
}
