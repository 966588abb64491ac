//! The engine with everything from Kubernetes objects to Envoy resources, as the control plane runs it.

use api::{Object, ObjectId};
use control::Graph;
use model::{Infrastructure, ObjectKey, ObjectRef, Status};
use proto::{Resource, ResourceKey};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr},
};

/// What comes out: the final state, put together from the changes of every commit.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Results {
    pub resources: BTreeMap<ResourceKey, Resource>,
    pub statuses: BTreeMap<ObjectRef, Status>,
    /// Gateways by the service account of their proxies.
    pub accounts: BTreeMap<resolve::Account, BTreeSet<ObjectKey>>,
    /// What is to be made for Gateways.
    pub infrastructures: BTreeMap<ObjectKey, Infrastructure>,
}

/// An edit of one object: what it is now, or that it is gone.
pub type Edit = (ObjectId, Option<Object>);

/// What proxies are reached at.
const ADDRESSES: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2))];

pub struct Pipeline {
    graph: Graph,
    pub results: Results,
}

impl Pipeline {
    pub fn new(threads: usize) -> Self {
        Self::with(resolve::Reach::At(ADDRESSES.into()), threads)
    }

    /// Where addresses are those of Services.
    #[allow(dead_code, reason = "one of the two tests that share this file asks")]
    pub fn in_cluster(threads: usize) -> Self {
        Self::with(resolve::Reach::ByService, threads)
    }

    fn with(reach: resolve::Reach, threads: usize) -> Self {
        let resolve = resolve::Settings { reach, ..resolve::Settings::default() };
        let graph = Graph::new(resolve, translate::Settings::default(), threads);
        Self { graph, results: Results::default() }
    }

    /// Commits edits together.
    pub fn commit(&mut self, edits: impl IntoIterator<Item = Edit>) {
        let effects = self.graph.commit(edits);
        for (key, resource) in effects.resources() {
            tell(&mut self.results.resources, key, resource.as_deref().cloned());
        }
        for (object, status) in effects.statuses() {
            tell(&mut self.results.statuses, object, status.as_deref().cloned());
        }
        for (gateway, infrastructure) in effects.infrastructures() {
            tell(&mut self.results.infrastructures, gateway, infrastructure.as_deref().cloned());
        }
        for (account, gateways) in effects.accounts() {
            tell(&mut self.results.accounts, account, Some(gateways).filter(|gateways| !gateways.is_empty()));
        }
    }

    /// How many rows each table has computed so far.
    #[allow(dead_code, reason = "one of the two tests that share this file asks")]
    pub fn computed(&self) -> BTreeMap<&'static str, u64> {
        self.graph.computed()
    }
}

fn tell<K: Ord + Clone, V>(map: &mut BTreeMap<K, V>, key: &K, value: Option<V>) {
    match value {
        Some(value) => map.insert(key.clone(), value),
        None => map.remove(key),
    };
}

/// The edit that puts an object in.
pub fn put(object: Object) -> Edit {
    (object.id(), Some(object))
}
