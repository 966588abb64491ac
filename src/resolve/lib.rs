//! Kubernetes objects to model values and verdicts; pure.
//!
//! [`declare`] adds the tables to an engine: inputs of Kubernetes objects, and what follows from them. Every unit is
//! small and reads only what it needs, so that an edit costs what depends on it:
//!
//! ```text
//! gateway classes --> classes --+
//! gateways, listener sets ------+-> gateways' shapes --> surfaces (what routes see), listeners, workloads
//! secrets --> certificate verdicts, grants ------------------^ (listeners only)
//! config maps --> authority verdicts --> backend TLS policies --> clusters; authorities --> trust
//! xbackends, authority and certificate verdicts --> places (what routes see), clusters, trust
//! backend traffic policies --> traffic of services --> clusters (retry budgets), routed (sessions)
//! routes --------> rules (parsed) --> routed (references resolved: services, grants)
//!             +-> heads --> parents (surfaces, namespaces' labels, rivals of the other kind) --> attached routes
//!                                                         +-> fragments --> virtual hosts
//!                                                         +-> clusters of gateways
//! stream routes -> heads, references resolved --> streams (the oldest route of each listener and host)
//! services --> clusters --> endpoints (endpoint slices)
//! gateways' shapes, grants, backend TLS policies --> objects wanted
//! authorization policies --> policies, parsed --> policies of gateways
//! request authentications, fetched keys --> authentications of gateways
//! ```
//!
//! The code that decides a value decides its status too. A bad object has a verdict and hurts nothing else.

mod address;
mod authentication;
mod authority;
mod backend_tls;
mod backend_traffic;
mod certificate;
mod class;
mod conflict;
mod endpoints;
mod feature;
mod frontend;
mod gateway;
mod grant;
mod http2;
mod infrastructure;
mod inputs;
mod isolation;
mod kind;
mod listener;
mod listener_set;
mod namespace;
mod parameters;
mod parent;
mod policy;
mod precedence;
mod proxy_protocol;
mod regex;
mod rivals;
mod route;
mod service;
mod service_policy;
mod settings;
mod status;
mod stream;
mod validation;
mod virtual_host;
mod wanted;
mod xbackend;

pub use authentication::{FetchedKeys, KeySource};
pub use feature::SUPPORTED_FEATURES;
pub use infrastructure::label;
pub use inputs::Inputs;
pub use settings::{CONTROLLER, ENVOY_CONTROLLER, Reach, Settings};

use engine::{Engine, Table};
use model::{
    Authentication, Authorizer, CertificateKey, Cluster, Endpoints, Infrastructure, KeyPair, Listener, ListenerKey,
    ObjectKey, ObjectRef, Policy, Status, Stream, StreamKey, Trust, TrustKey, VirtualHost, VirtualHostKey,
};
use std::sync::Arc;

/// A namespace and a service account in it, as a certificate or a token proves them.
pub type Account = (Arc<str>, Arc<str>);

/// What resolution gives. `translate::Inputs` has the same tables under the same names.
#[derive(Clone, Copy)]
pub struct Tables {
    /// Where objects go in.
    pub inputs: Inputs,
    /// The Gateways of ours that are accepted.
    pub gateways: Table<ObjectKey, ()>,
    /// Listeners that may be programmed.
    pub listeners: Table<ListenerKey, Listener>,
    /// Virtual hosts, one row each.
    pub virtual_hosts: Table<VirtualHostKey, VirtualHost>,
    /// Streams, one row each.
    pub streams: Table<StreamKey, Stream>,
    /// Clusters by name, one for each port of each Service and one for each XBackend.
    pub clusters: Table<Arc<str>, Cluster>,
    /// Endpoints by the name of their cluster.
    pub endpoints: Table<Arc<str>, Endpoints>,
    /// Which Gateway's routes name which cluster; a row for each route that does.
    pub gateway_clusters: Table<(ObjectKey, Arc<str>), ()>,
    /// Usable certificates; all that Secrets hold, referenced or not.
    pub certificates: Table<CertificateKey, KeyPair>,
    /// Sets of authorities; any number of equal rows.
    pub trust: Table<TrustKey, Trust>,
    /// The certificate that a Gateway shows to backends.
    pub backend_certificates: Table<ObjectKey, CertificateKey>,
    /// All policies that apply to a Gateway, in the order of their keys.
    pub policies: Table<ObjectKey, Policy>,
    /// Whom a Gateway asks about what its CUSTOM policies match; at most one row.
    pub authorizers: Table<ObjectKey, Authorizer>,
    /// All RequestAuthentications that apply to a Gateway, in the order of their keys.
    pub authentications: Table<ObjectKey, Authentication>,
    /// Where keys of issuers are to be fetched; what comes of it goes into `inputs.fetched_keys`.
    pub key_sources: Table<KeySource, ()>,
    /// Statuses of GatewayClasses, Gateways, ListenerSets, routes and policies that concern us. `Programmed` is
    /// `Unknown` where only the proxies' acknowledgement is missing.
    pub statuses: Table<ObjectRef, Status>,
    /// The Gateway whose proxies have that service account: `<gateway>-<class>` in the Gateway's namespace. More than
    /// one row if names run together (`a-b` of class `c`, `a` of class `b-c`).
    pub gateway_accounts: Table<Account, ObjectKey>,
    /// What is to be made in the cluster for Gateways whose proxies are ours to run.
    pub infrastructures: Table<ObjectKey, Infrastructure>,
    /// The Secrets and ConfigMaps that somebody refers to who may; any number of rows. Which of them can't be read goes
    /// into `inputs.unreadable`.
    pub wanted: Table<ObjectRef, ()>,
}

