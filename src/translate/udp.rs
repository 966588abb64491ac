//! Datagrams: a listener for each port of UDP, and one cluster that stands for all backends of its route.
//!
//! Envoy's filter for datagrams names one cluster and can't be discovered. So the weights of backends become weights of
//! endpoints in a cluster of the listener: a route that changes is a change of endpoints and touches nothing else.

use crate::{Settings, listener::udp_listener_name, wire};
use model::{Endpoint, Endpoints, Health, Policy, PolicyAction, Stream};
use proto::{
    Resource,
    envoy::{
        envoy::{
            config::{
                cluster::v3::{
                    Cluster,
                    cluster::{ClusterDiscoveryType, CommonLbConfig, DiscoveryType, EdsClusterConfig, LbPolicy},
                },
                core::v3::HealthStatus,
                endpoint::v3::{ClusterLoadAssignment, LbEndpoint, LocalityLbEndpoints},
                listener::v3::{Listener, ListenerFilter, listener_filter},
            },
            extensions::filters::udp::udp_proxy::v3::{Route, UdpProxyConfig, udp_proxy_config::RouteSpecifier},
            r#type::v3::Percent,
        },
        xds::{
            core::v3::TypedExtensionConfig,
            r#type::matcher::v3::{Matcher, matcher},
        },
    },
};
use std::{net::Ipv4Addr, sync::Arc};

/// A session on which nothing moves.
const IDLE_SECONDS: i64 = 60;
/// The sum of all weights must be a number of 32 bits.
const WEIGHTS: u64 = 4_000_000_000;
/// Nobody listens there: what an invalid backend would get is lost (Gateway API: it must not go to the others).
const NOWHERE: Endpoint =
    Endpoint { address: std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), port: 9, health: Health::Healthy, zone: None };

/// The listener of a port.
pub(crate) fn listener(settings: &Settings, port: u16, cluster: String) -> Resource {
    let route = TypedExtensionConfig { name: "route".to_owned(), typed_config: Some(wire::any(&Route { cluster })) };
    let always = matcher::OnMatch { on_match: Some(matcher::on_match::OnMatch::Action(route)), ..Default::default() };
    let proxy = UdpProxyConfig {
        stat_prefix: format!("udp.{port}"),
        idle_timeout: Some(wire::seconds(IDLE_SECONDS)),
        route_specifier: Some(RouteSpecifier::Matcher(Matcher {
            on_no_match: Some(Box::new(always)),
            ..Default::default()
        })),
        ..Default::default()
    };
    Resource::encode(&Listener {
        name: udp_listener_name(port),
        address: Some(wire::udp_address(&settings.bind.to_string(), settings.bound_port(port))),
        listener_filters: vec![ListenerFilter {
            name: "envoy.filters.udp_listener.udp_proxy".to_owned(),
            config_type: Some(listener_filter::ConfigType::TypedConfig(wire::any(&proxy))),
            ..Default::default()
        }],
        ..Default::default()
    })
}

/// The cluster of a port.
pub(crate) fn cluster(name: &str) -> Resource {
    Resource::encode(&Cluster {
        name: name.to_owned(),
        connect_timeout: Some(wire::seconds(5)),
        lb_policy: LbPolicy::RoundRobin.into(),
        cluster_discovery_type: Some(ClusterDiscoveryType::Type(DiscoveryType::Eds.into())),
        eds_cluster_config: Some(EdsClusterConfig { eds_config: Some(wire::ads()), ..Default::default() }),
        common_lb_config: Some(CommonLbConfig {
            healthy_panic_threshold: Some(Percent::default()),
            ..Default::default()
        }),
        ..Default::default()
    })
}

/// The endpoints of all backends, each with its share of its backend's weight.
pub(crate) fn endpoints(name: &str, stream: &Stream, of: impl Fn(&str) -> Option<Arc<Endpoints>>) -> Resource {
    let sum: u64 = stream.backends.iter().map(|backend| u64::from(backend.weight)).sum();
    let localities = stream.backends.iter().map(|backend| {
        let known = backend.cluster.as_deref().and_then(&of);
        let healthy = known.iter().flat_map(|known| &known.0).filter(|one| one.health == Health::Healthy);
        let mut usable: Vec<&Endpoint> = healthy.collect();
        if usable.is_empty() {
            usable.push(&NOWHERE);
        }
        let share = WEIGHTS * u64::from(backend.weight) / sum.max(1) / usable.len() as u64;
        // At most 4,000,000,000.
        let weight = u32::try_from(share.max(1)).unwrap_or(u32::MAX);
        usable.into_iter().map(move |one| endpoint(one, weight)).collect::<Vec<_>>()
    });
    let lb_endpoints: Vec<_> = localities.flatten().collect();
    let localities = LocalityLbEndpoints { lb_endpoints, ..Default::default() };
    Resource::encode(&ClusterLoadAssignment {
        cluster_name: name.to_owned(),
        endpoints: vec![localities].into_iter().filter(|one| !one.lb_endpoints.is_empty()).collect(),
        ..Default::default()
    })
}

fn endpoint(one: &Endpoint, weight: u32) -> LbEndpoint {
    let mut endpoint =
        crate::cluster::endpoint(wire::udp_address(&one.address.to_string(), one.port), HealthStatus::Healthy);
    endpoint.load_balancing_weight = wire::uint(weight);
    endpoint
}

/// Whether the policies of a Gateway surely let every datagram to a port through. Nothing in Envoy checks datagrams
/// against policies: where one could refuse some, all are refused.
pub(crate) fn is_open(port: u16, policies: &[Arc<Policy>]) -> bool {
    let meets = |rule: &model::PolicyRule| {
        rule.to.is_empty()
            || rule.to.iter().any(|to| {
                let ports = &to.ports;
                (ports.any.is_empty() || ports.any.contains(&port)) && !ports.none.contains(&port)
            })
    };
    let bare = |to: &model::Operation| to.hosts.is_empty() && to.methods.is_empty() && to.paths.is_empty();
    let surely = |rule: &model::PolicyRule| rule.from.is_empty() && rule.when.is_empty() && rule.to.iter().all(bare);
    let of = |action| policies.iter().filter(move |policy| policy.action == action && !policy.dry_run);
    // Nobody can be asked about datagrams.
    let denied = of(PolicyAction::Deny).chain(of(PolicyAction::Custom)).flat_map(|policy| &policy.rules).any(meets);
    let mut allows = of(PolicyAction::Allow).peekable();
    let is_allowed =
        allows.peek().is_none() || allows.flat_map(|policy| &policy.rules).any(|rule| surely(rule) && meets(rule));
    !denied && is_allowed
}
