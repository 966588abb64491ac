//! What is refused at the door, by table: a change of a good message, and what is said of it.

use super::*;
use prost::Message;
use proto::envoy::{
    envoy::{
        config::{
            cluster::v3::{Cluster, OutlierDetection},
            core::v3::{self as core, TypedExtensionConfig},
            endpoint::v3::{ClusterLoadAssignment, LbEndpoint, LocalityLbEndpoints},
            listener::v3::{self as lds, FilterChain, Listener as EnvoyListener},
            rbac::v3 as rbac,
            route::v3::{self as rds, VirtualHost as EnvoyHost, route_match::PathSpecifier},
        },
        extensions::{
            filters::{
                http::{rbac::v3::Rbac as Filter, router::v3::Router},
                network::http_connection_manager::v3 as hcm,
            },
            transport_sockets::tls::v3::Secret as EnvoySecret,
        },
        r#type::matcher::v3::{RegexMatcher, StringMatcher, string_matcher::MatchPattern},
    },
    google::protobuf::{Any, BoolValue, Duration, UInt32Value},
};

/// `wanted` is the fault's text, or empty if the resource must be taken.
fn check(type_url: TypeUrl, message: &impl Message, wanted: &str) {
    let saw = match parse(&Context::default(), type_url, &"it".into(), &message.encode_to_vec()) {
        Ok(_) => String::new(),
        Err(fault) => fault.to_string(),
    };
    assert!(saw == wanted || (!wanted.is_empty() && saw.starts_with(wanted)), "wanted {wanted:?}, saw {saw:?}");
}

fn any(message: &impl prost::Name) -> Any {
    fn url<M: prost::Name>(_: &M) -> String {
        M::type_url()
    }
    Any { type_url: url(message), value: message.encode_to_vec() }
}

fn regex(pattern: &str) -> RegexMatcher {
    RegexMatcher { regex: pattern.into(), ..Default::default() }
}

/// A virtual host with one route, changed.
fn host(change: impl FnOnce(&mut EnvoyHost, &mut rds::Route, &mut rds::RouteAction)) -> EnvoyHost {
    let mut action = rds::RouteAction {
        cluster_specifier: Some(rds::route_action::ClusterSpecifier::Cluster("c".into())),
        ..Default::default()
    };
    let mut route = rds::Route {
        r#match: Some(rds::RouteMatch {
            path_specifier: Some(PathSpecifier::Prefix("/".into())),
            ..Default::default()
        }),
        ..Default::default()
    };
    let mut host = EnvoyHost { name: "host".into(), domains: vec!["a.test".into()], ..Default::default() };
    change(&mut host, &mut route, &mut action);
    if route.action.is_none() {
        route.action = Some(rds::route::Action::Route(action));
    }
    host.routes = vec![route];
    host
}

