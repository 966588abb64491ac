//! What the control plane has made by itself, and helm knows nothing of.

use crate::cluster::Cluster;
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Pod};
use kube::{
    Api, ResourceExt,
    api::{ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ListParams, PartialObjectMeta, Preconditions},
};
use std::fmt;

/// What there is.
pub struct Left {
    /// What goes, those of a kind and name beside each other.
    pub things: Vec<Thing>,
    /// Gateways of ours, `<namespace>/<name>`.
    pub gateways: Vec<String>,
    /// Other revisions, which need what they share with ours.
    pub revisions: Vec<String>,
}

/// An object that goes.
pub struct Thing {
    resource: ApiResource,
    namespace: Option<String>,
    name: String,
    uid: Option<String>,
}

/// The kinds, with what finds ours among them.
struct Sought {
    gvk: [&'static str; 3],
    select: &'static str,
    is_field: bool,
    is_of_namespace: bool,
    is_ours: fn(&DynamicObject) -> bool,
}

/// Who writes the trust bundle in every namespace; one that Istio wrote is Istio's.
const BUNDLES: &str = "windlass-ca";

const ALWAYS: [Sought; 4] = [
    Sought {
        gvk: ["", "v1", "ConfigMap"],
        select: "metadata.name=istio-ca-root-cert",
        is_field: true,
        is_of_namespace: false,
        is_ours: |map| map.managed_fields().iter().any(|entry| entry.manager.as_deref() == Some(BUNDLES)),
    },
    Sought {
        gvk: ["rbac.authorization.k8s.io", "v1", "RoleBinding"],
        select: "app.kubernetes.io/managed-by=windlass,app.kubernetes.io/component=secret-reader",
        is_field: false,
        is_of_namespace: false,
        is_ours: |_| true,
    },
    Sought {
        gvk: ["coordination.k8s.io", "v1", "Lease"],
        select: "",
        is_field: false,
        is_of_namespace: true,
        // The leader's, and each replica's word.
        is_ours: |lease| {
            lease.name_any().starts_with("windlass-leader") || lease.name_any().starts_with("windlass-replica-")
        },
    },
    // Classes of ours that came with Gateway API after the chart.
    Sought {
        gvk: ["gateway.networking.k8s.io", "v1", "GatewayClass"],
        select: "",
        is_field: false,
        is_of_namespace: false,
        is_ours: |class| {
            let controller = class.data["spec"]["controllerName"].as_str().unwrap_or_default();
            [resolve::CONTROLLER, resolve::ENVOY_CONTROLLER].contains(&controller)
                && class.labels().get("app.kubernetes.io/managed-by").is_none_or(|by| by != "Helm")
                && class.data["spec"]["description"] == "Gateways whose proxies Windlass runs"
        },
    },
];

const PURGED: [Sought; 2] = [
    Sought {
        gvk: ["", "v1", "Secret"],
        select: "metadata.name=windlass-ca-secret",
        is_field: true,
        is_of_namespace: true,
        is_ours: |_| true,
    },
    Sought {
        gvk: ["apiextensions.k8s.io", "v1", "CustomResourceDefinition"],
        select: "app.kubernetes.io/part-of=windlass",
        is_field: false,
        is_of_namespace: false,
        is_ours: |_| true,
    },
];

/// Looks for everything.
///
/// # Errors
/// If the API server refuses to say.
pub async fn look(cluster: &Cluster, is_purge: bool) -> anyhow::Result<Left> {
    let mut things = Vec::new();
    let revisions = revisions(cluster).await?;
    for sought in ALWAYS.iter().chain(PURGED.iter().filter(|_| is_purge)).filter(|_| revisions.is_empty()) {
        things.extend(find(cluster, sought).await?);
    }
    Ok(Left { things, gateways: gateways(cluster).await?, revisions })
}

/// The Deployments of other revisions.
async fn revisions(cluster: &Cluster) -> anyhow::Result<Vec<String>> {
    let namespace = &cluster.istio_namespace;
    let api: Api<Deployment> = Api::namespaced(cluster.client.clone(), namespace);
    let found = api.list_metadata(&ListParams::default().labels(OURS)).await;
    let found = found.map_err(|error| cluster.fault(&error, "list", "deployments.apps", Some(namespace)))?;
    Ok(found.iter().map(ResourceExt::name_any).filter(|name| *name != cluster.control()).collect())
}

/// What finds control planes.
const OURS: &str = "app.kubernetes.io/name=windlass-control";

/// The pods of the control plane, whatever becomes of them.
///
/// # Errors
/// If the API server refuses to say.
pub async fn replicas(cluster: &Cluster) -> anyhow::Result<Vec<String>> {
    let namespace = &cluster.istio_namespace;
    let api: Api<Pod> = Api::namespaced(cluster.client.clone(), namespace);
    let pods = api.list(&ListParams::default().labels(&format!("{OURS},istio.io/rev={}", cluster.revision))).await;
    let pods = pods.map_err(|error| cluster.fault(&error, "list", "pods", Some(namespace)))?;
    Ok(pods.iter().map(ResourceExt::name_any).collect())
}

async fn find(cluster: &Cluster, sought: &Sought) -> anyhow::Result<Vec<Thing>> {
    let [group, version, kind] = sought.gvk;
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
    let namespace = sought.is_of_namespace.then_some(&*cluster.istio_namespace);
    let api: Api<DynamicObject> = match namespace {
        Some(namespace) => Api::namespaced_with(cluster.client.clone(), namespace, &resource),
        None => Api::all_with(cluster.client.clone(), &resource),
    };
    let params = ListParams::default();
    let params = if sought.is_field { params.fields(sought.select) } else { params.labels(sought.select) };
    let name = format!("{}.{group}", resource.plural);
    let found = match api.list(&params).await {
        // Gateway API isn't there.
        Err(kube::Error::Api(status)) if status.code == 404 => Vec::new(),
        found => found.map_err(|error| cluster.fault(&error, "list", name.trim_end_matches('.'), namespace))?.items,
    };
    let ours = found.into_iter().filter(|one| (sought.is_ours)(one));
    let thing = |one: DynamicObject| Thing {
        resource: resource.clone(),
        namespace: one.namespace(),
        name: one.name_any(),
        uid: one.metadata.uid,
    };
    Ok(ours.map(thing).collect())
}

async fn gateways(cluster: &Cluster) -> anyhow::Result<Vec<String>> {
    let api: Api<Deployment> = Api::all(cluster.client.clone());
    let managed = ["windlass.io-gateway-controller", "windlass.io-envoy-gateway-controller"];
    let select = format!("{} in ({})", control::deploy::MANAGED, managed.join(","));
    let found = api.list_metadata(&ListParams::default().labels(&select)).await;
    let found = found.map_err(|error| cluster.fault(&error, "list", "deployments.apps", None))?;
    let of = |one: &PartialObjectMeta<Deployment>| {
        let gateway = one.labels().get(control::deploy::GATEWAY_NAME).cloned().unwrap_or_default();
        format!("{}/{gateway}", one.namespace().unwrap_or_default())
    };
    Ok(found.iter().map(of).collect())
}

impl Thing {
    /// Kind and name.
    pub fn what(&self) -> String {
        format!("{} {}", self.resource.kind, self.name)
    }

    /// Deletes it, if it is still the same.
    ///
    /// # Errors
    /// If the API server refuses.
    pub async fn delete(&self, cluster: &Cluster) -> anyhow::Result<()> {
        let client = cluster.client.clone();
        let api: Api<DynamicObject> = match &self.namespace {
            Some(namespace) => Api::namespaced_with(client, namespace, &self.resource),
            None => Api::all_with(client, &self.resource),
        };
        let only = Preconditions { uid: self.uid.clone(), resource_version: None };
        match api.delete(&self.name, &DeleteParams::default().preconditions(only)).await {
            Err(kube::Error::Api(status)) if [404, 409].contains(&status.code) => Ok(()),
            Err(error) => Err(cluster.fault(&error, "delete", &self.resource.plural, self.namespace.as_deref())),
            Ok(_) => Ok(()),
        }
    }
}

impl fmt::Display for Thing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{} {namespace}/{}", self.resource.kind, self.name),
            None => write!(f, "{} {}", self.resource.kind, self.name),
        }
    }
}
