//! The HTTP connection manager: how requests are read and made canonical before anything looks at them.

use crate::{Settings, access_log::access_log, custom, jwt, rbac, steps, wire};
use prost::Name;
use proto::envoy::envoy::{
    config::core::v3::{
        ExtensionConfigSource, Http2ProtocolOptions, HttpProtocolOptions,
        http_protocol_options::HeadersWithUnderscoresAction,
    },
    extensions::filters::{
        http::{
            cors::v3::Cors, filter_chain::v3::FilterChainConfig, jwt_authn::v3::JwtAuthentication, rbac::v3::Rbac,
            router::v3::Router,
        },
        network::http_connection_manager::v3::{
            HttpConnectionManager, HttpFilter, Rds,
            http_connection_manager::{
                CodecType, ForwardClientCertDetails, InternalAddressConfig, PathWithEscapedSlashesAction,
                RouteSpecifier, ServerHeaderTransformation, SetCurrentClientCertDetails, UpgradeConfig,
            },
            http_filter::ConfigType,
        },
    },
};

/// An idle connection, or a stream on which nothing moves, such as a quiet WebSocket.
const IDLE_SECONDS: i64 = 3600;
/// A head must have arrived by then: a slow client doesn't hold a connection with half a request.
const HEAD_SECONDS: i64 = 10;
/// Streams that one HTTP/2 client may have open.
const CONCURRENT_STREAMS: u32 = 100;

/// The connection manager of a filter chain, for the edge: no peer is trusted, and the canonical form of
/// `src/ARCHITECTURE.md` ("One canonical request") is made here. `verified`: clients have a certificate, which backends
/// are told about.
pub(crate) fn connection_manager(settings: &Settings, routes: String, verified: bool) -> HttpConnectionManager {
    HttpConnectionManager {
        codec_type: CodecType::Auto.into(),
        stat_prefix: routes.clone(),
        route_specifier: Some(RouteSpecifier::Rds(Rds { config_source: Some(wire::ads()), route_config_name: routes })),
        // Browsers' questions about other origins come without what a policy could ask for: they are answered first.
        http_filters: vec![
            place(steps::CORS, &Cors::default()),
            discovered(jwt::TOKENS, JwtAuthentication::type_url()),
            discovered(custom::CUSTOM, FilterChainConfig::type_url()),
            policies(rbac::AUDIT),
            policies(rbac::DENY),
            policies(rbac::ALLOW),
            place(steps::FILTER_CHAIN, &FilterChainConfig::default()),
            router(),
        ],
        access_log: access_log(settings.access_log),
        normalize_path: wire::bool(true),
        merge_slashes: true,
        path_with_escaped_slashes_action: PathWithEscapedSlashesAction::KeepUnchanged.into(),
        strip_trailing_host_dot: true,
        // The peer's address is the client's. Nobody is internal, whatever the address, and may steer us by `x-envoy-*`.
        use_remote_address: wire::bool(true),
        internal_address_config: Some(InternalAddressConfig::default()),
        forward_client_cert_details: match verified {
            true => ForwardClientCertDetails::SanitizeSet,
            false => ForwardClientCertDetails::Sanitize,
        }
        .into(),
        // As Istio's gateways have it.
        set_current_client_cert_details: verified.then(|| SetCurrentClientCertDetails {
            subject: wire::bool(true),
            cert: true,
            dns: true,
            uri: true,
            ..Default::default()
        }),
        server_header_transformation: ServerHeaderTransformation::PassThrough.into(),
        stream_idle_timeout: Some(wire::seconds(IDLE_SECONDS)),
        request_headers_timeout: Some(wire::seconds(HEAD_SECONDS)),
        stream_error_on_invalid_http_message: wire::bool(true),
        common_http_protocol_options: Some(HttpProtocolOptions {
            idle_timeout: Some(wire::seconds(IDLE_SECONDS)),
            headers_with_underscores_action: HeadersWithUnderscoresAction::Allow.into(),
            ..Default::default()
        }),
        http2_protocol_options: Some(Http2ProtocolOptions {
            max_concurrent_streams: wire::uint(CONCURRENT_STREAMS),
            initial_stream_window_size: wire::uint(crate::STREAM_WINDOW),
            initial_connection_window_size: wire::uint(crate::CONNECTION_WINDOW),
            ..Default::default()
        }),
        upgrade_configs: vec![UpgradeConfig { upgrade_type: "websocket".to_owned(), ..Default::default() }],
        ..Default::default()
    }
}

/// A filter whose configuration is discovered, so that a policy never changes a listener. Without configuration there is
/// no default: requests are refused.
fn policies(name: &str) -> HttpFilter {
    discovered(name, Rbac::type_url())
}

/// The same for a filter of that type.
fn discovered(name: &str, type_url: String) -> HttpFilter {
    HttpFilter {
        name: name.to_owned(),
        config_type: Some(ConfigType::ConfigDiscovery(ExtensionConfigSource {
            config_source: Some(wire::ads()),
            type_urls: vec![type_url],
            ..Default::default()
        })),
        ..Default::default()
    }
}

/// A filter that does nothing but what a route says.
fn place<M: prost::Message + Name>(name: &str, config: &M) -> HttpFilter {
    HttpFilter {
        name: name.to_owned(),
        config_type: Some(ConfigType::TypedConfig(wire::any(config))),
        ..Default::default()
    }
}

fn router() -> HttpFilter {
    HttpFilter {
        name: "envoy.filters.http.router".to_owned(),
        config_type: Some(ConfigType::TypedConfig(wire::any(&Router {
            // Neither backends nor clients learn of us by `x-envoy-*` headers.
            suppress_envoy_headers: true,
            ..Default::default()
        }))),
        ..Default::default()
    }
}
