//! The control plane against a real API server and its etcd: what it reads, what it may read, and what it does without.

use anyhow::{Context, Result, ensure};
use std::time::{Duration, Instant};
use tests::{
    http::{Answer, Call, call},
    kube::{ApiServer, Control},
    objects,
    place::Place,
    process::eventually,
    tls,
};

/// How long anything may take on a slow and busy machine.
const LIMIT: Duration = Duration::from_secs(60);

async fn page(control: &Control, path: &str) -> Result<Answer> {
    call(control.at(15_014), &Call::get("localhost", path)).await
}

async fn ready(control: &Control) -> Result<()> {
    eventually("the control plane is ready", LIMIT, async || {
        let answer = page(control, "/ready").await?;
        ensure!(answer.status == 200, "{}", String::from_utf8_lossy(&answer.body));
        Ok(())
    })
    .await
}

/// Whether an object is in use, by a name that appears nowhere else.
async fn uses(control: &Control, name: &str) -> Result<bool> {
    let answer = page(control, "/debug/configz").await?;
    Ok(String::from_utf8_lossy(&answer.body).contains(&format!("{name:?}")))
}

#[tokio::test]
async fn kinds_come_and_go_without_a_restart() -> Result<()> {
    let place = Place::take()?;
    let server = ApiServer::start(&place).await?;
    server.install_crds(&["gatewayclasses", "gateways"])?;
    server.apply(objects::GATEWAY)?;
    let control = Control::start(&place, 1, &server.admin(), &[])?;
    ready(&control).await?;
    ensure!(uses(&control, "gw").await?, "a Gateway, read without the other kinds");

    let began = Instant::now();
    server.install_crds(&["httproutes"])?;
    server.apply(&objects::route("late-route", "a.example", &[("a", 1)]))?;
    eventually("the route", LIMIT, async || {
        ensure!(uses(&control, "late-route").await?, "not read");
        Ok(())
    })
    .await?;
    eprintln!("a kind installed late is read {:?} after", began.elapsed());

    server.kubectl(&["delete", "crd", "httproutes.gateway.networking.k8s.io"], "")?;
    eventually("the route goes with its kind", LIMIT, async || {
        ensure!(!uses(&control, "late-route").await?, "still read");
        Ok(())
    })
    .await?;
    Ok(())
}

/// The rights of the control plane, as its chart grants them.
const RIGHTS: &str = include_str!("cluster/rights.yaml");

/// A Gateway `shop/gw` with two HTTPS listeners: `own` with a Secret of its namespace, `other` with one of `vault`.
const HTTPS: &str = "---
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: windlass}
spec: {controllerName: windlass.io/gateway-controller}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: gw, namespace: shop}
spec:
  gatewayClassName: windlass
  listeners:
  - {name: own, port: 443, protocol: HTTPS, hostname: own.example, tls: {certificateRefs: [{name: cert}]}}
  - {name: other, port: 443, protocol: HTTPS, hostname: other.example,
     tls: {certificateRefs: [{name: cert, namespace: vault}]}}
";

/// Lets Gateways of `shop` use Secrets of `vault`.
const GRANT: &str = "---
apiVersion: gateway.networking.k8s.io/v1beta1
kind: ReferenceGrant
metadata: {name: shop, namespace: vault}
spec:
  from: [{group: gateway.networking.k8s.io, kind: Gateway, namespace: shop}]
  to: [{group: '', kind: Secret}]
";

fn secret(namespace: &str) -> Result<String> {
    let certificate = tls::certificate(&["own.example".to_owned(), "other.example".to_owned()])?;
    Ok(objects::secret("cert", &certificate).replace("namespace: default", &format!("namespace: {namespace}")))
}

/// The condition `ResolvedRefs` of a listener of the Gateway: its reason and message.
async fn references(control: &Control, listener: &str) -> Result<(String, String)> {
    let answer = page(control, "/debug/status").await?;
    let status: serde_json::Value = serde_json::from_slice(&answer.body)?;
    let items = status["items"].as_array().context("items")?;
    let gateway = items.iter().find(|item| item["kind"] == "Gateway").context("a Gateway")?;
    let listeners = gateway["status"]["listeners"].as_array().context("listeners")?;
    let found = listeners.iter().find(|one| one["name"] == listener).context("the listener")?;
    let conditions = found["conditions"].as_array().context("conditions")?;
    let condition = conditions.iter().find(|one| one["type"] == "ResolvedRefs").context("ResolvedRefs")?;
    let text = |field: &str| condition[field].as_str().unwrap_or_default().to_owned();
    Ok((text("reason"), text("message")))
}

