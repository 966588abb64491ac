//! One stream's side of the protocol, without I/O: requests and snapshots in, responses and notes out.
//!
//! **Order.** Types form ranks: clusters, endpoints and secrets; listeners and extensions; routes; virtual hosts. A
//! change of generation *g* waits until everything of a generation up to *g* in lower ranks is acknowledged, so that
//! nothing names what the client doesn't have. Endpoints wait for nothing, and of them only new names are waited for.
//! Removals come last, in reverse order, each type after the acknowledgement of the type before.
//!
//! **One at a time.** Of each type at most one response is unacknowledged; what happens meanwhile coalesces in the
//! difference between two tables. A client that never acknowledges holds up only itself, and costs no memory.
//!
//! **Refusals.** The guilty resource is parked in that version and the rest is sent again; if the error doesn't name
//! it, halves are tried until it is found. A parked resource closes no gate; but while a client holds an outdated
//! route, what it may need is not removed. What was refused for the client's machine's sake (a port in use) is offered
//! again as it is: xDS knows no way to take a refusal back.

#[cfg(test)]
mod cases;
#[cfg(test)]
mod law;
mod nack;
mod request;
mod watch;

use crate::snapshot::{Entry, Published, Snapshot, Table};
use imbl::ordmap::DiffItem;
use proto::TypeUrl;
use std::collections::BTreeSet;
use std::sync::Arc;
use watch::{Outstanding, Pending, Rest, Watch, is_update};

pub(crate) use request::Refused;

/// Which of the two protocols.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flavor {
    /// Changes only.
    Delta,
    /// State of the world: listeners and clusters always whole, other types as far as they changed.
    Sotw,
}

/// One stream.
#[derive(Debug)]
pub(crate) struct Subscription {
    flavor: Flavor,
    /// The client warms a changed cluster until it gets its endpoints again, and acknowledges no clusters as long as one
    /// of them warms (Envoy, envoyproxy/envoy#13009).
    warms: bool,
    target: Arc<Snapshot>,
    watches: [Option<Watch>; TypeUrl::ALL.len()],
    /// Clusters that the client holds and whose endpoints it has not asked for.
    expected: BTreeSet<Arc<str>>,
    /// There are such endpoints, and it is about to ask for them.
    expects: bool,
    /// The client has asked for the endpoints of its clusters so far.
    follows: bool,
    /// Removals wait for types that the client has not asked for.
    incomplete: bool,
    /// They waited long enough.
    asks_no_more: bool,
    nonce: u64,
    reported: u64,
    notes: Vec<Note>,
    /// The most names that a client may ask for, by type.
    max_names: usize,
}

/// A response to be sent.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) type_url: TypeUrl,
    pub(crate) nonce: u64,
    pub(crate) generation: u64,
    pub(crate) content: Content,
    /// Delta only.
    pub(crate) removed: Vec<Arc<str>>,
}

/// The resources of a response.
#[derive(Debug)]
pub(crate) enum Content {
    /// These.
    Some(Vec<Arc<Entry>>),
    /// The whole published table: its bytes are shared.
    Whole(Published),
}

/// What happened, for metrics and feedback.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Note {
    /// A response of the type was acknowledged.
    Acked(TypeUrl),
    /// A response of the type was refused; what is parked for it, and the client's words.
    Nacked(TypeUrl, Vec<Refusal>, String),
    /// A parked resource is accepted, or gone, or no longer asked for.
    Recovered(TypeUrl, Arc<str>),
    /// A request had the nonce of an older response.
    Stale(TypeUrl),
    /// Everything up to this generation is acknowledged.
    Reached(u64),
}

/// A resource that was refused and is parked.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) name: Arc<str>,
    pub(crate) version: String,
    /// The fault is the client's machine's: the same is offered again.
    pub(crate) may_pass: bool,
}

/// Types that may go out together, in the order of make before break.
const RANKS: [&[TypeUrl]; 4] = [
    &[TypeUrl::Cluster, TypeUrl::Endpoints, TypeUrl::Secret],
    &[TypeUrl::Listener, TypeUrl::Extension],
    &[TypeUrl::Route],
    &[TypeUrl::VirtualHost],
];

impl Subscription {
    /// A stream without any request yet. `warms`: see [`Subscription::warms`]; `max_names`: by type.
    pub(crate) fn new(flavor: Flavor, warms: bool, max_names: usize, target: Arc<Snapshot>) -> Self {
        Self {
            flavor,
            warms,
            target,
            watches: Default::default(),
            expected: BTreeSet::new(),
            expects: false,
            follows: true,
            incomplete: false,
            asks_no_more: false,
            nonce: 0,
            reported: 0,
            notes: Vec::new(),
            max_names,
        }
    }

