//! The engine with everything from Kubernetes objects to Envoy resources, as the control plane runs it.

use api::{Kind, Object};
use engine::{Batch, Engine, Output};
use model::{ObjectKey, ObjectRef, Status};
use proto::{Resource, ResourceKey};
use std::collections::BTreeMap;

/// What comes out: the final state, put together from the changes of every commit.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Results {
    pub resources: BTreeMap<ResourceKey, Resource>,
    pub statuses: BTreeMap<ObjectRef, Status>,
    /// Gateways by the service account of their proxies.
    pub accounts: BTreeMap<resolve::Account, Vec<ObjectKey>>,
}

/// An edit of one object: what it is now, or that it is gone.
pub type Edit = (Kind, ObjectKey, Option<Object>);

pub struct Pipeline {
    engine: Engine,
    inputs: resolve::Inputs,
    resources: translate::Outputs,
    statuses: Output<ObjectRef, Status>,
    accounts: Output<resolve::Account, ObjectKey>,
    pub results: Results,
}

impl Pipeline {
    pub fn new(threads: usize) -> Self {
        let mut engine = Engine::with_threads(threads);
        let tables = resolve::declare(&mut engine, resolve::Settings::default());
        let resources = translate::declare(
            &mut engine,
            translate::Settings::default(),
            translate::Inputs {
                gateways: tables.gateways,
                listeners: tables.listeners,
                virtual_hosts: tables.virtual_hosts,
                clusters: tables.clusters,
                endpoints: tables.endpoints,
                gateway_clusters: tables.gateway_clusters,
                certificates: tables.certificates,
                policies: tables.policies,
            },
        );
        let statuses = engine.output(&tables.statuses);
        let accounts = engine.output(&tables.gateway_accounts);
        Self { engine, inputs: tables.inputs, resources, statuses, accounts, results: Results::default() }
    }

    /// Commits edits together.
    pub fn commit(&mut self, edits: impl IntoIterator<Item = Edit>) {
        let mut batch = Batch::new();
        for (kind, key, object) in edits {
            match object {
                Some(object) => self.inputs.set(&mut batch, object),
                None => self.inputs.remove(&mut batch, kind, key),
            }
        }
        let changes = self.engine.commit(batch);
        for (key, resource) in self.resources.changes(&changes) {
            match resource {
                Some(resource) => self.results.resources.insert(key.clone(), (*resource).clone()),
                None => self.results.resources.remove(key),
            };
        }
        for (object, rows) in changes.of(&self.statuses) {
            assert!(rows.len() < 2, "{object} has {} statuses", rows.len());
            match rows.first() {
                Some(status) => self.results.statuses.insert(object.clone(), (**status).clone()),
                None => self.results.statuses.remove(object),
            };
        }
        for (account, rows) in changes.of(&self.accounts) {
            match rows.is_empty() {
                false => {
                    let gateways = rows.iter().map(|gateway| (**gateway).clone()).collect();
                    self.results.accounts.insert(account.clone(), gateways)
                }
                true => self.results.accounts.remove(account),
            };
        }
    }

    /// How many rows each table has computed so far.
    #[allow(dead_code, reason = "one of the two tests that share this file asks")]
    pub fn computed(&self) -> BTreeMap<&'static str, u64> {
        self.engine.counts().into_iter().map(|(name, counts)| (name, counts.computed)).collect()
    }
}

/// The edit that puts an object in.
pub fn put(object: Object) -> Edit {
    let metadata = object.metadata();
    let namespace = metadata.namespace.as_deref().unwrap_or_default();
    let key = ObjectKey::new(namespace, metadata.name.as_deref().unwrap_or_default());
    (object.kind(), key, Some(object))
}
