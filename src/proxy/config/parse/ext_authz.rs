//! `envoy.filters.http.ext_authz`

use super::{
    at::{At, Fault, take},
    filter::list,
    headers::literal,
    matcher,
};
use crate::config::{AuthBody, AuthService, ExtAuthz, HttpAuth, Name};
use proto::envoy::envoy::{
    config::core::v3::{
        ApiVersion, GrpcService, HeaderValue, HttpUri, grpc_service, grpc_service::EnvoyGrpc,
        http_uri::HttpUpstreamType,
    },
    extensions::filters::http::ext_authz::v3::{
        self as pb, AuthorizationRequest, AuthorizationResponse, BufferSettings, HttpService, ext_authz::Services,
    },
    r#type::v3::HttpStatus,
};
use std::time::Duration;

/// How long a service may take if nothing is said, as in Envoy.
const TIMEOUT: Duration = Duration::from_millis(200);
/// What is answered where nobody knows whether the request may pass.
const FORBIDDEN: u16 = 403;

pub(super) fn filter(at: &At<'_>, message: pb::ExtAuthz) -> Result<ExtAuthz, Fault> {
    // Statistics, spans and metadata for other filters are nothing that decides.
    take!(at, message => pb::ExtAuthz {
        services, transport_api_version, failure_mode_allow, with_request_body, status_on_error, allowed_headers,
        disallowed_headers, filter_enabled_metadata,
    }
    moot {
        stat_prefix, charge_cluster_response_stats, emit_filter_state_stats, emit_client_span, clear_route_cache,
        validate_mutations, bootstrap_metadata_labels_key, include_peer_certificate, include_tls_session,
        enforce_response_header_limits,
    }
    refuse {
        failure_mode_allow_header_add, metadata_context_namespaces, typed_metadata_context_namespaces,
        route_metadata_context_namespaces, route_typed_metadata_context_namespaces, filter_enabled, deny_at_disable,
        encode_raw_headers, decoder_header_mutation_rules, enable_dynamic_metadata_ingestion, filter_metadata,
        max_denied_response_body_bytes, shadow_mode,
    });
    if ApiVersion::try_from(transport_api_version) == Ok(ApiVersion::V2) {
        return at.field("transport_api_version").fail("wanted V3");
    }
    let (service, cluster, timeout) = match at.want("services", services)? {
        Services::GrpcService(service) => grpc(&at.field("grpc_service"), service)?,
        Services::HttpService(service) => http(&at.field("http_service"), service)?,
    };
    let at_only = at.field("filter_enabled_metadata");
    Ok(ExtAuthz {
        only: filter_enabled_metadata.map(|only| matcher::metadata(&at_only, only)).transpose()?,
        service,
        cluster,
        timeout,
        failure_mode_allow,
        status_on_error: status(at, status_on_error)?,
        body: with_request_body.map(|settings| body(&at.field("with_request_body"), settings)).transpose()?,
        allowed_headers: list(&at.field("allowed_headers"), allowed_headers)?,
        disallowed_headers: list(&at.field("disallowed_headers"), disallowed_headers)?.unwrap_or_default(),
    })
}

fn status(at: &At<'_>, status: Option<HttpStatus>) -> Result<u16, Fault> {
    match status.map(|status| u16::try_from(status.code)) {
        None => Ok(FORBIDDEN),
        Some(Ok(code @ 200..=599)) => Ok(code),
        Some(_) => at.field("status_on_error").field("code").fail("wanted 200 to 599"),
    }
}

fn body(at: &At<'_>, settings: BufferSettings) -> Result<AuthBody, Fault> {
    take!(at, settings => BufferSettings { max_request_bytes, allow_partial_message, pack_as_bytes } moot {} refuse {});
    match max_request_bytes {
        0 => at.field("max_request_bytes").fail("wanted at least 1"),
        most => Ok(AuthBody { most: most as usize, partial: allow_partial_message, raw: pack_as_bytes }),
    }
}

