//! Model values to Envoy resources: pure functions, one resource each.
//!
//! The units are small: a virtual host, a cluster, a set of endpoints, a certificate, a listener's port, a gateway's
//! authorization filters. What several gateways share is encoded once, and each scope holds the same bytes.
//! Names and the canonical form of requests: `src/ARCHITECTURE.md`.

mod access_log;
mod action;
mod cluster;
mod custom;
mod headers;
mod http;
mod inputs;
mod jwt;
mod listener;
mod outputs;
mod rbac;
mod redirect;
mod rewrite;
mod route;
mod secret;
mod settings;
mod steps;
mod stream;
mod tls;
mod udp;
mod wire;

pub use inputs::Inputs;
pub use listener::listener_name;
pub use outputs::Outputs;
pub use settings::{AccessLog, Settings};

use engine::{Engine, Rows, Table, View};
use listener::listener;
use model::{
    Authentication, BackendTls, CertificateKey, Cluster, Endpoints, Hostname, KeyPair, Listener, ListenerKey,
    ObjectKey, Originate, Policy, Protocol, Shown, Stream, StreamKey, Trust, TrustKey, VirtualHost, VirtualHostKey,
};
use proto::{Resource, ResourceKey, Scope, TypeUrl};
use route::{route_name, shell, virtual_host, virtual_host_name};
use std::sync::Arc;

/// Bytes that are buffered for a connection before its peer has to wait.
const BUFFER_LIMIT: u32 = 64 * 1024;
/// HTTP/2 windows, in bytes.
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;

/// Declares the tables of resources over the tables of model values.
pub fn declare(engine: &mut Engine, settings: Settings, inputs: Inputs) -> Outputs {
    let settings = Arc::new(settings);
    let ports = engine.derive("ports", &inputs.listeners, |_: &View, key: &ListenerKey, rows: &Rows<Listener>| {
        let connections = rows.iter().filter(|listener| listener.protocol != Protocol::Udp).take(1);
        connections.map(|listener| ((key.gateway.clone(), listener.port), key.name.clone())).collect()
    });
    let datagrams = datagrams(engine, &settings, &inputs);
    let clusters = clusters(engine, &inputs);
    let endpoints = endpoints(engine, &inputs);
    let listeners = listeners(engine, &settings, &inputs, ports);
    let extensions = [extensions(engine, &settings, &inputs), streams(engine, &settings, &inputs)];
    let tables = [
        engine.union("all cluster resources", &[clusters, datagrams.clusters]),
        engine.union("all endpoint resources", &[endpoints, datagrams.endpoints]),
        all_secrets(engine, &inputs),
        engine.union("all listener resources", &[listeners, datagrams.listeners]),
        engine.union("all extension resources", &extensions),
        routes(engine, &inputs, ports),
        virtual_hosts(engine, &inputs),
    ];
    Outputs { tables: tables.map(|table| engine.output(&table)) }
}

type Resources = Table<ResourceKey, Resource>;
/// `(gateway, port)` to the names of its listeners.
type Ports = Table<(ObjectKey, u16), Arc<str>>;

fn key(gateway: &ObjectKey, type_url: TypeUrl, name: impl Into<Arc<str>>) -> ResourceKey {
    ResourceKey { scope: Scope::gateway(&gateway.namespace, &gateway.name), type_url, name: name.into() }
}

fn clusters(engine: &mut Engine, inputs: &Inputs) -> Resources {
    let encoded =
        engine.derive("encoded clusters", &inputs.clusters, |_: &View, name: &Arc<str>, rows: &Rows<Cluster>| {
            vec![(name.clone(), cluster::cluster(name, &rows[0], None))]
        });
    let (clusters, shown) = (inputs.clusters, inputs.backend_certificates);
    engine.derive("cluster resources", &inputs.gateway_clusters, move |view: &View, (gateway, name), _: &Rows<()>| {
        // A Gateway with a certificate of its own has clusters of its own, where TLS starts.
        let own = view.get(&shown, gateway).and_then(|certificate| {
            let cluster = view.get(&clusters, name).filter(|cluster| cluster.tls.is_some())?;
            Some(cluster::cluster(name, &cluster, Some(&certificate)))
        });
        let resource = own.or_else(|| view.get(&encoded, name).map(|shared| (*shared).clone()));
        resource.map(|one| (key(gateway, TypeUrl::Cluster, name.clone()), one)).into_iter().collect()
    })
}