async fn until(control: &Control, listener: &str, wanted: &str) -> Result<Duration> {
    let began = Instant::now();
    eventually(wanted, LIMIT, async || {
        let (reason, message) = references(control, listener).await?;
        ensure!(reason == wanted || message.contains(wanted), "{listener}: {reason}: {message}");
        Ok(())
    })
    .await?;
    Ok(began.elapsed())
}

/// The namespaces where the right to read Secrets is bound.
fn bound(server: &ApiServer) -> Result<Vec<String>> {
    let namespace = "jsonpath={range .items[*]}{.metadata.namespace}{'\\n'}{end}";
    let arguments = ["get", "rolebinding", "-A", "-l", "app.kubernetes.io/managed-by=windlass", "-o", namespace];
    Ok(server.kubectl(&arguments, "")?.lines().map(str::to_owned).collect())
}

#[tokio::test]
async fn only_secrets_that_may_be_referred_to_are_read() -> Result<()> {
    let place = Place::take()?;
    let server = ApiServer::start(&place).await?;
    server.install_crds(&[])?;
    server.kubectl(&["create", "namespace", "shop"], "")?;
    server.kubectl(&["create", "namespace", "vault"], "")?;
    server.apply(&format!("{RIGHTS}{HTTPS}{}", secret("vault")?))?;
    let token = server.token("istio-system", "windlass-control", "")?;
    let control = Control::start(&place, 1, &server.kubeconfig("control", &token)?, &[])?;
    ready(&control).await?;

    // One's own namespace: the right is there as soon as somebody refers to a Secret, the Secret comes late.
    until(&control, "own", "does not exist").await?;
    server.apply(&secret("shop")?)?;
    let healed = until(&control, "own", "ResolvedRefs").await?;
    eprintln!("a Secret that comes late is in use {healed:?} after");
    ensure!(healed < Duration::from_secs(1), "wanted less than 1 s, saw {healed:?}");

    // Another namespace: without a grant there isn't even the right.
    until(&control, "other", "RefNotPermitted").await?;
    ensure!(bound(&server)? == ["shop"], "bound in {:?}", bound(&server)?);
    server.apply(GRANT)?;
    let granted = until(&control, "other", "ResolvedRefs").await?;
    eprintln!("a Secret of another namespace is in use {granted:?} after its grant");
    ensure!(bound(&server)? == ["shop", "vault"], "bound in {:?}", bound(&server)?);

    // The grant is withdrawn: so is the right.
    server.delete(GRANT)?;
    until(&control, "other", "RefNotPermitted").await?;
    eventually("the right is given back", LIMIT, async || {
        ensure!(bound(&server)? == ["shop"], "bound in {:?}", bound(&server)?);
        Ok(())
    })
    .await?;
    Ok(())
}

#[tokio::test]
async fn a_secret_that_may_not_be_read_is_said_and_heals() -> Result<()> {
    let place = Place::take()?;
    let server = ApiServer::start(&place).await?;
    server.install_crds(&[])?;
    server.kubectl(&["create", "namespace", "shop"], "")?;
    server.apply(&format!("{RIGHTS}{HTTPS}{}", secret("shop")?))?;
    let token = server.token("istio-system", "windlass-control", "")?;
    let kubeconfig = server.kubeconfig("control", &token)?;
    let control = Control::start(&place, 1, &kubeconfig, &["--bind-secret-reader=false"])?;
    ready(&control).await?;
    until(&control, "own", "may not get, list and watch secrets in namespace shop").await?;
    ensure!(bound(&server)?.is_empty(), "bound in {:?}", bound(&server)?);
    let arguments = "create rolebinding readers -n shop --clusterrole=windlass-secret-reader \
                     --serviceaccount=istio-system:windlass-control";
    server.kubectl(&arguments.split_whitespace().collect::<Vec<_>>(), "")?;
    let healed = until(&control, "own", "ResolvedRefs").await?;
    eprintln!("a right that comes late is used {healed:?} after");
    ensure!(healed < Duration::from_secs(3), "wanted less than 3 s, saw {healed:?}");
    Ok(())
}
