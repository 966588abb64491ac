//! `windlass install`: the charts into a cluster, by helm, and waiting until the control plane is ready.

pub mod helm;
mod rollout;

use crate::{
    cluster::{Cluster, Flags, is_class_of_ours},
    output::{self, Paint},
    precheck,
};
use anyhow::{Context, bail};
use clap::Args;
use helm::{BASE, CONTROL, Helm, Program};
use std::{ffi::OsString, path::PathBuf, time::Duration};

/// Installs Windlass in a cluster, or brings it to this program's version: Istio's kinds and the control plane.
///
/// It is what `helm upgrade --install` does with the charts that this program was built with, after a look at what may be
/// in the way. Values that were set before stay as they are. Gateway API's kinds are yours to install, before or after.
#[derive(Args)]
pub struct Install {
    /// A value of the chart `control`, as helm's --set has it: hub=registry.example/windlass. May be given several times.
    #[arg(long, value_name = "NAME=VALUE")]
    set: Vec<String>,
    /// A file of values of the chart `control`.
    #[arg(short = 'f', long, value_name = "FILE")]
    values: Vec<PathBuf>,
    /// Leave Istio's kinds to somebody else.
    #[arg(long)]
    skip_crds: bool,
    /// Go on whatever is in the way.
    #[arg(long)]
    skip_precheck: bool,
    /// How many seconds the control plane may take to get ready; with 0 nobody waits for it.
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    readiness_timeout: u64,
    #[command(flatten)]
    helm: Program,
    #[command(flatten)]
    cluster: Flags,
}

impl Install {
    pub fn main(self) -> anyhow::Result<()> {
        let helm = Helm::new(&self.helm, &self.cluster)?;
        let (runtime, cluster) = self.cluster.open()?;
        if !self.skip_precheck {
            let checks = runtime.block_on(precheck::check(&cluster))?;
            output::print(&precheck::text(&checks, Paint::stdout()))?;
            if precheck::is_in_the_way(&checks) {
                bail!("something is in the way, and nothing was changed; --skip-precheck goes on all the same");
            }
        }
        if !self.skip_crds {
            step("Istio's kinds", || helm.upgrade(BASE, "base", &[]))?;
        }
        step("control plane", || helm.upgrade(&cluster.revision.own(CONTROL), "control", &self.arguments()))?;
        if self.readiness_timeout > 0 {
            let limit = Duration::from_secs(self.readiness_timeout);
            runtime.block_on(rollout::wait(&cluster, limit))?;
        }
        output::print(&runtime.block_on(summary(&cluster, self.readiness_timeout > 0))?)
    }

    fn arguments(&self) -> Vec<OsString> {
        let set = self.set.iter().flat_map(|value| ["--set".into(), value.into()]);
        let files = self.values.iter().flat_map(|file| ["--values".into(), file.into()]);
        files.chain(set).chain(["--set".into(), format!("revision={}", self.cluster.revision).into()]).collect()
    }
}

/// Does something that takes a while, and says so.
pub fn step<T>(what: &str, act: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
    output::print(&format!("- {what} ..\n"))?;
    act().with_context(|| what.to_owned())
}

/// What there is now, and what to do next.
async fn summary(cluster: &Cluster, is_ready: bool) -> anyhow::Result<String> {
    let classes = cluster.classes().await?.into_iter().filter(is_class_of_ours);
    let names: Vec<String> = classes.filter_map(|class| class.metadata.name).collect();
    let (version, namespace) = (control::VERSION, &cluster.istio_namespace);
    let state = if is_ready { "runs" } else { "is installed" };
    let classes = match names.is_empty() {
        true => "its GatewayClasses come as soon as Gateway API's kinds are there".to_owned(),
        false => format!("make a Gateway of class {}, and it gets proxies of its own", names.join(" or ")),
    };
    Ok(format!("Windlass {version} {state} in namespace {namespace}; {classes}\n"))
}
