//! The configuration in force as JSON, in the shape of Envoy's `/config_dump`: made from what is enforced, so that it
//! can't say anything else. Names and shapes are Envoy's; fields that decide nothing here are left out. No secret is
//! ever shown.

use crate::{
    authz::{Rbac, Rules},
    config::{
        Action, Cluster, Config, Discovery, FilterChain, Health, HttpFilter, HttpManager, Listener, PathMatch,
        PolicySource, ProxySource, Route, RouteTable, RoutesFrom, Secret, Serves, Step, StreamChain, TcpProxy,
        VirtualHost,
    },
};
use serde_json::{Value, json};
use std::{fmt::Write, sync::Arc};

pub(super) fn config(config: &Config) -> Value {
    let kind = |name: &str| format!("type.googleapis.com/envoy.admin.v3.{name}");
    json!({"configs": [
        {
            "@type": kind("ClustersConfigDump"),
            "dynamic_active_clusters": sorted(config.clusters.iter()).map(|(_, one)| json!({"cluster": cluster(one)})).collect::<Vec<_>>(),
        },
        {
            "@type": kind("ListenersConfigDump"),
            "dynamic_listeners": sorted(config.listeners.iter()).map(|(name, one)| json!({
                "name": **name,
                "active_state": {"listener": listener(one)},
            })).collect::<Vec<_>>(),
        },
        {
            "@type": kind("RoutesConfigDump"),
            "dynamic_route_configs": sorted(config.tables.iter())
                .map(|(name, one)| json!({"route_config": table(name, one)})).collect::<Vec<_>>(),
        },
        {
            "@type": kind("EndpointsConfigDump"),
            "dynamic_endpoint_configs": sorted(config.clusters.iter())
                .map(|(_, one)| json!({"endpoint_config": endpoints(one)})).collect::<Vec<_>>(),
        },
        {
            "@type": kind("EcdsConfigDump"),
            "ecds_filters": sorted(config.extensions.iter()).map(|(name, one)| json!({
                "ecds_filter": {"name": **name, "typed_config": step(one)},
            })).chain(sorted(config.proxies.iter()).map(|(name, one)| json!({
                "ecds_filter": {"name": **name, "typed_config": tcp_proxy(one)},
            }))).collect::<Vec<_>>(),
        },
        {
            "@type": kind("SecretsConfigDump"),
            "dynamic_active_secrets": sorted(config.secrets.iter()).map(|(name, one)| json!({
                "name": **name,
                "secret": secret(name, one),
            })).collect::<Vec<_>>(),
        },
    ]})
}

/// One line for each listener: `name::address`.
pub(super) fn listeners(config: &Config) -> String {
    sorted(config.listeners.iter()).map(|(name, one)| format!("{name}::{}\n", one.address)).collect()
}

/// One line for each endpoint, as Envoy's `/clusters`.
pub(super) fn clusters(config: &Config) -> String {
    let mut text = String::new();
    for (name, cluster) in sorted(config.clusters.iter()) {
        for endpoint in &cluster.endpoints.list {
            let health = health(endpoint.health);
            let (address, weight) = (endpoint.address, endpoint.weight);
            // Writing to a String can't fail.
            let _ = writeln!(text, "{name}::{address}::health_flags::{health}");
            let _ = writeln!(text, "{name}::{address}::weight::{weight}");
        }
    }
    text
}

fn sorted<'a, V: 'a>(all: impl Iterator<Item = (&'a Arc<str>, V)>) -> impl Iterator<Item = (&'a Arc<str>, V)> {
    let mut all: Vec<_> = all.collect();
    all.sort_by_key(|(name, _)| *name);
    all.into_iter()
}

fn health(health: Health) -> &'static str {
    match health {
        Health::Healthy => "HEALTHY",
        Health::Unhealthy => "UNHEALTHY",
        Health::Draining => "DRAINING",
    }
}

