//! What follows from commits and isn't published yet.
//!
//! It is held back while objects are read that something has just begun to refer to: a listener whose certificate was
//! swapped for another Secret must not go away for the moment in which that one is read. Endpoints don't wait.

use crate::source::{Answers, Changes};
use api::ObjectId;
use model::{Infrastructure, ObjectKey, ObjectRef, Status};
use proto::{Resource, ResourceKey};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::watch;

/// How long to wait for objects by name; after that they count as absent until they are read.
const PATIENCE: Duration = Duration::from_secs(1);
/// The same at the start: proxies that serve already must not lose what a slow API server will tell.
const FIRST: Duration = Duration::from_secs(30);

/// Objects that are to be read by name. Who reads them follows it.
pub type Wanted = watch::Sender<Arc<BTreeSet<ObjectId>>>;

/// What is to be published.
#[derive(Default)]
pub struct Effects {
    pub resources: BTreeMap<ResourceKey, Option<Arc<Resource>>>,
    pub statuses: BTreeMap<ObjectRef, Option<Arc<Status>>>,
    pub accounts: BTreeMap<resolve::Account, BTreeSet<ObjectKey>>,
    pub infrastructures: BTreeMap<ObjectKey, Option<Arc<Infrastructure>>>,
    pub changes: Changes,
}

/// What waits, and for what.
pub struct Held {
    pub effects: Effects,
    wanted: Option<Wanted>,
    awaited: BTreeSet<ObjectId>,
    until: Option<Instant>,
    /// Nothing has been released yet.
    is_first: bool,
}

impl Held {
    /// Nothing. With nobody who reads by name, nothing ever waits.
    pub fn new(wanted: Option<Wanted>) -> Self {
        Self { effects: Effects::default(), wanted, awaited: BTreeSet::new(), until: None, is_first: true }
    }

    /// What references have come and gone, and what was read.
    pub fn note(&mut self, wanted: impl Iterator<Item = (ObjectId, bool)>, answers: &Answers) {
        let Some(sender) = &self.wanted else { return };
        let mut wanted = wanted.peekable();
        if wanted.peek().is_some() {
            let mut all = BTreeSet::clone(&sender.borrow());
            for (id, is_wanted) in wanted {
                if !is_wanted {
                    all.remove(&id);
                    self.awaited.remove(&id);
                } else if all.insert(id.clone()) {
                    self.awaited.insert(id);
                }
            }
            sender.send_replace(Arc::new(all));
        }
        self.awaited.retain(|id| !answers.contains_key(id));
        match self.awaited.is_empty() {
            true => self.until = None,
            // The time counts from the first: who adds references again and again holds up nobody for longer.
            false => {
                _ = self.until.get_or_insert_with(|| Instant::now() + if self.is_first { FIRST } else { PATIENCE })
            }
        }
    }

    /// When to wait no longer; none if nothing waits.
    pub fn until(&self) -> Option<Instant> {
        self.until
    }

    /// Takes everything if nothing waits any more.
    pub fn release(&mut self) -> Option<Effects> {
        if self.until.is_some_and(|until| Instant::now() < until) {
            return None;
        }
        if !self.awaited.is_empty() {
            tracing::warn!(objects = self.awaited.len(), "objects that are referred to can't be read in time");
            self.awaited.clear();
        }
        (self.until, self.is_first) = (None, false);
        Some(std::mem::take(&mut self.effects))
    }

    /// Of resources that may go ahead those that aren't held in an older state; before the first publication none, for
    /// that one lets clients in.
    pub fn ahead(
        &mut self,
        resources: BTreeMap<ResourceKey, Option<Arc<Resource>>>,
    ) -> BTreeMap<ResourceKey, Option<Arc<Resource>>> {
        let (held, ahead): (BTreeMap<_, _>, _) =
            resources.into_iter().partition(|(key, _)| self.is_first || self.effects.resources.contains_key(key));
        self.effects.resources.extend(held);
        ahead
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Answer;
    use proto::{Scope, TypeUrl};

    fn id(name: &str) -> ObjectId {
        ObjectId { kind: "Secret".into(), namespace: "n".into(), name: name.into() }
    }

    fn resource(name: &str) -> BTreeMap<ResourceKey, Option<Arc<Resource>>> {
        let key = ResourceKey { scope: Scope::gateway("n", "g"), type_url: TypeUrl::Endpoints, name: name.into() };
        BTreeMap::from([(key, None)])
    }

    #[test]
    fn what_follows_waits_for_what_was_just_referred_to() {
        let (sender, receiver) = watch::channel(Arc::default());
        let mut held = Held::new(Some(sender));
        held.note([(id("a"), true), (id("b"), true)].into_iter(), &Answers::new());
        assert_eq!(receiver.borrow().len(), 2);
        assert!(held.release().is_none());
        assert!(held.ahead(resource("e")).is_empty(), "nobody is let in by endpoints");
        held.note(std::iter::empty(), &Answers::from([(id("a"), Answer::Absent)]));
        assert!(held.release().is_none());
        held.note([(id("b"), false)].into_iter(), &Answers::new());
        assert_eq!(receiver.borrow().len(), 1);
        assert_eq!(held.release().map(|effects| effects.resources.len()), Some(1));

        held.note([(id("a"), true)].into_iter(), &Answers::new());
        assert!(held.release().is_some(), "it was read already");
        held.note([(id("c"), true)].into_iter(), &Answers::new());
        held.effects.resources.append(&mut resource("older"));
        assert!(held.ahead(resource("older")).is_empty(), "an older state would come after");
        assert_eq!(held.ahead(resource("e")).len(), 1);
        held.until = Some(Instant::now());
        assert!(held.release().is_some(), "nobody waits for ever");
        assert!(held.until().is_none());
    }

    #[test]
    fn without_anybody_who_reads_by_name_nothing_waits() {
        let mut held = Held::new(None);
        held.note([(id("a"), true)].into_iter(), &Answers::new());
        assert!(held.release().is_some());
    }
}
