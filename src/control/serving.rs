//! Flags of what is the same in every cluster: ports, names, what data planes are told.

use crate::{Options, Source};
use base::log;
use clap::{Args, ValueEnum};
use model::{DataPlane, TrustDomain};
use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
};

/// How lines of the log look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Ports, names, and what data planes are told.
#[derive(Args, Clone, Debug)]
#[group(skip)]
pub struct Flags {
    /// Address for xDS and certificates over TLS.
    #[arg(long, value_name = "ADDR", default_value = "[::]:15012")]
    xds: SocketAddr,
    /// Address for xDS without TLS: whoever reaches it sees everything, keys included. Off by default.
    #[arg(long, value_name = "ADDR")]
    plaintext: Option<SocketAddr>,
    /// Address of /metrics, /version and /debug/...: debug pages are for this machine, and for holders of a token of a
    /// service account of the control plane's namespace.
    #[arg(long, value_name = "ADDR", default_value = "[::]:15014")]
    admin: SocketAddr,
    /// Address of /ready and /live.
    #[arg(long, value_name = "ADDR", default_value = "[::]:8080")]
    health: SocketAddr,
    /// Directory with the key and certificates of another authority (ca-cert.pem, ca-key.pem, ...). If it holds none, a
    /// root of our own is kept in Secret windlass-ca-secret.
    #[arg(long, value_name = "DIR", default_value = "/etc/cacerts")]
    ca: PathBuf,
    /// The trust domain of the identities that are vouched for.
    #[arg(long, value_name = "DOMAIN", default_value = "cluster.local")]
    trust_domain: String,
    /// `spec.controllerName` of GatewayClasses that are ours, and what serves their Gateways: `windlass` or `envoy`. With
    /// `istio.io/gateway-controller` the class `istio` is ours.
    #[arg(long = "controller", value_name = "NAME=PROXY", value_parser = controller, value_delimiter = ',',
          default_value = "windlass.io/gateway-controller=windlass,windlass.io/envoy-gateway-controller=envoy")]
    controllers: Vec<(String, DataPlane)>,
    /// The domain of Services.
    #[arg(long, value_name = "DOMAIN", default_value = "cluster.local")]
    cluster_domain: String,
    /// Policies in this namespace hold for the whole mesh.
    #[arg(long, value_name = "NAME", default_value = "istio-system")]
    root_namespace: String,
    /// What the log looks like.
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    log_format: LogFormat,
}

fn controller(text: &str) -> Result<(String, DataPlane), String> {
    let wanted = || format!("wanted <controller>=windlass or <controller>=envoy, saw {text:?}");
    let (name, proxy) = text.rsplit_once('=').filter(|(name, _)| !name.is_empty()).ok_or_else(wanted)?;
    match proxy {
        "windlass" => Ok((name.into(), DataPlane::Windlass)),
        "envoy" => Ok((name.into(), DataPlane::Envoy)),
        _ => Err(wanted()),
    }
}

impl Flags {
    /// What the log looks like.
    pub fn log_format(&self) -> log::Format {
        match self.log_format {
            LogFormat::Text => log::Format::Text,
            LogFormat::Json => log::Format::Json,
        }
    }

    /// As the control plane wants it.
    pub fn options(self, source: Source) -> Options {
        let Self { xds, plaintext, admin, health, ca, controllers, cluster_domain, root_namespace, .. } = self;
        Options {
            source,
            data: PathBuf::new(),
            plug_in_ca: Some(ca),
            trust_domain: TrustDomain::new(&self.trust_domain),
            resolve: resolve::Settings {
                controllers: controllers.into_iter().map(|(name, proxy)| (name.into(), proxy)).collect(),
                reach: resolve::Reach::ByService,
                cluster_domain: cluster_domain.into(),
                root_namespace: root_namespace.into(),
                ..resolve::Settings::default()
            },
            translate: translate::Settings {
                bind: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
                port_offset: 0,
                access_log: translate::AccessLog::Text,
            },
            xds,
            plaintext,
            admin: Some(admin),
            health: Some(health),
            threads: std::thread::available_parallelism().map_or(1, usize::from).min(8),
        }
    }
}
