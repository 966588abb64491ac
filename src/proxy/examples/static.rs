//! Scratch: a proxy from a static configuration: `static <listen> <backend> [workers]`.
use pb::config::{cluster::v3 as c, core::v3 as core, endpoint::v3 as e, listener::v3 as l, route::v3 as r};
use pb::extensions::filters::{http::router::v3::Router, network::http_connection_manager::v3 as hcm};
use prost::Message;
use proto::{TypeUrl, envoy::envoy as pb, envoy::google::protobuf::Any};
use proxy::{
    Observer, config,
    log::Record,
    plane::{Options, Plane},
};
use std::sync::Arc;

struct Nobody;
impl Observer for Nobody {
    fn ended(&self, _: &config::HttpManager, r: &Record<'_>) {
        if std::env::var_os("LOG").is_some() {
            println!("{} {:?} {:?} {:?} {:?}", r.status, r.path, r.details, r.upstream_failure, r.duration);
        }
    }
}

fn any<M: Message>(url: &str, m: &M) -> Any {
    Any { type_url: format!("type.googleapis.com/{url}"), value: m.encode_to_vec() }
}
fn addr(a: std::net::SocketAddr) -> core::Address {
    core::Address {
        address: Some(core::address::Address::SocketAddress(core::SocketAddress {
            address: a.ip().to_string(),
            port_specifier: Some(core::socket_address::PortSpecifier::PortValue(a.port().into())),
            ..Default::default()
        })),
    }
}

fn main() {
    let a: Vec<String> = std::env::args().collect();
    let (listen, backend): (std::net::SocketAddr, std::net::SocketAddr) =
        (a[1].parse().unwrap(), a[2].parse().unwrap());
    let workers = a.get(3).map_or(1, |w| w.parse().unwrap());
    let route = r::RouteConfiguration {
        name: "r".into(),
        virtual_hosts: vec![r::VirtualHost {
            name: "v".into(),
            domains: vec!["*".into()],
            routes: vec![r::Route {
                r#match: Some(r::RouteMatch {
                    path_specifier: Some(r::route_match::PathSpecifier::Prefix("/".into())),
                    ..Default::default()
                }),
                action: Some(r::route::Action::Route(r::RouteAction {
                    cluster_specifier: Some(r::route_action::ClusterSpecifier::Cluster("c".into())),
                    ..Default::default()
                })),
                ..Default::default()
            }],
            ..Default::default()
        }],
        ..Default::default()
    };
    let m = hcm::HttpConnectionManager {
        stat_prefix: "x".into(),
        route_specifier: Some(hcm::http_connection_manager::RouteSpecifier::RouteConfig(route)),
        http_filters: vec![hcm::HttpFilter {
            name: "router".into(),
            config_type: Some(hcm::http_filter::ConfigType::TypedConfig(any(
                "envoy.extensions.filters.http.router.v3.Router",
                &Router { suppress_envoy_headers: true, ..Default::default() },
            ))),
            ..Default::default()
        }],
        normalize_path: Some(proto::envoy::google::protobuf::BoolValue { value: true }),
        merge_slashes: true,
        use_remote_address: Some(proto::envoy::google::protobuf::BoolValue { value: true }),
        server_header_transformation: hcm::http_connection_manager::ServerHeaderTransformation::PassThrough.into(),
        upgrade_configs: vec![hcm::http_connection_manager::UpgradeConfig {
            upgrade_type: "websocket".to_owned(),
            ..Default::default()
        }],
        ..Default::default()
    };
    let listener = l::Listener {
        name: "l".into(),
        address: Some(addr(listen)),
        filter_chains: vec![l::FilterChain {
            filters: vec![l::Filter {
                name: "hcm".into(),
                config_type: Some(l::filter::ConfigType::TypedConfig(any(
                    "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
                    &m,
                ))),
            }],
            ..Default::default()
        }],
        ..Default::default()
    };
    let cluster = c::Cluster {
        name: "c".into(),
        connect_timeout: Some(prost_types_duration(5)),
        lb_policy: c::cluster::LbPolicy::LeastRequest.into(),
        cluster_discovery_type: Some(c::cluster::ClusterDiscoveryType::Type(c::cluster::DiscoveryType::Static.into())),
        load_assignment: Some(e::ClusterLoadAssignment {
            cluster_name: "c".into(),
            endpoints: vec![e::LocalityLbEndpoints {
                lb_endpoints: vec![e::LbEndpoint {
                    host_identifier: Some(e::lb_endpoint::HostIdentifier::Endpoint(e::Endpoint {
                        address: Some(addr(backend)),
                        ..Default::default()
                    })),
                    ..Default::default()
                }],
                ..Default::default()
            }],
            ..Default::default()
        }),
        ..Default::default()
    };
    let shared = config::Shared::default();
    let mut store = config::Store::new(shared.clone());
    let mut interests = config::Store::interests();
    let update =
        |name: &str, body: Vec<u8>| [xds::client::Update { name: name.into(), version: "1".into(), body: body.into() }];
    for (t, u) in [
        (TypeUrl::Cluster, update("c", cluster.encode_to_vec())),
        (TypeUrl::Listener, update("l", listener.encode_to_vec())),
    ] {
        for r in store.apply(t, &u, &[], &mut interests) {
            println!("{r:?}");
        }
    }
    println!("{:?}", store.waiting());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut plane = Plane::start(Options { workers, observers: Arc::new(|_| Box::new(Nobody)) }, shared).unwrap();
        println!("{:?}", plane.apply());
        tokio::signal::ctrl_c().await.unwrap();
        println!("{}", plane.drain(std::time::Duration::from_secs(5)).await);
    });
}
fn prost_types_duration(seconds: i64) -> proto::envoy::google::protobuf::Duration {
    proto::envoy::google::protobuf::Duration { seconds, nanos: 0 }
}
