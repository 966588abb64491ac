//! Names of backends: clusters whose endpoints DNS knows, asked again and again on a thread of their own.

use crate::config::{Cluster, Config, Discovery, Endpoint, Endpoints, Health, Name, Shared};
use futures::{StreamExt, stream};
use rustc_hash::FxHashMap;
use std::{io, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{sync::watch, time::Instant};

/// What DNS said, by cluster.
type Answers = FxHashMap<Name, Answer>;

#[derive(Clone)]
struct Answer {
    /// What was asked.
    asked: Discovery,
    endpoints: Arc<Endpoints>,
    due: Instant,
}

/// What DNS said about clusters, for a worker to read.
#[derive(Clone)]
pub(crate) struct Names(watch::Receiver<Arc<Answers>>);

/// How long one question may take, and how soon it is asked again when it failed.
const PATIENCE: Duration = Duration::from_secs(5);
const AGAIN: Duration = Duration::from_secs(1);
/// Questions at a time.
const AT_ONCE: usize = 32;

impl Names {
    /// Starts to resolve the names of the configuration, as long as anybody reads.
    pub(super) fn start(shared: Shared) -> io::Result<Self> {
        let (sender, receiver) = watch::channel(Arc::default());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        base::tasks::thread("names", move || runtime.block_on(keep(&shared, &sender)))?;
        Ok(Self(receiver))
    }

    /// Nobody is asked, and no name has endpoints.
    pub(crate) fn unasked() -> Self {
        Self(watch::channel(Arc::default()).1)
    }

    /// The endpoints of such a cluster. The first who asks waits for the first answer, as long as for a connection.
    pub(crate) async fn endpoints(&self, cluster: &Cluster) -> Arc<Endpoints> {
        let spec = &cluster.spec;
        let mut answers = self.0.clone();
        let known = |answers: &Arc<Answers>| {
            answers
                .get(&spec.name)
                .filter(|answer| answer.asked == spec.discovery)
                .map(|answer| answer.endpoints.clone())
        };
        if let Some(endpoints) = known(&answers.borrow()) {
            return endpoints;
        }
        let first = tokio::time::timeout(spec.connect_timeout, answers.wait_for(|answers| known(answers).is_some()));
        match first.await {
            Ok(Ok(answers)) => known(&answers).unwrap_or_default(),
            _ => Arc::default(),
        }
    }
}

async fn keep(shared: &Shared, sender: &watch::Sender<Arc<Answers>>) {
    let mut changes = shared.changes();
    loop {
        // Seen before it is read: a change in between wakes us at once.
        changes.borrow_and_update();
        let old = sender.borrow().clone();
        let new = refresh(&shared.load(), &old).await;
        let due = new.values().map(|answer| answer.due).min();
        sender.send_replace(Arc::new(new));
        tokio::select! {
            () = sender.closed() => return,
            changed = changes.changed() => if changed.is_err() { return },
            () = sleep_until(due) => {}
        }
    }
}

async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

/// Asks what is due; an answer that can't be had leaves the one before.
async fn refresh(config: &Config, old: &Answers) -> Answers {
    let now = Instant::now();
    let clusters = config.clusters.values().filter(|cluster| matches!(cluster.spec.discovery, Discovery::Dns { .. }));
    let answers = clusters.map(|cluster| async move {
        let spec = &cluster.spec;
        let old = old.get(&spec.name).filter(|old| old.asked == spec.discovery);
        let answer = match old {
            Some(old) if old.due > now => old.clone(),
            old => ask(&spec.name, &spec.discovery, old).await,
        };
        (spec.name.clone(), answer)
    });
    stream::iter(answers).buffer_unordered(AT_ONCE).collect().await
}

async fn ask(cluster: &Name, asked: &Discovery, old: Option<&Answer>) -> Answer {
    let Discovery::Dns { hosts, refresh, all } = asked else {
        return Answer { asked: asked.clone(), endpoints: Arc::default(), due: Instant::now() };
    };
    let mut addresses = Vec::new();
    let mut failed = false;
    for (host, port) in hosts {
        match lookup(host, *port).await {
            Ok(mut found) => {
                found.truncate(if *all { usize::MAX } else { 1 });
                addresses.extend(found);
            }
            Err(error) => {
                failed = true;
                tracing::warn!(%cluster, name = %host, %error, "a backend's name does not resolve");
            }
        }
    }
    let due = Instant::now() + if failed { AGAIN.min(*refresh) } else { *refresh };
    let old = old.map(|old| &old.endpoints);
    let endpoints = match old {
        Some(old) if failed => old.clone(),
        old => {
            let new = Endpoints { list: addresses.into_iter().map(endpoint).collect() };
            // The same answer is the same value: nothing is rebuilt.
            old.filter(|old| ***old == new).cloned().unwrap_or_else(|| Arc::new(new))
        }
    };
    Answer { asked: asked.clone(), endpoints, due }
}

/// The addresses of a name, sorted; IPv4 if there are any.
async fn lookup(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let found = tokio::time::timeout(PATIENCE, tokio::net::lookup_host((host, port))).await??;
    let mut found: Vec<SocketAddr> = found.collect();
    if found.iter().any(SocketAddr::is_ipv4) {
        found.retain(SocketAddr::is_ipv4);
    }
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

fn endpoint(address: SocketAddr) -> Endpoint {
    let health = Health::Healthy;
    Endpoint { address, health, weight: 1, priority: 0, locality_weight: None, locality: None }
}
