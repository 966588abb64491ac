//! The control plane against a real API server and its etcd: what it reads, what it may read, and what it does without.

#[path = "cluster/cli.rs"]
mod cli;
#[path = "cluster/install.rs"]
mod install;

use anyhow::{Context, Result, ensure};
use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};
use tests::{
    fixture::metric,
    http::{Answer, Call, call},
    kube::{ApiServer, Control, chart_rights},
    objects,
    place::Place,
    process::{Process, eventually},
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
    server.apply(&format!("{}{}", chart_rights("control.yaml")?, objects::GATEWAY))?;
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

/// The control plane's service account, as its chart names it.
const ACCOUNT: &str = "istiod";

/// A control plane with the rights of its chart, at the place's address with that last number.
fn control(place: &Place, server: &ApiServer, last: u8, flags: &[&str]) -> Result<Control> {
    let kubeconfig = server.kubeconfig("control", &server.token("istio-system", ACCOUNT, "")?)?;
    Control::start(place, last, &kubeconfig, &[&["--service-account", ACCOUNT], flags].concat())
}

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
    server.apply(&format!("{}{HTTPS}{}", chart_rights("control.yaml")?, secret("vault")?))?;
    let control = control(&place, &server, 1, &[])?;
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
    server.apply(&format!("{}{HTTPS}{}", chart_rights("control.yaml")?, secret("shop")?))?;
    let control = control(&place, &server, 1, &["--bind-secret-reader=false"])?;
    ready(&control).await?;
    until(&control, "own", "may not get, list and watch secrets in namespace shop").await?;
    ensure!(bound(&server)?.is_empty(), "bound in {:?}", bound(&server)?);
    let arguments = format!(
        "create rolebinding readers -n shop --clusterrole=windlass-secret-reader --serviceaccount=istio-system:{ACCOUNT}"
    );
    server.kubectl(&arguments.split_whitespace().collect::<Vec<_>>(), "")?;
    let healed = until(&control, "own", "ResolvedRefs").await?;
    eprintln!("a right that comes late is used {healed:?} after");
    ensure!(healed < Duration::from_secs(3), "wanted less than 3 s, saw {healed:?}");
    Ok(())
}

/// A Gateway `default/gw` whose route needs no backend, and service accounts: its proxies' and a stranger's.
const SERVED: &str = "---
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: windlass}
spec: {controllerName: windlass.io/gateway-controller}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: gw, namespace: default}
spec:
  gatewayClassName: windlass
  listeners: [{name: http, port: 10080, protocol: HTTP}]
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: gw-windlass, namespace: default}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: stranger, namespace: default}
";

/// A route that redirects with that status.
fn redirect(status: u16) -> String {
    format!(
        "---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {{name: web, namespace: default}}\n\
         spec:\n  parentRefs: [{{name: gw}}]\n  rules:\n  - filters: [{{type: RequestRedirect, requestRedirect: \
         {{hostname: a.example, statusCode: {status}}}}}]\n"
    )
}

/// A cluster with the Gateway, and a control plane that serves it with the rights of its chart.
struct Served {
    place: Place,
    server: ApiServer,
    control: Control,
}

impl Served {
    async fn start() -> Result<Self> {
        let place = Place::take()?;
        let server = ApiServer::start(&place).await?;
        server.install_crds(&[])?;
        server.apply(&format!("{}{SERVED}{}", chart_rights("control.yaml")?, redirect(302)))?;
        let control = control(&place, &server, 1, &[])?;
        ready(&control).await?;
        Ok(Self { place, server, control })
    }

    /// A proxy of the Gateway at the place's address with that number, with a token of a service account.
    async fn proxy(&self, last: u8, account: &str, audience: &str) -> Result<Process> {
        self.control.proxy(&self.place, &self.server, last, (account, audience)).await
    }

    /// Waits until a proxy redirects with that status.
    async fn redirects(&self, last: u8, status: u16) -> Result<()> {
        let at = SocketAddr::new(self.place.address(last), 10_080);
        eventually("the proxy serves the route", LIMIT, async || {
            let answer = call(at, &Call::get("web.example", "/")).await?;
            ensure!(answer.status == status, "wanted {status}, saw {}", answer.status);
            Ok(())
        })
        .await
    }

    async fn metric(&self, name: &str) -> Result<f64> {
        metric(self.control.at(15_014), "/metrics", name, &[]).await
    }
}

