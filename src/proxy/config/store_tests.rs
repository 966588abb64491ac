//! The store by stories: what comes, and what is in force after it.

use super::*;
use bytes::Bytes;
use prost::{Message, Name as _};
use proto::envoy::{
    envoy::{
        config::{
            cluster::v3::{self as cds, cluster},
            core::v3 as core,
            endpoint::v3 as eds,
            listener::v3 as lds,
            route::v3 as rds,
        },
        extensions::filters::{
            http::{rbac::v3::Rbac, router::v3::Router},
            network::http_connection_manager::v3 as hcm,
        },
    },
    google::protobuf::{Any, Duration},
};

fn update(name: &str, message: &impl Message) -> Update {
    Update { name: name.into(), version: "1".into(), body: Bytes::from(message.encode_to_vec()) }
}

fn any(message: &impl prost::Name) -> Any {
    fn url<M: prost::Name>(_: &M) -> String {
        M::type_url()
    }
    Any { type_url: url(message), value: message.encode_to_vec() }
}

fn ads() -> core::ConfigSource {
    let specifier = core::config_source::ConfigSourceSpecifier::Ads(core::AggregatedConfigSource::default());
    core::ConfigSource { config_source_specifier: Some(specifier), ..Default::default() }
}

fn address(port: u32) -> core::Address {
    core::Address {
        address: Some(core::address::Address::SocketAddress(core::SocketAddress {
            address: "127.0.0.1".into(),
            port_specifier: Some(core::socket_address::PortSpecifier::PortValue(port)),
            ..Default::default()
        })),
    }
}

/// A listener with routes `routes` and the policy `deny`.
fn listener(name: &str) -> Update {
    let filter =
        |name: &str, config| hcm::HttpFilter { name: name.into(), config_type: Some(config), ..Default::default() };
    let discovery = core::ExtensionConfigSource {
        config_source: Some(ads()),
        type_urls: vec![Rbac::type_url()],
        ..Default::default()
    };
    let manager = hcm::HttpConnectionManager {
        route_specifier: Some(hcm::http_connection_manager::RouteSpecifier::Rds(hcm::Rds {
            config_source: Some(ads()),
            route_config_name: "routes".into(),
        })),
        http_filters: vec![
            filter("deny", hcm::http_filter::ConfigType::ConfigDiscovery(discovery)),
            filter("router", hcm::http_filter::ConfigType::TypedConfig(any(&Router::default()))),
        ],
        ..Default::default()
    };
    let message = lds::Listener {
        name: name.into(),
        address: Some(address(80)),
        filter_chains: vec![lds::FilterChain {
            filters: vec![lds::Filter {
                config_type: Some(lds::filter::ConfigType::TypedConfig(any(&manager))),
                ..Default::default()
            }],
            ..Default::default()
        }],
        ..Default::default()
    };
    update(name, &message)
}

fn table() -> Update {
    let vhds = Some(rds::Vhds { config_source: Some(ads()) });
    update("routes", &rds::RouteConfiguration { name: "routes".into(), vhds, ..Default::default() })
}

fn policy() -> Update {
    let config = Some(any(&Rbac::default()));
    update("deny", &core::TypedExtensionConfig { name: "deny".into(), typed_config: config })
}

fn host(resource: &str, domains: &[&str]) -> Update {
    let message = rds::VirtualHost {
        name: "host".into(),
        domains: domains.iter().map(|domain| domain.to_string()).collect(),
        ..Default::default()
    };
    update(resource, &message)
}

fn cluster(name: &str) -> Update {
    patient_cluster(name, 5)
}

/// A cluster that has so many seconds to connect.
fn patient_cluster(name: &str, seconds: i64) -> Update {
    let message = cds::Cluster {
        connect_timeout: Some(Duration { seconds, nanos: 0 }),
        name: name.into(),
        cluster_discovery_type: Some(cluster::ClusterDiscoveryType::Type(cluster::DiscoveryType::Eds as i32)),
        eds_cluster_config: Some(cluster::EdsClusterConfig { eds_config: Some(ads()), ..Default::default() }),
        ..Default::default()
    };
    update(name, &message)
}

