//! What the debug pages show, as JSON.

use crate::{objects::Objects, status::Board, write::show};
use api::{Kind, Object, ObjectId, Problem};
use model::{Condition, ListenerStatus, ObjectRef, ParentStatus, Status};
use proto::{Scope, TypeUrl};
use serde_json::{Map, Value, json};
use std::{collections::BTreeMap, time::SystemTime};
use xds::{
    Publisher, View,
    server::{Ads, Client},
};

/// The connected proxies in the shape of istiod's `/debug/syncz`: the nonces of what was sent and acknowledged last.
pub fn syncz(ads: &Ads) -> Value {
    ads.clients().iter().map(proxy).collect()
}

fn proxy(client: &Client) -> Value {
    let mut fields = Map::new();
    let mut resources = Map::new();
    for (type_url, short) in SHORT {
        let Some(state) = client.types.get(&type_url) else { continue };
        let nonce = |nonce: u64| if nonce == 0 { String::new() } else { nonce.to_string() };
        let (sent, acked) = (nonce(state.nonce_sent), nonce(state.nonce_acked));
        let mut resource = json!({"sent": sent, "acked": acked, "sentTime": state.sent.map(seconds)});
        if let Some((_, error)) = &state.nacked {
            resource["lastError"] = error.as_str().into();
            resource["parked"] = state.parked.keys().map(|name| Value::from(&**name)).collect();
        }
        resources.insert(type_url.as_str().into(), resource);
        fields.insert(format!("{short}_sent"), sent.into());
        fields.insert(format!("{short}_acked"), acked.into());
    }
    let node = client.name.rsplit_once('-').map_or(&*client.name, |(node, _)| node);
    fields.insert("cluster_id".into(), "Kubernetes".into());
    fields.insert("proxy".into(), node.split('~').nth(2).unwrap_or(node).into());
    fields.insert("proxy_type".into(), node.split('~').next().unwrap_or_default().into());
    fields.insert("proxy_version".into(), (*client.software).into());
    fields.insert("istio_version".into(), crate::metrics::VERSION.into());
    fields.insert("connection".into(), (*client.name).into());
    fields.insert("scope".into(), (*client.scope.0).into());
    fields.insert("identity".into(), client.identity.as_deref().into());
    fields.insert("delta".into(), client.delta.into());
    fields.insert("generation".into(), client.generation.into());
    fields.insert("resources".into(), resources.into());
    Value::Object(fields)
}

/// Seconds since 1970.
fn seconds(time: SystemTime) -> f64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// Types under the names that syncz gives them.
const SHORT: [(TypeUrl, &str); 7] = [
    (TypeUrl::Cluster, "cluster"),
    (TypeUrl::Endpoints, "endpoint"),
    (TypeUrl::Secret, "secret"),
    (TypeUrl::Listener, "listener"),
    (TypeUrl::Extension, "extensionconfig"),
    (TypeUrl::Route, "route"),
    (TypeUrl::VirtualHost, "virtualhost"),
];

/// What is published: names, versions and sizes, by scope and type.
pub fn config_dump(publisher: &Publisher) -> Value {
    let scope = |scope: Scope| {
        let snapshot = publisher.snapshot(&scope, View::VirtualHosts);
        let types = TypeUrl::ALL.into_iter().filter(|type_url| snapshot.count(*type_url) > 0).map(|type_url| {
            let resources = snapshot.resources(type_url).map(|entry| {
                let (version, bytes) = (entry.resource.version_text(), entry.resource.body.len());
                json!({"name": &*entry.name, "version": version, "generation": entry.generation, "bytes": bytes})
            });
            (type_url.as_str().to_owned(), resources.collect())
        });
        (scope.0.to_string(), json!({"generation": snapshot.generation, "resources": types.collect::<Map<_, _>>()}))
    };
    Value::Object(publisher.scopes().into_iter().map(scope).collect())
}

/// The objects in use as Kubernetes shows them; of Secrets only the names of their keys.
pub fn configz(objects: &Objects) -> Value {
    objects.all().into_values().filter_map(|object| object.to_json().ok()).map(without_secrets).collect()
}

