//! What one replica does for all, against a real API server and its etcd: statuses, and what Gateways' proxies run as. The
//! control plane has the rights that its chart grants, and no others.

mod deploys;
mod faults;
mod refused;
mod replicas;
mod revisions;
mod statuses;
mod xbackends;

use anyhow::{Result, ensure};
use serde_json::Value;
use std::{
    path::{Path, PathBuf},
    time::Duration,
};
use tests::{
    kube::{ApiServer, Control, chart_rights},
    place::Place,
    process::{Process, eventually},
};

/// How long anything may take on a slow and busy machine.
const LIMIT: Duration = Duration::from_secs(60);

/// An API server with all definitions, and who the control plane is there.
struct Cluster {
    place: Place,
    server: ApiServer,
    kubeconfig: PathBuf,
}

impl Cluster {
    async fn start() -> Result<Self> {
        let place = Place::take()?;
        let server = ApiServer::start(&place).await?;
        server.install_crds(&[])?;
        server.apply(&chart_rights("control.yaml")?)?;
        let kubeconfig = server.kubeconfig("control", &server.token("istio-system", "istiod", "")?)?;
        Ok(Self { place, server, kubeconfig })
    }
}

fn control(place: &Place, last: u8, kubeconfig: &Path, flags: &[&str]) -> Result<Control> {
    Control::start(place, last, kubeconfig, &[&["--service-account", "istiod"], flags].concat())
}

/// A proxy of the Gateway, which knows only that replica.
async fn proxy(place: &Place, server: &ApiServer, control: &Control, last: u8) -> Result<Process> {
    control.proxy(place, server, last, ("gw-windlass", "istio-ca")).await
}

/// The Gateway as it stands.
fn gateway(server: &ApiServer) -> Result<Value> {
    server.get("gateways.gateway.networking.k8s.io", "default", "gw")
}

fn route(server: &ApiServer, name: &str) -> Result<Value> {
    server.get("httproutes.gateway.networking.k8s.io", "default", name)
}

/// The condition of that type.
fn condition(conditions: &Value, kind: &str) -> Value {
    conditions.as_array().into_iter().flatten().find(|one| one["type"] == kind).cloned().unwrap_or_default()
}

async fn programmed(server: &ApiServer, status: &str, reason: &str) -> Result<Value> {
    eventually(&format!("Programmed={status} ({reason})"), LIMIT, async || {
        let seen = condition(&gateway(server)?["status"]["conditions"], "Programmed");
        ensure!((&seen["status"], &seen["reason"]) == (&status.into(), &reason.into()), "{seen}");
        Ok(seen)
    })
    .await
}

/// Gives the Gateway's Service an address, as a load balancer does.
async fn balance(server: &ApiServer) -> Result<()> {
    let patch = r#"{"status":{"loadBalancer":{"ingress":[{"ip":"192.0.2.9"}]}}}"#;
    let arguments = ["patch", "service", "gw-windlass", "--subresource=status", "--type=merge", "-p", patch];
    eventually("the Service", LIMIT, async || server.kubectl(&arguments, "").map(drop)).await
}

fn version(object: &Value) -> String {
    object["metadata"]["resourceVersion"].as_str().unwrap_or_default().to_owned()
}
