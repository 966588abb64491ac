//! Where the stories are told: a Gateway with HTTP and HTTPS, four replicas behind it, and clients that never retry.

use anyhow::{Context, Result, ensure};
use kube::api::ListParams;
use serde_json::{Value, json};
use std::{
    net::SocketAddr,
    time::{Duration, SystemTime},
};
use tests::{
    cluster::{self, Api, DEPLOYMENT, Gateway, HTTP_ROUTE, LIMIT},
    http::{Answer, Call, call},
    load::Load,
    process::eventually,
    tls::{self, Certificate},
};

/// The host that all requests name.
pub const HOST: &str = "a.example";
/// How many replicas the backend has.
pub const REPLICAS: usize = 4;
/// The label of its pods.
pub const BACKEND_PODS: &str = "app=web";
/// The label of the Gateway's Deployment and pods.
pub const GATEWAY_PODS: &str = "gateway.networking.k8s.io/gateway-name=gw";

/// The objects of one class, and the load on them.
pub struct Scene {
    /// The cluster.
    pub api: Api,
    /// The namespace of everything.
    pub namespace: String,
    /// How often the backends are restarted.
    pub restarts: usize,
    gateway: Gateway,
    loads: Vec<Load>,
}

impl Scene {
    /// Makes everything, and waits until it answers.
    pub async fn set(api: &Api, class: &str, restarts: usize) -> Result<Self> {
        let namespace = format!("change-{class}");
        api.namespace(&namespace).await?;
        api.create(secret(&namespace, &tls::certificate(&[HOST.into()])?)).await?;
        api.create(backend(&namespace)).await?;
        api.create(service(&namespace)).await?;
        let gateway = api.gateway(&namespace, class, &listeners()).await?;
        api.create(cluster::route(&namespace, "web", &gateway, "web")).await?;
        api.patch(HTTP_ROUTE, &namespace, "web", &json!({"spec": {"hostnames": [HOST], "rules": [rule()]}})).await?;
        let scene = Self { api: api.clone(), namespace, restarts, gateway, loads: Vec::new() };
        scene.rolled_out("web").await?;
        scene.answers(80, "/", 200).await?;
        Ok(scene)
    }

    /// Clients with kept connections and one that connects for each request, in clear text and over TLS: about a thousand
    /// requests a second.
    pub async fn start_load(&mut self) -> Result<()> {
        let ok = |answer: &Answer| answer.status == 200;
        let pause = Duration::from_millis(4);
        let (plain, secure) = (Call::get(HOST, "/"), Call::get(HOST, "/").over_tls(HOST));
        for (port, request) in [(80, plain), (443, secure)] {
            eventually(&format!("port {port} answers"), LIMIT, async || call(self.at(port), &request).await).await?;
            self.loads.push(Load::start(self.at(port), request, 5, pause, ok));
        }
        Ok(())
    }

    /// Ends it; how many requests were sent, and what was wrong, the story's own fault too.
    pub fn end_load(&mut self, outcome: Result<()>) -> (u64, Vec<String>) {
        let (mut sent, mut faults) = (0, Vec::new());
        for load in self.loads.drain(..) {
            let tally = load.tally();
            sent += tally.sent;
            if tally.sent < 50 {
                faults.push(format!("only {} requests were sent", tally.sent));
            }
            if tally.failed > 0 {
                faults.push(format!("{} of {} requests failed: {:?}", tally.failed, tally.sent, tally.answers));
            }
            faults.extend(tally.failures);
        }
        faults.extend(outcome.err().map(|error| format!("{error:#}")));
        (sent, faults)
    }

