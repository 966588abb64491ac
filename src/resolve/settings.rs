//! What an installation decides once.

use model::DataPlane;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

/// What an installation decides once.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `spec.controllerName` of the GatewayClasses that are ours, and what serves their Gateways.
    pub controllers: BTreeMap<Arc<str>, DataPlane>,
    /// The domain of Services, such as `cluster.local`.
    pub cluster_domain: Arc<str>,
    /// Policies in this namespace hold for the whole mesh.
    pub root_namespace: Arc<str>,
    /// What Gateways' proxies are reached at.
    pub reach: Reach,
    /// Ports that the proxies need themselves; a listener can't have them.
    pub reserved_ports: BTreeSet<u16>,
}

/// What Gateways' proxies are reached at; a Gateway that asks for something else doesn't get it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    /// All of them at these addresses, as on a laptop.
    At(Vec<IpAddr>),
    /// Each at what the Service says that was made for it, or that it names.
    ByService,
}

/// `spec.controllerName` of the class `windlass`.
pub const CONTROLLER: &str = "windlass.io/gateway-controller";
/// `spec.controllerName` of the class `windlass-envoy`.
pub const ENVOY_CONTROLLER: &str = "windlass.io/envoy-gateway-controller";

impl Default for Settings {
    fn default() -> Self {
        let controllers = [(CONTROLLER, DataPlane::Windlass), (ENVOY_CONTROLLER, DataPlane::Envoy)];
        Self {
            controllers: controllers.into_iter().map(|(name, data_plane)| (name.into(), data_plane)).collect(),
            cluster_domain: "cluster.local".into(),
            root_namespace: "istio-system".into(),
            reach: Reach::At(Vec::new()),
            // Envoy's admin page, and the metrics and readiness ports that Istio's gateways have.
            reserved_ports: BTreeSet::from([15000, 15020, 15021, 15090]),
        }
    }
}
