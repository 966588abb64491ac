//! What requests do to a stream's state (CONTRACTS 1.4).

use super::{Flavor, Note, Subscription, is_whole, watch::Watch};
use crate::snapshot::{Slot, Table};
use proto::TypeUrl;
use proto::ads::{DeltaDiscoveryRequest, DiscoveryRequest, Status};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// Why a stream can't go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// More names of one type than a client may ask for.
    TooManyNames {
        /// The type.
        type_url: TypeUrl,
        /// How many may be.
        limit: usize,
    },
}

/// Stands for everything.
const WILDCARD: &str = "*";

impl Subscription {
    /// Takes a delta request. Types that are not ours are ignored, as istiod does.
    pub(crate) fn delta(&mut self, request: DeltaDiscoveryRequest) -> Result<(), Refused> {
        let Some(type_url) = TypeUrl::parse(&request.type_url) else { return Ok(()) };
        self.answer(type_url, &request.response_nonce, request.error_detail.as_ref());
        let asked = request.resource_names_subscribe.len().max(request.initial_resource_versions.len());
        self.limit(type_url, asked)?;
        let table = self.target.table(type_url);
        let first = self.watches[type_url as usize].is_none();
        let watch = self.watches[type_url as usize].get_or_insert_default();
        watch.rest = None;
        if first {
            start_delta(watch, table, type_url, request);
        } else {
            change_delta(watch, table, &request.resource_names_subscribe, &request.resource_names_unsubscribe);
        }
        self.asked_for_endpoints(type_url);
        Ok(())
    }

    /// Takes a state-of-the-world request.
    pub(crate) fn sotw(&mut self, request: DiscoveryRequest) -> Result<(), Refused> {
        let Some(type_url) = TypeUrl::parse(&request.type_url) else { return Ok(()) };
        self.limit(type_url, request.resource_names.len())?;
        let known = self.watch(type_url).filter(|_| !request.response_nonce.is_empty());
        let Some(watch) = known else {
            self.watches[type_url as usize] =
                start_sotw(self.target.table(type_url), type_url, &request.resource_names);
            self.asked_for_endpoints(type_url);
            return Ok(());
        };
        if request.response_nonce != watch.nonce.to_string() {
            self.notes.push(Note::Stale(type_url));
            return Ok(());
        }
        let answered = watch.outstanding.is_some();
        self.answer(type_url, &request.response_nonce, request.error_detail.as_ref());
        let table = self.target.table(type_url);
        let slot = &mut self.watches[type_url as usize];
        let Some(watch) = slot else { return Ok(()) };
        watch.rest = None;
        if request.resource_names.is_empty() && !watch.legacy {
            *slot = None;
            return Ok(());
        }
        let changed = change_sotw(watch, table, type_url, &request.resource_names);
        if !changed && !answered {
            // The same names again, nothing to acknowledge: the client warms changed clusters.
            let again = std::mem::take(&mut watch.refresh);
            watch.wanted.extend(again.into_iter().filter(|name| watch.names.contains(name)));
        }
        self.asked_for_endpoints(type_url);
        Ok(())
    }

    /// Takes the acknowledgement or refusal in a request, if it is one.
    fn answer(&mut self, type_url: TypeUrl, nonce: &str, error: Option<&Status>) {
        if nonce.is_empty() {
            return;
        }
        let watch = self.watches[type_url as usize].as_mut();
        let answers =
            |watch: &&mut Watch| watch.outstanding.as_ref().is_some_and(|sent| sent.nonce.to_string() == nonce);
        let Some(watch) = watch.filter(answers) else {
            // State of the world repeats the last nonce in every request.
            if self.flavor == Flavor::Delta {
                self.notes.push(Note::Stale(type_url));
            }
            return;
        };
        if let Some(error) = error {
            let parked = watch.nacked(&error.message);
            let parked = parked.iter().map(|entry| (entry.name.clone(), entry.resource.version_text())).collect();
            self.notes.push(Note::Nacked(type_url, parked, error.message.clone()));
        } else if let Some((outstanding, recovered)) = watch.acked() {
            self.notes.push(Note::Acked(type_url));
            self.notes.extend(recovered.into_iter().map(|name| Note::Recovered(type_url, name)));
            if type_url == TypeUrl::Cluster {
                self.clusters_acked(&outstanding);
            }
        }
    }

    fn asked_for_endpoints(&mut self, type_url: TypeUrl) {
        if let Some(watch) = self.watches[type_url as usize].as_ref().filter(|_| type_url == TypeUrl::Endpoints) {
            self.follows |= !watch.wanted.is_empty();
            self.expected.retain(|name| !watch.covers(name));
        }
    }

    fn limit(&self, type_url: TypeUrl, more: usize) -> Result<(), Refused> {
        let names = match self.flavor {
            Flavor::Delta => self.watch(type_url).map_or(0, |watch| watch.names.len()),
            Flavor::Sotw => 0,
        };
        if names + more > self.max_names {
            return Err(Refused::TooManyNames { type_url, limit: self.max_names });
        }
        Ok(())
    }
}

/// Types of which a first request without names wants everything.
fn is_wildcard_type(type_url: TypeUrl) -> bool {
    matches!(type_url, TypeUrl::Cluster | TypeUrl::Listener | TypeUrl::VirtualHost)
}

