//! Between the xDS client and the store: what is refused is told and counted, what is accepted is kept on disk, and the
//! first full configuration opens the proxy.

use crate::config::Store;
use base::metrics::{Counter, Gauge, Metrics};
use proto::TypeUrl;
use std::{collections::BTreeMap, sync::Arc};
use tokio::sync::watch;
use xds::client::{Handler, Interests, Refusal, Update};

/// The proxy's handler of resources.
pub(crate) struct Door {
    store: Store,
    complete: watch::Sender<bool>,
    counts: Counts,
    /// What was refused last of each resource, and why: what comes again and again is told once.
    told: BTreeMap<(TypeUrl, Arc<str>), String>,
}

/// What is counted of configuration.
#[derive(Default)]
struct Counts {
    refused: Counter,
    accepted: Counter,
    connected: Gauge,
}

impl Door {
    /// `complete` becomes true with the first full configuration, and stays so.
    pub(crate) fn new(store: Store, complete: watch::Sender<bool>, metrics: &Metrics) -> Self {
        let counts = Counts::default();
        metrics.register(|registry| {
            registry.register("windlass_xds_refused", "resources refused", counts.refused.clone());
            registry.register("windlass_xds_accepted", "resources accepted", counts.accepted.clone());
            registry.register("windlass_xds_connected", "whether a stream is open", counts.connected.clone());
        });
        let door = Self { store, complete, counts, told: BTreeMap::new() };
        door.look();
        door
    }

    fn look(&self) {
        // Once complete, always: it isn't asked again, for it looks at every cluster.
        if !*self.complete.borrow() && self.store.is_complete() {
            self.complete.send_replace(true);
            tracing::info!("the first full configuration is in force");
        }
    }
}

impl Handler for Door {
    fn apply(
        &mut self,
        type_url: TypeUrl,
        updates: Vec<Update>,
        removed: Vec<Arc<str>>,
        interests: &mut Interests,
    ) -> Vec<Refusal> {
        let refusals = self.store.apply(type_url, &updates, &removed, interests);
        let names = updates.iter().map(|update| &update.name).chain(&removed);
        for name in names.filter(|name| refusals.iter().all(|refusal| refusal.name != **name)) {
            self.told.remove(&(type_url, name.clone()));
        }
        for Refusal { name, error } in &refusals {
            if self.told.insert((type_url, name.clone()), error.clone()).as_ref() != Some(error) {
                tracing::warn!(%type_url, %name, error, "resource refused");
            }
        }
        for (listener, missing) in self.store.waiting() {
            tracing::debug!(%listener, ?missing, "listener waits");
        }
        self.counts.refused.inc_by(refusals.len() as u64);
        self.counts.accepted.inc_by(updates.len().saturating_sub(refusals.len()) as u64);
        self.look();
        refusals
    }

    fn connected(&mut self, connected: bool) {
        self.counts.connected.set(connected.into());
    }
}