fn cluster(cluster: &Cluster) -> Value {
    let kind = match (&cluster.spec.discovery, &cluster.spec.eds) {
        (Discovery::Dns { all: true, .. }, _) => "STRICT_DNS",
        (Discovery::Dns { .. }, _) => "LOGICAL_DNS",
        (Discovery::Endpoints, Some(_)) => "EDS",
        (Discovery::Endpoints, None) => "STATIC",
    };
    json!({"name": *cluster.spec.name, "type": kind, "connect_timeout": format!("{}s", cluster.spec.connect_timeout.as_secs_f64())})
}

fn endpoints(cluster: &Cluster) -> Value {
    let endpoints = cluster.endpoints.list.iter().map(|endpoint| {
        json!({
            "endpoint": {"address": address(endpoint.address)},
            "health_status": health(endpoint.health),
            "load_balancing_weight": endpoint.weight,
        })
    });
    json!({"cluster_name": *cluster.spec.name, "endpoints": [{"lb_endpoints": endpoints.collect::<Vec<_>>()}]})
}

fn address(address: std::net::SocketAddr) -> Value {
    json!({"socket_address": {"address": address.ip().to_string(), "port_value": address.port()}})
}

fn listener(listener: &Listener) -> Value {
    json!({
        "name": *listener.name,
        "address": address(listener.address),
        "filter_chains": listener.chains.iter().map(|one| chain(one)).collect::<Vec<_>>(),
        "default_filter_chain": listener.default_chain.as_ref().map(|one| chain(one)),
    })
}

fn chain(chain: &FilterChain) -> Value {
    let filters = match &chain.serves {
        Serves::Http(http) => vec![manager(http)],
        Serves::Stream(stream) => stream_filters(stream),
    };
    json!({
        "name": *chain.name,
        "filter_chain_match": {"server_names": chain.matches.server_names.iter().map(|name| &**name).collect::<Vec<_>>()},
        "filters": filters,
        "transport_socket": chain.tls.as_ref().map(|tls| json!({
            "name": "envoy.transport_sockets.tls",
            "certificates": tls.certificates.iter().map(|name| &**name).collect::<Vec<_>>(),
        })),
    })
}

fn stream_filters(stream: &StreamChain) -> Vec<Value> {
    let policies = stream.policies.iter().map(|source| match source {
        PolicySource::Named(name) => json!({"name": **name, "config_discovery": {}}),
        PolicySource::Inline(policy) => json!({"name": "envoy.filters.network.rbac", "typed_config": rbac(policy)}),
    });
    let proxy = match &stream.proxy {
        ProxySource::Named(name) => json!({"name": **name, "config_discovery": {}}),
        ProxySource::Inline(proxy) => {
            json!({"name": "envoy.filters.network.tcp_proxy", "typed_config": tcp_proxy(proxy)})
        }
    };
    policies.chain([proxy]).collect()
}

fn tcp_proxy(proxy: &TcpProxy) -> Value {
    let clusters = proxy.clusters.iter().map(|(name, weight)| json!({"name": **name, "weight": weight}));
    json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
        "weighted_clusters": {"clusters": clusters.collect::<Vec<_>>()},
    })
}

fn manager(http: &HttpManager) -> Value {
    let filters = http.filters.iter().map(|filter| match filter {
        HttpFilter::Named(name) => json!({"name": **name, "config_discovery": {}}),
        HttpFilter::Inline(one) => json!({"typed_config": step(one)}),
        HttpFilter::Cors => json!({"name": "envoy.filters.http.cors"}),
        HttpFilter::OfRoute => json!({"name": "envoy.filters.http.filter_chain"}),
    });
    let routes = match &http.routes {
        RoutesFrom::Named(name) => json!({"route_config_name": **name}),
        RoutesFrom::Inline(one) => table("", one),
    };
    json!({
        "name": "envoy.filters.network.http_connection_manager",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": *http.stat_prefix,
            "rds": routes,
            "http_filters": filters.collect::<Vec<_>>(),
        },
    })
}

