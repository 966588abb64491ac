//! The cluster that a command asks: which one, and what its API server's refusals mean.

pub mod pods;

use anyhow::{Context, anyhow};
use clap::Args;
use control::{
    cluster::{Revision, whole},
    source::cluster::once::Refused,
};
use kube::{
    Api, Client, Config,
    api::{ApiResource, DynamicObject, GroupVersionKind, ListParams},
    client::UpgradeConnectionError,
    config::{KubeConfigOptions, Kubeconfig},
};
use std::{path::PathBuf, time::Duration};

/// An API server that says nothing for so long is away.
const PATIENCE: Duration = Duration::from_secs(30);
/// The same until a connection is there.
const CONNECT: Duration = Duration::from_secs(5);

/// Which cluster.
#[derive(Args, Clone, Debug)]
#[group(skip)]
pub struct Flags {
    /// Kubeconfig of the cluster. Default: $KUBECONFIG, ~/.kube/config, or the service account of the pod.
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig. Default: its current one.
    #[arg(long, value_name = "NAME")]
    pub context: Option<String>,
    /// Namespace. Default: the context's.
    #[arg(short, long, value_name = "NAME")]
    pub namespace: Option<String>,
    /// Namespace of the control plane.
    #[arg(
        short,
        long = "istioNamespace",
        visible_alias = "istio-namespace",
        value_name = "NAME",
        default_value = "istio-system"
    )]
    pub istio_namespace: String,
    /// Revision of the control plane.
    #[arg(short, long, value_name = "NAME", default_value_t = Revision::default())]
    pub revision: Revision,
}

/// A cluster that can be asked. Cloning shares the connections.
#[derive(Clone)]
pub struct Cluster {
    /// Speaks to the API server.
    pub client: Client,
    /// Where it is.
    pub server: String,
    /// The namespace that is meant if none is named.
    pub namespace: String,
    /// The control plane's namespace.
    pub istio_namespace: String,
    /// Which of several control planes there.
    pub revision: Revision,
}

impl Flags {
    /// Whether somebody has named a cluster.
    pub fn is_given(&self) -> bool {
        self.kubeconfig.is_some() || self.context.is_some()
    }

    /// Reads how to reach the API server; it is not asked anything yet.
    ///
    /// # Errors
    /// If there is no kubeconfig, or it doesn't say.
    pub async fn connect(&self) -> anyhow::Result<Cluster> {
        let options = KubeConfigOptions { context: self.context.clone(), ..KubeConfigOptions::default() };
        let config = match &self.kubeconfig {
            Some(file) => match Kubeconfig::read_from(file) {
                Ok(kubeconfig) => Config::from_custom_kubeconfig(kubeconfig, &options).await,
                Err(error) => Err(error),
            },
            None => match Config::from_kubeconfig(&options).await {
                // In a pod.
                Err(error) if self.context.is_none() => Config::incluster().map_err(|_| error),
                config => config,
            },
        };
        let mut config = config.map_err(|error| anyhow!(whole(&error))).context(
            "wanted a cluster, and no kubeconfig names one: give --kubeconfig and --context, or set KUBECONFIG",
        )?;
        config.read_timeout = Some(PATIENCE);
        config.connect_timeout = Some(CONNECT);
        Ok(Cluster {
            server: config.cluster_url.to_string(),
            namespace: self.namespace.clone().unwrap_or_else(|| config.default_namespace.clone()),
            istio_namespace: self.istio_namespace.clone(),
            revision: self.revision.clone(),
            client: Client::try_from(config)?,
        })
    }

    /// The same, with a runtime to ask in.
    ///
    /// # Errors
    /// As [`Flags::connect`].
    pub fn open(&self) -> anyhow::Result<(tokio::runtime::Runtime, Cluster)> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let cluster = runtime.block_on(self.connect())?;
        Ok((runtime, cluster))
    }
}

impl Cluster {
    /// The name of the control plane's Deployment, Service and service account.
    pub fn control(&self) -> String {
        self.revision.own("istiod")
    }

    /// What finds its pods.
    pub fn selector_of_control(&self) -> String {
        format!("app=istiod,istio.io/rev={}", self.revision)
    }

    /// The GatewayClasses of the cluster; none where they may not be read, or Gateway API isn't there.
    ///
    /// # Errors
    /// If the API server can't be asked.
    pub async fn classes(&self) -> anyhow::Result<Vec<DynamicObject>> {
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(api::GATEWAY_GROUP, "v1", "GatewayClass"));
        match Api::<DynamicObject>::all_with(self.client.clone(), &resource).list(&ListParams::default()).await {
            Ok(all) => Ok(all.items),
            Err(kube::Error::Api(status)) if [403, 404].contains(&status.code) => Ok(Vec::new()),
            Err(error) => Err(self.fault(&error, "list", "gatewayclasses.gateway.networking.k8s.io", None)),
        }
    }

    /// What an error of the API server means to somebody who wanted to do this; the namespace is none for the whole
    /// cluster.
    pub fn fault(&self, error: &kube::Error, verb: &str, resource: &str, namespace: Option<&str>) -> anyhow::Error {
        match error {
            kube::Error::Api(status) if status.code == 403 => {
                anyhow!(forbidden(verb, resource, namespace, &status.message))
            }
            kube::Error::UpgradeConnection(UpgradeConnectionError::ProtocolSwitch(code)) if code.as_u16() == 403 => {
                anyhow!(forbidden(verb, resource, namespace, "403"))
            }
            kube::Error::Api(status) if status.code == 401 => {
                anyhow!("{} doesn't know you: log in anew, or choose another --context", self.server)
            }
            kube::Error::Api(status) => {
                anyhow!("{verb} {resource}{}: {}", place(namespace), status.message)
            }
            error => anyhow!("{} can't be asked: {}", self.server, whole(error)),
        }
    }
}

/// Whether a GatewayClass has a controller of ours.
pub fn is_class_of_ours(class: &DynamicObject) -> bool {
    let controller = class.data["spec"]["controllerName"].as_str();
    controller.is_some_and(|name| [resolve::CONTROLLER, resolve::ENVOY_CONTROLLER].contains(&name))
}

/// Something that somebody may not do.
pub fn forbidden(verb: &str, resource: &str, namespace: Option<&str>, said: &str) -> String {
    let role = if namespace.is_some() { "a Role" } else { "a ClusterRole" };
    format!("you may not {verb} {resource}{}: wanted {role} that lets you ({said})", place(namespace))
}

/// The same for what was read.
pub fn refusal(refused: &Refused) -> String {
    forbidden(refused.verb, &refused.resource, refused.namespace.as_deref(), &refused.message)
}

fn place(namespace: Option<&str>) -> String {
    namespace.map_or_else(|| " in the whole cluster".to_owned(), |namespace| format!(" in namespace {namespace}"))
}
