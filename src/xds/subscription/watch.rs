//! What one stream wants and holds of one type.

use super::nack;
use crate::snapshot::{Entry, Names, Slot, Table};
use imbl::ordmap::DiffItem;
use proto::TypeUrl;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

/// The state of one type on one stream. What the client must be told is the difference between `base` and the
/// published table, as far as it is subscribed to.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// Everything of the type.
    pub(super) wildcard: bool,
    /// The wildcard is only the absence of names; the first name ends it.
    pub(super) legacy: bool,
    /// Names that the client has asked for.
    pub(super) names: Names,
    /// What the client has been told. Names that it hasn't subscribed to ride along.
    pub(super) base: Table,
    /// Names to be sent whatever `base` says: the client asks for them again, or they don't exist.
    pub(super) wanted: BTreeSet<Arc<str>>,
    /// The client waits for a response, even an empty one.
    pub(super) answer_due: bool,
    /// State of the world: names to be sent again if the client asks for the same again.
    pub(super) refresh: BTreeSet<Arc<str>>,
    /// The response that is neither acknowledged nor refused.
    pub(super) outstanding: Option<Outstanding>,
    /// The client has been given up waiting for: the last response counts as acknowledged, and is not.
    pub(super) unanswered: bool,
    /// The nonce of the last response, 0 before the first.
    pub(super) nonce: u64,
    /// Versions that the client has refused.
    pub(super) parked: BTreeMap<Arc<str>, Parked>,
    /// Groups of resources of which at least one is bad, to be tried one group at a time.
    pub(super) suspects: Vec<Vec<Arc<str>>>,
    /// Every update up to this generation is acknowledged or parked.
    pub(super) told: u64,
    /// The same, removals included.
    pub(super) done: u64,
    /// What is still to be sent, as of the last look; `None` if something has happened since.
    pub(super) rest: Option<Rest>,
}

/// A version that the client has refused.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parked {
    pub(super) version: u64,
    /// The fault is the client's machine's.
    pub(super) may_pass: bool,
}

/// A response on its way.
#[derive(Debug)]
pub(super) struct Outstanding {
    pub(super) nonce: u64,
    /// `base` before it was sent: the difference to `base` is what was sent.
    pub(super) before: Table,
    /// Sent although `before` had them.
    pub(super) forced: Vec<Arc<str>>,
    /// Later types wait for its acknowledgement.
    pub(super) gates: bool,
    /// Removals of earlier types wait for its acknowledgement.
    pub(super) removes: bool,
    /// What an acknowledgement makes of `told` and `done`.
    pub(super) told: u64,
    pub(super) done: u64,
}

/// What is still to be sent, in short.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Rest {
    /// The lowest generation among the updates.
    pub(super) lowest: Option<u64>,
    /// Later types wait for some of it.
    pub(super) gates: bool,
    pub(super) removals: bool,
}

impl Rest {
    /// Everything that is still to be sent gates, but for endpoints of clusters that the client has.
    pub(super) fn of(type_url: TypeUrl, pending: &Pending) -> Self {
        Self {
            lowest: pending.updates.iter().map(|entry| entry.generation).min(),
            gates: !pending.updates.is_empty() && (type_url != TypeUrl::Endpoints || pending.additions),
            removals: !pending.removals.is_empty(),
        }
    }
}

/// What is still to be sent.
#[derive(Debug, Default)]
pub(super) struct Pending {
    pub(super) updates: Vec<Arc<Entry>>,
    /// Some of the updates are of names that the client doesn't have.
    pub(super) additions: bool,
    pub(super) removals: Vec<Arc<str>>,
    /// Names that were asked for and don't exist.
    pub(super) absent: Vec<Arc<str>>,
}

/// Whether the client surely has an older version.
pub(super) fn is_update(item: &DiffItem<'_, '_, Arc<str>, Slot>) -> bool {
    matches!(item, DiffItem::Update { old: (_, Slot::Known(_)), .. })
}

impl Watch {
    /// Whether the client wants to know of a name.
    pub(super) fn covers(&self, name: &str) -> bool {
        self.wildcard || self.names.contains(name)
    }

    /// Shares the set of names with everybody who asks for exactly what is published: a hundred clients that each name
    /// ten thousand endpoints hold them once.
    pub(super) fn share_names(&mut self, published: &Names) {
        if self.names.len() == published.len() && self.names.diff(published).next().is_none() {
            self.names = published.clone();
        }
    }