fn endpoints(engine: &mut Engine, inputs: &Inputs) -> Resources {
    let known = inputs.endpoints;
    let encoded = engine.derive(
        "encoded endpoints",
        &inputs.clusters,
        move |view: &View, name: &Arc<str>, rows: &Rows<Cluster>| {
            if cluster::is_known_by_itself(&rows[0]) {
                return Vec::new();
            }
            let none = Endpoints::default();
            let endpoints = view.get(&known, name);
            vec![(name.clone(), cluster::endpoints(name, endpoints.as_deref().unwrap_or(&none)))]
        },
    );
    engine.derive("endpoint resources", &inputs.gateway_clusters, move |view: &View, (gateway, name), _: &Rows<()>| {
        let resource = view.get(&encoded, name);
        resource.map(|one| (key(gateway, TypeUrl::Endpoints, name.clone()), (*one).clone())).into_iter().collect()
    })
}

fn all_secrets(engine: &mut Engine, inputs: &Inputs) -> Resources {
    let originated = originated(engine, inputs);
    let parts = [secrets(engine, inputs, originated), trust(engine, inputs, originated)];
    engine.union("all secret resources", &parts)
}

/// The TLS that starts towards a Gateway's clusters: few of them have any.
type Originated = Table<(ObjectKey, Arc<str>), Originate>;

fn originated(engine: &mut Engine, inputs: &Inputs) -> Originated {
    let clusters = inputs.clusters;
    engine.derive(
        "TLS of clusters",
        &inputs.gateway_clusters,
        move |view: &View, of: &(ObjectKey, Arc<str>), _: &Rows<()>| match view.get(&clusters, &of.1).as_deref() {
            Some(Cluster { tls: Some(BackendTls::Originate(originate)), .. }) => vec![(of.clone(), originate.clone())],
            _ => Vec::new(),
        },
    )
}

/// Sets of authorities: each Gateway gets those of its clusters.
fn trust(engine: &mut Engine, inputs: &Inputs, originated: Originated) -> Resources {
    let encoded = engine.derive("encoded trust", &inputs.trust, |_: &View, name: &TrustKey, rows: &Rows<Trust>| {
        vec![(name.clone(), tls::trust(name, &rows[0]))]
    });
    let used = engine.derive(
        "used trust",
        &originated,
        |_: &View, (gateway, _): &(ObjectKey, Arc<str>), rows: &Rows<Originate>| {
            vec![((gateway.clone(), rows[0].trust.clone()), ())]
        },
    );
    let of_clients =
        engine.derive("used client trust", &inputs.listeners, |_: &View, key: &ListenerKey, rows: &Rows<Listener>| {
            let clients = rows[0].tls.iter().filter_map(|tls| tls.clients.as_ref());
            clients.map(|clients| ((key.gateway.clone(), clients.trust.clone()), ())).collect()
        });
    let used = engine.union("all used trust", &[used, of_clients]);
    engine.derive("trust resources", &used, move |view: &View, (gateway, name), _: &Rows<()>| {
        let resource = view.get(&encoded, name);
        resource.map(|one| (key(gateway, TypeUrl::Secret, name.to_string()), (*one).clone())).into_iter().collect()
    })
}

fn secrets(engine: &mut Engine, inputs: &Inputs, originated: Originated) -> Resources {
    let encoded = engine.derive(
        "encoded secrets",
        &inputs.certificates,
        |_: &View, name: &CertificateKey, rows: &Rows<KeyPair>| vec![(name.clone(), secret::secret(name, &rows[0]))],
    );
    let used =
        engine.derive("used certificates", &inputs.listeners, |_: &View, key: &ListenerKey, rows: &Rows<Listener>| {
            let certificates = rows[0].tls.iter().flat_map(|tls| &tls.certificates);
            certificates.map(|certificate| ((key.gateway.clone(), certificate.clone()), ())).collect()
        });
    let shown = engine.derive(
        "used backend certificates",
        &inputs.backend_certificates,
        |_: &View, gateway: &ObjectKey, rows: &Rows<CertificateKey>| {
            rows.iter().map(|certificate| ((gateway.clone(), (**certificate).clone()), ())).collect()
        },
    );
    let own = engine.derive(
        "used certificates of clusters",
        &originated,
        |_: &View, (gateway, _): &(ObjectKey, Arc<str>), rows: &Rows<Originate>| match &rows[0].shown {
            Shown::Own(certificate) => vec![((gateway.clone(), certificate.clone()), ())],
            Shown::OfGateway | Shown::Nothing => Vec::new(),
        },
    );
    let used = engine.union("all used certificates", &[used, shown, own]);
    engine.derive("secret resources", &used, move |view: &View, (gateway, name), _: &Rows<()>| {
        let resource = view.get(&encoded, name);
        resource.map(|one| (key(gateway, TypeUrl::Secret, name.to_string()), (*one).clone())).into_iter().collect()
    })
}

