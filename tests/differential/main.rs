//! Each case through stock Envoy and through our proxy, fed by one control plane: both must answer alike, and as the
//! case says. `differential [--jobs N] [--only envoy|windlass] [NAME PART..]` runs the cases whose names contain a part.

mod case;
mod compare;
mod simulate;
mod streams;

use anyhow::{Context, Result};
use case::{Alike, BackendPlan, Case, Issued, Request};
use compare::Outcome;
use futures::StreamExt;
use std::{
    collections::BTreeMap,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};
use tests::{
    backend::{Backend, Seen, Speaks},
    fixture::{DataPlane, Trio},
    http::{Call, call},
    objects,
    place::Place,
    process::eventually,
    tls::{self, Authority, Certificate},
};

/// What came of one case file.
struct Verdict {
    requests: usize,
    /// One text for each request that failed.
    failures: Vec<String>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let mut parts: Vec<String> = std::env::args().skip(1).filter(|part| part != "--nocapture").collect();
    let jobs = option(&mut parts, "--jobs").and_then(|number| number.parse().ok()).unwrap_or(3);
    let only = option(&mut parts, "--only").unwrap_or_default();
    let files = match files(&parts) {
        Ok(files) if !files.is_empty() => files,
        Ok(_) => return failed("no case has such a name"),
        Err(error) => return failed(&format!("{error:#}")),
    };
    let mut runs = futures::stream::iter(files)
        .map(|file| {
            let only = only.clone();
            async move {
                let started = Instant::now();
                let outcome = run(&file, &only).await;
                (file, outcome, started.elapsed())
            }
        })
        .buffer_unordered(jobs);
    let (mut requests, mut bad) = (0, 0);
    while let Some((file, outcome, took)) = runs.next().await {
        let name = file.file_stem().unwrap_or_default().to_string_lossy();
        match outcome {
            Ok(verdict) => {
                requests += verdict.requests;
                bad += verdict.failures.len();
                let word = if verdict.failures.is_empty() { "ok" } else { "FAILED" };
                println!("{word:6} {name}: {} requests, {:.1} s", verdict.requests, took.as_secs_f32());
                verdict.failures.iter().for_each(|failure| println!("{failure}"));
            }
            Err(error) => {
                bad += 1;
                println!("FAILED {name}: {error:#}");
            }
        }
    }
    println!("differential: {requests} requests, {bad} failed");
    if bad == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Takes `name VALUE` out of the arguments.
fn option(arguments: &mut Vec<String>, name: &str) -> Option<String> {
    let at = arguments.iter().position(|argument| argument == name)?;
    arguments.drain(at..(at + 2).min(arguments.len())).nth(1)
}

fn failed(why: &str) -> ExitCode {
    eprintln!("{why}");
    ExitCode::FAILURE
}

fn files(parts: &[String]) -> Result<Vec<PathBuf>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("differential/cases");
    let mut files: Vec<_> = std::fs::read_dir(directory)?.flatten().map(|entry| entry.path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "yaml"));
    files.retain(|file| parts.is_empty() || parts.iter().any(|part| file.to_string_lossy().contains(part)));
    files.sort();
    Ok(files)
}

/// The backends of a case, with the YAML of their Services.
async fn backends(
    place: &Place,
    plans: &BTreeMap<String, BackendPlan>,
    authorities: &Authorities,
) -> Result<(Vec<Backend>, String)> {
    let (mut running, mut yaml) = (Vec::new(), String::new());
    for (name, plan) in plans {
        let settings = match &plan.tls {
            None => None,
            Some(shown) => {
                let clients = plan.clients.as_ref().map(|name| authorities.get(name).context("no such authority"));
                let alpn: &[u8] = if plan.speaks == Speaks::H2c { b"h2" } else { b"http/1.1" };
                Some(tls::server(&issued(shown, authorities)?, clients.transpose()?, alpn)?)
            }
        };
        let settings = Arc::new(Mutex::new(settings));
        let address = if plan.local { Ipv4Addr::LOCALHOST.into() } else { place.address(9) };
        let backend = Backend::start_with(name, address, plan.speaks, settings).await?;
        let app_protocol = (plan.speaks == Speaks::H2c).then_some("kubernetes.io/h2c");
        let app_protocol = plan.app_protocol.as_deref().or(app_protocol);
        let endpoints = if plan.empty { vec![] } else { vec![backend.address] };
        yaml += &objects::service(name, app_protocol, &endpoints);
        if !plan.dead {
            running.push(backend);
        }
    }
    Ok((running, yaml))
}

