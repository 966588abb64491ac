//! What became of every object: verdicts of resolution, and whether the proxies took what follows from them.
//!
//! `Programmed` is True only after every connected proxy of the Gateway acknowledged the newest generation of its
//! resources; a refusal makes it False with the proxy's words. Who asks for a status gets it put together then.

mod refusals;

use crate::{metrics::Metrics, objects::Objects, refused::Refusal};
use api::ObjectId;
use model::{Condition, ObjectKey, ObjectRef, Status, Verdict};
use proto::{Scope, TypeUrl};
use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::watch;
use xds::{Feedback, Observe, Outcome, Publisher};

/// Statuses, and the proxies that they depend on. Cloning shares it.
#[derive(Clone)]
pub struct Board(Arc<Shared>);

struct Shared {
    publisher: Publisher,
    metrics: Metrics,
    objects: Objects,
    state: Mutex<State>,
    changed: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    verdicts: BTreeMap<ObjectRef, Arc<Status>>,
    clients: BTreeMap<Scope, BTreeMap<Arc<str>, Client>>,
    /// Why a Gateway's proxies can't be run.
    undeployed: BTreeMap<ObjectKey, String>,
    /// The newest generation of a Gateway that all its connected proxies have had everything of.
    acknowledged: BTreeMap<ObjectKey, i64>,
    /// What other replicas say of their proxies.
    peers: BTreeMap<String, Arc<BTreeMap<String, Word>>>,
    /// Objects that the door refuses as they stand.
    refused: BTreeMap<ObjectId, Refusal>,
    is_decided: bool,
    /// Objects whose status may have changed; nobody asks for them without a cluster.
    dirty: Option<BTreeSet<ObjectId>>,
}

/// What a replica says of the proxies of a Gateway that are connected to it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Word {
    /// The newest generation of the Gateway that all of them have had everything of.
    generation: i64,
    /// What they refuse: type, name, the proxy's words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    refused: Vec<(String, Arc<str>, String)>,
}

impl Word {
    /// As if it were one proxy, of a Gateway of that generation.
    fn client(&self, generation: i64) -> Client {
        let refused = self.refused.iter().filter_map(|(kind, name, error)| {
            let type_url = TypeUrl::ALL.into_iter().find(|known| known.as_str() == kind)?;
            let refused = Refused { version: String::new(), error: error.clone(), may_pass: false };
            Some(((type_url, name.clone()), refused))
        });
        Client { acked: if self.generation >= generation { u64::MAX } else { 0 }, refused: refused.collect() }
    }
}

/// One connected proxy.
#[derive(Clone, Debug, Default)]
pub struct Client {
    /// It has everything up to this generation of its scope; 0 is nothing yet.
    pub acked: u64,
    /// What it refused, and why.
    pub refused: BTreeMap<(TypeUrl, Arc<str>), Refused>,
}

/// A refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The version that was refused.
    pub version: String,
    /// The proxy's words.
    pub error: String,
    /// The fault is its machine's, and the same is offered again.
    pub may_pass: bool,
}

impl Board {
    /// A board without objects and proxies.
    pub fn new(publisher: Publisher, metrics: Metrics, objects: Objects) -> Self {
        let (state, changed) = (Mutex::default(), watch::Sender::new(0));
        Self(Arc::new(Shared { publisher, metrics, objects, state, changed }))
    }

    /// Takes the verdicts of a commit, whose resources have been published already: in the other order `Programmed`
    /// could be True for a moment before anybody had them. What `with` does is seen together with them.
    pub fn decide<T>(&self, verdicts: Vec<(ObjectRef, Option<Arc<Status>>)>, with: impl FnOnce() -> T) -> T {
        let mut state = self.state();
        let done = with();
        state.is_decided = true;
        for (object, status) in verdicts {
            state.touch(&object);
            match status {
                Some(status) => state.verdicts.insert(object, status),
                None => state.verdicts.remove(&object),
            };
        }
        // What they name may be ours from now on.
        if let State { dirty: Some(dirty), refused, .. } = &mut *state {
            dirty.extend(refused.keys().cloned());
        }
        drop(state);
        self.change();
        done
    }

