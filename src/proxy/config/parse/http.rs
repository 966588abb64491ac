//! The HTTP connection manager.

use super::{
    access_log,
    at::{At, Fault, flag, number, take},
    filter::filters,
    listener::ads,
    route,
};
use crate::{
    config::{CertificateDetails, Codec, HttpManager, RoutesFrom, ServerHeader, Underscores},
    head::{EscapedSlashes, Normalize},
};
use proto::envoy::envoy::{
    config::core::v3::{
        Http1ProtocolOptions, Http2ProtocolOptions, HttpProtocolOptions,
        http_protocol_options::HeadersWithUnderscoresAction,
    },
    extensions::filters::network::http_connection_manager::v3::{
        self as pb, HttpConnectionManager,
        http_connection_manager::{
            CodecType, ForwardClientCertDetails, PathWithEscapedSlashesAction, RouteSpecifier,
            ServerHeaderTransformation, SetCurrentClientCertDetails, StripPortMode, UpgradeConfig,
        },
    },
};
use std::{sync::Arc, time::Duration};

/// Envoy's defaults.
const STREAM_IDLE_TIMEOUT: Duration = Duration::from_secs(300);
const IDLE_TIMEOUT: Duration = Duration::from_secs(3600);
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);
const MAX_HEADERS_KIB: u32 = 60;
const MAX_HEADERS: u32 = 100;
/// RFC 9113's window; Envoy's own (256 MiB) lets one client hold too much. Larger windows are asked for by name.
const WINDOW: u32 = 1 << 20;
const MAX_CONCURRENT_STREAMS: u32 = 1024;

pub(super) fn manager(at: &At<'_>, message: HttpConnectionManager) -> Result<HttpManager, Fault> {
    // What a connection's last bytes wait for, and which addresses count as internal, this proxy decides itself:
    // every client is a stranger to it.
    take!(at, message => HttpConnectionManager {
        codec_type, stat_prefix, http_filters, common_http_protocol_options, http_protocol_options,
        http2_protocol_options, server_name, server_header_transformation, max_request_headers_kb,
        stream_idle_timeout, request_timeout, request_headers_timeout, drain_timeout, access_log,
        use_remote_address, xff_num_trusted_hops, skip_xff_append, via, generate_request_id,
        preserve_external_request_id, forward_client_cert_details, upgrade_configs, normalize_path,
        set_current_client_cert_details, merge_slashes, path_with_escaped_slashes_action, strip_trailing_host_dot, route_specifier,
        strip_port_mode,
    }
    moot {
        delayed_close_timeout, internal_address_config, http1_safe_max_connection_duration,
        drain_timeout_jitter, stream_flush_timeout, stream_error_on_invalid_http_message,
        add_proxy_protocol_connection_state, append_local_overload,
        access_log_options,
    }
    refuse {
        add_user_agent, tracing, http3_protocol_options, scheme_header_transformation,
        access_log_flush_interval, flush_access_log_on_new_request, original_ip_detection_extensions,
        early_header_mutation_extensions, always_set_request_id_in_response, forward_client_cert_matcher,
        proxy_100_continue, represent_ipv4_remote_address_as_ipv4_mapped_ipv6, request_id_extension,
        local_reply_config, strip_matching_host_port, path_normalization_options, proxy_status_config,
        typed_header_validation_config, append_x_forwarded_port, forward_proto_config,
    });
    let connection = connection(&at.field("common_http_protocol_options"), common_http_protocol_options)?;
    let accept_http_10 = http1(&at.field("http_protocol_options"), http_protocol_options)?;
    let http2 = http2(&at.field("http2_protocol_options"), http2_protocol_options)?;
    let at_logs = at.field("access_log");
    let logs = access_log.into_iter().enumerate();
    let logs = logs.map(|(index, log)| access_log::access_log(&at_logs.index(index), log));
    let escaped_slashes = escaped_slashes(at, path_with_escaped_slashes_action)?;
    let strip_port = matches!(strip_port_mode, Some(StripPortMode::StripAnyHostPort(true)));
    let (filters, suppress_envoy_headers) = filters(at, http_filters)?;
    Ok(HttpManager {
        suppress_envoy_headers,
        stat_prefix: at.name(&stat_prefix),
        codec: codec(at, codec_type)?,
        routes: routes(at, route_specifier)?,
        filters,
        access_logs: logs.collect::<Result<_, _>>()?,
        normalize: Normalize {
            dot_segments: flag(normalize_path).unwrap_or(false),
            merge_slashes,
            escaped_slashes,
            strip_port,
            strip_trailing_dot: strip_trailing_host_dot,
        },
        underscores: connection.underscores,
        server: server(at, &server_name, server_header_transformation)?,
        via: (!via.is_empty()).then(|| at.name(&via)),
        use_remote_address: flag(use_remote_address).unwrap_or(false),
        trusted_hops: xff_num_trusted_hops,
        skip_xff_append,
        generate_request_id: flag(generate_request_id).unwrap_or(true),
        preserve_request_id: preserve_external_request_id,
        forward_client_cert: forward_client_cert(at, forward_client_cert_details)?,
        tell_client_cert: tell_client_cert(at, forward_client_cert_details, set_current_client_cert_details)?,
        websocket: websocket(at, upgrade_configs)?,
        max_request_headers_bytes: number(max_request_headers_kb).unwrap_or(MAX_HEADERS_KIB) as usize * 1024,
        max_headers: connection.max_headers,
        idle_timeout: connection.idle_timeout,
        max_connection_duration: connection.max_duration,
        stream_idle_timeout: at.limit("stream_idle_timeout", stream_idle_timeout, Some(STREAM_IDLE_TIMEOUT))?,
        request_timeout: at.limit("request_timeout", request_timeout, None)?,
        request_headers_timeout: at.limit("request_headers_timeout", request_headers_timeout, None)?,
        drain_timeout: at.duration("drain_timeout", drain_timeout)?.unwrap_or(DRAIN_TIMEOUT),
        max_concurrent_streams: http2.max_concurrent_streams,
        initial_stream_window: http2.stream_window,
        initial_connection_window: http2.connection_window,
        accept_http_10,
    })
}

