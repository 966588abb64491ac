//! Clusters and their endpoints.

use crate::{tls, wire};
use model::{AppProtocol, BackendTls, CertificateKey, Cluster, Discovery, Endpoints, Health, RetryBudget};
use prost::Name;
use proto::{
    Resource,
    envoy::envoy::{
        config::{
            cluster::v3::{
                CircuitBreakers, Cluster as EnvoyCluster,
                circuit_breakers::{Thresholds, thresholds},
                cluster::{
                    ClusterDiscoveryType, CommonLbConfig, DiscoveryType, DnsLookupFamily, EdsClusterConfig, LbPolicy,
                },
            },
            core::v3::{
                Address, HealthStatus, Http2ProtocolOptions, Locality, ProxyProtocolConfig, TransportSocket,
                proxy_protocol_config, transport_socket,
            },
            endpoint::v3::{
                ClusterLoadAssignment, Endpoint as EnvoyEndpoint, LbEndpoint, LocalityLbEndpoints,
                lb_endpoint::HostIdentifier,
            },
        },
        extensions::{
            transport_sockets::{proxy_protocol::v3::ProxyProtocolUpstreamTransport, raw_buffer::v3::RawBuffer},
            upstreams::http::v3::{
                HttpProtocolOptions,
                http_protocol_options::{
                    ExplicitHttpConfig, UpstreamProtocolOptions, explicit_http_config::ProtocolConfig,
                },
            },
        },
        r#type::v3::Percent,
    },
};
use std::{collections::BTreeMap, sync::Arc};

/// Envoy's name of the options of upstream HTTP.
const HTTP_OPTIONS: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
/// How long a connection may take to come up; a retry goes elsewhere.
const CONNECT_SECONDS: i64 = 5;

/// A cluster: least request over healthy endpoints only. Envoy's circuit breakers stand so high that they don't act, but
/// for retries where a policy says how many there may be.
/// Where TLS starts, `of_gateway` is the certificate that the Gateway shows to backends.
pub(crate) fn cluster(name: &str, cluster: &Cluster, of_gateway: Option<&CertificateKey>) -> Resource {
    let thresholds = Thresholds {
        max_connections: wire::uint(u32::MAX),
        max_pending_requests: wire::uint(u32::MAX),
        max_requests: wire::uint(u32::MAX),
        max_retries: wire::uint(1024),
        retry_budget: cluster.retry_budget.as_ref().map(retry_budget),
        ..Default::default()
    };
    let mut message = EnvoyCluster {
        name: name.to_owned(),
        connect_timeout: Some(wire::seconds(CONNECT_SECONDS)),
        lb_policy: LbPolicy::LeastRequest.into(),
        per_connection_buffer_limit_bytes: wire::uint(crate::BUFFER_LIMIT),
        circuit_breakers: Some(CircuitBreakers { thresholds: vec![thresholds], ..Default::default() }),
        // Endpoints that aren't ready get nothing, even if none is ready: Kubernetes knows better than a panic.
        common_lb_config: Some(CommonLbConfig {
            healthy_panic_threshold: Some(Percent::default()),
            ..Default::default()
        }),
        ignore_health_on_host_removal: true,
        ..Default::default()
    };
    match &cluster.discovery {
        // Nobody may be spoken to: 503 at once.
        _ if cluster.tls == Some(BackendTls::Broken) => {
            message.cluster_discovery_type = Some(ClusterDiscoveryType::Type(DiscoveryType::Static.into()));
        }
        Discovery::Endpoints => {
            message.cluster_discovery_type = Some(ClusterDiscoveryType::Type(DiscoveryType::Eds.into()));
            message.eds_cluster_config = Some(EdsClusterConfig { eds_config: Some(wire::ads()), ..Default::default() });
        }
        Discovery::Dns { host, port } => {
            message.cluster_discovery_type = Some(ClusterDiscoveryType::Type(DiscoveryType::StrictDns.into()));
            message.dns_lookup_family = DnsLookupFamily::V4Preferred.into();
            message.load_assignment = Some(ClusterLoadAssignment {
                cluster_name: name.to_owned(),
                endpoints: vec![LocalityLbEndpoints {
                    lb_endpoints: vec![endpoint(wire::address(host, *port), HealthStatus::Unknown)],
                    ..Default::default()
                }],
                ..Default::default()
            });
        }
    }
    if let Some(BackendTls::Originate(originate)) = &cluster.tls {
        message.transport_socket = Some(tls::upstream(originate, cluster.protocol, of_gateway));
    }
    if cluster.proxy_protocol {
        let around = message.transport_socket.take().unwrap_or_else(cleartext);
        message.transport_socket = Some(announced(around));
    }
    if cluster.protocol == AppProtocol::H2c {
        // The only entry: the order of a map isn't defined.
        message.typed_extension_protocol_options.insert(HTTP_OPTIONS.to_owned(), wire::any(&prior_knowledge()));
    }
    Resource::encode(&message)
}