    /// Takes the newest snapshot.
    pub(crate) fn publish(&mut self, target: Arc<Snapshot>) {
        self.target = target;
        for watch in self.watches.iter_mut().flatten() {
            watch.rest = None;
        }
        self.expect();
    }

    /// Looks again whether endpoints are published that the client is expected to ask for.
    fn expect(&mut self) {
        let endpoints = self.target.table(TypeUrl::Endpoints);
        self.expects = self.follows && self.expected.iter().any(|name| endpoints.contains_key(name));
    }

    /// What happened since the last call.
    pub(crate) fn notes(&mut self) -> impl Iterator<Item = Note> {
        std::mem::take(&mut self.notes).into_iter()
    }

    /// Whether something waits for the client that may never come: routes for it to ask for the endpoints of new
    /// clusters, removals for the types that may name what is removed, anything for clusters that it can't warm.
    /// Says since which response.
    pub(crate) fn expecting(&self) -> Option<u64> {
        let since = self.watch(TypeUrl::Cluster).map_or(0, |watch| watch.nonce);
        (self.expects || self.incomplete || self.is_warming()).then_some(since)
    }

    /// Nothing waits any longer.
    pub(crate) fn stop_expecting(&mut self) {
        self.follows &= !self.expects;
        self.asks_no_more |= self.incomplete;
        if self.is_warming()
            && let Some(clusters) = &mut self.watches[TypeUrl::Cluster as usize]
            && let Some((outstanding, _)) = clusters.acked()
        {
            clusters.unanswered = true;
            self.clusters_acked(&outstanding.before);
        }
        self.expect();
    }

    /// Whether something was refused that the client may take by now.
    pub(crate) fn has_passing(&self) -> bool {
        TypeUrl::ALL.into_iter().any(|type_url| !self.passing(type_url).is_empty())
    }

    /// Offers it again.
    pub(crate) fn offer_again(&mut self) {
        for type_url in TypeUrl::ALL {
            let passing = self.passing(type_url);
            if let Some(watch) = self.watches[type_url as usize].as_mut().filter(|_| !passing.is_empty()) {
                watch.wanted.extend(passing);
                watch.rest = None;
            }
        }
    }

    fn passing(&self, type_url: TypeUrl) -> Vec<Arc<str>> {
        self.watch(type_url).map_or_else(Vec::new, |watch| watch.passing(self.target.table(type_url)))
    }

    fn is_warming(&self) -> bool {
        self.warms && self.watch(TypeUrl::Cluster).is_some_and(|watch| watch.outstanding.is_some())
    }

    /// Everything that can be sent now.
    pub(crate) fn responses(&mut self) -> Vec<Response> {
        let mut responses = Vec::new();
        let (mut floor, mut quiet) = (u64::MAX, true);
        for rank in RANKS {
            let mut lowest = floor;
            for &type_url in rank {
                responses.extend(self.advance(type_url, floor));
                if let Some(watch) = self.watch(type_url) {
                    lowest = lowest.min(watch.floor());
                    quiet &= watch.is_quiet();
                }
            }
            floor = if self.expects { 0 } else { lowest };
        }
        let removals = self.watches.iter().flatten().any(|watch| watch.rest.is_some_and(|rest| rest.removals));
        self.incomplete = removals && !self.asked_for_all();
        if quiet && removals && !self.expects && !self.incomplete {
            responses.extend(self.remove());
        }
        self.report();
        responses
    }

    /// Sends what of a type is of a generation below `floor`, removals left for the end.
    fn advance(&mut self, type_url: TypeUrl, floor: u64) -> Option<Response> {
        let target = self.target.clone();
        let watch = self.watches[type_url as usize].as_mut()?;
        if watch.is_settled(target.table(type_url)) {
            watch.rest = Some(Rest::default());
            (watch.told, watch.done) = (target.generation, target.generation);
            return None;
        }
        let can_go = |rest: Rest| rest.lowest.is_some_and(|lowest| lowest < floor) || !watch.suspects.is_empty();
        if watch.rest.is_some_and(|rest| watch.outstanding.is_some() || !can_go(rest)) {
            return None;
        }
        if watch.is_blank() {
            return self.send_whole(type_url, floor);
        }
        // What is asked for while its removal is to come is answered by the removal, in its turn.
        watch.wanted.retain(|name| target.table(type_url).contains_key(name) || !watch.base.contains_key(name));
        let mut pending = watch.pending(target.table(type_url));
        if watch.outstanding.is_some() {
            watch.rest = Some(Rest::of(type_url, &pending));
            return None;
        }
        let highest = pending.updates.iter().map(|entry| entry.generation).max();
        if watch.answer_due && highest >= Some(floor) {
            // The first answer is whole: a client takes what is missing for removed, or for not there yet.
            watch.rest = Some(Rest { lowest: highest, ..Rest::of(type_url, &pending) });
            return None;
        }
        let sendable = take_below(&mut pending, floor);
        watch.rest = Some(Rest::of(type_url, &pending));
        self.send(type_url, sendable, &pending, floor)
    }

