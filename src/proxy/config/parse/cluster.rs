//! CDS.

use super::{
    ParsedCluster,
    at::{At, Fault, number, take},
    endpoint,
    http::{http1, http2},
    listener::ads,
    tls,
};
use crate::config::{
    Balance, ClusterSpec, Discovery, Endpoints, Http2Limits, Limits, Name, RetryBudget, Upstream, UpstreamTls,
};
use proto::envoy::{
    envoy::{
        config::{
            cluster::v3::{
                self as pb,
                circuit_breakers::{Thresholds, thresholds},
                cluster::{
                    ClusterDiscoveryType, CommonLbConfig, DiscoveryType, EdsClusterConfig, LbConfig, LbPolicy,
                    LeastRequestLbConfig, RoundRobinLbConfig,
                },
            },
            core::v3::{
                HttpProtocolOptions as CommonOptions, ProxyProtocolConfig, RoutingPriority, TransportSocket,
                proxy_protocol_config, transport_socket,
            },
        },
        extensions::{
            transport_sockets::proxy_protocol::v3::ProxyProtocolUpstreamTransport,
            upstreams::http::v3::{
                HttpProtocolOptions,
                http_protocol_options::{
                    ExplicitHttpConfig, UpstreamProtocolOptions, UseDownstreamHttpConfig,
                    explicit_http_config::ProtocolConfig,
                },
            },
        },
    },
    google::protobuf::Any,
};
use std::{collections::HashMap, time::Duration};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const DNS_REFRESH: Duration = Duration::from_secs(5);
const IDLE_TIMEOUT: Duration = Duration::from_secs(3600);
/// Envoy's thresholds, where none are given.
const LIMITS: Limits = Limits {
    max_connections: 1024,
    max_pending_requests: 1024,
    max_requests: 1024,
    max_retries: 3,
    retry_budget: None,
};
const HTTP_OPTIONS: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";

pub(super) fn cluster(at: &At<'_>, name: &Name, message: pb::Cluster) -> Result<ParsedCluster, Fault> {
    at.same_name(name, &message.name)?;
    // How DNS is asked, how often a pool is cleaned and what is counted is this proxy's own business.
    take!(at, message => pb::Cluster {
        eds_cluster_config, connect_timeout, lb_policy, load_assignment, max_requests_per_connection,
        circuit_breakers, typed_extension_protocol_options, dns_refresh_rate, common_lb_config, transport_socket,
        cluster_discovery_type, lb_config,
    }
    moot {
        name, alt_stat_name, stats_matcher, metadata, per_connection_buffer_limit_bytes, respect_dns_ttl,
        per_connection_buffer_high_watermark_timeout, dns_jitter, dns_failure_refresh_rate, dns_lookup_family,
        wait_for_warm_on_init, cleanup_interval, ignore_health_on_host_removal, track_timeout_budgets,
        track_cluster_stats, upstream_connection_options, close_connections_on_host_health_failure,
        preconnect_policy,
    }
    refuse {
        transport_socket_matches, transport_socket_matcher, health_checks, upstream_http_protocol_options,
        common_http_protocol_options, http_protocol_options, http2_protocol_options, dns_resolvers,
        use_tcp_for_dns_lookups, dns_resolution_config, typed_dns_resolver_config, outlier_detection,
        upstream_bind_config, lb_subset_config, protocol_selection, filters, load_balancing_policy, lrs_server,
        lrs_report_endpoint_metrics, upstream_config, connection_pool_per_downstream_connection, queuing_policies,
    });
    let (proxy_protocol, tls) = transport(&at.field("transport_socket"), transport_socket)?;
    let http = http(&at.field("typed_extension_protocol_options"), typed_extension_protocol_options)?;
    let refresh = at.duration("dns_refresh_rate", dns_refresh_rate)?.unwrap_or(DNS_REFRESH);
    let mut spec = ClusterSpec {
        name: name.clone(),
        discovery: Discovery::Endpoints,
        eds: None,
        balance: balance(at, lb_policy, lb_config)?,
        panic_threshold: panic_threshold(&at.field("common_lb_config"), common_lb_config)?,
        upstream: http.upstream,
        http2: http.http2,
        tls,
        proxy_protocol,
        connect_timeout: at.duration("connect_timeout", connect_timeout)?.unwrap_or(CONNECT_TIMEOUT),
        idle_timeout: http.idle_timeout,
        max_connection_duration: http.max_connection_duration,
        max_requests_per_connection: number(max_requests_per_connection).unwrap_or(http.max_requests),
        limits: limits(&at.field("circuit_breakers"), circuit_breakers)?,
    };
    let at_assignment = at.field("load_assignment");
    let mut endpoints = None;
    match kind(at, cluster_discovery_type)? {
        DiscoveryType::Eds => spec.eds = Some(eds(&at.field("eds_cluster_config"), name, eds_cluster_config)?),
        DiscoveryType::Static => {
            let parsed: Endpoints = endpoint::assignment(&at_assignment, load_assignment.unwrap_or_default())?;
            endpoints = Some(parsed);
        }
        kind @ (DiscoveryType::StrictDns | DiscoveryType::LogicalDns) => {
            let hosts = endpoint::hosts(&at_assignment, load_assignment.unwrap_or_default())?;
            spec.discovery = Discovery::Dns { hosts, refresh, all: kind == DiscoveryType::StrictDns };
            endpoints = Some(Endpoints::default());
        }
        DiscoveryType::OriginalDst => return at.field("type").fail("this proxy doesn't support ORIGINAL_DST"),
    }
    Ok(ParsedCluster { spec, endpoints })
}

