//! Who does what only one replica may do: the holder of a Lease.
//!
//! Times are our own: what a Lease says of when it was renewed is only compared with what it said before, so clocks of
//! machines may differ. A leader stops by itself before anybody else can take over.

use crate::cluster::Cluster;
use base::drain::Drain;
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
    jiff::Timestamp,
};
use kube::{Api, api::PostParams};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::watch;

/// The Lease's name; each revision has its own.
pub const NAME: &str = "windlass-leader";
/// Who hasn't renewed it for so long has lost it,
const TERM: Duration = Duration::from_secs(15);
/// and knows it before everybody else does.
const SURE: Duration = Duration::from_secs(10);
/// Between two looks.
const LOOK: Duration = Duration::from_secs(2);

/// What a Lease says: who holds it, and something that changes whenever it is renewed.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Record {
    holder: String,
    renewed: String,
    term: Duration,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    /// There is no Lease.
    Create,
    /// It is ours, or nobody's any more.
    Hold,
    /// It is somebody else's.
    Wait,
}

/// One candidate; no I/O.
struct Election {
    name: Arc<str>,
    /// What was seen last, and since when.
    seen: Option<(Record, Instant)>,
    /// When we last renewed it, as of before the call.
    held: Option<Instant>,
}

impl Election {
    fn new(name: Arc<str>) -> Self {
        Self { name, seen: None, held: None }
    }

    fn see(&mut self, record: Option<Record>, now: Instant) -> Act {
        let Some(record) = record else { return Act::Create };
        let is_ours = record.holder == *self.name;
        let is_free = record.holder.is_empty();
        let since = match &self.seen {
            Some((known, since)) if *known == record => *since,
            _ => now,
        };
        let is_over = now.duration_since(since) > record.term;
        self.seen = Some((record, since));
        if is_ours || is_free || is_over {
            return Act::Hold;
        }
        self.held = None;
        Act::Wait
    }

    /// We hold it, by a call that began then.
    fn held(&mut self, at: Instant) {
        self.held = Some(at);
    }

    fn is_leader(&self, now: Instant) -> bool {
        self.held.is_some_and(|at| now.duration_since(at) < SURE)
    }
}

/// Stands for election until the tasks drain, and then lets go.
pub async fn run(cluster: Cluster, leads: watch::Sender<bool>, mut drain: Drain) {
    let api: Api<Lease> = Api::namespaced(cluster.client.clone(), &cluster.namespace);
    let mut election = Election::new(cluster.pod.clone());
    let lease = cluster.revision.own(NAME);
    loop {
        let tried = tokio::time::timeout(LOOK * 2, round(&cluster, &api, &lease, &mut election)).await;
        match tried {
            Ok(Ok(())) => {}
            // Somebody else was faster.
            Ok(Err(kube::Error::Api(status))) if status.code == 409 => {}
            Ok(Err(error)) => tracing::warn!(%error, "the Lease can't be read or written"),
            Err(_) => tracing::warn!("the API server doesn't answer for the Lease"),
        }
        let is_leader = election.is_leader(Instant::now());
        let changed = leads.send_if_modified(|leads| std::mem::replace(leads, is_leader) != is_leader);
        if changed {
            tracing::info!(leads = is_leader, pod = &*cluster.pod, "leadership changed");
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            () = drain.drained() => break,
        }
    }
    leads.send_replace(false);
    if election.is_leader(Instant::now()) {
        // Nobody has to wait for the term to end; if this fails they do.
        let _ = tokio::time::timeout(LOOK, release(&api, &lease, &election)).await;
    }
}

async fn round(cluster: &Cluster, api: &Api<Lease>, name: &str, election: &mut Election) -> Result<(), kube::Error> {
    let now = Instant::now();
    let lease = api.get_opt(name).await?;
    match election.see(lease.as_ref().map(record), now) {
        Act::Wait => return Ok(()),
        Act::Create => {
            let owner_references = Some(cluster.owners().await);
            let metadata = ObjectMeta { name: Some(name.into()), owner_references, ..ObjectMeta::default() };
            let lease = Lease { metadata, spec: Some(spec(None, &election.name)) };
            api.create(&PostParams::default(), &lease).await?;
        }
        Act::Hold => {
            let Some(mut lease) = lease else { return Ok(()) };
            lease.spec = Some(spec(lease.spec.take(), &election.name));
            // The resourceVersion that was read goes along: of two who take it one fails.
            api.replace(name, &PostParams::default(), &lease).await?;
        }
    }
    election.held(now);
    Ok(())
}

async fn release(api: &Api<Lease>, name: &str, election: &Election) -> Result<(), kube::Error> {
    let mut lease = api.get(name).await?;
    if let Some(spec) = lease.spec.as_mut().filter(|spec| spec.holder_identity.as_deref() == Some(&*election.name)) {
        spec.holder_identity = None;
        api.replace(name, &PostParams::default(), &lease).await?;
    }
    Ok(())
}

fn record(lease: &Lease) -> Record {
    let spec = lease.spec.clone().unwrap_or_default();
    let term = spec.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok()).map(Duration::from_secs);
    Record {
        holder: spec.holder_identity.unwrap_or_default(),
        renewed: spec.renew_time.map(|time| time.0.to_string()).unwrap_or_default(),
        term: term.unwrap_or(TERM),
    }
}

fn spec(before: Option<LeaseSpec>, name: &str) -> LeaseSpec {
    let before = before.unwrap_or_default();
    let is_new = before.holder_identity.as_deref() != Some(name);
    let now = MicroTime(Timestamp::now());
    LeaseSpec {
        holder_identity: Some(name.to_owned()),
        acquire_time: before.acquire_time.clone().filter(|_| !is_new).or_else(|| Some(now.clone())),
        renew_time: Some(now),
        lease_duration_seconds: i32::try_from(TERM.as_secs()).ok(),
        lease_transitions: Some(before.lease_transitions.unwrap_or_default() + i32::from(is_new)),
        ..before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(holder: &str, renewed: &str) -> Option<Record> {
        Some(Record { holder: holder.into(), renewed: renewed.into(), term: TERM })
    }

    #[test]
    fn one_leads_until_it_is_silent() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut b = Election::new("b".into());
        assert_eq!(b.see(None, at(0)), Act::Create);
        assert!(!b.is_leader(at(0)));
        // Another was faster, and renews.
        for (second, renewed) in [(1, "1"), (11, "2"), (21, "3")] {
            assert_eq!(b.see(record("a", renewed), at(second)), Act::Wait);
        }
        assert_eq!(b.see(record("a", "3"), at(36)), Act::Wait);
        assert_eq!(b.see(record("a", "3"), at(37)), Act::Hold);
        b.held(at(37));
        assert!(b.is_leader(at(38)));
        assert_eq!(b.see(record("b", "4"), at(39)), Act::Hold);
        // It can't renew: it stops before 37 + 15.
        assert!(!b.is_leader(at(47)));
        assert_eq!(b.see(record("c", "5"), at(53)), Act::Wait);
        assert!(!b.is_leader(at(53)));
        // Who lets go is followed at once.
        assert_eq!(b.see(record("", "5"), at(54)), Act::Hold);
    }
}
