//! `windlass simulate`: a file of requests, a table of verdicts.

use crate::{
    ask::{Outcome, Request, Stage, Verdict},
    offline::{Assume, World},
    output::{self, Format},
    progress::Progress,
};
use anyhow::Context;
use clap::Args;
use serde::{Deserialize, Serialize};
use std::{
    io::Read,
    path::{Path, PathBuf},
    process::ExitCode,
};

/// Says what happens to many requests, and whether that is what was expected.
///
/// REQUESTS is a list: {method, url, headers, grpc, body, from, fromIp, toIp, sni, gateway, raw, name, expect: {status,
/// grpcStatus, backend, outcome, route, policy}}; only `url` is needed. Of a request that is forwarded the status is taken to be 200.
#[derive(Args)]
#[command(after_help = "Exit codes: 0 all as expected; 1 something is not; 2 the command line or a path is wrong.")]
pub struct Simulate {
    /// A file of requests (YAML or JSON); - is standard input.
    requests: PathBuf,
    /// Files and directories of Kubernetes objects (YAML or JSON).
    #[arg(value_name = "FILES", required = true)]
    files: Vec<PathBuf>,
    #[command(flatten)]
    assume: Assume,
    /// Print for machines.
    #[arg(short, long, value_name = "FORMAT")]
    output: Option<Format>,
}

/// One request of the file.
#[derive(Deserialize)]
struct Entry {
    name: Option<String>,
    expect: Option<Expect>,
    #[serde(flatten)]
    rest: serde_json::Map<String, serde_json::Value>,
}

/// What is expected; what isn't said is not looked at.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
struct Expect {
    status: Option<u16>,
    /// Of a call of gRPC; one that is forwarded is taken to have 0.
    grpc_status: Option<u16>,
    /// `<namespace>/<service>:<port>`, or the back of its front: `<namespace>/<service>`, `<service>`. Empty is none.
    backend: Option<String>,
    outcome: Option<String>,
    /// `Kind namespace/name`, or `namespace/name`.
    route: Option<String>,
    /// `namespace/name`.
    policy: Option<String>,
}

/// One verdict of the table.
#[derive(Serialize)]
struct Row {
    name: String,
    #[serde(flatten)]
    verdict: Verdict,
    /// What is not as expected.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unexpected: Vec<String>,
}