    /// Answers a client that wants everything and has nothing, without looking at each resource.
    fn send_whole(&mut self, type_url: TypeUrl, floor: u64) -> Option<Response> {
        let target = self.target.clone();
        let watch = self.watches[type_url as usize].as_mut()?;
        let published = target.published(type_url);
        let gates = !published.table.is_empty();
        if gates && published.newest >= floor {
            watch.rest = Some(Rest { lowest: Some(published.newest), gates, removals: false });
            return None;
        }
        watch.rest = Some(Rest::default());
        watch.answer_due = false;
        let before = std::mem::replace(&mut watch.base, published.table.clone());
        let (told, done) = (target.generation, target.generation);
        let outstanding = Outstanding { nonce: 0, before, forced: Vec::new(), gates, removes: false, told, done };
        Some(self.respond(type_url, outstanding, Vec::new(), Vec::new()))
    }

    /// Sends updates; `pending` is what has to stay behind.
    fn send(&mut self, type_url: TypeUrl, mut sendable: Pending, pending: &Pending, floor: u64) -> Option<Response> {
        let target = self.target.clone();
        let watch = self.watches[type_url as usize].as_mut()?;
        let table = target.table(type_url);
        if sendable.updates.is_empty() && sendable.absent.is_empty() && !watch.answer_due {
            sendable.updates = watch.next_suspects(table, floor);
        }
        let told = pending.updates.is_empty() && watch.suspects.is_empty();
        let all = told && pending.removals.is_empty();
        let forced: Vec<_> = sendable
            .updates
            .iter()
            .map(|entry| &entry.name)
            .filter(|name| watch.wanted.contains(*name))
            .cloned()
            .collect();
        watch.wanted.retain(|name| pending.updates.iter().any(|entry| entry.name == *name));
        let before = watch.base.clone();
        watch.tell(table, &sendable.updates, &[], all);
        let due = std::mem::take(&mut watch.answer_due);
        let outstanding = Outstanding {
            nonce: 0,
            gates: !sendable.updates.is_empty() && (type_url != TypeUrl::Endpoints || sendable.additions),
            removes: false,
            told: if told { target.generation } else { watch.told },
            done: if all { target.generation } else { watch.done },
            before,
            forced,
        };
        let absent = if self.flavor == Flavor::Delta { sendable.absent } else { Vec::new() };
        if sendable.updates.is_empty() && absent.is_empty() && !due {
            (watch.told, watch.done) = (outstanding.told, outstanding.done);
            return None;
        }
        if type_url == TypeUrl::Cluster {
            self.refresh_endpoints(&outstanding.before, &sendable.updates);
        }
        Some(self.respond(type_url, outstanding, sendable.updates, absent))
    }

    /// Sends the removals of the last type that has any, unless a later type's are on their way.
    fn remove(&mut self) -> Option<Response> {
        let target = self.target.clone();
        let mut outdated = false;
        for type_url in TypeUrl::ALL.into_iter().rev() {
            let Some(watch) = self.watches[type_url as usize].as_mut() else { continue };
            let removals = watch.rest.is_some_and(|rest| rest.removals);
            if watch.outstanding.as_ref().is_some_and(|outstanding| outstanding.removes || removals) {
                return None;
            }
            if removals && !outdated {
                let table = target.table(type_url);
                let removals = watch.pending(table).removals;
                let before = watch.base.clone();
                watch.tell(table, &[], &removals, true);
                watch.rest = Some(Rest::default());
                // At once: if one of them comes back as it was refused, what names it waits until it is offered again.
                self.forget(type_url, &removals);
                if self.flavor == Flavor::Delta || is_whole(type_url) {
                    let (told, done) = (target.generation, target.generation);
                    let outstanding =
                        Outstanding { nonce: 0, before, forced: Vec::new(), gates: false, removes: true, told, done };
                    return Some(self.respond(type_url, outstanding, Vec::new(), removals));
                }
                // State of the world can't say that such a resource is gone.
                if let Some(watch) = self.watches[type_url as usize].as_mut() {
                    (watch.told, watch.done) = (target.generation, target.generation);
                }
            } else if removals {
                return None;
            }
            outdated |= self.watch(type_url).is_some_and(Watch::holds_outdated);
        }
        None
    }

