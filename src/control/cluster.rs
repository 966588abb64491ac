//! The Kubernetes cluster that a control plane works for: its API server, and who this process is in there.

pub mod bundle;
mod owner;
mod revision;
pub mod root;
pub mod tokens;

pub use owner::Owner;
pub use revision::Revision;

use clap::Args;
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use std::{path::PathBuf, sync::Arc, time::Duration};

/// A watch that has said nothing for so long is dead: an API server that is well sends a bookmark every minute.
const SILENCE: Duration = Duration::from_secs(100);

/// How to reach the API server, and what we are called there.
#[derive(Args, Clone, Debug)]
#[group(skip)]
pub struct Flags {
    /// Kubeconfig of the cluster. Default: the service account of the pod, or else $KUBECONFIG.
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Namespace of the control plane.
    #[arg(long, value_name = "NAME", env = "POD_NAMESPACE", default_value = "istio-system")]
    pub namespace: String,
    /// Service account of the control plane.
    #[arg(long, value_name = "NAME", env = "SERVICE_ACCOUNT", default_value = "windlass-control")]
    pub service_account: String,
    /// Name of this replica, by which it holds the Lease.
    #[arg(long, value_name = "NAME", env = "POD_NAME", default_value = "windlass-control")]
    pub pod: String,
    /// Which of several control planes of the namespace this is. It minds Gateways with this name in label istio.io/rev;
    /// those without a label are minded by the revision "default".
    #[arg(long, value_name = "NAME", env = "REVISION", default_value_t = Revision::default())]
    pub revision: Revision,
    /// Bind the right to read Secrets (ClusterRole windlass-secret-reader) to ourselves in those namespaces where a
    /// Secret is referred to. Without, somebody else has to.
    #[arg(long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set)]
    pub bind_secret_reader: bool,
}

/// The cluster. Cloning shares the connections.
#[derive(Clone)]
pub struct Cluster {
    /// Speaks to the API server.
    pub client: Client,
    /// The control plane's namespace.
    pub namespace: Arc<str>,
    /// The control plane's service account.
    pub service_account: Arc<str>,
    /// This replica.
    pub pod: Arc<str>,
    /// Which of several control planes this is.
    pub revision: Revision,
    /// What the things that are made belong to.
    pub owner: Owner,
    /// Whether to bind the right to read Secrets where they are referred to.
    pub bind_secret_reader: bool,
}

impl Cluster {
    /// The control plane's service account, for messages.
    pub fn account(&self) -> String {
        format!("{}/{}", self.namespace, self.service_account)
    }
}

impl Flags {
    /// Reads how to reach the API server; it is not asked anything yet.
    ///
    /// # Errors
    /// If there is neither a kubeconfig nor a service account, or it can't be used.
    pub async fn connect(&self) -> anyhow::Result<Cluster> {
        let mut config = match &self.kubeconfig {
            Some(file) => {
                let kubeconfig = Kubeconfig::read_from(file)?;
                Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?
            }
            None => Config::infer().await?,
        };
        config.read_timeout = Some(SILENCE);
        config.reset_reader_on_write = true;
        Ok(Cluster {
            client: Client::try_from(config)?,
            namespace: self.namespace.as_str().into(),
            service_account: self.service_account.as_str().into(),
            pod: self.pod.as_str().into(),
            revision: self.revision.clone(),
            bind_secret_reader: self.bind_secret_reader,
            owner: Owner::default(),
        })
    }
}

/// An error with what led to it: a client's own words end where they get interesting.
pub fn whole(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        source = error.source();
    }
    text
}