impl Simulate {
    pub fn main(self) -> anyhow::Result<ExitCode> {
        let entries = read(&self.requests)?;
        let world = World::read(&self.files, &self.assume)?;
        world.complain();
        let stage = Stage::new(&world)?;
        let progress = Progress::new("asking", entries.len());
        let mut rows = Vec::with_capacity(entries.len());
        for (index, entry) in entries.into_iter().enumerate() {
            progress.step();
            rows.push(row(&stage, entry).with_context(|| format!("{}: request {index}", self.requests.display()))?);
        }
        drop(progress);
        output::print(&match self.output {
            Some(format) => output::text(format, &rows)?,
            None => table(&rows),
        })?;
        let fine = rows.iter().all(|row| row.unexpected.is_empty());
        Ok(if fine { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

fn read(path: &Path) -> anyhow::Result<Vec<Entry>> {
    let mut text = String::new();
    match path == Path::new("-") {
        true => std::io::stdin().read_to_string(&mut text).map(drop),
        false => std::fs::File::open(path).and_then(|mut file| file.read_to_string(&mut text)).map(drop),
    }
    .with_context(|| path.display().to_string())?;
    // JSON is YAML, and much faster to read as what it is.
    match path.extension().is_some_and(|extension| extension == "json") {
        true => serde_json::from_str(&text).map_err(anyhow::Error::from),
        false => serde_yaml_ng::from_str(&text).map_err(anyhow::Error::from),
    }
    .with_context(|| format!("{}: wanted a list of requests", path.display()))
}

fn row(stage: &Stage<'_>, entry: Entry) -> anyhow::Result<Row> {
    let request: Request = serde_json::from_value(entry.rest.into())?;
    let verdict = stage.ask(&request)?;
    let unexpected = entry.expect.map(|expect| expect.misses(&verdict)).unwrap_or_default();
    Ok(Row { name: entry.name.unwrap_or_else(|| format!("{} {}", request.method(), request.url)), verdict, unexpected })
}

impl Expect {
    fn misses(&self, verdict: &Verdict) -> Vec<String> {
        let mut misses = Vec::new();
        let mut want = |what: &str, wanted: &str, seen: &str, fine: bool| {
            if !fine {
                misses.push(format!("{what}: wanted {wanted:?}, got {seen:?}"));
            }
        };
        if let Some(wanted) = self.status {
            let seen = if verdict.outcome == Outcome::Forwarded { 200 } else { verdict.status.unwrap_or_default() };
            want("status", &wanted.to_string(), &seen.to_string(), seen == wanted);
        }
        if let Some(wanted) = self.grpc_status {
            let seen = verdict.grpc_status.or((verdict.outcome == Outcome::Forwarded).then_some(0));
            want(
                "grpcStatus",
                &wanted.to_string(),
                &seen.map_or("none".into(), |seen| seen.to_string()),
                seen == Some(wanted),
            );
        }
        if let Some(wanted) = &self.backend {
            let drawn = verdict.backends.iter().filter(|one| one.weight > 0 && verdict.outcome == Outcome::Forwarded);
            let names: Vec<&str> = drawn.map(|one| one.name.as_str()).collect();
            let is = |name: &&str| is_backend(name, wanted);
            let fine = if wanted.is_empty() { names.is_empty() } else { names.iter().any(is) };
            want("backend", wanted, &names.join(", "), fine);
        }
        if let Some(wanted) = &self.outcome {
            let seen = serde_json::to_value(verdict.outcome).unwrap_or_default();
            let seen = seen.as_str().unwrap_or_default();
            want("outcome", wanted, seen, wanted == seen);
        }
        if let Some(wanted) = &self.route {
            let seen = verdict.route.as_ref().map_or("", |route| &route.object);
            want("route", wanted, seen, seen == wanted || seen.split_once(' ').is_some_and(|(_, name)| name == wanted));
        }
        if let Some(wanted) = &self.policy {
            let seen = verdict.policy.as_deref().unwrap_or_default();
            want(
                "policy",
                wanted,
                seen,
                seen == wanted || seen.split_once(" rule ").is_some_and(|(name, _)| name == wanted),
            );
        }
        misses
    }
}

/// Whether a backend `<namespace>/<service>:<port>` is meant.
fn is_backend(name: &str, wanted: &str) -> bool {
    let service = name.rsplit_once(':').map_or(name, |(service, _)| service);
    let bare = service.rsplit_once('/').map_or(service, |(_, bare)| bare);
    [name, service, bare].contains(&wanted)
}

fn table(rows: &[Row]) -> String {
    let cells = |row: &Row| {
        let verdict = &row.verdict;
        let outcome = serde_json::to_value(verdict.outcome).unwrap_or_default();
        vec![
            if row.unexpected.is_empty() { "ok".into() } else { "FAILED".into() },
            row.name.clone(),
            outcome.as_str().unwrap_or_default().to_owned(),
            verdict.status_text().unwrap_or_else(|| "-".into()),
            verdict.route.as_ref().map_or("-".into(), |route| format!("{} rule {}", route.object, route.rule)),
            match &row.unexpected[..] {
                [] => verdict.why.clone(),
                unexpected => format!("{}; {}", unexpected.join("; "), verdict.why),
            },
        ]
    };
    let failed = rows.iter().filter(|row| !row.unexpected.is_empty()).count();
    let table = output::table(
        &["", "REQUEST", "OUTCOME", "STATUS", "ROUTE", "WHY"],
        &rows.iter().map(cells).collect::<Vec<_>>(),
    );
    format!("{table}{} requests, {failed} not as expected\n", rows.len())
}
