//! `windlass run`

mod backend;
mod gateways;
mod report;
mod sample;

use crate::{
    flags::{Data, Gateways, threads},
    output::Format,
    xds::loopback,
};
use base::{drain, log, ready::Readiness, tasks::Tasks};
use clap::Args;
use control::Control;
use report::Reporter;
use std::{net::SocketAddr, path::PathBuf, time::Duration};

/// Runs everything in one process: control plane, certificate authority, and a gateway proxy for each Gateway.
///
/// Without DIR it runs a small built-in sample with two backends and says what to try. With DIR it reads the Kubernetes
/// objects in it (YAML or JSON), follows every change, and says what became of each object.
///
/// On a laptop nobody has port 80 or a LoadBalancer: every listener of every Gateway is served on --bind, on its own
/// port plus --port-offset, so that port 80 is 127.0.0.1:8080 and port 443 is 127.0.0.1:8443.
#[derive(Args)]
pub struct Run {
    /// Directory (or file) of Kubernetes objects.
    #[arg(value_name = "DIR")]
    directory: Option<PathBuf>,
    #[command(flatten)]
    gateways: Gateways,
    /// Address of the admin page: /ready, /metrics, /debug/...
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:15014", value_parser = loopback)]
    admin: SocketAddr,
    #[command(flatten)]
    data: Data,
    /// Address for xDS and certificates over TLS, for further proxies; port 0 takes any.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    xds: SocketAddr,
    /// Print statuses for machines: all of them, again after every change.
    #[arg(short, long, value_name = "FORMAT")]
    output: Option<Format>,
    /// How long requests under way may take at the end, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    drain: u64,
}

impl Run {
    pub fn main(self) -> anyhow::Result<()> {
        // Objects and listeners are told on standard output; the log is for what goes wrong.
        log::init(log::Format::Text, "warn");
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        runtime.block_on(self.serve())
    }

    async fn serve(self) -> anyhow::Result<()> {
        let (tasks, metrics, readiness) = (Tasks::default(), base::metrics::Metrics::default(), Readiness::default());
        let data = self.data.directory()?;
        let is_sample = self.directory.is_none();
        let directory = match self.directory {
            Some(directory) => directory,
            None => sample::start(&data, &tasks).await?,
        };
        let options = control::Options {
            source: control::Source::Files { paths: vec![directory.clone()], follow: true },
            data: data.clone(),
            plug_in_ca: None,
            trust_domain: model::TrustDomain::default(),
            resolve: self.gateways.resolve(),
            translate: self.gateways.settings(),
            xds: self.xds,
            plaintext: None,
            admin: Some(self.admin),
            health: None,
            threads: threads(),
        };
        let control = Control::start(options, &tasks, &metrics, &readiness).await?;
        readiness.ready().await;

        let mut gateways = gateways::Running::new(&control, data);
        let mut reporter = Reporter::new(self.output, is_sample.then_some(directory));
        let mut changes = control.board.changes();
        let signal = drain::signalled();
        tokio::pin!(signal);
        let signal = loop {
            changes.mark_unchanged();
            gateways.follow(&control).await;
            let settled = gateways.settle(&control);
            tokio::select! {
                () = settled => reporter.report(&control, &gateways, &self.gateways)?,
                signal = &mut signal => break signal?,
            }
            tokio::select! {
                _ = changes.changed() => {}
                () = gateways.changed() => {}
                signal = &mut signal => break signal?,
            }
        };
        tracing::info!(signal, "draining");
        gateways.drain(Duration::from_secs(self.drain)).await;
        drop(control);
        tasks.end(Duration::from_secs(5)).await;
        Ok(())
    }
}
