//! Stock Envoy's word on what comes out: nothing of it may be refused.

use crate::{pipeline::Results, render::Renderer};
use proto::{Scope, TypeUrl};
use serde_json::{Map, Value, json};
use std::{collections::BTreeMap, path::PathBuf, process::Command};

/// The program that `ENVOY` names.
pub struct Envoy(PathBuf);

/// The resources of a scope by type and name, as JSON that Envoy reads.
type Resources = BTreeMap<TypeUrl, BTreeMap<String, Value>>;

impl Envoy {
    pub fn from_environment() -> Option<Self> {
        std::env::var_os("ENVOY").map(|path| Self(path.into()))
    }

    /// Puts each scope together as one static configuration and has it validated: all that would come by discovery
    /// stands in its place.
    pub fn check(&self, renderer: &Renderer, results: &Results) -> Result<(), String> {
        let mut scopes: BTreeMap<&Scope, Resources> = BTreeMap::new();
        for (key, resource) in &results.resources {
            let value = renderer.value(key.type_url, resource)?;
            let of_type = scopes.entry(&key.scope).or_default().entry(key.type_url).or_default();
            of_type.insert(key.name.to_string(), value);
        }
        scopes.into_iter().try_for_each(|(scope, resources)| self.validate(scope, resources))
    }

    fn validate(&self, scope: &Scope, mut resources: Resources) -> Result<(), String> {
        let mut take = |type_url| resources.remove(&type_url).unwrap_or_default();
        let (mut clusters, endpoints) = (take(TypeUrl::Cluster), take(TypeUrl::Endpoints));
        for (name, cluster) in clusters.iter_mut().filter(|(_, cluster)| cluster["type"] == "EDS") {
            let fields = cluster.as_object_mut().ok_or("a cluster is an object")?;
            fields.remove("eds_cluster_config");
            fields.insert("type".into(), "STATIC".into());
            fields.insert("load_assignment".into(), endpoints[name].clone());
        }
        let secrets = take(TypeUrl::Secret);
        let routes = with_virtual_hosts(take(TypeUrl::Route), take(TypeUrl::VirtualHost));
        let extensions = take(TypeUrl::Extension);
        let mut listeners = take(TypeUrl::Listener);
        listeners.values_mut().for_each(|listener| inline(listener, &routes, &extensions));
        clusters.values_mut().for_each(|cluster| inline(cluster, &routes, &extensions));
        let all = |values: BTreeMap<String, Value>| values.into_values().collect::<Vec<_>>();
        let bootstrap = json!({
            // As in the bootstrap that `windlass envoy-bootstrap` writes.
            "layered_runtime": {
                "layers": [{"name": "static", "static_layer": {"re2.max_program_size.error_level": 1_000_000}}],
            },
            "static_resources": {"clusters": all(clusters), "secrets": all(secrets), "listeners": all(listeners)},
        });
        let command = Command::new(&self.0)
            .args(["--mode", "validate", "--log-level", "error", "--config-yaml", &bootstrap.to_string()])
            .output();
        let out = command.map_err(|why| format!("{}: {why}", self.0.display()))?;
        match out.status.success() {
            true => Ok(()),
            false => Err(format!("Envoy refuses {scope}: {}", String::from_utf8_lossy(&out.stderr))),
        }
    }
}

fn with_virtual_hosts(mut routes: BTreeMap<String, Value>, hosts: BTreeMap<String, Value>) -> BTreeMap<String, Value> {
    for (name, host) in hosts {
        let table = name.rsplit_once('/').and_then(|(table, _)| routes.get_mut(table)).and_then(Value::as_object_mut);
        if let Some(Value::Array(hosts)) = table.map(|table| table.entry("virtual_hosts").or_insert_with(|| json!([])))
        {
            hosts.push(host);
        }
    }
    routes
}

/// Replaces what a listener would ask for by discovery.
fn inline(value: &mut Value, routes: &BTreeMap<String, Value>, extensions: &BTreeMap<String, Value>) {
    match value {
        Value::Object(fields) => {
            let named = |fields: &Map<String, Value>, name: &str| fields[name].as_str().unwrap_or_default().to_owned();
            if let Some(rds) = fields.remove("rds") {
                fields.insert(
                    "route_config".into(),
                    routes[rds["route_config_name"].as_str().unwrap_or_default()].clone(),
                );
            }
            if fields.remove("config_discovery").is_some() {
                let extension = &extensions[&named(fields, "name")];
                fields.insert("typed_config".into(), extension["typed_config"].clone());
            }
            // Without a source a secret is looked for among the static ones.
            fields.remove("sds_config");
            fields.values_mut().for_each(|value| inline(value, routes, extensions));
        }
        Value::Array(items) => items.iter_mut().for_each(|value| inline(value, routes, extensions)),
        _ => {}
    }
}
