//! What is withdrawn under the control plane: a Secret, a right, the disk of the API server.

use super::{Cluster, LIMIT, balance, condition, control, gateway, programmed, proxy, route};
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};
use tests::{
    fixture::metric,
    http::{Call, call},
    kube::{ApiServer, Control},
    objects,
    process::eventually,
    tls,
};

/// A route that redirects everybody with that status.
fn redirect(status: u16) -> String {
    format!(
        "---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {{name: web, namespace: default}}\n\
         spec:\n  parentRefs: [{{name: gw}}]\n  rules:\n  - filters: [{{type: RequestRedirect, requestRedirect: \
         {{hostname: a.example, statusCode: {status}}}}}]\n"
    )
}

async fn answers(at: SocketAddr, status: u16) -> Result<()> {
    let answer = call(at, &Call::get("web.example", "/")).await?;
    ensure!(answer.status == status, "wanted {status}, saw {}", answer.status);
    Ok(())
}

/// The reason of a listener's condition.
fn reason(server: &ApiServer, listener: &str, kind: &str) -> Result<String> {
    let listeners = gateway(server)?["status"]["listeners"].clone();
    let found = listeners.as_array().into_iter().flatten().find(|one| one["name"] == listener).cloned();
    let condition = condition(&found.context("the listener")?["conditions"], kind);
    Ok(condition["reason"].as_str().unwrap_or_default().to_owned())
}

async fn problems(control: &Control) -> Result<String> {
    let answer = call(control.at(15_014), &Call::get("localhost", "/debug/status")).await?;
    Ok(serde_json::from_slice::<Value>(&answer.body)?["problems"].to_string())
}

#[tokio::test]
async fn a_secret_that_vanishes_closes_its_listener_and_no_other() -> Result<()> {
    let Cluster { place, server, kubeconfig } = Cluster::start().await?;
    let secret = objects::secret("cert", &tls::certificate(&["web.example".to_owned()])?);
    let https =
        "protocol: HTTP}\n  - {name: https, port: 443, protocol: HTTPS, tls: {certificateRefs: [{name: cert}]}}";
    server.apply(&format!("{}{secret}{}", objects::GATEWAY.replace("protocol: HTTP}", https), redirect(302)))?;
    let control = control(&place, 1, &kubeconfig, &[])?;
    let _proxy = proxy(&place, &server, &control, 9).await?;
    let at = |port: u16| SocketAddr::new(place.address(9), port);
    let served = async || tls::shown_certificate(at(443), "web.example").await;
    eventually("the certificate is shown", LIMIT, served).await?;
    eventually("the route is served", LIMIT, async || answers(at(80), 302).await).await?;

    server.delete(&secret)?;
    eventually("the listener says so", LIMIT, async || {
        let seen = reason(&server, "https", "ResolvedRefs")?;
        ensure!(seen == "InvalidCertificateRef", "{seen}");
        ensure!(reason(&server, "http", "Programmed")? == "Programmed");
        ensure!(served().await.is_err(), "the certificate of a Secret that is gone is shown");
        Ok(())
    })
    .await?;
    answers(at(80), 302).await?;

    server.apply(&secret)?;
    let began = Instant::now();
    eventually("the certificate is shown again", LIMIT, served).await?;
    eprintln!("a Secret that is back is used {:?} after", began.elapsed());
    eventually("the listener says so", LIMIT, async || {
        let seen = reason(&server, "https", "ResolvedRefs")?;
        ensure!(seen == "ResolvedRefs", "{seen}");
        Ok(())
    })
    .await
}

/// The rights of the control plane over all namespaces, with or without those to HTTPRoutes.
fn grant(server: &ApiServer, routes: bool) -> Result<()> {
    let text = server.kubectl(&["get", "clusterrole", "windlass-control", "-o", "json"], "")?;
    let mut role: Value = serde_json::from_str(&text)?;
    let rules = role["rules"].as_array_mut().context("rules")?;
    let rule = rules.iter_mut().find(|rule| rule["resources"][0] == "gatewayclasses").context("a rule")?;
    let resources = rule["resources"].as_array_mut().context("resources")?;
    resources.retain(|one| one != "httproutes");
    if routes {
        resources.push("httproutes".into());
    }
    server.kubectl(&["replace", "-f", "-"], &role.to_string()).map(drop)
}

