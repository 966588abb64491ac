//! One document: an object or a list of objects.

use super::{
    Reader,
    yaml::{Node, Spot},
};
use crate::{
    Kind, Object, ObjectId,
    problem::{FieldPath, Severity, Step},
    validate,
};
use serde_json::{Map, Value};

/// Reads a document. `item_of` is the group/version and kind that a typed list (`HTTPRouteList`) gives its items.
pub fn read(reader: &mut Reader, node: Node, item_of: Option<(&str, &str)>) {
    let place = (node.spot.line, node.spot.column);
    let Value::Object(mut fields) = node.value else {
        let message = "wanted an object with apiVersion and kind, saw something else".to_owned();
        return reader.problem(Severity::Error, place, None, FieldPath::default(), message);
    };
    if let Some((api_version, kind)) = item_of {
        fields.entry("apiVersion").or_insert_with(|| api_version.into());
        fields.entry("kind").or_insert_with(|| kind.into());
    }
    let text = |name: &str| fields.get(name).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned);
    let (api_version, kind) = (text("apiVersion"), text("kind"));
    let (Some(api_version), Some(kind)) = (&api_version, &kind) else {
        let missing = if api_version.is_none() { "apiVersion" } else { "kind" };
        let message = format!("wanted text in {missing}, it is missing");
        return reader.problem(Severity::Error, place, None, FieldPath::default(), message);
    };
    if let Some(item_kind) = kind.strip_suffix("List")
        && fields.contains_key("items")
    {
        let item_of = (!item_kind.is_empty()).then_some((api_version.as_str(), item_kind));
        return read_list(reader, fields, node.spot, item_of);
    }
    let id = id(&fields, kind);
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let Some(known) = Kind::find(group, kind) else {
        let message = format!("{api_version} {kind} is not a kind that Windlass reads: left alone");
        return reader.problem(Severity::Note, place, Some(id), FieldPath::default(), message);
    };
    if !known.versions().contains(&version) {
        let message = format!("wanted version {} of {kind}, saw {version}", known.versions().join(" or "));
        let path = FieldPath(vec![Step::Field("apiVersion".into())]);
        return reader.problem(Severity::Error, node.spot.at(&path), Some(id), path, message);
    }
    read_object(reader, known, id, fields, &node.spot);
}

fn read_list(reader: &mut Reader, mut fields: Map<String, Value>, spot: Spot, item_of: Option<(&str, &str)>) {
    let place = (spot.line, spot.column);
    match fields.remove("items") {
        Some(Value::Array(items)) => {
            for (value, spot) in items.into_iter().zip(spot.into_items("items")) {
                read(reader, Node { value, spot }, item_of);
            }
        }
        Some(Value::Null) | None => {}
        Some(_) => {
            let path = FieldPath(vec![Step::Field("items".into())]);
            reader.problem(Severity::Error, place, None, path, "wanted a list, saw something else".to_owned());
        }
    }
}

/// The place of an object in a document, itself or among the items of a list.
pub fn find(node: Node, object: &ObjectId, item_of: Option<&str>) -> Option<Spot> {
    let Value::Object(mut fields) = node.value else { return None };
    let kind = fields.get("kind").and_then(Value::as_str).or(item_of)?.to_owned();
    if let Some(item_kind) = kind.strip_suffix("List")
        && let Some(Value::Array(items)) = fields.remove("items")
    {
        let item_of = (!item_kind.is_empty()).then_some(item_kind);
        let mut items = items.into_iter().zip(node.spot.into_items("items"));
        return items.find_map(|(value, spot)| find(Node { value, spot }, object, item_of));
    }
    (id(&fields, &kind) == *object).then_some(node.spot)
}

/// The id that a value claims, also when the rest of it is broken.
fn id(fields: &Map<String, Value>, kind: &str) -> ObjectId {
    let text = |name: &str| fields.get("metadata").and_then(|metadata| metadata.get(name)).and_then(Value::as_str);
    let namespaced = Kind::ALL.iter().find(|known| known.as_str() == kind).is_none_or(|known| known.is_namespaced());
    let namespace =
        if namespaced { text("namespace").filter(|text| !text.is_empty()).unwrap_or("default") } else { "" };
    ObjectId { kind: kind.into(), namespace: namespace.into(), name: text("name").unwrap_or_default().into() }
}