#[tokio::test]
async fn proxies_are_who_their_tokens_say() -> Result<()> {
    let served = Served::start().await?;
    let _proxy = served.proxy(3, "gw-windlass", "istio-ca").await?;
    served.redirects(3, 302).await?;

    // Somebody else's token gives somebody else's certificate, and with that nothing of the Gateway.
    let issued = served.metric("citadel_server_success_cert_issuance_count").await?;
    let stranger = served.proxy(4, "stranger", "istio-ca").await?;
    eventually("the stranger is refused", LIMIT, async || {
        ensure!(served.metric("citadel_server_success_cert_issuance_count").await? > issued, "no certificate yet");
        ensure!(stranger.output().contains("is not of Gateway default/gw"), "{}", stranger.tail());
        Ok(())
    })
    .await?;
    // A token for the API server is none for us.
    let refused = served.metric("citadel_server_authentication_failure_count").await?;
    let _leaked = served.proxy(5, "gw-windlass", "").await?;
    eventually("the token is refused", LIMIT, async || {
        ensure!(served.metric("citadel_server_authentication_failure_count").await? > refused, "not asked yet");
        Ok(())
    })
    .await?;
    for last in [4, 5] {
        let answer = call(SocketAddr::new(served.place.address(last), 10_080), &Call::get("web.example", "/")).await;
        ensure!(answer.is_err(), "proxy {last} listens");
    }

    // Every namespace has the bundle, one that comes later too, and what somebody breaks is mended.
    let bundle = served.server.bundle("default").await?;
    let began = Instant::now();
    served.server.kubectl(&["create", "namespace", "late"], "")?;
    ensure!(served.server.bundle("late").await? == bundle, "another bundle");
    eprintln!("a new namespace has the trust bundle {:?} after", began.elapsed());
    let broken = "{\"data\": {\"root-cert.pem\": \"nonsense\"}}";
    served.server.kubectl(&["patch", "configmap", "istio-ca-root-cert", "-n", "late", "-p", broken], "")?;
    eventually("the bundle is mended", LIMIT, async || {
        ensure!(served.server.bundle("late").await? == bundle, "another bundle");
        Ok(())
    })
    .await?;

    // Another replica signs with the same root, and neither writes anything while nothing changes.
    let second = control(&served.place, &served.server, 2, &[])?;
    ready(&second).await?;
    let versions = || -> Result<Vec<String>> {
        let secret = served.server.get("secret", "istio-system", "windlass-ca-secret")?;
        let map = served.server.get("configmap", "late", "istio-ca-root-cert")?;
        Ok([secret, map].iter().map(|one| one["metadata"]["resourceVersion"].to_string()).collect())
    };
    let before = versions()?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    ensure!(versions()? == before, "something was written");
    ensure!(served.server.bundle("default").await? == bundle, "another bundle");

    // The root's Secret is put back as it was.
    served.server.kubectl(&["delete", "secret", "windlass-ca-secret", "-n", "istio-system"], "")?;
    eventually("the root's Secret is back", LIMIT, async || {
        served.server.get("secret", "istio-system", "windlass-ca-secret").map(drop)
    })
    .await?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    ensure!(served.server.bundle("late").await? == bundle, "another bundle");
    Ok(())
}

#[tokio::test]
async fn an_api_server_that_is_away_changes_nothing() -> Result<()> {
    let mut served = Served::start().await?;
    let _proxy = served.proxy(3, "gw-windlass", "istio-ca").await?;
    served.redirects(3, 302).await?;
    let pushes = served.metric("pilot_xds_pushes").await?;

    served.server.kill().await;
    tokio::time::sleep(Duration::from_secs(8)).await;
    served.redirects(3, 302).await?;
    ensure!(page(&served.control, "/ready").await?.status == 200, "the control plane goes on");
    ensure!(served.metric("windlass_api_server_followed").await? == 0.0, "the metric says that it is away");
    served.server.resume().await?;
    eventually("the watches heal", LIMIT, async || {
        ensure!(served.control.process.output().contains("followed again"), "not yet");
        Ok(())
    })
    .await?;
    ensure!(served.metric("windlass_api_server_followed").await? == 1.0, "the metric says that it is back");
    let said = served.control.process.output().matches("the API server can't be followed").count();
    ensure!(said == 1, "wanted one line in the log, saw {said}");
    let sent = served.metric("pilot_xds_pushes").await? - pushes;
    ensure!(sent == 0.0, "wanted nothing to be sent, saw {sent} responses");

    // Everything is followed again: what changes from here on is served, and so is what was referred to by name.
    served.server.apply(&redirect(301))?;
    served.redirects(3, 301).await
}
