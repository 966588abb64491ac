//! LDS.

use super::{
    at::{At, Fault, flag, number, take},
    http, stream, tls,
};
use crate::config::{ChainMatch, FilterChain, Listener, Name, Serves, Transport};
use proto::envoy::{
    envoy::{
        config::{
            core::v3::{Address, ConfigSource, SocketAddress, address, config_source, socket_address},
            listener::v3::{self as pb, filter, listener_filter},
        },
        extensions::filters::{
            listener::{proxy_protocol::v3::ProxyProtocol, tls_inspector::v3::TlsInspector},
            network::http_connection_manager::v3::HttpConnectionManager,
        },
    },
    google::protobuf::Any,
};
use std::{net::SocketAddr, sync::Arc, time::Duration};

/// What one connection's buffers may hold if nothing else is said, bytes.
const BUFFER_LIMIT: u32 = 1 << 20;
/// How long a client may take to show what it speaks if nothing else is said.
const INSPECT_TIMEOUT: Duration = Duration::from_secs(15);

pub(super) fn listener(at: &At<'_>, name: &Name, message: pb::Listener) -> Result<Listener, Fault> {
    at.same_name(name, &message.name)?;
    // How a socket is shared, how deep its queue is and how many connections one wake-up takes is this proxy's own
    // business; drain type and direction change nothing for a listener that is only ever replaced whole.
    take!(at, message => pb::Listener {
        address, filter_chains, default_filter_chain, per_connection_buffer_limit_bytes, listener_filters,
        listener_filters_timeout, continue_on_listener_filters_timeout, bind_to_port,
    }
    moot {
        name, stat_prefix, stats_matcher, metadata, drain_type, traffic_direction, connection_balance_config,
        reuse_port, enable_reuse_port, tcp_backlog_size, max_connections_to_accept_per_socket_event,
        ignore_global_conn_limit, bypass_overload_manager, tcp_fast_open_queue_length,
        per_connection_buffer_high_watermark_timeout, tcp_keepalive, enable_mptcp,
    }
    refuse {
        additional_addresses, fcds_config, filter_chain_matcher, use_original_dst, deprecated_v1, transparent,
        freebind, socket_options, udp_listener_config, api_listener, access_log, listener_specifier,
    });
    if let Some((address, true)) = address.as_ref().map(|address| (address, is_udp(address))) {
        let address = socket_address_of(&at.field("address"), address.clone(), PROTOCOL_UDP)?;
        if !filter_chains.is_empty() || default_filter_chain.is_some() {
            return at.field("filter_chains").fail("wanted none with datagrams");
        }
        return datagrams(at, name, address, listener_filters);
    }
    if flag(bind_to_port) == Some(false) {
        return at.field("bind_to_port").fail("this proxy only has listeners with a socket");
    }
    if continue_on_listener_filters_timeout {
        at.refuse("continue_on_listener_filters_timeout", &true)?;
    }
    let looks = first_looks(at, listener_filters)?;
    let at_chains = at.field("filter_chains");
    let chains = filter_chains.into_iter().enumerate().map(|(index, chain)| {
        let name = match &*chain.name {
            "" => format!("{name}#{index}"),
            name => name.to_owned(),
        };
        filter_chain(&at_chains.index(index), &name, chain).map(Arc::new)
    });
    let chains = chains.collect::<Result<Vec<_>, _>>()?;
    let at_default = at.field("default_filter_chain");
    let default_chain = match default_filter_chain {
        None => None,
        Some(chain) => {
            let name = if chain.name.is_empty() { format!("{name}#default") } else { chain.name.clone() };
            let chain = filter_chain(&at_default, &name, chain)?;
            if chain.matches != ChainMatch::default() {
                return at_default.field("filter_chain_match").fail("the default chain matches what no other does");
            }
            Some(Arc::new(chain))
        }
    };
    if chains.is_empty() && default_chain.is_none() {
        return at_chains.fail("wanted a filter chain, saw none");
    }
    let address = socket_address(&at.field("address"), at.want("address", address)?)?;
    let buffer_limit = number(per_connection_buffer_limit_bytes).unwrap_or(BUFFER_LIMIT) as usize;
    let timeout = at.limit("listener_filters_timeout", listener_filters_timeout, Some(INSPECT_TIMEOUT))?;
    let listener = Listener::new(name.clone(), address, buffer_limit, timeout, chains, default_chain);
    let mut listener = listener.map_err(|reason| at_chains.fault(reason))?;
    listener.proxy_protocol = looks.proxy_protocol;
    if listener.inspects() && !looks.inspects {
        return at.field("listener_filters").fail("chains that match by server name or transport need a TLS inspector");
    }
    Ok(listener)
}

