//! Where the control plane puts resources, and streams find them.

use crate::snapshot::Snapshot;
use proto::{Resource, ResourceKey, Scope};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// The newest snapshot of every scope. Cloning shares it.
#[derive(Clone, Debug, Default)]
pub struct Publisher(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    generation: u64,
    scopes: BTreeMap<Scope, watch::Sender<Arc<Snapshot>>>,
}

impl Publisher {
    /// Publishes changes as one generation, seen by every stream at once or not at all; a key without a resource is
    /// removed. A change to equal bytes is none. Returns the generation; also a publication without any change
    /// has one, and the first one, even if it is empty, lets clients in.
    pub fn publish(&self, changes: Vec<(ResourceKey, Option<Resource>)>) -> u64 {
        let mut state = self.state();
        state.generation += 1;
        let generation = state.generation;
        let mut by_scope: BTreeMap<Scope, Vec<_>> = BTreeMap::new();
        for (key, resource) in changes {
            by_scope.entry(key.scope).or_default().push((key.type_url, key.name, resource));
        }
        for (scope, changes) in by_scope {
            let sender = state.scopes.entry(scope).or_default();
            let mut next = Snapshot::clone(&sender.borrow());
            let mut changed = false;
            for (type_url, name, resource) in changes {
                changed |= next.set(generation, type_url, name, resource);
            }
            if changed {
                next.generation = generation;
                sender.send_replace(Arc::new(next));
            }
        }
        state.scopes.retain(|_, sender| sender.receiver_count() > 0 || !sender.borrow().is_empty());
        generation
    }

    /// What a scope's clients should have; empty for a scope that has nothing.
    pub fn snapshot(&self, scope: &Scope) -> Arc<Snapshot> {
        self.state().scopes.get(scope).map(|sender| sender.borrow().clone()).unwrap_or_default()
    }

    /// The last generation that changed a scope; 0 for a scope that has nothing.
    pub fn generation(&self, scope: &Scope) -> u64 {
        self.snapshot(scope).generation
    }

    /// The scopes that have resources or clients.
    pub fn scopes(&self) -> BTreeSet<Scope> {
        self.state().scopes.keys().cloned().collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing in the lock panics half-way through a change: what a poisoned lock holds is whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
