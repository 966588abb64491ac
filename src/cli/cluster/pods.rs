//! Pods by the names that people give them, and pages inside of them.

use super::Cluster;
use crate::http;
use anyhow::{Context, anyhow, bail};
use control::deploy::GATEWAY_NAME;
use hyper::body::Bytes;
use k8s_openapi::{
    api::{apps::v1::Deployment, core::v1::Pod},
    apimachinery::pkg::apis::meta::v1::LabelSelector,
};
use kube::{Api, ResourceExt, api::ListParams, core::Selector};
use std::time::Duration;

/// How long a page may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// A pod by name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.name, self.namespace)
    }
}

impl Cluster {
    /// The pod that somebody means: `POD[.NAMESPACE]`, or the first that runs of `deploy/NAME[.NAMESPACE]` or
    /// `gateway/NAME[.NAMESPACE]`.
    ///
    /// # Errors
    /// If there is none, or the API server refuses to say.
    pub async fn pod(&self, text: &str) -> anyhow::Result<Name> {
        let (kind, name) = text.split_once('/').unwrap_or(("pod", text));
        let (name, namespace) = name.rsplit_once('.').unwrap_or((name, &self.namespace));
        let selector = match kind {
            "pod" | "pods" | "po" => return Ok(Name { namespace: namespace.into(), name: name.into() }),
            "gateway" | "gateways" | "gtw" => format!("{GATEWAY_NAME}={}", resolve::label(name)),
            "deployment" | "deployments" | "deploy" => self.selector(namespace, name).await?,
            _ => bail!("{text}: wanted POD[.NAMESPACE], deploy/NAME[.NAMESPACE] or gateway/NAME[.NAMESPACE]"),
        };
        let pods = self.running(namespace, &selector).await?;
        pods.into_iter().next().with_context(|| format!("{text}: no pod of it runs in namespace {namespace}"))
    }

    /// The pods with some labels that run, by name.
    ///
    /// # Errors
    /// If the API server refuses to say.
    pub async fn running(&self, namespace: &str, selector: &str) -> anyhow::Result<Vec<Name>> {
        let api: Api<Pod> = Api::namespaced(self.client.clone(), namespace);
        let pods = api.list(&ListParams::default().labels(selector)).await;
        let pods = pods.map_err(|error| self.fault(&error, "list", "pods", Some(namespace)))?;
        let runs = |pod: &Pod| {
            let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
            phase == Some("Running") && pod.metadata.deletion_timestamp.is_none()
        };
        let pods = pods.items.into_iter().filter(runs);
        let mut pods: Vec<Name> = pods.map(|pod| Name { namespace: namespace.into(), name: pod.name_any() }).collect();
        pods.sort();
        Ok(pods)
    }

    async fn selector(&self, namespace: &str, deployment: &str) -> anyhow::Result<String> {
        let api: Api<Deployment> = Api::namespaced(self.client.clone(), namespace);
        let found = api.get(deployment).await;
        let found = found.map_err(|error| self.fault(&error, "get", "deployments.apps", Some(namespace)))?;
        let selector: LabelSelector = found.spec.map(|spec| spec.selector).unwrap_or_default();
        let selector: Selector = selector.try_into().context("the Deployment's selector")?;
        Ok(selector.to_string())
    }

    /// A page that a pod shows to its own machine alone, by a forwarded port.
    ///
    /// # Errors
    /// If the port can't be forwarded, nobody answers there, or with anything but 200.
    pub async fn page(&self, pod: &Name, port: u16, path: &str) -> anyhow::Result<Bytes> {
        let what = || format!("pod {pod}, port {port}, {path}");
        let got = tokio::time::timeout(PATIENCE, self.forwarded(pod, port, path)).await;
        got.with_context(|| format!("{}: no answer within {PATIENCE:?}", what()))?.with_context(what)
    }

    async fn forwarded(&self, pod: &Name, port: u16, path: &str) -> anyhow::Result<Bytes> {
        let api: Api<Pod> = Api::namespaced(self.client.clone(), &pod.namespace);
        let mut forwarder = api.portforward(&pod.name, &[port]).await.map_err(|error| {
            // The request that begins it is a GET, which newer API servers take for both.
            self.fault(&error, "get and create", "pods/portforward", Some(&pod.namespace))
        })?;
        let stream = forwarder.take_stream(port).context("a stream for the port")?;
        let refused = forwarder.take_error(port).context("the port's errors")?;
        let got = tokio::select! {
            got = http::get(stream, "localhost", path) => got,
            Some(why) = refused => Err(anyhow!("the pod refuses the connection: {}", why.trim())),
        };
        forwarder.abort();
        got
    }
}

/// What went wrong with one of several pods, told while the rest goes on.
pub fn complain(error: &anyhow::Error) {
    eprintln!("windlass: {error:#}");
}
