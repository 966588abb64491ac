//! A real cluster that is up, with Windlass in it: objects are made, changed and waited for through its API.
//!
//! Everything is in namespaces that bear a label of ours, so that what a run has left can be cleaned up by the next one.

use crate::process::eventually;
use anyhow::{Context, Result, ensure};
use futures::{StreamExt, TryStreamExt, stream};
use kube::{
    Client,
    api::{ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use std::{net::SocketAddr, time::Duration};

/// The label of all our namespaces.
const OURS: &str = "windlass.test/ours";
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
    /// Its address, and port 80.
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
        eventually("the namespaces are gone", LIMIT, async || {
            let left = namespaces.list(&ours).await?.items.len();
            ensure!(left == 0, "{left} are there");
            Ok(())
        })
        .await
    }

    /// Changes an object by a merge patch; `kind` as in [`Api::of`].
    pub async fn patch(&self, kind: &str, namespace: &str, name: &str, patch: &Value) -> Result<()> {
        let patched = self.of(kind, namespace).patch(name, &PatchParams::default(), &Patch::Merge(patch)).await;
        patched.with_context(|| format!("patch {kind} {namespace}/{name}"))?;
        Ok(())
    }

    /// Deletes an object.
    pub async fn delete(&self, kind: &str, namespace: &str, name: &str) -> Result<()> {
        let deleted = self.of(kind, namespace).delete(name, &DeleteParams::default()).await;
        deleted.with_context(|| format!("delete {kind} {namespace}/{name}"))?;
        Ok(())
    }

    /// A Gateway `gw` of a class with these listeners, when it is programmed.
    pub async fn gateway(&self, namespace: &str, class: &str, listeners: &[Value]) -> Result<Gateway> {
        let spec = json!({"gatewayClassName": class, "listeners": listeners});
        let metadata = json!({"name": "gw", "namespace": namespace});
        let gateway = json!({"apiVersion": GATEWAY_API, "kind": "Gateway", "metadata": metadata, "spec": spec});
        self.create(gateway).await?;
        let gateways = self.of(GATEWAY, namespace);
        let address = eventually("the Gateway is programmed", LIMIT, async || {
            let status = gateways.get("gw").await?.data["status"].take();
            let is = |condition: &Value| condition["type"] == "Programmed" && condition["status"] == "True";
            ensure!(status["conditions"].as_array().is_some_and(|all| all.iter().any(is)), "its status is {status}");
            let address = status["addresses"][0]["value"].as_str().context("no address")?;
            address.parse().context("no IP address")
        })
        .await?;
        Ok(Gateway { namespace: namespace.to_owned(), address: SocketAddr::new(address, 80) })
    }
}

/// An HTTP listener on port 80 that routes of all namespaces may attach to.
pub fn listener() -> Value {
    json!({"name": "http", "port": 80, "protocol": "HTTP", "allowedRoutes": {"namespaces": {"from": "All"}}})
}

/// Gateway API's group and version.
const GATEWAY_API: &str = "gateway.networking.k8s.io/v1";
/// The kind Gateway.
pub const GATEWAY: &str = "gateway.networking.k8s.io/v1/Gateway";
/// The kind Deployment.
pub const DEPLOYMENT: &str = "apps/v1/Deployment";
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
