//! A plane with a store, and Envoy resources for it.

use crate::{
    Observer,
    config::{HttpManager, Shared, Store},
    log::Record,
    plane::{BindError, Options, Plane},
};
use prost::Message;
use proto::{
    TypeUrl,
    envoy::{
        envoy::{
            config::{
                cluster::v3::{Cluster, cluster},
                core::v3::{self as core, address, socket_address},
                endpoint::v3::{ClusterLoadAssignment, Endpoint, LbEndpoint, LocalityLbEndpoints, lb_endpoint},
                listener::v3::{Filter, FilterChain, Listener, filter},
                route::v3::{
                    Route, RouteAction, RouteConfiguration, RouteMatch, VirtualHost, route, route_action, route_match,
                },
            },
            extensions::filters::{
                http::router::v3::Router,
                network::http_connection_manager::v3::{
                    HttpConnectionManager, HttpFilter, http_connection_manager as manager, http_filter,
                },
            },
        },
        google::protobuf::{Any, BoolValue, Duration},
    },
};
use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};
use xds::client::{Interests, Update};

/// A running data plane.
pub(super) struct Setup {
    store: Store,
    interests: Interests,
    pub(super) plane: Plane,
    /// Of every request that has ended: code, details.
    pub(super) log: Arc<Mutex<Vec<String>>>,
}

struct Log(Arc<Mutex<Vec<String>>>);

impl Observer for Log {
    fn ended(&self, _: &HttpManager, record: &Record<'_>) {
        let mut flags = String::new();
        record.flags.write(&mut flags);
        let line = format!("{} {flags} {}", record.status, record.details.unwrap_or("-"));
        self.0.lock().unwrap().push(line);
    }
}

impl Setup {
    pub(super) fn new() -> Self {
        let shared = Shared::default();
        let log = Arc::<Mutex<Vec<String>>>::default();
        let lines = log.clone();
        let observers: crate::plane::Observers = Arc::new(move |_| Box::new(Log(lines.clone())));
        let plane = Plane::start(Options { workers: 2, observers, admin: None }, shared.clone()).unwrap();
        Self { store: Store::new(shared, None), interests: Store::interests(), plane, log }
    }

    /// Puts a resource in force.
    pub(super) fn set(&mut self, type_url: TypeUrl, name: &str, message: &impl Message) {
        let body = message.encode_to_vec().into();
        let update = Update { name: name.into(), version: "1".into(), body };
        let refused = self.store.apply(type_url, &[update], &[], &mut self.interests);
        assert!(refused.is_empty(), "{refused:?}");
    }

    pub(super) fn remove(&mut self, type_url: TypeUrl, name: &str) {
        let refused = self.store.apply(type_url, &[], &[name.into()], &mut self.interests);
        assert!(refused.is_empty(), "{refused:?}");
    }

    /// Opens what the configuration says; gives what can't be.
    pub(super) fn apply(&mut self) -> Vec<BindError> {
        self.plane.apply().into_iter().map(|(_, error)| error).collect()
    }

    /// A cluster and a listener `http` that sends everything there; where it listens.
    pub(super) fn forward(backends: &[SocketAddr], change: impl FnOnce(&mut RouteAction)) -> (Self, SocketAddr) {
        let mut setup = Self::new();
        setup.set(TypeUrl::Cluster, "backend", &cluster("backend", backends));
        setup.set(
            TypeUrl::Listener,
            "http",
            &listener("http", manager(vec![host("*", vec![to("/", "backend", change)])])),
        );
        assert!(setup.apply().is_empty());
        let address = setup.plane.address("http").unwrap();
        (setup, address)
    }
}

pub(super) fn any(message: &impl prost::Name) -> Any {
    Any { type_url: format!("type.googleapis.com/{}", url(message)), value: message.encode_to_vec() }
}

fn url<M: prost::Name>(_: &M) -> String {
    M::full_name()
}

pub(super) fn seconds(seconds: i64) -> Option<Duration> {
    Some(Duration { seconds, nanos: 0 })
}

