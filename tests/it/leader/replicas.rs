//! Several replicas: who leads, and what the others know.

use super::{Cluster, LIMIT, balance, condition, control, gateway, programmed, proxy, route};
use anyhow::{Result, ensure};
use std::time::{Duration, Instant};
use tests::{
    http::{Call, call},
    kube::ApiServer,
    objects,
    process::eventually,
};

#[tokio::test]
async fn another_replica_takes_over() -> Result<()> {
    let Cluster { place, server, kubeconfig } = Cluster::start().await?;
    server.apply(objects::GATEWAY)?;
    let mut first = control(&place, 1, &kubeconfig, &[])?;
    programmed(&server, "False", "AddressNotAssigned").await?;
    let second = control(&place, 2, &kubeconfig, &[])?;
    balance(&server).await?;
    // The proxy knows only the one that doesn't lead.
    let _proxy = proxy(&place, &server, &second, 9).await?;
    programmed(&server, "True", "Programmed").await?;
    for port in [8080, 15_014] {
        let live = call(second.at(port), &Call::get("localhost", "/live")).await?;
        ensure!(live.status == 200, "{}", String::from_utf8_lossy(&live.body));
    }
    let before = condition(&gateway(&server)?["status"]["conditions"], "Programmed");

    first.process.stop("KILL", Duration::from_secs(5)).await;
    let began = Instant::now();
    server.apply(&objects::route("web", "web.example", &[("a", 1)]))?;
    told_of(&server, "web").await?;
    eprintln!("another leads {:?} after the leader was killed", began.elapsed());
    let lease = server.get("lease", "istio-system", "windlass-leader")?;
    ensure!(lease["spec"]["holderIdentity"] == "control-2", "{lease}");
    let after = condition(&gateway(&server)?["status"]["conditions"], "Programmed");
    ensure!(after == before, "{after}");
    Ok(())
}

#[tokio::test]
async fn a_leader_that_ends_hands_over_at_once() -> Result<()> {
    let Cluster { place, server, kubeconfig } = Cluster::start().await?;
    server.apply(objects::GATEWAY)?;
    let mut first = control(&place, 1, &kubeconfig, &[])?;
    balance(&server).await?;
    let _proxy = proxy(&place, &server, &first, 9).await?;
    programmed(&server, "True", "Programmed").await?;
    let before = condition(&gateway(&server)?["status"]["conditions"], "Programmed");
    // As a rollout does: the next is ready before the one before it ends.
    let next = control(&place, 2, &kubeconfig, &[])?;
    eventually("the next is ready", LIMIT, async || {
        let ready = call(next.at(8080), &Call::get("localhost", "/ready")).await?;
        ensure!(ready.status == 200, "{}", String::from_utf8_lossy(&ready.body));
        Ok(())
    })
    .await?;
    ensure!(first.process.stop("TERM", Duration::from_secs(20)).await, "{}", first.process.tail());

    let began = Instant::now();
    server.apply(&objects::route("web", "web.example", &[("a", 1)]))?;
    told_of(&server, "web").await?;
    let took = began.elapsed();
    eprintln!("another leads {took:?} after the leader ended");
    ensure!(took < Duration::from_secs(10), "the term of the Lease was waited for: {took:?}");
    // Its proxy has nobody to speak to here; that is no reason to call the Gateway unprogrammed.
    let after = condition(&gateway(&server)?["status"]["conditions"], "Programmed");
    ensure!(after == before, "{after}");
    let told = server.kubectl(&["get", "lease", "-n", "istio-system", "-o", "name"], "")?;
    ensure!(!told.contains("windlass-replica-control-1"), "what it told is left: {told}");
    Ok(())
}

/// Waits until a route has a status: somebody leads.
async fn told_of(server: &ApiServer, name: &str) -> Result<()> {
    eventually("the route's status", LIMIT, async || {
        let route = route(server, name)?;
        ensure!(route["status"]["parents"].as_array().is_some_and(|parents| !parents.is_empty()), "{route}");
        Ok(())
    })
    .await
}