/// Whether a PROXY header comes first, and TLS.
fn transport(at: &At<'_>, socket: Option<TransportSocket>) -> Result<(bool, Option<UpstreamTls>), Fault> {
    match socket {
        None => Ok((false, None)),
        Some(TransportSocket { config_type: Some(transport_socket::ConfigType::TypedConfig(any)), .. })
            if any.type_url == <ProxyProtocolUpstreamTransport as prost::Name>::type_url() =>
        {
            let at = at.field("typed_config");
            let around: ProxyProtocolUpstreamTransport = at.unpack(&any)?;
            take!(at, around => ProxyProtocolUpstreamTransport { config, transport_socket }
                moot { tlv_as_pool_key } refuse { allow_unspecified_address });
            let at_config = at.field("config");
            let config = config.unwrap_or_default();
            take!(at_config, config => ProxyProtocolConfig { version } moot {} refuse { pass_through_tlvs, added_tlvs });
            if version != i32::from(proxy_protocol_config::Version::V2) {
                return at_config.field("version").fail("wanted V2");
            }
            let inside = at.want("transport_socket", transport_socket)?;
            Ok((true, tls::upstream(&at.field("transport_socket"), inside)?))
        }
        Some(socket) => Ok((false, tls::upstream(at, socket)?)),
    }
}

fn kind(at: &At<'_>, kind: Option<ClusterDiscoveryType>) -> Result<DiscoveryType, Fault> {
    match kind {
        None => Ok(DiscoveryType::Static),
        Some(ClusterDiscoveryType::Type(kind)) => {
            DiscoveryType::try_from(kind).map_err(|_| at.field("type").fault(format!("unknown value {kind}")))
        }
        Some(ClusterDiscoveryType::ClusterType(_)) => {
            at.field("cluster_type").fail("this proxy doesn't support this field")
        }
    }
}

fn eds(at: &At<'_>, cluster: &Name, config: Option<EdsClusterConfig>) -> Result<Name, Fault> {
    let config = config.unwrap_or_default();
    take!(at, config => EdsClusterConfig { eds_config, service_name } moot {} refuse {});
    ads(&at.field("eds_config"), eds_config)?;
    Ok(if service_name.is_empty() { cluster.clone() } else { at.name(&service_name) })
}

