//! Two revisions in one namespace: each minds its Gateways, and neither touches what is the other's.

use super::{Cluster, LIMIT, balance, condition, control, version};
use anyhow::{Result, ensure};
use serde_json::{Value, json};
use std::time::Duration;
use tests::{
    kube::{ApiServer, Control, chart_rights},
    objects,
    process::eventually,
};

/// A Gateway of the revision `canary`, a route to it and to `gw`, and a policy for each.
const BOTH: &str = "---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: canary, namespace: default, labels: {istio.io/rev: canary}}
spec:
  gatewayClassName: windlass
  listeners:
  - {name: http, port: 80, protocol: HTTP}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: web, namespace: default}
spec:
  parentRefs: [{name: gw}, {name: canary}]
  rules:
  - filters: [{type: RequestRedirect, requestRedirect: {hostname: a.example}}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: gw, namespace: default}
spec:
  targetRefs: [{group: gateway.networking.k8s.io, kind: Gateway, name: gw}]
  action: DENY
  rules: [{to: [{operation: {paths: [/a]}}]}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: canary, namespace: default}
spec:
  targetRefs: [{group: gateway.networking.k8s.io, kind: Gateway, name: canary}]
  action: DENY
  rules: [{to: [{operation: {paths: [/a]}}]}]
";

/// What may be fought over.
fn all(server: &ApiServer) -> Result<Vec<Value>> {
    let mut all = Vec::new();
    for kind in ["gateway", "service", "deployment", "serviceaccount", "authorizationpolicy"] {
        for name in ["gw", "canary"] {
            let is_made = ["service", "deployment", "serviceaccount"].contains(&kind);
            let name = if is_made { format!("{name}-windlass") } else { name.to_owned() };
            all.push(server.get(kind, "default", &name)?);
        }
    }
    all.push(server.get("httproute", "default", "web")?);
    all.push(server.get("gatewayclass", "", "windlass")?);
    Ok(all)
}

/// The parents that have accepted the route.
fn accepted(server: &ApiServer) -> Result<Vec<String>> {
    let route = server.get("httproute", "default", "web")?;
    let parents = route["status"]["parents"].as_array().cloned().unwrap_or_default();
    let accepted = parents.iter().filter(|parent| condition(&parent["conditions"], "Accepted")["status"] == "True");
    let mut names: Vec<String> = accepted.map(|parent| parent["parentRef"]["name"].to_string()).collect();
    names.sort();
    Ok(names)
}

fn holder(server: &ApiServer, lease: &str) -> Result<Value> {
    Ok(server.get("lease", "istio-system", lease)?["spec"]["holderIdentity"].clone())
}

fn control_of(server: &ApiServer, deployment: &str) -> Result<String> {
    let deployment = server.get("deployment", "default", deployment)?;
    Ok(deployment["spec"]["template"]["spec"]["containers"][0]["args"].to_string())
}

#[tokio::test]
async fn two_revisions_leave_each_other_alone() -> Result<()> {
    let Cluster { place, server, kubeconfig } = Cluster::start().await?;
    server.apply(&format!("{}{BOTH}", objects::GATEWAY))?;
    server.apply(&chart_rights("control-revision.yaml")?)?;
    let _default = control(&place, 1, &kubeconfig, &[])?;
    let theirs = server.kubeconfig("canary", &server.token("istio-system", "istiod-canary", "")?)?;
    let flags = ["--revision", "canary", "--service-account", "istiod-canary"];
    let mut canary = Control::start(&place, 2, &theirs, &flags)?;
    balance(&server).await?;
    eventually("both parents accept the route", LIMIT, async || {
        let accepted = accepted(&server)?;
        ensure!(accepted == ["\"canary\"", "\"gw\""], "{accepted:?}");
        for name in ["gw", "canary"] {
            let policy = server.get("authorizationpolicy", "default", name)?;
            ensure!(condition(&policy["status"]["conditions"], "Accepted")["status"] == "True", "{policy}");
        }
        all(&server).map(drop)
    })
    .await?;
    ensure!(holder(&server, "windlass-leader")? == "control-1");
    ensure!(holder(&server, "windlass-leader-canary")? == "control-2");
    ensure!(control_of(&server, "gw-windlass")?.contains("istiod.istio-system.svc:15012"));
    ensure!(control_of(&server, "canary-windlass")?.contains("istiod-canary.istio-system.svc:15012"));

    // Neither writes what the other has written.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let versions = || -> Result<Vec<String>> { Ok(all(&server)?.iter().map(version).collect()) };
    let before = versions()?;
    tokio::time::sleep(Duration::from_secs(5)).await;
    ensure!(versions()? == before, "written while idle: {before:?} became {:?}", versions()?);

    // Their Gateway stays as it is while they are away, and is taken over when its label goes.
    canary.process.stop("TERM", Duration::from_secs(20)).await;
    server.apply(&BOTH.replace("/a]", "/b]"))?;
    eventually("our policy's new generation", LIMIT, async || {
        let policy = server.get("authorizationpolicy", "default", "gw")?;
        ensure!(condition(&policy["status"]["conditions"], "Accepted")["observedGeneration"] == 2, "{policy}");
        Ok(())
    })
    .await?;
    ensure!(accepted(&server)? == ["\"canary\"", "\"gw\""], "their parent of the route is gone");
    let patch = json!({"metadata": {"labels": {"istio.io/rev": null}}}).to_string();
    server.kubectl(&["patch", "gateway", "canary", "--type=merge", "-p", &patch], "")?;
    eventually("it is taken over", LIMIT, async || {
        let arguments = control_of(&server, "canary-windlass")?;
        ensure!(arguments.contains("istiod.istio-system.svc:15012"), "{arguments}");
        let policy = server.get("authorizationpolicy", "default", "canary")?;
        ensure!(condition(&policy["status"]["conditions"], "Accepted")["observedGeneration"] == 2, "{policy}");
        Ok(())
    })
    .await?;
    ensure!(accepted(&server)? == ["\"canary\"", "\"gw\""], "a parent of the route is gone");
    Ok(())
}
