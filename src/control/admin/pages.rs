//! What the debug pages show, as JSON.

use crate::{objects::Objects, status::Board};
use api::{Kind, Object, ObjectId, Problem};
use model::{Condition, ListenerStatus, ObjectRef, ParentStatus, Status};
use proto::{Scope, TypeUrl};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use xds::Publisher;

/// The connected proxies in the shape of istiod's `/debug/syncz`. Versions are generations of the Gateway's resources:
/// what is sent and what is acknowledged are the same once a proxy is in step.
pub fn syncz(board: &Board, publisher: &Publisher) -> Value {
    let mut proxies = Vec::new();
    for (scope, clients) in board.clients() {
        let sent = publisher.generation(&scope);
        for (name, client) in clients {
            let mut fields = Map::new();
            let mut resources = Map::new();
            let last_error = |type_url: TypeUrl| {
                let refused = client.refused.iter().find(|((refused, _), _)| *refused == type_url);
                refused.map(|((_, name), refused)| format!("{name}: {}", refused.error))
            };
            for (type_url, short) in SHORT {
                let (sent, acked) = (sent.to_string(), client.acked.to_string());
                let mut state = json!({"sent": sent, "acked": acked});
                if let Some(error) = last_error(type_url) {
                    state["lastError"] = error.into();
                }
                resources.insert(type_url.as_str().into(), state);
                fields.insert(format!("{short}_sent"), sent.into());
                fields.insert(format!("{short}_acked"), acked.into());
            }
            let node = name.rsplit_once('-').map_or(&*name, |(node, _)| node);
            let proxy = node.split('~').nth(2).unwrap_or(node);
            fields.insert("cluster_id".into(), "Kubernetes".into());
            fields.insert("proxy".into(), proxy.into());
            fields.insert("proxy_type".into(), node.split('~').next().unwrap_or_default().into());
            fields.insert("istio_version".into(), crate::metrics::VERSION.into());
            fields.insert("scope".into(), scope.0.to_string().into());
            fields.insert("resources".into(), resources.into());
            proxies.push(Value::Object(fields));
        }
    }
    proxies.into()
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
        let snapshot = publisher.snapshot(&scope);
        let types = TypeUrl::ALL.into_iter().filter(|type_url| snapshot.len(*type_url) > 0).map(|type_url| {
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
    let known = objects.all();
    let items = board.statuses().into_iter().map(|(object, status)| item(&object, &status, &known));
    let problems: Vec<Value> = objects.problems().iter().map(problem).collect();
    json!({"items": items.collect::<Vec<_>>(), "problems": problems})
}

fn problem(problem: &Problem) -> Value {
    let object = problem.object.as_ref().map(|id| json!({"kind": &*id.kind, "namespace": &*id.namespace, "name": &*id.name}));
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
    let id = ObjectId { kind: object.kind.clone(), namespace: object.key.namespace.clone(), name: object.key.name.clone() };
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
    if !status.listeners.is_empty() {
        fields.insert("listeners".into(), status.listeners.iter().map(|one| listener(one, generation)).collect());
    }
    if !status.parents.is_empty() {
        fields.insert("parents".into(), status.parents.iter().map(|one| parent(one, generation)).collect());
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
    let kinds = listener.supported_kinds.iter().map(|(group, kind)| json!({"group": group, "kind": kind}));
    json!({
        "name": &*listener.name,
        "supportedKinds": kinds.collect::<Vec<_>>(),
        "attachedRoutes": listener.attached_routes,
        "conditions": conditions(&listener.conditions, generation),
    })
}

fn parent(parent: &ParentStatus, generation: i64) -> Value {
    let (group, kind) = &parent.kind;
    let mut reference = json!({"group": &**group, "kind": &**kind, "name": &*parent.parent.name});
    if parent.explicit_namespace {
        reference["namespace"] = (&*parent.parent.namespace).into();
    }
    if let Some(section) = &parent.section {
        reference["sectionName"] = (&**section).into();
    }
    if let Some(port) = parent.port {
        reference["port"] = port.into();
    }
    json!({"parentRef": reference, "conditions": conditions(&parent.conditions, generation)})
}
