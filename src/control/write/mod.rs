//! Statuses into the cluster: only differences, only what is ours, each object at most once a second.

mod difference;
mod elsewhere;
mod seen;
pub(crate) mod show;

use difference::{Around, Difference, difference};
pub use seen::{Seen, Standing};

use crate::{pace::Pace, status::Board};
use api::{Kind, ObjectId};
use futures::{StreamExt, stream::FuturesUnordered};
use k8s_openapi::jiff::{Timestamp, fmt::strtime};
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams},
};
use serde_json::{Map, Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::watch;

/// Writes that are under way at once.
const AT_ONCE: usize = 16;
/// How long `Programmed` stays True while proxies are behind: then it says so.
const PATIENCE: Duration = Duration::from_secs(60);
/// Who we are to the API server.
pub const MANAGER: &str = "windlass.io/gateway-controller";

/// Writes statuses. Only one replica may.
pub struct Writer {
    /// Speaks to the API server.
    pub client: Client,
    /// What is to be said.
    pub board: Board,
    /// What stands there.
    pub seen: Seen,
    /// Controllers in whose names we write.
    pub controllers: Arc<BTreeSet<Arc<str>>>,
}

/// What a write came to.
type Written = (ObjectId, Result<(), kube::Error>);

impl Writer {
    /// Writes until we lead no more.
    pub async fn lead(&self, leads: &mut watch::Receiver<bool>) {
        let (mut changes, mut standing) = (self.board.changes(), self.seen.changes());
        let mut state = State::default();
        let mut writes = FuturesUnordered::new();
        if !self.board.is_decided() {
            tokio::select! {
                () = self.board.decided() => {}
                _ = leads.wait_for(|leads| !leads) => return,
            }
        }
        // What changed before is among all.
        self.board.take_dirty();
        self.look(&mut state, self.seen.all());
        loop {
            let now = Instant::now();
            while writes.len() < AT_ONCE
                && let Some(id) = state.pace.next(now)
            {
                writes.extend(self.write(&mut state, id));
            }
            let wake = state.wake();
            let sleep = async {
                match wake {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                _ = leads.wait_for(|leads| !leads) => return,
                Some(written) = writes.next(), if !writes.is_empty() => self.written(&mut state, written),
                _ = changes.changed() => self.look(&mut state, self.board.take_dirty()),
                _ = standing.changed() => self.look(&mut state, self.seen.take_changed()),
                () = sleep, if writes.len() < AT_ONCE => {
                    let impatient = state.impatient(Instant::now());
                    self.look(&mut state, impatient);
                }
            }
        }
    }

    /// Looks whether objects are as they should be.
    fn look(&self, state: &mut State, ids: impl IntoIterator<Item = ObjectId>) {
        let now = Instant::now();
        for id in ids {
            match self.difference(state, &id, now) {
                Some(difference) if !difference.fields.is_empty() => state.pace.differs(&id, difference.is_count, now),
                _ => state.pace.settled(&id),
            }
        }
        state.pace.tidy(now);
    }

    fn difference(&self, state: &mut State, id: &ObjectId, now: Instant) -> Option<Difference> {
        let Some(standing) = self.seen.get(id) else {
            state.held.remove(id);
            return None;
        };
        let wanted = self.board.status(id);
        // The object is newer than what we have to say of it: that will come.
        if wanted.as_ref().is_some_and(|wanted| wanted.observed_generation < standing.generation) {
            return None;
        }
        let hold = state.held.get(id).is_none_or(|since| now.duration_since(*since) < PATIENCE);
        let text = time();
        let around = Around {
            is_ours: &|name| self.controllers.contains(name),
            is_elsewhere: &|parent| self.seen.is_parent_elsewhere(&id.namespace, parent),
            now: &text,
            hold,
        };
        let difference = difference(&id.kind, &standing.status(), wanted.as_ref(), &around);
        match &difference {
            Some(difference) if difference.is_held => {
                state.held.entry(id.clone()).or_insert(now);
            }
            // It is told now: until proxies have come back nothing is held any more.
            Some(_) if !hold => {}
            _ => {
                state.held.remove(id);
            }
        }
        difference
    }

    fn write(&self, state: &mut State, id: ObjectId) -> Option<impl Future<Output = Written> + use<>> {
        let difference = self.difference(state, &id, Instant::now()).filter(|one| !one.fields.is_empty());
        let (Some(difference), Some(standing)) = (difference, self.seen.get(&id)) else {
            state.pace.skip(&id);
            return None;
        };
        let (client, seen) = (self.client.clone(), self.seen.clone());
        Some(async move {
            let written = write(client, &seen, &id, &standing, difference.fields).await;
            (id, written)
        })
    }

    fn written(&self, state: &mut State, (id, written): Written) {
        if let Err(error) = &written {
            match error {
                kube::Error::Api(status) if [404, 409].contains(&status.code) => {
                    tracing::debug!(%id, %error, "a status could not be written");
                }
                _ => tracing::warn!(%id, %error, "a status could not be written; it is tried again"),
            }
        }
        state.pace.written(&id, written.is_ok(), Instant::now());
        self.look(state, [id]);
    }
}

/// What the writer keeps while it leads.
#[derive(Default)]
struct State {
    pace: Pace<ObjectId>,
    /// Objects whose `Programmed` is held True, and since when.
    held: BTreeMap<ObjectId, Instant>,
}

impl State {
    fn wake(&self) -> Option<Instant> {
        let held = self.held.values().min().map(|since| *since + PATIENCE).filter(|at| *at > Instant::now());
        [self.pace.wake(), held].into_iter().flatten().min()
    }

    /// Those for which we waited long enough.
    fn impatient(&self, now: Instant) -> Vec<ObjectId> {
        let over = self.held.iter().filter(|(_, since)| now.duration_since(**since) >= PATIENCE);
        over.map(|(id, _)| id.clone()).collect()
    }
}

/// Writes fields of a status, if the object is still as it was seen. If it isn't, it is read, for the next try.
async fn write(
    client: Client,
    seen: &Seen,
    id: &ObjectId,
    standing: &Standing,
    fields: Map<String, Value>,
) -> Result<(), kube::Error> {
    let resource = resource(&id.kind, &standing.api_version);
    let api: Api<DynamicObject> = match &*id.namespace {
        "" => Api::all_with(client, &resource),
        namespace => Api::namespaced_with(client, namespace, &resource),
    };
    let patch = json!({
        "apiVersion": &*resource.api_version,
        "kind": &*resource.kind,
        "metadata": {"resourceVersion": &*standing.version},
        "status": fields,
    });
    let parameters = PatchParams { field_manager: Some(MANAGER.into()), ..PatchParams::default() };
    match api.patch_status(&id.name, &parameters, &Patch::Merge(patch)).await {
        Ok(object) => {
            seen.learn(id, &object);
            Ok(())
        }
        Err(kube::Error::Api(status)) if status.code == 409 => {
            seen.learn(id, &api.get(&id.name).await?);
            Err(kube::Error::Api(status))
        }
        Err(error) => Err(error),
    }
}

/// How the API server names a kind of ours.
fn resource(kind: &str, api_version: &str) -> ApiResource {
    let known = Kind::ALL.iter().find(|known| known.as_str() == kind);
    let own = known.map(|known| known.api_version()).unwrap_or_default();
    let api_version = if api_version.is_empty() { &own } else { api_version };
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind))
}

/// Now, to the second, as conditions have it.
fn time() -> String {
    strtime::format("%Y-%m-%dT%H:%M:%SZ", Timestamp::now()).unwrap_or_default()
}