/// Authorities by name.
type Authorities = BTreeMap<String, Authority>;

fn issued(plan: &Issued, authorities: &Authorities) -> Result<Certificate> {
    match &plan.by {
        None => tls::certificate(&plan.names),
        Some(by) => authorities.get(by).with_context(|| format!("no authority {by}"))?.certificate(&plan.names),
    }
}

async fn run(file: &Path, only: &str) -> Result<Verdict> {
    let case = Case::read(file)?;
    let place = Place::take()?;
    let authorities = case.plan.authorities.iter().map(|name| Ok((name.clone(), Authority::new(name)?)));
    let authorities: Authorities = authorities.collect::<Result<_>>()?;
    let (backends, mut yaml) = backends(&place, &case.plan.backends, &authorities).await?;
    for (name, authority) in &authorities {
        yaml += &objects::authority(name, authority);
    }
    let mut certificates = BTreeMap::new();
    for (name, plan) in &case.plan.issued {
        let certificate = issued(plan, &authorities)?;
        yaml += &objects::secret(name, &certificate);
        certificates.insert(name.clone(), certificate);
    }
    let (_streams, services) = streams::backends(&place, &case.plan.streams).await?;
    yaml += &services;
    for (name, names) in &case.plan.certificates {
        yaml += &objects::secret(name, &tls::certificate(names)?);
    }
    if !case.objects.contains("kind: Gateway\n") {
        yaml += objects::GATEWAY;
    }
    yaml += "---\n";
    yaml += &backends.iter().fold(place.fill(&case.objects), |objects, backend| {
        objects.replace(&format!("$PORT({})", backend.name), &backend.address.port().to_string())
    });
    let logged = case.plan.requests.iter().any(|request| !request.expect.log.is_empty());
    let log = if logged { "json" } else { "off" };
    let trio = Trio::start_only(&place, &yaml, only, log).await.with_context(|| case.name.clone())?;
    let exchanges = case.plan.exchanges.iter().filter(|exchange| exchange.is_tcp());
    let mut ports: Vec<_> =
        case.plan.requests.iter().map(Request::port).chain(exchanges.map(|exchange| exchange.port)).collect();
    ports.sort_unstable();
    ports.dedup();
    for (plane, port) in trio.planes.iter().flat_map(|plane| ports.iter().map(move |port| (plane, *port))) {
        plane.listening(port).await?;
    }
    let mut failures = Vec::new();
    let verdicts = simulate::verdicts(&place, &case.plan, &yaml)?;
    for (request, verdict) in case.plan.requests.iter().zip(&verdicts) {
        let mut outcomes = Vec::new();
        for plane in &trio.planes {
            let shown = request.certificate.as_ref().and_then(|name| certificates.get(name));
            outcomes.push(outcome(&place, plane, (request, shown), &backends).await);
        }
        failures.extend(judge(request, &trio.planes, &outcomes));
        let both = trio.planes.iter().zip(&outcomes);
        failures.extend(
            both.filter_map(|(plane, outcome)| simulate::disagreement(request, &case.plan, verdict, plane, outcome)),
        );
    }
    for (exchange, plane) in
        case.plan.exchanges.iter().flat_map(|one| trio.planes.iter().map(move |plane| (one, plane)))
    {
        failures.extend(streams::misses(&place, plane, exchange).await);
    }
    if let Err(error) = trio.nothing_refused().await {
        failures.push(format!("       refused: {error:#}"));
    }
    if !failures.is_empty() {
        for plane in trio.planes.iter().filter(|plane| plane.name == "windlass") {
            failures.push(format!("       the end of windlass-proxy's log:\n{}", plane.process.tail()));
        }
    }
    Ok(Verdict { requests: case.plan.requests.len() + case.plan.exchanges.len(), failures })
}