fn codec(at: &At<'_>, value: i32) -> Result<Codec, Fault> {
    match CodecType::try_from(value) {
        Ok(CodecType::Auto) => Ok(Codec::Auto),
        Ok(CodecType::Http1) => Ok(Codec::Http1),
        Ok(CodecType::Http2) => Ok(Codec::Http2),
        _ => at.field("codec_type").fail("wanted AUTO, HTTP1 or HTTP2"),
    }
}

fn server(at: &At<'_>, name: &str, transformation: i32) -> Result<ServerHeader, Fault> {
    let name = at.name(if name.is_empty() { "envoy" } else { name });
    match ServerHeaderTransformation::try_from(transformation) {
        Ok(ServerHeaderTransformation::Overwrite) => Ok(ServerHeader::Overwrite(name)),
        Ok(ServerHeaderTransformation::AppendIfAbsent) => Ok(ServerHeader::IfAbsent(name)),
        Ok(ServerHeaderTransformation::PassThrough) => Ok(ServerHeader::PassThrough),
        Err(_) => at.field("server_header_transformation").fail(format!("unknown value {transformation}")),
    }
}

fn escaped_slashes(at: &At<'_>, value: i32) -> Result<EscapedSlashes, Fault> {
    match PathWithEscapedSlashesAction::try_from(value) {
        Ok(
            PathWithEscapedSlashesAction::ImplementationSpecificDefault | PathWithEscapedSlashesAction::KeepUnchanged,
        ) => Ok(EscapedSlashes::Keep),
        Ok(PathWithEscapedSlashesAction::RejectRequest) => Ok(EscapedSlashes::Reject),
        Ok(PathWithEscapedSlashesAction::UnescapeAndRedirect) => Ok(EscapedSlashes::Redirect),
        Ok(PathWithEscapedSlashesAction::UnescapeAndForward) => Ok(EscapedSlashes::Unescape),
        Err(_) => at.field("path_with_escaped_slashes_action").fail(format!("unknown value {value}")),
    }
}

/// What is written of a client's certificate; only `SANITIZE_SET` writes.
fn tell_client_cert(
    at: &At<'_>,
    forward: i32,
    details: Option<SetCurrentClientCertDetails>,
) -> Result<Option<CertificateDetails>, Fault> {
    if ForwardClientCertDetails::try_from(forward) != Ok(ForwardClientCertDetails::SanitizeSet) {
        return Ok(None);
    }
    let (at, details) = (at.field("set_current_client_cert_details"), details.unwrap_or_default());
    take!(at, details => SetCurrentClientCertDetails { subject, cert, dns, uri } moot {} refuse { chain, issuer, format });
    let subject = flag(subject).unwrap_or(false);
    Ok(Some(CertificateDetails { certificate: cert, subject, uri, dns }))
}

/// Whether what a client sends as `x-forwarded-client-cert` is believed.
fn forward_client_cert(at: &At<'_>, value: i32) -> Result<bool, Fault> {
    match ForwardClientCertDetails::try_from(value) {
        Ok(ForwardClientCertDetails::Sanitize | ForwardClientCertDetails::SanitizeSet) => Ok(false),
        Ok(ForwardClientCertDetails::AlwaysForwardOnly) => Ok(true),
        _ => at.field("forward_client_cert_details").fail("wanted SANITIZE, SANITIZE_SET or ALWAYS_FORWARD_ONLY"),
    }
}

fn websocket(at: &At<'_>, upgrades: Vec<UpgradeConfig>) -> Result<bool, Fault> {
    let at = at.field("upgrade_configs");
    let mut allowed = false;
    for (index, upgrade) in upgrades.into_iter().enumerate() {
        let at = at.index(index);
        take!(at, upgrade => UpgradeConfig { upgrade_type, enabled } moot {} refuse { filters });
        if !upgrade_type.eq_ignore_ascii_case("websocket") {
            return at.field("upgrade_type").fail(format!("wanted websocket, saw {upgrade_type:?}"));
        }
        allowed = flag(enabled).unwrap_or(true);
    }
    Ok(allowed)
}