    /// Every status, in the order of kind, namespace and name, and what `with` reads of the same commit.
    pub fn statuses<T>(&self, with: impl FnOnce() -> T) -> (BTreeMap<ObjectRef, Status>, T) {
        let state = self.state();
        let whole = |(object, verdict): (&ObjectRef, &Arc<Status>)| (object.clone(), self.whole(&state, verdict));
        let mut statuses: BTreeMap<_, _> = state.verdicts.iter().map(whole).collect();
        let refused = state.refused.keys().filter_map(|id| Some((object(id), self.refused(&state, id)?)));
        statuses.extend(refused);
        (statuses, with())
    }

    /// The status of one object.
    pub fn status(&self, id: &ObjectId) -> Option<Status> {
        let state = self.state();
        let accepted = || state.verdicts.get(&object(id)).map(|verdict| self.whole(&state, verdict));
        self.refused(&state, id).or_else(accepted)
    }

    /// Begins to collect the objects whose status may have changed.
    pub fn collect(&self) {
        self.state().dirty.get_or_insert_default();
    }

    /// Those whose status may have changed since the last time.
    pub fn take_dirty(&self) -> BTreeSet<ObjectId> {
        self.state().dirty.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Whether everything was read and judged once.
    pub fn is_decided(&self) -> bool {
        self.state().is_decided
    }

    /// Waits for that.
    pub async fn decided(&self) {
        let mut changes = self.changes();
        while !self.is_decided() && changes.changed().await.is_ok() {}
    }

    /// What other replicas need to know of our proxies, by Gateway.
    pub(crate) fn words(&self) -> BTreeMap<String, Word> {
        let mut state = self.state();
        let mut words = BTreeMap::new();
        let State { clients, verdicts, acknowledged, .. } = &mut *state;
        acknowledged.retain(|gateway, _| clients.contains_key(&Scope::gateway(&gateway.namespace, &gateway.name)));
        for (scope, clients) in clients.iter() {
            let Some(gateway) = gateway(scope) else { continue };
            let Some(verdict) = verdicts.get(&ObjectRef::new("Gateway", gateway.clone())) else { continue };
            let newest = self.0.publisher.generation(scope);
            let generation = acknowledged.entry(gateway.clone()).or_default();
            // Once they have had it, routes that change are no news.
            if clients.values().all(|client| client.acked >= newest) {
                *generation = verdict.observed_generation;
            }
            let refused = clients.values().flat_map(|client| &client.refused);
            let refused =
                refused.map(|((type_url, name), why)| (type_url.as_str().to_owned(), name.clone(), why.error.clone()));
            words.insert(gateway.to_string(), Word { generation: *generation, refused: refused.take(10).collect() });
        }
        words
    }

    /// Takes what other replicas say of theirs.
    pub(crate) fn hear(&self, peers: BTreeMap<String, Arc<BTreeMap<String, Word>>>) {
        let mut state = self.state();
        if state.peers == peers {
            return;
        }
        let before = std::mem::replace(&mut state.peers, peers);
        let words = |peers: &BTreeMap<String, Arc<BTreeMap<String, Word>>>| {
            let each = peers.iter().flat_map(|(pod, words)| {
                words.iter().map(move |(gateway, word)| (gateway.clone(), pod.clone(), word.clone()))
            });
            each.map(|(gateway, pod, word)| ((gateway, pod), word)).collect::<BTreeMap<_, _>>()
        };
        let (before, now) = (words(&before), words(&state.peers));
        let changed = before.keys().chain(now.keys()).filter(|key| before.get(key) != now.get(key));
        let gateways: BTreeSet<String> = changed.map(|(gateway, _)| gateway.clone()).collect();
        for (namespace, name) in gateways.iter().filter_map(|gateway| gateway.split_once('/')) {
            state.touch_gateway(&ObjectKey::new(namespace, name));
        }
        drop(state);
        if !gateways.is_empty() {
            self.change();
        }
    }

    /// Says why a Gateway's proxies can't be run, or that they can.
    pub fn deployed(&self, gateway: &ObjectKey, fault: Option<String>) {
        let mut state = self.state();
        let before = match fault.clone() {
            Some(fault) => state.undeployed.insert(gateway.clone(), fault),
            None => state.undeployed.remove(gateway),
        };
        if before == fault {
            return;
        }
        state.touch_gateway(gateway);
        drop(state);
        self.change();
    }

    /// The connected proxies by scope.
    pub fn clients(&self) -> BTreeMap<Scope, BTreeMap<Arc<str>, Client>> {
        self.state().clients.clone()
    }

    /// Whether a Gateway waits for its proxies to connect or to acknowledge.
    pub fn is_pending(&self) -> bool {
        let state = self.state();
        let gateways = state.verdicts.iter().filter(|(object, _)| &*object.kind == "Gateway");
        let mut conditions = gateways.flat_map(|(_, verdict)| self.whole(&state, verdict).conditions);
        conditions.any(|condition| condition.kind == "Programmed" && condition.verdict.reason == "Pending")
    }

    /// A number that rises whenever a status, or a problem of what was read, may have changed.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.0.changed.subscribe()
    }

