//! A real cluster, in the shapes of gateway-api-bench: what routes that come cost, and how soon they serve.
//!
//! It runs beside a cluster that is up, with Windlass installed: `conformance/cluster/cluster run tests/bench/run cluster`.
//! Everything it makes is in namespaces of its own, `bench-*`, which it deletes.

mod attached;
mod probe;
mod propagation;
mod scale;

use crate::table::Table;
use anyhow::{Context, Result};
use tests::cluster::Api;

/// How much is done.
#[derive(Clone, Debug)]
pub struct Size {
    /// Routes that attach to one Gateway.
    pub attached: usize,
    /// Routes among which one more is looked for, and how many are looked for.
    pub among: usize,
    /// Routes whose way to the first 200 is timed.
    pub probes: usize,
    /// Namespaces, and routes with a Service in each.
    pub namespaces: [usize; 2],
    /// Seconds for which nothing happens.
    pub idle: u64,
}

/// All rows, for each class.
pub async fn run(table: &mut Table, size: &Size) -> Result<()> {
    let api = Api::connect().await.context("a cluster: run this by `conformance/cluster/cluster run`")?;
    api.clean().await?;
    let done = rows(table, &api, size).await;
    api.clean().await?;
    done
}

async fn rows(table: &mut Table, api: &Api, size: &Size) -> Result<()> {
    attached::run(table, api, size.attached).await?;
    // What one part has made is not among what the next one measures.
    api.clean().await?;
    propagation::run(table, api, size.among, size.probes).await?;
    api.clean().await?;
    scale::run(table, api, size.namespaces, size.idle).await
}

/// The class whose Gateways are measured.
fn class() -> String {
    std::env::var("WINDLASS_BENCH_CLASS").unwrap_or_else(|_| "windlass".into())
}
