//! Envoy listeners: one for each port of a Gateway.

use crate::{Settings, http::connection_manager, route_name, tls, wire};
use model::{Listener, ListenerKey, Protocol, Tls};
use proto::{
    Resource,
    envoy::envoy::{
        config::listener::v3::{
            Filter, FilterChain, FilterChainMatch, Listener as EnvoyListener, ListenerFilter, filter, listener_filter,
        },
        extensions::{
            filters::listener::tls_inspector::v3::TlsInspector,
            transport_sockets::tls::v3::{CommonTlsContext, DownstreamTlsContext},
        },
    },
};
use std::sync::Arc;

/// The name of the Envoy listener of a port.
pub fn listener_name(port: u16) -> String {
    format!("0.0.0.0_{port}")
}

/// The Envoy listener of the listeners of one Gateway and port. All HTTP listeners share a filter chain, since the host
/// decides among them; each HTTPS listener has its own, chosen by SNI. The port's protocol is that of the first.
pub(crate) fn listener(settings: &Settings, port: u16, listeners: &[(ListenerKey, Arc<Listener>)]) -> Resource {
    let tls = listeners.first().is_some_and(|(_, listener)| listener.protocol == Protocol::Https);
    let filter_chains = match tls {
        false => listeners.first().map(|(key, listener)| cleartext(settings, key, listener)).into_iter().collect(),
        true => listeners.iter().filter_map(|(key, listener)| encrypted(settings, key, listener)).collect(),
    };
    Resource::encode(&EnvoyListener {
        name: listener_name(port),
        address: Some(wire::address(&settings.bind.to_string(), settings.bound_port(port))),
        filter_chains,
        per_connection_buffer_limit_bytes: wire::uint(crate::BUFFER_LIMIT),
        listener_filters: if tls { vec![tls_inspector()] } else { Vec::new() },
        ..Default::default()
    })
}

fn tls_inspector() -> ListenerFilter {
    ListenerFilter {
        name: "envoy.filters.listener.tls_inspector".to_owned(),
        config_type: Some(listener_filter::ConfigType::TypedConfig(wire::any(&TlsInspector::default()))),
        ..Default::default()
    }
}

fn cleartext(settings: &Settings, key: &ListenerKey, listener: &Listener) -> FilterChain {
    let routes = route_name(&key.gateway, listener.port, None);
    FilterChain { name: routes.clone(), filters: vec![http(settings, routes)], ..Default::default() }
}

/// None if there is no certificate to present, which `resolve` doesn't let through.
fn encrypted(settings: &Settings, key: &ListenerKey, listener: &Listener) -> Option<FilterChain> {
    let tls = listener.tls.as_ref()?;
    let routes = route_name(&key.gateway, listener.port, Some(&key.name));
    let server_names = match listener.hostname.is_any() {
        true => Vec::new(),
        false => vec![listener.hostname.as_str().to_owned()],
    };
    Some(FilterChain {
        name: routes.clone(),
        filter_chain_match: Some(FilterChainMatch { server_names, ..Default::default() }),
        filters: vec![http(settings, routes)],
        transport_socket: Some(tls::socket(&terminate(tls))),
        ..Default::default()
    })
}

fn terminate(terminated: &Tls) -> DownstreamTlsContext {
    DownstreamTlsContext {
        common_tls_context: Some(CommonTlsContext {
            tls_params: Some(tls::parameters()),
            tls_certificate_sds_secret_configs: terminated.certificates.iter().map(tls::sds).collect(),
            alpn_protocols: vec!["h2".to_owned(), "http/1.1".to_owned()],
            ..Default::default()
        }),
        ..Default::default()
    }
}

fn http(settings: &Settings, routes: String) -> Filter {
    Filter {
        name: "envoy.filters.network.http_connection_manager".to_owned(),
        config_type: Some(filter::ConfigType::TypedConfig(wire::any(&connection_manager(settings, routes)))),
    }
}