/// Sends the request, once or often, and gathers what the backends saw of it.
async fn outcome(
    place: &Place,
    plane: &DataPlane,
    (request, shown): (&Request, Option<&Certificate>),
    backends: &[Backend],
) -> Outcome {
    let wire = Call { certificate: shown.cloned(), ..request.call(place) };
    backends.iter().for_each(|backend| drop(backend.take_seen()));
    let mut tally = BTreeMap::new();
    let mut answer = Err("never sent".to_owned());
    let calls = (0..request.repeat).map(|_| call(plane.at(request.port()), &wire));
    let at_a_time = if request.at_once { request.repeat as usize } else { 1 };
    let mut answers = futures::stream::iter(calls).buffered(at_a_time);
    while let Some(one) = answers.next().await {
        answer = one.map_err(|error| format!("{error:#}"));
        let who = match &answer {
            Ok(answer) => answer.backend().map_or(answer.status.to_string(), str::to_owned),
            Err(_) => "none".into(),
        };
        *tally.entry(who).or_default() += 1;
    }
    let mut seen = Vec::new();
    if request.repeat == 1 || request.expect.tries.is_some() {
        // A copy may arrive after the answer; one that must not come gets a moment to show itself.
        let mirrored = &request.expect.mirrored;
        let end = Instant::now() + Duration::from_millis(if mirrored.is_empty() { 0 } else { 3000 });
        loop {
            seen.extend(backends.iter().flat_map(Backend::take_seen));
            let copies = seen.iter().filter(|seen: &&Seen| mirrored.contains(&seen.backend)).count();
            if copies >= mirrored.len() || Instant::now() >= end {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    let log = if request.expect.log.is_empty() { BTreeMap::new() } else { logged(plane, &request.name).await };
    Outcome { answer, seen, log, tally }
}

/// The line of the access log whose user agent is `mark`, once it has been written: the last one.
async fn logged(plane: &DataPlane, mark: &str) -> BTreeMap<String, String> {
    let find = async || {
        let output = plane.process.output();
        let mut lines = output.lines().rev().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        let found = lines.find(|line| line["user_agent"] == mark);
        found.context("no line in the access log")
    };
    let found = eventually("a line in the access log", Duration::from_secs(20), find).await.unwrap_or_default();
    let text = |value: &serde_json::Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let fields = found.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null());
    fields.map(|(name, value)| (name.clone(), text(value))).collect()
}

/// What is wrong with the two outcomes, as text.
fn judge(request: &Request, planes: &[DataPlane], outcomes: &[Outcome]) -> Vec<String> {
    let mut failures = Vec::new();
    for (plane, outcome) in planes.iter().zip(outcomes) {
        if request.alike == Alike::Ours && plane.name == "envoy" {
            continue;
        }
        let misses = outcome.misses(&request.expect, request.repeat);
        if !misses.is_empty() {
            failures.push(format!("       {}: {}: {}", request.name, plane.name, misses.join("; ")));
        }
    }
    let [envoy, ours] = outcomes else { return failures };
    let [envoy, ours] = [envoy, ours].map(|outcome| outcome.shown(request.alike));
    if request.repeat == 1 && request.alike != Alike::Ours && envoy != ours {
        let mut text = format!("       {}: the answers differ", request.name);
        for line in envoy.0.iter().filter(|line| !ours.0.contains(line)) {
            text += &format!("\n         envoy:    {line}");
        }
        for line in ours.0.iter().filter(|line| !envoy.0.contains(line)) {
            text += &format!("\n         windlass: {line}");
        }
        for (plane, outcome) in planes.iter().zip(outcomes) {
            match &outcome.answer {
                Ok(answer) => {
                    text += &format!("\n         {} in full: {} {:?}", plane.name, answer.status, answer.headers)
                }
                Err(error) => text += &format!("\n         {} in full: {error}", plane.name),
            }
        }
        failures.push(text);
    }
    failures
}
