//! The CustomResourceDefinitions of Istio's kinds, out of our types: `charts/base/files` is what this test writes with
//! `UPDATE=1`. Rules that an API server is to hold beside types stand at the fields; the longer ones are here.

use crate::{AuthorizationPolicySpec, Kind, RequestAuthenticationSpec};
use schemars::{JsonSchema, Schema, generate::SchemaSettings};
use serde_json::{Map, Value, json};
use std::{collections::BTreeSet, fs, path::Path};

/// One of the ways in which a policy says what it applies to.
pub fn attachment() -> Value {
    json!([{
        "rule": "(has(self.selector) ? 1 : 0) + (has(self.targetRef) ? 1 : 0) + (has(self.targetRefs) ? 1 : 0) <= 1",
        "message": "wanted only one of selector, targetRef and targetRefs",
    }])
}

pub fn own_namespace() -> Value {
    json!([{"rule": "self.size() == 0", "message": "wanted no namespace: a policy applies only within its own"}])
}

pub fn accounts() -> Value {
    json!([{
        "rule": "(has(self.serviceAccounts) || has(self.notServiceAccounts)) ? (!has(self.principals) && \
                 !has(self.notPrincipals) && !has(self.namespaces) && !has(self.notNamespaces)) : true",
        "message": "wanted service accounts or principals and namespaces, not both",
    }])
}

pub fn url() -> Value {
    json!([{"rule": "url(self).getScheme() in ['http', 'https']", "message": "wanted a URI of scheme http or https"}])
}

pub fn duration() -> Value {
    json!([{"rule": "duration(self) >= duration('1ms')", "message": "wanted a duration of at least 1ms"}])
}

pub fn labels(schema: &mut Schema) {
    schema.insert("maxProperties".into(), json!(4096));
    schema.insert(
        "x-kubernetes-validations".into(),
        json!([
            {"rule": "self.all(key, !key.contains('*'))", "message": "wanted a label key without '*'"},
            {"rule": "self.all(key, key.size() != 0)", "message": "wanted a label key that is not empty"},
        ]),
    );
    let value = json!({
        "type": "string",
        "maxLength": 63,
        "x-kubernetes-validations": [{"rule": "!self.contains('*')", "message": "wanted a label value without '*'"}],
    });
    schema.insert("additionalProperties".into(), value);
}

/// Keys of an issuer: inline or by URI, in either spelling.
pub fn keys(schema: &mut Schema) {
    schema.insert(
        "x-kubernetes-validations".into(),
        json!([{
            "rule": "(has(self.jwksUri) ? 1 : 0) + (has(self.jwks_uri) ? 1 : 0) + (has(self.jwks) ? 1 : 0) <= 1",
            "message": "wanted only one of jwksUri and jwks",
        }]),
    );
    if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        let uri = properties["jwksUri"].clone();
        properties.insert("jwks_uri".into(), uri);
    }
}

/// What of JSON Schema an API server takes: no null beside another type, no `const`, no defaults of Rust's.
fn structural(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            for dropped in ["default", "title", "$schema", "format"] {
                fields.remove(dropped);
            }
            if let Some(Value::Array(types)) = fields.get("type") {
                let named = types.iter().find(|name| *name != "null").cloned();
                fields.insert("type".into(), named.unwrap_or_default());
            }
            if let Some(one) = fields.remove("anyOf").and_then(|any| optional(&any)) {
                let description = fields.remove("description");
                fields.extend(one);
                fields.extend(description.map(|description| ("description".to_owned(), description)));
            }
            if let Some(Value::Array(cases)) = fields.remove("oneOf") {
                let names: Vec<Value> = cases.iter().filter_map(|case| case.get("const").cloned()).collect();
                assert_eq!(names.len(), cases.len(), "an enum with fields has no structural schema yet");
                fields.extend(Map::from_iter([("enum".into(), names.into()), ("type".into(), "string".into())]));
            }
            // Properties are named by us: `title` or `default` among them are not the schema's words.
            if let Some(Value::Object(properties)) = fields.get_mut("properties") {
                properties.values_mut().for_each(structural);
            }
            for inner in ["items", "additionalProperties"] {
                if let Some(inner) = fields.get_mut(inner) {
                    structural(inner);
                }
            }
        }
        _ => panic!("not a schema: {schema}"),
    }
}

/// The schema of `T` in that of `Option<T>`.
fn optional(any: &Value) -> Option<Map<String, Value>> {
    any.as_array()?.iter().find(|one| one["type"] != "null")?.as_object().cloned()
}

fn schema<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    let mut spec = settings.into_generator().into_root_schema_for::<T>().to_value();
    structural(&mut spec);
    json!({"type": "object", "properties": {"spec": spec, "status": status()}})
}

/// Everybody may have something to say here, so nothing of it is taken away.
fn status() -> Value {
    json!({
        "type": "object",
        "x-kubernetes-preserve-unknown-fields": true,
        "properties": {
            "conditions": {
                "type": "array",
                "items": {
                    "type": "object",
                    "x-kubernetes-preserve-unknown-fields": true,
                    "properties": {
                        "type": {"type": "string"},
                        "status": {"type": "string"},
                        "reason": {"type": "string"},
                        "message": {"type": "string"},
                        "lastTransitionTime": {"type": "string", "format": "date-time"},
                    },
                },
            },
        },
    })
}

struct Definition {
    kind: Kind,
    plural: &'static str,
    short: &'static str,
    schema: Value,
    columns: Value,
}

