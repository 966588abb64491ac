//! `windlass version`

use crate::{
    cluster::Flags,
    control_plane::{Said, ask},
    output::{self, Format},
};
use clap::Args;
use serde::Serialize;
use std::collections::BTreeMap;

/// Prints the versions of this program, of the control plane, and of the proxies that are connected to it.
///
/// Without a kubeconfig that is this program's alone.
#[derive(Args)]
pub struct Version {
    /// Whether to ask a cluster. By default it is asked if a kubeconfig names one, and that it can't be is no failure.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    remote: Option<bool>,
    #[command(flatten)]
    cluster: Flags,
    /// For machines.
    #[arg(short, long, value_name = "FORMAT")]
    output: Option<Format>,
}

#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Versions {
    version: &'static str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    control_plane: BTreeMap<String, String>,
    /// Versions of proxies, and how many there are of each.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    data_plane: BTreeMap<String, usize>,
}

impl Version {
    pub fn main(self) -> anyhow::Result<()> {
        let mut versions = Versions { version: control::VERSION, ..Versions::default() };
        let is_wanted = self.remote == Some(true) || self.cluster.is_given();
        let asked = match self.remote {
            Some(false) => Ok(Vec::new()),
            None if !is_wanted && !is_any_cluster_named() => Ok(Vec::new()),
            _ => ask(&self.cluster, &["/version", "/debug/syncz"]),
        };
        let asked = asked.and_then(|replicas| replicas.iter().try_for_each(|said| versions.take(said)));
        output::print(&match self.output {
            None => versions.to_string(),
            Some(format) => output::text(format, &versions)?,
        })?;
        match asked {
            Err(error) if !is_wanted => {
                eprintln!("windlass: the control plane's version isn't known: {error:#}");
                Ok(())
            }
            asked => asked,
        }
    }
}

/// Whether there is a kubeconfig; a pod's service account is not looked at unless a cluster is asked for.
fn is_any_cluster_named() -> bool {
    let named = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let home = || named("HOME").is_some_and(|home| std::path::Path::new(&home).join(".kube/config").exists());
    named("KUBECONFIG").is_some() || home()
}

impl Versions {
    /// What one replica says: its version, and its proxies.
    fn take(&mut self, said: &Vec<Said>) -> anyhow::Result<()> {
        let [version, proxies] = said.as_slice() else { return Ok(()) };
        let text = String::from_utf8_lossy(&version.page).trim().to_owned();
        self.control_plane.insert(version.by.clone(), text);
        for proxy in proxies.proxies()? {
            let version = proxy["proxy_version"].as_str().unwrap_or("unknown").to_owned();
            *self.data_plane.entry(version).or_default() += 1;
        }
        Ok(())
    }
}

impl std::fmt::Display for Versions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.control_plane.is_empty() {
            return writeln!(f, "windlass {}", self.version);
        }
        writeln!(f, "client version: {}", self.version)?;
        let mut replicas = BTreeMap::<&str, usize>::new();
        self.control_plane.values().for_each(|version| *replicas.entry(version).or_default() += 1);
        let replicas: Vec<&str> = replicas.into_keys().collect();
        writeln!(f, "control plane version: {}", replicas.join(", "))?;
        let proxies = |(version, count): (&String, &usize)| {
            format!("{version} ({count} {})", if *count == 1 { "proxy" } else { "proxies" })
        };
        let proxies: Vec<String> = self.data_plane.iter().map(proxies).collect();
        let proxies = if proxies.is_empty() { "none is connected".to_owned() } else { proxies.join(", ") };
        writeln!(f, "data plane version: {proxies}")
    }
}
