//! Two values, field by field.

use serde::Serialize;
use serde_json::Value;
use std::{collections::BTreeSet, fmt};

/// A field that differs. None is absent.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Field {
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    old: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    new: Option<Value>,
}

/// What differs. Items of lists are compared by name where they have one, else by place.
pub fn difference(old: &Value, new: &Value) -> Vec<Field> {
    let mut fields = Vec::new();
    compare("", Some(old), Some(new), &mut fields);
    fields
}

fn compare(path: &str, old: Option<&Value>, new: Option<&Value>, out: &mut Vec<Field>) {
    match (old, new) {
        (old, new) if old == new => {}
        (Some(Value::Object(old)), Some(Value::Object(new))) => {
            for name in old.keys().chain(new.keys()).collect::<BTreeSet<_>>() {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                compare(&path, old.get(name), new.get(name), out);
            }
        }
        (Some(Value::Array(old)), Some(Value::Array(new))) => lists(path, old, new, out),
        (old, new) => out.push(Field { path: path.into(), old: old.cloned(), new: new.cloned() }),
    }
}

fn lists(path: &str, old: &[Value], new: &[Value], out: &mut Vec<Field>) {
    let Some((olds, news)) = names(old).zip(names(new)) else {
        for index in 0..old.len().max(new.len()) {
            compare(&format!("{path}[{index}]"), old.get(index), new.get(index), out);
        }
        return;
    };
    let item = |names: &[&str], values: &'_ [Value], name: &str| -> Option<Value> {
        names.iter().position(|one| *one == name).map(|index| values[index].clone())
    };
    for name in olds.iter().chain(news.iter().filter(|name| !olds.contains(name))) {
        let (before, after) = (item(&olds, old, name), item(&news, new, name));
        compare(&format!("{path}[{name}]"), before.as_ref(), after.as_ref(), out);
    }
    let kept = |names: &[&str], others: &[&str]| -> Vec<String> {
        names.iter().filter(|name| others.contains(name)).map(|name| (*name).to_owned()).collect()
    };
    let (before, after) = (kept(&olds, &news), kept(&news, &olds));
    if before != after {
        out.push(Field { path: format!("{path} (order)"), old: Some(before.into()), new: Some(after.into()) });
    }
}

/// The names of the items, if all have one and no two the same.
fn names(items: &[Value]) -> Option<Vec<&str>> {
    let names: Option<Vec<&str>> = items.iter().map(|item| item.get("name")?.as_str()).collect();
    names.filter(|names| names.iter().collect::<BTreeSet<_>>().len() == names.len())
}

/// Longest text of a value.
const LONGEST: usize = 160;

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |value: &Value| {
            let text = value.to_string();
            match text.char_indices().nth(LONGEST) {
                None => text,
                Some((end, _)) => format!("{}…", &text[..end]),
            }
        };
        match (&self.old, &self.new) {
            (Some(old), Some(new)) => write!(f, "{}: {} -> {}", self.path, text(old), text(new)),
            (None, Some(new)) => write!(f, "{}: + {}", self.path, text(new)),
            (Some(old), None) => write!(f, "{}: - {}", self.path, text(old)),
            (None, None) => write!(f, "{}", self.path),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn items_are_compared_by_name_or_by_place() {
        let texts = |old: Value, new: Value| -> Vec<String> {
            difference(&old, &new).iter().map(ToString::to_string).collect()
        };
        assert!(texts(json!({"a": [1]}), json!({"a": [1]})).is_empty());
        assert_eq!(texts(json!({"a": [1, 2]}), json!({"a": [1, 3, 4]})), ["a[1]: 2 -> 3", "a[2]: + 4"]);
        let old = json!({"r": [{"name": "x", "v": 1}, {"name": "y", "v": 1}]});
        let new = json!({"r": [{"name": "z", "v": 1}, {"name": "y", "v": 2}, {"name": "x", "v": 1}]});
        let wanted =
            ["r[y].v: 1 -> 2", "r[z]: + {\"name\":\"z\",\"v\":1}", "r (order): [\"x\",\"y\"] -> [\"y\",\"x\"]"];
        assert_eq!(texts(old, new), wanted);
    }
}
