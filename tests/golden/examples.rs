//! The Gateway API project's own examples, from its Go module: read, resolved, translated, and taken by Envoy. What is not
//! well with them stands in `examples.expected`, to be read like a case; `UPDATE=1` writes it.
//!
//! Each file of `examples/` is one installation, and so is each directory in it. Every Gateway's class is ours, and what an
//! example takes for granted is there: Gateways that its routes name, Services, certificates.

use crate::{
    envoy::Envoy,
    pipeline::{Pipeline, put},
    render::Renderer,
    same,
};
use api::{GatewayClass, GatewayClassSpec, Object, ObjectMeta};
use model::{Condition, Status};
use serde_json::Value;
use similar::TextDiff;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    path::{Path, PathBuf},
    sync::Arc,
};

/// How many there are, and what is wrong. None if `WINDLASS_GATEWAY_API` doesn't say where the module is.
pub fn check(renderer: &Renderer, envoy: Option<&Envoy>, update: bool) -> Option<(usize, Vec<String>)> {
    let examples = PathBuf::from(std::env::var_os("WINDLASS_GATEWAY_API")?).join("examples");
    let (mut seen, mut wrong) = (String::new(), Vec::new());
    let installations = installations(&examples);
    for (name, files) in &installations {
        let _ = writeln!(seen, "{name}");
        match install(&examples, files, renderer, envoy) {
            Ok(text) => seen += &text,
            Err(why) => wrong.push(format!("example {name}: {why}")),
        }
    }
    let expected = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/examples.expected");
    let before = std::fs::read_to_string(&expected).unwrap_or_default();
    if update && before != seen {
        std::fs::write(&expected, seen).unwrap_or_else(|why| panic!("{}: {why}", expected.display()));
    } else if before != seen {
        let diff = TextDiff::from_lines(&before, &seen);
        wrong.push(diff.unified_diff().context_radius(3).header("expected", "seen (UPDATE=1 writes it)").to_string());
    }
    Some((installations.len(), wrong))
}

/// Names and files: a file of `standard` and `experimental` alone, those of a directory together.
fn installations(examples: &Path) -> Vec<(String, Vec<PathBuf>)> {
    let mut found = Vec::new();
    for channel in ["standard", "experimental"] {
        for entry in entries(&examples.join(channel)) {
            let name = entry.strip_prefix(examples).unwrap_or(&entry).display().to_string();
            let files = files(&entry);
            if !files.is_empty() {
                found.push((name, files));
            }
        }
    }
    assert!(!found.is_empty(), "{} holds no examples", examples.display());
    found
}

fn files(path: &Path) -> Vec<PathBuf> {
    if path.is_dir() {
        return entries(path).iter().flat_map(|entry| files(entry)).collect();
    }
    path.extension().filter(|extension| *extension == "yaml").map(|_| path.to_owned()).into_iter().collect()
}

fn entries(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).unwrap_or_else(|why| panic!("{}: {why}", directory.display()));
    let mut entries: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    entries.sort();
    entries
}

fn install(examples: &Path, files: &[PathBuf], renderer: &Renderer, envoy: Option<&Envoy>) -> Result<String, String> {
    let (mut objects, mut text) = (Vec::new(), String::new());
    for file in files {
        let name = file.strip_prefix(examples).unwrap_or(file).display().to_string();
        let content = std::fs::read_to_string(file).map_err(|why| why.to_string())?;
        let manifest = api::manifest::read(&name, &content);
        manifest.problems.iter().for_each(|problem| {
            let _ = writeln!(text, "  problem {problem}");
        });
        objects.extend(manifest.objects.into_iter().map(|located| located.object));
    }
    let edits: Vec<_> = ours(granted(objects)?).into_iter().map(put).collect();
    let mut pipeline = Pipeline::new(1);
    pipeline.commit(edits.clone());
    let mut backwards = Pipeline::new(2);
    backwards.commit(edits.into_iter().rev());
    same(&backwards.results, &pipeline.results, "backwards")?;
    if let Some(envoy) = envoy {
        envoy.check(renderer, &pipeline.results)?;
    }
    let statuses = &pipeline.results.statuses;
    let served = if pipeline.results.resources.is_empty() { "nothing to serve" } else { "served" };
    let _ = writeln!(text, "  {served}, {} statuses", statuses.len());
    for (object, status) in statuses {
        for (place, condition) in conditions(status).filter(|(_, condition)| !is_well(condition)) {
            let _ = writeln!(text, "  {object}{place}: {condition}");
        }
    }
    Ok(text)
}

