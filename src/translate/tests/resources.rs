//! A small mesh in model values, and what becomes of it: names, shared bytes, and which change touches what.

use engine::{Batch, Engine, Input};
use model::{
    Action, AppProtocol, Backend, CertificateKey, Cluster, Discovery, Endpoint, Endpoints, Health, Hostname, KeyPair,
    Listener, ListenerKey, Match, ObjectKey, PathMatch, Policy, PolicyAction, Protocol, Rewrite, Route, RouteOrder,
    Timeouts, Tls, VirtualHost, VirtualHostKey,
};
use prost::Message;
use proto::{
    Resource, TypeUrl, assemble,
    envoy::envoy::config::{
        listener::v3::Listener as EnvoyListener,
        route::v3::{RouteConfiguration, VirtualHost as EnvoyVirtualHost, route, route_action::ClusterSpecifier},
    },
};
use std::{collections::BTreeMap, sync::Arc};
use translate::{Inputs, Outputs, Settings};

const WEB: &str = "outbound|80||web.shop.svc.cluster.local";
const NAMES: [&str; 15] = [
    "Cluster outbound|80||web.shop.svc.cluster.local",
    "ClusterLoadAssignment outbound|80||web.shop.svc.cluster.local",
    "Secret kubernetes-gateway://shop/cert",
    "Listener 0.0.0.0_443",
    "Listener 0.0.0.0_80",
    "TypedExtensionConfig authn.jwt",
    "TypedExtensionConfig authz.allow",
    "TypedExtensionConfig authz.audit",
    "TypedExtensionConfig authz.custom",
    "TypedExtensionConfig authz.deny",
    "RouteConfiguration http.80",
    "RouteConfiguration https.443.all.a.shop",
    "RouteConfiguration https.443.tls.a.shop",
    "VirtualHost http.80/*.a.test",
    "VirtualHost https.443.tls.a.shop/www.a.test",
];

struct Mesh {
    engine: Engine,
    outputs: Outputs,
    gateways: Input<ObjectKey, ()>,
    listeners: Input<ListenerKey, Listener>,
    virtual_hosts: Input<VirtualHostKey, VirtualHost>,
    clusters: Input<Arc<str>, Cluster>,
    endpoints: Input<Arc<str>, Endpoints>,
    gateway_clusters: Input<(ObjectKey, Arc<str>), ()>,
    certificates: Input<CertificateKey, KeyPair>,
    policies: Input<ObjectKey, Policy>,
}

fn gateway(name: &str) -> ObjectKey {
    ObjectKey::new("shop", name)
}

fn certificate() -> CertificateKey {
    CertificateKey(ObjectKey::new("shop", "cert"))
}

fn host_key(https: Option<&str>, host: &str) -> VirtualHostKey {
    let port = if https.is_some() { 443 } else { 80 };
    VirtualHostKey { gateway: gateway("a"), port, https: https.map(Arc::from), host: Hostname::new(Some(host)) }
}

fn forward(backends: Vec<Backend>, timeouts: Timeouts) -> VirtualHost {
    let action = Action::Forward { backends, rewrite: Rewrite::default(), timeouts, retry: None };
    VirtualHost {
        routes: vec![Arc::new(Route {
            order: RouteOrder { created: 0, object: ObjectKey::new("shop", "web"), grpc: false, rule: 1, matched: 2 },
            rule_name: None,
            matches: Match { path: PathMatch::Prefix("/".into()), method: None, headers: vec![], query: vec![] },
            request_headers: Default::default(),
            response_headers: Default::default(),
            mirrors: vec![],
            steps: Default::default(),
            action,
        })],
    }
}

fn backend(cluster: Option<&str>, weight: u32) -> Backend {
    Backend {
        cluster: cluster.map(Arc::from),
        weight,
        host: None,
        session: None,
        request_headers: Default::default(),
        response_headers: Default::default(),
    }
}

fn endpoint(last: u8) -> Endpoints {
    let address = [10, 0, 0, last].into();
    Endpoints(vec![Endpoint { address, port: 8080, health: Health::Healthy, zone: None }])
}

fn https(hostname: Option<&str>) -> Listener {
    Listener {
        port: 443,
        protocol: Protocol::Https,
        hostname: Hostname::new(hostname),
        tls: Some(Tls { certificates: vec![certificate()], clients: None }),
        proxy_protocol: false,
    }
}