fn balance(at: &At<'_>, policy: i32, config: Option<LbConfig>) -> Result<Balance, Fault> {
    let least = |config: Option<LeastRequestLbConfig>| {
        let at = at.field("least_request_lb_config");
        let config = config.unwrap_or_default();
        take!(at, config => LeastRequestLbConfig { choice_count } moot {} refuse { active_request_bias, slow_start_config });
        match number(choice_count).unwrap_or(2) {
            choices @ 2.. => Ok(Balance::LeastRequest { choices }),
            choices => at.field("choice_count").fail(format!("wanted 2 or more, saw {choices}")),
        }
    };
    match (LbPolicy::try_from(policy), config) {
        (Ok(LbPolicy::LeastRequest), None) => least(None),
        (Ok(LbPolicy::LeastRequest), Some(LbConfig::LeastRequestLbConfig(config))) => least(Some(config)),
        (Ok(LbPolicy::RoundRobin), None) => Ok(Balance::RoundRobin),
        (Ok(LbPolicy::RoundRobin), Some(LbConfig::RoundRobinLbConfig(config))) => {
            let at = at.field("round_robin_lb_config");
            take!(at, config => RoundRobinLbConfig {} moot {} refuse { slow_start_config });
            Ok(Balance::RoundRobin)
        }
        (Ok(LbPolicy::Random), None) => Ok(Balance::Random),
        _ => at.field("lb_policy").fail("wanted ROUND_ROBIN, LEAST_REQUEST or RANDOM, with its own lb_config if any"),
    }
}

/// Percent of healthy endpoints below which all are used; Envoy's default is 50.
fn panic_threshold(at: &At<'_>, config: Option<CommonLbConfig>) -> Result<u8, Fault> {
    let config = config.unwrap_or_default();
    take!(at, config => CommonLbConfig { healthy_panic_threshold, locality_config_specifier }
        moot { update_merge_window, ignore_new_hosts_until_first_hc }
        refuse { close_connections_on_host_set_change, consistent_hashing_lb_config, override_host_status });
    // Where endpoints are few, all localities of a priority are one: zone awareness is left to the weights of endpoints.
    if locality_config_specifier.is_some() {
        return at.field("locality_config_specifier").fail("this proxy doesn't support this field");
    }
    match healthy_panic_threshold.map_or(50.0, |percent| percent.value) {
        percent if (0.0..=100.0).contains(&percent) => Ok(percent as u8),
        percent => at.field("healthy_panic_threshold").fail(format!("wanted 0 to 100, saw {percent}")),
    }
}

fn limits(at: &At<'_>, breakers: Option<pb::CircuitBreakers>) -> Result<Limits, Fault> {
    let breakers = breakers.unwrap_or_default();
    take!(at, breakers => pb::CircuitBreakers { thresholds } moot {} refuse { per_host_thresholds });
    let at_thresholds = at.field("thresholds");
    let mut limits = LIMITS;
    for (index, threshold) in thresholds.into_iter().enumerate() {
        let at = at_thresholds.index(index);
        take!(at, threshold => Thresholds { priority, max_connections, max_pending_requests, max_requests, max_retries, retry_budget }
            moot { track_remaining } refuse { max_connection_pools });
        // Routes of high priority are treated like all others.
        if RoutingPriority::try_from(priority) == Ok(RoutingPriority::Default) {
            limits = Limits {
                max_connections: number(max_connections).unwrap_or(LIMITS.max_connections),
                max_pending_requests: number(max_pending_requests).unwrap_or(LIMITS.max_pending_requests),
                max_requests: number(max_requests).unwrap_or(LIMITS.max_requests),
                max_retries: number(max_retries).unwrap_or(LIMITS.max_retries),
                retry_budget: retry_budget.map(|budget| self::retry_budget(&at, budget)).transpose()?,
            };
        }
    }
    Ok(limits)
}

/// Without a number, Envoy's.
fn retry_budget(at: &At<'_>, budget: thresholds::RetryBudget) -> Result<RetryBudget, Fault> {
    let at = at.field("retry_budget");
    take!(at, budget => thresholds::RetryBudget { budget_percent, budget_interval, min_retry_concurrency } moot {} refuse {});
    let percent = budget_percent.map_or(20.0, |percent| percent.value);
    if !(0.0..=100.0).contains(&percent) {
        return at.field("budget_percent").fail(format!("wanted 0 to 100, saw {percent}"));
    }
    Ok(RetryBudget {
        per_million: (percent * 10_000.0) as u32,
        interval: at.duration("budget_interval", budget_interval)?.unwrap_or_default(),
        least: number(min_retry_concurrency).unwrap_or(3),
    })
}

