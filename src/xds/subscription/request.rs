//! What requests do to a stream's state (CONTRACTS 1.4).

use super::{Flavor, Note, Refusal, Subscription, is_whole, watch::Watch};
use crate::snapshot::{Entry, Names, Slot, Table};
use proto::TypeUrl;
use proto::ads::{DeltaDiscoveryRequest, DiscoveryRequest, Status};
use std::collections::HashMap;
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
        let parked = self.parked(type_url);
        let table = self.target.table(type_url);
        let first = self.watches[type_url as usize].is_none();
        // An Envoy that comes back and asks for endpoints before clusters is still warming some.
        let warming = self.warms && type_url == TypeUrl::Endpoints && self.watch(TypeUrl::Cluster).is_none();
        let watch = self.watches[type_url as usize].get_or_insert_default();
        watch.rest = None;
        if first {
            start_delta(watch, table, type_url, request);
            if warming {
                watch.wanted.extend(watch.names.iter().cloned());
            }
            if type_url == TypeUrl::Cluster {
                // What a client comes back with counts as acknowledged just now.
                self.clusters_acked(&Table::new());
            }
        } else {
            change_delta(watch, table, &request.resource_names_subscribe, &request.resource_names_unsubscribe);
        }
        self.share_names(type_url);
        self.forgotten(type_url, parked);
        self.asked_for_endpoints(type_url);
        Ok(())
    }

    /// Takes a state-of-the-world request.
    pub(crate) fn sotw(&mut self, request: DiscoveryRequest) -> Result<(), Refused> {
        let Some(type_url) = TypeUrl::parse(&request.type_url) else { return Ok(()) };
        self.limit(type_url, request.resource_names.len())?;
        // Without a nonce a client starts anew, unless it has not seen the first response yet.
        let nonce = &request.response_nonce;
        let goes_on = |watch: &&Watch| !nonce.is_empty() || watch.outstanding.is_some() || watch.nonce == 0;
        let Some(watch) = self.watch(type_url).filter(goes_on) else {
            self.watches[type_url as usize] =
                start_sotw(self.target.table(type_url), type_url, &request.resource_names);
            self.share_names(type_url);
            self.asked_for_endpoints(type_url);
            return Ok(());
        };
        // Before the first response any nonce is of an earlier watch.
        let is_early = watch.nonce == 0;
        if !is_early && *nonce != watch.nonce.to_string() {
            // What it asks for it repeats with its answer to the response that it has not seen.
            self.notes.push(Note::Stale(type_url));
            return Ok(());
        }
        let answered = is_early || watch.outstanding.is_some();
        self.answer(type_url, nonce, request.error_detail.as_ref());
        let parked = self.parked(type_url);
        let table = self.target.table(type_url);
        let slot = &mut self.watches[type_url as usize];
        let Some(watch) = slot else { return Ok(()) };
        watch.rest = None;
        if request.resource_names.is_empty() && !watch.legacy {
            *slot = None;
            self.forgotten(type_url, parked);
            return Ok(());
        }
        let changed = change_sotw(watch, table, type_url, &request.resource_names);
        if !changed && !answered {
            // The same names again, nothing to acknowledge: the client warms changed clusters.
            let again = std::mem::take(&mut watch.refresh);
            watch.wanted.extend(again.into_iter().filter(|name| watch.names.contains(name)));
        }
        self.share_names(type_url);
        self.forgotten(type_url, parked);
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
        let Some(watch) = watch else { return };
        if std::mem::take(&mut watch.unanswered) && watch.outstanding.is_none() {
            let error = error.map(|error| Note::Nacked(type_url, Vec::new(), error.message.clone()));
            self.notes.push(error.unwrap_or(Note::Acked(type_url)));
            return;
        }
        let Some(watch) = Some(watch).filter(answers) else {
            // State of the world repeats the last nonce in every request.
            if self.flavor == Flavor::Delta {
                self.notes.push(Note::Stale(type_url));
            }
            return;
        };
        if let Some(error) = error {
            let parked = watch.nacked(&error.message).into_iter().map(|(entry, parked)| Refusal {
                name: entry.name.clone(),
                version: entry.resource.version_text(),
                may_pass: parked.may_pass,
            });
            let parked = parked.collect();
            self.notes.push(Note::Nacked(type_url, parked, error.message.clone()));
        } else if let Some((outstanding, recovered)) = watch.acked() {
            self.notes.push(Note::Acked(type_url));
            self.notes.extend(recovered.into_iter().map(|name| Note::Recovered(type_url, name)));
            if type_url == TypeUrl::Cluster {
                self.clusters_acked(&outstanding.before);
            }
        }
    }

    fn share_names(&mut self, type_url: TypeUrl) {
        if let Some(watch) = self.watches[type_url as usize].as_mut() {
            watch.share_names(&self.target.published(type_url).names);
        }
    }

    fn parked(&self, type_url: TypeUrl) -> Vec<Arc<str>> {
        self.watch(type_url).map_or_else(Vec::new, |watch| watch.parked.keys().cloned().collect())
    }

    /// Notes what was `parked` and is no longer asked for.
    fn forgotten(&mut self, type_url: TypeUrl, parked: Vec<Arc<str>>) {
        let watch = self.watches[type_url as usize].as_ref();
        let gone = parked.into_iter().filter(|name| watch.is_none_or(|watch| !watch.parked.contains_key(name)));
        self.notes.extend(gone.map(|name| Note::Recovered(type_url, name)));
    }

    fn asked_for_endpoints(&mut self, type_url: TypeUrl) {
        if let Some(watch) = self.watches[type_url as usize].as_ref().filter(|_| type_url == TypeUrl::Endpoints) {
            self.follows |= self.expected.iter().any(|name| watch.covers(name));
            self.expected.retain(|name| !watch.covers(name));
            self.expect();
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
    let absent = |name: &&Arc<str>| !claims.contains_key(&***name) && !table.contains_key(*name);
    watch.wanted = watch.names.iter().filter(absent).cloned().collect();
    watch.base = claimed(table, claims);
    watch.answer_due = watch.wildcard && claims.is_empty();
}

/// What a client holds that comes back with versions: the published table as far as they agree.
fn claimed(table: &Table, claims: &HashMap<String, String>) -> Table {
    if claims.is_empty() {
        return Table::new();
    }
    let mut base = table.clone();
    for name in table.keys().filter(|name| !claims.contains_key(&***name)) {
        base.remove(name);
    }
    for (name, version) in claims {
        let published = table.get(name.as_str()).and_then(Slot::entry);
        if published.is_none_or(|entry| entry.resource.version_text() != *version) {
            base.insert(name.as_str().into(), stranger(name, version));
        }
    }
    base
}

/// What a client holds that isn't published: its version counts if it is one of ours, its contents are unknown.
fn stranger(name: &str, version: &str) -> Slot {
    let Ok(version) = u64::from_str_radix(version, 16) else { return Slot::Unsure { last: None, maybe: Some(0) } };
    let resource = proto::Resource { version, body: bytes::Bytes::new() };
    Slot::Known(Arc::new(Entry { name: name.into(), resource, generation: 0 }))
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
        if watch.covers(&name) || !table.contains_key(&name) {
            // It asks once more, or for what doesn't exist: it gets an answer.
            watch.wanted.insert(name.clone());
        }
        watch.ask(name);
    }
    for name in unsubscribe {
        if name == WILDCARD {
            watch.wildcard = false;
            watch.legacy = false;
        } else if let Some(name) = watch.names.remove(name.as_str()) {
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
    let names: Names = names.iter().filter(|name| *name != WILDCARD).map(|name| intern(table, name)).collect();
    let answer_due = wildcard || is_whole(type_url);
    Some(Watch { wildcard, legacy, names, answer_due, ..Watch::default() })
}

/// Takes the names of a later request; says whether they differ.
fn change_sotw(watch: &mut Watch, table: &Table, type_url: TypeUrl, names: &[String]) -> bool {
    if names.is_empty() && watch.legacy {
        return false;
    }
    watch.legacy = false;
    let wildcard = names.iter().any(|name| name == WILDCARD);
    let names: Names = names.iter().filter(|name| *name != WILDCARD).map(|name| intern(table, name)).collect();
    if wildcard == watch.wildcard && names == watch.names {
        return false;
    }
    if wildcard && !watch.wildcard {
        watch.base = Table::new();
        watch.answer_due = true;
    }
    watch.wildcard = wildcard;
    for name in &names {
        watch.answer_due |= is_whole(type_url) && !watch.covers(name);
        watch.ask(name.clone());
    }
    watch.wanted.retain(|name| names.contains(name));
    watch.parked.retain(|name, _| wildcard || names.contains(name));
    watch.names = names;
    true
}
