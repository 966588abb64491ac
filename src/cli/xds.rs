//! `windlass xds`

use crate::flags::{Data, Gateways, threads};
use base::{drain, log, ready::Readiness, tasks::Tasks};
use clap::Args;
use control::Control;
use std::{net::SocketAddr, path::PathBuf, time::Duration};

/// Serves xDS and certificates for Envoy or windlass-proxy, without running a proxy.
///
/// As soon as everything is read and published it prints one line of JSON with the ports that it got:
/// {"ready":true,"xds":"127.0.0.1:15012","plaintext":null,"admin":null}. It ends with SIGTERM or Ctrl-C.
#[derive(Args)]
pub struct Xds {
    /// Files and directories of Kubernetes objects (YAML or JSON).
    #[arg(value_name = "FILES", required = true)]
    files: Vec<PathBuf>,
    /// Address for xDS and certificates over TLS; port 0 takes any.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:15012")]
    listen: SocketAddr,
    /// Address for xDS without TLS: whoever reaches it sees everything, keys included. Off by default.
    #[arg(long, value_name = "ADDR", value_parser = loopback)]
    plaintext: Option<SocketAddr>,
    /// Address of the admin page: /ready, /metrics, /debug/... Off by default.
    #[arg(long, value_name = "ADDR", value_parser = loopback)]
    admin: Option<SocketAddr>,
    #[command(flatten)]
    data: Data,
    #[command(flatten)]
    gateways: Gateways,
    /// Follow changes of the files.
    #[arg(long)]
    watch: bool,
    /// Directory with the key and certificates of another authority (ca-cert.pem, ca-key.pem, ...), instead of a root
    /// of our own.
    #[arg(long, value_name = "DIR")]
    ca: Option<PathBuf>,
}

/// An address of this machine that nobody else can reach.
pub fn loopback(text: &str) -> Result<SocketAddr, String> {
    let address: SocketAddr = text.parse().map_err(|error| format!("wanted <address>:<port>: {error}"))?;
    if address.ip().is_loopback() {
        Ok(address)
    } else {
        Err("wanted an address of this machine only, such as 127.0.0.1".into())
    }
}

impl Xds {
    pub fn main(self) -> anyhow::Result<()> {
        log::init(log::Format::Text, "info");
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        runtime.block_on(self.serve())
    }

    async fn serve(self) -> anyhow::Result<()> {
        let (tasks, metrics, readiness) = (Tasks::default(), base::metrics::Metrics::default(), Readiness::default());
        let options = control::Options {
            source: control::Source::Files { paths: self.files, follow: self.watch },
            data: self.data.directory()?,
            plug_in_ca: self.ca,
            trust_domain: model::TrustDomain::default(),
            resolve: self.gateways.resolve(),
            translate: self.gateways.settings(),
            xds: self.listen,
            plaintext: self.plaintext,
            admin: self.admin,
            health: None,
            threads: threads(),
        };
        let control = Control::start(options, &tasks, &metrics, &readiness).await?;
        readiness.ready().await;
        for problem in control.objects.problems() {
            eprintln!("{problem}");
        }
        let addresses = [("xds", Some(control.xds)), ("plaintext", control.plaintext), ("admin", control.admin)];
        let mut line = serde_json::json!({"ready": true});
        for (name, address) in addresses {
            line[name] = address.map(|address| address.to_string()).into();
        }
        crate::output::print(&format!("{line}\n"))?;
        let signal = drain::signalled().await?;
        tracing::info!(signal, "ending");
        tasks.end(Duration::from_secs(5)).await;
        Ok(())
    }
}
