//! `windlass simulate` decides as policies are written: generated policies as YAML and requests through the built
//! program, against the interpreter of `model::Policy` (`policy.rs`); a sample through stock Envoy and our proxy too.
//!
//! At least [`PAIRS`] pairs of a set of policies and a request a run.

#![allow(dead_code, reason = "the laws' modules are shared")]

mod cases;
mod policy;
mod request;
mod written;

use anyhow::{Context, Result, ensure};
use proptest::{
    prelude::*,
    strategy::ValueTree,
    test_runner::{Config, TestRunner},
};
use request::Request;
use serde_json::{Value, json};
use std::{net::Ipv4Addr, process::Command, time::Duration};
use tests::{
    backend::{Backend, Speaks},
    fixture::Trio,
    http::{Call, call},
    objects,
    place::{Place, program},
};

/// Pairs a run.
const PAIRS: usize = 100_000;
/// Sets of policies in one run of the program, each on a Gateway of its own; a route has at most 32 parents.
const GATEWAYS: usize = 30;
/// Requests for each of them.
const REQUESTS: usize = 250;
/// Sets of policies that go through the data planes, and requests for each.
const SAMPLES: (usize, usize) = (3, 60);

fn draw<S: Strategy>(runner: &mut TestRunner, strategy: &S) -> S::Value {
    strategy.new_tree(runner).expect("the strategies reject nothing").current()
}

/// A request that no listener refuses before it is judged: in clear text, with nothing that is rewritten.
fn request(runner: &mut TestRunner) -> Request {
    loop {
        let drawn = draw(runner, &cases::request());
        if !drawn.path.contains(['{', ';']) {
            return Request { peer: None, claims: None, sni: None, remote: drawn.direct, ..drawn };
        }
    }
}

/// Runs `windlass` on two files and reads the JSON that it prints.
fn windlass(command: &str, first: Option<&Value>, objects: &str) -> Result<Value> {
    let directory = tempfile::tempdir()?;
    let (asked, files) = (directory.path().join("asked.json"), directory.path().join("objects.json"));
    std::fs::write(&files, objects)?;
    let mut run = Command::new(program("windlass")?);
    run.args([command, "-o", "json"]);
    if let Some(first) = first {
        std::fs::write(&asked, serde_json::to_vec(first)?)?;
        run.arg(&asked);
    }
    let output = run.arg(&files).output()?;
    serde_json::from_slice(&output.stdout)
        .with_context(|| format!("windlass {command}: {}", String::from_utf8_lossy(&output.stderr)))
}

/// The request as `simulate` reads it.
fn asked(request: &Request, gateway: &str) -> Value {
    let host = ("host".to_owned(), request.host.clone());
    let headers: Vec<_> = std::iter::once(host).chain(request.headers.iter().cloned()).collect();
    json!({
        "method": request.method, "url": format!("http://simulated:{}{}", request.port, request.path),
        "headers": headers, "fromIp": request.direct, "toIp": request.local, "gateway": gateway,
    })
}

/// Whether a verdict lets a request pass; none if it is no verdict of a policy.
fn passes(row: &Value) -> Option<bool> {
    match row["outcome"].as_str()? {
        "forwarded" => Some(true),
        "denied" => Some(false),
        _ => None,
    }
}

fn main() -> Result<()> {
    let mut runner = TestRunner::new(Config::default());
    let (mut pairs, mut denied) = (0, 0);
    while pairs < PAIRS {
        let sets: Vec<_> = (0..GATEWAYS).map(|_| written::normal(draw(&mut runner, &cases::policies()))).collect();
        let named = sets.iter().enumerate().map(|(index, set)| (format!("gw{index}"), set));
        let objects = written::objects(named)?;
        let report = windlass("analyze", None, &objects)?;
        let findings = report["findings"].as_array().into_iter().flatten();
        let refused: Vec<&Value> = findings.filter(|finding| finding["level"] == "error").collect();
        ensure!(refused.is_empty(), "generated policies are refused: {refused:#?}");
        let requests: Vec<(usize, Request)> =
            (0..GATEWAYS * REQUESTS).map(|at| (at % GATEWAYS, request(&mut runner))).collect();
        let asked: Vec<Value> = requests.iter().map(|(at, one)| asked(one, &format!("ns/gw{at}"))).collect();
        let rows = windlass("simulate", Some(&asked.into()), &objects)?;
        let rows = rows.as_array().context("wanted rows")?;
        ensure!(rows.len() == requests.len(), "{} rows for {} requests", rows.len(), requests.len());
        for ((at, request), row) in requests.iter().zip(rows) {
            let Some(passes) = passes(row) else { continue };
            let wanted = policy::allows(&sets[*at], request);
            ensure!(passes == wanted, "wanted {wanted}: {request:#?}\n{row:#}\n{:#?}", sets[*at]);
            pairs += 1;
            denied += usize::from(!passes);
        }
    }
    ensure!(denied > PAIRS / 10 && denied < PAIRS * 9 / 10, "{denied} denied: the cases are one-sided");
    let sampled = tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(samples(&mut runner))?;
    println!("simulate: {pairs} pairs, {denied} denied; {sampled} requests through both data planes");
    println!("test result: ok. {} passed; 0 failed", pairs + sampled);
    Ok(())
}

/// A sample through stock Envoy and our proxy.
async fn samples(runner: &mut TestRunner) -> Result<usize> {
    let mut sampled = 0;
    for _ in 0..SAMPLES.0 {
        let set = written::normal(draw(runner, &cases::policies()));
        let place = Place::take()?;
        let backend = Backend::start("web", place.address(9), Speaks::default()).await?;
        let yaml = format!(
            "{}{}---\n{}",
            objects::service("web", None, &[backend.address]),
            objects::GATEWAY,
            written::sample(&set)?
        );
        let trio = Trio::start_only(&place, &yaml, "", "off").await?;
        for plane in &trio.planes {
            plane.listening(80).await?;
        }
        let source = place.address(77);
        let requests = (0..SAMPLES.1).map(|_| {
            let drawn = request(runner);
            // Envoy refuses methods that it doesn't know before it looks at any policy.
            let method = if drawn.method == "GETX" { "POST".to_owned() } else { drawn.method };
            Request { port: 80, direct: source, remote: source, local: Ipv4Addr::LOCALHOST.into(), method, ..drawn }
        });
        // The address that is connected to differs between the two, so that nothing may hang on it.
        let requests: Vec<Request> = requests.collect();
        let asked: Vec<Value> = requests.iter().map(|one| asked(one, "default/gw")).collect();
        let rows = windlass("simulate", Some(&asked.into()), &yaml)?;
        for (request, row) in requests.iter().zip(rows.as_array().context("wanted rows")?) {
            let Some(passes) = passes(row) else { continue };
            for plane in &trio.planes {
                let wire = Call {
                    method: request.method.clone(),
                    headers: request.headers.clone(),
                    source: Some(source),
                    limit: Duration::from_secs(30),
                    ..Call::get(&request.host, &request.path)
                };
                let answer = call(plane.at(80), &wire).await?;
                let passed = answer.backend().is_some();
                ensure!(passed == passes, "{}: {} to {request:#?}\n{row:#}\n{set:#?}", plane.name, answer.status);
            }
            sampled += 1;
        }
    }
    Ok(sampled)
}
