//! The current configuration, for many readers.

use super::Config;
use arc_swap::ArcSwap;
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};
use tokio::sync::watch;

/// The current configuration. Cloning shares it.
#[derive(Clone)]
pub struct Shared(Arc<State>);

struct State {
    current: ArcSwap<Config>,
    /// Beside the configuration, so that "is there a newer one" is one load that all cores share for reading.
    generation: AtomicU64,
    changes: watch::Sender<u64>,
}

impl Default for Shared {
    fn default() -> Self {
        Self(Arc::new(State {
            current: ArcSwap::from_pointee(Config::default()),
            generation: AtomicU64::new(0),
            changes: watch::Sender::new(0),
        }))
    }
}

impl Shared {
    /// The current configuration.
    pub fn load(&self) -> Arc<Config> {
        self.0.current.load_full()
    }

    /// The newest configuration in place of an older one; nothing but one atomic load if there is none.
    pub fn refresh(&self, held: &mut Arc<Config>) -> bool {
        if !self.is_newer(held) {
            return false;
        }
        *held = self.load();
        true
    }

    /// Whether there is a newer configuration than that: one atomic load.
    pub fn is_newer(&self, held: &Config) -> bool {
        self.0.generation.load(Ordering::Acquire) != held.generation
    }

    /// Tells of changes by generation; for those who must act on one (listeners, names to resolve), not for requests.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.0.changes.subscribe()
    }

    /// Puts a configuration in place of the current one.
    pub fn swap(&self, mut config: Config) {
        config.generation = self.0.generation.load(Ordering::Relaxed) + 1;
        let generation = config.generation;
        self.0.current.store(Arc::new(config));
        self.0.generation.store(generation, Ordering::Release);
        self.0.changes.send_replace(generation);
    }
}
