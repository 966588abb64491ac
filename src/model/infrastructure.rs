//! What a Gateway's proxies run as: the objects of a cluster that are to be made for it, in our own words.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

/// What serves a Gateway's traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DataPlane {
    /// Our own proxy.
    Windlass,
    /// Stock Envoy.
    Envoy,
}

/// How the Service of a Gateway is reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Exposure {
    /// From outside, at an address of its own.
    #[default]
    LoadBalancer,
    /// From outside, at a port of each node.
    NodePort,
    /// From within the cluster.
    ClusterIp,
}

/// A port that the Service of a Gateway has.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServedPort {
    /// The number; the proxies listen on the same.
    pub port: u16,
    /// Whether it takes datagrams.
    pub is_udp: bool,
    /// What it speaks, by the first of its listeners.
    pub protocol: crate::Protocol,
}

/// What is to be made for a Gateway.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Infrastructure {
    /// The Gateway's uid: what is made for it goes with it.
    pub uid: Arc<str>,
    /// The name of its GatewayClass.
    pub class: Arc<str>,
    /// Who minds that class.
    pub controller: Arc<str>,
    /// What serves.
    pub data_plane: DataPlane,
    /// The name of what is made.
    pub name: Arc<str>,
    /// The service account of its pods.
    pub account: Arc<str>,
    /// Labels that everything gets.
    pub labels: BTreeMap<String, String>,
    /// Annotations that everything gets.
    pub annotations: BTreeMap<String, String>,
    /// How its Service is reached.
    pub exposure: Exposure,
    /// What its Service has; never empty unless nothing is to be changed.
    pub ports: Vec<ServedPort>,
    /// Addresses that are asked for.
    pub addresses: Vec<IpAddr>,
    /// What is laid over what is made: a JSON object by kind of object, as `spec.infrastructure.parametersRef` names it.
    pub overlays: BTreeMap<Overlay, Arc<str>>,
    /// Whether the Gateway isn't accepted now: then nothing is made, and what stands stays as it is.
    pub is_held: bool,
}

/// What an overlay is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "the names say it all")]
pub enum Overlay {
    Deployment,
    Service,
    ServiceAccount,
    PodDisruptionBudget,
    HorizontalPodAutoscaler,
}

impl Overlay {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Deployment,
        Self::Service,
        Self::ServiceAccount,
        Self::PodDisruptionBudget,
        Self::HorizontalPodAutoscaler,
    ];

    /// The key that it has in a ConfigMap.
    pub fn key(self) -> &'static str {
        match self {
            Self::Deployment => "deployment",
            Self::Service => "service",
            Self::ServiceAccount => "serviceAccount",
            Self::PodDisruptionBudget => "podDisruptionBudget",
            Self::HorizontalPodAutoscaler => "horizontalPodAutoscaler",
        }
    }
}