/// The number of UDP in an address.
const PROTOCOL_UDP: i32 = 1;

fn is_udp(address: &Address) -> bool {
    matches!(&address.address, Some(address::Address::SocketAddress(socket)) if socket.protocol == PROTOCOL_UDP)
}

fn datagrams(
    at: &At<'_>,
    name: &Name,
    address: SocketAddr,
    filters: Vec<pb::ListenerFilter>,
) -> Result<Listener, Fault> {
    let at = at.field("listener_filters");
    let Ok([filter]) = <[pb::ListenerFilter; 1]>::try_from(filters) else {
        return at.fail("wanted one filter, the UDP proxy");
    };
    let at = at.index(0);
    take!(at, filter => pb::ListenerFilter { config_type } moot { name } refuse { filter_disabled });
    let at = at.field("typed_config");
    match config_type {
        Some(listener_filter::ConfigType::TypedConfig(any)) => {
            Ok(Listener::datagrams(name.clone(), address, stream::udp(&at, &any)?))
        }
        _ => at.fail("wanted the UDP proxy"),
    }
}

/// What is looked at before a filter chain is chosen.
#[derive(Default)]
struct Looks {
    proxy_protocol: bool,
    inspects: bool,
}

/// The PROXY protocol comes before TLS, as on the wire.
fn first_looks(at: &At<'_>, filters: Vec<pb::ListenerFilter>) -> Result<Looks, Fault> {
    let at_filters = at.field("listener_filters");
    let mut looks = Looks::default();
    for (index, filter) in filters.into_iter().enumerate() {
        let at = at_filters.index(index);
        take!(at, filter => pb::ListenerFilter { config_type } moot { name } refuse { filter_disabled });
        let at = at.field("typed_config");
        match config_type {
            Some(listener_filter::ConfigType::TypedConfig(any)) if is_proxy_protocol(&any) => {
                if looks.inspects || looks.proxy_protocol {
                    return at.fail("the PROXY protocol must come first, and once");
                }
                proxy_protocol(&at, at.unpack(&any)?)?;
                looks.proxy_protocol = true;
            }
            Some(listener_filter::ConfigType::TypedConfig(any)) => {
                let inspector: TlsInspector = at.unpack(&any)?;
                take!(at, inspector => TlsInspector {}
                    moot { initial_read_buffer_size, max_client_hello_size, close_connection_on_client_hello_parsing_errors }
                    refuse { enable_ja3_fingerprinting, enable_ja4_fingerprinting });
                looks.inspects = true;
            }
            _ => return at.fail("wanted a TLS inspector or the PROXY protocol"),
        }
    }
    Ok(looks)
}

fn is_proxy_protocol(any: &Any) -> bool {
    any.type_url == <ProxyProtocol as prost::Name>::type_url()
}

/// Both versions, always wanted; what extensions say goes nowhere.
fn proxy_protocol(at: &At<'_>, filter: ProxyProtocol) -> Result<(), Fault> {
    take!(at, filter => ProxyProtocol {} moot { stat_prefix, tlv_location }
        refuse { rules, allow_requests_without_proxy_protocol, pass_through_tlvs, disallowed_versions });
    Ok(())
}

fn filter_chain(at: &At<'_>, name: &str, chain: pb::FilterChain) -> Result<FilterChain, Fault> {
    take!(at, chain => pb::FilterChain {
            filter_chain_match, filters, transport_socket, transport_socket_connect_timeout,
        } moot { name, metadata } refuse { use_proxy_proto });
    let _ = transport_socket_connect_timeout;
    let matches = chain_match(&at.field("filter_chain_match"), filter_chain_match.unwrap_or_default())?;
    let tls = match transport_socket {
        None => None,
        Some(socket) => tls::downstream(&at.field("transport_socket"), socket)?,
    };
    let at_filters = at.field("filters");
    let serves = match &*filters {
        [pb::Filter { config_type: Some(filter::ConfigType::TypedConfig(any)), .. }] if is_manager(any) => {
            let at = at_filters.index(0);
            let at = at.field("typed_config");
            let manager: HttpConnectionManager = at.unpack(any)?;
            Serves::Http(Arc::new(http::manager(&at, manager)?))
        }
        _ => Serves::Stream(Arc::new(stream::chain(&at_filters, filters)?)),
    };
    Ok(FilterChain { name: at.name(name), matches, tls, serves })
}

