//! The owner of the configuration: takes resources as they come, and swaps in the next configuration when one is whole.
//!
//! What is received and what is in force differ only in two kinds. A listener (and the next version of one) waits until
//! its route table, virtual hosts, policies and certificates have been heard of; until then the version before serves.
//! A cluster waits for the first word about its endpoints.

use super::{
    Cluster, ClusterSpec, Config, Context, Endpoints, Fault, Listener, Name, Parsed, RetryBudget, RoutesFrom, Shared,
    journal::{Change, Journal},
    parse,
    tables::Tables,
};
use crate::{
    plane::{BindError, Ports},
    upstream::Retries,
};
use proto::TypeUrl;
use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    io,
    net::IpAddr,
    path::Path,
    sync::Arc,
};
use xds::client::{Held, Interests, Refusal, Update};

/// The owner of the configuration.
pub struct Store {
    context: Context,
    shared: Shared,
    bind: Option<IpAddr>,
    ports: Option<Ports>,
    next: Config,
    tables: Tables,
    clusters: HashMap<Name, Received>,
    endpoints: HashMap<Name, Arc<Endpoints>>,
    /// Clusters by the name of their endpoints.
    users: HashMap<Name, BTreeSet<Name>>,
    listeners: BTreeMap<Name, Arc<Listener>>,
    /// Names that the server has answered, with a resource or with "there is none".
    answered: HashSet<(TypeUrl, Name)>,
    /// Types of which a first response has come.
    heard: HashSet<TypeUrl>,
    dirty: bool,
    journal: Option<Journal>,
}

struct Received {
    spec: Arc<ClusterSpec>,
    /// Of a cluster that doesn't use EDS.
    inline: Option<Arc<Endpoints>>,
    /// What is counted outlives other changes of the cluster.
    retries: Option<Arc<Retries>>,
}

impl Store {
    /// An empty store that swaps its configurations into `shared`. Listeners bind `bind`, if it is given, in place of
    /// the address that they name.
    pub fn new(shared: Shared, bind: Option<IpAddr>) -> Self {
        Self {
            context: Context::default(),
            next: Config::default(),
            shared,
            bind,
            ports: None,
            tables: Tables::default(),
            clusters: HashMap::new(),
            endpoints: HashMap::new(),
            users: HashMap::new(),
            listeners: BTreeMap::new(),
            answered: HashSet::new(),
            heard: HashSet::new(),
            dirty: false,
            journal: None,
        }
    }

    /// Listeners whose address can't be had are refused.
    pub(crate) fn with_ports(self, ports: Ports) -> Self {
        Self { ports: Some(ports), ..self }
    }

    /// What to ask for at first.
    pub fn interests() -> Interests {
        let mut interests = Interests::default();
        interests.wildcard(TypeUrl::Cluster).wildcard(TypeUrl::Listener);
        interests
    }

    /// Keeps what is accepted in a directory, and starts from what is kept there. Returns what to ask for, and which
    /// versions are there already.
    ///
    /// # Errors
    /// If the directory can't be read or written.
    pub fn keep_in(&mut self, dir: &Path) -> io::Result<(Interests, Held)> {
        let (journal, kept) = Journal::open(dir)?;
        let mut interests = Self::interests();
        let mut held = Held::new();
        for (type_url, updates) in kept {
            if updates.is_empty() {
                continue;
            }
            let (good, mut refusals) = self.parse(type_url, &updates);
            refusals.extend(self.take(type_url, good, &[], &mut interests));
            for Refusal { name, error } in &refusals {
                // An older proxy wrote it, and this one is stricter. The control plane sends it again.
                tracing::warn!(%type_url, %name, error, "a resource of the last good configuration is refused");
            }
            let good = updates.into_iter().filter(|update| refusals.iter().all(|refusal| refusal.name != update.name));
            // Without a word from the server a listener waits for its address. The server is to hear of it, though.
            let good = good.filter(|update| type_url != TypeUrl::Listener || self.has_address(&update.name));
            held.insert(type_url, good.map(|update| (update.name, update.version)).collect());
        }
        self.journal = Some(journal);
        Ok((interests, held))
    }

    /// Takes the resources of one response, and says which of them can't be used. The others count.
    pub fn apply(
        &mut self,
        type_url: TypeUrl,
        updates: &[Update],
        removed: &[Name],
        interests: &mut Interests,
    ) -> Vec<Refusal> {
        let (mut good, mut refusals) = self.parse(type_url, updates);
        good.retain(|(name, parsed)| match self.take_address(name, parsed) {
            Ok(()) => true,
            Err(error) => {
                refusals.push(Refusal { name: name.clone(), error: error.to_string() });
                false
            }
        });
        refusals.extend(self.take(type_url, good, removed, interests));
        if let Some(journal) = &mut self.journal {
            let refused: HashSet<&Name> = refusals.iter().map(|refusal| &refusal.name).collect();
            let good = updates.iter().filter(|update| !refused.contains(&update.name));
            let put = good.map(|Update { name, version, body }| Change { type_url, name, body: Some((version, body)) });
            let gone = removed.iter().map(|name| Change { type_url, name, body: None });
            let changes: Vec<_> = put.chain(gone).collect();
            if let Err(error) = journal.append(&changes) {
                tracing::error!(%error, "the last good configuration on disk falls behind; a restart would start from it");
            }
        }
        refusals
    }

