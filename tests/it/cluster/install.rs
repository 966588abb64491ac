//! `windlass precheck`, `install` and `uninstall` with the real helm against a real API server. Nothing runs the pods there.

use super::{
    cli::{Said, wanted, windlass},
    ready,
};
use anyhow::{Result, ensure};
use std::path::Path;
use tests::{
    kube::{ApiServer, Control, helm},
    place::Place,
    process::eventually,
};

/// Somebody else's control plane.
const ISTIO: &str = "---
apiVersion: apps/v1
kind: Deployment
metadata: {name: istiod, namespace: istio-system, labels: {app: istiod}}
spec:
  selector: {matchLabels: {app: istiod}}
  template: {metadata: {labels: {app: istiod}}, spec: {containers: [{name: discovery, image: pilot}]}}
";

/// Somebody who may do nothing.
const OTHERS: &str = "---
apiVersion: v1
kind: ServiceAccount
metadata: {name: limited, namespace: default}
---
apiVersion: v1
kind: Namespace
metadata: {name: istio-system}
";

/// The trust bundle of somebody else, who came when Windlass was on its way out.
const THEIRS: &str = "---
apiVersion: v1
kind: Namespace
metadata: {name: theirs}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: istio-ca-root-cert, namespace: theirs}
data: {root-cert.pem: theirs}
";

fn with_helm(server: &ApiServer, words: &[&str]) -> Result<Said> {
    let helm = helm()?;
    let helm = ["--helm", helm.to_str().unwrap_or_default()];
    windlass(&server.admin(), &[words, &helm].concat())
}

#[tokio::test]
async fn one_command_installs_and_one_takes_it_all_away() -> Result<()> {
    let place = Place::take()?;
    let server = ApiServer::start(&place).await?;
    server.apply(OTHERS)?;
    let checks = ["ok: Kubernetes: v1.", "ok: your rights", "warning: Gateway API: not in this cluster", "none"];
    wanted(&windlass(&server.admin(), &["precheck"])?, 0, &checks)?;
    in_the_way(&server)?;

    // Without waiting, again with a value, again without: what was set stays.
    let install = ["install", "--readiness-timeout", "0"];
    wanted(&with_helm(&server, &install)?, 0, &["- Istio's kinds", "- control plane", "in namespace istio-system"])?;
    wanted(
        &with_helm(&server, &[&install[..], &["--set", "replicaCount=3"]].concat())?,
        0,
        &["ok: installed already"],
    )?;
    wanted(&with_helm(&server, &install)?, 0, &[])?;
    let deployment = server.get("deployment", "istio-system", "istiod")?;
    ensure!(deployment["spec"]["replicas"] == 3, "{}", deployment["spec"]["replicas"]);
    let said = with_helm(&server, &["install", "--readiness-timeout", "2"])?;
    ensure!(said.code == Some(1) && said.err.contains("0 of 3 replicas are ready"), "{}{}", said.out, said.err);
    let said = with_helm(&server, &[&install[..], &["--set", "replicaCount=none"]].concat())?;
    ensure!(said.code == Some(1) && said.err.contains("replicaCount"), "{}{}", said.out, said.err);

    // Another revision beside it, which is taken away with nothing that both need.
    wanted(&with_helm(&server, &[&install[..], &["--revision", "canary"]].concat())?, 0, &["ok: another revision"])?;
    let canary = server.get("deployment", "istio-system", "istiod-canary")?;
    ensure!(canary["spec"]["template"]["metadata"]["labels"]["istio.io/rev"] == "canary", "{canary}");
    let stays = ["windlass-control-canary", "this stays: other revisions, and what they share: istiod"];
    let said = with_helm(&server, &["uninstall", "-y", "--revision", "canary"])?;
    wanted(&said, 0, &stays)?;
    ensure!(!said.out.contains("windlass-base"), "{}", said.out);

    made_by_the_control_plane(&place, &server).await?;
    server.apply(THEIRS)?;
    let said = with_helm(&server, &["uninstall"])?;
    ensure!(said.code == Some(1) && said.err.contains("nobody is there to ask"), "{}", said.err);
    let goes = [
        "helm release istio-system/windlass-control",
        "ConfigMap istio-ca-root-cert in ",
        "Lease istio-system/windlass-leader",
        "is uninstalled",
    ];
    wanted(&with_helm(&server, &["uninstall", "-y"])?, 0, &goes)?;
    let left = left(&server)?;
    ensure!(left == ["configmap/istio-ca-root-cert theirs", "secret/windlass-ca-secret istio-system"], "{left:?}");
    // Policies outlive the release, and the authority's root.
    server.kubectl(&["get", "crd", "authorizationpolicies.security.istio.io"], "")?;
    wanted(&with_helm(&server, &["uninstall", "-y", "--purge"])?, 0, &["Secret istio-system/windlass-ca-secret"])?;
    let crds = server.kubectl(&["get", "crd", "-o", "name"], "")?;
    ensure!(!crds.contains("security.istio.io"), "{crds}");
    wanted(&with_helm(&server, &["uninstall", "-y", "--purge"])?, 0, &["there is nothing of Windlass"])
}