    /// The Gateway's address with a port of it.
    pub fn at(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.gateway.address.ip(), port)
    }

    /// Waits until a port answers so.
    pub async fn answers(&self, port: u16, path: &str, status: u16) -> Result<()> {
        eventually(&format!("{status} at port {port} for {path}"), LIMIT, async || {
            // Nobody answers, not even by a refusal, at a port that the load balancer doesn't have yet.
            let ask = Call { limit: Duration::from_secs(1), ..Call::get(HOST, path) };
            let answer = call(self.at(port), &ask).await?;
            ensure!(answer.status == status, "it is {}", answer.status);
            Ok(())
        })
        .await
    }

    /// Replaces the route's rules.
    pub async fn route(&self, rules: &Value) -> Result<()> {
        self.api.patch(HTTP_ROUTE, &self.namespace, "web", &json!({"spec": {"rules": rules}})).await
    }

    /// Restarts the pods of a Deployment as `kubectl rollout restart` does, and waits until all are new.
    pub async fn restart(&self, namespace: &str, name: &str) -> Result<()> {
        let at = json!({"windlass.test/restarted": format!("{:?}", SystemTime::now())});
        let patch = json!({"spec": {"template": {"metadata": {"annotations": at}}}});
        self.api.patch(DEPLOYMENT, namespace, name, &patch).await?;
        rolled_out(&self.api, namespace, name).await
    }

    /// Waits until all pods of a Deployment are as it wants them.
    pub async fn rolled_out(&self, name: &str) -> Result<()> {
        rolled_out(&self.api, &self.namespace, name).await
    }

    /// Waits until the pods that leave are gone: until then their clients may still be cut off.
    pub async fn left(&self, pods: &str, count: usize) -> Result<()> {
        eventually(&format!("the old pods of {pods} are gone"), LIMIT, async || {
            let there = self.pods(pods).await?.len();
            ensure!(there == count, "{there} are there, {count} are wanted");
            Ok(())
        })
        .await
    }

    /// The pods with that label, each with how often its container was restarted.
    pub async fn pods(&self, label: &str) -> Result<Vec<String>> {
        let pods = self.api.of("/v1/Pod", &self.namespace).list(&ListParams::default().labels(label)).await?.items;
        let told = |pod: &kube::api::DynamicObject| {
            let restarts = &pod.data["status"]["containerStatuses"][0]["restartCount"];
            format!("{} {restarts}", pod.metadata.name.as_deref().unwrap_or_default())
        };
        Ok(pods.iter().map(told).collect())
    }

    /// The name of the Gateway's Deployment.
    pub async fn gateway_deployment(&self) -> Result<String> {
        let ours = ListParams::default().labels(GATEWAY_PODS);
        let found = self.api.of(DEPLOYMENT, &self.namespace).list(&ours).await?.items.pop();
        found.and_then(|one| one.metadata.name).context("the Gateway has no Deployment")
    }
}

async fn rolled_out(api: &Api, namespace: &str, name: &str) -> Result<()> {
    let deployments = api.of(DEPLOYMENT, namespace);
    eventually(&format!("the rollout of {namespace}/{name}"), LIMIT, async || {
        let found = deployments.get(name).await?;
        let (spec, status) = (&found.data["spec"], &found.data["status"]);
        let wanted = spec["replicas"].as_u64();
        let is = |field: &str| status[field].as_u64() == wanted;
        let seen = status["observedGeneration"].as_i64() >= found.metadata.generation;
        ensure!(seen && is("updatedReplicas") && is("availableReplicas") && is("replicas"), "its status is {status}");
        Ok(())
    })
    .await
}

/// A TLS Secret `cert`.
pub fn secret(namespace: &str, certificate: &Certificate) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "cert", "namespace": namespace},
        "type": "kubernetes.io/tls", "stringData": {"tls.crt": certificate.chain, "tls.key": certificate.key},
    })
}

/// What stands in the Gateway from the beginning.
pub fn listeners() -> [Value; 2] {
    let tls = json!({"certificateRefs": [{"name": "cert"}]});
    [cluster::listener(), json!({"name": "https", "port": 443, "protocol": "HTTPS", "tls": tls})]
}

/// The rule that the route begins with.
pub fn rule() -> Value {
    json!({"backendRefs": [{"name": "web", "port": 80}]})
}

/// Pods that go on serving for a moment after they were told to end, as every pod behind a load balancer should: who
/// sends to them learns of it meanwhile.
fn backend(namespace: &str) -> Value {
    let labels = json!({"app": "web"});
    let field = |path: &str| json!({"fieldRef": {"fieldPath": path}});
    let container = json!({
        "name": "web", "image": "registry.k8s.io/gateway-api/echo-basic:v1.5.1",
        "env": [
            {"name": "POD_NAME", "valueFrom": field("metadata.name")},
            {"name": "NAMESPACE", "valueFrom": field("metadata.namespace")},
        ],
        "readinessProbe": {"httpGet": {"path": "/", "port": 3000}, "periodSeconds": 1},
        "lifecycle": {"preStop": {"sleep": {"seconds": 2}}},
    });
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": namespace},
        "spec": {
            "replicas": REPLICAS,
            "selector": {"matchLabels": labels},
            "strategy": {"rollingUpdate": {"maxSurge": "100%", "maxUnavailable": 0}},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"terminationGracePeriodSeconds": 5, "containers": [container]},
            },
        },
    })
}

/// Two ports that lead to the same pods.
fn service(namespace: &str) -> Value {
    let port = |name: &str, port: u16| json!({"name": name, "port": port, "targetPort": 3000});
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": namespace},
        "spec": {"selector": {"app": "web"}, "ports": [port("http", 80), port("other", 8080)]},
    })
}