    fn whole(&self, state: &State, verdict: &Status) -> Status {
        let mut status = verdict.clone();
        if let Some(gateway) = &verdict.gateway {
            let scope = Scope::gateway(&gateway.namespace, &gateway.name);
            let generation = self.0.publisher.generation(&scope);
            let clients = state.everybody(gateway, &scope);
            let clients = clients.as_deref();
            if let Some(fault) = state.undeployed.get(gateway) {
                undeployed(&mut status.conditions, fault);
            }
            let ports: Vec<u16> = status.listeners.iter().map(|listener| listener.port).collect();
            let own = status.listeners.iter_mut().map(|listener| (vec![listener.port], &mut listener.conditions));
            for (ports, conditions) in std::iter::once((ports, &mut status.conditions)).chain(own) {
                let waiting = |one: &&mut Condition| one.kind == "Programmed" && one.verdict.holds.is_none();
                conditions
                    .iter_mut()
                    .filter(waiting)
                    .for_each(|condition| *condition = programmed(clients, generation, &ports));
            }
        }
        status
    }

    pub(crate) fn change(&self) {
        self.0.changed.send_modify(|number| *number += 1);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing in the lock panics half-way through a change.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The proxies of a Gateway; those of another replica are one.
    fn everybody(&self, gateway: &ObjectKey, scope: &Scope) -> Option<Cow<'_, BTreeMap<Arc<str>, Client>>> {
        let ours = self.clients.get(scope).map(Cow::Borrowed);
        let name = gateway.to_string();
        let mut theirs = self.peers.iter().filter_map(|(pod, words)| Some((pod, words.get(&name)?))).peekable();
        if theirs.peek().is_none() {
            return ours;
        }
        let verdict = self.verdicts.get(&ObjectRef::new("Gateway", gateway.clone()));
        let generation = verdict.map_or(0, |verdict| verdict.observed_generation);
        let mut all = ours.unwrap_or_default();
        all.to_mut().extend(theirs.map(|(pod, word)| (format!("replica {pod}").into(), word.client(generation))));
        Some(all)
    }

    fn touch(&mut self, object: &ObjectRef) {
        if let Some(dirty) = &mut self.dirty {
            let ObjectKey { namespace, name } = object.key.clone();
            dirty.insert(ObjectId { kind: object.kind.clone(), namespace, name });
        }
    }

    /// A Gateway and its ListenerSets.
    fn touch_gateway(&mut self, gateway: &ObjectKey) {
        if self.dirty.is_none() {
            return;
        }
        let first = ObjectRef::new("ListenerSet", ObjectKey::new("", ""));
        let sets = self.verdicts.range(first..).take_while(|(object, _)| &*object.kind == "ListenerSet");
        let of_it = sets.filter(|(_, status)| status.gateway.as_ref() == Some(gateway));
        let objects: Vec<_> = of_it.map(|(object, _)| object.clone()).collect();
        objects.iter().for_each(|object| self.touch(object));
        self.touch(&ObjectRef::new("Gateway", gateway.clone()));
    }

