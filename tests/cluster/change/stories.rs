//! What is changed under load, one story each.

use super::scene::{BACKEND_PODS, GATEWAY_PODS, HOST, REPLICAS, Scene, listeners, rule, secret};
use anyhow::{Context, Result, ensure};
use futures::future::LocalBoxFuture;
use serde_json::{Value, json};
use std::time::Duration;
use tests::{
    cluster::{GATEWAY, LIMIT},
    process::eventually,
    tls,
};

/// From one edit to the next.
const BEAT: Duration = Duration::from_millis(200);

type Story = for<'a> fn(&'a Scene) -> LocalBoxFuture<'a, Result<()>>;

/// All of them.
pub const STORIES: [(&str, Story); 7] = [
    ("a route's port, filter, weight and timeout", |scene| Box::pin(routes(scene))),
    ("a certificate is swapped", |scene| Box::pin(certificates(scene))),
    ("a listener comes and goes", |scene| Box::pin(a_listener(scene))),
    ("a policy comes and goes", |scene| Box::pin(a_policy(scene))),
    ("the control plane is rolled out", |scene| Box::pin(control_plane(scene))),
    ("the Gateway's pods are rolled out", |scene| Box::pin(data_plane(scene))),
    ("the backends are rolled out", |scene| Box::pin(backends(scene))),
];

async fn routes(scene: &Scene) -> Result<()> {
    let to = |port: u16, weight: u32| json!({"name": "web", "port": port, "weight": weight});
    for turn in 0..10 {
        let value = format!("{turn}");
        let header = json!({"type": "ResponseHeaderModifier", "responseHeaderModifier": {"set": [{"name": "x-turn", "value": value}]}});
        for rules in [
            json!([{"backendRefs": [to(8080, 1)]}]),
            json!([{"backendRefs": [to(80, 1)], "filters": [header]}]),
            json!([{"backendRefs": [to(80, turn + 1), to(8080, 10 - turn)]}]),
            json!([{"backendRefs": [to(80, 1)], "timeouts": {"request": format!("{}s", turn + 5)}}]),
        ] {
            scene.route(&rules).await?;
            tokio::time::sleep(BEAT).await;
        }
    }
    scene.route(&json!([rule()])).await
}

async fn certificates(scene: &Scene) -> Result<()> {
    use rustls::pki_types::{CertificateDer, pem::PemObject};
    for _ in 0..10 {
        let next = tls::certificate(&[HOST.into()])?;
        let data = secret(&scene.namespace, &next)["stringData"].take();
        scene.api.patch("/v1/Secret", &scene.namespace, "cert", &json!({"stringData": data})).await?;
        let wanted = CertificateDer::from_pem_slice(next.chain.as_bytes()).ok().context("a certificate")?;
        eventually("the new certificate is shown", LIMIT, async || {
            let shown = tls::shown_certificate(scene.at(443), HOST).await?;
            ensure!(shown == wanted.as_ref(), "another one is shown");
            Ok(())
        })
        .await?;
        tokio::time::sleep(BEAT).await;
    }
    Ok(())
}

/// A listener on a port of its own comes, and changes its port: no pod of the Gateway is restarted for it.
async fn a_listener(scene: &Scene) -> Result<()> {
    let before = scene.pods(GATEWAY_PODS).await?;
    for port in [8080, 8081, 8082] {
        let mut all = listeners().to_vec();
        all.push(json!({"name": "more", "port": port, "protocol": "HTTP"}));
        set_listeners(scene, &all).await?;
        scene.answers(port, "/", 200).await?;
    }
    set_listeners(scene, &listeners()).await?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let after = scene.pods(GATEWAY_PODS).await?;
    ensure!(before == after, "the Gateway's pods were {before:?} and are {after:?}");
    Ok(())
}

async fn set_listeners(scene: &Scene, listeners: &[Value]) -> Result<()> {
    scene.api.patch(GATEWAY, &scene.namespace, "gw", &json!({"spec": {"listeners": listeners}})).await
}

async fn a_policy(scene: &Scene) -> Result<()> {
    let target = json!({"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "gw"});
    let policy = json!({
        "apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy",
        "metadata": {"name": "no-secrets", "namespace": scene.namespace},
        "spec": {
            "targetRefs": [target], "action": "DENY",
            "rules": [{"to": [{"operation": {"paths": ["/secret"]}}]}],
        },
    });
    for _ in 0..10 {
        scene.api.create(policy.clone()).await?;
        scene.answers(80, "/secret", 403).await?;
        scene.api.delete("security.istio.io/v1/AuthorizationPolicy", &scene.namespace, "no-secrets").await?;
        scene.answers(80, "/secret", 200).await?;
    }
    Ok(())
}

/// The old control plane leaves, the new one takes over, and edits go on reaching the proxies.
async fn control_plane(scene: &Scene) -> Result<()> {
    for turn in 0..3 {
        scene.restart("istio-system", "istiod").await?;
        let path = format!("/turn-{turn}");
        let only = json!({"matches": [{"path": {"type": "Exact", "value": path}}], "filters": [{
            "type": "RequestRedirect", "requestRedirect": {"path": {"type": "ReplaceFullPath", "replaceFullPath": "/"}},
        }]});
        scene.route(&json!([only, rule()])).await?;
        scene.answers(80, &path, 302).await?;
    }
    scene.route(&json!([rule()])).await
}

/// The Gateway's own pods are replaced: those that leave say so on every connection and wait until they are left.
async fn data_plane(scene: &Scene) -> Result<()> {
    let (name, before) = (scene.gateway_deployment().await?, scene.pods(GATEWAY_PODS).await?.len());
    for _ in 0..3 {
        scene.restart(&scene.namespace, &name).await?;
        scene.left(GATEWAY_PODS, before).await?;
    }
    Ok(())
}

async fn backends(scene: &Scene) -> Result<()> {
    for _ in 0..scene.restarts {
        scene.restart(&scene.namespace, "web").await?;
    }
    scene.left(BACKEND_PODS, REPLICAS).await
}
