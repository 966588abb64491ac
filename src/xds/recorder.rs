//! Watches what a client is sent and says where make before break was broken. For tests of every distance.

use crate::client::{Handler, Interests, Refusal, Update};
use bytes::Bytes;
use proto::TypeUrl;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

/// What one client holds, checked at every response.
///
/// The rules: a route or virtual host that arrives names only clusters that are held, and these only endpoints that are
/// held; a cluster that is removed is named by no route or virtual host that is held. What the client has refused
/// counts as held: it can't be had.
pub struct Recorder<F> {
    needs: F,
    held: BTreeMap<(TypeUrl, Arc<str>), Bytes>,
    refused: BTreeSet<(TypeUrl, Arc<str>)>,
    violations: Vec<String>,
}

impl<F: Fn(TypeUrl, &[u8]) -> Vec<(TypeUrl, String)>> Recorder<F> {
    /// `needs`: what a resource of a type names, as its type and name.
    pub fn new(needs: F) -> Self {
        Self { needs, held: BTreeMap::new(), refused: BTreeSet::new(), violations: Vec::new() }
    }

    /// Takes one response after the client has decided on it.
    pub fn record(
        &mut self,
        type_url: TypeUrl,
        accepted: impl IntoIterator<Item = (Arc<str>, Bytes)>,
        refused: impl IntoIterator<Item = Arc<str>>,
        removed: impl IntoIterator<Item = Arc<str>>,
    ) {
        let mut arrived = Vec::new();
        for (name, body) in accepted {
            if self.refused.remove(&(type_url, name.clone())) {
                // Routes that name it may have been sent while it could not be had: what it needs is on its way.
                let needs = (self.needs)(type_url, &body).into_iter().map(|(of, name)| (of, name.into()));
                self.refused.extend(needs.filter(|needed| !self.held.contains_key(needed)));
            }
            self.held.insert((type_url, name.clone()), body);
            arrived.push(name);
        }
        self.refused.extend(refused.into_iter().map(|name| (type_url, name)));
        if is_route(type_url) {
            arrived.iter().for_each(|name| self.check(type_url, name));
        }
        for name in removed {
            let key = (type_url, name);
            self.refused.remove(&key);
            if self.held.remove(&key).is_some() {
                self.check_removed(type_url, &key.1);
            }
        }
    }

    /// The resources that the client holds, by type and name.
    pub fn held(&self) -> &BTreeMap<(TypeUrl, Arc<str>), Bytes> {
        &self.held
    }

    /// Everything that was wrong so far, in words.
    pub fn violations(&self) -> &[String] {
        &self.violations
    }

    fn check(&mut self, type_url: TypeUrl, name: &Arc<str>) {
        let mut missing = Vec::new();
        let mut open = vec![(type_url, name.clone())];
        while let Some(key) = open.pop() {
            let Some(body) = self.held.get(&key) else { continue };
            for (type_url, name) in (self.needs)(key.0, body) {
                let needed: (TypeUrl, Arc<str>) = (type_url, name.into());
                if self.held.contains_key(&needed) {
                    open.push(needed);
                } else if !self.refused.contains(&needed) {
                    missing.push(format!("{} {} arrived before {} {}", key.0, key.1, needed.0, needed.1));
                }
            }
        }
        self.violations.extend(missing);
    }

    fn check_removed(&mut self, type_url: TypeUrl, name: &Arc<str>) {
        let routes = self.held.iter().filter(|((of, _), _)| is_route(*of));
        let naming = routes.filter(|((of, _), body)| {
            (self.needs)(*of, body).iter().any(|(needed, by)| *needed == type_url && **by == **name)
        });
        let naming: Vec<_> =
            naming.map(|((of, by), _)| format!("{type_url} {name} removed while {of} {by} names it")).collect();
        self.violations.extend(naming);
    }
}

fn is_route(type_url: TypeUrl) -> bool {
    matches!(type_url, TypeUrl::Route | TypeUrl::VirtualHost)
}

/// A handler whose every response goes through a recorder.
pub struct Recording<H, F> {
    handler: H,
    recorder: Arc<Mutex<Recorder<F>>>,
}

impl<H, F> Recording<H, F> {
    /// Records what `handler` is given and decides.
    pub fn new(handler: H, recorder: Arc<Mutex<Recorder<F>>>) -> Self {
        Self { handler, recorder }
    }
}

impl<H: Handler, F: Fn(TypeUrl, &[u8]) -> Vec<(TypeUrl, String)> + Send + 'static> Handler for Recording<H, F> {
    fn apply(
        &mut self,
        type_url: TypeUrl,
        updates: Vec<Update>,
        removed: Vec<Arc<str>>,
        interests: &mut Interests,
    ) -> Vec<Refusal> {
        let arrived: Vec<_> = updates.iter().map(|update| (update.name.clone(), update.body.clone())).collect();
        let refusals = self.handler.apply(type_url, updates, removed.clone(), interests);
        let refused: BTreeSet<_> = refusals.iter().map(|refusal| refusal.name.clone()).collect();
        let accepted = arrived.into_iter().filter(|(name, _)| !refused.contains(name));
        let mut recorder = self.recorder.lock().unwrap_or_else(PoisonError::into_inner);
        recorder.record(type_url, accepted, refused.iter().cloned(), removed);
        refusals
    }

    fn connected(&mut self, connected: bool) {
        self.handler.connected(connected);
    }
}
