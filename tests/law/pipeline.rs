//! The law of the engine, for everything from Kubernetes objects to Envoy resources: after any sequence of edits the
//! result is what a fresh start with the same objects gives, byte for byte, with any number of threads. And what an edit
//! costs doesn't depend on how many objects there are.

#![allow(clippy::unwrap_used, reason = "a test")]

#[path = "../golden/pipeline.rs"]
mod pipeline;

use api::{Object, ObjectId};
use pipeline::{Edit, Pipeline, put};
use proptest::{prelude::*, test_runner::TestRunner};
use std::{collections::BTreeMap, path::Path};

/// The objects of all golden cases: they share a few names, so that they replace, resolve and contradict each other.
fn vocabulary() -> Vec<Object> {
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/cases");
    let entries = std::fs::read_dir(cases).expect("the golden cases");
    let mut files: Vec<_> = entries.map(|entry| entry.expect("a golden case").path()).collect();
    files.sort();
    let texts = files.iter().map(|file| std::fs::read_to_string(file).expect("a golden case"));
    texts.flat_map(|text| objects(text.split("# ==== expected").next().unwrap_or_default())).collect()
}

fn objects(yaml: &str) -> Vec<Object> {
    api::manifest::read("f", yaml).objects.into_iter().map(|located| located.object).collect()
}

/// A class, a Gateway with two listeners, and a Service with an endpoint and a route of its own for each number.
fn many(count: usize) -> Vec<Object> {
    let mut yaml = String::from(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: GatewayClass\nmetadata: {name: windlass}\n\
         spec: {controllerName: windlass.io/gateway-controller}\n---\n\
         apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {name: gw, namespace: shop}\n\
         spec:\n  gatewayClassName: windlass\n  listeners:\n  - {name: http, port: 80, protocol: HTTP}\n  \
         - {name: alt, port: 8080, protocol: HTTP, allowedRoutes: {namespaces: {from: Selector, selector: \
         {matchLabels: {tier: web}}}}}\n---\n\
         apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n",
    );
    for number in 0..count {
        yaml += &route(number, "/");
        yaml += &format!(
            "---\napiVersion: v1\nkind: Service\nmetadata: {{name: s{number}, namespace: shop}}\n\
             spec: {{ports: [{{port: 80}}]}}\n"
        );
        yaml += &slice(number, 1);
    }
    objects(&yaml)
}

fn route(number: usize, path: &str) -> String {
    format!(
        "---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {{name: r{number}, namespace: shop}}\n\
         spec:\n  parentRefs: [{{name: gw}}]\n  hostnames: [h{number}.test]\n  rules:\n  \
         - matches: [{{path: {{value: {path}}}}}]\n    backendRefs: [{{name: s{number}, port: 80}}]\n"
    )
}

fn slice(number: usize, last: u8) -> String {
    format!(
        "---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {{name: s{number}-1, namespace: shop, \
         labels: {{kubernetes.io/service-name: s{number}}}}}\naddressType: IPv4\nports: [{{port: 8080}}]\n\
         endpoints: [{{addresses: [10.0.0.{last}]}}]\n"
    )
}

#[test]
fn any_way_leads_to_the_same_place() {
    let words = vocabulary();
    assert!(words.len() > 200, "the golden cases are the vocabulary: {}", words.len());
    // More rows than the engine computes on one thread.
    let base: Vec<Edit> = many(100).into_iter().map(put).collect();
    let edit = (0..words.len(), prop::bool::weighted(0.7));
    let batches = prop::collection::vec(prop::collection::vec(edit, 1..6), 1..16);
    // PROPTEST_CASES sets another number of cases.
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(64);
    let mut runner = TestRunner::new(ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() });
    let law = runner.run(&batches, |batches| {
        let mut incremental = [1, 4].map(Pipeline::new);
        let mut there: BTreeMap<ObjectId, Object> = BTreeMap::new();
        let words = batches.iter().map(|batch| {
            batch.iter().map(|&(word, is_set)| {
                let (id, object) = put(words[word].clone());
                (id, object.filter(|_| is_set))
            })
        });
        for batch in std::iter::once(base.clone()).chain(words.map(Iterator::collect)) {
            incremental.iter_mut().for_each(|pipeline| pipeline.commit(batch.clone()));
            for (id, object) in batch {
                match object {
                    Some(object) => there.insert(id, object),
                    None => there.remove(&id),
                };
            }
        }
        let mut fresh = Pipeline::new(4);
        fresh.commit(there.into_values().map(put));
        for pipeline in incremental {
            prop_assert!(pipeline.results == fresh.results, "{}", difference(&pipeline, &fresh));
        }
        Ok(())
    });
    println!("law: {cases} sequences of up to 75 edits among {} objects", words.len() + base.len());
    law.unwrap_or_else(|why| panic!("{why}"));
}

