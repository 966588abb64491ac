//! The engine and its one owner: takes changes, commits them, publishes what follows.

use crate::{
    deploy::Desired,
    graph::Graph,
    held::{Effects, Held, Wanted},
    metrics::Metrics,
    objects::Objects,
    scopes::Accounts,
    source::{Answer, Changes, Inbox, Taken, Work},
    status::Board,
};
use api::{Kind, ObjectId};
use base::ready::Barrier;
use proto::{Resource, ResourceKey};
use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Instant,
};
use xds::Publisher;

/// Where results go.
#[derive(Clone)]
pub struct Sinks {
    /// Resources.
    pub publisher: Publisher,
    /// Statuses.
    pub board: Board,
    /// The service accounts of proxies.
    pub accounts: Accounts,
    /// What is to be made for Gateways.
    pub desired: Desired,
    /// The objects in use.
    pub objects: Objects,
    /// Counts and times.
    pub metrics: Metrics,
    /// Objects that are to be read by name, where not everything is read anyway.
    pub wanted: Option<Wanted>,
}

impl Sinks {
    /// Empty ones; in a cluster some objects are read by name.
    pub fn new(publisher: Publisher, metrics: Metrics, in_cluster: bool) -> Self {
        let objects = Objects::default();
        Self {
            board: Board::new(publisher.clone(), metrics.clone(), objects.clone()),
            publisher,
            accounts: Accounts::default(),
            desired: Desired::default(),
            objects,
            metrics,
            wanted: in_cluster.then(Wanted::default),
        }
    }
}

/// The graph and where its results go.
pub struct Pipeline {
    graph: Graph,
    held: Held,
    sinks: Sinks,
}

impl Pipeline {
    /// Declares all tables.
    pub fn new(resolve: resolve::Settings, translate: translate::Settings, threads: usize, sinks: Sinks) -> Self {
        let held = Held::new(sinks.wanted.clone());
        Self { graph: Graph::new(resolve, translate, threads), held, sinks }
    }

    /// Works until the inbox is closed. The barrier is passed when everything that there was at the start is published.
    pub fn run(mut self, inbox: &Inbox, first: Barrier) {
        let mut first = Some(first);
        loop {
            let work = match inbox.take(self.held.until()) {
                Taken::Work(work) => Some(work),
                Taken::Late => None,
                Taken::Closed => return,
            };
            // A panic is a bug in a table's function. What it was to compute stays dirty and is tried again with the
            // next commit; everything else goes on.
            if work.is_some_and(|work| catch_unwind(AssertUnwindSafe(|| self.commit(work))).is_err()) {
                tracing::error!("a change could not be computed; it is tried again with the next one");
            }
            if let Some(effects) = self.held.release() {
                self.publish(effects);
                first.take().into_iter().for_each(Barrier::pass);
            }
        }
    }

    /// Commits one piece of work; what follows is published as soon as nothing waits.
    fn commit(&mut self, work: Work) {
        let Work { mut changes, answers, since, endpoints } = work;
        let start = Instant::now();
        self.sinks.metrics.committing(start.duration_since(since), endpoints);
        let mut unreadable = BTreeMap::new();
        for (id, answer) in &answers {
            let (object, why) = match answer.clone() {
                Answer::Found(object) => (Some(object), None),
                Answer::Absent => (None, None),
                Answer::Unreadable(why) => (None, Some(why)),
            };
            changes.insert(id.clone(), object);
            unreadable.insert(id.clone(), why);
        }
        self.count(&changes);
        let effects = self.graph.commit_with(changes.clone(), unreadable);
        let mut resources: BTreeMap<_, _> =
            effects.resources().map(|(key, resource)| (key.clone(), resource)).collect();
        let wanted = effects.wanted().map(|(object, is_wanted)| {
            let (kind, key) = (object.kind.clone(), object.key.clone());
            (ObjectId { kind, namespace: key.namespace, name: key.name }, is_wanted)
        });
        self.held.note(wanted, &answers);
        if endpoints && self.held.until().is_some() {
            self.sinks.publisher.publish(owned(self.held.ahead(std::mem::take(&mut resources))));
        }
        let held = &mut self.held.effects;
        held.accounts.extend(effects.accounts().map(|(account, gateways)| (account.clone(), gateways)));
        let infrastructures = effects.infrastructures().map(|(gateway, wanted)| (gateway.clone(), wanted));
        held.infrastructures.extend(infrastructures);
        held.statuses.extend(effects.statuses().map(|(object, status)| (object.clone(), status)));
        held.resources.append(&mut resources);
        held.changes.append(&mut changes);
        self.sinks.metrics.committed(start.elapsed());
    }

    fn publish(&self, effects: Effects) {
        let Effects { resources, statuses, accounts, infrastructures, changes } = effects;
        let Sinks { publisher, board, objects, metrics, .. } = &self.sinks;
        let (start, count) = (Instant::now(), resources.len());
        self.sinks.accounts.change(accounts.into_iter());
        self.sinks.desired.change(infrastructures.into_iter());
        let generation = publisher.publish(owned(resources));
        let verdicts = statuses.into_iter().collect();
        metrics.services(board.decide(verdicts, || objects.change(&changes, Kind::Service)));
        tracing::debug!(generation, resources = count, took = ?start.elapsed(), "published");
    }

    fn count(&self, changes: &Changes) {
        for (id, object) in changes {
            self.sinks.metrics.event(&id.kind, if object.is_some() { "update" } else { "delete" });
        }
        self.sinks.metrics.validated(changes.values().flatten().count());
    }
}

fn owned(resources: BTreeMap<ResourceKey, Option<Arc<Resource>>>) -> Vec<(ResourceKey, Option<Resource>)> {
    resources.into_iter().map(|(key, resource)| (key, resource.map(Arc::unwrap_or_clone))).collect()
}
