//! What everything belongs to that the control plane makes for the mesh: Kubernetes takes it away when the chart goes.
//!
//! The owner is the ClusterRole of those who read Secrets: the chart has it in every installation, an update never makes
//! it anew, and something that isn't of a namespace may own things in all of them.

use super::Cluster;
use crate::source::cluster::rights::READER;
use k8s_openapi::{api::rbac::v1::ClusterRole, apimachinery::pkg::apis::meta::v1::OwnerReference};
use kube::Api;
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// How long an answer is believed: what somebody has made anew has another identity, and what belongs to the one before
/// is taken away.
const FRESH: Duration = Duration::from_secs(5);

/// The owner as it was seen last. Cloning shares it.
#[derive(Clone, Default)]
pub struct Owner(Arc<Mutex<Option<(Instant, OwnerReference)>>>);

impl Owner {
    fn known(&self) -> Option<OwnerReference> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.as_ref().filter(|(at, _)| at.elapsed() < FRESH).map(|(_, owner)| owner.clone())
    }
}

impl Cluster {
    /// Who owns what is made, as metadata has it; nobody where the ClusterRole isn't there, or may not be read.
    pub async fn owners(&self) -> Vec<OwnerReference> {
        match self.owner.known() {
            Some(owner) => vec![owner],
            None => self.find_owner().await.into_iter().collect(),
        }
    }

    async fn find_owner(&self) -> Option<OwnerReference> {
        let (api, name) = (Api::<ClusterRole>::all(self.client.clone()), self.revision.own(READER));
        let found = api.get_metadata(&name).await.inspect_err(|error| {
            tracing::debug!(%error, role = name, "nobody will own what is made");
        });
        let uid = found.ok()?.metadata.uid?;
        let owner = OwnerReference {
            api_version: "rbac.authorization.k8s.io/v1".into(),
            kind: "ClusterRole".into(),
            name,
            uid,
            ..OwnerReference::default()
        };
        *self.owner.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), owner.clone()));
        Some(owner)
    }
}
