//! What is looked at.

use super::{Check, Level};
use crate::{cluster::Cluster, install::helm};
use api::Kind;
use control::cluster::Revision;
use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::{
    api::{
        apps::v1::Deployment,
        authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec},
        core::v1::{ConfigMap, Service, ServiceAccount},
    },
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, ResourceExt,
    api::{DynamicObject, ListParams, PostParams},
};
use std::{collections::BTreeMap, fmt::Debug};

/// The oldest API server that the charts are for.
const OLDEST: u32 = 29;
/// The bundle of Gateway API that is tested with.
const BUNDLE: &str = "v1.6";

/// What an installation writes: group, resource, and whether that is in the control plane's namespace.
const WRITES: [(&str, &str, bool); 13] = [
    ("", "namespaces", false),
    ("apiextensions.k8s.io", "customresourcedefinitions", false),
    ("rbac.authorization.k8s.io", "clusterroles", false),
    ("rbac.authorization.k8s.io", "clusterrolebindings", false),
    ("gateway.networking.k8s.io", "gatewayclasses", false),
    ("rbac.authorization.k8s.io", "roles", true),
    ("rbac.authorization.k8s.io", "rolebindings", true),
    ("apps", "deployments", true),
    ("", "services", true),
    ("", "serviceaccounts", true),
    ("", "configmaps", true),
    ("policy", "poddisruptionbudgets", true),
    // Helm keeps its releases there.
    ("", "secrets", true),
];

/// Looks at everything.
///
/// # Errors
/// If the API server can't be asked.
pub async fn check(cluster: &Cluster) -> anyhow::Result<Vec<Check>> {
    let mut checks = vec![version(cluster).await?];
    checks.push(rights(cluster).await?);
    checks.extend(definitions(cluster).await?);
    checks.extend(others(cluster).await?);
    checks.extend(names(cluster).await?);
    checks.extend(classes(cluster).await?);
    Ok(checks)
}

async fn version(cluster: &Cluster) -> anyhow::Result<Check> {
    let info = cluster.client.apiserver_version().await;
    let info = info.map_err(|error| cluster.fault(&error, "get", "/version", None))?;
    let minor: u32 = info.minor.trim_end_matches(|c: char| !c.is_ascii_digit()).parse().unwrap_or_default();
    let level = if info.major == "1" && minor < OLDEST { Level::Error } else { Level::Ok };
    let wanted = if level == Level::Ok { String::new() } else { format!(", wanted 1.{OLDEST} or newer") };
    Ok(Check::new(level, "Kubernetes", format!("{} at {}{wanted}", info.git_version, cluster.server)))
}

async fn rights(cluster: &Cluster) -> anyhow::Result<Check> {
    let ask = |(group, resource, is_namespaced): (&str, &str, bool)| {
        let namespace = is_namespaced.then(|| cluster.istio_namespace.clone());
        let (group, resource) = (group.to_owned(), resource.to_owned());
        async move { anyhow::Ok((may(cluster, &group, &resource, namespace).await?, resource)) }
    };
    let answers: Vec<(bool, String)> = stream::iter(WRITES.map(ask)).buffered(4).try_collect().await?;
    let missing: Vec<&str> = answers.iter().filter(|(may, _)| !may).map(|(_, resource)| &**resource).collect();
    Ok(match missing.is_empty() {
        true => Check::new(Level::Ok, "your rights", "enough to install"),
        false => {
            let message = format!("you may not create {}: ask somebody who may, a cluster's admin", missing.join(", "));
            Check::new(Level::Error, "your rights", message)
        }
    })
}

async fn may(cluster: &Cluster, group: &str, resource: &str, namespace: Option<String>) -> anyhow::Result<bool> {
    let text = |text: &str| Some(text.to_owned());
    let attributes = ResourceAttributes {
        verb: text("create"),
        group: text(group),
        resource: text(resource),
        namespace,
        ..ResourceAttributes::default()
    };
    let spec = SelfSubjectAccessReviewSpec { resource_attributes: Some(attributes), ..Default::default() };
    let review = SelfSubjectAccessReview { spec, ..Default::default() };
    let answer = Api::all(cluster.client.clone()).create(&PostParams::default(), &review).await;
    let answer = answer.map_err(|error| cluster.fault(&error, "create", "selfsubjectaccessreviews", None))?;
    Ok(answer.status.is_some_and(|status| status.allowed))
}

