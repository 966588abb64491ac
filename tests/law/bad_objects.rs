//! One bad object hurts only itself: among a thousand good routes, each kind of wrong is told, changes no byte of what the
//! proxies have, and is in force once it is mended.

#![allow(clippy::unwrap_used, reason = "a test")]

#[path = "../golden/pipeline.rs"]
mod pipeline;

use api::Object;
use pipeline::{Edit, Pipeline, Results, put};
use proto::TypeUrl;
use std::fmt::Write;
use tests::{bad, objects};

const ROUTES: usize = 1000;

/// What a file says, in lines as the admin page has them.
struct Said {
    objects: Vec<Object>,
    problems: Vec<String>,
}

fn read(file: &str, yaml: &str) -> Said {
    let manifest = api::manifest::read(file, yaml);
    let problems = manifest.problems.iter().map(|problem| format!("problem {problem}")).collect();
    Said { objects: manifest.objects.into_iter().map(|located| located.object).collect(), problems }
}

fn statuses(results: &Results) -> Vec<String> {
    let mut lines = Vec::new();
    for (object, status) in &results.statuses {
        let listeners = status.listeners.iter().flat_map(|listener| &listener.conditions);
        let parents = status.parents.iter().chain(&status.ancestors).flat_map(|parent| &parent.conditions);
        for condition in status.conditions.iter().chain(listeners).chain(parents) {
            lines.push(format!("{object} {}", condition.to_string().replace(['(', ')'], "")));
        }
    }
    lines
}

/// The resources of `before` that are others now.
fn changed(before: &Results, now: &Results) -> Vec<String> {
    let differ = before.resources.iter().filter(|(key, resource)| now.resources.get(key) != Some(resource));
    // A policy for the Gateway is one of the Gateway's policies.
    let differ = differ.filter(|(key, _)| key.type_url != TypeUrl::Extension);
    differ.map(|(key, _)| format!("{} {}", key.type_url, key.name)).collect()
}

fn edits(objects: Vec<Object>) -> Vec<Edit> {
    objects.into_iter().map(put).collect()
}

fn removals(all: &[Edit]) -> Vec<Edit> {
    all.iter().map(|(id, _)| (id.clone(), None)).collect()
}

#[test]
fn one_bad_object_hurts_only_itself() {
    let backend = "127.0.0.1:8080".parse().unwrap();
    let mut yaml = format!("{}{}", bad::GATEWAY, objects::service("a", None, &[backend]));
    (0..ROUTES).for_each(|n| yaml += &objects::route(&format!("good{n}"), &format!("good{n}.example"), &[("a", 1)]));
    let good = read("good.yaml", &yaml);
    assert_eq!(good.problems, Vec::<String>::new());
    let mut pipeline = Pipeline::new(2);
    pipeline.commit(edits(good.objects.clone()));
    let before = pipeline.results.clone();
    assert!(before.resources.len() > ROUTES, "{}", before.resources.len());

    // A good route is edited, alone: what that comes to, whatever else is wrong.
    let old = edits(read("one.yaml", &objects::route("good7", "good7.example", &[("a", 1)])).objects);
    let new = edits(read("one.yaml", &objects::route("good7", "edited.example", &[("a", 1)])).objects);
    pipeline.commit(new.clone());
    let edited = pipeline.results.clone();
    assert!(!changed(&before, &edited).is_empty());
    pipeline.commit(old.clone());
    assert!(pipeline.results == before);

    let all = bad::all(backend).unwrap();
    assert!(all.len() >= 60, "{}", all.len());
    let mut wrong = String::new();
    for bad in &all {
        let mut check = |holds: bool, what: &str, seen: &dyn Fn() -> String| {
            if !holds {
                let _ = writeln!(wrong, "{}: {what}: {}", bad.name, seen());
            }
        };
        let file = format!("{}.yaml", bad.name);
        let says = |lines: &[String]| lines.iter().any(|line| bad.says.iter().all(|word| line.contains(word)));
        let bad_objects = read(&file, &bad.wrong);
        let bad_edits = edits(bad_objects.objects);
        pipeline.commit(bad_edits.clone());
        let lines = [bad_objects.problems, statuses(&pipeline.results)].concat();
        let own = |lines: &[String]| -> String {
            lines.iter().filter(|line| line.contains(&bad.name)).map(|line| format!("\n  {line}")).collect()
        };
        check(says(&lines), &format!("wanted {:?}", bad.says), &|| own(&lines));
        check(changed(&before, &pipeline.results).is_empty(), "it changes others", &|| {
            changed(&before, &pipeline.results).join(", ")
        });
        pipeline.commit(new.clone());
        check(changed(&edited, &pipeline.results).is_empty(), "an edit of another route comes out otherwise", &|| {
            changed(&edited, &pipeline.results).join(", ")
        });
        pipeline.commit(old.clone());

        let right = read(&file, &bad.right);
        let right_edits = edits(right.objects);
        pipeline.commit(removals(&bad_edits).into_iter().chain(right_edits.clone()));
        let lines = [right.problems, statuses(&pipeline.results)].concat();
        let complains = |line: &&String| line.contains(&bad.name) && line.starts_with("problem");
        check(!says(&lines) && !lines.iter().any(|line| complains(&line)), "the fix is none", &|| own(&lines));
        check(changed(&before, &pipeline.results).is_empty(), "its fix changes others", &|| {
            changed(&before, &pipeline.results).join(", ")
        });
        let adds = pipeline.results.resources != before.resources;
        check(adds || bad.serves.is_none(), "its fix adds nothing", &String::new);
        pipeline.commit(removals(&right_edits));
        check(pipeline.results == before, "something of it stays", &String::new);
    }
    assert!(wrong.is_empty(), "{wrong}");
    println!("bad objects: {} kinds among {ROUTES} good routes", all.len());
}
