//! Objects that the door refuses as they stand: what is said of them, besides the verdicts.

use super::{Board, State, object};
use crate::{refused::Refusal, source::cluster::Onlook};
use api::{Kind, Object, ObjectId, ParentReference};
use kube::api::DynamicObject;
use model::{ObjectKey, ObjectRef, Status};
use std::sync::Arc;

impl Board {
    /// The status of an object that the door refuses as it stands.
    pub(super) fn refused(&self, state: &State, id: &ObjectId) -> Option<Status> {
        let refusal = state.refused.get(id)?;
        let before = state.verdicts.get(&object(id)).map(|verdict| self.whole(state, verdict));
        let find = |namespace: &str, parent: &ParentReference| self.controller(state, namespace, parent);
        let is_ours =
            |class: &str| state.verdicts.contains_key(&ObjectRef::new("GatewayClass", ObjectKey::new("", class)));
        refusal.status(id, before.as_ref(), &find, refusal.class().is_some_and(is_ours))
    }

    /// Whose the Gateway is that a reference leads to, if it is ours.
    fn controller(&self, state: &State, namespace: &str, parent: &ParentReference) -> Option<Arc<str>> {
        let key = ObjectKey::new(parent.namespace.as_deref().unwrap_or(namespace), &*parent.name);
        let verdict = state.verdicts.get(&ObjectRef::new(&*parent.kind, key))?;
        let objects = &self.0.objects;
        let Object::Gateway(gateway) = objects.get(Kind::Gateway, verdict.gateway.as_ref()?)? else { return None };
        let class = ObjectKey::new("", &*gateway.spec.gateway_class_name);
        let Object::GatewayClass(class) = objects.get(Kind::GatewayClass, &class)? else { return None };
        Some((*class.spec.controller_name).into())
    }
}

/// Of what the cluster's watches see only what the door refuses.
impl Onlook for Board {
    fn seen(&self, _kind: Kind, _object: &DynamicObject) {}

    fn gone(&self, _id: &ObjectId) {}

    fn refused(&self, id: &ObjectId, refusal: Option<Refusal>) {
        let mut state = self.state();
        match refusal {
            Some(refusal) => state.refused.insert(id.clone(), refusal),
            None => state.refused.remove(id),
        };
        state.touch(&object(id));
        drop(state);
        self.change();
    }
}