fn routes(at: &At<'_>, specifier: Option<RouteSpecifier>) -> Result<RoutesFrom, Fault> {
    match specifier {
        Some(RouteSpecifier::Rds(rds)) => {
            let at = at.field("rds");
            take!(at, rds => pb::Rds { config_source, route_config_name } moot {} refuse {});
            ads(&at.field("config_source"), config_source)?;
            Ok(RoutesFrom::Named(at.name(&route_config_name)))
        }
        Some(RouteSpecifier::RouteConfig(table)) => {
            let at = at.field("route_config");
            let name = at.name(&table.name);
            match route::table(&at, &name, table)? {
                (table, false) => Ok(RoutesFrom::Inline(Arc::new(table))),
                (_, true) => at.field("vhds").fail("wanted a table by RDS"),
            }
        }
        _ => at.field("route_specifier").fail("wanted rds or route_config"),
    }
}

struct ConnectionOptions {
    idle_timeout: Option<Duration>,
    max_duration: Option<Duration>,
    max_headers: usize,
    underscores: Underscores,
}

fn connection(at: &At<'_>, message: Option<HttpProtocolOptions>) -> Result<ConnectionOptions, Fault> {
    let message = message.unwrap_or_default();
    take!(at, message => HttpProtocolOptions {
            idle_timeout, max_connection_duration, max_headers_count, headers_with_underscores_action,
        }
        moot { max_connection_duration_jitter, max_response_headers_kb }
        refuse { max_stream_duration, max_requests_per_connection });
    let underscores = match HeadersWithUnderscoresAction::try_from(headers_with_underscores_action) {
        Ok(HeadersWithUnderscoresAction::Allow) => Underscores::Allow,
        Ok(HeadersWithUnderscoresAction::RejectRequest) => Underscores::Reject,
        Ok(HeadersWithUnderscoresAction::DropHeader) => Underscores::Drop,
        Err(_) => return at.field("headers_with_underscores_action").fail("unknown value"),
    };
    Ok(ConnectionOptions {
        idle_timeout: at.limit("idle_timeout", idle_timeout, Some(IDLE_TIMEOUT))?,
        max_duration: at.limit("max_connection_duration", max_connection_duration, None)?,
        max_headers: number(max_headers_count).unwrap_or(MAX_HEADERS) as usize,
        underscores,
    })
}

/// Whether HTTP/1.0 is answered.
pub(super) fn http1(at: &At<'_>, message: Option<Http1ProtocolOptions>) -> Result<bool, Fault> {
    let message = message.unwrap_or_default();
    take!(at, message => Http1ProtocolOptions { accept_http_10, allow_absolute_url }
    moot { use_balsa_parser, override_stream_error_on_invalid_http_message, enable_trailers, default_host_for_http_10 }
    refuse {
        header_key_format, allow_chunked_length, send_fully_qualified_url, allow_custom_methods,
        ignore_http_11_upgrade,
    });
    match flag(allow_absolute_url) {
        Some(false) => at.field("allow_absolute_url").fail("RFC 9112 wants absolute targets accepted"),
        _ => Ok(accept_http_10),
    }
}

pub(super) struct Http2Options {
    pub(super) max_concurrent_streams: u32,
    pub(super) stream_window: u32,
    pub(super) connection_window: u32,
}

/// Limits against floods are this proxy's own (h2's); Envoy's are neither needed nor loosened.
pub(super) fn http2(at: &At<'_>, message: Option<Http2ProtocolOptions>) -> Result<Http2Options, Fault> {
    let message = message.unwrap_or_default();
    take!(at, message => Http2ProtocolOptions {
            max_concurrent_streams, initial_stream_window_size, initial_connection_window_size,
        }
        moot {
            hpack_table_size, max_outbound_frames, max_outbound_control_frames, connection_keepalive,
            max_consecutive_inbound_frames_with_empty_payload, max_inbound_priority_frames_per_stream,
            max_inbound_window_update_frames_per_data_frame_sent, stream_error_on_invalid_http_messaging,
            override_stream_error_on_invalid_http_message, use_oghttp2_codec, max_metadata_size,
            enable_huffman_encoding, max_header_field_size_kb, disallow_obs_text, stream_reset_burst, stream_reset_rate,
        }
        refuse { allow_connect, allow_metadata, custom_settings_parameters });
    let window = |field, value| match number(value) {
        None => Ok(WINDOW),
        Some(bytes @ 65_535..=2_147_483_647) => Ok(bytes),
        Some(bytes) => at.field(field).fail(format!("wanted 65535 to 2147483647, saw {bytes}")),
    };
    Ok(Http2Options {
        max_concurrent_streams: number(max_concurrent_streams).unwrap_or(MAX_CONCURRENT_STREAMS),
        stream_window: window("initial_stream_window_size", initial_stream_window_size)?,
        connection_window: window("initial_connection_window_size", initial_connection_window_size)?,
    })
}