/// The resources and statuses that differ.
fn difference(seen: &Pipeline, wanted: &Pipeline) -> String {
    let (seen, wanted) = (&seen.results, &wanted.results);
    let keys = seen.resources.keys().chain(wanted.resources.keys());
    let mut names: Vec<String> =
        keys.filter(|key| seen.resources.get(key) != wanted.resources.get(key)).map(|key| format!("{key:?}")).collect();
    let objects = seen.statuses.keys().chain(wanted.statuses.keys());
    let differing = objects.filter(|object| seen.statuses.get(object) != wanted.statuses.get(object));
    names.extend(differing.map(|object| format!("status of {object}")));
    names.dedup();
    names.join(", ")
}

/// What each table computes for an edit among `count` routes, Services and slices.
fn cost(count: usize, edit: &str) -> BTreeMap<&'static str, u64> {
    let mut pipeline = Pipeline::new(1);
    pipeline.commit(many(count).into_iter().map(put));
    let before = pipeline.computed();
    pipeline.commit(objects(edit).into_iter().map(put));
    let after = pipeline.computed();
    let spent = after.into_iter().map(|(table, computed)| (table, computed - before[table]));
    spent.filter(|(_, computed)| *computed > 0).collect()
}

/// The same among few objects and among many, and nothing beyond `limit`.
fn check_cost(edit: &str, limit: u64) -> BTreeMap<&'static str, u64> {
    let (few, many) = (cost(10, edit), cost(200, edit));
    assert_eq!(few, many, "{edit}");
    assert!(many.values().sum::<u64>() <= limit, "{edit}: {many:?}");
    many
}

#[test]
fn an_edit_costs_what_depends_on_it() {
    let edited = check_cost(&route(3, "/new"), 12);
    assert_eq!(edited.get("virtual hosts"), Some(&1));
    // Attachment is what it was, so no count and no Gateway is looked at again.
    assert_eq!(edited.get("gateway statuses"), None);
    assert_eq!(edited.get("endpoints"), None);
    let moved = check_cost(&slice(3, 2), 4);
    assert_eq!(moved.get("endpoints"), Some(&1));
    assert_eq!(moved.get("virtual hosts"), None);
    // A Secret that nothing refers to; and a label that no selector reads.
    assert_eq!(check_cost(&secret("unused"), 3).get("resolved listeners"), None);
    check_cost("apiVersion: v1\nkind: Namespace\nmetadata: {name: other, labels: {tier: web}}\n", 1);
    // Two of them say whether a service is to be asked.
    check_cost(
        "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: p, namespace: shop}\nspec: {}\n",
        8,
    );
}

fn secret(name: &str) -> String {
    format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: {name}, namespace: shop}}\ntype: Opaque\n")
}

#[test]
fn a_namespaces_labels_reach_the_routes_that_a_selector_looks_at() {
    let labelled = "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, labels: {tier: web}}\n";
    let spent = cost(20, labelled);
    assert_eq!(spent.get("parents"), Some(&20), "{spent:?}");
    assert_eq!(spent.get("route rules"), None, "{spent:?}");
}

/// A route of calls on the listener that all routes are on, older than they are.
fn calls(method: &str) -> String {
    format!(
        "---\napiVersion: gateway.networking.k8s.io/v1\nkind: GRPCRoute\nmetadata: {{name: calls, namespace: shop, \
         creationTimestamp: \"2026-01-01T00:00:00Z\"}}\nspec:\n  parentRefs: [{{name: gw}}]\n  hostnames: [calls.test]\n  \
         rules: [{{matches: [{{method: {{service: a.B, method: {method}}}}}], backendRefs: [{{name: s1, port: 80}}]}}]\n"
    )
}

#[test]
fn routes_of_calls_cost_their_neighbours_nothing() {
    let rival = route(3, "/").replace("h3.test", "calls.test");
    for (edit, limit) in [(calls("New"), 12), (route(3, "/new"), 13), (rival, 40)] {
        let [few, many] = [10, 200].map(|count| {
            let mut pipeline = Pipeline::new(1);
            pipeline.commit(many(count).into_iter().chain(objects(&calls("Old"))).map(put));
            let before = pipeline.computed();
            pipeline.commit(objects(&edit).into_iter().map(put));
            let after = pipeline.computed();
            let spent = after.into_iter().map(|(table, computed)| (table, computed - before[table]));
            spent.filter(|(_, computed)| *computed > 0).collect::<BTreeMap<_, _>>()
        });
        assert_eq!(few, many, "{edit}");
        assert!(many.values().sum::<u64>() <= limit, "{edit}: {many:?}");
    }
}
