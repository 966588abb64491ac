//! What is to be made for Gateways: written by the pipeline, read by the deployer.

use model::{Infrastructure, ObjectKey};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::watch;

/// Infrastructures by Gateway. Cloning shares it.
#[derive(Clone)]
pub struct Desired(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    changed: watch::Sender<()>,
}

#[derive(Default)]
struct State {
    all: BTreeMap<ObjectKey, Arc<Infrastructure>>,
    changed: BTreeSet<ObjectKey>,
}

impl Default for Desired {
    fn default() -> Self {
        Self(Arc::new(Shared { state: Mutex::default(), changed: watch::Sender::new(()) }))
    }
}

impl Desired {
    /// Takes new ones; None: nothing is to be made for that Gateway any more.
    pub(crate) fn change(&self, changes: impl Iterator<Item = (ObjectKey, Option<Arc<Infrastructure>>)>) {
        let mut state = self.state();
        let mut any = false;
        for (gateway, infrastructure) in changes {
            any = true;
            state.changed.insert(gateway.clone());
            match infrastructure {
                Some(infrastructure) => state.all.insert(gateway, infrastructure),
                None => state.all.remove(&gateway),
            };
        }
        drop(state);
        if any {
            self.0.changed.send_replace(());
        }
    }

    /// What one Gateway is to have.
    pub fn get(&self, gateway: &ObjectKey) -> Option<Arc<Infrastructure>> {
        self.state().all.get(gateway).cloned()
    }

    /// The Gateways for which something is to be made.
    pub fn gateways(&self) -> Vec<ObjectKey> {
        self.state().all.keys().cloned().collect()
    }

    /// Tells of changes.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.0.changed.subscribe()
    }

    /// The Gateways that changed since the last time.
    pub fn take_changed(&self) -> BTreeSet<ObjectKey> {
        std::mem::take(&mut self.state().changed)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing in the lock panics half-way through a change.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