    fn touch_scope(&mut self, scope: &Scope) {
        if let Some(gateway) = gateway(scope) {
            self.touch_gateway(&gateway);
        }
    }
}

fn object(id: &ObjectId) -> ObjectRef {
    ObjectRef::new(id.kind.clone(), ObjectKey::new(id.namespace.clone(), id.name.clone()))
}

/// The Gateway whose proxies have a scope.
fn gateway(scope: &Scope) -> Option<ObjectKey> {
    let (namespace, name) = scope.0.strip_prefix("gateway/")?.split_once('/')?;
    Some(ObjectKey::new(namespace, name))
}

/// A Gateway whose proxies can't be run isn't programmed, and won't get an address.
fn undeployed(conditions: &mut [Condition], fault: &str) {
    let of_ours = |one: &&mut Condition| one.kind == "Programmed" && one.verdict.reason != "Invalid";
    if let Some(condition) = conditions.iter_mut().find(of_ours) {
        *condition = Condition::no("Programmed", "NoResources", fault);
    }
}

/// The condition of listeners on these ports of a Gateway whose proxies are these, and whose newest generation is that.
/// The refusal of another port's listener doesn't concern them.
fn programmed(clients: Option<&BTreeMap<Arc<str>, Client>>, generation: u64, ports: &[u16]) -> Condition {
    const KIND: &str = "Programmed";
    let Some(clients) = clients.filter(|clients| !clients.is_empty()) else {
        return Condition::no(KIND, "Pending", "no proxy of this Gateway is connected");
    };
    let own: Vec<String> = ports.iter().map(|port| translate::listener_name(*port)).collect();
    let concerns = |(type_url, name): &(TypeUrl, Arc<str>)| {
        *type_url != TypeUrl::Listener || own.iter().any(|own| **own == **name)
    };
    let refusals = clients.iter().flat_map(|(client, state)| state.refused.iter().map(move |one| (client, one)));
    if let Some((client, ((type_url, name), refused))) = refusals.into_iter().find(|(_, (of, _))| concerns(of)) {
        let what = type_url.as_str().rsplit('.').next().unwrap_or_default();
        let remedy = match refused.may_pass {
            true => {
                "; it is offered again every second: free the address on the proxy's machine, or choose another port"
            }
            false => "",
        };
        return Condition::no(KIND, "Invalid", format!("{client} refuses {what} {name}: {}{remedy}", refused.error));
    }
    let behind = clients.values().filter(|client| client.acked < generation).count();
    if behind > 0 {
        let message = format!("{behind} of {} proxies have not acknowledged it yet", clients.len());
        return Condition { kind: KIND, verdict: Verdict { holds: Some(false), reason: "Pending", message } };
    }
    Condition::yes(KIND, "Programmed")
}

impl Observe for Board {
    fn observe(&self, Feedback { scope, client, outcome }: Feedback) {
        let metrics = &self.0.metrics;
        let mut state = self.state();
        let clients = state.clients.entry(scope.clone()).or_default();
        match outcome {
            Outcome::Connected => {
                clients.insert(client, Client::default());
            }
            Outcome::Disconnected => {
                clients.remove(&client);
                if clients.is_empty() {
                    state.clients.remove(&scope);
                }
            }
            Outcome::Acked { generation } => {
                let client = clients.entry(client).or_default();
                client.acked = client.acked.max(generation);
            }
            Outcome::Nacked { type_url, name, version, error, may_pass } => {
                metrics.rejected(type_url);
                let now = Refused { version, error, may_pass };
                let refused = &mut clients.entry(client.clone()).or_default().refused;
                // What is offered again and again is told once.
                if refused.get(&(type_url, name.clone())) == Some(&now) {
                    return;
                }
                tracing::warn!(%client, %type_url, name = &*name, error = now.error, "a proxy refuses a resource");
                refused.insert((type_url, name), now);
            }
            Outcome::Recovered { type_url, name } => {
                clients.entry(client).or_default().refused.remove(&(type_url, name));
            }
        }
        state.touch_scope(&scope);
        drop(state);
        self.change();
    }
}

#[cfg(test)]
mod tests;
