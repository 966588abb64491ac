//! Many routes in both data planes: memory, and how long a start takes.

use crate::table::{Row, Table, Wanted};
use anyhow::Result;
use std::{net::SocketAddr, time::Instant};
use tests::{fixture::Trio, http::Call, objects, place::Place};

/// Both data planes at rest with so many routes, each with a Service of its own. `most` is the memory wanted, MiB.
pub async fn run(table: &mut Table, routes: usize, most: Option<f64>) -> Result<()> {
    let place = Place::take()?;
    let address: SocketAddr = (place.address(9), 9_000).into();
    let mut yaml = objects::GATEWAY.to_owned();
    for number in 0..routes {
        let service = format!("s{number}");
        yaml += &objects::service(&service, None, &[address]);
        yaml += &objects::route(&format!("r{number}"), &format!("h{number}.example"), &[(&service, 1)]);
    }
    let mut trio = Trio::start(&place, &yaml).await?;
    let last = Call::get(&format!("h{}.example", routes - 1), "/");
    let mut figures = Vec::new();
    for plane in &mut trio.planes {
        // From nothing: what was kept on disk goes. The control plane has it all by now.
        let started = Instant::now();
        if plane.name == "windlass" {
            std::fs::remove_dir_all(place.directory().join("proxy"))?;
        }
        plane.restart().await?;
        // Nobody listens at the backend: 503 says that the last route is there.
        plane.ready().await?;
        plane.answers(80, &last, |answer| answer.status == 503).await?;
        figures.push((started.elapsed().as_secs_f64(), plane.process.usage()));
    }
    let [(envoy_start, envoy), (our_start, ours)] = figures[..] else { anyhow::bail!("two data planes") };
    let named = format!("{routes} routes");
    if let Some(most) = most {
        table.add(Row::new("proxy, resident", &named, "MiB", ours.resident, ("target", most), Wanted::Most(1.0)));
    }
    table.add(Row::new("proxy, resident", &named, "MiB", ours.resident, ("envoy", envoy.resident), Wanted::Most(1.0)));
    let what = "proxy, start to the last route";
    table.add(Row::new(what, &named, "s", our_start, ("envoy", envoy_start), Wanted::Most(1.0)));
    table.add(Row::new("proxy, CPU of a start", &named, "CPU-s", ours.cpu, ("envoy", envoy.cpu), Wanted::Most(1.0)));
    Ok(())
}
