//! `windlass-control`: the control plane in a Kubernetes cluster.

use base::{drain, log, ready::Readiness, tasks::Tasks};
use clap::Parser;
use control::{
    Control, Source,
    flags::Flags,
    lead::{self, Lead},
    write::Seen,
};
use std::{process::ExitCode, sync::Arc, time::Duration};
use tikv_jemallocator::Jemalloc;

// What is deleted goes back to the system: glibc would keep it.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    let flags = Flags::parse();
    // What kube-rs would say at each try is said once by `source::cluster::health`.
    log::init(flags.serving.log_format(), "info,kube_runtime=off,kube_client=off");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let done = runtime.map_err(anyhow::Error::from).and_then(|runtime| runtime.block_on(run(flags)));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("windlass-control: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(flags: Flags) -> anyhow::Result<()> {
    let (tasks, metrics, readiness) = (Tasks::default(), base::metrics::Metrics::default(), Readiness::default());
    let cluster = flags.cluster.connect().await?;
    let seen = Seen::new(cluster.revision.clone());
    let source = Source::Cluster { cluster: cluster.clone(), onlookers: vec![Arc::new(seen.clone())] };
    let options = flags.serving.options(source);
    let controllers = options.resolve.controllers.clone();
    let settings = flags.deploy.settings(&cluster);
    let control = Control::start(options, &tasks, &metrics, &readiness).await?;
    let (board, desired) = (control.board.clone(), control.desired.clone());
    lead::start(Lead { cluster, board, seen, desired, controllers, settings }, &tasks);
    tracing::info!(version = control::VERSION, xds = %control.xds, "serving");
    let signal = drain::signalled().await?;
    tracing::info!(signal, "draining");
    // It is never passed: from here on nobody new is sent to us.
    let _draining = readiness.barrier("the end");
    tasks.end(Duration::from_secs(10)).await;
    Ok(())
}