fn table(name: &str, table: &RouteTable) -> Value {
    let mut hosts: Vec<&Arc<VirtualHost>> =
        table.exact.values().chain(table.suffixes.values()).chain(table.prefixes.values()).chain(&table.any).collect();
    hosts.sort_by(|one, other| one.name.cmp(&other.name));
    hosts.dedup_by(|one, other| Arc::ptr_eq(one, other));
    let hosts = hosts.into_iter().map(|host| {
        json!({
            "name": *host.name,
            "domains": host.domains.iter().map(|domain| &**domain).collect::<Vec<_>>(),
            "routes": host.routes.iter().map(route).collect::<Vec<_>>(),
        })
    });
    json!({"name": name, "virtual_hosts": hosts.collect::<Vec<_>>()})
}

fn route(route: &Route) -> Value {
    let mut matched = match &route.matches.path {
        PathMatch::Exact(path) => json!({"path": **path}),
        PathMatch::Prefix(prefix) => json!({"prefix": **prefix}),
        PathMatch::Segments(prefix) => json!({"path_separated_prefix": **prefix}),
        PathMatch::Regex(pattern) => json!({"safe_regex": {"regex": pattern.as_str()}}),
    };
    if !route.matches.headers.is_empty() {
        let headers = route.matches.headers.iter().map(|header| json!({"name": *header.name}));
        matched["headers"] = headers.collect();
    }
    if !route.matches.query.is_empty() {
        let query = route.matches.query.iter().map(|parameter| json!({"name": *parameter.name}));
        matched["query_parameters"] = query.collect();
    }
    let mut value = json!({"name": *route.name, "match": matched});
    match &route.action {
        Action::Forward(to) => {
            value["route"] = match &*to.clusters {
                [only] => json!({"cluster": *only.cluster}),
                several => json!({"weighted_clusters": {"clusters": several.iter().map(|one| {
                    json!({"name": *one.cluster, "weight": one.weight})
                }).collect::<Vec<_>>()}}),
            };
        }
        Action::Redirect(redirect) => {
            value["redirect"] = json!({
                "response_code": redirect.status,
                "host_redirect": redirect.host.as_deref(),
                "scheme_redirect": redirect.scheme.as_deref(),
                "port_redirect": redirect.port,
            });
        }
        Action::Direct(direct) => value["direct_response"] = json!({"status": direct.status}),
    }
    value
}

fn step(step: &Step) -> Value {
    match step {
        Step::Rbac(policies) => rbac(policies),
        Step::Session(session) => json!({"stateful_session": format!("{session:?}")}),
        Step::Jwt(filter) => json!({
            "@type": "type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication",
            "providers": text(&filter.providers),
            "requires": filter.requires.as_ref().map(|requires| format!("{requires:?}")),
        }),
        Step::Chain(steps) => json!({"chain": steps.iter().map(self::step).collect::<Vec<_>>()}),
        Step::ExtAuthz(authz) => json!({"ext_authz": {"cluster": *authz.cluster}}),
    }
}

fn rbac(rbac: &Rbac) -> Value {
    let text_of = |rules: &Rules| {
        let policies = rules.policies.iter().map(|policy| {
            let value = json!({"permissions": text(&policy.permissions), "principals": text(&policy.principals)});
            (policy.name.to_string(), value)
        });
        json!({"action": format!("{:?}", rules.effect).to_uppercase(), "policies": policies.collect::<serde_json::Map<_, _>>()})
    };
    json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC",
        "rules": rbac.rules.as_ref().map(text_of),
        "shadow_rules": rbac.shadow.as_ref().map(|shadow| text_of(&shadow.rules)),
        "shadow_rules_stat_prefix": rbac.shadow.as_ref().map(|shadow| &*shadow.prefix),
    })
}

/// Trees of permissions and principals, each in one line.
fn text(items: &[impl std::fmt::Debug]) -> Vec<String> {
    items.iter().map(|item| format!("{item:?}")).collect()
}

fn secret(name: &str, secret: &Secret) -> Value {
    match secret {
        Secret::Certificate(certificate) => json!({
            "name": name,
            "tls_certificate": {
                "dns_names": certificate.names.iter().map(|name| &**name).collect::<Vec<_>>(),
                "not_after": certificate.not_after,
            },
        }),
        Secret::Roots(roots) => json!({"name": name, "validation_context": {"certificates": roots.len()}}),
    }
}
