//! `windlass` against a real API server: what it says of the objects there, and what of what it may not read.

use super::{LIMIT, ready, secret};
use anyhow::{Context, Result, ensure};
use std::{
    net::SocketAddr,
    path::Path,
    process::{Command, Output},
};
use tests::{
    kube::{ApiServer, Control, chart_rights},
    place::{Place, program},
    process::eventually,
};

/// A Gateway with HTTP and HTTPS, a route to a Service whose endpoint is known, and a route to one that isn't there.
const SHOP: &str = "---
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
  - {name: http, port: 80, protocol: HTTP}
  - {name: own, port: 443, protocol: HTTPS, hostname: own.example, tls: {certificateRefs: [{name: cert}]}}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {ports: [{port: 80}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-1, namespace: shop, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
ports: [{port: 8080}]
endpoints: [{addresses: [192.0.2.7], conditions: {ready: true}}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: web, namespace: shop}
spec: {parentRefs: [{name: gw}], rules: [{backendRefs: [{name: web, port: 80}]}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: lost, namespace: shop}
spec: {parentRefs: [{name: gw}], hostnames: [lost.example], rules: [{backendRefs: [{name: nobody, port: 80}]}]}
";

/// The route `web` as it is to be, in a file.
const EDITED: &str = "apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: web, namespace: shop}
spec:
  parentRefs: [{name: gw}]
  rules:
  - filters: [{type: RequestRedirect, requestRedirect: {hostname: elsewhere.example}}]
";

/// Somebody who may read the namespace's routes, and nothing else.
const LIMITED: &str = "---
apiVersion: v1
kind: ServiceAccount
metadata: {name: limited, namespace: shop}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: limited, namespace: shop}
rules: [{apiGroups: [gateway.networking.k8s.io], resources: ['*'], verbs: [get, list]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: limited, namespace: shop}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: limited}
subjects: [{kind: ServiceAccount, name: limited, namespace: shop}]
";

/// What the command said.
pub struct Said {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

pub fn windlass(kubeconfig: &Path, words: &[&str]) -> Result<Said> {
    let mut command = Command::new(program("windlass")?);
    command.args(words).arg("--kubeconfig").arg(kubeconfig).env("NO_COLOR", "1");
    let Output { status, stdout, stderr } = command.output()?;
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ok(Said { code: status.code(), out: text(stdout), err: text(stderr) })
}

pub fn wanted(said: &Said, code: i32, words: &[&str]) -> Result<()> {
    for word in words {
        ensure!(said.out.contains(word), "wanted {word:?}, saw\n{}{}", said.out, said.err);
    }
    ensure!(said.code == Some(code), "wanted exit code {code}, saw {:?}\n{}{}", said.code, said.out, said.err);
    Ok(())
}

#[tokio::test]
async fn commands_explain_what_the_cluster_has() -> Result<()> {
    let place = Place::take()?;
    let server = ApiServer::start(&place).await?;
    server.install_crds(&[])?;
    server.kubectl(&["create", "namespace", "shop"], "")?;
    let certificate = secret("shop")?;
    server.apply(&format!("{}{SHOP}{LIMITED}{certificate}", chart_rights("control.yaml")?))?;
    let admin = server.admin();

    let said = windlass(&admin, &["analyze"])?;
    wanted(
        &said,
        1,
        &["HTTPRoute shop/lost: spec.rules[0].backendRefs[0]", "[BackendNotFound]", "no Deployment istiod"],
    )?;
    ensure!(!said.out.contains("Gateway shop/gw: spec.listeners[1]"), "the Secret is read by name\n{}", said.out);
    let said = windlass(&admin, &["analyze", "-n", "default"])?;
    ensure!(!said.out.contains("shop/lost"), "told of another namespace\n{}", said.out);

    wanted(
        &windlass(&admin, &["why", "GET", "http://any.example/"])?,
        0,
        &["shop/web:80", "192.0.2.7:8080", "(cluster)"],
    )?;
    wanted(&windlass(&admin, &["why", "GET", "http://lost.example/"])?, 1, &["no: 500"])?;

    // Files are laid over the cluster; nothing is written.
    let directory = place.make("files")?;
    let file = directory.join("edited.yaml");
    std::fs::write(&file, EDITED)?;
    let file = file.to_str().context("UTF-8")?;
    let before = server.get("httproute", "shop", "web")?;
    wanted(&windlass(&admin, &["why", "GET", "http://any.example/", file])?, 0, &["302", "edited.yaml:"])?;
    let said = windlass(&admin, &["diff", file])?;
    wanted(&said, 1, &["~ gateway/shop/gw VirtualHost http.80/*", "redirect", "no connection is touched"])?;
    std::fs::write(directory.join("same.yaml"), serde_json::to_string(&before)?)?;
    let same = directory.join("same.yaml");
    wanted(&windlass(&admin, &["diff", same.to_str().context("UTF-8")?])?, 0, &["no effect"])?;
    let version = |object: &serde_json::Value| object["metadata"]["resourceVersion"].clone();
    ensure!(version(&before) == version(&server.get("httproute", "shop", "web")?), "the route was written");

    // A Secret's values are shown by no form of no command.
    let key: serde_json::Value = server.get("secret", "shop", "cert")?;
    let key = key["data"]["tls.key"].as_str().context("a key")?;
    let lines = base64_lines(key)?;
    std::fs::write(directory.join("gone.yaml"), SHOP.replace("name: own, port: 443", "name: own, port: 8443"))?;
    let gone = directory.join("gone.yaml");
    let gone = gone.to_str().context("UTF-8")?;
    for words in [vec!["diff", gone, "-o", "json"], vec!["analyze", "-o", "yaml"], vec!["diff", gone]] {
        let said = windlass(&admin, &words)?;
        let shown = said.out + &said.err;
        ensure!(!shown.contains(key) && lines.iter().all(|line| !shown.contains(line)), "{words:?} shows a key");
    }
    limited(&server)
}

/// What may not be read is said with verb and resource, and the rest is judged all the same.
fn limited(server: &ApiServer) -> Result<()> {
    let kubeconfig = server.kubeconfig("limited", &server.token("shop", "limited", "")?)?;
    let said = windlass(&kubeconfig, &["analyze", "-n", "shop"])?;
    let refusals = [
        "you may not list gateways.gateway.networking.k8s.io in the whole cluster: wanted a ClusterRole",
        "you may not list services in namespace shop: wanted a Role",
        "you may not get deployments.apps in namespace istio-system",
        // Without the class it can't be known whose Gateway it is.
        "GatewayClass windlass is not in this cluster",
    ];
    wanted(&said, 0, &refusals)?;
    let said = windlass(&kubeconfig, &["proxy-config", "listener", "gw-1.shop"])?;
    ensure!(
        said.code == Some(1) && said.err.contains("you may not get and create pods/portforward in namespace shop"),
        "{}",
        said.err
    );
    let said = windlass(&kubeconfig, &["proxy-status"])?;
    ensure!(
        said.code == Some(1) && said.err.contains("you may not list pods in namespace istio-system"),
        "{}",
        said.err
    );
    let said = windlass(&server.kubeconfig("stranger", "no-token")?, &["analyze"])?;
    ensure!(said.code == Some(2) && said.err.contains("doesn't know you"), "{:?} {}", said.code, said.err);
    Ok(())
}

/// The lines of the text that is in base64.
fn base64_lines(text: &str) -> Result<Vec<String>> {
    use base64::Engine;
    let bytes = base64::engine::general_purpose::STANDARD.decode(text)?;
    let text = String::from_utf8(bytes)?;
    Ok(text.lines().filter(|line| line.len() > 40).map(str::to_owned).collect())
}

#[tokio::test]
async fn the_status_of_proxies_is_told() -> Result<()> {
    let served = super::Served::start().await?;
    let _proxy = served.proxy(3, "gw-windlass", "istio-ca").await?;
    served.redirects(3, 302).await?;
    let control: &Control = &served.control;
    ready(control).await?;
    let admin = control.at(15_014).to_string();
    let said = eventually("everything is acknowledged", LIMIT, async || {
        let said = windlass(&served.server.admin(), &["proxy-status", "--admin", &admin])?;
        wanted(&said, 0, &["NAME", "ISTIOD", "SYNCED", &admin, "windlass-proxy 0."])?;
        ensure!(!said.out.contains("STALE"), "{}", said.out);
        Ok(said)
    })
    .await?;
    ensure!(said.out.lines().count() == 2, "wanted one proxy\n{}", said.out);
    let name = said.out.lines().nth(1).and_then(|line| line.split_whitespace().next()).context("a name")?;
    wanted(&windlass(&served.server.admin(), &["ps", name, "--admin", &admin])?, 0, &["virtualhost", "SYNCED"])?;
    let at = SocketAddr::new(served.place.address(3), 15_000).to_string();
    let said = windlass(&served.server.admin(), &["pc", "routes", "--admin", &at])?;
    wanted(&said, 0, &["http.10080", "web.default"])?;
    Ok(())
}