/// Gateway API's kinds, and Istio's that somebody else brought.
async fn definitions(cluster: &Cluster) -> anyhow::Result<Vec<Check>> {
    let api: Api<CustomResourceDefinition> = Api::all(cluster.client.clone());
    let all = match list(cluster, api, &ListParams::default(), "customresourcedefinitions", None).await? {
        Ok(all) => all,
        Err(check) => return Ok(vec![check]),
    };
    let all: BTreeMap<(&str, &str), _> =
        all.iter().map(|one| ((&*one.spec.group, &*one.spec.names.kind), one)).collect();
    let of_group = |group: &'static str| Kind::ALL.iter().filter(move |kind| kind.group() == group);
    let (there, missing): (Vec<_>, Vec<_>) =
        of_group(api::GATEWAY_GROUP).partition(|kind| all.contains_key(&(kind.group(), kind.as_str())));
    let names = |kinds: &[&Kind]| kinds.iter().map(|kind| kind.as_str()).collect::<Vec<_>>().join(", ");
    let mut checks = Vec::new();
    if there.is_empty() {
        let message = "not in this cluster: what is installed picks its kinds up as soon as they come";
        checks.push(Check::new(Level::Warning, "Gateway API", message));
    } else {
        let annotation = |name: &str| {
            let value = |kind: &&&Kind| all[&(kind.group(), kind.as_str())].annotations().get(name).cloned();
            let mut values: Vec<String> = there.iter().filter_map(|kind| value(&kind)).collect();
            values.sort();
            values.dedup();
            values
        };
        let versions = annotation("gateway.networking.k8s.io/bundle-version");
        let channels = annotation("gateway.networking.k8s.io/channel").join(" and ");
        let is_known = versions.len() == 1 && versions[0].starts_with(BUNDLE);
        let mut message = format!("{}, channel {channels}", versions.join(" and "));
        if !is_known {
            message += &format!("; tested with {BUNDLE}");
        }
        if !missing.is_empty() {
            message += &format!("; without {}", names(&missing));
        }
        let level = if is_known && missing.is_empty() { Level::Ok } else { Level::Warning };
        checks.push(Check::new(level, "Gateway API", message));
    }
    let is_foreign = |kind: &&Kind| {
        let definition = all.get(&(kind.group(), kind.as_str()));
        definition.is_some_and(|one| one.annotations().get(RELEASE).is_none_or(|release| release != helm::BASE))
    };
    let foreign: Vec<&Kind> = of_group("security.istio.io").filter(is_foreign).collect();
    if !foreign.is_empty() {
        let message = format!("{} were brought by somebody else, and are left as they are", names(&foreign));
        checks.push(Check::new(Level::Ok, "Istio's kinds", message));
    }
    Ok(checks)
}

/// The release that an object belongs to.
const RELEASE: &str = "meta.helm.sh/release-name";

/// Other control planes.
async fn others(cluster: &Cluster) -> anyhow::Result<Vec<Check>> {
    let api: Api<Deployment> = Api::all(cluster.client.clone());
    let all = match list(cluster, api, &ListParams::default().labels("app=istiod"), "deployments.apps", None).await? {
        Ok(all) => all,
        Err(check) => return Ok(vec![check]),
    };
    let mut checks = Vec::new();
    for deployment in &all {
        let place = format!("{}/{}", deployment.namespace().unwrap_or_default(), deployment.name_any());
        let is_here = deployment.namespace().as_deref() == Some(&*cluster.istio_namespace);
        let is_ours = deployment.labels().get("app.kubernetes.io/part-of").is_some_and(|part| part == "windlass");
        checks.push(match (is_here, is_ours) {
            (true, true) if deployment.name_any() != cluster.control() => {
                Check::new(Level::Ok, "another revision", format!("Deployment {place} minds the Gateways that name it"))
            }
            (true, true) => {
                let version = deployment.labels().get("app.kubernetes.io/version").cloned().unwrap_or_default();
                Check::new(Level::Ok, "installed already", format!("Deployment {place}, version {version}"))
            }
            (true, false) if deployment.name_any() == cluster.control() => {
                let message =
                    format!("Deployment {place} is Istio's: choose another --istioNamespace, or uninstall it first");
                Check::new(Level::Error, "another control plane", message)
            }
            (false, true) => {
                let message = format!("Deployment {place} is a Windlass too: both would serve the same classes");
                Check::new(Level::Error, "another control plane", message)
            }
            (_, false) => {
                let message =
                    format!("Deployment {place} is Istio's: leave the class istio to it (gatewayClasses.istio)");
                Check::new(Level::Warning, "another control plane", message)
            }
        });
    }
    if all.is_empty() {
        checks.push(Check::new(Level::Ok, "other control planes", "none"));
    }
    Ok(checks)
}

