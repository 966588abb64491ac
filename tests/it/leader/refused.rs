//! Objects that an API server takes and our door doesn't: they hurt nobody else, and their statuses say what is wrong.

use super::{Cluster, LIMIT, condition, control, gateway, proxy, route};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::net::SocketAddr;
use tests::{
    http::{Call, call},
    kube::ApiServer,
    objects,
    process::eventually,
};

/// A route of that host, for requests with a header of that name.
fn named(name: &str, header: &str) -> String {
    format!(
        "---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {{name: {name}, namespace: default}}\n\
         spec:\n  parentRefs: [{{name: gw}}]\n  hostnames: [{name}.example]\n  rules:\n  - matches: [{{headers: \
         [{{name: \"{header}\", value: x}}]}}]\n    filters: [{{type: RequestRedirect, requestRedirect: {{hostname: \
         a.example}}}}]\n"
    )
}

/// Lets the API server take anything of a kind, as with somebody else's definitions.
fn relax(server: &ApiServer, definition: &str) -> Result<()> {
    let text = server.kubectl(&["get", "crd", definition, "-o", "json"], "")?;
    let mut definition: Value = serde_json::from_str(&text)?;
    for version in definition["spec"]["versions"].as_array_mut().context("versions")? {
        version["schema"]["openAPIV3Schema"] = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    }
    server.kubectl(&["replace", "-f", "-"], &definition.to_string()).map(drop)
}

/// Waits until a condition has that reason for that generation; gives its message.
async fn until(what: &str, (reason, generation): (&str, i64), seen: impl Fn() -> Result<Value>) -> Result<String> {
    eventually(what, LIMIT, async || {
        let seen = seen()?;
        ensure!(seen["reason"] == reason && seen["observedGeneration"] == generation, "{seen}");
        Ok(seen["message"].as_str().unwrap_or_default().to_owned())
    })
    .await
}

#[tokio::test]
async fn what_the_door_refuses_has_a_condition_and_hurts_nobody() -> Result<()> {
    let Cluster { place, server, kubeconfig } = Cluster::start().await?;
    for kind in ["gateways", "httproutes"] {
        relax(&server, &format!("{kind}.gateway.networking.k8s.io"))?;
    }
    // The definition is in force a moment after it is taken.
    eventually("the objects", LIMIT, async || {
        server.apply(&format!("{}{}{}", objects::GATEWAY, named("good", "ok"), named("bad", "not a name")))
    })
    .await?;
    let control = control(&place, 1, &kubeconfig, &[])?;
    let _proxy = proxy(&place, &server, &control, 9).await?;
    let serves = async |host: &str, header: &str, status: u16| {
        let mut request = Call::get(host, "/");
        request.headers.push((header.into(), "x".into()));
        let answer = call(SocketAddr::new(place.address(9), 80), &request).await?;
        ensure!(answer.status == status, "{host}: wanted {status}, saw {}", answer.status);
        Ok(())
    };
    let of_route = |name: &'static str| {
        let server = &server;
        move || Ok(condition(&route(server, name)?["status"]["parents"][0]["conditions"], "Accepted"))
    };

    // One that never was good.
    let why = until("the bad route says so", ("UnsupportedValue", 1), of_route("bad")).await?;
    ensure!(why.contains("spec.rules[0].matches[0].headers[0].name"), "{why}");
    eventually("the good route is served", LIMIT, async || serves("good.example", "ok", 302).await).await?;

    // One that was good stays in force as it was, and says that it isn't what stands there.
    server.apply(&named("good", "not a name"))?;
    let why = until("the route says so", ("UnsupportedValue", 2), of_route("good")).await?;
    ensure!(why.contains("what was known before stays in use"), "{why}");
    serves("good.example", "ok", 302).await?;

    // Mended, both are served.
    server.apply(&format!("{}{}", named("good", "fine"), named("bad", "fine")))?;
    until("the good route", ("Accepted", 3), of_route("good")).await?;
    until("the bad route", ("Accepted", 2), of_route("bad")).await?;
    for host in ["good.example", "bad.example"] {
        eventually("it is served", LIMIT, async || serves(host, "fine", 302).await).await?;
    }

    // So it is with a Gateway.
    server.apply(&objects::GATEWAY.replace("port: 80,", "port: eighty,"))?;
    let accepted = || Ok(condition(&gateway(&server)?["status"]["conditions"], "Accepted"));
    let why = until("the Gateway says so", ("Invalid", 2), accepted).await?;
    ensure!(why.contains("spec.listeners[0].port"), "{why}");
    serves("good.example", "fine", 302).await?;
    server.apply(objects::GATEWAY)?;
    until("the Gateway", ("Accepted", 3), accepted).await.map(drop)
}
