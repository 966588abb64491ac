//! Streams: filter chains that pass bytes on, and where they go.
//!
//! A chain only names its filters; what they are is discovered. So a route, a backend or a policy never changes a
//! listener, and a connection that is open keeps what it was opened with.

use crate::{Settings, access_log::access_log, rbac, wire};
use model::{Protocol, Stream, StreamKey};
use prost::Name;
use proto::{
    Resource,
    envoy::envoy::{
        config::{
            core::v3::{ExtensionConfigSource, TypedExtensionConfig},
            listener::v3::{Filter, filter},
        },
        extensions::filters::network::{
            rbac::v3::Rbac,
            tcp_proxy::v3::{
                TcpProxy, UpstreamConnectMode,
                tcp_proxy::{ClusterSpecifier, WeightedCluster, weighted_cluster::ClusterWeight},
            },
        },
    },
};

/// A cluster that never exists: a connection that would go there is closed at once.
pub(crate) const NO_BACKEND: &str = "invalid-backend";
/// A connection on which nothing moves either way.
const IDLE_SECONDS: i64 = 3600;
/// Tries to connect, each to another endpoint if there is one.
const CONNECT_ATTEMPTS: u32 = 3;

/// The name of a stream: of its filter chain, its proxy filter, or its cluster of datagrams.
pub(crate) fn stream_name(key: &StreamKey) -> String {
    let port = key.port;
    match key.protocol {
        Protocol::Udp => format!("udp.{port}"),
        Protocol::Tls => format!("tls.{port}/{}", key.host),
        _ => format!("tcp.{port}"),
    }
}

/// The filters of a stream's chain, all discovered: nothing passes until every one of them has come.
pub(crate) fn filters(key: &StreamKey) -> Vec<Filter> {
    let policies = [rbac::STREAM_DENY, rbac::STREAM_ALLOW].map(|name| discovered(name, Rbac::type_url()));
    policies.into_iter().chain([discovered(&stream_name(key), TcpProxy::type_url())]).collect()
}

/// A filter that closes every connection.
pub(crate) fn closing(settings: &Settings) -> Filter {
    let proxy = tcp_proxy(settings, "closed".to_owned(), &Stream::default());
    Filter {
        name: "envoy.filters.network.tcp_proxy".to_owned(),
        config_type: Some(filter::ConfigType::TypedConfig(wire::any(&proxy))),
    }
}

fn discovered(name: &str, type_url: String) -> Filter {
    Filter {
        name: name.to_owned(),
        config_type: Some(filter::ConfigType::ConfigDiscovery(ExtensionConfigSource {
            config_source: Some(wire::ads()),
            type_urls: vec![type_url],
            ..Default::default()
        })),
    }
}

/// Where a stream goes, as the filter that its chain names.
///
/// Envoy asks policies when the first bytes of the client arrive, and would have passed on by then what a server says
/// first. Where there are policies it therefore waits for the client before it connects.
pub(crate) fn proxy(settings: &Settings, key: &StreamKey, stream: &Stream, is_guarded: bool) -> Resource {
    let name = stream_name(key);
    let mut proxy = tcp_proxy(settings, name.clone(), stream);
    if is_guarded {
        proxy.upstream_connect_mode = UpstreamConnectMode::OnDownstreamData.into();
        proxy.max_early_data_bytes = wire::uint(crate::BUFFER_LIMIT);
    }
    Resource::encode(&TypedExtensionConfig { name, typed_config: Some(wire::any(&proxy)) })
}

fn tcp_proxy(settings: &Settings, stat_prefix: String, stream: &Stream) -> TcpProxy {
    let name = |cluster: &Option<std::sync::Arc<str>>| cluster.as_deref().unwrap_or(NO_BACKEND).to_owned();
    let cluster = match &*stream.backends {
        [] => ClusterSpecifier::Cluster(NO_BACKEND.to_owned()),
        [only] => ClusterSpecifier::Cluster(name(&only.cluster)),
        backends => {
            let weighted = backends.iter().map(|backend| ClusterWeight {
                name: name(&backend.cluster),
                weight: backend.weight,
                ..Default::default()
            });
            ClusterSpecifier::WeightedClusters(WeightedCluster { clusters: weighted.collect() })
        }
    };
    TcpProxy {
        stat_prefix,
        cluster_specifier: Some(cluster),
        idle_timeout: Some(wire::seconds(IDLE_SECONDS)),
        max_connect_attempts: wire::uint(CONNECT_ATTEMPTS),
        access_log: access_log(settings.access_log),
        ..Default::default()
    }
}
