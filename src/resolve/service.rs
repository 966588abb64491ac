//! Services: what a backend reference finds, and the clusters that stand for their ports.

use crate::{
    Inputs, Settings,
    backend_tls::BackendTlsPolicies,
    backend_traffic::BackendTraffic,
    http2,
    proxy_protocol::{Ports, SEND},
};
use api::{IntOrString, ServicePort};
use engine::{Engine, Table};
use model::{AppProtocol, BackendTls, Cluster, Discovery, ObjectKey, RetryBudget};
use std::sync::Arc;

/// The tables of Services.
#[derive(Clone, Copy)]
pub(crate) struct Services {
    /// What references need to know.
    pub(crate) shapes: Table<ObjectKey, ServiceShape>,
    /// A cluster for each port that we can speak to.
    pub(crate) clusters: Table<Arc<str>, Cluster>,
    /// What policies ask for of requests to them.
    pub(crate) traffic: Table<ObjectKey, BackendTraffic>,
}

/// A Service as references and endpoints see it: labels and the like are left out.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ServiceShape {
    pub(crate) ports: Vec<Port>,
    /// Why it can't be spoken to at all.
    pub(crate) fault: Option<Arc<str>>,
    /// The name that an ExternalName points to.
    external: Option<Arc<str>>,
}

/// A port of a Service.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Port {
    pub(crate) number: u16,
    /// As EndpointSlices repeat it; empty if it has none.
    pub(crate) name: Arc<str>,
    /// The cluster that stands for it.
    pub(crate) cluster: Arc<str>,
    pub(crate) transport: Transport,
    /// What it speaks, or what it says that is no HTTP.
    pub(crate) protocol: Result<AppProtocol, Arc<str>>,
    /// Whether it wants a PROXY header; then requests can't be sent to it, which share connections.
    proxy_protocol: bool,
    target: u16,
}

impl Port {
    /// The cluster that is spoken to in HTTP/2, whatever the port says of itself: callers of gRPC know better. See
    /// [`crate::http2`].
    pub(crate) fn http2_cluster(&self) -> Arc<str> {
        http2::name(&self.cluster, self.protocol.as_ref().ok().copied())
    }
}

/// What carries the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    Tcp,
    Udp,
    Sctp,
}

impl Transport {
    /// As Services and EndpointSlices write it.
    pub(crate) fn parse(protocol: Option<&str>) -> Self {
        match protocol {
            Some("UDP") => Self::Udp,
            Some("SCTP") => Self::Sctp,
            _ => Self::Tcp,
        }
    }
}

impl ServiceShape {
    /// The port of that number: a number may stand once for each transport.
    pub(crate) fn port(&self, number: u16, transport: Transport) -> Option<&Port> {
        let mut ports = self.ports.iter().filter(|port| port.number == number);
        ports.clone().find(|port| port.transport == transport).or_else(|| ports.next())
    }

    /// Whether its addresses come from EndpointSlices.
    pub(crate) fn has_endpoints(&self) -> bool {
        self.external.is_none()
    }
}

impl Port {
    /// Whether it speaks HTTP behind TLS: what a BackendTLSPolicy can provide.
    pub(crate) fn wants_tls(&self) -> bool {
        self.protocol.as_ref().is_err_and(|protocol| ["https", "kubernetes.io/wss"].contains(&&**protocol))
    }
}

pub(crate) fn declare(
    engine: &mut Engine,
    inputs: &Inputs,
    backend_tls: &BackendTlsPolicies,
    traffic: Table<ObjectKey, BackendTraffic>,
    settings: &Arc<Settings>,
) -> Services {
    let settings = settings.clone();
    let shapes = engine.derive("service shapes", &inputs.services, move |_, key, rows| {
        rows.iter().map(|service| (key.clone(), shape(key, service, &settings))).collect()
    });
    let backend_tls = *backend_tls;
    let clusters = engine.derive("clusters", &shapes, move |view, key, rows| {
        let retry_budget = view.get(&traffic, key).and_then(|traffic| traffic.retry_budget);
        let clusters = rows.iter().flat_map(|shape| shape.ports.iter().map(move |port| (shape, port)));
        let cluster = |(shape, port): (&Arc<ServiceShape>, &Port)| {
            let tls = backend_tls.of_port(view, key, &port.name);
            Some((port.cluster.clone(), cluster(shape, port, (tls, retry_budget))?))
        };
        clusters.filter_map(cluster).collect()
    });
    Services { shapes, clusters, traffic }
}