    /// Makes the response and notes that it is on its way.
    fn respond(
        &mut self,
        type_url: TypeUrl,
        outstanding: Outstanding,
        updates: Vec<Arc<Entry>>,
        removed: Vec<Arc<str>>,
    ) -> Response {
        self.nonce += 1;
        let nonce = self.nonce;
        let published = self.target.published(type_url);
        let watch = self.watches[type_url as usize].get_or_insert_default();
        let whole_state = self.flavor == Flavor::Sotw && is_whole(type_url);
        let has_all = watch.wildcard && watch.base.ptr_eq(&published.table);
        let is_all = match whole_state {
            true => has_all,
            false => updates.len() == published.table.len() || (has_all && outstanding.before.is_empty()),
        };
        let content = match () {
            () if is_all && !published.table.is_empty() => Content::Whole(published.clone()),
            () if whole_state => Content::Some(watch.state()),
            () => Content::Some(updates),
        };
        watch.nonce = nonce;
        watch.outstanding = Some(Outstanding { nonce, ..outstanding });
        let removed = if self.flavor == Flavor::Delta { removed } else { Vec::new() };
        Response { type_url, nonce, generation: self.target.generation, content, removed }
    }

    /// A client that warms changed clusters needs their endpoints again, and acknowledges the clusters only then. State
    /// of the world: it asks for them; delta: it doesn't.
    fn refresh_endpoints(&mut self, before: &Table, updates: &[Arc<Entry>]) {
        let endpoints = &mut self.watches[TypeUrl::Endpoints as usize];
        let Some(endpoints) = endpoints.as_mut().filter(|watch| self.warms && !watch.wildcard) else { return };
        let changed = updates.iter().map(|entry| &entry.name).filter(|name| before.contains_key(*name));
        let changed = changed.filter(|name| endpoints.names.contains(*name)).cloned();
        match self.flavor {
            Flavor::Sotw => endpoints.refresh.extend(changed),
            Flavor::Delta => endpoints.wanted.extend(changed),
        }
        endpoints.rest = None;
    }

    /// An acknowledgement of clusters: their endpoints come next.
    fn clusters_acked(&mut self, before: &Table) {
        let [Some(clusters), endpoints, ..] = &mut self.watches else { return };
        if endpoints.as_ref().map_or(!self.warms, |watch| watch.wildcard) {
            return;
        }
        for item in before.diff(&clusters.base) {
            let name = match item {
                DiffItem::Add(name, _) | DiffItem::Update { new: (name, _), .. } => name,
                DiffItem::Remove(name, _) => {
                    self.expected.remove(name);
                    continue;
                }
            };
            if !is_update(&item) && !endpoints.as_ref().is_some_and(|watch| watch.covers(name)) {
                self.expected.insert(name.clone());
            }
        }
        self.expect();
    }

    /// Says how far the client is, once it has asked for what it takes to serve.
    fn report(&mut self) {
        let reached = self.watches.iter().flatten().map(|watch| watch.done).min();
        if let Some(reached) = reached.filter(|reached| *reached > self.reported)
            && self.asked_for_all()
            && !self.expects
            && !self.watches.iter().flatten().any(|watch| watch.unanswered)
        {
            self.reported = reached;
            self.notes.push(Note::Reached(reached));
        }
    }

    /// Whether the client has asked for every type that it takes to serve, as far as there is any of it, and anything
    /// that leads to it: nobody asks for virtual hosts without a route table, or for that without a listener.
    fn asked_for_all(&self) -> bool {
        let is_none = |type_url| self.target.table(type_url).is_empty();
        let asked = |type_url| self.watch(type_url).is_some() || is_none(type_url);
        let routes = asked(TypeUrl::Route) && (is_none(TypeUrl::Route) || asked(TypeUrl::VirtualHost));
        let always = asked(TypeUrl::Cluster) && asked(TypeUrl::Listener);
        self.asks_no_more || (always && (is_none(TypeUrl::Listener) || routes))
    }

    fn forget(&mut self, type_url: TypeUrl, names: &[Arc<str>]) {
        let Some(watch) = self.watches[type_url as usize].as_mut() else { return };
        for name in names {
            if watch.parked.remove(name).is_some() {
                self.notes.push(Note::Recovered(type_url, name.clone()));
            }
        }
    }

    fn watch(&self, type_url: TypeUrl) -> Option<&Watch> {
        self.watches[type_url as usize].as_ref()
    }
}

/// Types whose state-of-the-world responses hold everything, so that what is missing is removed.
fn is_whole(type_url: TypeUrl) -> bool {
    matches!(type_url, TypeUrl::Cluster | TypeUrl::Listener)
}

/// Moves what may be sent out of `pending`.
fn take_below(pending: &mut Pending, floor: u64) -> Pending {
    let (updates, rest) = std::mem::take(&mut pending.updates).into_iter().partition(|entry| entry.generation < floor);
    pending.updates = rest;
    Pending { updates, absent: std::mem::take(&mut pending.absent), removals: Vec::new(), additions: pending.additions }
}
