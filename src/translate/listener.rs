//! Envoy listeners: one for each port of a Gateway.

use crate::{Settings, http::connection_manager, route_name, stream, stream::stream_name, tls, wire};
use model::{Clients, Hostname, Listener, ListenerKey, Protocol, StreamKey, Tls};
use prost::Name;
use proto::{
    Resource,
    envoy::envoy::{
        config::listener::v3::{
            Filter, FilterChain, FilterChainMatch, Listener as EnvoyListener, ListenerFilter, filter, listener_filter,
        },
        extensions::{
            filters::listener::{proxy_protocol::v3::ProxyProtocol, tls_inspector::v3::TlsInspector},
            transport_sockets::tls::v3::{
                CommonTlsContext, DownstreamTlsContext, downstream_tls_context::SessionTicketKeysType,
            },
        },
    },
};
use std::{collections::BTreeSet, sync::Arc};

/// The name of the Envoy listener of a port.
pub fn listener_name(port: u16) -> String {
    format!("0.0.0.0_{port}")
}

/// The name of the Envoy listener of a port of UDP.
pub(crate) fn udp_listener_name(port: u16) -> String {
    format!("0.0.0.0_{port}_udp")
}

/// The Envoy listener of the listeners of one Gateway and port, with the hosts of their streams of TLS. All HTTP
/// listeners share a filter chain, since the host decides among them; each HTTPS listener has its own, chosen by SNI, and
/// so has each host of a TLS listener.
pub(crate) fn listener(
    settings: &Settings,
    port: u16,
    listeners: &[(ListenerKey, Arc<Listener>)],
    hosts: &BTreeSet<(ListenerKey, Hostname)>,
) -> Resource {
    let tls = listeners.first().is_some_and(|(_, listener)| listener.protocol.is_by_server_name());
    let announced = listeners.first().is_some_and(|(_, listener)| listener.proxy_protocol);
    let mut filter_chains: Vec<_> = match listeners.first() {
        Some((key, listener)) if listener.protocol == Protocol::Http => vec![cleartext(settings, key, listener)],
        Some((key, listener)) if listener.protocol == Protocol::Tcp => vec![tcp(key, listener)],
        _ => listeners.iter().filter_map(|(key, listener)| encrypted(settings, key, listener)).collect(),
    };
    for (key, listener) in listeners.iter().filter(|(_, listener)| listener.protocol == Protocol::Tls) {
        let mine = hosts.iter().filter(|(of, _)| of == key);
        filter_chains.extend(mine.map(|(_, host)| tls_stream(key, listener, host)));
    }
    if filter_chains.is_empty() {
        // TLS without routes: Envoy wants a chain, and clients are to be turned away rather than not heard.
        let filters = vec![stream::closing(settings)];
        filter_chains.push(FilterChain { name: "closed".to_owned(), filters, ..Default::default() });
    }
    Resource::encode(&EnvoyListener {
        name: listener_name(port),
        address: Some(wire::address(&settings.bind.to_string(), settings.bound_port(port))),
        filter_chains,
        per_connection_buffer_limit_bytes: wire::uint(crate::BUFFER_LIMIT),
        listener_filters: announced.then(proxy_protocol).into_iter().chain(tls.then(tls_inspector)).collect(),
        ..Default::default()
    })
}

fn tls_inspector() -> ListenerFilter {
    listener_filter("envoy.filters.listener.tls_inspector", &TlsInspector::default())
}

/// Either version; who sends none is refused.
fn proxy_protocol() -> ListenerFilter {
    listener_filter("envoy.filters.listener.proxy_protocol", &ProxyProtocol::default())
}

fn listener_filter(name: &str, filter: &impl Name) -> ListenerFilter {
    let config_type = Some(listener_filter::ConfigType::TypedConfig(wire::any(filter)));
    ListenerFilter { name: name.to_owned(), config_type, ..Default::default() }
}

fn cleartext(settings: &Settings, key: &ListenerKey, listener: &Listener) -> FilterChain {
    let routes = route_name(&key.gateway, listener.port, None);
    FilterChain { name: routes.clone(), filters: vec![http(settings, routes, None)], ..Default::default() }
}

fn tcp(key: &ListenerKey, listener: &Listener) -> FilterChain {
    let host = Hostname::new(None);
    let key = StreamKey { listener: key.clone(), port: listener.port, protocol: Protocol::Tcp, host };
    FilterChain { name: stream_name(&key), filters: stream::filters(&key), ..Default::default() }
}

/// Bytes of TLS, or of what is in it if it ends here.
fn tls_stream(key: &ListenerKey, listener: &Listener, host: &Hostname) -> FilterChain {
    let key = StreamKey { listener: key.clone(), port: listener.port, protocol: Protocol::Tls, host: host.clone() };
    // Whoever doesn't speak TLS at all is no match, also where every host is.
    let matches = FilterChainMatch {
        server_names: server_names(host),
        transport_protocol: "tls".to_owned(),
        ..Default::default()
    };
    FilterChain {
        name: stream_name(&key),
        filter_chain_match: Some(matches),
        filters: stream::filters(&key),
        transport_socket: listener.tls.as_ref().map(|terminated| tls::socket(&terminate(terminated, &[]))),
        ..Default::default()
    }
}

fn server_names(host: &Hostname) -> Vec<String> {
    if host.is_any() { Vec::new() } else { vec![host.as_str().to_owned()] }
}

/// None if it isn't HTTPS, or there is no certificate to present, which `resolve` doesn't let through.
fn encrypted(settings: &Settings, key: &ListenerKey, listener: &Listener) -> Option<FilterChain> {
    let tls = listener.tls.as_ref().filter(|_| listener.protocol == Protocol::Https)?;
    let routes = route_name(&key.gateway, listener.port, Some(&key.name));
    let server_names = server_names(&listener.hostname);
    Some(FilterChain {
        name: routes.clone(),
        filter_chain_match: Some(FilterChainMatch { server_names, ..Default::default() }),
        filters: vec![http(settings, routes, tls.clients.as_ref())],
        transport_socket: Some(tls::socket(&terminate(tls, &["h2", "http/1.1"]))),
        ..Default::default()
    })
}

fn terminate(terminated: &Tls, alpn: &[&str]) -> DownstreamTlsContext {
    DownstreamTlsContext {
        common_tls_context: Some(CommonTlsContext {
            tls_params: Some(tls::parameters()),
            tls_certificate_sds_secret_configs: terminated.certificates.iter().map(tls::sds).collect(),
            alpn_protocols: alpn.iter().map(|&protocol| protocol.to_owned()).collect(),
            validation_context_type: terminated.clients.as_ref().map(tls::of_clients),
            ..Default::default()
        }),
        require_client_certificate: terminated.clients.as_ref().and_then(|clients| wire::bool(clients.required)),
        // A resumed session would not look again whether the client's certificate is still valid and trusted.
        disable_stateful_session_resumption: terminated.clients.is_some(),
        session_ticket_keys_type: terminated
            .clients
            .is_some()
            .then_some(SessionTicketKeysType::DisableStatelessSessionResumption(true)),
        ..Default::default()
    }
}

fn http(settings: &Settings, routes: String, clients: Option<&Clients>) -> Filter {
    let manager = connection_manager(settings, routes, clients.is_some_and(|clients| clients.required));
    Filter {
        name: "envoy.filters.network.http_connection_manager".to_owned(),
        config_type: Some(filter::ConfigType::TypedConfig(wire::any(&manager))),
    }
}