/// The table's own copy of a name if there is one, so that streams share it.
fn intern(table: &Table, name: &str) -> Arc<str> {
    table.get_key_value(name).map_or_else(|| name.into(), |(name, _)| name.clone())
}

fn start_delta(watch: &mut Watch, table: &Table, type_url: TypeUrl, request: DeltaDiscoveryRequest) {
    let subscribe = &request.resource_names_subscribe;
    let unsubscribe = &request.resource_names_unsubscribe;
    watch.legacy = subscribe.is_empty() && unsubscribe.is_empty() && is_wildcard_type(type_url);
    watch.wildcard = watch.legacy || subscribe.iter().any(|name| name == WILDCARD);
    watch.names = subscribe.iter().filter(|name| *name != WILDCARD).map(|name| intern(table, name)).collect();
    if !watch.wildcard {
        watch.names.extend(request.initial_resource_versions.keys().map(|name| intern(table, name)));
    }
    for name in unsubscribe {
        watch.names.remove(name.as_str());
        watch.wildcard &= name != WILDCARD;
    }
    let claims = &request.initial_resource_versions;
    let holds = |name: &str, slot: &Slot| {
        let version = claims.get(name).map(String::as_str);
        slot.entry().is_some_and(|entry| version == Some(&entry.resource.version_text()))
    };
    let unknown = |name: &&Arc<str>| !table.get(*name).is_some_and(|slot| watch.wildcard || holds(name, slot));
    watch.wanted = watch.names.iter().filter(unknown).cloned().collect();
    watch.base = if watch.wildcard { claimed(table, claims, holds) } else { table.clone() };
    watch.answer_due = watch.wildcard && claims.is_empty();
}

/// What a client holds that comes back with versions: the published table as far as they agree.
fn claimed(table: &Table, claims: &HashMap<String, String>, holds: impl Fn(&str, &Slot) -> bool) -> Table {
    if claims.is_empty() {
        return Table::new();
    }
    let mut base = table.clone();
    for (name, slot) in table {
        if !claims.contains_key(&**name) {
            base.remove(name);
        } else if !holds(name, slot) {
            base.insert(name.clone(), Slot::Unsure(None));
        }
    }
    for name in claims.keys().filter(|name| !table.contains_key(name.as_str())) {
        base.insert(name.as_str().into(), Slot::Unsure(None));
    }
    base
}

fn change_delta(watch: &mut Watch, table: &Table, subscribe: &[String], unsubscribe: &[String]) {
    // A name ends what was only the absence of names; the wildcard stays until it is unsubscribed from.
    watch.legacy &= subscribe.is_empty();
    for name in subscribe {
        if name == WILDCARD {
            if !std::mem::replace(&mut watch.wildcard, true) {
                watch.base = watch
                    .base
                    .iter()
                    .filter(|(name, _)| watch.names.contains(*name))
                    .map(|(n, s)| (n.clone(), s.clone()))
                    .collect();
                watch.answer_due = true;
            }
            continue;
        }
        let name = intern(table, name);
        watch.parked.remove(&name);
        watch.names.insert(name.clone());
        watch.wanted.insert(name);
    }
    for name in unsubscribe {
        if name == WILDCARD {
            watch.wildcard = false;
            watch.legacy = false;
        } else if let Some(name) = watch.names.take(name.as_str()) {
            watch.wanted.remove(&name);
            if watch.wildcard {
                // The protocol wants to hear of it once more: the wildcard may cover it or not.
                watch.wanted.insert(name);
            } else {
                watch.parked.remove(&name);
            }
        }
    }
}

fn start_sotw(table: &Table, type_url: TypeUrl, names: &[String]) -> Option<Watch> {
    let legacy = names.is_empty() && is_wildcard_type(type_url);
    if names.is_empty() && !legacy {
        return None;
    }
    let wildcard = legacy || names.iter().any(|name| name == WILDCARD);
    let names: HashSet<_> = names.iter().filter(|name| *name != WILDCARD).map(|name| intern(table, name)).collect();
    let wanted = if wildcard { Default::default() } else { names.iter().cloned().collect() };
    let base = if wildcard { Table::new() } else { table.clone() };
    let answer_due = wildcard || is_whole(type_url);
    Some(Watch { wildcard, legacy, names, wanted, base, answer_due, ..Watch::default() })
}

/// Takes the names of a later request; says whether they differ.
fn change_sotw(watch: &mut Watch, table: &Table, type_url: TypeUrl, names: &[String]) -> bool {
    if names.is_empty() && watch.legacy {
        return false;
    }
    watch.legacy = false;
    let wildcard = names.iter().any(|name| name == WILDCARD);
    let names: HashSet<Arc<str>> =
        names.iter().filter(|name| *name != WILDCARD).map(|name| intern(table, name)).collect();
    if wildcard == watch.wildcard && names == watch.names {
        return false;
    }
    let added: Vec<_> = names.difference(&watch.names).cloned().collect();
    if wildcard && !watch.wildcard {
        watch.base = Table::new();
        watch.answer_due = true;
    } else if !wildcard {
        watch.answer_due |= is_whole(type_url) && !added.is_empty();
        watch.wanted.extend(added);
        watch.wanted.retain(|name| names.contains(name));
        watch.parked.retain(|name, _| names.contains(name));
    }
    (watch.wildcard, watch.names) = (wildcard, names);
    true
}
