//! Network filters without HTTP: policies, then the proxy of a stream; and the filter of datagrams.

use super::{
    access_log::access_log,
    at::{At, Fault, number, take},
    listener::ads,
    rbac,
};
use crate::config::{Name, PolicySource, ProxySource, StreamChain, TcpProxy, UdpProxy};
use proto::envoy::{
    envoy::{
        config::{
            core::v3::ExtensionConfigSource,
            listener::v3::{Filter, filter::ConfigType},
        },
        extensions::filters::{
            network::{
                rbac::v3::Rbac as RbacFilter,
                tcp_proxy::v3::{self as pb, tcp_proxy::ClusterSpecifier},
            },
            udp::udp_proxy::v3::{Route, UdpProxyConfig, udp_proxy_config::RouteSpecifier},
        },
    },
    google::protobuf::Any,
    xds::r#type::matcher::v3::{Matcher, matcher},
};
use std::{sync::Arc, time::Duration};

/// A connection on which nothing moves, if nothing else is said.
const IDLE: Duration = Duration::from_secs(3600);
/// A session of datagrams on which nothing moves, if nothing else is said.
const UDP_IDLE: Duration = Duration::from_secs(60);

/// Policies first, then a proxy.
pub(super) fn chain(at: &At<'_>, filters: Vec<Filter>) -> Result<StreamChain, Fault> {
    let mut policies = Vec::new();
    let last = filters.len().saturating_sub(1);
    for (index, filter) in filters.into_iter().enumerate() {
        let at = at.index(index);
        take!(at, filter => Filter { name, config_type } moot {} refuse {});
        let is_last = index == last;
        match config_type {
            Some(ConfigType::TypedConfig(any)) if is_last => {
                let proxy = proxy(&at.field("typed_config"), &any)?;
                return Ok(StreamChain { policies: policies.into(), proxy: ProxySource::Inline(Arc::new(proxy)) });
            }
            Some(ConfigType::TypedConfig(any)) => {
                policies.push(PolicySource::Inline(Arc::new(rbac::network_filter(&at.field("typed_config"), &any)?)));
            }
            Some(ConfigType::ConfigDiscovery(source)) => {
                let wanted = if is_last { url::<pb::TcpProxy>() } else { url::<RbacFilter>() };
                discovery(&at.field("config_discovery"), source, &wanted)?;
                let name = at.name(&name);
                if is_last {
                    return Ok(StreamChain { policies: policies.into(), proxy: ProxySource::Named(name) });
                }
                policies.push(PolicySource::Named(name));
            }
            None => return at.fail(format!("filter {name:?} has no configuration")),
        }
    }
    at.fail("wanted the HTTP connection manager, or the TCP proxy as the last filter")
}

pub(super) fn url<M: prost::Name>() -> String {
    M::type_url()
}

fn discovery(at: &At<'_>, source: ExtensionConfigSource, wanted: &str) -> Result<(), Fault> {
    // Warming without the filter, or a default in its place, would let connections by: the listener waits instead.
    take!(at, source => ExtensionConfigSource { config_source, type_urls } moot {}
        refuse { default_config, apply_default_config_without_warming });
    ads(&at.field("config_source"), config_source)?;
    match &*type_urls {
        [only] if only == wanted => Ok(()),
        others => at.field("type_urls").fail(format!("wanted {wanted} here, saw {}", others.join(", "))),
    }
}

pub(super) fn proxy(at: &At<'_>, any: &Any) -> Result<TcpProxy, Fault> {
    let proxy: pb::TcpProxy = at.unpack(any)?;
    // Policies are asked here before anything is sent either way, so that it needn't wait for the client's first byte.
    take!(at, proxy => pb::TcpProxy { cluster_specifier, idle_timeout, access_log, max_connect_attempts }
    moot {
        stat_prefix, upstream_connect_mode, max_early_data_bytes, check_drain_close, access_log_flush_interval,
        flush_access_log_on_connected, access_log_options,
    }
    refuse {
        on_demand, metadata_match, downstream_idle_timeout, upstream_idle_timeout, backoff_options, hash_policy,
        tunneling_config, max_downstream_connection_duration, max_downstream_connection_duration_jitter_percentage,
        proxy_protocol_tlvs, proxy_protocol_tlv_merge_policy,
    });
    let clusters = match at.want("cluster", cluster_specifier)? {
        ClusterSpecifier::Cluster(name) => vec![(at.name(&name), 1)],
        ClusterSpecifier::WeightedClusters(weighted) => {
            let at = at.field("weighted_clusters");
            let at = at.field("clusters");
            weights(&at, weighted.clusters)?
        }
    };
    let at_logs = at.field("access_log");
    let logs = access_log.into_iter().enumerate().map(|(index, log)| self::access_log(&at_logs.index(index), log));
    let connect_attempts = match number(max_connect_attempts).unwrap_or(1) {
        0 => return at.field("max_connect_attempts").fail("wanted one or more, saw 0"),
        attempts => attempts,
    };
    Ok(TcpProxy {
        clusters: clusters.into(),
        idle_timeout: at.limit("idle_timeout", idle_timeout, Some(IDLE))?,
        connect_attempts,
        access_logs: logs.collect::<Result<_, _>>()?,
    })
}

fn weights(
    at: &At<'_>,
    clusters: Vec<pb::tcp_proxy::weighted_cluster::ClusterWeight>,
) -> Result<Vec<(Name, u32)>, Fault> {
    let weights = clusters.into_iter().enumerate().map(|(index, cluster)| {
        let at = at.index(index);
        take!(at, cluster => pb::tcp_proxy::weighted_cluster::ClusterWeight { name, weight } moot {}
            refuse { metadata_match });
        match weight {
            0 => at.field("weight").fail("wanted one or more, saw 0"),
            weight => Ok((at.name(&name), weight)),
        }
    });
    let weights = weights.collect::<Result<Vec<_>, _>>()?;
    if weights.is_empty() { at.fail("wanted a cluster, saw none") } else { Ok(weights) }
}

/// The filter of datagrams: one cluster for all of them.
pub(super) fn udp(at: &At<'_>, any: &Any) -> Result<UdpProxy, Fault> {
    let proxy: UdpProxyConfig = at.unpack(any)?;
    take!(at, proxy => UdpProxyConfig { idle_timeout, route_specifier }
    moot { stat_prefix, upstream_socket_config, access_log_options }
    refuse {
        use_original_src_ip, hash_policies, use_per_packet_load_balancing, access_log, proxy_access_log,
        session_filters, tunneling_config,
    });
    let at_matcher = at.field("matcher");
    let Some(RouteSpecifier::Matcher(matcher)) = route_specifier else {
        return at_matcher.fail("wanted a matcher");
    };
    take!(at_matcher, matcher => Matcher { on_no_match } moot {} refuse { matcher_type });
    let action = on_no_match.map(|on_no_match| *on_no_match).and_then(|on_no_match| on_no_match.on_match);
    let Some(matcher::on_match::OnMatch::Action(action)) = action else {
        return at_matcher.field("on_no_match").fail("wanted an action");
    };
    let at_action = at_matcher.field("on_no_match");
    let Route { cluster } = at_action.unpack(&at_action.want("typed_config", action.typed_config)?)?;
    let idle_timeout = at.limit("idle_timeout", idle_timeout, Some(UDP_IDLE))?.unwrap_or(UDP_IDLE);
    Ok(UdpProxy { cluster: at.name(&cluster), idle_timeout })
}