fn shape(key: &ObjectKey, service: &api::Service, settings: &Settings) -> ServiceShape {
    let spec = service.spec.as_ref();
    let is_external = spec.and_then(|spec| spec.type_.as_deref()) == Some("ExternalName");
    let external = spec.filter(|_| is_external).and_then(|spec| spec.external_name.as_deref());
    let announced = Ports::of(&service.metadata, SEND);
    let written = spec.and_then(|spec| spec.ports.as_deref()).unwrap_or_default();
    let mut ports: Vec<Port> = Vec::with_capacity(written.len());
    for port in written {
        let Ok(number) = u16::try_from(port.port) else { continue };
        let transport = Transport::parse(port.protocol.as_deref());
        let proxy_protocol =
            transport == Transport::Tcp && announced.as_ref().is_ok_and(|announced| announced.has(number));
        let protocol = if proxy_protocol { Err("the PROXY protocol".into()) } else { protocol(port) };
        let cluster = cluster_name(number, transport, key, settings);
        let name = port.name.as_deref().unwrap_or_default().into();
        let target = target(port).unwrap_or(number);
        let new = Port { number, name, cluster, transport, protocol, proxy_protocol, target };
        // The API server lets a number stand once for each transport.
        if ports.iter().all(|known| (known.number, known.transport) != (number, transport)) {
            ports.push(new);
        }
    }
    ServiceShape { ports, fault: announced.err().map(Arc::from), external: external.map(Arc::from) }
}

fn cluster_name(port: u16, transport: Transport, key: &ObjectKey, settings: &Settings) -> Arc<str> {
    let subset = match transport {
        Transport::Tcp => "",
        Transport::Udp => "udp",
        Transport::Sctp => "sctp",
    };
    format!("outbound|{port}|{subset}|{}.{}.svc.{}", key.name, key.namespace, settings.cluster_domain).into()
}

fn target(port: &ServicePort) -> Option<u16> {
    match port.target_port {
        Some(IntOrString::Int(number)) => u16::try_from(number).ok().filter(|number| *number > 0),
        _ => None,
    }
}

/// What a port speaks: by `appProtocol` (GEP-1911), else by the prefix of its name as Istio has it (`grpc-web` is
/// HTTP/1.1, `grpc-x` and `http2-x` are HTTP/2).
fn protocol(port: &ServicePort) -> Result<AppProtocol, Arc<str>> {
    if let Some(transport @ ("UDP" | "SCTP")) = port.protocol.as_deref() {
        return Err(transport.into());
    }
    match port.app_protocol.as_deref().map(str::to_ascii_lowercase).as_deref() {
        Some("kubernetes.io/h2c" | "h2c" | "http2" | "grpc") => Ok(AppProtocol::H2c),
        Some(foreign @ ("kubernetes.io/wss" | "https" | "tls" | "tcp" | "udp" | "mongo" | "mysql" | "redis")) => {
            Err(foreign.into())
        }
        Some(_) => Ok(AppProtocol::Http1),
        None => {
            let name = port.name.as_deref().unwrap_or_default();
            let is_http2 = name != "grpc-web" && !name.starts_with("grpc-web-");
            let prefix = name.split('-').next();
            Ok(if is_http2 && matches!(prefix, Some("grpc" | "http2")) { AppProtocol::H2c } else { AppProtocol::Http1 })
        }
    }
}

/// None for what is no TCP: sessions of datagrams have clusters by listener.
fn cluster(
    shape: &ServiceShape,
    port: &Port,
    (tls, retry_budget): (Option<BackendTls>, Option<RetryBudget>),
) -> Option<Cluster> {
    if port.transport != Transport::Tcp {
        return None;
    }
    let discovery = match &shape.external {
        None => Discovery::Endpoints,
        Some(host) => Discovery::Dns { host: host.clone(), port: port.target },
    };
    let protocol = match &port.protocol {
        Ok(protocol) => *protocol,
        Err(_) if port.wants_tls() && tls.is_some() => AppProtocol::Http1,
        Err(_) => AppProtocol::Opaque,
    };
    Some(Cluster { protocol, discovery, tls, proxy_protocol: port.proxy_protocol, retry_budget })
}
