//! What `windlass simulate` says of a case's requests, against what the data planes did.

use crate::{
    case::{Alike, Plan, Request},
    compare::Outcome,
};
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::{path::Path, process::Command};
use tests::{
    fixture::DataPlane,
    http::{Answer, Protocol},
    place::{Place, program},
};

/// One verdict for each request.
pub fn verdicts(place: &Place, plan: &Plan, objects: &str) -> Result<Vec<Value>> {
    if plan.requests.is_empty() {
        return Ok(Vec::new());
    }
    let directory = place.make("simulate")?;
    let (asked, files) = (directory.join("requests.json"), directory.join("objects.yaml"));
    let requests: Vec<Value> = plan.requests.iter().map(|request| question(place, request)).collect();
    std::fs::write(&asked, serde_json::to_vec(&requests)?)?;
    std::fs::write(&files, objects)?;
    simulate(&asked, &files)
}

fn simulate(asked: &Path, files: &Path) -> Result<Vec<Value>> {
    let output = Command::new(program("windlass")?).args(["simulate", "-o", "json"]).arg(asked).arg(files).output()?;
    serde_json::from_slice(&output.stdout)
        .with_context(|| format!("windlass simulate: {}", String::from_utf8_lossy(&output.stderr)))
}

fn question(place: &Place, request: &Request) -> Value {
    let call = request.call(place);
    let scheme = if call.sni.is_some() { "https" } else { "http" };
    let mut headers = vec![("host".to_owned(), call.host.clone())];
    headers.extend(call.headers.iter().cloned());
    if call.protocol == Protocol::Websocket {
        headers.extend([("connection", "upgrade"), ("upgrade", "websocket")].map(|(a, b)| (a.into(), b.into())));
    }
    let url = format!("{scheme}://simulated:{}{}", request.port(), call.path);
    json!({
        "method": call.method, "url": url, "headers": headers, "fromIp": call.source, "toIp": place.address(3),
        "raw": call.raw, "sni": call.sni.unwrap_or_default(),
        "body": if call.protocol == Protocol::Websocket { String::new() } else { call.body },
    })
}

/// Where a verdict and what a data plane did are at odds; none if they agree, or if the verdict is the backend's.
pub fn disagreement(
    request: &Request,
    plan: &Plan,
    verdict: &Value,
    plane: &DataPlane,
    outcome: &Outcome,
) -> Option<String> {
    // A port that isn't HTTP, or what an authorization service would say, is not for `simulate` to know.
    let ours_only = request.alike == Alike::Ours && plane.name == "envoy";
    // Nor does it take certificates other than those of workloads.
    let is_shown = request.certificate.is_some();
    // Whom a PROXY header names isn't asked about.
    let is_announced = !request.preface.is_empty();
    if request.repeat > 1 || is_announced || ours_only || is_shown || verdict["outcome"] == "unknown" {
        return None;
    }
    let drawn = verdict["backends"].as_array().into_iter().flatten();
    let backends: Vec<&str> =
        drawn.filter(|one| one["weight"] != 0).filter_map(|one| service(one["name"].as_str()?)).collect();
    let status = verdict["status"].as_u64().unwrap_or_default();
    let call = verdict["grpcStatus"].as_u64().map(|status| status.to_string());
    let same_call = |answer: &Answer| call.is_none() || call.as_deref() == answer.header("grpc-status");
    let agrees = match (verdict["outcome"].as_str().unwrap_or_default(), &outcome.answer) {
        ("closed", answer) => answer.is_err(),
        ("forwarded", Ok(answer)) => match answer.backend() {
            Some(backend) => backends.contains(&backend),
            // Whether a backend that is there answers can't be known offline.
            None if answer.header("grpc-status") == Some("14") => true,
            None => answer.status >= 500 || plan.backends.iter().any(|(_, backend)| backend.dead),
        },
        ("forwarded", Err(_)) => false,
        // What is malformed may be answered or the connection closed.
        ("refused", Err(_)) => true,
        (_, Ok(answer)) if request.alike == Alike::Verdict => {
            answer.backend().is_none() && u64::from(answer.status) / 100 == status / 100
        }
        (_, Ok(answer)) => answer.backend().is_none() && u64::from(answer.status) == status && same_call(answer),
        (_, Err(_)) => request.alike == Alike::Verdict,
    };
    (!agrees).then(|| {
        let seen = match &outcome.answer {
            Ok(answer) => format!("{} from {:?}", answer.status, answer.backend()),
            Err(error) => error.clone(),
        };
        format!("       {}: simulate says {}, {} did {seen}", request.name, short(verdict), plane.name)
    })
}

fn short(verdict: &Value) -> String {
    format!("{} {} ({})", verdict["outcome"], verdict["status"], verdict["why"].as_str().unwrap_or_default())
}

/// `<service>` of `<namespace>/<service>:<port>`.
fn service(name: &str) -> Option<&str> {
    name.split_once('/')?.1.rsplit_once(':').map(|(service, _)| service)
}
