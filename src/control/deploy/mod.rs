//! The deployer: for each Gateway what runs its proxies, in the Gateway's namespace.
//!
//! What was made is found by a label and watched, so that whatever happens to it is put right; nothing else is read but
//! before something is made anew, and what isn't ours is never touched.

mod call;
mod desired;
mod flags;
mod overlay;
mod plan;
mod render;

pub use desired::Desired;
pub use flags::Flags;
pub use render::{GATEWAY_NAME, MANAGED, MANIFEST, Settings, kind, managed_by, render};

use crate::{pace::Pace, status::Board};
use call::{Done, Turn};
use futures::{
    StreamExt,
    stream::{self, BoxStream, FuturesUnordered},
};
use kube::{
    Api, Client,
    api::DynamicObject,
    runtime::{
        WatchStreamExt,
        watcher::{self, Event, watcher},
    },
};
use model::{ObjectKey, Overlay};
use plan::{Place, owner, plan};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    sync::Arc,
    time::Instant,
};
use tokio::sync::watch;

/// Gateways that are worked on at once.
const AT_ONCE: usize = 8;

/// Makes what Gateways' proxies run as. Only one replica may.
pub struct Deployer {
    /// Speaks to the API server.
    pub client: Client,
    /// What is to be made.
    pub desired: Desired,
    /// Who is told what could not be made.
    pub board: Board,
    /// Our controllers: what they made is ours.
    pub controllers: Arc<[Arc<str>]>,
    /// What an installation decides.
    pub settings: Settings,
}

/// What the deployer keeps while it leads.
#[derive(Default)]
struct State {
    pace: Pace<ObjectKey>,
    /// What was made and stands there.
    standing: BTreeMap<Place, Arc<Value>>,
    /// Kinds that have not been read whole yet.
    unread: BTreeSet<Overlay>,
    /// A list that is being read: what was in it so far.
    listed: BTreeMap<Overlay, BTreeSet<ObjectKey>>,
}

type Seen = (Overlay, Result<Event<DynamicObject>, watcher::Error>);

impl Deployer {
    /// Works until we lead no more.
    pub async fn lead(&self, leads: &mut watch::Receiver<bool>) {
        let mut changes = self.desired.changes();
        let mut state = State { unread: Overlay::ALL.into(), ..State::default() };
        let mut events = stream::select_all(Overlay::ALL.map(|overlay| self.watch(overlay)));
        let mut turns = FuturesUnordered::new();
        loop {
            // Before everything was read nothing is known of what is wanted, or stands already.
            let is_ready = state.unread.is_empty() && self.board.is_decided();
            while is_ready
                && turns.len() < AT_ONCE
                && let Some(gateway) = state.pace.next(Instant::now())
            {
                turns.extend(self.turn(&mut state, gateway));
            }
            let wake = state.pace.wake().filter(|_| is_ready && turns.len() < AT_ONCE);
            let sleep = async {
                match wake {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                _ = leads.wait_for(|leads| !leads) => return,
                Some(done) = turns.next(), if !turns.is_empty() => self.done(&mut state, done),
                Some(seen) = events.next() => self.seen(&mut state, seen),
                _ = changes.changed() => self.look(&mut state, self.desired.take_changed()),
                () = self.board.decided(), if !is_ready && state.unread.is_empty() => {}
                () = sleep => {}
            }
        }
    }

    fn watch(&self, overlay: Overlay) -> BoxStream<'static, Seen> {
        let api: Api<DynamicObject> = Api::all_with(self.client.clone(), &call::resource(overlay));
        let config = watcher::Config::default().labels(&call::selector(&self.controllers));
        watcher(api, config).default_backoff().map(move |event| (overlay, event)).boxed()
    }

