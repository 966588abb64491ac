//! Objects from a Kubernetes API server: one watch for each kind that the server has.
//!
//! What the API server says is held to the same door as a file. A list that is read anew is compared with what was
//! known and swapped whole; who reads the inbox sees only what differs. While the API server is away, what was known
//! stays.

mod health;
mod kinds;
mod known;
mod named;
pub mod once;
pub mod rights;

use super::{Changes, Inbox, TellProblems};
use crate::{cluster::Cluster, metrics::Metrics, refused::Refusal};
use api::{Kind, ObjectId, Problem};
use base::{drain::Drain, tasks::Tasks};
use futures::StreamExt;
use health::Health;
use kinds::Presence;
use known::Known;
use kube::{
    Api,
    api::{ApiResource, DynamicObject},
    runtime::{
        WatchStreamExt,
        watcher::{self, Event, watcher},
    },
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::sync::watch;

/// How many objects of a list are in memory at once, as the API server sent them.
const PAGE: u32 = 200;

/// Sees objects as the API server has them, statuses and all, in the order in which they come; what the control plane
/// keeps of them is stripped. Called from the watches' tasks: it should be quick.
pub trait Onlook: Send + Sync + 'static {
    /// An object is there in this form; perhaps it was before.
    fn seen(&self, kind: Kind, object: &DynamicObject);
    /// An object is gone.
    fn gone(&self, id: &ObjectId);
    /// An object is refused at the door, or not any more.
    fn refused(&self, _id: &ObjectId, _refusal: Option<Refusal>) {}
}

/// Whoever wants to see what the watches see.
pub type Onlookers = Vec<Arc<dyn Onlook>>;

/// Watches every kind until the group drains, and by name what is wanted. The inbox is synced when all kinds that there
/// are were read once.
pub fn watch(
    cluster: &Cluster,
    inbox: Inbox,
    tell: TellProblems,
    onlookers: Onlookers,
    wanted: watch::Receiver<Arc<BTreeSet<ObjectId>>>,
    metrics: Metrics,
    tasks: &Tasks,
) {
    let kinds: Vec<Kind> = Kind::ALL.iter().copied().filter(|kind| !is_by_name(*kind)).collect();
    let shared = Arc::new(Shared {
        cluster: cluster.clone(),
        unread: Mutex::new(kinds.iter().copied().collect()),
        inbox,
        problems: Mutex::default(),
        tell: Mutex::new(tell),
        onlookers,
        health: Health::new(metrics),
    });
    let mut presences = BTreeMap::new();
    for kind in kinds {
        let (sender, receiver) = watch::channel(Presence::Unknown);
        presences.insert(kind, sender);
        let follower = Follower { kind, known: Known::new(kind), refused: BTreeSet::new(), shared: shared.clone() };
        tasks.spawn(format!("watch {}", kind.as_str()), |drain| follower.follow(receiver, drain));
    }
    let (by_name, references, group) = (shared.clone(), wanted.clone(), tasks.clone());
    tasks.spawn("watch wanted", |drain| named::follow(by_name, references, group, drain));
    if cluster.bind_secret_reader {
        tasks.spawn("bind rights", |drain| rights::follow(cluster.clone(), wanted, drain));
    }
    let (client, health) = (cluster.client.clone(), shared.clone());
    tasks.spawn("watch kinds", |drain| kinds::follow(client.clone(), presences, drain));
    tasks.spawn("watch health", |drain| async move { health.health.follow(client, drain).await });
}

/// Kinds of which only those objects are read that somebody refers to.
fn is_by_name(kind: Kind) -> bool {
    matches!(kind, Kind::Secret | Kind::ConfigMap)
}

/// What the watches of all kinds share.
struct Shared {
    cluster: Cluster,
    inbox: Inbox,
    /// Kinds that have not been read whole yet.
    unread: Mutex<BTreeSet<Kind>>,
    problems: Mutex<BTreeMap<Kind, Vec<Problem>>>,
    tell: Mutex<TellProblems>,
    onlookers: Onlookers,
    health: Health,
}

impl Shared {
    fn read(&self, kind: Kind) {
        let mut unread = self.unread.lock().unwrap_or_else(PoisonError::into_inner);
        if unread.remove(&kind) && unread.is_empty() {
            self.inbox.synced();
        }
    }

    fn problems(&self, kind: Kind, found: Vec<Problem>) {
        // The lock is held while they are told, so that they are told in order.
        let mut problems = self.problems.lock().unwrap_or_else(PoisonError::into_inner);
        problems.insert(kind, found);
        let all = problems.values().flatten().cloned().collect();
        (self.tell.lock().unwrap_or_else(PoisonError::into_inner))(all);
    }
}

