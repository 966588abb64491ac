//! The control plane: edits that reach a hundred clients, and clients that come all at once.
//!
//! The server is the real program in a process of its own; its CPU time and memory are its alone.

use crate::{
    simulator::{Clients, Complete},
    table::{Row, Table, Wanted, median, percentile},
};
use anyhow::Result;
use std::time::{Duration, Instant};
use tests::{fixture::ControlPlane, objects, place::Place};

/// How much is done.
#[derive(Clone, Debug)]
pub struct Size {
    /// Routes, with as many Services.
    pub routes: Vec<usize>,
    /// Clients during edits.
    pub clients: usize,
    /// Edits of each kind.
    pub edits: usize,
    /// Clients that connect at once.
    pub storms: Vec<usize>,
}

/// Seconds of CPU that one edit costs.
struct PerEdit(f64);

/// All rows.
pub async fn run(table: &mut Table, size: &Size) -> Result<()> {
    let mut smallest = None;
    for &routes in &size.routes {
        let cost = edits(table, size, routes, smallest.as_ref()).await?;
        smallest = smallest.or(Some(cost));
    }
    for &clients in &size.storms {
        storm(table, clients, 500.min(size.routes.iter().copied().max().unwrap_or(500))).await?;
    }
    Ok(())
}

async fn edits(table: &mut Table, size: &Size, routes: usize, smallest: Option<&PerEdit>) -> Result<PerEdit> {
    let place = Place::take()?;
    let control = begin(&place, routes).await?;
    settle(&control).await;
    let alone = control.process.usage().resident;
    let complete = Complete { clusters: routes, hosts: routes };
    let (mut clients, _) = Clients::connect(control.plaintext(), size.clients, complete).await?;
    settle(&control).await;
    let named = format!("{routes} routes");
    let cost = {
        let before = control.process.usage();
        let mut last = Vec::new();
        for edit in 0..size.edits {
            let number = edit * 7919 % routes;
            clients.wait_for(&format!("http.80/h{number}.example"));
            let text = route(number, edit + 1);
            let started = Instant::now();
            control.write(&format!("route-{number}.yaml"), &text)?;
            last.push(clients.arrivals(started).await?.into_iter().fold(0.0, f64::max));
        }
        let after = control.process.usage();
        let cost = PerEdit((after.cpu - before.cpu) / size.edits as f64);
        let what = format!("route edited -> all {} clients", size.clients);
        table.add(Row::new(&format!("{what}, p50"), &named, "ms", median(&last), ("-", 0.0), Wanted::Known));
        let p99 = percentile(&last, 99.0);
        table.add(Row::new(&format!("{what}, p99"), &named, "ms", p99, ("target", 50.0), Wanted::Most(1.0)));
        let peer =
            smallest.map_or(("-", 0.0, Wanted::Known), |small| ("smallest", small.0 * 1000.0, Wanted::Most(2.0)));
        table.add(Row::new("CPU an edit", &named, "ms", cost.0 * 1000.0, (peer.0, peer.1), peer.2));
        table.add(Row::new("resident", &named, "MiB", after.resident, ("target", 250.0), Wanted::Most(1.0)));
        let before = ("no client", alone);
        table.add(Row::new("resident", &named, "MiB", after.resident, before, Wanted::Known));
        cost
    };
    let before = control.process.usage();
    let mut last = Vec::new();
    for edit in 0..size.edits {
        let number = edit * 7919 % routes;
        clients.wait_for(&format!("outbound|80||s{number}.default.svc.cluster.local"));
        let text = service(number, edit as u8 + 2);
        let started = Instant::now();
        control.write(&format!("service-{number}.yaml"), &text)?;
        last.push(clients.arrivals(started).await?.into_iter().fold(0.0, f64::max));
    }
    let cpu = (control.process.usage().cpu - before.cpu) / size.edits as f64;
    let what = format!("endpoints changed -> all {} clients", size.clients);
    table.add(Row::new(&format!("{what}, p50"), &named, "ms", median(&last), ("-", 0.0), Wanted::Known));
    table.add(Row::new(
        &format!("{what}, p99"),
        &named,
        "ms",
        percentile(&last, 99.0),
        ("target", 50.0),
        Wanted::Most(1.0),
    ));
    table.add(Row::new("CPU a change of endpoints", &named, "ms", cpu * 1000.0, ("-", 0.0), Wanted::Known));
    Ok(cost)
}

async fn storm(table: &mut Table, count: usize, services: usize) -> Result<()> {
    let place = Place::take()?;
    let control = begin(&place, services).await?;
    settle(&control).await;
    let before = control.process.usage();
    let complete = Complete { clusters: services, hosts: services };
    let (clients, seconds) = Clients::connect(control.plaintext(), count, complete).await?;
    let last = seconds.into_iter().fold(0.0, f64::max);
    settle(&control).await;
    let after = control.process.usage();
    let (named, wanted) =
        (format!("{services} services"), if count <= 100 { Wanted::Most(1.0) } else { Wanted::Known });
    let peer = if count <= 100 { ("target", 0.5) } else { ("-", 0.0) };
    table.add(Row::new(&format!("{count} clients connect at once, last one"), &named, "s", last, peer, wanted));
    table.add(Row::new(
        &format!("{count} clients connect at once, CPU"),
        &named,
        "CPU-s",
        after.cpu - before.cpu,
        peer,
        wanted,
    ));
    table.add(Row::new(
        &format!("{count} clients, resident"),
        &named,
        "MiB",
        after.resident,
        ("before", before.resident),
        Wanted::Known,
    ));
    drop(clients);
    Ok(())
}

async fn begin(place: &Place, routes: usize) -> Result<ControlPlane> {
    let directory = place.make("objects")?;
    for number in 0..routes {
        std::fs::write(directory.join(format!("route-{number}.yaml")), route(number, 0))?;
        std::fs::write(directory.join(format!("service-{number}.yaml")), service(number, 1))?;
    }
    ControlPlane::start(place, objects::GATEWAY).await
}

/// Waits until the server is at rest: its CPU time stands still.
async fn settle(control: &ControlPlane) {
    let mut before = control.process.usage().cpu;
    for _ in 0..200 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let now = control.process.usage().cpu;
        if now - before < 0.02 {
            return;
        }
        before = now;
    }
}

fn route(number: usize, edit: usize) -> String {
    let route = objects::route(&format!("r{number}"), &format!("h{number}.example"), &[(&format!("s{number}"), 1)]);
    let filter = format!(
        "{{type: RequestHeaderModifier, requestHeaderModifier: {{set: [{{name: x-edit, value: \"{edit}\"}}]}}}}"
    );
    route.replace("  - backendRefs", &format!("  - filters: [{filter}]\n    backendRefs"))
}

fn service(number: usize, last: u8) -> String {
    let endpoint = ([10, (number >> 8) as u8, number as u8, last], 8080);
    objects::service(&format!("s{number}"), None, &[endpoint.into()])
}
