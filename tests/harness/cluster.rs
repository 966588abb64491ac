//! What is made in the cluster.

use anyhow::{Context, Result, bail};
use futures::{StreamExt, TryStreamExt, stream};
use kube::{
    Client,
    api::{ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ListParams, PostParams},
};
use serde_json::{Value, json};
use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

/// The label of all our namespaces.
const OURS: &str = "windlass.test/bench";
/// How many requests to the API are under way at once.
const WIDTH: usize = 16;
/// How long the cluster may take for anything.
pub const LIMIT: Duration = Duration::from_secs(300);

/// The cluster's API.
#[derive(Clone)]
pub struct Api(Client);

/// A Gateway of ours.
pub struct Gateway {
    /// Its namespace.
    pub namespace: String,
    /// Where it listens.
    pub address: SocketAddr,
}

impl Api {
    /// By `KUBECONFIG`.
    pub async fn connect() -> Result<Self> {
        // The client is to be no limit: it has no rate limit of its own.
        let client = Client::try_default().await?;
        client.apiserver_version().await?;
        Ok(Self(client))
    }

    /// Objects of a kind in a namespace; of `kind` as `group/version/Kind`.
    pub fn of(&self, kind: &str, namespace: &str) -> kube::Api<DynamicObject> {
        kube::Api::namespaced_with(self.0.clone(), namespace, &resource(kind))
    }

    /// Objects of a kind in all namespaces, or of none.
    pub fn all(&self, kind: &str) -> kube::Api<DynamicObject> {
        kube::Api::all_with(self.0.clone(), &resource(kind))
    }

    /// Makes one object.
    pub async fn create(&self, object: Value) -> Result<DynamicObject> {
        let text = |field: &str| object[field].as_str().unwrap_or_default().to_owned();
        let version = match text("apiVersion") {
            core if !core.contains('/') => format!("/{core}"),
            version => version,
        };
        let kind = format!("{version}/{}", text("kind"));
        let api = match object["metadata"]["namespace"].as_str() {
            Some(namespace) => self.of(&kind, namespace),
            None => self.all(&kind),
        };
        let object: DynamicObject = serde_json::from_value(object)?;
        let name = object.metadata.name.clone().unwrap_or_default();
        api.create(&PostParams::default(), &object).await.with_context(|| format!("create {kind} {name}"))
    }

    /// Makes many objects, some at a time.
    pub async fn create_all(&self, objects: impl Iterator<Item = Value>) -> Result<()> {
        stream::iter(objects.map(|object| self.create(object)))
            .buffer_unordered(WIDTH)
            .try_for_each(|_| async { Ok(()) })
            .await
    }

    /// A namespace of ours.
    pub async fn namespace(&self, name: &str) -> Result<()> {
        let metadata = json!({"name": name, "labels": {OURS: ""}});
        self.create(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})).await?;
        Ok(())
    }

    /// Deletes what an earlier run left, and waits until it is gone.
    pub async fn clean(&self) -> Result<()> {
        let namespaces = self.all("/v1/Namespace");
        let ours = ListParams::default().labels(OURS);
        for namespace in namespaces.list(&ours).await? {
            namespaces.delete(&namespace.metadata.name.unwrap_or_default(), &DeleteParams::default()).await?;
        }
        eventually("the namespaces are gone", async || Ok(namespaces.list(&ours).await?.items.is_empty())).await
    }

    /// A Gateway with one HTTP listener that routes of all namespaces may attach to, when it is programmed.
    pub async fn gateway(&self, namespace: &str) -> Result<Gateway> {
        let class = std::env::var("WINDLASS_BENCH_CLASS").unwrap_or_else(|_| "windlass".into());
        let listener = json!({
            "name": "http", "port": 80, "protocol": "HTTP", "allowedRoutes": {"namespaces": {"from": "All"}},
        });
        let spec = json!({"gatewayClassName": class, "listeners": [listener]});
        let metadata = json!({"name": "gw", "namespace": namespace});
        let gateway = json!({"apiVersion": GATEWAY_API, "kind": "Gateway", "metadata": metadata, "spec": spec});
        self.create(gateway).await?;
        let gateways = self.of(GATEWAY, namespace);
        let mut address = None;
        eventually("the Gateway is programmed", async || {
            let gateway = gateways.get("gw").await?.data;
            let is = |condition: &Value| condition["type"] == "Programmed" && condition["status"] == "True";
            address = gateway["status"]["addresses"][0]["value"].as_str().and_then(|text| text.parse().ok());
            Ok(address.is_some() && gateway["status"]["conditions"].as_array().is_some_and(|all| all.iter().any(is)))
        })
        .await?;
        let address = SocketAddr::new(address.context("an address")?, 80);
        Ok(Gateway { namespace: namespace.to_owned(), address })
    }
}

/// Gateway API's group and version.
const GATEWAY_API: &str = "gateway.networking.k8s.io/v1";
/// The kind Gateway.
pub const GATEWAY: &str = "gateway.networking.k8s.io/v1/Gateway";
/// The kind HTTPRoute.
pub const HTTP_ROUTE: &str = "gateway.networking.k8s.io/v1/HTTPRoute";

/// A route of one host to a Service beside it.
pub fn route(namespace: &str, name: &str, gateway: &Gateway, service: &str) -> Value {
    let spec = json!({
        "parentRefs": [{"name": "gw", "namespace": gateway.namespace}],
        "hostnames": [format!("{name}.{namespace}.example")],
        "rules": [{"backendRefs": [{"name": service, "port": 80}]}],
    });
    let metadata = json!({"name": name, "namespace": namespace});
    json!({"apiVersion": GATEWAY_API, "kind": "HTTPRoute", "metadata": metadata, "spec": spec})
}

/// A Service without a selector, and its one endpoint.
pub fn service(namespace: &str, name: &str, to: SocketAddr) -> [Value; 2] {
    let spec = json!({"ports": [{"name": "http", "port": 80, "targetPort": to.port()}]});
    let metadata = json!({"name": name, "namespace": namespace});
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec});
    let metadata = json!({
        "name": name, "namespace": namespace, "labels": {"kubernetes.io/service-name": name},
    });
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": metadata, "addressType": "IPv4",
        "ports": [{"name": "http", "port": to.port(), "protocol": "TCP"}],
        "endpoints": [{"addresses": [to.ip().to_string()], "conditions": {"ready": true}}],
    });
    [service, slice]
}

fn resource(kind: &str) -> ApiResource {
    let mut parts = kind.split('/');
    let mut next = || parts.next().unwrap_or_default();
    ApiResource::from_gvk(&GroupVersionKind::gvk(next(), next(), next()))
}

/// Asks until the answer is yes.
pub async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> Result<bool>) -> Result<()> {
    let end = Instant::now() + LIMIT;
    while !holds().await? {
        if Instant::now() > end {
            bail!("{what}: not within {LIMIT:?}");
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}