/// Two Gateways that share a cluster; `a` serves HTTP and HTTPS.
fn mesh(settings: Settings) -> Mesh {
    let mut engine = Engine::new();
    let (gateways, listeners) = (engine.input("gateways"), engine.input("listeners"));
    let (virtual_hosts, clusters, endpoints) =
        (engine.input("hosts"), engine.input("clusters"), engine.input("endpoints"));
    let (gateway_clusters, certificates) = (engine.input("gateway clusters"), engine.input("certificates"));
    let (policies, streams) = (engine.input("policies"), engine.input("streams"));
    let inputs = Inputs {
        gateways: *gateways,
        listeners: *listeners,
        virtual_hosts: *virtual_hosts,
        streams: *streams,
        clusters: *clusters,
        endpoints: *endpoints,
        gateway_clusters: *gateway_clusters,
        certificates: *certificates,
        trust: *engine.input("trust"),
        backend_certificates: *engine.input("backend certificates"),
        policies: *policies,
        authentications: *engine.input("authentications"),
        authorizers: *engine.input("authorizers"),
    };
    let outputs = translate::declare(&mut engine, settings, inputs);
    let mut batch = Batch::new();
    for name in ["a", "b"] {
        batch.set(&gateways, gateway(name), ());
        batch.set(&gateway_clusters, (gateway(name), WEB.into()), ());
    }
    let http = Listener {
        port: 80,
        protocol: Protocol::Http,
        hostname: Hostname::new(None),
        tls: None,
        proxy_protocol: false,
    };
    let mut listen = |name: &str, listener: Listener| {
        batch.set(&listeners, ListenerKey { gateway: gateway("a"), name: name.into() }, listener);
    };
    listen("http", http);
    listen("tls", https(Some("www.a.test")));
    listen("all", https(None));
    batch.set(
        &clusters,
        WEB.into(),
        Cluster {
            protocol: AppProtocol::Http1,
            discovery: Discovery::Endpoints,
            tls: None,
            proxy_protocol: false,
            retry_budget: None,
        },
    );
    batch.set(&endpoints, WEB.into(), endpoint(1));
    batch.set(&certificates, certificate(), KeyPair { chain: (*b"chain").into(), key: (*b"key").into() });
    batch.set(&virtual_hosts, host_key(None, "*.a.test"), forward(vec![backend(Some(WEB), 1)], Timeouts::default()));
    batch.set(&virtual_hosts, host_key(Some("tls"), "www.a.test"), VirtualHost::default());
    engine.commit(batch);
    Mesh {
        engine,
        outputs,
        gateways,
        listeners,
        virtual_hosts,
        clusters,
        endpoints,
        gateway_clusters,
        certificates,
        policies,
    }
}

fn name(type_url: TypeUrl, name: &str) -> String {
    format!("{} {name}", type_url.as_str().rsplit('.').next().expect("a type"))
}

impl Mesh {
    /// The resources of Gateway `a`.
    fn resources(&self) -> BTreeMap<String, Arc<Resource>> {
        let all = self.outputs.all(&self.engine).filter(|(key, _)| &*key.scope.0 == "gateway/shop/a");
        all.map(|(key, resource)| (name(key.type_url, &key.name), resource)).collect()
    }

    /// What a batch changes, in any Gateway.
    fn touched(&mut self, edit: impl FnOnce(&Self, &mut Batch)) -> Vec<String> {
        let mut batch = Batch::new();
        edit(self, &mut batch);
        let changes = self.engine.commit(batch);
        let touched = self.outputs.changes(&changes);
        touched.map(|(key, _)| format!("{} {}", key.scope, name(key.type_url, &key.name))).collect()
    }

    fn decode<M: Message + Default>(&self, name: &str) -> M {
        M::decode(self.resources()[name].body.clone()).expect("what was encoded")
    }
}

#[test]
fn resources_have_the_names_of_the_architecture_page() {
    let mesh = mesh(Settings::default());
    let seen = mesh.outputs.all(&mesh.engine).filter(|(key, _)| &*key.scope.0 == "gateway/shop/a");
    let seen: Vec<_> = seen.map(|(key, _)| name(key.type_url, &key.name)).collect();
    assert_eq!(seen, NAMES);
}

#[test]
fn what_gateways_share_is_encoded_once() {
    let mesh = mesh(Settings::default());
    let clusters: Vec<_> = mesh.outputs.all(&mesh.engine).filter(|(key, _)| key.type_url == TypeUrl::Cluster).collect();
    assert_eq!(clusters.len(), 2);
    assert_eq!(clusters[0].1.body.as_ptr(), clusters[1].1.body.as_ptr());
}

