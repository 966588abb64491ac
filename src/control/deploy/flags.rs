//! Flags of the deployer.

use super::Settings;
use crate::cluster::Cluster;
use clap::Args;

/// How Gateways' proxies are run.
#[derive(Args, Clone, Debug)]
#[group(skip)]
pub struct Flags {
    /// Image of the proxies: windlass-proxy, with Envoy beside it.
    #[arg(long, value_name = "IMAGE", env = "PROXY_IMAGE", default_value_t = Settings::default().image)]
    proxy_image: String,
    /// When it is pulled: Always, IfNotPresent or Never.
    #[arg(long, value_name = "POLICY", default_value_t = Settings::default().pull_policy)]
    proxy_pull_policy: String,
    /// The control plane, as the proxies reach it. Default: port 15012 of Service istiod of the control plane's
    /// namespace, or of istiod-REVISION.
    #[arg(long, value_name = "HOST:PORT")]
    proxy_control: Option<String>,
    /// The trust domain of the proxies' identities.
    #[arg(long, value_name = "DOMAIN", default_value_t = Settings::default().trust_domain)]
    proxy_trust_domain: String,
}

impl Flags {
    /// As the deployer wants it.
    pub fn settings(&self, cluster: &Cluster) -> Settings {
        Settings {
            image: self.proxy_image.clone(),
            pull_policy: self.proxy_pull_policy.clone(),
            control: self
                .proxy_control
                .clone()
                .unwrap_or_else(|| format!("{}.{}.svc:15012", cluster.revision.own("istiod"), cluster.namespace)),
            trust_domain: self.proxy_trust_domain.clone(),
        }
    }
}
