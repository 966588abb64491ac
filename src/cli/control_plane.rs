//! The control plane's own pages: of one whose address is given, or of every replica in a cluster.

use crate::{
    cluster::{
        Flags,
        pods::{Name, complain},
    },
    fetch::fetch,
};
use anyhow::{Context, ensure};
use hyper::body::Bytes;
use serde_json::Value;
use std::net::SocketAddr;

/// What finds the replicas.
const SELECTOR: &str = "app=istiod";
/// Where their pages are.
const PAGES: u16 = 15_014;

/// What a page says.
pub struct Said {
    /// The replica, or the address.
    pub by: String,
    /// The page.
    pub page: Bytes,
}

/// Asks every replica for pages; for each replica one list, in the order of the paths. One that can't be asked is told.
///
/// # Errors
/// If there is none, or none can be asked.
pub fn ask(flags: &Flags, paths: &[&str]) -> anyhow::Result<Vec<Vec<Said>>> {
    let (runtime, cluster) = flags.open()?;
    runtime.block_on(async {
        let namespace = &cluster.istio_namespace;
        let pods = cluster.running(namespace, SELECTOR).await?;
        ensure!(
            !pods.is_empty(),
            "no pod with label {SELECTOR} runs in namespace {namespace}: windlass install, or name another --istioNamespace"
        );
        let (mut replicas, mut faults) = (Vec::new(), Vec::new());
        for pod in &pods {
            match of_pod(&cluster, pod, paths).await {
                Ok(said) => replicas.push(said),
                Err(error) => faults.push(error),
            }
        }
        if replicas.is_empty() {
            return Err(faults.swap_remove(0));
        }
        faults.iter().for_each(complain);
        Ok(replicas)
    })
}

async fn of_pod(cluster: &crate::cluster::Cluster, pod: &Name, paths: &[&str]) -> anyhow::Result<Vec<Said>> {
    let mut said = Vec::new();
    for path in paths {
        said.push(Said { by: pod.name.clone(), page: cluster.page(pod, PAGES, path).await? });
    }
    Ok(said)
}

/// The same of one control plane whose admin page is known.
///
/// # Errors
/// If it can't be asked.
pub fn ask_one(admin: SocketAddr, path: &str) -> anyhow::Result<Said> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(Said { by: admin.to_string(), page: runtime.block_on(fetch(admin, path))? })
}

impl Said {
    /// The page of `/debug/syncz`: a value for each proxy, each with who says so as `istiod`.
    ///
    /// # Errors
    /// If it is something else.
    pub fn proxies(&self) -> anyhow::Result<Vec<Value>> {
        let page: Vec<Value> = serde_json::from_slice(&self.page)
            .with_context(|| format!("{}: wanted a list of proxies from /debug/syncz", self.by))?;
        let marked = page.into_iter().map(|mut proxy| {
            if let Some(fields) = proxy.as_object_mut() {
                fields.insert("istiod".into(), self.by.as_str().into());
            }
            proxy
        });
        Ok(marked.collect())
    }
}