#[tokio::test]
async fn a_right_that_is_withdrawn_leaves_what_is_known_in_use() -> Result<()> {
    let Cluster { place, mut server, kubeconfig } = Cluster::start().await?;
    server.apply(&format!("{}{}", objects::GATEWAY, redirect(302)))?;
    let control = control(&place, 1, &kubeconfig, &[])?;
    let _proxy = proxy(&place, &server, &control, 9).await?;
    let at = SocketAddr::new(place.address(9), 80);
    eventually("the route is served", LIMIT, async || answers(at, 302).await).await?;
    let forbidden = async || metric(control.at(15_014), "/metrics", "windlass_kinds_forbidden", &[]).await;
    ensure!(forbidden().await? == 0.0, "nothing is forbidden yet");

    // The API server looks at rights when a watch begins.
    grant(&server, false)?;
    server.kill().await;
    server.resume().await?;
    eventually("it is told", LIMIT, async || {
        let problems = problems(&control).await?;
        ensure!(problems.contains("doesn't let objects of kind HTTPRoute be read"), "{problems}");
        ensure!(forbidden().await? == 1.0, "the metric");
        Ok(())
    })
    .await?;
    ensure!(control.process.output().contains("the API server refuses a watch"), "{}", control.process.tail());
    // Neither what changes nor what goes is seen.
    server.apply(&redirect(301))?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    answers(at, 302).await?;
    ensure!(call(control.at(15_014), &Call::get("localhost", "/ready")).await?.status == 200, "it serves on");

    grant(&server, true)?;
    let began = Instant::now();
    eventually("it heals", LIMIT, async || answers(at, 301).await).await?;
    eprintln!("a right that is given back is used {:?} after", began.elapsed());
    ensure!(forbidden().await? == 0.0, "the metric");
    ensure!(!problems(&control).await?.contains("HTTPRoute"), "the problem stays");
    Ok(())
}

#[tokio::test]
async fn an_etcd_that_stands_still_is_waited_for() -> Result<()> {
    let Cluster { place, server, kubeconfig } = Cluster::start().await?;
    server.apply(&format!("{}{}", objects::GATEWAY, redirect(302)))?;
    let control = control(&place, 1, &kubeconfig, &[])?;
    balance(&server).await?;
    let _proxy = proxy(&place, &server, &control, 9).await?;
    programmed(&server, "True", "Programmed").await?;
    let before = condition(&gateway(&server)?["status"]["conditions"], "Programmed");

    // For longer than a leader may be without its Lease.
    server.signal_etcd("STOP")?;
    let at = SocketAddr::new(place.address(9), 80);
    for _ in 0..13 {
        answers(at, 302).await?;
        ensure!(
            call(control.at(8080), &Call::get("localhost", "/live")).await?.status == 200,
            "a restart wouldn't help"
        );
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    server.signal_etcd("CONT")?;
    let began = Instant::now();
    eventually("the change is taken", LIMIT, async || server.apply(&redirect(301))).await?;
    eventually("and served", LIMIT, async || answers(at, 301).await).await?;
    eventually("and said", LIMIT, async || {
        let route = route(&server, "web")?;
        let conditions = &route["status"]["parents"][0]["conditions"];
        ensure!(condition(conditions, "Accepted")["observedGeneration"] == 2, "{route}");
        Ok(())
    })
    .await?;
    eprintln!("a change is served and said {:?} after etcd goes on", began.elapsed());
    let after = condition(&gateway(&server)?["status"]["conditions"], "Programmed");
    ensure!(after == before, "{after}");
    Ok(())
}
