use super::*;
use serde_json::json;

fn service(name: &str, version: u32, port: Value) -> DynamicObject {
    let object = json!({
        "metadata": {
            "name": name, "namespace": "n", "resourceVersion": version.to_string(), "uid": name,
            "managedFields": [{"manager": "m", "operation": "Apply"}],
            "annotations": {"kubectl.kubernetes.io/last-applied-configuration": format!("{version}")},
        },
        "spec": {"ports": [{"port": port}]},
        "status": {"conditions": [{"type": "Checked", "message": format!("{version}")}]},
    });
    serde_json::from_value(object).unwrap()
}

fn said(changes: &Changes) -> Vec<String> {
    let sign = |object: &Option<Object>| if object.is_some() { '+' } else { '-' };
    changes.iter().map(|(id, object)| format!("{}{}", sign(object), id.name)).collect()
}

#[test]
fn a_list_is_swapped_whole_and_only_what_differs_is_told() {
    let mut known = Known::new(Kind::Service);
    known.begin();
    assert!(known.apply(service("a", 1, json!(80))).is_empty());
    assert!(known.apply(service("b", 1, json!(80))).is_empty());
    assert_eq!(said(&known.done()), ["+a", "+b"]);

    known.begin();
    assert!(known.apply(service("a", 2, json!(80))).is_empty());
    assert!(known.apply(service("c", 2, json!(80))).is_empty());
    // The connection broke in the middle of the list: it is read from its beginning.
    known.begin();
    assert!(known.apply(service("a", 2, json!(80))).is_empty());
    assert!(known.apply(service("d", 2, json!(80))).is_empty());
    assert_eq!(said(&known.done()), ["-b", "+d"]);
    assert_eq!(said(&known.absent()), ["-a", "-d"]);
}

#[test]
fn what_means_nothing_to_us_is_no_change() {
    let mut known = Known::new(Kind::Service);
    let first = known.apply(service("a", 1, json!(80)));
    let metadata = first.values().flatten().next().unwrap().metadata();
    assert_eq!((&metadata.managed_fields, &metadata.annotations, &metadata.resource_version), (&None, &None, &None));
    assert!(known.apply(service("a", 2, json!(80))).is_empty());
    assert_eq!(said(&known.apply(service("a", 3, json!(81)))), ["+a"]);
}

#[test]
fn a_bad_object_stays_as_it_was_and_is_told_of() {
    let mut known = Known::new(Kind::Service);
    assert_eq!(said(&known.apply(service("a", 1, json!(80)))), ["+a"]);
    assert_eq!(known.problems(), None);
    assert!(known.apply(service("a", 2, json!("eighty"))).is_empty());
    let problems = known.problems().unwrap();
    assert_eq!(problems[0].path.to_string(), "spec.ports[0].port");
    assert!(problems[0].message.contains("what was known before stays in use"), "{}", problems[0]);
    assert!(known.apply(service("a", 3, json!("eighty"))).is_empty());
    assert_eq!(known.problems(), None, "told once");
    assert_eq!(said(&known.apply(service("a", 4, json!(81)))), ["+a"]);
    assert_eq!(known.problems(), Some(Vec::new()));
    known.apply(service("a", 5, json!("eighty")));
    assert_eq!(said(&known.delete(&service("a", 5, json!(80)).metadata)), ["-a"]);
    assert_eq!(known.problems(), Some(Vec::new()));
}