fn listeners(engine: &mut Engine, settings: &Arc<Settings>, inputs: &Inputs, ports: Ports) -> Resources {
    let (settings, listeners) = (settings.clone(), inputs.listeners);
    // Apart, so that where a stream goes reaches no listener.
    let hosts = engine.derive("stream hosts", &inputs.streams, |_: &View, stream: &StreamKey, _: &Rows<Stream>| {
        let port = (stream.listener.gateway.clone(), stream.port);
        let host = (stream.protocol == Protocol::Tls).then(|| (stream.listener.clone(), stream.host.clone()));
        host.map(|host: (ListenerKey, Hostname)| (port, host)).into_iter().collect()
    });
    engine.derive("listener resources", &ports, move |view: &View, port, names: &Rows<Arc<str>>| {
        let mine = at_port(view, &listeners, &port.0, names);
        let hosts = view.rows(&hosts, port).iter().map(|host| (**host).clone()).collect();
        let name = key(&port.0, TypeUrl::Listener, listener_name(port.1));
        vec![(name, listener(&settings, port.1, &mine, &hosts))]
    })
}

/// Where streams of connections go, and the policies of Gateways that have any.
fn streams(engine: &mut Engine, settings: &Arc<Settings>, inputs: &Inputs) -> Resources {
    let (of_streams, of_policies, policies) = (settings.clone(), settings.clone(), inputs.policies);
    // Apart, so that what a policy says reaches no stream.
    let guarded =
        engine.derive("guarded gateways", &inputs.policies, |_: &View, gateway: &ObjectKey, _: &Rows<Policy>| {
            vec![(gateway.clone(), ())]
        });
    let proxies = engine.derive(
        "stream resources",
        &inputs.streams,
        move |view: &View, stream: &StreamKey, rows: &Rows<Stream>| {
            let connections = rows.iter().filter(|_| stream.protocol != Protocol::Udp);
            let is_guarded = view.contains(&guarded, &stream.listener.gateway);
            let name = key(&stream.listener.gateway, TypeUrl::Extension, stream::stream_name(stream));
            connections.map(|row| (name.clone(), stream::proxy(&of_streams, stream, row, is_guarded))).collect()
        },
    );
    let gateways = engine.derive(
        "gateways with streams",
        &inputs.listeners,
        |_: &View, key: &ListenerKey, rows: &Rows<Listener>| {
            let streams = rows.iter().filter(|one| matches!(one.protocol, Protocol::Tcp | Protocol::Tls)).take(1);
            streams.map(|_| (key.gateway.clone(), ())).collect()
        },
    );
    let filters = engine.derive("stream policies", &gateways, move |view: &View, gateway: &ObjectKey, _: &Rows<()>| {
        let mine: Vec<Arc<Policy>> = view.rows(&policies, gateway).into_iter().collect();
        let filters = rbac::stream_filters(&of_policies, &mine).into_iter();
        filters.map(|(name, filter)| (key(gateway, TypeUrl::Extension, name), filter)).collect()
    });
    engine.union("stream extensions", &[proxies, filters])
}

/// What streams of datagrams need.
struct Datagrams {
    clusters: Resources,
    endpoints: Resources,
    listeners: Resources,
}

