//! What the control plane has made by itself, and helm knows nothing of.

use crate::cluster::{Cluster, is_class_of_ours};
use control::{
    cluster::{bundle, root},
    deploy,
    lead::{self, DESCRIPTION},
    source::cluster::rights,
};
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
    select: Select,
    is_of_namespace: bool,
    is_ours: fn(&DynamicObject) -> bool,
}

/// What finds them.
enum Select {
    All,
    Name(&'static str),
    Labels(&'static [(&'static str, &'static str)]),
}

const ALWAYS: [Sought; 4] = [
    Sought {
        gvk: ["", "v1", "ConfigMap"],
        select: Select::Name(bundle::CONFIG_MAP),
        is_of_namespace: false,
        // One that Istio wrote is Istio's.
        is_ours: |map| map.managed_fields().iter().any(|entry| entry.manager.as_deref() == Some(bundle::MANAGER)),
    },
    Sought {
        gvk: ["rbac.authorization.k8s.io", "v1", "RoleBinding"],
        select: Select::Labels(&rights::LABELS),
        is_of_namespace: false,
        is_ours: |_| true,
    },
    Sought {
        gvk: ["coordination.k8s.io", "v1", "Lease"],
        select: Select::All,
        is_of_namespace: true,
        // The leader's, and each replica's word.
        is_ours: |lease| lease.name_any().starts_with(lead::LEADER) || lease.name_any().starts_with(lead::REPLICA),
    },
    // Classes of ours that came with Gateway API after the chart.
    Sought {
        gvk: ["gateway.networking.k8s.io", "v1", "GatewayClass"],
        select: Select::All,
        is_of_namespace: false,
        is_ours: |class| {
            is_class_of_ours(class)
                && class.labels().get("app.kubernetes.io/managed-by").is_none_or(|by| by != "Helm")
                && class.data["spec"]["description"] == DESCRIPTION
        },
    },
];

const PURGED: [Sought; 2] = [
    Sought { gvk: ["", "v1", "Secret"], select: Select::Name(root::SECRET), is_of_namespace: true, is_ours: |_| true },
    Sought {
        gvk: ["apiextensions.k8s.io", "v1", "CustomResourceDefinition"],
        select: Select::Labels(&[("app.kubernetes.io/part-of", "windlass")]),
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
    let params = match sought.select {
        Select::All => params,
        Select::Name(name) => params.fields(&format!("metadata.name={name}")),
        Select::Labels(labels) => {
            let labels: Vec<String> = labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
            params.labels(&labels.join(","))
        }
    };
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
    let managed = [resolve::CONTROLLER, resolve::ENVOY_CONTROLLER].map(deploy::managed_by);
    let select = format!("{} in ({})", deploy::MANAGED, managed.join(","));
    let found = api.list_metadata(&ListParams::default().labels(&select)).await;
    let found = found.map_err(|error| cluster.fault(&error, "list", "deployments.apps", None))?;
    let of = |one: &PartialObjectMeta<Deployment>| {
        let gateway = one.labels().get(deploy::GATEWAY_NAME).cloned().unwrap_or_default();
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