fn grpc(at: &At<'_>, service: GrpcService) -> Result<(AuthService, Name, Duration), Fault> {
    take!(at, service => GrpcService { timeout, target_specifier } moot {} refuse { initial_metadata, retry_policy });
    let Some(grpc_service::TargetSpecifier::EnvoyGrpc(target)) = target_specifier else {
        return at.field("target_specifier").fail("wanted envoy_grpc");
    };
    let at_target = at.field("envoy_grpc");
    take!(at_target, target => EnvoyGrpc { cluster_name, authority }
        moot { max_receive_message_length, skip_envoy_headers } refuse { retry_policy });
    let authority = match &*authority {
        "" => "ext-authz",
        authority => authority,
    };
    let timeout = at.duration("timeout", timeout)?.unwrap_or(TIMEOUT);
    Ok((
        AuthService::Grpc { authority: at.name(authority) },
        cluster(&at_target, "cluster_name", &cluster_name)?,
        timeout,
    ))
}

fn cluster(at: &At<'_>, field: &str, name: &str) -> Result<Name, Fault> {
    if name.is_empty() { at.field(field).fail("wanted a cluster, saw none") } else { Ok(at.name(name)) }
}

fn http(at: &At<'_>, service: HttpService) -> Result<(AuthService, Name, Duration), Fault> {
    take!(at, service => HttpService { server_uri, path_prefix, authorization_request, authorization_response }
        moot {} refuse { path_override, retry_policy });
    let at_uri = at.field("server_uri");
    take!(at_uri, at.want("server_uri", server_uri)? => HttpUri { timeout, http_upstream_type } moot { uri } refuse {});
    let Some(HttpUpstreamType::Cluster(cluster)) = http_upstream_type else {
        return at_uri.field("http_upstream_type").fail("wanted cluster");
    };
    if !path_prefix.is_empty() && !path_prefix.starts_with('/') {
        return at.field("path_prefix").fail(format!("wanted a path that starts with /, saw {path_prefix:?}"));
    }
    let at_request = at.field("authorization_request");
    take!(at_request, authorization_request.unwrap_or_default() => AuthorizationRequest { headers_to_add } moot {}
        refuse { allowed_headers });
    let at_headers = at_request.field("headers_to_add");
    let headers = headers_to_add.into_iter().enumerate().map(|(index, one)| header(&at_headers.index(index), one));
    let at_response = at.field("authorization_response");
    take!(at_response, authorization_response.unwrap_or_default() => AuthorizationResponse {
            allowed_upstream_headers, allowed_upstream_headers_to_append, allowed_client_headers,
            allowed_client_headers_on_success,
        }
        moot {} refuse { dynamic_metadata_from_headers });
    let list = |field: &str, matchers| list(&at_response.field(field), matchers);
    let auth = HttpAuth {
        path_prefix: at.name(&path_prefix),
        headers_to_add: headers.collect::<Result<_, _>>()?,
        upstream: list("allowed_upstream_headers", allowed_upstream_headers)?.unwrap_or_default(),
        upstream_append: list("allowed_upstream_headers_to_append", allowed_upstream_headers_to_append)?
            .unwrap_or_default(),
        client: list("allowed_client_headers", allowed_client_headers)?,
        client_on_success: list("allowed_client_headers_on_success", allowed_client_headers_on_success)?
            .unwrap_or_default(),
    };
    let timeout = at_uri.duration("timeout", timeout)?.unwrap_or(TIMEOUT);
    Ok((AuthService::Http(Box::new(auth)), self::cluster(&at_uri, "cluster", &cluster)?, timeout))
}

fn header(at: &At<'_>, header: HeaderValue) -> Result<(Name, Name), Fault> {
    take!(at, header => HeaderValue { key, value } moot {} refuse { raw_value });
    let key = key.to_ascii_lowercase();
    if http::HeaderName::from_bytes(key.as_bytes()).is_err() || key == "host" {
        return at.field("key").fail(format!("wanted the name of a header, saw {key:?}"));
    }
    let value = literal(&at.field("value"), &value)?;
    Ok((at.name(&key), at.name(&value)))
}
