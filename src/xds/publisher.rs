//! Where the control plane puts resources, and streams find them.

use crate::routes::Routes;
use crate::snapshot::Snapshot;
use proto::{Resource, ResourceKey, Scope, TypeUrl};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::{pin::Pin, task::Context, task::Poll};
use tokio::sync::watch;
use tokio_stream::{Stream, wrappers::WatchStream};

/// The newest snapshot of every scope. Cloning shares it.
///
/// Every scope has two views: virtual hosts as resources of their own, with route configurations that say so; or
/// whole route configurations, put together when the first client of that view asks, and shared by all of them.
#[derive(Clone, Debug, Default)]
pub struct Publisher(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    generation: u64,
    scopes: BTreeMap<Scope, ScopeState>,
}

#[derive(Debug, Default)]
struct ScopeState {
    newest: watch::Sender<Arc<Snapshot>>,
    routes: Arc<Mutex<Routes>>,
}

/// How a client gets routes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// Virtual hosts as resources of their own.
    VirtualHosts,
    /// Whole route configurations.
    Assembled,
}

/// The newest snapshot of one scope in one view.
pub(crate) struct Feed {
    newest: watch::Receiver<Arc<Snapshot>>,
    changes: WatchStream<Arc<Snapshot>>,
    routes: Arc<Mutex<Routes>>,
    view: View,
}

impl Publisher {
    /// Publishes changes as one generation, seen by every stream at once or not at all; a key without a resource is
    /// removed. A change to equal bytes is none. Returns the generation; also a publication without any change has
    /// one, and the first one, even if it is empty, lets clients in.
    ///
    /// Of [`TypeUrl::Route`] the shells are published (see [`proto::assemble`]).
    pub fn publish(&self, changes: Vec<(ResourceKey, Option<Resource>)>) -> u64 {
        let mut state = self.state();
        state.generation += 1;
        let generation = state.generation;
        let mut by_scope: BTreeMap<Scope, Vec<_>> = BTreeMap::new();
        for (key, resource) in changes {
            by_scope.entry(key.scope).or_default().push((key.type_url, key.name, resource));
        }
        for (scope, changes) in by_scope {
            state.scopes.entry(scope).or_default().publish(generation, changes);
        }
        state.scopes.retain(|_, scope| scope.newest.receiver_count() > 0 || !scope.newest.borrow().is_empty());
        generation
    }

    /// What a scope's clients should have; empty for a scope that has nothing.
    pub fn snapshot(&self, scope: &Scope, view: View) -> Arc<Snapshot> {
        let feed = self.state().scopes.get(scope).map(|scope| scope.feed(view));
        feed.map(|feed| feed.newest()).unwrap_or_default()
    }

    /// The last generation that changed a scope; 0 for a scope that has nothing.
    pub fn generation(&self, scope: &Scope) -> u64 {
        self.state().scopes.get(scope).map_or(0, |scope| scope.newest.borrow().generation)
    }

    /// The scopes that have resources or clients.
    pub fn scopes(&self) -> BTreeSet<Scope> {
        self.state().scopes.keys().cloned().collect()
    }

    /// What a stream reads; `None` before the first publication.
    pub(crate) fn feed(&self, scope: &Scope, view: View) -> Option<Feed> {
        let mut state = self.state();
        (state.generation > 0).then(|| state.scopes.entry(scope.clone()).or_default().feed(view))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing in the lock panics half-way through a change: what a poisoned lock holds is whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ScopeState {
    fn publish(&mut self, generation: u64, changes: Vec<(TypeUrl, Arc<str>, Option<Resource>)>) {
        let mut routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next = Snapshot::clone(&self.newest.borrow());
        let mut changed = false;
        for (type_url, name, resource) in changes {
            let resource = routes.note(type_url, &name, resource);
            changed |= next.set(generation, type_url, name, resource);
        }
        if changed {
            next.generation = generation;
            next.published = Some(std::time::Instant::now());
            self.newest.send_replace(Arc::new(next));
        }
    }

    fn feed(&self, view: View) -> Feed {
        let newest = self.newest.subscribe();
        Feed { changes: WatchStream::from_changes(newest.clone()), newest, routes: self.routes.clone(), view }
    }
}

impl Feed {
    /// The newest snapshot.
    pub(crate) fn newest(&self) -> Arc<Snapshot> {
        match self.view {
            View::VirtualHosts => self.newest.borrow().clone(),
            View::Assembled => {
                // The lock first: what is noted in it and what is published change together.
                let mut routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
                let newest = self.newest.borrow().clone();
                routes.assemble(&newest)
            }
        }
    }

    /// The newest snapshot as it was published, whatever the view.
    pub(crate) fn latest(&self) -> Arc<Snapshot> {
        self.newest.borrow().clone()
    }

    /// The newest snapshot when there is one that [`Feed::poll_changed`] has not returned.
    pub(crate) fn poll_changed(&mut self, context: &mut Context<'_>) -> Poll<Arc<Snapshot>> {
        match Pin::new(&mut self.changes).poll_next(context) {
            Poll::Ready(Some(_)) => Poll::Ready(self.newest()),
            // A scope's sender goes only when no receiver is left: there is always one more change to wait for.
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }
}
