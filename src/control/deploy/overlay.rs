//! One object laid over another, as `kubectl patch` does it by default: objects field by field, null takes a field away,
//! and items of the lists that have a key are found by it (Kubernetes' strategic merge).

use serde_json::{Map, Value};

/// The keys by which items of a list are the same, by the field that holds the list.
const KEYS: &[(&str, &[&str])] = &[
    ("containers", &["name"]),
    ("initContainers", &["name"]),
    ("env", &["name"]),
    ("volumes", &["name"]),
    ("volumeMounts", &["mountPath"]),
    ("imagePullSecrets", &["name"]),
    ("ports", &["containerPort", "port", "protocol"]),
    ("hostAliases", &["ip"]),
    ("topologySpreadConstraints", &["topologyKey", "whenUnsatisfiable"]),
    ("metrics", &[]),
];

/// What a patch may say of itself: `$patch: delete` or `$patch: replace`.
const DIRECTIVE: &str = "$patch";

/// Lays a value over another one.
pub(super) fn merge(base: &mut Value, over: &Value) {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => merge_fields(base, over),
        (base, over) => *base = without_directives(over),
    }
}

fn merge_fields(base: &mut Map<String, Value>, over: &Map<String, Value>) {
    if over.get(DIRECTIVE).is_some_and(|directive| directive == "replace") {
        base.clear();
    }
    for (name, over) in over.iter().filter(|(name, _)| *name != DIRECTIVE) {
        match (base.get_mut(name), over) {
            (_, Value::Null) => {
                base.remove(name);
            }
            (Some(Value::Array(base)), Value::Array(over)) if keys(name).is_some() => {
                merge_items(base, over, keys(name).unwrap_or_default());
            }
            (Some(below), over) => merge(below, over),
            (None, over) => {
                base.insert(name.clone(), without_directives(over));
            }
        }
    }
}

fn merge_items(base: &mut Vec<Value>, over: &[Value], keys: &[&str]) {
    if over.iter().any(|item| item[DIRECTIVE] == "replace" && item.as_object().is_some_and(|item| item.len() == 1)) {
        base.clear();
    }
    for item in over.iter().filter(|item| item[DIRECTIVE] != "replace") {
        let place = base.iter().position(|known| is_same(known, item, keys));
        match (place, item[DIRECTIVE] == "delete") {
            (Some(place), true) => {
                base.remove(place);
            }
            (Some(place), false) => merge(&mut base[place], item),
            (None, true) => {}
            (None, false) => base.push(without_directives(item)),
        }
    }
}

/// Two items that have none of the keys are not the same. A protocol that isn't written is TCP.
fn is_same(known: &Value, item: &Value, keys: &[&str]) -> bool {
    let default = |key: &str| if key == "protocol" { Value::from("TCP") } else { Value::Null };
    let value = |of: &Value, key: &str| of.get(key).cloned().unwrap_or_else(|| default(key));
    let has_one = keys.iter().any(|key| item.get(key).is_some());
    has_one && keys.iter().all(|key| value(known, key) == value(item, key))
}

fn keys(field: &str) -> Option<&'static [&'static str]> {
    KEYS.iter().find(|(name, _)| *name == field).map(|(_, keys)| *keys)
}

fn without_directives(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let kept = fields.iter().filter(|(name, value)| *name != DIRECTIVE && !value.is_null());
            Value::Object(kept.map(|(name, value)| (name.clone(), without_directives(value))).collect())
        }
        Value::Array(items) => {
            Value::Array(items.iter().filter(|item| item[DIRECTIVE] != "delete").map(without_directives).collect())
        }
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn merged(mut base: Value, over: Value) -> Value {
        merge(&mut base, &over);
        base
    }

    #[test]
    fn fields_are_laid_over_and_null_takes_away() {
        let base = json!({"a": {"b": 1, "c": 2}, "d": [1, 2]});
        assert_eq!(merged(base.clone(), json!({"a": {"b": 3, "c": null}})), json!({"a": {"b": 3}, "d": [1, 2]}));
        assert_eq!(merged(base.clone(), json!({"d": [3]})), json!({"a": {"b": 1, "c": 2}, "d": [3]}));
        assert_eq!(
            merged(base, json!({"a": {"$patch": "replace", "e": null}, "f": 1})),
            json!({"a": {}, "d": [1, 2], "f": 1})
        );
    }

    #[test]
    fn items_are_found_by_their_keys() {
        let base = json!({"containers": [{"name": "proxy", "image": "a", "env": [{"name": "X", "value": "1"}]}]});
        let over = json!({"containers": [
            {"name": "proxy", "env": [{"name": "X", "$patch": "delete"}, {"name": "Y", "value": "2"}]},
            {"name": "more", "image": "b"},
        ]});
        let wanted = json!({"containers": [
            {"name": "proxy", "image": "a", "env": [{"name": "Y", "value": "2"}]},
            {"name": "more", "image": "b"},
        ]});
        assert_eq!(merged(base, over), wanted);
        let base = json!({"ports": [{"name": "http", "port": 80, "protocol": "TCP"}]});
        let over = json!({"ports": [{"port": 80, "nodePort": 30080}, {"port": 80, "protocol": "UDP"}]});
        let wanted = json!({"ports": [
            {"name": "http", "port": 80, "protocol": "TCP", "nodePort": 30080},
            {"port": 80, "protocol": "UDP"},
        ]});
        assert_eq!(merged(base, over), wanted);
    }
}
