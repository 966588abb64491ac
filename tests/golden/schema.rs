//! The inputs held against the real CRDs.

use crate::case::Case;
use jsonschema::Validator;
use serde_json::Value;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// Validators by group, version and kind.
pub struct Schemas {
    validators: BTreeMap<(String, String, String), Validator>,
}

impl Schemas {
    /// Reads what `WINDLASS_CRDS` names: directories and files with CRDs, separated by colons. None if it is not set.
    pub fn from_environment() -> Option<Self> {
        let paths = std::env::var_os("WINDLASS_CRDS")?;
        let mut schemas = Self { validators: BTreeMap::new() };
        for file in std::env::split_paths(&paths).flat_map(|path| yaml_files(&path)) {
            let text = std::fs::read_to_string(&file).unwrap_or_else(|why| panic!("{}: {why}", file.display()));
            for document in serde_yaml_ng::Deserializer::from_str(&text) {
                let document = serde::Deserialize::deserialize(document);
                schemas.add(&document.unwrap_or_else(|why| panic!("{}: {why}", file.display())));
            }
        }
        assert!(!schemas.validators.is_empty(), "WINDLASS_CRDS names no CRD: {}", paths.to_string_lossy());
        Some(schemas)
    }

    fn add(&mut self, document: &Value) {
        if document["kind"] != "CustomResourceDefinition" {
            return;
        }
        let spec = &document["spec"];
        for version in spec["versions"].as_array().into_iter().flatten() {
            let schema = strict(version["schema"]["openAPIV3Schema"].clone(), true);
            let validator = jsonschema::options().build(&schema).unwrap_or_else(|why| panic!("{why}"));
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let key = (text(&spec["group"]), text(&version["name"]), text(&spec["names"]["kind"]));
            self.validators.insert(key, validator);
        }
    }

    /// Every object of a case of a kind with a CRD must be one that an API server takes, unless a line `# invalid: KIND
    /// NAME` says that it is wrong on purpose: then it must be refused.
    pub fn check(&self, case: &Case) -> Result<(), String> {
        let wrong: Vec<&str> = case.input.lines().filter_map(|line| line.strip_prefix("# invalid: ")).collect();
        for document in serde_yaml_ng::Deserializer::from_str(&case.input) {
            // What is no YAML at all is for `api` to refuse.
            let Ok(object) = <Value as serde::Deserialize>::deserialize(document) else { return Ok(()) };
            let (api_version, kind) = (object["apiVersion"].as_str().unwrap_or_default(), object["kind"].as_str());
            let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
            let kind = kind.unwrap_or_default();
            let Some(validator) = self.validators.get(&(group.into(), version.into(), kind.into())) else { continue };
            let name = format!("{kind} {}", object["metadata"]["name"].as_str().unwrap_or_default());
            let errors: Vec<_> =
                validator.iter_errors(&object).map(|error| format!("{}: {error}", error.instance_path())).collect();
            match (errors.is_empty(), wrong.contains(&&*name)) {
                (true, false) | (false, true) => {}
                (false, false) => return Err(format!("{name} is not what its CRD allows: {}", errors.join("; "))),
                (true, true) => return Err(format!("{name} is marked as invalid and its CRD allows it")),
            }
        }
        Ok(())
    }
}

/// An API server drops fields that the schema doesn't name; a case that has one has a mistake.
fn strict(mut schema: Value, is_root: bool) -> Value {
    if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        if is_root {
            // Istio's leave out what every object has.
            for name in ["apiVersion", "kind", "metadata"] {
                properties.entry(name).or_insert(true.into());
            }
        }
        for (name, property) in properties.iter_mut() {
            // Of metadata the CRD says no more than that it is an object.
            if !(is_root && name == "metadata") {
                *property = strict(property.take(), false);
            }
        }
        if schema.get("additionalProperties").is_none() && schema["x-kubernetes-preserve-unknown-fields"] != true {
            schema["additionalProperties"] = false.into();
        }
    }
    if let Some(items) = schema.get_mut("items") {
        *items = strict(items.take(), false);
    }
    schema
}

fn yaml_files(path: &Path) -> Vec<PathBuf> {
    if path.is_file() {
        return vec![path.to_owned()];
    }
    let entries = std::fs::read_dir(path).unwrap_or_else(|why| panic!("{}: {why}", path.display()));
    let mut files: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "yaml"));
    files.sort();
    files
}
