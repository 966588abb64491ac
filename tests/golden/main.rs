//! Kubernetes YAML in; Envoy resources and statuses out. One case a file, the input above, what is expected below.
//!
//! `cargo test -p tests --test golden [NAME PART..]` runs the cases; `UPDATE=1` writes what comes out into the files:
//! then read the difference before it is committed. Every case runs with 1, 2 and 4 threads, all objects at once and
//! one by one in several orders, and all must come out the same, byte for byte.
//!
//! What we claim is held against all of them: reasons of conditions, and the features of a GatewayClass.
//!
//! `WINDLASS_GATEWAY_API`, the directory of its Go module, has Gateway API's own examples run and its constants
//! compared; `WINDLASS_CRDS` has the inputs held against the CRDs, `ENVOY` has the resources validated by stock Envoy.

mod case;
mod claims;
mod envoy;
mod examples;
mod pipeline;
mod render;
mod schema;

use case::Case;
use envoy::Envoy;
use pipeline::{Edit, Pipeline, Results, put};
use render::Renderer;
use schema::Schemas;
use similar::TextDiff;
use std::{path::Path, process::ExitCode};

fn main() -> ExitCode {
    let parts: Vec<String> = std::env::args().skip(1).filter(|part| !part.starts_with("--")).collect();
    let update = std::env::var_os("UPDATE").is_some();
    let renderer = Renderer::new();
    let checks = Checks { schemas: Schemas::from_environment(), envoy: Envoy::from_environment(), update };
    let (mut passed, mut failed) = (0, 0);
    for file in case::files(&parts) {
        match check(&file, &renderer, &checks) {
            Ok(()) => passed += 1,
            Err(why) => {
                failed += 1;
                println!("FAILED {}\n{why}", file.display());
            }
        }
    }
    if parts.is_empty() {
        for wrong in claims::check() {
            failed += 1;
            println!("FAILED claims: {wrong}");
        }
        match examples::check(&renderer, checks.envoy.as_ref(), update) {
            Some((count, wrong)) => {
                passed += count - wrong.len().min(count);
                failed += wrong.len();
                wrong.iter().for_each(|why| println!("FAILED {why}"));
            }
            None => println!("golden: WINDLASS_GATEWAY_API is not set: the examples of Gateway API were not run"),
        }
    }
    if checks.schemas.is_none() {
        println!("golden: WINDLASS_CRDS is not set: the inputs were not held against the CRDs' schemas");
    }
    if checks.envoy.is_none() {
        println!("golden: ENVOY is not set: stock Envoy was not asked whether it takes the resources");
    }
    let word = if failed == 0 { "ok" } else { "FAILED" };
    println!("test result: {word}. {passed} passed; {failed} failed");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What is done with each case besides the comparison.
struct Checks {
    schemas: Option<Schemas>,
    envoy: Option<Envoy>,
    update: bool,
}

fn check(file: &Path, renderer: &Renderer, checks: &Checks) -> Result<(), String> {
    let case = Case::read(file)?;
    if let Some(schemas) = &checks.schemas {
        schemas.check(&case)?;
    }
    let manifest = api::manifest::read("case.yaml", &case.input);
    let edits: Vec<Edit> = manifest.objects.into_iter().map(|located| put(located.object)).collect();
    let pipeline = if case.in_cluster { Pipeline::in_cluster } else { Pipeline::new };
    let mut at_once = pipeline(1);
    at_once.commit(edits.clone());
    check_order(&edits, &at_once.results, pipeline)?;
    if let Some(envoy) = &checks.envoy {
        envoy.check(renderer, &at_once.results)?;
    }
    let seen = renderer.render(&case, &manifest.problems, &at_once.results)?;
    if seen == case.expected {
        return Ok(());
    }
    if checks.update {
        return case.write(file, &seen);
    }
    let diff = TextDiff::from_lines(&case.expected, &seen);
    Err(diff.unified_diff().context_radius(3).header("expected", "seen (UPDATE=1 writes it)").to_string())
}

/// Any order, any number of threads, anything in between: the same result; and nothing is left of what is deleted.
fn check_order(edits: &[Edit], wanted: &Results, pipeline: fn(usize) -> Pipeline) -> Result<(), String> {
    for (threads, seed) in [(1, 1), (2, 2), (4, 3)] {
        let mut at_once = pipeline(threads);
        let shuffled = shuffle(edits, seed);
        at_once.commit(shuffled.clone());
        same(&at_once.results, wanted, &format!("at once, {threads} threads, order {seed}"))?;
        let mut one_by_one = pipeline(threads);
        for edit in &shuffled {
            one_by_one.commit([edit.clone()]);
        }
        same(&one_by_one.results, wanted, &format!("one by one, {threads} threads, order {seed}"))?;
        for (id, _) in shuffle(edits, seed + 10) {
            one_by_one.commit([(id, None)]);
        }
        same(&one_by_one.results, &Results::default(), &format!("all deleted, {threads} threads, order {seed}"))?;
    }
    Ok(())
}

fn same(seen: &Results, wanted: &Results, how: &str) -> Result<(), String> {
    if seen == wanted {
        return Ok(());
    }
    let mut differing: Vec<String> = Vec::new();
    let keys = seen.resources.keys().chain(wanted.resources.keys());
    differing
        .extend(keys.filter(|key| seen.resources.get(key) != wanted.resources.get(key)).map(|key| format!("{key:?}")));
    let objects = seen.statuses.keys().chain(wanted.statuses.keys());
    let changed = objects.filter(|object| seen.statuses.get(object) != wanted.statuses.get(object));
    differing.extend(changed.map(|object| format!("status of {object}")));
    if seen.infrastructures != wanted.infrastructures {
        differing.push("what is made for Gateways".into());
    }
    Err(format!("the result depends on the way there ({how}): {}", differing.join(", ")))
}

/// A permutation of the edits, the same for the same seed.
fn shuffle(edits: &[Edit], seed: u64) -> Vec<Edit> {
    let mut edits = edits.to_vec();
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    for last in (1..edits.len()).rev() {
        // xorshift64: any mixing will do.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        edits.swap(last, (state % (last as u64 + 1)) as usize);
    }
    edits
}
