//! Statuses: once, only ours, and against whoever rewrites them.

use super::{Cluster, LIMIT, balance, condition, control, gateway, programmed, proxy, route, version};
use anyhow::{Result, ensure};
use serde_json::json;
use std::time::{Duration, Instant};
use tests::{objects, process::eventually};

#[tokio::test]
async fn statuses_are_written_once_and_only_ours() -> Result<()> {
    let Cluster { place, server, kubeconfig } = Cluster::start().await?;
    server.apply(objects::GATEWAY)?;
    server.apply(&objects::route("web", "web.example", &[("a", 1)]))?;
    let foreign = json!({"controllerName": "example.com/other", "parentRef": {"name": "elsewhere"}, "conditions": [{
        "type": "Accepted", "status": "True", "reason": "Accepted", "message": "", "observedGeneration": 1,
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }]});
    let patch = json!({"status": {"parents": [foreign]}}).to_string();
    server.kubectl(&["patch", "httproute", "web", "--subresource=status", "--type=merge", "-p", &patch], "")?;
    let control = control(&place, 1, &kubeconfig, &[])?;
    balance(&server).await?;
    let _proxy = proxy(&place, &server, &control, 9).await?;
    programmed(&server, "True", "Programmed").await?;
    let parents = eventually("the route's status", LIMIT, async || {
        let parents = route(&server, "web")?["status"]["parents"].clone();
        ensure!(parents.as_array().is_some_and(|parents| parents.len() == 2), "{parents}");
        Ok(parents)
    })
    .await?;
    // The API server fills in group and kind.
    ensure!(parents[0]["controllerName"] == "example.com/other", "{parents}");
    ensure!(parents[0]["conditions"] == foreign["conditions"], "{parents}");
    ensure!(parents[1]["controllerName"] == "windlass.io/gateway-controller", "{parents}");
    ensure!(gateway(&server)?["status"]["listeners"][0]["attachedRoutes"] == 1);
    ensure!(gateway(&server)?["status"]["addresses"] == json!([{"type": "IPAddress", "value": "192.0.2.9"}]));

    // Nothing happens: nothing is written.
    let versions = || -> Result<Vec<String>> {
        let places =
            [("gateway", "gw"), ("httproute", "web"), ("service", "gw-windlass"), ("deployment", "gw-windlass")];
        let mut versions = places.iter().map(|(kind, name)| server.get(kind, "default", name).map(|one| version(&one)));
        versions.by_ref().collect()
    };
    tokio::time::sleep(Duration::from_secs(2)).await;
    let before = versions()?;
    tokio::time::sleep(Duration::from_secs(10)).await;
    ensure!(versions()? == before, "written while idle: {before:?} became {:?}", versions()?);

    // A change of the route reaches its own status, and leaves the other entry and the Gateway's conditions alone.
    let accepted = condition(&gateway(&server)?["status"]["conditions"], "Programmed");
    server.apply(&objects::route("web", "other.example", &[("a", 1)]))?;
    eventually("the new generation", LIMIT, async || {
        let parents = route(&server, "web")?["status"]["parents"].clone();
        ensure!(condition(&parents[1]["conditions"], "Accepted")["observedGeneration"] == 2, "{parents}");
        ensure!(parents[0]["conditions"] == foreign["conditions"], "{parents}");
        Ok(())
    })
    .await?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let now = condition(&gateway(&server)?["status"]["conditions"], "Programmed");
    ensure!(now == accepted, "{now}");
    Ok(())
}

#[tokio::test]
async fn who_rewrites_our_status_is_opposed_once_a_second() -> Result<()> {
    let Cluster { place, server, kubeconfig } = Cluster::start().await?;
    server.apply(objects::GATEWAY)?;
    let _control = control(&place, 1, &kubeconfig, &[])?;
    programmed(&server, "False", "AddressNotAssigned").await?;
    let hostile = r#"{"status":{"conditions":[]}}"#;
    let began = Instant::now();
    let (mut rewritten, mut opposed) = (0, 0);
    while began.elapsed() < Duration::from_secs(8) {
        if gateway(&server)?["status"]["conditions"].as_array().is_some_and(|conditions| !conditions.is_empty()) {
            opposed += 1;
            server.kubectl(&["patch", "gateway", "gw", "--subresource=status", "--type=merge", "-p", hostile], "")?;
            rewritten += 1;
        }
    }
    let seconds = began.elapsed().as_secs();
    eprintln!("rewritten {rewritten} times in {seconds} s, opposed {opposed} times");
    // The first was written before.
    ensure!(opposed - 1 <= seconds + 1, "{opposed} writes in {seconds} s");
    ensure!(opposed > 2, "it gave up");
    programmed(&server, "False", "AddressNotAssigned").await?;
    Ok(())
}
