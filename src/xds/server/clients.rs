//! The open streams, for people (`/debug/syncz`).

use proto::{Scope, TypeUrl};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

/// One open stream.
#[derive(Clone, Debug)]
pub struct Client {
    /// `<node id>-<number>`.
    pub name: Arc<str>,
    /// What it says that it is: program and version, as far as it says.
    pub software: Arc<str>,
    /// What it gets.
    pub scope: Scope,
    /// Whether it speaks the delta protocol.
    pub delta: bool,
    /// Its proven identity.
    pub identity: Option<Arc<str>>,
    /// When the stream was opened.
    pub connected: SystemTime,
    /// Everything up to this generation is acknowledged; 0 before the first.
    pub generation: u64,
    /// Its types, by the order of make before break.
    pub types: BTreeMap<TypeUrl, TypeState>,
}

/// One type on one stream.
#[derive(Clone, Debug, Default)]
pub struct TypeState {
    /// The last response.
    pub sent: Option<SystemTime>,
    /// The last acknowledgement.
    pub acked: Option<SystemTime>,
    /// The last refusal, and the client's reason.
    pub nacked: Option<(SystemTime, String)>,
    /// Resources that are parked: name and refused version.
    pub parked: BTreeMap<Arc<str>, String>,
    /// The nonces of the last response and the last acknowledgement.
    pub nonce_sent: u64,
    /// See `nonce_sent`.
    pub nonce_acked: u64,
}

#[derive(Default)]
pub(super) struct Clients(Mutex<Open>);

#[derive(Default)]
struct Open {
    next: u64,
    clients: BTreeMap<u64, Arc<Mutex<Client>>>,
}

impl Clients {
    /// Adds a client; its name gets a number.
    pub(super) fn add(&self, mut client: Client) -> (u64, Arc<Mutex<Client>>) {
        let mut open = lock(&self.0);
        open.next += 1;
        let number = open.next;
        client.name = format!("{}-{number}", client.name).into();
        let client = Arc::new(Mutex::new(client));
        open.clients.insert(number, client.clone());
        (number, client)
    }

    pub(super) fn remove(&self, number: u64) {
        lock(&self.0).clients.remove(&number);
    }

    pub(super) fn count(&self) -> usize {
        lock(&self.0).clients.len()
    }

    pub(super) fn list(&self) -> Vec<Client> {
        let clients: Vec<_> = lock(&self.0).clients.values().cloned().collect();
        clients.iter().map(|client| lock(client).clone()).collect()
    }
}

/// Nothing under these locks panics half-way through a change.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