    /// The client asks for a name. If it didn't before, the published resource counts as not told, and may be part of
    /// any generation.
    pub(super) fn ask(&mut self, name: Arc<str>) {
        if !self.covers(&name) {
            self.base.remove(&name);
            (self.told, self.done) = (0, 0);
        }
        self.names.insert(name);
    }

    /// What the client has not been told, parked resources and suspects left out.
    pub(super) fn pending(&self, target: &Table) -> Pending {
        let mut pending = Pending::default();
        for item in self.base.diff(target) {
            match item {
                DiffItem::Remove(name, _) if self.covers(name) && !self.wanted.contains(name) => {
                    pending.removals.push(name.clone());
                }
                DiffItem::Add(name, slot) | DiffItem::Update { new: (name, slot), .. }
                    if self.covers(name) && !self.wanted.contains(name) =>
                {
                    let entry = slot.entry().filter(|entry| !self.is_parked(entry));
                    pending.additions |= entry.is_some() && !is_update(&item);
                    pending.updates.extend(entry.cloned());
                }
                _ => {}
            }
        }
        for name in &self.wanted {
            match target.get(name).and_then(Slot::entry) {
                Some(entry) => pending.updates.push(entry.clone()),
                None => pending.absent.push(name.clone()),
            }
        }
        if !self.suspects.is_empty() {
            let suspects: HashSet<&Arc<str>> = self.suspects.iter().flatten().collect();
            pending.updates.retain(|entry| !suspects.contains(&entry.name));
        }
        pending.additions |= !self.wanted.is_empty();
        pending
    }

    /// Takes the next group of suspects that still has something to be sent, unless it must wait.
    pub(super) fn next_suspects(&mut self, target: &Table, floor: u64) -> Vec<Arc<Entry>> {
        while let Some(group) = self.suspects.pop() {
            let entries = group.iter().filter(|name| self.covers(name)).filter_map(|name| target.get(name)?.entry());
            let entries: Vec<_> = entries.filter(|entry| !self.is_parked(entry)).cloned().collect();
            if entries.iter().any(|entry| entry.generation >= floor) {
                self.suspects.push(group);
                return Vec::new();
            }
            if !entries.is_empty() {
                return entries;
            }
        }
        Vec::new()
    }

    /// The client wants everything and has been told nothing yet.
    pub(super) fn is_blank(&self) -> bool {
        let fresh = self.wildcard && self.answer_due && self.base.is_empty() && self.outstanding.is_none();
        fresh && self.wanted.is_empty() && self.parked.is_empty() && self.suspects.is_empty()
    }

    /// Nothing is to be sent or waited for: the client has exactly the published table.
    pub(super) fn is_settled(&self, target: &Table) -> bool {
        let quiet =
            self.outstanding.is_none() && self.suspects.is_empty() && self.wanted.is_empty() && !self.answer_due;
        quiet && self.parked.is_empty() && self.base.ptr_eq(target)
    }

    fn is_parked(&self, entry: &Entry) -> bool {
        self.parked.get(&entry.name).is_some_and(|parked| parked.version == entry.resource.version)
    }

    /// Parked resources that the client may take if it gets them once more. None while something is on its way.
    pub(super) fn passing(&self, target: &Table) -> Vec<Arc<str>> {
        if self.outstanding.is_some() || !self.wanted.is_empty() {
            return Vec::new();
        }
        let published = |name: &&Arc<str>| {
            let entry = target.get(*name).and_then(Slot::entry);
            self.covers(name) && entry.is_some_and(|entry| self.is_parked(entry))
        };
        let passing = self.parked.iter().filter(|(_, parked)| parked.may_pass).map(|(name, _)| name);
        passing.filter(published).cloned().collect()
    }

    /// A parked update: the client holds an older version, which may need what has been removed since.
    pub(super) fn holds_outdated(&self) -> bool {
        self.parked.keys().any(|name| self.base.get(name).is_some_and(Slot::may_be_held))
    }