impl Definition {
    fn to_manifest(&self) -> Value {
        let Self { kind, plural, short, schema, columns } = self;
        let versions = kind.versions().iter().enumerate().map(|(index, version)| {
            json!({
                "name": version,
                "served": true,
                // Both are the same, so the one that we write is the one that is stored.
                "storage": index == 0,
                "schema": {"openAPIV3Schema": schema},
                "subresources": {"status": {}},
                "additionalPrinterColumns": columns,
            })
        });
        json!({
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {
                "name": format!("{plural}.{}", kind.group()),
                "labels": {"app.kubernetes.io/part-of": "windlass"},
            },
            "spec": {
                "group": kind.group(),
                "names": {
                    "kind": kind.as_str(),
                    "listKind": format!("{}List", kind.as_str()),
                    "plural": plural,
                    "singular": kind.as_str().to_lowercase(),
                    "shortNames": [short],
                    "categories": ["istio-io", "security-istio-io"],
                },
                "scope": "Namespaced",
                "versions": versions.collect::<Vec<_>>(),
            },
        })
    }
}

fn definitions() -> [Definition; 2] {
    let age = json!({"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"});
    let action = json!({"name": "Action", "type": "string", "jsonPath": ".spec.action"});
    [
        Definition {
            kind: Kind::AuthorizationPolicy,
            plural: "authorizationpolicies",
            short: "ap",
            schema: schema::<AuthorizationPolicySpec>(),
            columns: json!([action, age]),
        },
        Definition {
            kind: Kind::RequestAuthentication,
            plural: "requestauthentications",
            short: "ra",
            schema: schema::<RequestAuthenticationSpec>(),
            columns: json!([age]),
        },
    ]
}

#[test]
fn the_chart_has_what_the_types_say() {
    let files = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../charts/base/files");
    for definition in definitions() {
        let file = files.join(format!("{}.yaml", definition.plural));
        let yaml = serde_yaml_ng::to_string(&definition.to_manifest()).unwrap();
        let wanted = format!("# Generated from src/api: UPDATE=1 cargo test -p api definition\n{yaml}");
        if std::env::var_os("UPDATE").is_some() {
            fs::write(&file, &wanted).unwrap();
        }
        let seen = fs::read_to_string(&file).unwrap_or_default();
        assert!(seen == wanted, "{} is not what the types say: UPDATE=1 cargo test -p api definition", file.display());
    }
}

/// What the version of Istio's that is looked at doesn't have yet.
const NEWER: &str = "spec.properties.jwtRules.items.properties.presence";

/// Istio's own definition, wherever it is known: whatever it takes, ours takes, and the other way round.
#[test]
fn istio_has_the_same() {
    let Some(directories) = std::env::var_os("WINDLASS_CRDS") else { return };
    let files =
        std::env::split_paths(&directories).map(|directory| directory.join("customresourcedefinitions.gen.yaml"));
    let text = files.filter_map(|file| fs::read_to_string(file).ok()).collect::<String>();
    let theirs: Vec<Value> = serde_yaml_ng::Deserializer::from_str(&text)
        .filter_map(|document| serde::Deserialize::deserialize(document).ok())
        .collect();
    for ours in definitions().map(|definition| definition.to_manifest()) {
        let theirs = theirs.iter().find(|theirs| theirs["metadata"]["name"] == ours["metadata"]["name"]);
        let theirs = theirs.unwrap_or_else(|| panic!("no {} among Istio's", ours["metadata"]["name"]));
        assert_eq!(ours["spec"]["names"], theirs["spec"]["names"]);
        for (ours, theirs) in versions(&ours).zip(versions(theirs)) {
            assert_eq!(ours["name"], theirs["name"]);
            assert_eq!(ours["storage"], theirs["storage"]);
            let spec = |version: &Value| bare(&version["schema"]["openAPIV3Schema"]["properties"]["spec"]);
            let (ours, theirs) = (lines("spec", &spec(ours)), lines("spec", &spec(theirs)));
            let differ: Vec<_> = ours.symmetric_difference(&theirs).filter(|line| !line.starts_with(NEWER)).collect();
            assert!(differ.is_empty(), "ours and Istio's differ in {differ:#?}");
        }
    }
}

fn versions(definition: &Value) -> impl Iterator<Item = &Value> {
    definition["spec"]["versions"].as_array().into_iter().flatten()
}

/// Without words, in a form in which equal schemas are equal.
fn bare(schema: &Value) -> Value {
    match schema {
        Value::Object(fields) => {
            let fields = fields.iter().filter(|(name, value)| match name.as_str() {
                "description" => !value.is_string(),
                // It says that a provider may be there or not.
                "oneOf" => false,
                _ => true,
            });
            fields
                .map(|(name, value)| {
                    (name.clone(), if name == "x-kubernetes-validations" { rules(value) } else { bare(value) })
                })
                .collect()
        }
        Value::Array(items) => items.iter().map(bare).collect(),
        other => other.clone(),
    }
}

fn rules(validations: &Value) -> Value {
    let rules = validations.as_array().into_iter().flatten();
    let plain = |rule: &Value| rule["rule"].as_str().unwrap_or_default().replace('\'', "\"").replace('\n', " ");
    rules.map(plain).collect()
}

fn lines(path: &str, value: &Value) -> BTreeSet<String> {
    match value {
        Value::Object(fields) => {
            fields.iter().flat_map(|(name, value)| lines(&format!("{path}.{name}"), value)).collect()
        }
        other => [format!("{path}: {other}")].into(),
    }
}