fn read_object(reader: &mut Reader, kind: Kind, id: ObjectId, mut fields: Map<String, Value>, spot: &Spot) {
    // Status is ours to write; what a dump of a cluster holds is old. A Service's says where it is reached.
    let status = fields.remove("status");
    if let Some(reached) =
        status.as_ref().and_then(|status| status.get("loadBalancer")).filter(|_| kind == Kind::Service)
    {
        fields.insert("status".into(), serde_json::json!({"loadBalancer": reached}));
    }
    // The API server serves every version of a kind as every other; the types check only their own.
    fields.insert("apiVersion".into(), kind.api_version().into());
    let bare = !matches!(kind, Kind::Namespace | Kind::Service | Kind::EndpointSlice | Kind::Secret | Kind::ConfigMap);
    if bare {
        fields.remove("apiVersion");
        fields.remove("kind");
    }
    let mut value = Value::Object(fields);
    drop_nulls(&mut value);
    if kind == Kind::Secret {
        merge_string_data(&mut value);
    }
    let mut ignored = Vec::new();
    let object = deserialize(kind, value, &mut ignored);
    // A policy without one of its conditions is another policy: nothing of it is ignored.
    let strict = matches!(kind, Kind::AuthorizationPolicy | Kind::RequestAuthentication) && !ignored.is_empty();
    for path in ignored {
        let (severity, message) = match strict {
            true => (Severity::Error, "no such field in this kind"),
            false => (Severity::Warning, "no such field in this kind: ignored"),
        };
        reader.problem(severity, spot.at(&path), Some(id.clone()), path, message.to_owned());
    }
    if strict {
        return;
    }
    match object {
        Err((path, message)) => reader.problem(Severity::Error, spot.at(&path), Some(id), path, message),
        Ok(mut object) => {
            let metadata = object.metadata_mut();
            metadata.namespace = (!id.namespace.is_empty()).then(|| id.namespace.to_string());
            metadata.managed_fields = None;
            let violations = validate::check(&object);
            if violations.is_empty() {
                return reader.object(object, spot.line);
            }
            for validate::Violation { path, message } in violations {
                reader.problem(Severity::Error, spot.at(&path), Some(id.clone()), path, message);
            }
        }
    }
}

/// Removes fields that are null: to an API server they are absent.
fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, value| !value.is_null());
            fields.values_mut().for_each(drop_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

/// `stringData` is written into `data`, as an API server does.
fn merge_string_data(value: &mut Value) {
    let Some(fields) = value.as_object_mut() else { return };
    let Some(Value::Object(texts)) = fields.get("stringData").cloned() else { return };
    if !texts.values().all(Value::is_string) {
        return; // The type says what is wrong.
    }
    fields.remove("stringData");
    if let Some(data) = fields.entry("data").or_insert_with(|| Value::Object(Map::new())).as_object_mut() {
        for (key, text) in texts {
            let bytes = k8s_openapi::ByteString(text.as_str().unwrap_or_default().into());
            // A ByteString always is a JSON string.
            data.insert(key, serde_json::to_value(bytes).unwrap_or_default());
        }
    }
}

fn deserialize(kind: Kind, value: Value, ignored: &mut Vec<FieldPath>) -> Result<Object, (FieldPath, String)> {
    let mut track = serde_path_to_error::Track::new();
    let mut note = |path: serde_ignored::Path<'_>| ignored.push(ignored_path(&path));
    let tracked = serde_path_to_error::Deserializer::new(value, &mut track);
    let result = Object::deserialize(kind, serde_ignored::Deserializer::new(tracked, &mut note));
    result.map_err(|error| (error_path(&track.path()), say(&error.to_string())))
}

fn ignored_path(path: &serde_ignored::Path<'_>) -> FieldPath {
    use serde_ignored::Path;
    let (parent, step) = match path {
        Path::Root => return FieldPath::default(),
        Path::Seq { parent, index } => (parent, Some(Step::Item(*index))),
        Path::Map { parent, key } => (parent, Some(Step::Field(key.clone()))),
        Path::Some { parent } | Path::NewtypeStruct { parent } | Path::NewtypeVariant { parent } => (parent, None),
    };
    let mut path = ignored_path(parent);
    path.0.extend(step);
    path
}

fn error_path(path: &serde_path_to_error::Path) -> FieldPath {
    use serde_path_to_error::Segment;
    let steps = path.iter().filter_map(|segment| match segment {
        Segment::Seq { index } => Some(Step::Item(*index)),
        Segment::Map { key } => Some(Step::Field(key.clone())),
        Segment::Enum { .. } | Segment::Unknown => None,
    });
    FieldPath(steps.collect())
}

/// Serde's sentence in our words: what was wanted, what was seen.
fn say(message: &str) -> String {
    const TYPES: &[(&str, &str)] = &[
        ("u16", "a whole number from 0 to 65535"),
        ("u32", "a whole number from 0 to 4294967295"),
        ("i32", "a whole number"),
        ("i64", "a whole number"),
        ("a string", "text"),
        ("a sequence", "a list"),
        ("a map", "a map"),
        ("a boolean", "true or false"),
    ];
    if let Some(field) = message.strip_prefix("missing field ") {
        return format!("wanted a field {field}, it is missing");
    }
    let seen =
        ["invalid type: ", "invalid value: ", "unknown variant "].iter().find_map(|start| message.strip_prefix(start));
    match seen.and_then(|rest| rest.rsplit_once(", expected ")) {
        Some((seen, wanted)) => {
            let wanted = TYPES.iter().find(|(name, _)| *name == wanted).map_or(wanted, |(_, words)| words);
            let wanted = if wanted.starts_with("struct ") { "an object" } else { wanted };
            format!("wanted {wanted}, saw {seen}")
        }
        None => message.to_owned(),
    }
}