pub(super) fn millis(millis: i32) -> Option<Duration> {
    Some(Duration { seconds: 0, nanos: millis * 1_000_000 })
}

fn socket(address: SocketAddr) -> core::Address {
    let port = socket_address::PortSpecifier::PortValue(address.port().into());
    core::Address {
        address: Some(address::Address::SocketAddress(core::SocketAddress {
            address: address.ip().to_string(),
            port_specifier: Some(port),
            ..Default::default()
        })),
    }
}

pub(super) fn cluster(name: &str, backends: &[SocketAddr]) -> Cluster {
    let endpoint = |address: &SocketAddr| LbEndpoint {
        host_identifier: Some(lb_endpoint::HostIdentifier::Endpoint(Endpoint {
            address: Some(socket(*address)),
            ..Default::default()
        })),
        ..Default::default()
    };
    Cluster {
        name: name.into(),
        connect_timeout: seconds(5),
        lb_policy: cluster::LbPolicy::LeastRequest.into(),
        cluster_discovery_type: Some(cluster::ClusterDiscoveryType::Type(cluster::DiscoveryType::Static.into())),
        load_assignment: Some(ClusterLoadAssignment {
            cluster_name: name.into(),
            endpoints: vec![LocalityLbEndpoints {
                lb_endpoints: backends.iter().map(endpoint).collect(),
                ..Default::default()
            }],
            ..Default::default()
        }),
        ..Default::default()
    }
}

pub(super) fn to(prefix: &str, cluster: &str, change: impl FnOnce(&mut RouteAction)) -> Route {
    let mut action = RouteAction {
        cluster_specifier: Some(route_action::ClusterSpecifier::Cluster(cluster.into())),
        cluster_not_found_response_code: route_action::ClusterNotFoundResponseCode::InternalServerError.into(),
        timeout: seconds(0),
        ..Default::default()
    };
    change(&mut action);
    Route {
        r#match: Some(RouteMatch {
            path_specifier: Some(route_match::PathSpecifier::Prefix(prefix.into())),
            ..Default::default()
        }),
        action: Some(route::Action::Route(action)),
        ..Default::default()
    }
}

pub(super) fn host(domain: &str, routes: Vec<Route>) -> VirtualHost {
    VirtualHost { name: domain.into(), domains: vec![domain.into()], routes, ..Default::default() }
}

pub(super) fn manager(virtual_hosts: Vec<VirtualHost>) -> HttpConnectionManager {
    let routes = RouteConfiguration { name: "routes".into(), virtual_hosts, ..Default::default() };
    HttpConnectionManager {
        stat_prefix: "story".into(),
        route_specifier: Some(manager::RouteSpecifier::RouteConfig(routes)),
        http_filters: vec![HttpFilter {
            name: "router".into(),
            config_type: Some(http_filter::ConfigType::TypedConfig(any(&Router {
                suppress_envoy_headers: true,
                ..Default::default()
            }))),
            ..Default::default()
        }],
        normalize_path: Some(BoolValue { value: true }),
        use_remote_address: Some(BoolValue { value: true }),
        server_header_transformation: manager::ServerHeaderTransformation::PassThrough.into(),
        upgrade_configs: vec![manager::UpgradeConfig { upgrade_type: "websocket".into(), ..Default::default() }],
        ..Default::default()
    }
}

pub(super) fn chain(manager: &HttpConnectionManager) -> FilterChain {
    let config = Some(filter::ConfigType::TypedConfig(any(manager)));
    FilterChain { filters: vec![Filter { name: "http".into(), config_type: config }], ..Default::default() }
}

pub(super) fn listener(name: &str, manager: HttpConnectionManager) -> Listener {
    Listener {
        name: name.into(),
        address: Some(socket(SocketAddr::from(([127, 0, 0, 1], 0)))),
        filter_chains: vec![chain(&manager)],
        ..Default::default()
    }
}

/// The same on a port of the caller's choice.
pub(super) fn at(mut listener: Listener, address: SocketAddr) -> Listener {
    listener.address = Some(socket(address));
    listener
}
