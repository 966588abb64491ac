//! `windlass-control`: the control plane in a Kubernetes cluster. A list of parts, each of which owns its flags.

use base::{drain, log, ready::Readiness, tasks::Tasks};
use clap::Parser;
use control::{
    Control, Source, cluster, deploy,
    lead::{self, Lead},
    serving,
    write::Seen,
};
use std::{process::ExitCode, sync::Arc, time::Duration};

/// The control plane of Windlass, for a Kubernetes cluster.
///
/// It reads Gateway API's and Istio's objects from the API server, serves xDS and certificates, and ends with SIGTERM.
#[derive(Parser)]
#[command(name = "windlass-control", version = control::VERSION, max_term_width = 110)]
struct Flags {
    #[command(flatten)]
    cluster: cluster::Flags,
    #[command(flatten)]
    serving: serving::Flags,
    #[command(flatten)]
    deploy: deploy::Flags,
}

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
    let seen = Seen::default();
    let source = Source::Cluster { cluster: cluster.clone(), onlookers: vec![Arc::new(seen.clone())] };
    let options = flags.serving.options(source);
    let controllers = options.resolve.controllers.clone();
    let settings = flags.deploy.settings(&cluster.namespace);
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

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_parts_flags_go_together() {
        super::Flags::command().debug_assert();
    }
}
