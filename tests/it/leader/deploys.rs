//! What Gateways' proxies run as.

use super::{Cluster, LIMIT, balance, control, programmed, version};
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::time::Duration;
use tests::{
    http::{Call, call},
    kube::credentials,
    objects,
    place::{envoy, program},
    process::{Process, eventually, words},
};

#[tokio::test]
async fn what_is_made_is_kept_right_and_what_is_not_ours_is_left_alone() -> Result<()> {
    let Cluster { place, server, kubeconfig } = Cluster::start().await?;
    let theirs = "apiVersion: v1\nkind: Service\nmetadata: {name: gw-windlass, namespace: default}\n\
                  spec: {ports: [{port: 1234}]}\n";
    server.apply(theirs)?;
    server.apply(objects::GATEWAY)?;
    let before = server.get("service", "default", "gw-windlass")?;
    let _control = control(&place, 1, &kubeconfig, &[])?;
    let told = programmed(&server, "False", "NoResources").await?;
    ensure!(told["message"].as_str().is_some_and(|text| text.contains("was not made for this Gateway")), "{told}");
    ensure!(version(&server.get("service", "default", "gw-windlass")?) == version(&before), "it was touched");

    server.delete(theirs)?;
    let ours = |service: &Value| service["metadata"]["labels"]["gateway.networking.k8s.io/gateway-name"] == "gw";
    let is_there = async || {
        let service = server.get("service", "default", "gw-windlass")?;
        ensure!(ours(&service), "{service}");
        server.get("deployment", "default", "gw-windlass")?;
        server.get("poddisruptionbudget", "default", "gw-windlass").map(drop)
    };
    eventually("ours", LIMIT, is_there).await?;
    for kind in ["service", "deployment", "serviceaccount", "poddisruptionbudget"] {
        server.kubectl(&["delete", kind, "gw-windlass", "--wait=false"], "")?;
        let back = async || server.get(kind, "default", "gw-windlass").map(drop);
        eventually(kind, LIMIT, back).await?;
    }

    // A listener more is a port of the Service more; the pods are not touched.
    let template = server.get("deployment", "default", "gw-windlass")?["spec"]["template"].clone();
    server.apply(&objects::GATEWAY.replace(
        "protocol: HTTP}",
        "protocol: HTTP}\n  - {name: more, port: 8080, protocol: HTTP}\n  - {name: udp, port: 80, protocol: UDP}",
    ))?;
    eventually("the ports", LIMIT, async || {
        let service = server.get("service", "default", "gw-windlass")?;
        let ports = service["spec"]["ports"].as_array().context("ports")?;
        let seen: Vec<_> = ports.iter().map(|port| format!("{}/{}", port["port"], port["protocol"])).collect();
        ensure!(seen == ["15021/\"TCP\"", "80/\"TCP\"", "80/\"UDP\"", "8080/\"TCP\""], "{seen:?}");
        Ok(())
    })
    .await?;
    ensure!(server.get("deployment", "default", "gw-windlass")?["spec"]["template"] == template);

    // Somebody else runs the proxies from now on: ours go.
    let manual = "spec:\n  addresses: [{type: Hostname, value: edge}]\n";
    server.apply(&objects::GATEWAY.replace("spec:\n  gatewayClassName", &format!("{manual}  gatewayClassName")))?;
    eventually("ours are gone", LIMIT, async || {
        ensure!(server.get("deployment", "default", "gw-windlass").is_err(), "the Deployment is there");
        ensure!(server.get("service", "default", "gw-windlass").is_err(), "the Service is there");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn stock_envoy_serves_in_the_same_place() -> Result<()> {
    let Cluster { place, server, kubeconfig } = Cluster::start().await?;
    server.apply(&objects::GATEWAY.replace("gateway-controller", "envoy-gateway-controller"))?;
    let control = control(&place, 1, &kubeconfig, &[])?;
    balance(&server).await?;
    let arguments =
        server.get("deployment", "default", "gw-windlass")?["spec"]["template"]["spec"]["containers"][0]["args"]
            .clone();
    ensure!(arguments[0] == "envoy", "{arguments}");

    // As its pod would run it.
    let (roots, token) = credentials(&place, &server, 9, ("gw-windlass", "istio-ca")).await?;
    let data = place.make("envoy")?;
    let (health, metrics, admin) = (place.control(15_021), place.control(15_020), place.control(15_000));
    let arguments = format!(
        "envoy --envoy {} --gateway default/gw --service-account gw-windlass --control {} --control-name \
         istiod.istio-system.svc --token-file {} --root-cert {} --data {} --health {health} --metrics {metrics} \
         --admin {admin} --concurrency 1 --drain 5",
        envoy()?.display(),
        control.at(15_012),
        token.display(),
        roots.display(),
        data.display(),
    );
    let arguments = words(&arguments);
    let logs = place.make("logs")?;
    let mut proxy = Process::start("envoy", &program("windlass-proxy")?, &arguments, &logs)?;
    let status = async |address, path: &str| Ok(call(address, &Call::get("localhost", path)).await?.status);
    eventually("Envoy is ready", LIMIT, async || {
        let seen: Result<u16> = status(health, "/healthz/ready").await;
        ensure!(seen? == 200, "{}", proxy.tail());
        Ok(())
    })
    .await?;
    programmed(&server, "True", "Programmed").await?;
    let stats = call(metrics, &Call::get("localhost", "/stats/prometheus")).await?;
    ensure!(String::from_utf8_lossy(&stats.body).contains("envoy_server_live"), "no metrics of Envoy");
    ensure!(proxy.stop("TERM", Duration::from_secs(10)).await, "it doesn't drain: {}", proxy.tail());
    Ok(())
}
