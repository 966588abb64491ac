//! The authority's root in a Secret of the control plane's namespace. Every replica follows it; whoever finds a change
//! due writes it, and the API server lets one of them win.

use super::{Cluster, whole};
use base::drain::Drain;
use ca::{Ca, Kept};
use futures::StreamExt;
use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::{
    Api,
    api::{ObjectMeta, PostParams},
    runtime::{
        WatchStreamExt,
        watcher::{self, Event, watcher},
    },
};
use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

/// The Secret's name.
pub const SECRET: &str = "windlass-ca-secret";
/// The key in it.
const KEY: &str = "root.pem";
/// How often it is looked whether a change is due, and whether the Secret is there.
const PERIOD: Duration = Duration::from_secs(60);
/// Between two tries at the start.
const AGAIN: Duration = Duration::from_secs(1);

/// Reads the root, or makes one; waits for an API server that is away.
///
/// # Errors
/// If there is no root and none can be made.
pub async fn open(cluster: &Cluster, organization: &str) -> Result<Kept, ca::RootError> {
    let mut complained = false;
    loop {
        match read_or_make(cluster, organization).await? {
            Ok(text) => return Ok(Kept::new(format!("Secret {}/{SECRET}", cluster.namespace), text)),
            Err(error) if !std::mem::replace(&mut complained, true) => {
                let error = whole(&error);
                tracing::warn!(error, secret = SECRET, "the authority's root can't be read yet");
            }
            Err(_) => {}
        }
        tokio::time::sleep(AGAIN).await;
    }
}

async fn read_or_make(cluster: &Cluster, organization: &str) -> Result<kube::Result<Vec<u8>>, ca::RootError> {
    let api = secrets(cluster);
    match api.get_opt(SECRET).await {
        Ok(Some(secret)) => return Ok(Ok(text(&secret).unwrap_or_default())),
        Ok(None) => {}
        Err(error) => return Ok(Err(error)),
    }
    let new = ca::new_root(organization, SystemTime::now())?;
    // If another replica was first, its root counts: the next turn reads it.
    Ok(api.create(&PostParams::default(), &secret(None, &new)).await.map(|_| new))
}

/// Follows the Secret and keeps it, until the drain.
pub async fn follow(cluster: Cluster, kept: Kept, ca: Arc<Ca>, mut drain: Drain) {
    tokio::select! {
        () = run(cluster, kept, ca) => {}
        () = drain.drained() => {}
    }
}

async fn run(cluster: Cluster, kept: Kept, ca: Arc<Ca>) {
    let config = watcher::Config::default().fields(&format!("metadata.name={SECRET}"));
    let mut events = std::pin::pin!(watcher(secrets(&cluster), config).default_backoff());
    let (mut version, mut listed) = (None, None);
    let mut ticks = tokio::time::interval(PERIOD);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let gone = tokio::select! {
            Some(event) = events.next() => match event {
                Ok(Event::Init) => { listed = None; continue }
                Ok(Event::InitApply(secret)) => { listed = Some(secret); continue }
                Ok(Event::InitDone) => match listed.take() {
                    Some(secret) => { take(&kept, secret, &mut version); false }
                    None => true,
                },
                Ok(Event::Apply(secret)) => { take(&kept, secret, &mut version); false }
                Ok(Event::Delete(_)) => true,
                Err(error) => { tracing::debug!(%error, "the root's Secret can't be followed"); continue }
            },
            _ = ticks.tick() => false,
        };
        if gone {
            // What is in use is trusted by everybody: it is put back rather than replaced.
            version = None;
            let made = secrets(&cluster).create(&PostParams::default(), &secret(None, &kept.get())).await;
            tracing::warn!(secret = SECRET, again = made.is_ok(), "the root's Secret was deleted; it is made again");
        } else if let Some(version) = version.clone() {
            renew(&cluster, &ca, version).await;
        }
    }
}

fn take(kept: &Kept, secret: Secret, version: &mut Option<String>) {
    *version = secret.metadata.resource_version.clone();
    if let Some(text) = text(&secret) {
        kept.set(text);
    }
}

/// Writes what is due. Who is overtaken sees the other's by the watch.
async fn renew(cluster: &Cluster, ca: &Ca, version: String) {
    match ca.roots().next(SystemTime::now()) {
        Ok(None) => {}
        Ok(Some(next)) => {
            let changed = secret(Some(version), &next);
            match secrets(cluster).replace(SECRET, &PostParams::default(), &changed).await {
                Ok(_) => tracing::info!("the authority has a new root; the old one stays trusted for a while"),
                Err(error) => tracing::info!(%error, "a new root could not be written; it is tried again"),
            }
        }
        Err(error) => tracing::error!(%error, "the authority's root can't be renewed"),
    }
}

fn secrets(cluster: &Cluster) -> Api<Secret> {
    Api::namespaced(cluster.client.clone(), &cluster.namespace)
}

fn text(secret: &Secret) -> Option<Vec<u8>> {
    secret.data.as_ref()?.get(KEY).map(|text| text.0.clone())
}

fn secret(version: Option<String>, text: &[u8]) -> Secret {
    let labels = [("app.kubernetes.io/managed-by".to_owned(), "windlass".to_owned())];
    Secret {
        metadata: ObjectMeta {
            name: Some(SECRET.to_owned()),
            resource_version: version,
            labels: Some(labels.into()),
            ..ObjectMeta::default()
        },
        type_: Some("windlass.io/ca-root".to_owned()),
        data: Some([(KEY.to_owned(), ByteString(text.to_vec()))].into()),
        ..Secret::default()
    }
}
