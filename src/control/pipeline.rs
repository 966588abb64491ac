//! The engine and its one owner: takes changes, commits them, publishes what follows.

use crate::{
    metrics::Metrics,
    objects::Objects,
    scopes::{Account, Accounts},
    source::{Changes, Inbox, Work},
    status::Board,
};
use api::{Kind, Object, ObjectId};
use base::ready::Barrier;
use engine::{Batch, Engine, Output};
use model::{ObjectKey, ObjectRef, Status};
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
    /// The objects in use.
    pub objects: Objects,
    /// Counts and times.
    pub metrics: Metrics,
}

/// The engine with its tables.
pub struct Pipeline {
    engine: Engine,
    inputs: resolve::Inputs,
    resources: translate::Outputs,
    statuses: Output<ObjectRef, Status>,
    accounts: Output<Account, ObjectKey>,
    sinks: Sinks,
}

impl Pipeline {
    /// Declares all tables.
    pub fn new(resolve: resolve::Settings, translate: translate::Settings, threads: usize, sinks: Sinks) -> Self {
        let mut engine = Engine::with_threads(threads);
        let tables = resolve::declare(&mut engine, resolve);
        let inputs = translate::Inputs {
            gateways: tables.gateways,
            listeners: tables.listeners,
            virtual_hosts: tables.virtual_hosts,
            clusters: tables.clusters,
            endpoints: tables.endpoints,
            gateway_clusters: tables.gateway_clusters,
            certificates: tables.certificates,
            policies: tables.policies,
        };
        let resources = translate::declare(&mut engine, translate, inputs);
        let statuses = engine.output(&tables.statuses);
        let accounts = engine.output(&tables.gateway_accounts);
        Self { engine, inputs: tables.inputs, resources, statuses, accounts, sinks }
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
        let Sinks { publisher, board, accounts, objects, metrics } = self.sinks.clone();
        metrics.committing(start.duration_since(since), endpoints);
        self.count(&changes);
        metrics.services(objects.change(&changes, Kind::Service));
        let mut batch = Batch::new();
        for (id, object) in changes {
            edit(&mut batch, &self.inputs, id, object);
        }
        let changes = self.engine.commit(batch);
        let owned = |resource: Arc<Resource>| Arc::unwrap_or_clone(resource);
        let resources: Vec<_> =
            self.resources.changes(&changes).map(|(key, resource)| (key.clone(), resource.map(owned))).collect();
        accounts.change(changes.of(&self.accounts).map(|(account, gateways)| {
            (account.clone(), gateways.iter().map(|gateway| ObjectKey::clone(gateway)).collect())
        }));
        let count = resources.len();
        let generation = publisher.publish(resources);
        board
            .decide(changes.of(&self.statuses).map(|(object, rows)| (object.clone(), rows.first().cloned())).collect());
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

/// One edit of an input table.
fn edit(batch: &mut Batch, inputs: &resolve::Inputs, id: ObjectId, object: Option<Object>) {
    // Sources give only objects of known kinds.
    let Some(kind) = Kind::ALL.iter().copied().find(|kind| kind.as_str() == &*id.kind) else { return };
    match object {
        Some(object) => inputs.set(batch, object),
        None => inputs.remove(batch, kind, ObjectKey::new(id.namespace, id.name)),
    }
}