fn datagrams(engine: &mut Engine, settings: &Arc<Settings>, inputs: &Inputs) -> Datagrams {
    let settings = settings.clone();
    let (known, policies) = (inputs.endpoints, inputs.policies);
    let ports = engine.derive("udp ports", &inputs.streams, |_: &View, stream: &StreamKey, _: &Rows<Stream>| {
        let port = (stream.protocol == Protocol::Udp).then(|| (stream.clone(), ()));
        port.into_iter().collect()
    });
    let of = |stream: &StreamKey, type_url, name: String| key(&stream.listener.gateway, type_url, name);
    Datagrams {
        clusters: engine.derive("udp clusters", &ports, move |_: &View, stream: &StreamKey, _: &Rows<()>| {
            let name = stream::stream_name(stream);
            vec![(of(stream, TypeUrl::Cluster, name.clone()), udp::cluster(&name))]
        }),
        listeners: engine.derive("udp listeners", &ports, move |_: &View, stream: &StreamKey, _: &Rows<()>| {
            let name = of(stream, TypeUrl::Listener, listener::udp_listener_name(stream.port));
            vec![(name, udp::listener(&settings, stream.port, stream::stream_name(stream)))]
        }),
        endpoints: engine.derive(
            "udp endpoints",
            &inputs.streams,
            move |view: &View, stream: &StreamKey, rows: &Rows<Stream>| {
                let Some(row) = rows.first().filter(|_| stream.protocol == Protocol::Udp) else { return Vec::new() };
                let mine: Vec<Arc<Policy>> = view.rows(&policies, &stream.listener.gateway).into_iter().collect();
                let refused = Stream::default();
                let row = if udp::is_open(stream.port, &mine) { row } else { &refused };
                let name = stream::stream_name(stream);
                let endpoints = udp::endpoints(&name, row, |cluster| view.get(&known, &cluster.into()));
                vec![(of(stream, TypeUrl::Endpoints, name), endpoints)]
            },
        ),
    }
}

/// The listeners of a port with their keys, in the order of their names.
fn at_port(
    view: &View,
    listeners: &Table<ListenerKey, Listener>,
    gateway: &ObjectKey,
    names: &Rows<Arc<str>>,
) -> Vec<(ListenerKey, Arc<Listener>)> {
    let keys = names.iter().map(|name| ListenerKey { gateway: gateway.clone(), name: (**name).clone() });
    keys.filter_map(|key| view.get(listeners, &key).map(|listener| (key, listener))).collect()
}

fn routes(engine: &mut Engine, inputs: &Inputs, ports: Ports) -> Resources {
    let listeners = inputs.listeners;
    engine.derive("route resources", &ports, move |view: &View, (gateway, port), names: &Rows<Arc<str>>| {
        let mine = at_port(view, &listeners, gateway, names);
        let mut tables: Vec<String> = mine
            .iter()
            .filter(|(_, listener)| listener.protocol.is_http())
            .map(|(key, listener)| {
                let https = (listener.protocol == Protocol::Https).then_some(&*key.name);
                route_name(gateway, *port, https)
            })
            .collect();
        tables.dedup();
        tables.into_iter().map(|name| (key(gateway, TypeUrl::Route, name.as_str()), shell(&name))).collect()
    })
}

fn virtual_hosts(engine: &mut Engine, inputs: &Inputs) -> Resources {
    engine.derive(
        "virtual host resources",
        &inputs.virtual_hosts,
        |_: &View, host: &VirtualHostKey, rows: &Rows<VirtualHost>| {
            vec![(key(&host.gateway, TypeUrl::VirtualHost, virtual_host_name(host)), virtual_host(host, &rows[0]))]
        },
    )
}

fn extensions(engine: &mut Engine, settings: &Arc<Settings>, inputs: &Inputs) -> Resources {
    let (settings, policies, authentications) = (settings.clone(), inputs.policies, inputs.authentications);
    let authorizers = inputs.authorizers;
    engine.derive("extension resources", &inputs.gateways, move |view: &View, gateway: &ObjectKey, _: &Rows<()>| {
        let mine: Vec<Arc<Policy>> = view.rows(&policies, gateway).into_iter().collect();
        let tokens: Vec<Arc<Authentication>> = view.rows(&authentications, gateway).into_iter().collect();
        let custom = custom::filter(&settings, &mine, view.get(&authorizers, gateway).as_deref());
        rbac::filters(&settings, &mine)
            .into_iter()
            .chain([(jwt::TOKENS, jwt::filter(&tokens)), (custom::CUSTOM, custom)])
            .map(|(name, filter)| (key(gateway, TypeUrl::Extension, name), filter))
            .collect()
    })
}