    fn seen(&self, state: &mut State, (overlay, event): Seen) {
        let changed = match event {
            Err(error) => {
                tracing::debug!(%error, kind = kind(overlay).1, "a watch failed; it is tried again");
                Vec::new()
            }
            Ok(Event::Init) => {
                state.listed.insert(overlay, BTreeSet::new());
                Vec::new()
            }
            Ok(Event::InitApply(object)) => {
                let key = key(&object);
                state.listed.entry(overlay).or_default().insert(key);
                state.put(overlay, object)
            }
            Ok(Event::Apply(object)) => state.put(overlay, object),
            Ok(Event::Delete(object)) => state.remove(&(overlay, key(&object))),
            Ok(Event::InitDone) => {
                let listed = state.listed.remove(&overlay).unwrap_or_default();
                let places = state.standing.keys().filter(|(of, key)| *of == overlay && !listed.contains(key));
                let gone: Vec<_> = places.cloned().collect();
                let changed = gone.iter().flat_map(|place| state.remove(place)).collect();
                if state.unread.remove(&overlay) && state.unread.is_empty() {
                    self.look(state, self.desired.gateways());
                }
                changed
            }
        };
        self.look(state, changed);
    }

    /// Looks whether what stands for Gateways is what is wanted.
    fn look(&self, state: &mut State, gateways: impl IntoIterator<Item = ObjectKey>) {
        let now = Instant::now();
        for gateway in gateways {
            state.pace.differs(&gateway, false, now);
        }
        state.pace.tidy(now);
    }

    fn turn(&self, state: &mut State, gateway: ObjectKey) -> Option<impl Future<Output = Done> + use<>> {
        let wanted = self.desired.get(&gateway);
        let of_it = |known: &Value| owner(known).is_some_and(|(owner, _)| owner == gateway);
        let standing =
            state.standing.iter().filter(|((_, key), known)| key.namespace == gateway.namespace && of_it(known));
        let standing: BTreeMap<_, _> = standing.map(|(place, known)| (place.clone(), known.clone())).collect();
        let steps = plan(&gateway, wanted.as_deref(), &standing, &self.settings);
        if steps.is_empty() {
            self.board.deployed(&gateway, None);
            state.pace.skip(&gateway);
            return None;
        }
        let uid = standing.values().find_map(|known| owner(known)).map(|(_, uid)| uid.to_owned());
        let abandoned = uid.filter(|_| wanted.is_none());
        let turn = Turn { gateway, abandoned, steps };
        Some(call::run(self.client.clone(), turn, self.controllers.clone()))
    }

    fn done(&self, state: &mut State, Done { gateway, standing, error }: Done) {
        for (place, known) in standing {
            match known {
                Some(known) => state.standing.insert(place, known),
                None => state.standing.remove(&place),
            };
        }
        let is_ok = error.is_none();
        let fault = error.map(|error| error.to_string());
        if let Some(fault) = &fault {
            tracing::warn!(%gateway, fault, "a Gateway's proxies can't be deployed; it is tried again");
        }
        self.board.deployed(&gateway, fault);
        state.pace.written(&gateway, is_ok, Instant::now());
        // What changed in the meantime.
        if is_ok && self.desired.get(&gateway).is_some() {
            state.pace.differs(&gateway, false, Instant::now());
        }
    }
}

impl State {
    /// Takes an object; says which Gateways are concerned.
    fn put(&mut self, overlay: Overlay, mut object: DynamicObject) -> Vec<ObjectKey> {
        object.metadata.managed_fields = None;
        let place = (overlay, key(&object));
        let Ok(new) = serde_json::to_value(&object) else { return Vec::new() };
        let known = self.standing.insert(place, Arc::new(new.clone()));
        // Statuses change often, and are no business of ours.
        if known.as_ref().is_some_and(|known| without_noise(known) == without_noise(&new)) {
            return Vec::new();
        }
        let owners = known.as_deref().into_iter().chain([&new]).filter_map(|object| owner(object));
        owners.map(|(gateway, _)| gateway).collect()
    }

    fn remove(&mut self, place: &Place) -> Vec<ObjectKey> {
        let known = self.standing.remove(place);
        known.as_deref().and_then(owner).map(|(gateway, _)| gateway).into_iter().collect()
    }
}

fn key(object: &DynamicObject) -> ObjectKey {
    let metadata = &object.metadata;
    let text = |text: &Option<String>| text.as_deref().unwrap_or_default().to_owned();
    ObjectKey::new(text(&metadata.namespace), text(&metadata.name))
}

fn without_noise(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(fields) = object.as_object_mut() {
        fields.remove("status");
    }
    if let Some(metadata) = object["metadata"].as_object_mut() {
        for noise in ["resourceVersion", "managedFields", "generation"] {
            metadata.remove(noise);
        }
    }
    object
}