/// What keeps somebody from installing is said, and nothing is changed.
fn in_the_way(server: &ApiServer) -> Result<()> {
    let limited = server.kubeconfig("limited", &server.token("default", "limited", "")?)?;
    wanted(
        &windlass(&limited, &["precheck"])?,
        1,
        &["error: your rights: you may not create namespaces, customresourcedefinitions"],
    )?;
    let said = windlass(&server.admin(), &["install", "--helm", "/nonexistent/helm"])?;
    ensure!(
        said.code == Some(1) && said.err.contains("wanted helm, and /nonexistent/helm isn't there"),
        "{}",
        said.err
    );
    server.apply(ISTIO)?;
    let said = with_helm(server, &["install"])?;
    wanted(&said, 1, &["error: another control plane: Deployment istio-system/istiod is Istio's"])?;
    ensure!(server.kubectl(&["get", "crd", "-o", "name"], "")?.is_empty(), "something was installed");
    server.delete(ISTIO)
}

/// Lets a control plane make what it makes.
async fn made_by_the_control_plane(place: &Place, server: &ApiServer) -> Result<()> {
    server.install_crds(&["gatewayclasses", "gateways"])?;
    let mut control = Control::start(place, 1, Path::new(&server.admin()), &[])?;
    ready(&control).await?;
    eventually("everything is made", super::LIMIT, async || {
        server.get("configmap", "istio-system", "istio-ca-root-cert")?;
        server.get("configmap", "default", "istio-ca-root-cert")?;
        server.get("lease", "istio-system", "windlass-replica-control-1")?;
        server.get("gatewayclass", "", "windlass")?;
        server.get("lease", "istio-system", "windlass-leader").map(drop)
    })
    .await?;
    // With the chart's ClusterRole all of it goes, where somebody collects garbage.
    let owner = server.get("clusterrole", "", "windlass-secret-reader")?["metadata"]["uid"].clone();
    for (kind, namespace, name) in [
        ("configmap", "default", "istio-ca-root-cert"),
        ("lease", "istio-system", "windlass-leader"),
        ("lease", "istio-system", "windlass-replica-control-1"),
        ("gatewayclass", "", "windlass"),
    ] {
        let owners = server.get(kind, namespace, name)?["metadata"]["ownerReferences"].clone();
        ensure!(owners[0]["uid"] == owner, "{kind} {name} belongs to {owners}");
    }
    control.process.stop("TERM", super::LIMIT).await;
    Ok(())
}

/// What is there of what a control plane makes.
fn left(server: &ApiServer) -> Result<Vec<String>> {
    let columns = "custom-columns=K:.kind,N:.metadata.name,S:.metadata.namespace";
    let mut left = Vec::new();
    for (kind, name) in [
        ("configmap", "istio-ca-root-cert"),
        ("lease", "windlass-leader"),
        ("lease", "windlass-replica-control-1"),
        ("secret", "windlass-ca-secret"),
        ("gatewayclass", "windlass"),
        ("deployment", "istiod"),
        ("clusterrole", "windlass-control"),
    ] {
        let select = format!("metadata.name={name}");
        let found =
            server.kubectl(&["get", kind, "-A", "--field-selector", &select, "--no-headers", "-o", columns], "")?;
        let places = found.lines().filter_map(|line| line.split_whitespace().nth(2));
        left.extend(places.map(|place| format!("{kind}/{name} {place}")));
    }
    Ok(left)
}
