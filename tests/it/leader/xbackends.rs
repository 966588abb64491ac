//! XBackends: their statuses name the Gateways that take a route to them, beside what others have written there.

use super::{Cluster, LIMIT, condition, control};
use anyhow::{Result, ensure};
use serde_json::{Value, json};
use tests::{objects, process::eventually};

const KIND: &str = "xbackends.gateway.networking.x-k8s.io";

fn xbackend(name: &str, host: &str, more: &str) -> String {
    format!(
        "---\napiVersion: gateway.networking.x-k8s.io/v1alpha1\nkind: XBackend\nmetadata: {{name: {name}, namespace: default}}\n\
         spec: {{type: ExternalHostname, externalHostname: {{hostname: {host}}}, port: {{port: 443}}{more}}}\n"
    )
}

fn route(name: &str) -> String {
    format!(
        "---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {{name: {name}, namespace: default}}\n\
         spec: {{parentRefs: [{{name: gw}}], rules: [{{backendRefs: [{{group: gateway.networking.x-k8s.io, kind: XBackend, \
         name: {name}}}]}}]}}\n"
    )
}

#[tokio::test]
async fn xbackends_name_the_gateways_that_lead_to_them() -> Result<()> {
    let Cluster { place, server, kubeconfig } = Cluster::start().await?;
    server.apply(objects::GATEWAY)?;
    let tls = ", tls: {mode: ServerOnly}";
    server.apply(&xbackend("good", "a.example", tls))?;
    server.apply(&xbackend("mcp", "b.example", ", protocol: MCP"))?;
    server.apply(&xbackend("unused", "c.example", tls))?;
    // What the API server takes of hosts, and what it doesn't.
    server.apply(&xbackend("address", "10.0.0.1", tls))?;
    ensure!(server.apply(&xbackend("inside", "a.default.svc.cluster.local", tls)).is_err());
    ["good", "mcp", "address"].iter().try_for_each(|name| server.apply(&route(name)))?;
    let foreign = json!({"controllerName": "example.com/other", "parentRef": {"name": "elsewhere"}, "conditions": []});
    let patch = json!({"status": {"parents": [foreign]}}).to_string();
    server.kubectl(&["patch", KIND, "good", "--subresource=status", "--type=merge", "-p", &patch], "")?;
    let parents = |name: &str| -> Result<Vec<Value>> {
        Ok(server.get(KIND, "default", name)?["status"]["parents"].as_array().cloned().unwrap_or_default())
    };

    let _control = control(&place, 1, &kubeconfig, &[])?;
    let verdicts =
        [("good", "True", "Accepted"), ("mcp", "False", "UnsupportedProtocol"), ("address", "False", "Invalid")];
    for (name, status, reason) in verdicts {
        eventually(&format!("the status of {name}"), LIMIT, async || {
            let parents = parents(name)?;
            let ours = parents.iter().find(|one| one["controllerName"] == "windlass.io/gateway-controller");
            let accepted = ours.map(|ours| condition(&ours["conditions"], "Accepted")).unwrap_or_default();
            ensure!(ours.is_some_and(|ours| ours["parentRef"]["name"] == "gw"), "{parents:?}");
            ensure!((&accepted["status"], &accepted["reason"]) == (&status.into(), &reason.into()), "{accepted}");
            Ok(())
        })
        .await?;
    }
    ensure!(parents("good")?.len() == 2 && parents("good")?[0]["controllerName"] == "example.com/other");
    ensure!(parents("unused")?.is_empty());

    server.delete(&route("good"))?;
    eventually("only the entry of another is left", LIMIT, async || {
        let left = parents("good")?;
        ensure!(left.len() == 1 && left[0]["controllerName"] == "example.com/other", "{left:?}");
        Ok(())
    })
    .await
}
