//! The engine and its one owner: takes changes, commits them, publishes what follows.

use crate::{
    deploy::Desired,
    graph::Graph,
    metrics::Metrics,
    objects::Objects,
    scopes::Accounts,
    source::{Changes, Inbox, Work},
    status::Board,
};
use api::Kind;
use base::ready::Barrier;
use proto::Resource;
use std::{
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
}

/// The graph and where its results go.
pub struct Pipeline {
    graph: Graph,
    sinks: Sinks,
}

impl Pipeline {
    /// Declares all tables.
    pub fn new(resolve: resolve::Settings, translate: translate::Settings, threads: usize, sinks: Sinks) -> Self {
        Self { graph: Graph::new(resolve, translate, threads), sinks }
    }

    /// Works until the inbox is closed. The barrier is passed when everything that there was at the start is published.
    pub fn run(mut self, inbox: &Inbox, first: Barrier) {
        let mut first = Some(first);
        while let Some(work) = inbox.take() {
            // A panic is a bug in a table's function. What it was to compute stays dirty and is tried again with the
            // next commit; everything else goes on.
            if catch_unwind(AssertUnwindSafe(|| self.commit(work))).is_err() {
                tracing::error!("a change could not be computed; it is tried again with the next one");
            }
            if let Some(first) = first.take() {
                first.pass();
            }
        }
    }

    /// Commits one piece of work and publishes what follows.
    pub fn commit(&mut self, work: Work) {
        let Work { changes, since, endpoints } = work;
        let start = Instant::now();
        let Sinks { publisher, board, accounts, desired, objects, metrics } = self.sinks.clone();
        metrics.committing(start.duration_since(since), endpoints);
        self.count(&changes);
        let effects = self.graph.commit(changes.clone());
        let owned = |resource: Arc<Resource>| Arc::unwrap_or_clone(resource);
        let resources: Vec<_> = effects.resources().map(|(key, resource)| (key.clone(), resource.map(owned))).collect();
        accounts.change(effects.accounts().map(|(account, gateways)| (account.clone(), gateways)));
        desired.change(effects.infrastructures().map(|(gateway, wanted)| (gateway.clone(), wanted)));
        let count = resources.len();
        let generation = publisher.publish(resources);
        let verdicts = effects.statuses().map(|(object, status)| (object.clone(), status)).collect();
        metrics.services(board.decide(verdicts, || objects.change(&changes, Kind::Service)));
        metrics.committed(start.elapsed());
        tracing::debug!(generation, resources = count, took = ?start.elapsed(), "committed");
    }

    fn count(&self, changes: &Changes) {
        for (id, object) in changes {
            self.sinks.metrics.event(&id.kind, if object.is_some() { "update" } else { "delete" });
        }
        self.sinks.metrics.validated(changes.values().flatten().count());
    }
}
