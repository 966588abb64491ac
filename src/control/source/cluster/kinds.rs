//! Which kinds the API server has, and in which version: asked again whenever a CustomResourceDefinition changes, and
//! now and then, so that a kind which is installed later needs no restart.

use super::health::Backoff;
use api::Kind;
use base::drain::Drain;
use futures::StreamExt;
use k8s_openapi::{
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
    apimachinery::pkg::apis::meta::v1::APIResourceList,
};
use kube::{
    Api, Client,
    api::{ApiResource, GroupVersionKind, PartialObjectMeta},
    runtime::{
        WatchStreamExt,
        watcher::{self, Event, watcher},
    },
};
use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    time::Duration,
};
use tokio::sync::watch;

/// How often it is asked when nothing seems to change: also what heals without the right to watch definitions.
const PERIOD: Duration = Duration::from_secs(30);
/// The same while a definition is there whose kind isn't served yet.
const SOON: Duration = Duration::from_millis(100);
/// How long a definition has to be served; after that it is looked at as rarely as the others.
const PATIENCE: u32 = 100;

/// Whether the API server has a kind.
#[derive(Clone, Debug, PartialEq)]
pub enum Presence {
    /// It has not said yet.
    Unknown,
    /// It has not.
    Absent,
    /// It has, in this version.
    Served(ApiResource),
}

/// Tells presences until the drain.
pub async fn follow(client: Client, presences: BTreeMap<Kind, watch::Sender<Presence>>, mut drain: Drain) {
    tokio::select! {
        () = run(client, presences) => {}
        () = drain.drained() => {}
    }
}

async fn run(client: Client, presences: BTreeMap<Kind, watch::Sender<Presence>>) {
    let definitions: Api<PartialObjectMeta<CustomResourceDefinition>> = Api::all(client.clone());
    let config = watcher::Config::default();
    let mut events = std::pin::pin!(watcher(definitions, config).backoff(Backoff::default()));
    let mut defined = BTreeSet::new();
    let mut wait = Backoff::default();
    let mut patience = 0;
    loop {
        let pause = match discover(&client).await {
            Ok(found) => {
                wait = Backoff::default();
                let missing = tell(&presences, &found, &defined);
                patience = if missing { patience + 1 } else { 0 };
                if missing && patience < PATIENCE { SOON } else { PERIOD }
            }
            // What is not known stays as it is: an API server that is away has not lost its kinds.
            Err(error) => {
                tracing::debug!(%error, "the API server doesn't say which kinds it has");
                wait.next().unwrap_or(SOON)
            }
        };
        let until = tokio::time::sleep(pause);
        let mut until = std::pin::pin!(until);
        loop {
            tokio::select! {
                () = &mut until => break,
                Some(event) = events.next() => if concerns(event, &mut defined) { patience = 0; break },
            }
        }
    }
}

/// Notes a definition, and says whether it is of one of our groups.
fn concerns(
    event: watcher::Result<Event<PartialObjectMeta<CustomResourceDefinition>>>,
    defined: &mut BTreeSet<String>,
) -> bool {
    let (object, there) = match event {
        Ok(Event::Apply(object) | Event::InitApply(object)) => (object, true),
        Ok(Event::Delete(object)) => (object, false),
        // Without the right to watch them, the period has to do.
        Ok(Event::Init | Event::InitDone) | Err(_) => return false,
    };
    let name = object.metadata.name.unwrap_or_default();
    let ours = name.split_once('.').is_some_and(|(_, group)| Kind::ALL.iter().any(|kind| kind.group() == group));
    if ours && there {
        defined.insert(name)
    } else {
        defined.remove(&name);
        false
    };
    ours
}

/// Tells what was found; says whether a definition's kind is not served yet.
fn tell(
    presences: &BTreeMap<Kind, watch::Sender<Presence>>,
    found: &BTreeMap<Kind, ApiResource>,
    defined: &BTreeSet<String>,
) -> bool {
    let mut missing = false;
    for (kind, presence) in presences {
        let now = found.get(kind).map_or(Presence::Absent, |resource| Presence::Served(resource.clone()));
        let plural = ApiResource::from_gvk(&GroupVersionKind::gvk(kind.group(), kind.versions()[0], kind.as_str()));
        missing |= now == Presence::Absent && defined.contains(&format!("{}.{}", plural.plural, kind.group()));
        presence.send_if_modified(|before| {
            let changed = *before != now;
            if changed && *before != Presence::Unknown {
                let (kind, there) = (kind.as_str(), now != Presence::Absent);
                tracing::info!(kind, there, "a kind came or went");
            }
            if changed {
                *before = now;
            }
            changed
        });
    }
    missing
}

/// All kinds that there are, each in the first of the versions that we read.
pub(super) async fn discover(client: &Client) -> kube::Result<BTreeMap<Kind, ApiResource>> {
    let mut lists: BTreeMap<(&str, &str), Option<APIResourceList>> = BTreeMap::new();
    let mut found = BTreeMap::new();
    for kind in Kind::ALL.iter().copied() {
        for version in kind.versions() {
            if is_built_in(kind) {
                let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(kind.group(), version, kind.as_str()));
                found.insert(kind, resource);
                break;
            }
            let list = match lists.entry((kind.group(), *version)) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(unknown) => {
                    unknown.insert(resources(client, &format!("{}/{version}", kind.group())).await?)
                }
            };
            let named = |resource: &&k8s_openapi::apimachinery::pkg::apis::meta::v1::APIResource| {
                resource.kind == kind.as_str() && !resource.name.contains('/')
            };
            if let Some(resource) = list.as_ref().and_then(|list| list.resources.iter().find(named)) {
                let gvk = GroupVersionKind::gvk(kind.group(), version, kind.as_str());
                found.insert(kind, ApiResource::from_gvk_with_plural(&gvk, &resource.name));
                break;
            }
        }
    }
    Ok(found)
}

/// Whether every API server has it.
fn is_built_in(kind: Kind) -> bool {
    !kind.group().contains('.') || kind.group() == "discovery.k8s.io"
}

/// What a group has in a version; none if there is no such group or version.
async fn resources(client: &Client, group_version: &str) -> kube::Result<Option<APIResourceList>> {
    match client.list_api_group_resources(group_version).await {
        Ok(list) => Ok(Some(list)),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
        Err(error) => Err(error),
    }
}
