//! The addresses of listeners, taken as soon as a listener is heard of: so the answer to the server can say that the
//! system refuses one. Connections come in only when the listener is in force.

use super::bind::{self, BindError, Bound};
use crate::config::Name;
use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Which listener has which address. Cloning shares it.
#[derive(Clone)]
pub(crate) struct Ports(Arc<Mutex<State>>);

struct State {
    /// So many sockets an address.
    workers: usize,
    /// Listeners that workers serve.
    open: BTreeMap<Name, SocketAddr>,
    /// Listeners that are not in force yet, or not on this address.
    taken: BTreeMap<Name, (SocketAddr, Bound)>,
}

impl Ports {
    pub(super) fn new(workers: usize) -> Self {
        Self(Arc::new(Mutex::new(State { workers, open: BTreeMap::new(), taken: BTreeMap::new() })))
    }

    /// Takes an address for a listener, unless it has it. One that is refused changes nothing.
    pub(crate) fn take(&self, listener: &Name, address: SocketAddr) -> Result<(), BindError> {
        let mut state = self.state();
        let has = |(name, at): (&Name, &SocketAddr)| name == listener && *at == address;
        if state.open.iter().any(has) || state.taken.iter().any(|(name, (at, _))| has((name, at))) {
            return Ok(());
        }
        // The system would let two sockets of ours share it.
        if state.taken.iter().any(|(name, (at, _))| name != listener && *at == address && at.port() != 0) {
            return Err(BindError { address, error: io::ErrorKind::AddrInUse.into() });
        }
        let bound = bind::all(address, state.workers)?;
        state.taken.insert(listener.clone(), (address, bound));
        Ok(())
    }

    /// Gives up what was taken for a listener and is not served yet.
    pub(crate) fn release(&self, listener: &str) {
        self.state().taken.remove(listener);
    }

    /// The sockets of a listener that comes into force.
    pub(super) fn open(&self, listener: &Name, address: SocketAddr) -> Result<Bound, BindError> {
        let mut state = self.state();
        let bound = match state.taken.remove(listener) {
            Some((at, bound)) if at == address => bound,
            _ => bind::all(address, state.workers)?,
        };
        state.open.insert(listener.clone(), address);
        Ok(bound)
    }

    /// A listener is served no longer.
    pub(super) fn closed(&self, listener: &Name) {
        self.state().open.remove(listener);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing in the lock panics half-way through a change.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
