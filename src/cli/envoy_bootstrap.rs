//! `windlass envoy-bootstrap`

use crate::{
    flags::Data,
    output::{self, Format},
};
use anyhow::{Context, bail};
use ca::BootstrapTokens;
use clap::{ArgGroup, Args};
use model::{Identity, ObjectKey, TrustDomain};
use proxy::{
    certs::{Manager, Options, Token},
    envoy::{Admin, Server, bootstrap, files},
};
use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime},
};

/// Prints a complete bootstrap for stock Envoy: run it with envoy -c.
///
/// With --xds, Envoy speaks to the control plane over mutual TLS. This command gets the certificate: it proves who it
/// is by a bootstrap token made with the secret in the control plane's data directory, and keeps key and certificate
/// below the data directory. Envoy reads them again when they change: run this command again before they end.
#[derive(Args)]
#[command(group = ArgGroup::new("control plane").args(["xds", "plaintext"]))]
pub struct EnvoyBootstrap {
    /// The Gateway that this Envoy serves.
    #[arg(long, value_name = "NAMESPACE/NAME", value_parser = gateway)]
    gateway: ObjectKey,
    /// The control plane's port with TLS.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:15012")]
    xds: SocketAddr,
    /// The control plane's port without TLS.
    #[arg(long, value_name = "ADDR")]
    plaintext: Option<SocketAddr>,
    /// Address of Envoy's own admin page.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:15000")]
    admin: SocketAddr,
    /// Name of the Gateway's GatewayClass, which is part of its service account <gateway>-<class>.
    #[arg(long, value_name = "NAME", default_value = "windlass")]
    gateway_class: String,
    #[command(flatten)]
    data: Data,
    /// The form of the bootstrap; Envoy reads both.
    #[arg(short, long, value_name = "FORMAT", default_value = "yaml")]
    output: Format,
}

/// How long a bootstrap token is good: long enough for one call.
const TOKEN_LIFE: Duration = Duration::from_secs(60);
/// The name that the control plane's certificate has.
const SERVER_NAME: &str = "istiod.istio-system.svc";
/// How long to try.
const PATIENCE: Duration = Duration::from_secs(20);

/// `<namespace>/<name>`
pub fn gateway(text: &str) -> Result<ObjectKey, String> {
    match text.split_once('/') {
        Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() && !name.contains('/') => {
            Ok(ObjectKey::new(namespace, name))
        }
        _ => Err("wanted <namespace>/<name>".into()),
    }
}

impl EnvoyBootstrap {
    pub fn main(self) -> anyhow::Result<()> {
        let server = match self.plaintext {
            Some(address) => Server::Plaintext(address.to_string()),
            None => {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
                let directory = runtime.block_on(self.certificate())?;
                Server::Tls { address: self.xds.to_string(), name: SERVER_NAME.into(), directory }
            }
        };
        let bootstrap = bootstrap(&self.gateway, &self.gateway.name, &server, &Admin::Address(self.admin));
        output::print(&output::text(self.output, &bootstrap)?)
    }

    /// Gets a certificate and says in which directory it is.
    async fn certificate(&self) -> anyhow::Result<PathBuf> {
        let data = self.data.directory()?;
        let ObjectKey { namespace, name } = &self.gateway;
        let identity = Identity {
            trust_domain: TrustDomain::default(),
            namespace: namespace.clone(),
            service_account: format!("{name}-{}", self.gateway_class).into(),
        };
        let secret = data.join("token.key");
        if !secret.exists() {
            bail!("{} is missing: start the control plane first, with the same --data", secret.display());
        }
        let tokens = BootstrapTokens::open(&data)?;
        let directory = data.join("envoy").join(&**namespace).join(&**name);
        let directory = std::path::absolute(directory)?;
        std::fs::create_dir_all(&directory).with_context(|| format!("make {}", directory.display()))?;
        let options = Options {
            ca_address: self.xds.to_string(),
            server_name: SERVER_NAME.into(),
            token: Some(Token::Text(tokens.issue(&identity, SystemTime::now() + TOKEN_LIFE))),
            identity,
            roots: data.join("root-cert.pem"),
            dir: Some(directory.join("kept")),
            ttl: Duration::ZERO,
            clock: Arc::new(SystemTime::now),
        };
        base::log::init(base::log::Format::Text, "warn");
        let manager = Manager::new(options, &mut base::metrics::Registry::default());
        let certificate = tokio::select! {
            () = manager.run() => bail!("no certificate"),
            certificate = manager.ready() => certificate,
            () = tokio::time::sleep(PATIENCE) => bail!("no certificate from {} within {PATIENCE:?}", self.xds),
        };
        let roots = std::path::absolute(data.join("root-cert.pem"))?;
        files::write(&directory, &certificate, &roots, SERVER_NAME)
            .with_context(|| format!("write the certificate into {}", directory.display()))?;
        Ok(directory)
    }
}