    fn parse(&self, type_url: TypeUrl, updates: &[Update]) -> (Vec<(Name, Parsed)>, Vec<Refusal>) {
        let mut refusals = Vec::new();
        let mut good = Vec::with_capacity(updates.len());
        for Update { name, body, .. } in updates {
            match parse(&self.context, type_url, name, body) {
                Ok(Parsed::Listener(mut listener)) => {
                    listener.address.set_ip(self.bind.unwrap_or(listener.address.ip()));
                    good.push((name.clone(), Parsed::Listener(listener)));
                }
                Ok(parsed) => good.push((name.clone(), parsed)),
                Err(fault) => refusals.push(refusal(name, &fault)),
            }
        }
        (good, refusals)
    }

    fn take_address(&self, name: &Name, parsed: &Parsed) -> Result<(), BindError> {
        match (&self.ports, parsed) {
            // Datagrams have ports of their own, which are looked for when the listener opens.
            (Some(ports), Parsed::Listener(listener)) if listener.udp.is_none() => ports.take(name, listener.address),
            _ => Ok(()),
        }
    }

    fn has_address(&self, listener: &Name) -> bool {
        let listener = self.listeners.get(listener).filter(|listener| listener.udp.is_none());
        let Some((ports, listener)) = self.ports.as_ref().zip(listener) else { return true };
        ports.take(&listener.name, listener.address).is_ok()
    }

    fn take(
        &mut self,
        type_url: TypeUrl,
        good: Vec<(Name, Parsed)>,
        removed: &[Name],
        interests: &mut Interests,
    ) -> Vec<Refusal> {
        let mut refusals = Vec::new();
        for name in removed {
            self.remove(type_url, name);
        }
        let hosts = good.iter().filter_map(|(name, parsed)| match parsed {
            Parsed::VirtualHost(host) => Some((name.clone(), host.clone())),
            _ => None,
        });
        refusals.extend(self.tables.set_hosts(hosts.collect(), &mut self.next.tables));
        for (name, parsed) in good {
            self.insert(&name, parsed);
            self.answer(type_url, name);
        }
        for name in removed {
            self.answer(type_url, name.clone());
        }
        self.heard.insert(type_url);
        self.promote_listeners();
        self.set_interests(type_url, interests);
        self.publish();
        self.context.sweep();
        refusals
    }

    /// Whether everything that was asked for has been heard of: the first full configuration is in force.
    pub fn is_complete(&self) -> bool {
        // The server's first answer is whole, and it knows no client whose Gateway it doesn't know: none are none, as of
        // a Gateway whose listeners all lack their certificates.
        let heard = [TypeUrl::Cluster, TypeUrl::Listener].iter().all(|type_url| self.heard.contains(type_url));
        heard
            && self.listeners.iter().all(|(name, listener)| {
                self.next.listeners.get(name).is_some_and(|active| Arc::ptr_eq(active, listener))
            })
            && self.users.keys().all(|name| self.is_answered(TypeUrl::Endpoints, name))
            && self
                .clusters
                .values()
                .filter_map(|received| received.spec.tls.as_ref())
                .all(|tls| tls.secrets().all(|name| self.is_answered(TypeUrl::Secret, name)))
    }

    /// What each listener that is not in force waits for.
    pub fn waiting(&self) -> Vec<(Name, Vec<String>)> {
        let waiting = self.listeners.iter().map(|(name, listener)| (name.clone(), self.missing(listener)));
        waiting.filter(|(_, missing)| !missing.is_empty()).collect()
    }

    fn answer(&mut self, type_url: TypeUrl, name: Name) {
        // Wildcard types are heard of by type; a set of all their names would only grow.
        if matches!(type_url, TypeUrl::Endpoints | TypeUrl::Secret | TypeUrl::Extension | TypeUrl::Route) {
            self.answered.insert((type_url, name));
        }
    }

    fn is_answered(&self, type_url: TypeUrl, name: &Name) -> bool {
        self.answered.contains(&(type_url, name.clone()))
    }

