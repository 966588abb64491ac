//! All tables, from Kubernetes objects to Envoy resources, and the engine that keeps them: the one wiring that the
//! control plane, the offline commands and the tests run.

use api::{Kind, Object, ObjectId};
use engine::{Batch, Changes, Engine, Output};
use model::{Infrastructure, ObjectKey, ObjectRef, Status};
use proto::{Resource, ResourceKey};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// `resolve` and `translate` over one engine.
pub struct Graph {
    engine: Engine,
    inputs: resolve::Inputs,
    resources: translate::Outputs,
    statuses: Output<ObjectRef, Status>,
    accounts: Output<resolve::Account, ObjectKey>,
    infrastructures: Output<ObjectKey, Infrastructure>,
    wanted: Output<ObjectRef, ()>,
}

impl Graph {
    /// Declares all tables; `threads` compute them.
    pub fn new(resolve: resolve::Settings, translate: translate::Settings, threads: usize) -> Self {
        let mut engine = Engine::with_threads(threads);
        let tables = resolve::declare(&mut engine, resolve);
        let inputs = translate::Inputs {
            gateways: tables.gateways,
            listeners: tables.listeners,
            virtual_hosts: tables.virtual_hosts,
            streams: tables.streams,
            clusters: tables.clusters,
            endpoints: tables.endpoints,
            gateway_clusters: tables.gateway_clusters,
            certificates: tables.certificates,
            trust: tables.trust,
            backend_certificates: tables.backend_certificates,
            policies: tables.policies,
            authorizers: tables.authorizers,
            authentications: tables.authentications,
        };
        let resources = translate::declare(&mut engine, translate, inputs);
        let statuses = engine.output(&tables.statuses);
        let accounts = engine.output(&tables.gateway_accounts);
        let infrastructures = engine.output(&tables.infrastructures);
        let wanted = engine.output(&tables.wanted);
        Self { engine, inputs: tables.inputs, resources, statuses, accounts, infrastructures, wanted }
    }

    /// Commits edits together: what an object is now, or None if it is gone. Objects of kinds that we don't know are
    /// passed over.
    pub fn commit(&mut self, edits: impl IntoIterator<Item = (ObjectId, Option<Object>)>) -> Effects<'_> {
        self.commit_with(edits, [])
    }

    /// The same, with why objects that are referred to can't be read; None if they can, or are not there.
    pub fn commit_with(
        &mut self,
        edits: impl IntoIterator<Item = (ObjectId, Option<Object>)>,
        unreadable: impl IntoIterator<Item = (ObjectId, Option<String>)>,
    ) -> Effects<'_> {
        let mut batch = Batch::new();
        for (id, why) in unreadable {
            let object = ObjectRef::new(id.kind, ObjectKey::new(id.namespace, id.name));
            match why {
                Some(why) => batch.set(&self.inputs.unreadable, object, Arc::new(why)),
                None => batch.remove(&self.inputs.unreadable, object),
            }
        }
        for (id, object) in edits {
            let kind = Kind::ALL.iter().copied().find(|kind| kind.as_str() == &*id.kind);
            match (object, kind) {
                (Some(object), _) => self.inputs.set(&mut batch, object),
                (None, Some(kind)) => self.inputs.remove(&mut batch, kind, ObjectKey::new(id.namespace, id.name)),
                (None, None) => {}
            }
        }
        Effects { changes: self.engine.commit(batch), graph: self }
    }

    /// All resources, by type in the order of make before break, then by key.
    pub fn resources(&self) -> impl Iterator<Item = (&ResourceKey, Arc<Resource>)> {
        self.resources.all(&self.engine)
    }

    /// How many rows each table has computed so far.
    pub fn computed(&self) -> BTreeMap<&'static str, u64> {
        self.engine.counts().into_iter().map(|(name, counts)| (name, counts.computed)).collect()
    }
}

/// What a commit changed.
pub struct Effects<'a> {
    graph: &'a Graph,
    changes: Changes,
}

impl Effects<'_> {
    /// The resources that changed, by type in the order of make before break, then by key. None: it is gone.
    pub fn resources(&self) -> impl Iterator<Item = (&ResourceKey, Option<Arc<Resource>>)> {
        self.graph.resources.changes(&self.changes)
    }

    /// The statuses that changed. None: the object is gone, or concerns us no more.
    pub fn statuses(&self) -> impl Iterator<Item = (&ObjectRef, Option<Arc<Status>>)> {
        self.changes.of(&self.graph.statuses).map(|(object, rows)| {
            debug_assert!(rows.len() < 2, "{object} has {} statuses", rows.len());
            (object, rows.first().cloned())
        })
    }

    /// What is to be made for Gateways, where that changed. None: nothing.
    pub fn infrastructures(&self) -> impl Iterator<Item = (&ObjectKey, Option<Arc<Infrastructure>>)> {
        self.changes.of(&self.graph.infrastructures).map(|(gateway, rows)| (gateway, rows.first().cloned()))
    }

    /// The service accounts whose Gateways changed, each with the Gateways whose proxies have it.
    pub fn accounts(&self) -> impl Iterator<Item = (&resolve::Account, BTreeSet<ObjectKey>)> {
        let accounts = self.changes.of(&self.graph.accounts);
        accounts.map(|(account, rows)| (account, rows.iter().map(|gateway| ObjectKey::clone(gateway)).collect()))
    }

    /// Secrets and ConfigMaps that somebody who may has begun to refer to, or has ceased to.
    pub fn wanted(&self) -> impl Iterator<Item = (&ObjectRef, bool)> {
        self.changes.of(&self.graph.wanted).map(|(object, rows)| (object, !rows.is_empty()))
    }
}
