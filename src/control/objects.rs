//! The objects that are in use, for whoever asks what they are.

use crate::source::Changes;
use api::{Kind, Object, ObjectId, Problem};
use model::ObjectKey;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Objects in use and problems of what was read. Cloning shares it.
#[derive(Clone, Default)]
pub struct Objects(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    objects: BTreeMap<ObjectId, Object>,
    problems: Vec<Problem>,
}

impl Objects {
    /// Every object, in the order of kind, namespace and name. They are shared, not copied.
    pub fn all(&self) -> BTreeMap<ObjectId, Object> {
        self.state().objects.clone()
    }

    /// One object.
    pub(crate) fn get(&self, kind: Kind, key: &ObjectKey) -> Option<Object> {
        let (kind, namespace, name) = (kind.name(), key.namespace.clone(), key.name.clone());
        self.state().objects.get(&ObjectId { kind, namespace, name }).cloned()
    }

    /// What is wrong with what was read.
    pub fn problems(&self) -> Vec<Problem> {
        self.state().problems.clone()
    }

    /// Takes changes and says by how many the objects of a kind have become more.
    pub(crate) fn change(&self, changes: &Changes, counted: api::Kind) -> i64 {
        let mut state = self.state();
        let mut more = 0;
        for (id, object) in changes {
            let before = match object {
                Some(object) => state.objects.insert(id.clone(), object.clone()),
                None => state.objects.remove(id),
            };
            if &*id.kind == counted.as_str() {
                more += i64::from(object.is_some()) - i64::from(before.is_some());
            }
        }
        more
    }

    pub(crate) fn set_problems(&self, problems: Vec<Problem>) {
        self.state().problems = problems;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing in the lock panics half-way through a change.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