struct Http {
    upstream: Upstream,
    http2: Http2Limits,
    idle_timeout: Option<Duration>,
    max_connection_duration: Option<Duration>,
    max_requests: u32,
}

fn http(at: &At<'_>, options: HashMap<String, Any>) -> Result<Http, Fault> {
    let mut http = Http {
        upstream: Upstream::Http1,
        http2: http2_limits(at, None)?,
        idle_timeout: Some(IDLE_TIMEOUT),
        max_connection_duration: None,
        max_requests: 0,
    };
    for (key, any) in options {
        let at = at.key(&key);
        if key != HTTP_OPTIONS {
            return at.fail(format!("wanted {HTTP_OPTIONS}"));
        }
        let options: HttpProtocolOptions = at.unpack(&any)?;
        take!(at, options => HttpProtocolOptions { common_http_protocol_options, upstream_protocol_options } moot {}
        refuse {
            upstream_http_protocol_options, http_filters, header_validation_config, outlier_detection,
            request_mirror_policies, hash_policy, retry_policy,
        });
        let common = common_http_protocol_options.unwrap_or_default();
        let at_common = at.field("common_http_protocol_options");
        take!(at_common, common => CommonOptions { idle_timeout, max_connection_duration, max_requests_per_connection }
            moot { max_connection_duration_jitter, max_headers_count, max_response_headers_kb, headers_with_underscores_action }
            refuse { max_stream_duration });
        http.idle_timeout = at_common.limit("idle_timeout", idle_timeout, Some(IDLE_TIMEOUT))?;
        http.max_connection_duration = at_common.limit("max_connection_duration", max_connection_duration, None)?;
        http.max_requests = number(max_requests_per_connection).unwrap_or(0);
        protocol(&at, upstream_protocol_options, &mut http)?;
    }
    Ok(http)
}

fn protocol(at: &At<'_>, options: Option<UpstreamProtocolOptions>, http: &mut Http) -> Result<(), Fault> {
    match options {
        None => {}
        Some(UpstreamProtocolOptions::ExplicitHttpConfig(ExplicitHttpConfig { protocol_config })) => {
            let at = at.field("explicit_http_config");
            match protocol_config {
                None => {}
                Some(ProtocolConfig::HttpProtocolOptions(options)) => {
                    http1(&at.field("http_protocol_options"), Some(options))?;
                }
                Some(ProtocolConfig::Http2ProtocolOptions(options)) => {
                    http.upstream = Upstream::Http2;
                    http.http2 = http2_limits(&at.field("http2_protocol_options"), Some(options))?;
                }
                Some(ProtocolConfig::Http3ProtocolOptions(_)) => {
                    return at.field("http3_protocol_options").fail("this proxy doesn't speak HTTP/3");
                }
            }
        }
        Some(UpstreamProtocolOptions::UseDownstreamProtocolConfig(options)) => {
            let at = at.field("use_downstream_protocol_config");
            take!(at, options => UseDownstreamHttpConfig { http_protocol_options, http2_protocol_options } moot {}
                refuse { http3_protocol_options });
            http1(&at.field("http_protocol_options"), http_protocol_options)?;
            http.upstream = Upstream::SameAsDownstream;
            http.http2 = http2_limits(&at.field("http2_protocol_options"), http2_protocol_options)?;
        }
        Some(UpstreamProtocolOptions::AutoConfig(_)) => {
            return at.field("auto_config").fail("this proxy doesn't support this field");
        }
    }
    Ok(())
}

fn http2_limits(
    at: &At<'_>,
    options: Option<proto::envoy::envoy::config::core::v3::Http2ProtocolOptions>,
) -> Result<Http2Limits, Fault> {
    let options = http2(at, options)?;
    Ok(Http2Limits {
        max_concurrent_streams: options.max_concurrent_streams,
        initial_stream_window: options.stream_window,
        initial_connection_window: options.connection_window,
    })
}