fn retry_budget(budget: &RetryBudget) -> thresholds::RetryBudget {
    thresholds::RetryBudget {
        budget_percent: Some(Percent { value: budget.percent.into() }),
        budget_interval: Some(wire::duration(budget.interval)),
        min_retry_concurrency: wire::uint(budget.least),
    }
}

/// Whether no endpoints are to be sent: names of DNS stand in the cluster, and one without a way to it has none.
pub(crate) fn is_known_by_itself(cluster: &Cluster) -> bool {
    cluster.discovery != Discovery::Endpoints || cluster.tls == Some(BackendTls::Broken)
}

/// A socket whose connections start with a header that says whom they are for.
fn announced(around: TransportSocket) -> TransportSocket {
    let version = proxy_protocol_config::Version::V2.into();
    socket(
        "envoy.transport_sockets.upstream_proxy_protocol",
        &ProxyProtocolUpstreamTransport {
            config: Some(ProxyProtocolConfig { version, ..Default::default() }),
            transport_socket: Some(around),
            ..Default::default()
        },
    )
}

fn cleartext() -> TransportSocket {
    socket("envoy.transport_sockets.raw_buffer", &RawBuffer::default())
}

fn socket(name: &str, config: &impl Name) -> TransportSocket {
    let config_type = Some(transport_socket::ConfigType::TypedConfig(wire::any(config)));
    TransportSocket { name: name.to_owned(), config_type }
}

/// HTTP/2 without negotiation.
fn prior_knowledge() -> HttpProtocolOptions {
    let http2 = Http2ProtocolOptions {
        initial_stream_window_size: wire::uint(crate::STREAM_WINDOW),
        initial_connection_window_size: wire::uint(crate::CONNECTION_WINDOW),
        ..Default::default()
    };
    HttpProtocolOptions {
        upstream_protocol_options: Some(UpstreamProtocolOptions::ExplicitHttpConfig(ExplicitHttpConfig {
            protocol_config: Some(ProtocolConfig::Http2ProtocolOptions(http2)),
        })),
        ..Default::default()
    }
}

/// The endpoints of a cluster by zone; none is an answer too.
pub(crate) fn endpoints(cluster: &str, endpoints: &Endpoints) -> Resource {
    let mut zones: BTreeMap<Option<&Arc<str>>, Vec<LbEndpoint>> = BTreeMap::new();
    for one in &endpoints.0 {
        let health = match one.health {
            Health::Healthy => HealthStatus::Healthy,
            Health::Unhealthy => HealthStatus::Unhealthy,
        };
        zones
            .entry(one.zone.as_ref())
            .or_default()
            .push(endpoint(wire::address(&one.address.to_string(), one.port), health));
    }
    let zones = zones.into_iter().map(|(zone, lb_endpoints)| LocalityLbEndpoints {
        locality: zone.map(|zone| Locality { zone: zone.to_string(), ..Default::default() }),
        lb_endpoints,
        ..Default::default()
    });
    Resource::encode(&ClusterLoadAssignment {
        cluster_name: cluster.to_owned(),
        endpoints: zones.collect(),
        ..Default::default()
    })
}

pub(crate) fn endpoint(address: Address, health: HealthStatus) -> LbEndpoint {
    let endpoint = EnvoyEndpoint { address: Some(address), ..Default::default() };
    LbEndpoint {
        health_status: health.into(),
        host_identifier: Some(HostIdentifier::Endpoint(endpoint)),
        ..Default::default()
    }
}