    /// Notes that these have been told. `all`: nothing was left out, so that the published table, which is shared by
    /// everybody, can become the base, but for what is parked.
    pub(super) fn tell(&mut self, target: &Table, updates: &[Arc<Entry>], removals: &[Arc<str>], all: bool) {
        if !all {
            for entry in updates {
                self.base.insert(entry.name.clone(), Slot::Known(entry.clone()));
            }
            for name in removals {
                self.base.remove(name);
            }
            return;
        }
        let mut base = target.clone();
        for (name, parked) in &self.parked {
            let published = target.get(name).and_then(Slot::entry);
            if published.is_some_and(|entry| entry.resource.version == parked.version)
                && updates.iter().all(|entry| entry.name != *name)
                && let Some(slot) = self.base.get(name)
            {
                base.insert(name.clone(), slot.clone());
            }
        }
        self.base = base;
    }

    /// Takes an acknowledgement; returns what it was for, and the names that are no longer parked.
    pub(super) fn acked(&mut self) -> Option<(Outstanding, Vec<Arc<str>>)> {
        let outstanding = self.outstanding.take()?;
        self.rest = None;
        self.told = self.told.max(outstanding.told);
        self.done = self.done.max(outstanding.done);
        let mut recovered = Vec::new();
        if !self.parked.is_empty() {
            let names = outstanding.before.diff(&self.base).map(|item| match item {
                DiffItem::Add(name, _) | DiffItem::Remove(name, _) | DiffItem::Update { new: (name, _), .. } => name,
            });
            recovered =
                names.chain(&outstanding.forced).filter(|name| self.parked.contains_key(*name)).cloned().collect();
            recovered.retain(|name| self.parked.remove(name).is_some());
        }
        Some((outstanding, recovered))
    }

    /// Takes a refusal: parks the guilty if they can be told, else makes all suspects. Returns what was parked.
    pub(super) fn nacked(&mut self, error: &str) -> Vec<(Arc<Entry>, Parked)> {
        let Some(outstanding) = self.outstanding.take() else { return Vec::new() };
        self.rest = None;
        let mut sent: BTreeMap<Arc<str>, Arc<Entry>> = BTreeMap::new();
        for item in outstanding.before.diff(&self.base) {
            // A removal that was refused isn't tried again.
            let (DiffItem::Add(_, new) | DiffItem::Update { new: (_, new), .. }) = item else { continue };
            sent.extend(new.entry().map(|entry| (entry.name.clone(), entry.clone())));
        }
        let again = outstanding.forced.iter().filter_map(|name| self.base.get(name)?.entry());
        sent.extend(again.map(|entry| (entry.name.clone(), entry.clone())));
        sent.retain(|name, _| self.covers(name));
        let guilty = nack::guilty(sent.keys(), error);
        for (name, entry) in &sent {
            let slot = Slot::refused(outstanding.before.get(name), entry, guilty.contains(name));
            self.base.insert(name.clone(), slot);
        }
        if guilty.is_empty() {
            let names: Vec<_> = sent.into_keys().collect();
            let (first, second) = names.split_at(names.len() / 2);
            self.suspects.extend([second, first].into_iter().filter(|group| !group.is_empty()).map(<[_]>::to_vec));
            return Vec::new();
        }
        let park = |entry: &Arc<Entry>| {
            let may_pass = nack::may_pass(&entry.name, error);
            (entry.clone(), Parked { version: entry.resource.version, may_pass })
        };
        let parked: Vec<_> = guilty.iter().filter_map(|name| sent.get(name).map(park)).collect();
        self.parked.extend(parked.iter().map(|(entry, parked)| (entry.name.clone(), *parked)));
        parked
    }

    /// The lowest generation whose changes in later types must wait for this one. What the client has just asked for
    /// may be part of any generation.
    pub(super) fn floor(&self) -> u64 {
        let forced = self.outstanding.as_ref().is_some_and(|outstanding| !outstanding.forced.is_empty());
        match () {
            () if forced || !self.wanted.is_empty() => 0,
            () if self.is_quiet() => u64::MAX,
            () => self.told + 1,
        }
    }

    /// Whether no update is on its way or to come that later types, or removals, wait for.
    pub(super) fn is_quiet(&self) -> bool {
        let outstanding = self.outstanding.as_ref().is_some_and(|outstanding| outstanding.gates);
        !outstanding && !self.rest.is_some_and(|rest| rest.gates) && self.suspects.is_empty() && self.wanted.is_empty()
    }

    /// Everything that the client has been told and wants.
    pub(super) fn state(&self) -> Vec<Arc<Entry>> {
        let held = self.base.iter().filter(|(name, _)| self.covers(name));
        held.filter_map(|(_, slot)| slot.entry().cloned()).collect()
    }
}