/// Objects that stand where the chart would put its own: helm refuses to take them over.
async fn names(cluster: &Cluster) -> anyhow::Result<Vec<Check>> {
    let mut checks = Vec::new();
    let mut take = |check: Option<Check>| checks.extend(check);
    take(standing::<Service>(cluster, "Service", "services", &cluster.control()).await?);
    take(standing::<ServiceAccount>(cluster, "ServiceAccount", "serviceaccounts", &cluster.control()).await?);
    // All revisions read the default one's.
    if cluster.revision == Revision::default() {
        take(standing::<ConfigMap>(cluster, "ConfigMap", "configmaps", "istio").await?);
    }
    Ok(checks)
}

async fn standing<K>(cluster: &Cluster, kind: &str, plural: &str, name: &str) -> anyhow::Result<Option<Check>>
where
    K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>
        + Clone
        + Debug
        + for<'de> serde::Deserialize<'de>,
{
    let namespace = &cluster.istio_namespace;
    let api: Api<K> = Api::namespaced(cluster.client.clone(), namespace);
    let found = match api.get_opt(name).await {
        Err(kube::Error::Api(status)) if status.code == 403 => None,
        found => found.map_err(|error| cluster.fault(&error, "get", plural, Some(namespace)))?,
    };
    let is_foreign = |one: &K| {
        one.meta().annotations.as_ref().and_then(|all| all.get(RELEASE)).map(String::as_str) != Some(helm::CONTROL)
    };
    Ok(found.filter(is_foreign).map(|_| {
        let message = format!(
            "{kind} {namespace}/{name} was made by somebody else: remove it, or choose another --istioNamespace"
        );
        Check::new(Level::Error, "in the way", message)
    }))
}

/// Classes of our names that are somebody else's.
async fn classes(cluster: &Cluster) -> anyhow::Result<Vec<Check>> {
    let ours = [("windlass", resolve::CONTROLLER), ("windlass-envoy", resolve::ENVOY_CONTROLLER)];
    let check = |class: &DynamicObject| {
        let controller = class.data["spec"]["controllerName"].as_str().unwrap_or_default();
        let (_, wanted) = ours.iter().find(|(name, _)| *name == class.name_any())?;
        (controller != *wanted).then(|| {
            let message = format!("{} has the controller {controller}, and is left as it is", class.name_any());
            Check::new(Level::Warning, "GatewayClass", message)
        })
    };
    Ok(cluster.classes().await?.iter().filter_map(check).collect())
}

/// A list, or what it means that it may not be had.
async fn list<K>(
    cluster: &Cluster,
    api: Api<K>,
    params: &ListParams,
    resource: &str,
    namespace: Option<&str>,
) -> anyhow::Result<Result<Vec<K>, Check>>
where
    K: Clone + Debug + for<'de> serde::Deserialize<'de>,
{
    match api.list(params).await {
        Ok(all) => Ok(Ok(all.items)),
        Err(error) => {
            let is_forbidden = matches!(&error, kube::Error::Api(status) if status.code == 403);
            let fault = cluster.fault(&error, "list", resource, namespace);
            if is_forbidden {
                Ok(Err(Check::new(Level::Warning, "not looked at", fault.to_string())))
            } else {
                Err(fault)
            }
        }
    }
}