fn endpoints(name: &str) -> Update {
    let endpoint = eds::LbEndpoint {
        host_identifier: Some(eds::lb_endpoint::HostIdentifier::Endpoint(eds::Endpoint {
            address: Some(address(8080)),
            ..Default::default()
        })),
        ..Default::default()
    };
    let message = eds::ClusterLoadAssignment {
        cluster_name: name.into(),
        endpoints: vec![eds::LocalityLbEndpoints { lb_endpoints: vec![endpoint], ..Default::default() }],
        ..Default::default()
    };
    update(name, &message)
}

/// A store with what it has asked for.
struct Story {
    shared: Shared,
    store: Store,
    interests: Interests,
}

impl Story {
    fn new() -> Self {
        let shared = Shared::default();
        Self { store: Store::new(shared.clone(), None), shared, interests: Store::interests() }
    }

    /// What is refused.
    fn get(&mut self, type_url: TypeUrl, updates: &[Update]) -> Vec<String> {
        let refusals = self.store.apply(type_url, updates, &[], &mut self.interests);
        refusals.into_iter().map(|Refusal { name, error }| format!("{name}: {error}")).collect()
    }

    fn lose(&mut self, type_url: TypeUrl, name: &str) {
        self.store.apply(type_url, &[], &[name.into()], &mut self.interests);
    }

    fn holder(&self, host: &str) -> Option<String> {
        Some(self.shared.load().tables.get("routes")?.virtual_host(host)?.name.to_string())
    }

    fn start(&mut self) {
        self.get(TypeUrl::Cluster, &[]);
        self.get(TypeUrl::Listener, &[listener("l")]);
        self.get(TypeUrl::Extension, &[policy()]);
        self.get(TypeUrl::Route, &[table()]);
        self.get(TypeUrl::VirtualHost, &[host("routes/a", &["a.test"])]);
    }
}

#[test]
fn a_listener_waits_for_all_that_it_needs() {
    let mut story = Story::new();
    let waits = |story: &Story| story.store.waiting().into_iter().flat_map(|(_, missing)| missing).collect::<Vec<_>>();
    story.get(TypeUrl::Cluster, &[cluster("c")]);
    story.get(TypeUrl::Listener, &[listener("l")]);
    assert_eq!(waits(&story), ["route table routes", "policy deny"]);
    story.get(TypeUrl::Extension, &[policy()]);
    story.get(TypeUrl::Route, &[table()]);
    assert_eq!(waits(&story), ["virtual hosts of routes"]);
    assert!(story.shared.load().listeners.is_empty());
    story.get(TypeUrl::VirtualHost, &[]);
    assert!(waits(&story).is_empty());
    assert!(story.shared.load().listeners.contains_key("l"));
    // The cluster waits for the first word about its endpoints.
    assert!(!story.store.is_complete());
    assert!(story.shared.load().clusters.is_empty());
    story.get(TypeUrl::Endpoints, &[endpoints("c")]);
    assert!(story.store.is_complete());
    assert_eq!(story.shared.load().clusters["c"].endpoints.list.len(), 1);
}

#[test]
fn a_changed_cluster_keeps_its_endpoints() {
    let mut story = Story::new();
    story.start();
    story.get(TypeUrl::Cluster, &[cluster("c")]);
    story.get(TypeUrl::Endpoints, &[endpoints("c")]);
    story.get(TypeUrl::Cluster, &[patient_cluster("c", 7)]);
    let config = story.shared.load();
    assert_eq!(config.clusters["c"].spec.connect_timeout.as_secs(), 7);
    assert_eq!(config.clusters["c"].endpoints.list.len(), 1);
}

#[test]
fn no_listeners_are_a_configuration_too() {
    let mut story = Story::new();
    story.get(TypeUrl::Cluster, &[]);
    assert!(!story.store.is_complete());
    story.get(TypeUrl::Listener, &[]);
    assert!(story.store.is_complete());
}

#[test]
fn no_endpoints_are_an_answer_too() {
    let mut story = Story::new();
    story.start();
    story.get(TypeUrl::Cluster, &[cluster("c")]);
    assert!(!story.store.is_complete());
    story.lose(TypeUrl::Endpoints, "c");
    assert!(story.store.is_complete());
    assert!(story.shared.load().clusters["c"].endpoints.list.is_empty());
}

