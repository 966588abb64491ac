//! Objects that are read by name, because something refers to them: a watch for each, for as long as it is wanted.

use super::{Shared, health::Backoff, health::is_forbidden, known::Known};
use crate::source::Answer;
use api::{Kind, ObjectId};
use base::{
    drain::{self, Drain, Drainer},
    tasks::Tasks,
};
use futures::StreamExt;
use kube::{
    Api,
    api::{ApiResource, DynamicObject, GroupVersionKind},
    runtime::{
        WatchStreamExt,
        watcher::{self, Event, watcher},
    },
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{sync::watch, task::JoinHandle};

/// The first wait and the longest between tries.
const WAITS: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));
/// How long a right that was just granted takes to hold, before it is said to be missing.
const GRANTED: Duration = Duration::from_secs(2);

/// Starts and ends watches as objects are wanted.
pub(super) async fn follow(
    shared: Arc<Shared>,
    mut wanted: watch::Receiver<Arc<BTreeSet<ObjectId>>>,
    tasks: Tasks,
    mut drain: Drain,
) {
    let mut running: BTreeMap<ObjectId, (Drainer, JoinHandle<()>)> = BTreeMap::new();
    let mut ending: BTreeMap<ObjectId, JoinHandle<()>> = BTreeMap::new();
    loop {
        let now = wanted.borrow_and_update().clone();
        ending.retain(|_, ended| !ended.is_finished());
        let over: Vec<ObjectId> = running.keys().filter(|id| !now.contains(*id)).cloned().collect();
        for (id, (drainer, task)) in over.into_iter().filter_map(|id| running.remove_entry(&id)) {
            drainer.drain();
            ending.insert(id, task);
        }
        for id in now.iter().filter(|id| Kind::find("", &id.kind).is_some()) {
            if running.contains_key(id) {
                continue;
            }
            let (drainer, unwanted) = drain::channel();
            let (before, named) = (ending.remove(id), Named::new(id.clone(), shared.clone()));
            let task = tasks.spawn(format!("watch {id}"), |drain| named.follow(before, unwanted, drain));
            running.insert(id.clone(), (drainer, task));
        }
        tokio::select! {
            changed = wanted.changed() => if changed.is_err() { return },
            () = drain.drained() => return,
        }
    }
}

/// One object.
struct Named {
    id: ObjectId,
    kind: Kind,
    known: Known,
    began: Instant,
    /// What was said last.
    told: Option<Answer>,
    shared: Arc<Shared>,
}

impl Named {
    fn new(id: ObjectId, shared: Arc<Shared>) -> Self {
        let kind = Kind::find("", &id.kind).unwrap_or(Kind::Secret);
        Self { id, kind, known: Known::new(kind), began: Instant::now(), told: None, shared }
    }

    /// `before` is an earlier watch of the same object that is ending: its last word must come before our first.
    async fn follow(mut self, before: Option<JoinHandle<()>>, mut unwanted: Drain, mut drain: Drain) {
        if let Some(before) = before {
            // How it ended doesn't matter, only that it has.
            let _ = before.await;
        }
        tokio::select! {
            biased;
            // First: when all ends, whoever might say "unwanted" is gone as well, which looks the same. A Secret that is
            // then told to be absent takes its listener away from proxies that are still connected.
            () = drain.drained() => {}
            () = unwanted.drained() => self.tell(Answer::Absent),
            () = self.watch() => {}
        }
    }

    async fn watch(&mut self) {
        let gvk = GroupVersionKind::gvk(self.kind.group(), self.kind.versions()[0], self.kind.as_str());
        let (client, resource) = (self.shared.cluster.client.clone(), ApiResource::from_gvk(&gvk));
        let api: Api<DynamicObject> = Api::namespaced_with(client, &self.id.namespace, &resource);
        let config = watcher::Config::default().fields(&format!("metadata.name={}", self.id.name));
        let mut events = std::pin::pin!(watcher(api, config).backoff(Backoff::new(WAITS)));
        while let Some(event) = events.next().await {
            match event {
                Ok(event) => self.event(event),
                Err(error) if is_forbidden(&error) => self.forbidden(),
                Err(error) => {
                    self.shared.health.failed(&self.id.kind, &error);
                }
            }
        }
    }

    fn event(&mut self, event: Event<DynamicObject>) {
        let changes = match event {
            Event::Init => return self.known.begin(),
            Event::InitApply(object) => return drop(self.known.apply(object)),
            Event::Apply(object) => self.known.apply(object),
            Event::Delete(object) => self.known.delete(&object.metadata),
            Event::InitDone => self.known.done(),
        };
        let problems = self.known.problems();
        match changes.into_values().next() {
            Some(Some(object)) => self.tell(Answer::Found(object)),
            Some(None) => self.tell(Answer::Absent),
            // It is as it was, unless the door refuses it.
            None => match problems.unwrap_or_default().first() {
                Some(problem) if self.known.is_empty() => {
                    self.tell(Answer::Unreadable(problem.what()));
                }
                Some(_) => {}
                None if self.known.is_empty() => self.tell(Answer::Absent),
                None => {}
            },
        }
    }

    /// What is known stays in use, as when the API server is away.
    fn forbidden(&mut self) {
        if self.known.is_empty() && self.began.elapsed() > GRANTED {
            let (account, namespace) = (self.shared.cluster.account(), &self.id.namespace);
            let plural = format!("{}s", self.id.kind.to_ascii_lowercase());
            self.tell(Answer::Unreadable(format!(
                "service account {account} may not get, list and watch {plural} in namespace {namespace}; \
                 wanted a RoleBinding to a Role that lets it"
            )));
        }
    }

    fn tell(&mut self, answer: Answer) {
        if self.told.as_ref() != Some(&answer) {
            self.told = Some(answer.clone());
            self.shared.inbox.answer(self.id.clone(), answer);
        }
    }
}