fn is_manager(any: &Any) -> bool {
    any.type_url == <HttpConnectionManager as prost::Name>::type_url()
}

fn chain_match(at: &At<'_>, message: pb::FilterChainMatch) -> Result<ChainMatch, Fault> {
    take!(at, message => pb::FilterChainMatch { server_names, transport_protocol } moot {} refuse {
        destination_port, prefix_ranges, address_suffix, suffix_len, direct_source_prefix_ranges, source_type,
        source_prefix_ranges, source_ports, application_protocols,
    });
    let at_names = at.field("server_names");
    let names = server_names.iter().enumerate().map(|(index, name)| {
        let rest = name.strip_prefix("*.").unwrap_or(name);
        if rest.is_empty() || rest.contains('*') {
            return at_names.index(index).fail(format!("wanted a name or *.name, saw {name:?}"));
        }
        Ok(at.name(&name.to_ascii_lowercase()))
    });
    let transport = match &*transport_protocol {
        "" => None,
        "tls" => Some(Transport::Tls),
        "raw_buffer" => Some(Transport::Plain),
        other => return at.field("transport_protocol").fail(format!("wanted tls or raw_buffer, saw {other:?}")),
    };
    Ok(ChainMatch { server_names: names.collect::<Result<_, _>>()?, transport })
}

/// An IP address with a port, TCP.
pub(super) fn socket_address(at: &At<'_>, address: Address) -> Result<SocketAddr, Fault> {
    socket_address_of(at, address, 0)
}

/// An IP address with a port, of a protocol as its number in Envoy.
pub(super) fn socket_address_of(at: &At<'_>, address: Address, protocol: i32) -> Result<SocketAddr, Fault> {
    let (host, port) = host_and_port_of(at, address, protocol)?;
    match host.parse() {
        Ok(ip) => Ok(SocketAddr::new(ip, port)),
        Err(_) => at.field("socket_address").field("address").fail(format!("wanted an IP address, saw {host:?}")),
    }
}

/// A host with a port, TCP.
pub(super) fn host_and_port(at: &At<'_>, address: Address) -> Result<(String, u16), Fault> {
    host_and_port_of(at, address, 0)
}

fn host_and_port_of(at: &At<'_>, address: Address, wanted: i32) -> Result<(String, u16), Fault> {
    let Some(address::Address::SocketAddress(socket)) = address.address else {
        return at.fail("wanted a socket_address");
    };
    let at = at.field("socket_address");
    take!(at, socket => SocketAddress { protocol, address, port_specifier, ipv4_compat } moot {}
        refuse { resolver_name, network_namespace_filepath });
    // A listener on `::` takes IPv4 too if asked; whether it does is the socket's business.
    let _ = ipv4_compat;
    if protocol != wanted {
        return at.field("protocol").fail(if wanted == 0 { "wanted TCP" } else { "wanted UDP" });
    }
    match port_specifier {
        Some(socket_address::PortSpecifier::PortValue(port)) => match u16::try_from(port) {
            Ok(port) => Ok((address, port)),
            Err(_) => at.field("port_value").fail(format!("wanted a port, saw {port}")),
        },
        _ => at.field("port_value").fail("wanted a port, saw none"),
    }
}

/// Everything comes by the one aggregated stream.
pub(super) fn ads(at: &At<'_>, source: Option<ConfigSource>) -> Result<(), Fault> {
    let source = source.unwrap_or_default();
    take!(at, source => ConfigSource { config_source_specifier }
        moot { initial_fetch_timeout, resource_api_version } refuse { authorities });
    match config_source_specifier {
        Some(config_source::ConfigSourceSpecifier::Ads(_) | config_source::ConfigSourceSpecifier::Self_(_)) => Ok(()),
        _ => at.fail("wanted ads: this proxy has one source of configuration"),
    }
}