    fn insert(&mut self, name: &Name, parsed: Parsed) {
        self.dirty = true;
        match parsed {
            Parsed::Cluster(cluster) => {
                let spec = Arc::new(cluster.spec);
                // A cluster that has changed keeps its endpoints: they are not sent again for it.
                if self.clusters.get(name).is_some_and(|received| received.spec.eds != spec.eds) {
                    self.forget_user(name);
                }
                if let Some(eds) = &spec.eds {
                    self.users.entry(eds.clone()).or_default().insert(name.clone());
                }
                let inline = cluster.endpoints.map(Arc::new);
                let retries = spec.limits.retry_budget.map(|budget| self.retries(name, budget));
                self.clusters.insert(name.clone(), Received { spec, inline, retries });
                self.publish_cluster(name);
            }
            Parsed::Endpoints(endpoints) => {
                let endpoints = Arc::new(endpoints);
                self.endpoints.insert(name.clone(), endpoints);
                self.answered.insert((TypeUrl::Endpoints, name.clone()));
                self.publish_users(name);
            }
            Parsed::Secret(secret) => {
                self.next.secrets.insert(name.clone(), Arc::new(secret));
                self.answered.insert((TypeUrl::Secret, name.clone()));
                self.publish_waiting(name);
            }
            Parsed::Proxy(proxy) => drop(self.next.proxies.insert(name.clone(), Arc::new(proxy))),
            Parsed::Extension(step) => drop(self.next.extensions.insert(name.clone(), step)),
            Parsed::Listener(listener) => drop(self.listeners.insert(name.clone(), Arc::new(listener))),
            Parsed::Routes(table, by_vhds) => self.tables.set_table(name, table, by_vhds, &mut self.next.tables),
            // Put into their tables all at once before.
            Parsed::VirtualHost(_) => {}
        }
    }

    fn remove(&mut self, type_url: TypeUrl, name: &Name) {
        self.dirty = true;
        match type_url {
            TypeUrl::Cluster => {
                self.forget_user(name);
                self.clusters.remove(name);
                self.next.clusters.remove(name);
            }
            TypeUrl::Endpoints => {
                self.endpoints.remove(name);
                self.answered.insert((TypeUrl::Endpoints, name.clone()));
                self.publish_users(name);
            }
            // A certificate that a listener in force presents outlives its removal: the listener goes first.
            TypeUrl::Secret
                if self.next.listeners.values().any(|listener| secrets(listener).any(|one| one == name)) =>
            {
                tracing::warn!(secret = %name, "certificate was removed while a listener presents it; it stays");
            }
            TypeUrl::Secret => {
                self.next.secrets.remove(name);
                self.answered.insert((TypeUrl::Secret, name.clone()));
                self.publish_waiting(name);
            }
            TypeUrl::Extension => {
                self.next.extensions.remove(name);
                self.next.proxies.remove(name);
            }
            TypeUrl::Listener => {
                if let Some(ports) = &self.ports {
                    ports.release(name);
                }
                self.listeners.remove(name);
                self.next.listeners.remove(name);
            }
            TypeUrl::Route => self.tables.remove_table(name, &mut self.next.tables),
            TypeUrl::VirtualHost => self.tables.remove_host(name, &mut self.next.tables),
        }
    }

    /// The counters of a cluster's retries, those that there were if the budget is the same.
    fn retries(&self, cluster: &Name, budget: RetryBudget) -> Arc<Retries> {
        let known = self.clusters.get(cluster).and_then(|received| received.retries.clone());
        known.filter(|known| known.budget == budget).unwrap_or_else(|| Arc::new(Retries::new(budget)))
    }

    fn forget_user(&mut self, cluster: &Name) {
        let Some(eds) = self.clusters.get(cluster).and_then(|received| received.spec.eds.clone()) else { return };
        if let Some(users) = self.users.get_mut(&eds) {
            users.remove(cluster);
            if users.is_empty() {
                self.users.remove(&eds);
                self.endpoints.remove(&eds);
                self.answered.remove(&(TypeUrl::Endpoints, eds));
            }
        }
    }

    fn publish_users(&mut self, eds: &Name) {
        let users: Vec<Name> = self.users.get(eds).into_iter().flatten().cloned().collect();
        for cluster in users {
            self.publish_cluster(&cluster);
        }
    }

    /// Puts the clusters in force that waited for a certificate.
    fn publish_waiting(&mut self, secret: &Name) {
        let needs = |received: &Received| {
            received.spec.tls.as_ref().is_some_and(|tls| tls.secrets().any(|name| name == secret))
        };
        let waiting = |(name, received): &(&Name, &Received)| {
            let active = self.next.clusters.get(*name);
            !active.is_some_and(|active| Arc::ptr_eq(&active.spec, &received.spec)) && needs(received)
        };
        let waiting: Vec<Name> = self.clusters.iter().filter(waiting).map(|(name, _)| name.clone()).collect();
        for cluster in waiting {
            self.publish_cluster(&cluster);
        }
    }

