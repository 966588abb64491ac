//! What the proxies of other replicas acknowledged: each replica tells it in a Lease of its own, and hears the others.
//!
//! A proxy speaks to one replica, and the one that writes statuses may be another. What is told is small and changes
//! seldom: up to which generation of a Gateway its proxies have everything, and what they refuse. Routes don't change it.

use crate::{
    cluster::Cluster,
    status::{Board, Word},
};
use base::drain::Drain;
use futures::StreamExt;
use k8s_openapi::{api::coordination::v1::Lease, jiff::Timestamp};
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams},
    runtime::{
        WatchStreamExt,
        watcher::{self, Event, watcher},
    },
};
use serde_json::json;
use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

/// What their names begin with.
pub const PREFIX: &str = "windlass-replica-";
/// Label of these Leases: the revision, for those of another have other Gateways.
const LABEL: &str = "windlass.io/replica";
/// Annotation with the words, by Gateway.
const WORDS: &str = "windlass.io/acknowledged";
/// Who has said nothing for so long is gone,
const TERM: Duration = Duration::from_secs(30);
/// and after this so is what it said.
const LEFT: Duration = Duration::from_secs(600);
/// Between two words without news, and at least between two.
const RENEW: Duration = Duration::from_secs(10);
const LEAST: Duration = Duration::from_millis(250);

type Words = BTreeMap<String, Word>;

/// Tells and hears until the tasks drain.
pub async fn run(cluster: Cluster, board: Board, mut drain: Drain) {
    let api: Api<Lease> = Api::namespaced(cluster.client.clone(), &cluster.namespace);
    let mut peers = Peers { own: cluster.pod.to_string(), heard: BTreeMap::new() };
    let config = watcher::Config::default().labels(&format!("{LABEL}={}", cluster.revision));
    let mut events = watcher(api.clone(), config).default_backoff().boxed();
    let (mut changes, mut told) = (board.changes(), Told::default());
    loop {
        let words = board.words();
        if told.is_due(&words) {
            match tokio::time::timeout(RENEW, tell(&api, &cluster, &words)).await {
                Ok(Ok(())) => told.now(Some(words.clone())),
                Ok(Err(error)) => {
                    tracing::debug!(%error, "other replicas can't be told what proxies acknowledged");
                    told.now(None);
                }
                Err(_) => told.now(None),
            }
        }
        board.hear(peers.words());
        // What they are by now is looked at when the board says that something has changed.
        let wait = told.wait(&words);
        tokio::select! {
            _ = changes.changed() => {}
            Some(event) = events.next() => peers.heard(event),
            () = tokio::time::sleep(wait) => peers.tidy(&api).await,
            () = drain.drained() => break,
        }
    }
    // Others needn't wait for the term to end.
    let name = name(&cluster.pod);
    let _ = tokio::time::timeout(Duration::from_secs(2), api.delete(&name, &DeleteParams::default())).await;
}

fn name(pod: &str) -> String {
    format!("{PREFIX}{pod}")
}

async fn tell(api: &Api<Lease>, cluster: &Cluster, words: &Words) -> Result<(), kube::Error> {
    let pod = &*cluster.pod;
    let lease = json!({
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {
            "name": name(pod),
            "labels": {LABEL: cluster.revision.to_string()},
            "ownerReferences": cluster.owners().await,
            "annotations": {WORDS: serde_json::to_string(words).unwrap_or_default()},
        },
        "spec": {
            "holderIdentity": pod,
            "leaseDurationSeconds": TERM.as_secs(),
            "renewTime": Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string(),
        },
    });
    let parameters = PatchParams::apply("windlass-control").force();
    api.patch(&name(pod), &parameters, &Patch::Apply(lease)).await.map(drop)
}

/// What was told last, and when it was tried.
#[derive(Default)]
struct Told {
    words: Option<Words>,
    tried: Option<Instant>,
}

impl Told {
    fn now(&mut self, words: Option<Words>) {
        (self.words, self.tried) = (words, Some(Instant::now()));
    }

    /// How long until something is to be told.
    fn wait(&self, words: &Words) -> Duration {
        let Some(tried) = self.tried else { return Duration::ZERO };
        let pause = match &self.words {
            None => Duration::from_secs(1),
            Some(told) if told == words => RENEW,
            Some(_) => LEAST,
        };
        pause.saturating_sub(tried.elapsed())
    }

    fn is_due(&self, words: &Words) -> bool {
        self.wait(words).is_zero()
    }
}

/// The other replicas.
struct Peers {
    own: String,
    /// When each said something last, and what.
    heard: BTreeMap<String, (Instant, Arc<Words>)>,
}

impl Peers {
    fn heard(&mut self, event: Result<Event<Lease>, watcher::Error>) {
        match event {
            Ok(Event::Apply(lease) | Event::InitApply(lease)) => self.one(&lease),
            Ok(Event::Delete(lease)) => {
                self.heard.remove(&holder(&lease));
            }
            Ok(Event::Init | Event::InitDone) => {}
            Err(error) => tracing::debug!(%error, "other replicas can't be heard"),
        }
    }

    fn one(&mut self, lease: &Lease) {
        let pod = holder(lease);
        let annotations = lease.metadata.annotations.as_ref();
        let text = annotations.and_then(|annotations| annotations.get(WORDS)).map(String::as_str);
        let words = text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
        if pod != self.own && !pod.is_empty() {
            self.heard.insert(pod, (Instant::now(), Arc::new(words)));
        }
    }

    /// What those who are there say.
    fn words(&self) -> BTreeMap<String, Arc<Words>> {
        let there = self.heard.iter().filter(|(_, (at, _))| at.elapsed() < TERM);
        there.map(|(pod, (_, words))| (pod.clone(), words.clone())).collect()
    }

    /// Removes what replicas have left that ended without a word.
    async fn tidy(&mut self, api: &Api<Lease>) {
        let left: Vec<String> =
            self.heard.iter().filter(|(_, (at, _))| at.elapsed() > LEFT).map(|(pod, _)| pod.clone()).collect();
        for pod in left {
            self.heard.remove(&pod);
            if let Err(error) = api.delete(&name(&pod), &DeleteParams::default()).await {
                tracing::debug!(%error, pod, "the Lease of a replica that is gone can't be deleted");
            }
        }
    }
}

fn holder(lease: &Lease) -> String {
    lease.spec.as_ref().and_then(|spec| spec.holder_identity.clone()).unwrap_or_default()
}