#[test]
fn virtual_hosts() {
    type Change = fn(&mut EnvoyHost, &mut rds::Route, &mut rds::RouteAction);
    let refused = "this proxy doesn't support this field";
    let cases: &[(Change, String)] = &[
        (|_, _, _| {}, String::new()),
        (|host, _, _| host.domains.clear(), "domains: wanted a domain, saw none".into()),
        (|host, _, _| host.domains = vec!["a*b".into()], "domains[0]: wanted a host, *suffix, prefix* or *".into()),
        (|host, _, _| host.require_tls = 1, format!("require_tls: {refused}")),
        (|host, _, _| host.cors = Some(Default::default()), format!("cors: {refused}")),
        (|_, route, _| route.r#match = None, "routes[0].match: wanted a value, saw none".into()),
        (
            |_, route, _| drop(route.typed_per_filter_config.insert("f".into(), Any::default())),
            "routes[0].typed_per_filter_config[\"f\"]: this proxy has no such filter".into(),
        ),
        (
            |_, route, _| route.r#match.as_mut().unwrap().runtime_fraction = Some(Default::default()),
            format!("routes[0].match.runtime_fraction: {refused}"),
        ),
        (
            |_, route, _| {
                route.r#match.as_mut().unwrap().path_specifier = Some(PathSpecifier::SafeRegex(regex("(")));
            },
            "routes[0].match.safe_regex.regex: pattern \"(\"".into(),
        ),
        (
            |_, route, _| {
                route.r#match.as_mut().unwrap().path_specifier = Some(PathSpecifier::PathSeparatedPrefix("/a/".into()));
            },
            "routes[0].match.path_separated_prefix: wanted a prefix of whole segments".into(),
        ),
        (
            |_, _, action| action.rate_limits = vec![Default::default()],
            format!("routes[0].route.rate_limits: {refused}"),
        ),
        (|_, _, action| action.cluster_specifier = None, "routes[0].route.cluster_specifier: wanted cluster or".into()),
        (
            |_, _, action| {
                action.timeout = Some(Duration { seconds: -1, nanos: 0 });
            },
            "routes[0].route.timeout: wanted a duration of zero or more".into(),
        ),
        (
            |_, _, action| {
                action.retry_policy = Some(rds::RetryPolicy { retry_on: "5xx,tuesdays".into(), ..Default::default() });
            },
            "routes[0].route.retry_policy.retry_on: unknown condition \"tuesdays\"".into(),
        ),
        (
            |_, route, _| route.request_headers_to_remove = vec!["Host".into()],
            "routes[0].request_headers_to_remove[0]: the host is not edited".into(),
        ),
        (
            |_, route, _| {
                let header = core::HeaderValue { key: "x".into(), value: "%REQ(y)%".into(), ..Default::default() };
                route.request_headers_to_add =
                    vec![core::HeaderValueOption { header: Some(header), ..Default::default() }];
            },
            "routes[0].request_headers_to_add[0].header.value: wanted a literal value".into(),
        ),
    ];
    for (change, wanted) in cases {
        check(TypeUrl::VirtualHost, &host(change), wanted);
    }
}

#[test]
fn fields_that_we_have_never_heard_of() {
    let mut body = host(|_, _, _| {}).encode_to_vec();
    // Field 1000, a number.
    body.extend_from_slice(&[0xc0, 0x3e, 0x01]);
    let fault = parse(&Context::default(), TypeUrl::VirtualHost, &"it".into(), &body).err().unwrap();
    assert!(fault.to_string().starts_with("has fields that this proxy doesn't know"), "{fault}");
}

/// A listener with one connection manager, changed.
fn listener(
    change: impl FnOnce(&mut EnvoyListener, &mut FilterChain, &mut hcm::HttpConnectionManager),
) -> EnvoyListener {
    let router = hcm::HttpFilter {
        name: "router".into(),
        config_type: Some(hcm::http_filter::ConfigType::TypedConfig(any(&Router::default()))),
        ..Default::default()
    };
    let ads = core::config_source::ConfigSourceSpecifier::Ads(core::AggregatedConfigSource::default());
    let mut manager = hcm::HttpConnectionManager {
        route_specifier: Some(hcm::http_connection_manager::RouteSpecifier::Rds(hcm::Rds {
            config_source: Some(core::ConfigSource { config_source_specifier: Some(ads), ..Default::default() }),
            route_config_name: "routes".into(),
        })),
        http_filters: vec![router],
        ..Default::default()
    };
    let socket = core::SocketAddress {
        address: "127.0.0.1".into(),
        port_specifier: Some(core::socket_address::PortSpecifier::PortValue(80)),
        ..Default::default()
    };
    let address = core::Address { address: Some(core::address::Address::SocketAddress(socket)) };
    let mut listener = EnvoyListener { name: "it".into(), address: Some(address), ..Default::default() };
    let mut chain = FilterChain::default();
    change(&mut listener, &mut chain, &mut manager);
    if chain.filters.is_empty() {
        let config = lds::filter::ConfigType::TypedConfig(any(&manager));
        chain.filters = vec![lds::Filter { config_type: Some(config), ..Default::default() }];
    }
    listener.filter_chains.insert(0, chain);
    listener
}

#[test]
fn listeners() {
    type Change = fn(&mut EnvoyListener, &mut FilterChain, &mut hcm::HttpConnectionManager);
    let filter = |message: &'static str| format!("filter_chains[0].filters[0].typed_config.{message}");
    let refused = "this proxy doesn't support this field";
    let cases: &[(Change, String)] = &[
        (|_, _, _| {}, String::new()),
        (|listener, _, _| listener.name = "other".into(), "name: wanted \"it\", saw \"other\"".into()),
        (|listener, _, _| listener.address = None, "address: wanted a value, saw none".into()),
        (
            |listener, _, _| listener.use_original_dst = Some(BoolValue { value: true }),
            format!("use_original_dst: {refused}"),
        ),
        (
            |_, chain, _| {
                chain.filters = vec![lds::Filter::default(), lds::Filter::default()];
            },
            "filter_chains[0].filters[0]: filter \"\" has no configuration".into(),
        ),
        (
            |_, chain, _| {
                chain.filter_chain_match =
                    Some(lds::FilterChainMatch { server_names: vec!["a.test".into()], ..Default::default() });
            },
            "listener_filters: chains that match by server name or transport need a TLS inspector".into(),
        ),
        (
            |_, chain, _| {
                chain.filter_chain_match = Some(lds::FilterChainMatch { source_ports: vec![1], ..Default::default() });
            },
            format!("filter_chains[0].filter_chain_match.source_ports: {refused}"),
        ),
        (|_, _, manager| manager.http_filters.clear(), filter("http_filters: wanted the router as the last filter")),
        (
            |_, _, manager| {
                let unknown = hcm::HttpFilter {
                    name: "lua".into(),
                    is_optional: true,
                    config_type: Some(hcm::http_filter::ConfigType::TypedConfig(Any {
                        type_url: "type.googleapis.com/lua".into(),
                        ..Default::default()
                    })),
                    ..Default::default()
                };
                manager.http_filters.insert(0, unknown);
            },
            filter("http_filters[0].typed_config: a filter of type \"type.googleapis.com/lua\" is unknown"),
        ),
        (
            |_, _, manager| manager.tracing = Some(Default::default()),
            filter("tracing: this proxy doesn't support this field"),
        ),
        (|_, _, manager| manager.codec_type = 3, filter("codec_type: wanted AUTO, HTTP1 or HTTP2")),
    ];
    for (change, wanted) in cases {
        check(TypeUrl::Listener, &listener(change), wanted);
    }
}

/// A policy whose only permission is this.
fn policy(permission: rbac::Permission) -> TypedExtensionConfig {
    let anyone = rbac::Principal { identifier: Some(rbac::principal::Identifier::Any(true)) };
    let policy = rbac::Policy { permissions: vec![permission], principals: vec![anyone], ..Default::default() };
    let rules = rbac::Rbac { policies: [("p".to_owned(), policy)].into(), ..Default::default() };
    let filter = Filter { rules: Some(rules), ..Default::default() };
    TypedExtensionConfig { name: "it".into(), typed_config: Some(any(&filter)) }
}

#[test]
fn policies() {
    use rbac::permission::Rule;
    let at = |rest: &str| format!("typed_config.rules.policies[\"p\"].permissions[0].{rest}");
    let mut deep = Rule::Any(true);
    for _ in 0..40 {
        deep = Rule::NotRule(Box::new(rbac::Permission { rule: Some(deep) }));
    }
    let pattern = StringMatcher { match_pattern: Some(MatchPattern::SafeRegex(regex("["))), ..Default::default() };
    for (rule, wanted) in [
        (Some(Rule::Any(true)), String::new()),
        (Some(Rule::Any(false)), at("any: wanted true, saw false")),
        (None, at("rule: wanted a value, saw none")),
        (Some(Rule::DestinationPort(70_000)), at("destination_port: wanted a port, saw 70000")),
        (Some(Rule::RequestedServerName(pattern)), at("requested_server_name.safe_regex.regex: pattern \"[\"")),
        (Some(Rule::Matcher(TypedExtensionConfig::default())), at("matcher: this proxy doesn't support this field")),
        (Some(deep), at("not_rule.not_rule.")),
    ] {
        check(TypeUrl::Extension, &policy(rbac::Permission { rule }), &wanted);
    }
    let with_condition = rbac::Policy { condition: Some(Default::default()), ..Default::default() };
    let rules = rbac::Rbac { policies: [("p".to_owned(), with_condition)].into(), ..Default::default() };
    let filter = Filter { rules: Some(rules), ..Default::default() };
    let message = TypedExtensionConfig { name: "it".into(), typed_config: Some(any(&filter)) };
    check(TypeUrl::Extension, &message, "typed_config.rules.policies[\"p\"].condition: this proxy doesn't support");
}

#[test]
fn clusters_endpoints_and_secrets() {
    let cluster = Cluster { name: "it".into(), ..Default::default() };
    check(TypeUrl::Cluster, &cluster, "");
    let ejecting = Cluster { outlier_detection: Some(OutlierDetection::default()), ..cluster.clone() };
    check(TypeUrl::Cluster, &ejecting, "outlier_detection: this proxy doesn't support this field");
    check(
        TypeUrl::Cluster,
        &Cluster { lb_policy: 2, ..cluster },
        "lb_policy: wanted ROUND_ROBIN, LEAST_REQUEST or RANDOM",
    );
    let endpoint = LbEndpoint { load_balancing_weight: Some(UInt32Value { value: 0 }), ..Default::default() };
    let group = LocalityLbEndpoints { lb_endpoints: vec![endpoint], ..Default::default() };
    let assignment = ClusterLoadAssignment { cluster_name: "it".into(), endpoints: vec![group], ..Default::default() };
    let wanted = "endpoints[0].lb_endpoints[0].load_balancing_weight: wanted one or more, saw 0";
    check(TypeUrl::Endpoints, &assignment, wanted);
    check(TypeUrl::Secret, &EnvoySecret { name: "it".into(), r#type: None }, "type: wanted tls_certificate or");
}
