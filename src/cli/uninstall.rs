//! `windlass uninstall`: the releases, and what the control plane has made by itself.

mod left;

use crate::{
    cluster::{Cluster, Flags},
    install::{
        helm::{BASE, CONTROL, Helm, Program},
        step,
    },
    output,
};
use anyhow::{bail, ensure};
use clap::Args;
use left::{Left, Thing};
use std::{
    io::{IsTerminal, Write},
    time::{Duration, Instant},
};

/// Takes Windlass out of a cluster: the releases of helm, and what the control plane has made by itself.
///
/// What would go is listed first. Gateways stay, and so do their proxies, which serve what they know until the Gateways are
/// deleted. Istio's kinds with all policies, and the authority's root, go with --purge only.
#[derive(Args)]
pub struct Uninstall {
    /// Also Istio's kinds, if they are ours, with all policies of the cluster; and the authority's root: whoever trusts it
    /// must be told of another one.
    #[arg(long)]
    purge: bool,
    /// Don't ask.
    #[arg(short = 'y', long)]
    skip_confirmation: bool,
    /// How many seconds it may take until the control plane's pods, and what it has made, are gone.
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    timeout: u64,
    #[command(flatten)]
    helm: Program,
    #[command(flatten)]
    cluster: Flags,
}

impl Uninstall {
    pub fn main(self) -> anyhow::Result<()> {
        let helm = Helm::new(&self.helm, &self.cluster)?;
        let (runtime, cluster) = self.cluster.open()?;
        let left = runtime.block_on(left::look(&cluster, self.purge))?;
        let control = cluster.revision.own(CONTROL);
        let mut releases = Vec::new();
        for release in [control.as_str(), BASE].into_iter().filter(|one| *one != BASE || left.revisions.is_empty()) {
            if helm.has(release)? {
                releases.push(release);
            }
        }
        if releases.is_empty() && left.things.is_empty() {
            return output::print("there is nothing of Windlass in this cluster\n");
        }
        output::print(&list(&cluster, &releases, &left))?;
        self.confirm()?;
        for release in releases {
            step(&format!("helm release {release}"), || helm.uninstall(release))?;
        }
        runtime.block_on(self.clean(&cluster))?;
        output::print("Windlass is uninstalled\n")
    }

    /// Deletes what helm knows nothing of, and waits until it is gone.
    async fn clean(&self, cluster: &Cluster) -> anyhow::Result<()> {
        let end = Instant::now() + Duration::from_secs(self.timeout);
        let pause = || tokio::time::sleep(Duration::from_millis(500));
        // Who still runs would make anew what is taken away.
        while !left::replicas(cluster).await?.is_empty() {
            ensure!(
                Instant::now() < end,
                "the control plane's pods are still there after {} s: try again",
                self.timeout
            );
            pause().await;
        }
        let mut things = left::look(cluster, self.purge).await?.things;
        let mut kept = 0;
        for thing in &things {
            if let Err(error) = thing.delete(cluster).await {
                eprintln!("windlass: {error:#}");
                kept += 1;
            }
        }
        ensure!(kept == 0, "{kept} of {} objects are left", things.len());
        while let Some(thing) = things.first() {
            ensure!(Instant::now() < end, "{thing} is still being deleted after {} s: try again", self.timeout);
            pause().await;
            things = left::look(cluster, self.purge).await?.things;
        }
        Ok(())
    }

    fn confirm(&self) -> anyhow::Result<()> {
        if self.skip_confirmation {
            return Ok(());
        }
        if !std::io::stdin().is_terminal() {
            bail!("nobody is there to ask: nothing was changed; give --skip-confirmation");
        }
        output::print("go on? (y/N) ")?;
        std::io::stdout().flush()?;
        let mut answer = String::new();
        std::io::stdin().read_line(&mut answer)?;
        ensure!(["y", "yes"].contains(&answer.trim().to_ascii_lowercase().as_str()), "nothing was changed");
        Ok(())
    }
}

/// What would go, and what stays.
fn list(cluster: &Cluster, releases: &[&str], left: &Left) -> String {
    let mut text = format!("this goes from {}:\n", cluster.server);
    for release in releases {
        text += &format!("  helm release {}/{release}\n", cluster.istio_namespace);
    }
    let mut line = |things: &[&Thing]| match things {
        [] => {}
        [one] => text += &format!("  {one}\n"),
        [first, ..] => text += &format!("  {} in {} namespaces\n", first.what(), things.len()),
    };
    let mut rest: &[Thing] = &left.things;
    while let Some(first) = rest.first() {
        let count = rest.iter().take_while(|one| one.what() == first.what()).count();
        let (same, others) = rest.split_at(count);
        line(&same.iter().collect::<Vec<_>>());
        rest = others;
    }
    if !left.revisions.is_empty() {
        text += &format!("this stays: other revisions, and what they share: {}\n", left.revisions.join(", "));
    }
    if !left.gateways.is_empty() {
        text += &format!("this stays: Gateways with their proxies: {}\n", left.gateways.join(", "));
    }
    text
}
