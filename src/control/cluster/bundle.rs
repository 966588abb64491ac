//! The trust bundle in every namespace, as ConfigMap `istio-ca-root-cert`: pods mount it to know the control plane by.
//!
//! Every replica does it: what is as it should be is left alone, and two that write the same at once write the same.

use super::Cluster;
use base::drain::Drain;
use ca::Ca;
use futures::{StreamExt, stream};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::{
    Api,
    api::{PartialObjectMeta, Patch, PatchParams},
    runtime::{
        WatchStreamExt,
        watcher::{self, Event, watcher},
    },
};
use serde_json::json;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

/// The ConfigMap's name.
pub const CONFIG_MAP: &str = "istio-ca-root-cert";
/// Who writes it, as its managed fields say.
pub const MANAGER: &str = "windlass-ca";
/// The key in it.
const KEY: &str = "root-cert.pem";
/// How often the bundle is looked at; and who rewrites a ConfigMap again and again is answered no more often.
const PERIOD: Duration = Duration::from_secs(1);
/// After a write that failed.
const AGAIN: Duration = Duration::from_secs(5);

/// Keeps the ConfigMaps, until the drain.
pub async fn follow(cluster: Cluster, ca: Arc<Ca>, mut drain: Drain) {
    tokio::select! {
        () = run(cluster, ca) => {}
        () = drain.drained() => {}
    }
}

/// What is there.
#[derive(Default)]
struct There {
    namespaces: BTreeSet<String>,
    /// What each namespace's ConfigMap holds.
    bundles: BTreeMap<String, Option<String>>,
    /// Namespaces and ConfigMaps of a list that is being read.
    listed: (BTreeSet<String>, BTreeMap<String, Option<String>>),
    read: (bool, bool),
    /// Not before then.
    wait: BTreeMap<String, Instant>,
}

enum Seen {
    Namespace(watcher::Result<Event<PartialObjectMeta<Namespace>>>),
    ConfigMap(watcher::Result<Event<ConfigMap>>),
}

async fn run(cluster: Cluster, ca: Arc<Ca>) {
    let namespaces: Api<PartialObjectMeta<Namespace>> = Api::all(cluster.client.clone());
    let namespaces = watcher(namespaces, watcher::Config::default()).default_backoff().map(Seen::Namespace);
    let config = watcher::Config::default().fields(&format!("metadata.name={CONFIG_MAP}"));
    let maps: Api<ConfigMap> = Api::all(cluster.client.clone());
    let maps = watcher(maps, config).default_backoff().map(Seen::ConfigMap);
    let mut events = std::pin::pin!(stream::select(namespaces, maps));
    let mut ticks = tokio::time::interval(PERIOD);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut there = There::default();
    loop {
        tokio::select! {
            Some(event) = events.next() => match event {
                Seen::Namespace(Ok(event)) => there.namespace(event),
                Seen::ConfigMap(Ok(event)) => there.config_map(event),
                Seen::Namespace(Err(error)) | Seen::ConfigMap(Err(error)) => {
                    tracing::debug!(%error, "namespaces or their trust bundles can't be followed");
                }
            },
            _ = ticks.tick() => {}
        }
        if there.read == (true, true) {
            there.write(&cluster, ca.roots().authority().roots_pem()).await;
        }
    }
}

impl There {
    fn namespace(&mut self, event: Event<PartialObjectMeta<Namespace>>) {
        match event {
            Event::Init => self.listed.0.clear(),
            Event::InitApply(object) => {
                if object.metadata.deletion_timestamp.is_none() {
                    self.listed.0.extend(object.metadata.name);
                }
            }
            Event::InitDone => {
                self.namespaces = std::mem::take(&mut self.listed.0);
                self.read.0 = true;
            }
            Event::Apply(object) if object.metadata.deletion_timestamp.is_none() => {
                self.namespaces.extend(object.metadata.name);
            }
            // One that is being deleted takes nothing new.
            Event::Apply(object) | Event::Delete(object) => {
                self.namespaces.remove(&object.metadata.name.unwrap_or_default());
            }
        }
    }

    fn config_map(&mut self, event: Event<ConfigMap>) {
        let entry = |map: ConfigMap| {
            let bundle = map.data.and_then(|mut data| data.remove(KEY));
            (map.metadata.namespace.unwrap_or_default(), bundle)
        };
        match event {
            Event::Init => self.listed.1.clear(),
            Event::InitApply(map) => self.listed.1.extend([entry(map)]),
            Event::InitDone => {
                self.bundles = std::mem::take(&mut self.listed.1);
                self.read.1 = true;
            }
            Event::Apply(map) => self.bundles.extend([entry(map)]),
            Event::Delete(map) => {
                self.bundles.remove(&map.metadata.namespace.unwrap_or_default());
            }
        }
    }

    /// Writes where something else stands, or nothing.
    async fn write(&mut self, cluster: &Cluster, bundle: &str) {
        let now = Instant::now();
        self.wait.retain(|_, until| now < *until);
        let stale = self.namespaces.iter().filter(|namespace| {
            let held = self.bundles.get(*namespace).and_then(Option::as_deref);
            held != Some(bundle) && !self.wait.contains_key(*namespace)
        });
        for namespace in stale.cloned().collect::<Vec<_>>() {
            let pause = match apply(cluster, &namespace, bundle).await {
                Ok(()) => PERIOD,
                Err(error) => {
                    tracing::info!(%error, namespace, "the trust bundle can't be written; it is tried again");
                    AGAIN
                }
            };
            self.wait.insert(namespace, Instant::now() + pause);
        }
    }
}

async fn apply(cluster: &Cluster, namespace: &str, bundle: &str) -> kube::Result<()> {
    let map = json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": CONFIG_MAP,
            "labels": {"istio.io/config": "true"},
            "ownerReferences": cluster.owners().await,
        },
        "data": {KEY: bundle},
    });
    let api: Api<ConfigMap> = Api::namespaced(cluster.client.clone(), namespace);
    api.patch(CONFIG_MAP, &PatchParams::apply(MANAGER).force(), &Patch::Apply(map)).await.map(drop)
}