/// Declares all tables.
pub fn declare(engine: &mut Engine, settings: Settings) -> Tables {
    let settings = Arc::new(settings);
    let inputs = Inputs::declare(engine);
    let grants = grant::declare(engine, &inputs);
    let unreadable = wanted::unreadable(engine, &inputs);
    let certificates = certificate::declare(engine, &inputs, &unreadable);
    let authorities = authority::declare(engine, &inputs, &unreadable);
    let backend_tls = backend_tls::declare(engine, &inputs, &authorities);
    let traffic = backend_traffic::declare(engine, &inputs);
    let services = service::declare(engine, &inputs, &backend_tls, traffic.by_service, &settings);
    let endpoints = endpoints::declare(engine, &inputs, &services);
    let xbackends = xbackend::declare(engine, &inputs, (&authorities, &certificates), grants, &settings);
    let backends = route::backend::Backends::new(&services, &xbackends, grants);
    let classes = class::declare(engine, &inputs, &settings);
    let labels = namespace::declare(engine, &inputs);
    let gateways = gateway::declare(engine, &inputs, &classes, labels, &settings);
    let listeners = listener::declare(engine, &gateways, &certificates, &authorities, grants);
    let frontends = frontend::declare(engine, &gateways, &authorities, &certificates, grants);
    let routes = route::declare(engine, &inputs, backends);
    let stream_routes = stream::declare_routes(engine, &inputs, backends);
    let routes = stream_routes.beside(engine, routes);
    let policies = policy::declare(engine, &inputs, &gateways, services.shapes, &settings);
    let http2 = engine.union("clusters in HTTP/2", &[routes.http2, policies.http2]);
    let clusters = http2::clusters(engine, &[services.clusters, xbackends.clusters], http2);
    let endpoints = http2::endpoints(engine, endpoints, http2);
    let rivals = rivals::declare(engine, &gateways, &routes, labels);
    let parents = parent::declare(engine, &gateways, &routes, labels, rivals);
    let hosts = virtual_host::declare(engine, &gateways, &parents, &routes);
    let streams = stream::declare(engine, &gateways, &parents, &stream_routes);
    let gateway_clusters = engine
        .union("all gateway clusters", &[hosts.gateway_clusters, streams.gateway_clusters, policies.gateway_clusters]);
    let authentications = authentication::declare(engine, &inputs, &gateways, &settings);
    let statuses =
        status::declare(engine, &inputs, &classes, &gateways, &listeners, &frontends, &routes, &parents, &policies);
    let reach = service_policy::Reach::declare(engine, services.shapes, gateway_clusters, gateways.workloads);
    let of_backends = [
        xbackend::statuses(engine, &inputs, &xbackends, routes.xbackends, &parents, gateways.workloads),
        backend_tls::statuses(engine, &inputs, &backend_tls, reach),
        backend_traffic::statuses(engine, &inputs, &traffic, reach),
    ];
    let of_backends = engine.union("backend statuses", &of_backends);
    let statuses = engine.union("all statuses", &[statuses, of_backends, authentications.statuses]);
    Tables {
        inputs,
        gateways: gateways.accepted,
        listeners: listeners.listeners,
        virtual_hosts: hosts.virtual_hosts,
        streams: streams.streams,
        clusters,
        endpoints,
        gateway_clusters,
        certificates: certificates.usable,
        trust: engine.union("trust", &[backend_tls.trust, xbackends.trust, frontends.trust]),
        backend_certificates: frontends.shown,
        policies: policies.by_gateway,
        authorizers: policies.authorizers,
        authentications: authentications.by_gateway,
        key_sources: authentications.sources,
        statuses,
        gateway_accounts: gateways.accounts,
        infrastructures: gateways.infrastructures,
        wanted: wanted::declare(
            engine,
            &inputs,
            &gateways,
            grants,
            &[backend_tls.wanted, xbackends.wanted, policies.wanted],
        ),
    }
}