    /// Puts a cluster in force, unless nothing is known of its endpoints or certificates yet.
    fn publish_cluster(&mut self, name: &Name) {
        let Some(Received { spec, inline, retries }) = self.clusters.get(name) else { return };
        let mut secrets = spec.tls.iter().flat_map(|tls| tls.secrets());
        if !secrets.all(|name| self.next.secrets.contains_key(name) || self.is_answered(TypeUrl::Secret, name)) {
            return;
        }
        let endpoints = match (inline, &spec.eds) {
            (Some(inline), _) => inline.clone(),
            (None, Some(eds)) => match self.endpoints.get(eds) {
                Some(endpoints) => endpoints.clone(),
                None if self.is_answered(TypeUrl::Endpoints, eds) => Arc::default(),
                None => return,
            },
            (None, None) => Arc::default(),
        };
        let cluster = Cluster { spec: spec.clone(), endpoints, retries: retries.clone() };
        self.next.clusters.insert(name.clone(), Arc::new(cluster));
    }

    /// Puts every listener in force that has what it needs.
    fn promote_listeners(&mut self) {
        for (name, listener) in &self.listeners {
            let active = self.next.listeners.get(name).is_some_and(|active| Arc::ptr_eq(active, listener));
            if !active && self.missing(listener).is_empty() {
                self.next.listeners.insert(name.clone(), listener.clone());
                self.dirty = true;
            }
        }
    }

    /// What a listener needs that has not come.
    fn missing(&self, listener: &Listener) -> Vec<String> {
        let mut missing = Vec::new();
        for chain in listener.chains.iter().chain(&listener.default_chain) {
            if let Some(RoutesFrom::Named(name)) = chain.http().map(|http| &http.routes) {
                match self.next.tables.contains_key(name) {
                    false => missing.push(format!("route table {name}")),
                    true if self.tables.is_by_vhds(name) && !self.heard.contains(&TypeUrl::VirtualHost) => {
                        missing.push(format!("virtual hosts of {name}"));
                    }
                    true => {}
                }
            }
            let policies = chain.policies().filter(|name| !self.next.extensions.contains_key(*name));
            missing.extend(policies.map(|name| format!("policy {name}")));
            let proxy = chain.proxy().filter(|name| !self.next.proxies.contains_key(*name));
            missing.extend(proxy.map(|name| format!("proxy {name}")));
        }
        for name in secrets(listener).filter(|name| !self.next.secrets.contains_key(*name)) {
            missing.push(format!("certificate {name}"));
        }
        missing
    }

    /// Asks for what the listeners and clusters name.
    fn set_interests(&self, changed: TypeUrl, interests: &mut Interests) {
        match changed {
            TypeUrl::Cluster => {
                interests.names(TypeUrl::Endpoints, self.users.keys().cloned());
                interests.names(TypeUrl::Secret, self.wanted_secrets());
            }
            TypeUrl::Listener => {
                let chains = || self.all_listeners().flat_map(|one| one.chains.iter().chain(&one.default_chain));
                let tables = chains().filter_map(|chain| match &chain.http()?.routes {
                    RoutesFrom::Named(name) => Some(name.clone()),
                    RoutesFrom::Inline(_) => None,
                });
                interests.names(TypeUrl::Route, tables);
                let filters = chains().flat_map(|chain| chain.policies().chain(chain.proxy()));
                interests.names(TypeUrl::Extension, filters.cloned());
                interests.names(TypeUrl::Secret, self.wanted_secrets());
            }
            TypeUrl::Route if self.tables.any_by_vhds() => drop(interests.wildcard(TypeUrl::VirtualHost)),
            _ => {}
        }
    }

    /// Listeners in force and those that wait.
    fn all_listeners(&self) -> impl Iterator<Item = &Arc<Listener>> {
        self.listeners.values().chain(self.next.listeners.values())
    }

    fn wanted_secrets(&self) -> impl Iterator<Item = Name> {
        let upstream = self.clusters.values().filter_map(|received| received.spec.tls.as_ref());
        let upstream = upstream.flat_map(|tls| tls.secrets());
        self.all_listeners().flat_map(|listener| secrets(listener)).chain(upstream).cloned()
    }

    fn publish(&mut self) {
        if std::mem::take(&mut self.dirty) {
            self.shared.swap(self.next.clone());
        }
    }
}

fn refusal(name: &Name, fault: &Fault) -> Refusal {
    Refusal { name: name.clone(), error: fault.to_string() }
}

/// The certificates that a listener presents and trusts.
fn secrets(listener: &Listener) -> impl Iterator<Item = &Name> {
    let chains = listener.chains.iter().chain(&listener.default_chain);
    chains.filter_map(|chain| chain.tls.as_ref()).flat_map(|tls| tls.certificates.iter().chain(&tls.client_roots))
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