/// The objects, and those that they name and that aren't among them.
fn granted(mut objects: Vec<Object>) -> Result<Vec<Object>, String> {
    let mut known = BTreeSet::new();
    // Of several definitions the first counts, as for the control plane.
    objects.retain(|object| known.insert(object.id().to_string()));
    let mut missing = BTreeMap::new();
    for object in &objects {
        let namespace = object.metadata().namespace.clone().unwrap_or_default();
        let value = object.to_json().map_err(|why| why.to_string())?;
        references(&value, &mut |field, reference| {
            let text = |name: &str| reference[name].as_str();
            let (name, namespace) = (text("name").unwrap_or_default(), text("namespace").unwrap_or(&namespace));
            let (kind, spec) = match (field, text("kind")) {
                ("parentRefs", None | Some("Gateway")) => ("Gateway", GATEWAY.to_owned()),
                ("certificateRefs", None | Some("Secret")) => ("Secret", certificate()),
                ("backendRefs" | "backendRef", None | Some("Service")) => {
                    ("Service", format!("spec: {{ports: [{{port: {}}}]}}", reference["port"]))
                }
                _ => return,
            };
            let version = if kind == "Gateway" { "gateway.networking.k8s.io/v1" } else { "v1" };
            let yaml = format!(
                "apiVersion: {version}\nkind: {kind}\nmetadata: {{name: {name}, namespace: {namespace}}}\n{spec}\n"
            );
            missing.entry(format!("{kind} {namespace}/{name}")).or_insert(yaml);
        });
    }
    missing.retain(|id, _| !known.contains(id));
    for yaml in missing.values() {
        let manifest = api::manifest::read("granted", yaml);
        if let Some(problem) = manifest.problems.first() {
            return Err(format!("{problem}\n{yaml}"));
        }
        objects.extend(manifest.objects.into_iter().map(|located| located.object));
    }
    Ok(objects)
}

const GATEWAY: &str = "spec:\n  gatewayClassName: granted\n  listeners:\n  \
    - {name: http, port: 80, protocol: HTTP, allowedRoutes: {namespaces: {from: All}}}";

/// The data of a good Secret, from a case.
fn certificate() -> String {
    let case = include_str!("cases/tls-reference-grant.yaml");
    let line = |start: &str| case.lines().find(|line| line.trim_start().starts_with(start)).unwrap_or_default();
    format!("data:\n{}\n{}", line("tls.crt: "), line("tls.key: "))
}

/// Every reference in a value, with the name of the field that holds it.
fn references(value: &Value, found: &mut impl FnMut(&str, &Value)) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                if name.ends_with("Refs") {
                    value.as_array().into_iter().flatten().for_each(|reference| found(name, reference));
                } else if name.ends_with("Ref") {
                    found(name, value);
                }
                references(value, found);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        _ => {}
    }
}

/// The objects with every class that they name as ours.
fn ours(objects: Vec<Object>) -> Vec<Object> {
    let mut classes = BTreeSet::new();
    let mut kept = Vec::new();
    for object in objects {
        match object {
            Object::GatewayClass(class) => {
                classes.extend(class.metadata.name.clone());
            }
            Object::Gateway(gateway) => {
                classes.insert(gateway.spec.gateway_class_name.clone());
                kept.push(Object::Gateway(gateway));
            }
            other => kept.push(other),
        }
    }
    let class = |name: String| {
        let controller_name = resolve::CONTROLLER.to_owned();
        let spec = GatewayClassSpec { controller_name, parameters_ref: None, description: None };
        Object::GatewayClass(Arc::new(GatewayClass {
            metadata: ObjectMeta { name: Some(name), ..ObjectMeta::default() },
            spec,
        }))
    };
    kept.extend(classes.into_iter().map(class));
    kept
}

fn conditions(status: &Status) -> impl Iterator<Item = (String, &Condition)> {
    let own = status.conditions.iter().map(|condition| (String::new(), condition));
    let listeners = status.listeners.iter().flat_map(|listener| {
        listener.conditions.iter().map(|condition| (format!(" listener {}", listener.name), condition))
    });
    let parents = status.parents.iter().flat_map(|parent| {
        parent.conditions.iter().map(|condition| (format!(" on {} {}", parent.kind.1, parent.parent), condition))
    });
    own.chain(listeners).chain(parents)
}

/// Whether there is nothing to say about a condition.
fn is_well(condition: &Condition) -> bool {
    matches!(
        (condition.verdict.holds, condition.verdict.reason),
        (Some(true), "Accepted" | "ResolvedRefs" | "SupportedVersion") | (Some(false), "NoConflicts") | (None, _)
    )
}