#[test]
fn one_bad_resource_hurts_only_itself() {
    let mut story = Story::new();
    story.start();
    let bad = Update { body: Bytes::from_static(b"\xff"), ..host("routes/b", &["b.test"]) };
    let refused = story.get(TypeUrl::VirtualHost, &[bad, host("routes/c", &["c.test"])]);
    assert_eq!(refused.len(), 1);
    assert!(refused[0].starts_with("routes/b: not readable"), "{refused:?}");
    assert_eq!(story.holder("c.test").as_deref(), Some("routes/c"));
    // Its fix heals it.
    assert!(story.get(TypeUrl::VirtualHost, &[host("routes/b", &["b.test"])]).is_empty());
    assert_eq!(story.holder("b.test").as_deref(), Some("routes/b"));
}

#[test]
fn a_domain_moves_within_one_response_and_is_never_shared() {
    let mut story = Story::new();
    story.start();
    story.get(TypeUrl::VirtualHost, &[host("routes/b", &["b.test", "*.b.test"])]);
    let moved = [host("routes/a", &["a.test", "b.test"]), host("routes/b", &["*.b.test"])];
    assert!(story.get(TypeUrl::VirtualHost, &moved).is_empty());
    assert_eq!(story.holder("b.test").as_deref(), Some("routes/a"));
    assert_eq!(story.holder("x.b.test").as_deref(), Some("routes/b"));
    let refused = story.get(TypeUrl::VirtualHost, &[host("routes/c", &["c.test", "a.test"])]);
    assert_eq!(refused, ["routes/c: domains: domain \"a.test\" belongs to virtual host \"routes/a\""]);
    assert_eq!((story.holder("a.test").as_deref(), story.holder("c.test")), (Some("routes/a"), None));
    story.lose(TypeUrl::VirtualHost, "routes/a");
    assert_eq!(story.holder("a.test"), None);
}

#[test]
fn one_changed_host_leaves_all_else_shared() {
    let mut story = Story::new();
    story.start();
    let many: Vec<_> = (0..1000).map(|n| host(&format!("routes/{n}"), &[&format!("{n}.test")])).collect();
    story.get(TypeUrl::VirtualHost, &many);
    let before = story.shared.load();
    story.get(TypeUrl::VirtualHost, &[host("routes/7", &["7.test", "seven.test"])]);
    let after = story.shared.load();
    assert!(Arc::ptr_eq(&before.listeners["l"], &after.listeners["l"]));
    let of = |config: &Config, host: &str| config.tables["routes"].virtual_host(host).cloned();
    assert_eq!(of(&before, "seven.test").map(|host| host.name.clone()), None);
    for n in (0..1000).filter(|&n| n != 7) {
        let name = format!("{n}.test");
        assert!(Arc::ptr_eq(&of(&before, &name).unwrap(), &of(&after, &name).unwrap()), "{name}");
    }
    assert!(of(&after, "seven.test").is_some());
}

#[test]
fn what_was_in_force_is_in_force_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let mut story = Story::new();
    story.store.keep_in(dir.path()).unwrap();
    story.start();
    story.get(TypeUrl::Cluster, &[cluster("c")]);
    story.get(TypeUrl::Endpoints, &[endpoints("c")]);
    story.get(TypeUrl::VirtualHost, &[host("routes/b", &["b.test"])]);
    story.lose(TypeUrl::VirtualHost, "routes/b");
    let mut again = Story::new();
    let (interests, held) = again.store.keep_in(dir.path()).unwrap();
    assert!(again.store.is_complete());
    assert_eq!((again.holder("a.test").as_deref(), again.holder("b.test")), (Some("routes/a"), None));
    assert_eq!(interests, story.interests);
    // Told to the server, so that it tells what has gone meanwhile.
    assert_eq!(held[&TypeUrl::VirtualHost].keys().map(|name| &**name).collect::<Vec<_>>(), ["routes/a"]);
}

#[test]
fn what_a_listener_in_force_names_can_go_without_opening_it() {
    let mut story = Story::new();
    story.start();
    story.lose(TypeUrl::Extension, "deny");
    let config = story.shared.load();
    let http = config.listeners["l"].chains[0].http().unwrap();
    let crate::config::HttpFilter::Named(name) = &http.filters[0] else { panic!("a named filter") };
    // Which denies: `serve::filters`.
    assert!(config.extensions.get(name).is_none());
}
