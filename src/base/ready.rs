//! Readiness: named barriers that must all be passed once.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::watch;

/// The barriers of a process. Cloning shares them.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<State>);

#[derive(Debug)]
struct State {
    waiting: Mutex<BTreeSet<String>>,
    ready: watch::Sender<bool>,
}

impl Default for State {
    fn default() -> Self {
        Self { waiting: Mutex::default(), ready: watch::Sender::new(true) }
    }
}

/// One barrier; pass it by [`Barrier::pass`]. Dropped without, it is never passed, and the process never ready.
#[derive(Debug)]
#[must_use = "a barrier that is dropped is never passed"]
pub struct Barrier {
    name: String,
    state: Arc<State>,
}

impl Readiness {
    /// Adds a barrier. The process is not ready from here until it is passed. Names must differ.
    pub fn barrier(&self, name: impl Into<String>) -> Barrier {
        let name = name.into();
        let mut waiting = self.0.waiting();
        waiting.insert(name.clone());
        self.0.ready.send_replace(false);
        Barrier { name, state: self.0.clone() }
    }

    /// The barriers that are still closed, in order; empty means ready.
    pub fn waiting_for(&self) -> Vec<String> {
        self.0.waiting().iter().cloned().collect()
    }

    /// Whether every barrier has been passed.
    pub fn is_ready(&self) -> bool {
        *self.0.ready.borrow()
    }

    /// Waits until every barrier has been passed.
    pub async fn ready(&self) {
        // `self` holds the sender, so the wait can't fail.
        let _ = self.0.ready.subscribe().wait_for(|ready| *ready).await;
    }
}

impl Barrier {
    /// Passes the barrier.
    pub fn pass(self) {
        let mut waiting = self.state.waiting();
        waiting.remove(&self.name);
        if waiting.is_empty() {
            self.state.ready.send_replace(true);
        }
    }
}

impl State {
    // A panic while the lock is held can't leave the set half changed.
    fn waiting(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_after_the_last_barrier() {
        let readiness = Readiness::default();
        assert!(readiness.is_ready());
        let (a, b) = (readiness.barrier("a"), readiness.barrier("b"));
        assert_eq!(readiness.waiting_for(), ["a", "b"]);
        a.pass();
        assert!(!readiness.is_ready());
        b.pass();
        assert!(readiness.is_ready());
    }

    #[test]
    fn a_lost_barrier_is_never_passed() {
        let readiness = Readiness::default();
        drop(readiness.barrier("a"));
        assert!(!readiness.is_ready());
    }
}