/// Follows one kind.
struct Follower {
    kind: Kind,
    known: Known,
    /// Objects of which the onlookers know that they are refused.
    refused: BTreeSet<ObjectId>,
    shared: Arc<Shared>,
}

impl Follower {
    async fn follow(mut self, mut presence: watch::Receiver<Presence>, mut drain: Drain) {
        loop {
            let now = presence.borrow_and_update().clone();
            let watched = async {
                match now {
                    Presence::Unknown => std::future::pending().await,
                    Presence::Absent => self.absent().await,
                    Presence::Served(resource) => self.watch(&resource).await,
                }
            };
            tokio::select! {
                () = watched => return,
                changed = presence.changed() => if changed.is_err() { return },
                () = drain.drained() => return,
            }
        }
    }

    async fn absent(&mut self) {
        let gone = self.known.absent();
        self.gone(gone.keys());
        self.shared.inbox.put(gone);
        self.tell();
        self.shared.read(self.kind);
        std::future::pending().await
    }

    async fn watch(&mut self, resource: &ApiResource) {
        let api: Api<DynamicObject> = Api::all_with(self.shared.cluster.client.clone(), resource);
        let config = watcher::Config::default().page_size(PAGE);
        let mut events = std::pin::pin!(watcher(api, config).backoff(health::Backoff::default()));
        while let Some(event) = events.next().await {
            match event {
                // That a list begins says nothing yet.
                Ok(Event::Init) => self.known.begin(),
                Ok(event) => {
                    self.shared.health.well(self.kind.as_str());
                    self.known.forbidden(false);
                    self.event(event);
                }
                Err(error) => {
                    if self.shared.health.failed(self.kind.as_str(), &error) {
                        self.known.forbidden(true);
                        self.tell();
                    }
                }
            }
        }
    }

    fn event(&mut self, event: Event<DynamicObject>) {
        let listed = matches!(event, Event::InitDone);
        if let Event::InitApply(object) | Event::Apply(object) = &event
            && self.is_elsewhere(object)
        {
            // It is there, and somebody else's: whoever looks on must not take it to be gone.
            self.shared.onlookers.iter().for_each(|onlooker| onlooker.seen(self.kind, object));
            self.shared.inbox.put(self.known.delete(&object.metadata));
            return self.tell();
        }
        let changes = match event {
            Event::Init => return self.known.begin(),
            Event::InitApply(object) | Event::Apply(object) => {
                self.shared.onlookers.iter().for_each(|onlooker| onlooker.seen(self.kind, &object));
                self.apply(object)
            }
            Event::Delete(object) => self.known.delete(&object.metadata),
            Event::InitDone => self.known.done(),
        };
        self.gone(changes.iter().filter(|(_, object)| object.is_none()).map(|(id, _)| id));
        self.shared.inbox.put(changes);
        self.tell();
        if listed {
            self.shared.read(self.kind);
        }
    }

    fn apply(&mut self, object: DynamicObject) -> Changes {
        let (id, refusal) = (known::id(self.kind, &object.metadata), Refusal::of(self.kind, &object));
        let changes = self.known.apply(object);
        let refusal = self.known.fault(&id).map(|why| refusal.because(why));
        if refusal.is_some() || self.refused.contains(&id) {
            self.refuse(&id, refusal);
        }
        changes
    }

    fn refuse(&mut self, id: &ObjectId, refusal: Option<Refusal>) {
        match refusal.is_some() {
            true => self.refused.insert(id.clone()),
            false => self.refused.remove(id),
        };
        self.shared.onlookers.iter().for_each(|onlooker| onlooker.refused(id, refusal.clone()));
    }

    /// Whether another revision minds it. What hangs on a Gateway goes with that.
    fn is_elsewhere(&self, object: &DynamicObject) -> bool {
        self.kind == Kind::Gateway && !self.shared.cluster.revision.minds(&object.metadata)
    }

    fn gone<'a>(&self, ids: impl Iterator<Item = &'a ObjectId> + Clone) {
        for onlooker in &self.shared.onlookers {
            ids.clone().for_each(|id| onlooker.gone(id));
        }
    }

    fn tell(&mut self) {
        if let Some(problems) = self.known.problems() {
            // Also those that are gone.
            let healed: Vec<ObjectId> =
                self.refused.iter().filter(|id| self.known.fault(id).is_none()).cloned().collect();
            healed.iter().for_each(|id| self.refuse(id, None));
            self.shared.problems(self.kind, problems);
        }
    }
}

/// How long to wait before the next try, and before the API server is asked once more whether it is there.
const LONGEST_WAIT: Duration = Duration::from_secs(5);
