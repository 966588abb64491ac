//! The right to read Secrets, namespace by namespace: a RoleBinding where a Secret is referred to by somebody who may,
//! and none where no one does.
//!
//! The binding has one fixed name, so that the chart can grant its deletion by that name and no other.

use super::health::Backoff;
use crate::cluster::Cluster;
use api::{Kind, ObjectId};
use base::drain::Drain;
use k8s_openapi::api::rbac::v1::{RoleBinding, RoleRef, Subject};
use kube::{
    Api,
    api::{DeleteParams, ListParams, ObjectMeta, PostParams, Preconditions},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::watch;

/// The ClusterRole that lets its holder read Secrets, one for each revision. The chart makes it and binds it to nobody.
pub const READER: &str = "windlass-secret-reader";
/// The labels of our bindings.
pub const LABELS: [(&str, &str); 2] =
    [("app.kubernetes.io/managed-by", "windlass"), ("app.kubernetes.io/component", "secret-reader")];
/// How long a binding outlives the last reference.
const GRACE: Duration = Duration::from_secs(10);
/// How often all bindings are compared with what they should be.
const PERIOD: Duration = Duration::from_secs(60);

/// Keeps the bindings as they should be, until the drain.
pub(super) async fn follow(cluster: Cluster, wanted: watch::Receiver<Arc<BTreeSet<ObjectId>>>, mut drain: Drain) {
    let mut rights = Rights { cluster, bound: BTreeMap::new(), unused: BTreeMap::new(), complained: false };
    tokio::select! {
        () = rights.run(wanted) => {}
        () = drain.drained() => {}
    }
}

/// The name of our bindings.
pub fn binding_name(cluster: &Cluster) -> String {
    format!("{}.{}.{}", cluster.revision.own(READER), cluster.namespace, cluster.service_account)
}

struct Rights {
    cluster: Cluster,
    /// The namespaces that have a binding of ours, with its identity.
    bound: BTreeMap<String, Option<String>>,
    /// Namespaces where nothing is referred to any more, since when.
    unused: BTreeMap<String, Instant>,
    complained: bool,
}

impl Rights {
    async fn run(&mut self, mut wanted: watch::Receiver<Arc<BTreeSet<ObjectId>>>) {
        let mut wait = Backoff::default();
        let mut next_look = Instant::now();
        loop {
            let now = wanted.borrow_and_update().clone();
            let secrets = now.iter().filter(|id| &*id.kind == Kind::Secret.as_str());
            let namespaces: BTreeSet<String> = secrets.map(|id| id.namespace.to_string()).collect();
            let done = self.turn(&namespaces, Instant::now() >= next_look).await;
            let pause = match &done {
                Ok(()) => {
                    wait = Backoff::default();
                    next_look = Instant::now() + PERIOD;
                    self.complained = false;
                    if self.unused.is_empty() { PERIOD } else { GRACE }
                }
                Err(error) => {
                    if !std::mem::replace(&mut self.complained, true) {
                        tracing::warn!(%error, role = READER, "the right to read Secrets can't be bound or given back");
                    }
                    wait.next().unwrap_or(GRACE)
                }
            };
            tokio::select! {
                changed = wanted.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    async fn turn(&mut self, namespaces: &BTreeSet<String>, look: bool) -> kube::Result<()> {
        // New references first: somebody waits for them.
        let mut failed = None;
        for namespace in
            namespaces.iter().filter(|namespace| !self.bound.contains_key(*namespace)).cloned().collect::<Vec<_>>()
        {
            // One namespace that is being deleted must not keep the others waiting.
            match self.bind(&namespace).await {
                Ok(uid) => _ = self.bound.insert(namespace, uid),
                Err(error) => failed = Some(error),
            }
        }
        if look {
            self.bound = self.list().await?;
        }
        let now = Instant::now();
        self.unused.retain(|namespace, _| !namespaces.contains(namespace));
        for namespace in self.bound.keys().filter(|namespace| !namespaces.contains(*namespace)) {
            self.unused.entry(namespace.clone()).or_insert(now);
        }
        let over: Vec<String> = self
            .unused
            .iter()
            .filter(|(_, since)| now.duration_since(**since) >= GRACE)
            .map(|(name, _)| name.clone())
            .collect();
        for namespace in over {
            self.unbind(&namespace).await?;
            self.unused.remove(&namespace);
        }
        failed.map_or(Ok(()), Err)
    }

    async fn bind(&self, namespace: &str) -> kube::Result<Option<String>> {
        let api: Api<RoleBinding> = Api::namespaced(self.cluster.client.clone(), namespace);
        match api.create(&PostParams::default(), &self.binding().await).await {
            Ok(made) => {
                tracing::info!(namespace, "bound the right to read Secrets");
                Ok(made.metadata.uid)
            }
            // Another replica was first.
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn unbind(&mut self, namespace: &str) -> kube::Result<()> {
        let uid = self.bound.remove(namespace).flatten();
        let preconditions = uid.map(|uid| Preconditions { uid: Some(uid), resource_version: None });
        let parameters = DeleteParams { preconditions, ..DeleteParams::default() };
        let api: Api<RoleBinding> = Api::namespaced(self.cluster.client.clone(), namespace);
        match api.delete(&binding_name(&self.cluster), &parameters).await {
            Ok(_) => tracing::info!(namespace, "gave back the right to read Secrets"),
            // Another replica was first, or somebody has put another in its place: the next look tells.
            Err(kube::Error::Api(status)) if [404, 409].contains(&status.code) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// The bindings of ours that there are, those of an earlier life included.
    async fn list(&self) -> kube::Result<BTreeMap<String, Option<String>>> {
        let api: Api<RoleBinding> = Api::all(self.cluster.client.clone());
        let parameters = ListParams::default().fields(&format!("metadata.name={}", binding_name(&self.cluster)));
        let found = api.list(&parameters).await?.items.into_iter().map(|binding| binding.metadata);
        Ok(found.filter_map(|metadata| Some((metadata.namespace?, metadata.uid))).collect())
    }

    async fn binding(&self) -> RoleBinding {
        RoleBinding {
            metadata: ObjectMeta {
                name: Some(binding_name(&self.cluster)),
                labels: Some(LABELS.map(|(name, value)| (name.to_owned(), value.to_owned())).into()),
                owner_references: Some(self.cluster.owners().await),
                ..ObjectMeta::default()
            },
            role_ref: RoleRef {
                api_group: Some("rbac.authorization.k8s.io".to_owned()),
                kind: "ClusterRole".to_owned(),
                name: self.cluster.revision.own(READER),
            },
            subjects: Some(vec![Subject {
                kind: "ServiceAccount".to_owned(),
                name: self.cluster.service_account.to_string(),
                namespace: Some(self.cluster.namespace.to_string()),
                ..Subject::default()
            }]),
        }
    }
}