fn without_secrets(mut object: Value) -> Value {
    if object["kind"] == Kind::Secret.as_str()
        && let Some(data) = object.get_mut("data").and_then(Value::as_object_mut)
    {
        data.values_mut().for_each(|value| *value = Value::Null);
    }
    object
}

/// What became of every object: `items` with their statuses as Kubernetes shows them, `problems` of what was read.
pub fn statuses(board: &Board, objects: &Objects) -> Value {
    let (statuses, known) = board.statuses(|| objects.all());
    let items = statuses.into_iter().map(|(object, status)| item(&object, &status, &known));
    let problems: Vec<Value> = objects.problems().iter().map(problem).collect();
    json!({"items": items.collect::<Vec<_>>(), "problems": problems})
}

fn problem(problem: &Problem) -> Value {
    let object =
        problem.object.as_ref().map(|id| json!({"kind": &*id.kind, "namespace": &*id.namespace, "name": &*id.name}));
    json!({
        "severity": problem.severity, "file": &*problem.file, "line": problem.line, "column": problem.column,
        "object": object, "field": problem.path.to_string(), "message": problem.message,
    })
}

fn item(object: &ObjectRef, status: &Status, known: &BTreeMap<ObjectId, Object>) -> Value {
    let kind = Kind::ALL.iter().find(|kind| kind.as_str() == &*object.kind);
    let mut metadata = json!({"name": &*object.key.name, "generation": status.observed_generation});
    if !object.key.namespace.is_empty() {
        metadata["namespace"] = (&*object.key.namespace).into();
    }
    let id =
        ObjectId { kind: object.kind.clone(), namespace: object.key.namespace.clone(), name: object.key.name.clone() };
    if let Some(generation) = known.get(&id).and_then(|object| object.metadata().generation) {
        metadata["generation"] = generation.into();
    }
    json!({
        "apiVersion": kind.map(|kind| kind.api_version()),
        "kind": &*object.kind,
        "metadata": metadata,
        "status": to_json(status),
    })
}

fn to_json(status: &Status) -> Value {
    let generation = status.observed_generation;
    let mut fields = Map::new();
    if !status.conditions.is_empty() {
        fields.insert("conditions".into(), conditions(&status.conditions, generation));
    }
    if !status.addresses.is_empty() {
        let address = |(kind, value): &(&str, std::sync::Arc<str>)| json!({"type": kind, "value": &**value});
        fields.insert("addresses".into(), status.addresses.iter().map(address).collect());
    }
    if !status.supported_features.is_empty() {
        let feature = |name: &&str| json!({"name": name});
        fields.insert("supportedFeatures".into(), status.supported_features.iter().map(feature).collect());
    }
    if let Some(count) = status.attached_listener_sets {
        fields.insert("attachedListenerSets".into(), count.into());
    }
    if !status.listeners.is_empty() {
        fields.insert("listeners".into(), status.listeners.iter().map(|one| listener(one, generation)).collect());
    }
    if !status.parents.is_empty() {
        fields.insert("parents".into(), status.parents.iter().map(|one| parent(one, generation)).collect());
    }
    if !status.ancestors.is_empty() {
        let ancestor = |one| {
            let mut ancestor = parent(one, generation);
            ancestor["ancestorRef"] = ancestor["parentRef"].take();
            if let Some(fields) = ancestor.as_object_mut() {
                fields.remove("parentRef");
            }
            ancestor
        };
        fields.insert("ancestors".into(), status.ancestors.iter().map(ancestor).collect());
    }
    Value::Object(fields)
}

fn conditions(conditions: &[Condition], generation: i64) -> Value {
    let condition = |condition: &Condition| {
        let status = match condition.verdict.holds {
            Some(true) => "True",
            Some(false) => "False",
            None => "Unknown",
        };
        json!({
            "type": condition.kind, "status": status, "reason": condition.verdict.reason,
            "message": condition.verdict.message, "observedGeneration": generation,
        })
    };
    conditions.iter().map(condition).collect()
}

fn listener(listener: &ListenerStatus, generation: i64) -> Value {
    show::listener(listener, conditions(&listener.conditions, generation))
}

fn parent(parent: &ParentStatus, generation: i64) -> Value {
    json!({"parentRef": show::parent_ref(parent), "conditions": conditions(&parent.conditions, generation)})
}