#[test]
fn a_change_touches_its_own_resource_and_never_a_listener() {
    let mut mesh = mesh(Settings::default());
    let key = ObjectKey::new("shop", "p");
    let deny = Policy { key, action: PolicyAction::Deny, dry_run: false, rules: vec![] };
    let touched = mesh.touched(|mesh, batch| batch.set(&mesh.policies, gateway("a"), deny));
    assert_eq!(touched, ["gateway/shop/a TypedExtensionConfig authz.deny"]);
    let touched = mesh.touched(|mesh, batch| batch.set(&mesh.endpoints, WEB.into(), endpoint(2)));
    let all = ["a", "b"].map(|gateway| format!("gateway/shop/{gateway} ClusterLoadAssignment {WEB}"));
    assert_eq!(touched, all);
    // No endpoints are an empty set, not an absent one.
    assert_eq!(mesh.touched(|mesh, batch| batch.remove(&mesh.endpoints, WEB.into())), all);
    let renewed = KeyPair { chain: (*b"new").into(), key: (*b"key").into() };
    let touched = mesh.touched(|mesh, batch| batch.set(&mesh.certificates, certificate(), renewed));
    assert_eq!(touched, ["gateway/shop/a Secret kubernetes-gateway://shop/cert"]);
    let gone = VirtualHost::default();
    let touched = mesh.touched(|mesh, batch| batch.set(&mesh.virtual_hosts, host_key(None, "*.a.test"), gone));
    assert_eq!(touched, ["gateway/shop/a VirtualHost http.80/*.a.test"]);
    let touched = mesh.touched(|mesh, batch| batch.remove(&mesh.gateway_clusters, (gateway("b"), WEB.into())));
    assert_eq!(touched.len(), 2, "{touched:?}");
    let touched = mesh.touched(|mesh, batch| {
        batch.remove(&mesh.gateways, gateway("b"));
        batch.remove(&mesh.clusters, WEB.into());
    });
    assert_eq!(touched.len(), 7, "{touched:?}");
    let key = ListenerKey { gateway: gateway("a"), name: "tls".into() };
    let touched = mesh.touched(|mesh, batch| batch.remove(&mesh.listeners, key));
    let wanted = ["Listener 0.0.0.0_443", "RouteConfiguration https.443.tls.a.shop"];
    assert_eq!(touched, wanted.map(|name| format!("gateway/shop/a {name}")));
}

#[test]
fn names_keep_the_gateways_port_and_addresses_take_the_bound_one() {
    use proto::envoy::envoy::config::core::v3::{address::Address, socket_address::PortSpecifier};
    let mesh = mesh(Settings { port_offset: 8000, ..Settings::default() });
    let listener: EnvoyListener = mesh.decode("Listener 0.0.0.0_443");
    let Some(Address::SocketAddress(address)) = listener.address.unwrap().address else { panic!("a socket") };
    assert_eq!(address.port_specifier, Some(PortSpecifier::PortValue(8443)));
    let names: Vec<_> = listener
        .filter_chains
        .iter()
        .map(|chain| (&*chain.name, chain.filter_chain_match.as_ref().unwrap().server_names.join(",")))
        .collect();
    assert_eq!(names, [("https.443.all.a.shop", String::new()), ("https.443.tls.a.shop", "www.a.test".to_owned())]);
}

#[test]
fn weights_count_what_cannot_be_resolved_and_no_timeout_is_said() {
    let mut mesh = mesh(Settings::default());
    let split = forward(vec![backend(Some(WEB), 3), backend(None, 1)], Timeouts::default());
    mesh.touched(|mesh, batch| batch.set(&mesh.virtual_hosts, host_key(None, "*.a.test"), split));
    let host: EnvoyVirtualHost = mesh.decode("VirtualHost http.80/*.a.test");
    assert_eq!((host.name.as_str(), host.domains.as_slice()), ("http.80/*.a.test", &["*.a.test".to_owned()][..]));
    let route = &host.routes[0];
    assert_eq!(route.name, "shop/web/1/2");
    let Some(route::Action::Route(action)) = &route.action else { panic!("a forward") };
    // Envoy's own default would be 15 s.
    assert_eq!(action.timeout, Some(Default::default()));
    let Some(ClusterSpecifier::WeightedClusters(split)) = &action.cluster_specifier else { panic!("a split") };
    let weights: Vec<_> =
        split.clusters.iter().map(|one| (one.name.as_str(), one.weight.as_ref().unwrap().value)).collect();
    assert_eq!(weights, [(WEB, 3), ("invalid-backend", 1)]);
    // Without any backend the answer is 500.
    let none = forward(vec![], Timeouts::default());
    mesh.touched(|mesh, batch| batch.set(&mesh.virtual_hosts, host_key(None, "*.a.test"), none));
    let host: EnvoyVirtualHost = mesh.decode("VirtualHost http.80/*.a.test");
    let Some(route::Action::DirectResponse(answer)) = &host.routes[0].action else { panic!("an answer") };
    assert_eq!(answer.status, 500);
}

#[test]
fn shells_and_virtual_hosts_make_route_configurations() {
    let mesh = mesh(Settings::default());
    let resources = mesh.resources();
    let shell = &resources["RouteConfiguration http.80"].body;
    let hosts = [&resources["VirtualHost http.80/*.a.test"].body];
    let whole = RouteConfiguration::decode(assemble::full(shell, hosts.into_iter())).unwrap();
    assert_eq!(whole.virtual_hosts.len(), 1);
    assert!(whole.ignore_port_in_host_matching && whole.name == "http.80");
}
