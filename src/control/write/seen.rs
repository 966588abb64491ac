//! The statuses that stand in the cluster, as its watches see them.

use super::elsewhere::Elsewhere;
use crate::{cluster::Revision, source::cluster::Onlook};
use api::{Kind, ObjectId};
use kube::api::DynamicObject;
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::watch;

/// Statuses by object. Cloning shares it.
#[derive(Clone)]
pub struct Seen(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    changed: watch::Sender<()>,
}

#[derive(Default)]
struct State {
    statuses: BTreeMap<ObjectId, Standing>,
    changed: BTreeSet<ObjectId>,
    elsewhere: Elsewhere,
}

/// What stands there.
#[derive(Clone, Debug)]
pub struct Standing {
    /// `metadata.resourceVersion`.
    pub version: Arc<str>,
    /// `metadata.generation`.
    pub generation: i64,
    /// The group's version in which it came.
    pub api_version: Arc<str>,
    /// As text: there may be ten thousand, and one is looked at in a while.
    status: Arc<str>,
}

impl Standing {
    fn of(object: &DynamicObject) -> Self {
        let types = object.types.as_ref();
        Self {
            version: object.metadata.resource_version.as_deref().unwrap_or_default().into(),
            generation: object.metadata.generation.unwrap_or_default(),
            api_version: types.map(|types| &*types.api_version).unwrap_or_default().into(),
            status: object.data.get("status").unwrap_or(&Value::Null).to_string().into(),
        }
    }

    /// The status itself.
    pub fn status(&self) -> Value {
        serde_json::from_str(&self.status).unwrap_or_default()
    }

    /// Resource versions are numbers that rise: since Kubernetes 1.35 that is promised.
    fn is_older_than(&self, other: &Self) -> bool {
        let number = |standing: &Self| standing.version.parse::<u128>().ok();
        matches!((number(self), number(other)), (Some(this), Some(that)) if this < that)
    }
}

impl Seen {
    /// Nothing yet.
    pub fn new(revision: Revision) -> Self {
        let state = State { elsewhere: Elsewhere::new(revision), ..State::default() };
        Self(Arc::new(Shared { state: Mutex::new(state), changed: watch::Sender::new(()) }))
    }

    /// What stands for an object; none if there is no such object, or another revision minds it.
    pub fn get(&self, id: &ObjectId) -> Option<Standing> {
        let state = self.state();
        state.statuses.get(id).filter(|_| !state.elsewhere.minds(id)).cloned()
    }

    /// Whether a parent or ancestor that an object of a namespace names is minded by another revision.
    pub fn is_parent_elsewhere(&self, namespace: &str, reference: &Value) -> bool {
        self.state().elsewhere.minds_parent(namespace, reference)
    }

    /// Every object.
    pub fn all(&self) -> Vec<ObjectId> {
        self.state().statuses.keys().cloned().collect()
    }

    /// Takes what an answer to a write, or a read, says.
    pub fn learn(&self, id: &ObjectId, object: &DynamicObject) {
        self.put(id.clone(), Standing::of(object));
    }

    /// Tells of objects that changed.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.0.changed.subscribe()
    }

    /// Those that changed since the last time.
    pub fn take_changed(&self) -> BTreeSet<ObjectId> {
        std::mem::take(&mut self.state().changed)
    }

    fn put(&self, id: ObjectId, standing: Standing) {
        let mut state = self.state();
        let known = state.statuses.get(&id);
        // Watches may lag behind what our own writes have told.
        if known.is_some_and(|known| standing.is_older_than(known)) {
            return;
        }
        let is_same =
            known.is_some_and(|known| known.status == standing.status && known.generation == standing.generation);
        if !is_same {
            state.changed.insert(id.clone());
        }
        state.statuses.insert(id, standing);
        drop(state);
        if !is_same {
            self.0.changed.send_replace(());
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing in the lock panics half-way through a change.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether we write statuses of a kind.
fn has_status(kind: Kind) -> bool {
    !matches!(
        kind,
        Kind::Namespace | Kind::ReferenceGrant | Kind::Service | Kind::EndpointSlice | Kind::Secret | Kind::ConfigMap
    )
}

impl Onlook for Seen {
    fn seen(&self, kind: Kind, object: &DynamicObject) {
        if has_status(kind) {
            let id = ObjectId {
                kind: kind.name(),
                namespace: object.metadata.namespace.as_deref().unwrap_or_default().into(),
                name: object.metadata.name.as_deref().unwrap_or_default().into(),
            };
            self.state().elsewhere.see(kind, &id, object);
            self.put(id, Standing::of(object));
        }
    }

    fn gone(&self, id: &ObjectId) {
        let mut state = self.state();
        state.changed.remove(id);
        state.elsewhere.forget(id);
        if state.statuses.remove(id).is_some() {
            state.changed.insert(id.clone());
            drop(state);
            self.0.changed.send_replace(());
        }
    }
}
