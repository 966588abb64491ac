use super::*;
use model::{ListenerStatus, ObjectKey, Verdict};

const OURS: &str = "windlass.io/gateway-controller";

fn compare(kind: &str, present: &Value, wanted: Option<&Status>, now: &str) -> Option<Difference> {
    difference(kind, present, wanted, &around(now))
}

/// Gateways named `theirs` are another revision's.
fn around(now: &str) -> Around<'_> {
    Around { is_ours: &|name| name == OURS, is_elsewhere: &|parent| parent["name"] == "theirs", now, hold: true }
}

/// What stands after the difference is written.
fn after(present: &Value, difference: &Difference) -> Value {
    let mut present = present.as_object().cloned().unwrap_or_default();
    for (name, value) in &difference.fields {
        match value {
            Value::Null => present.remove(name),
            value => present.insert(name.clone(), value.clone()),
        };
    }
    present.into()
}

fn parent(name: &str, condition: Condition) -> ParentStatus {
    ParentStatus {
        controller: OURS.into(),
        kind: ("gateway.networking.k8s.io".into(), "Gateway".into()),
        parent: ObjectKey::new("shop", name),
        explicit_namespace: false,
        section: None,
        port: None,
        conditions: vec![condition],
    }
}

fn route(parents: Vec<ParentStatus>, generation: i64) -> Status {
    Status { observed_generation: generation, parents, ..Status::default() }
}

fn programmed(holds: Option<bool>, reason: &'static str) -> Condition {
    Condition { kind: "Programmed", verdict: Verdict { holds, reason, message: String::new() } }
}

#[test]
fn entries_of_others_stay_and_ours_come_and_go() {
    ["HTTPRoute", "XBackend"].into_iter().for_each(entries_come_and_go);
}

fn entries_come_and_go(kind: &str) {
    let foreign = json!({"parentRef": {"name": "other"}, "controllerName": "example.com/x", "conditions": []});
    let present = json!({"parents": [foreign]});
    let yes = || Condition::yes("Accepted", "Accepted");
    let wanted = route(vec![parent("gw", yes())], 1);
    let first = compare(kind, &present, Some(&wanted), "t1").unwrap();
    let written = after(&present, &first);
    assert_eq!(written["parents"][0], foreign);
    assert_eq!(
        written["parents"][1],
        json!({
            "parentRef": {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "gw"},
            "controllerName": OURS,
            "conditions": [{"type": "Accepted", "status": "True", "reason": "Accepted", "message": "",
                "observedGeneration": 1, "lastTransitionTime": "t1"}],
        })
    );
    assert_eq!(compare(kind, &written, Some(&wanted), "t2"), None);
    let gone = after(&written, &compare(kind, &written, None, "t2").unwrap());
    assert_eq!(gone, present);
    assert_eq!(compare(kind, &gone, None, "t3"), None);
}

#[test]
fn the_time_changes_with_the_status_only() {
    let time = |status: &Value| status["parents"][0]["conditions"][0]["lastTransitionTime"].clone();
    let write = |present: &Value, condition: Condition, generation: i64, now: &str| {
        let wanted = route(vec![parent("gw", condition)], generation);
        after(present, &compare("HTTPRoute", present, Some(&wanted), now).unwrap())
    };
    let first = write(&json!({}), Condition::yes("Accepted", "Accepted"), 1, "t1");
    let second = write(&first, Condition::yes("Accepted", "Accepted"), 2, "t2");
    assert_eq!(time(&second), "t1");
    assert_eq!(second["parents"][0]["conditions"][0]["observedGeneration"], 2);
    let third = write(&second, Condition::no("Accepted", "NoMatchingParent", "why"), 2, "t3");
    assert_eq!(time(&third), "t3");
}

#[test]
fn conditions_of_others_stay_and_old_ones_of_ours_go() {
    let present = json!({"conditions": [
        {"type": "example.com/Checked", "status": "True"},
        {"type": "ResolvedRefs", "status": "True", "lastTransitionTime": "t0"},
    ]});
    let wanted = Status { conditions: vec![Condition::yes("Accepted", "Accepted")], ..Status::default() };
    let written = after(&present, &compare("AuthorizationPolicy", &present, Some(&wanted), "t1").unwrap());
    let types: Vec<_> = written["conditions"].as_array().unwrap().iter().map(|one| one["type"].clone()).collect();
    assert_eq!(types, ["example.com/Checked", "Accepted"]);
}

fn gateway(condition: Condition, attached: u32) -> Status {
    let listener = ListenerStatus {
        name: "http".into(),
        port: 80,
        supported_kinds: vec![("gateway.networking.k8s.io", "HTTPRoute")],
        attached_routes: attached,
        conditions: vec![condition.clone()],
    };
    Status { observed_generation: 1, conditions: vec![condition], listeners: vec![listener], ..Status::default() }
}

#[test]
fn counts_are_told_from_all_else() {
    let yes = || programmed(Some(true), "Programmed");
    let first = compare("Gateway", &Value::Null, Some(&gateway(yes(), 0)), "t1").unwrap();
    assert!(!first.is_count);
    // No addresses and none wanted: no field.
    assert!(!first.fields.contains_key("addresses"));
    let written = after(&json!({}), &first);
    let more = compare("Gateway", &written, Some(&gateway(yes(), 3)), "t2").unwrap();
    assert!(more.is_count);
    let written = after(&written, &more);
    assert_eq!(written["listeners"][0]["attachedRoutes"], 3);
    let no = gateway(programmed(Some(false), "Invalid"), 3);
    assert!(!compare("Gateway", &written, Some(&no), "t3").unwrap().is_count);
}

#[test]
fn programmed_outlives_that_proxies_are_behind_but_no_refusal_and_no_new_generation() {
    let yes = gateway(programmed(Some(true), "Programmed"), 0);
    let written = after(&json!({}), &compare("Gateway", &Value::Null, Some(&yes), "t1").unwrap());
    let pending = gateway(programmed(Some(false), "Pending"), 0);
    let held = compare("Gateway", &written, Some(&pending), "t2").unwrap();
    assert!(held.is_held && held.fields.is_empty(), "{held:?}");
    let patient = Around { hold: false, ..around("t2") };
    assert!(!difference("Gateway", &written, Some(&pending), &patient).unwrap().fields.is_empty());
    let refused = gateway(programmed(Some(false), "Invalid"), 0);
    assert!(!compare("Gateway", &written, Some(&refused), "t2").unwrap().fields.is_empty());
    let newer = Status { observed_generation: 2, ..pending };
    assert!(!compare("Gateway", &written, Some(&newer), "t2").unwrap().fields.is_empty());
}
