//! What only some routes do before they forward: CORS, authorization by a service, sessions.
//!
//! The listener has the places, each route says what happens there, so that no route ever changes a listener: CORS has
//! a filter of its own; the rest stands in the route's own filter chain.

use crate::{headers, wire};
use model::{AuthProtocol, Backend, Cors, ExternalAuth, Origin, Session, SessionKind, Steps};
use proto::envoy::{
    envoy::{
        config::core::v3::{
            ApiVersion, GrpcService, HttpUri, TypedExtensionConfig,
            grpc_service::{EnvoyGrpc, TargetSpecifier},
            http_uri::HttpUpstreamType,
        },
        extensions::{
            filters::http::{
                cors::v3::CorsPolicy,
                ext_authz::v3::{AuthorizationResponse, BufferSettings, ExtAuthz, HttpService, ext_authz::Services},
                filter_chain::v3::{FilterChain, FilterChainConfigPerRoute},
                stateful_session::v3::StatefulSession,
            },
            http::stateful_session::{cookie::v3::CookieBasedSessionState, header::v3::HeaderBasedSessionState},
        },
        r#type::{
            http::v3::Cookie,
            matcher::v3::{ListStringMatcher, StringMatcher, string_matcher::MatchPattern},
        },
    },
    google::protobuf::{Any, Duration},
};
use std::{collections::HashMap, sync::Arc};

/// The filters by which routes speak of their steps.
pub(crate) const CORS: &str = "envoy.filters.http.cors";
pub(crate) const FILTER_CHAIN: &str = "envoy.filters.http.filter_chain";

/// How long a service may take to decide.
const AUTH_SECONDS: i64 = 10;

/// What a route says to the listener's filters, in the order of their names.
pub(crate) fn of_route(steps: &Steps) -> Vec<(&'static str, Any)> {
    let chain = chain(steps.auth.as_deref(), steps.session.as_deref());
    let cors = steps.cors.as_deref().map(|cors| (CORS, wire::any(&self::cors(cors))));
    cors.into_iter().chain(chain.map(|chain| (FILTER_CHAIN, chain))).collect()
}

/// What a backend says in place of its route, if it has a session of its own.
pub(crate) fn of_backend(route: &Steps, backend: &Backend) -> HashMap<String, Any> {
    let chain = backend.session.as_deref().and_then(|session| chain(route.auth.as_deref(), Some(session)));
    chain.map(|chain| (FILTER_CHAIN.to_owned(), chain)).into_iter().collect()
}

/// A filter chain of a route's own.
fn chain(auth: Option<&ExternalAuth>, session: Option<&Session>) -> Option<Any> {
    let auth = auth.map(|auth| extension("envoy.filters.http.ext_authz", wire::any(&ext_authz(auth))));
    let session =
        session.map(|session| extension("envoy.filters.http.stateful_session", wire::any(&stateful_session(session))));
    let filters: Vec<_> = auth.into_iter().chain(session).collect();
    let is_empty = filters.is_empty();
    let chain = FilterChainConfigPerRoute { filter_chain: Some(FilterChain { filters }) };
    (!is_empty).then(|| wire::any(&chain))
}

pub(crate) fn extension(name: &str, config: Any) -> TypedExtensionConfig {
    TypedExtensionConfig { name: name.to_owned(), typed_config: Some(config) }
}

fn cors(cors: &Cors) -> CorsPolicy {
    let expose = match &*cors.expose {
        // With credentials a browser takes a star literally, and Gateway API wants none.
        [star] if &**star == "*" && cors.credentials => String::new(),
        names => names.join(", "),
    };
    CorsPolicy {
        allow_origin_string_match: cors.origins.iter().map(origin).collect(),
        allow_methods: cors.methods.join(", "),
        allow_headers: cors.headers.join(", "),
        expose_headers: expose,
        max_age: cors.max_age.to_string(),
        allow_credentials: wire::bool(cors.credentials),
        // A preflight is the gateway's to answer, also to strangers.
        forward_not_matching_preflights: wire::bool(false),
        ..Default::default()
    }
}

/// Browsers leave out the port that a scheme implies; who writes it means the same origin.
fn origin(origin: &Origin) -> StringMatcher {
    let pattern = match origin {
        Origin::Any => MatchPattern::SafeRegex(wire::regex(".*")),
        Origin::These { https, host, wildcard, port } => {
            let (scheme, implied) = if *https { ("https", 443) } else { ("http", 80) };
            let any = if *wildcard { r"(?:[^:/\[\]]+|\[[^/\]]+\])" } else { "" };
            // A star and a dot stand for at least one label, a star alone for the whole host.
            let host = wire::escape(host);
            let port = match port {
                Some(port) if *port != implied => format!(":{port}"),
                _ => format!("(?::{implied})?"),
            };
            MatchPattern::SafeRegex(wire::regex(format!("{scheme}://{any}{host}{port}")))
        }
    };
    wire::string(pattern)
}

fn ext_authz(auth: &ExternalAuth) -> ExtAuthz {
    let (services, allowed_headers) = match &auth.protocol {
        AuthProtocol::Grpc(headers) => (grpc_service(&auth.cluster, &auth.authority, patience()), headers),
        AuthProtocol::Http { path, request_headers, response_headers } => {
            (http(auth, path, response_headers), request_headers)
        }
    };
    ExtAuthz {
        services: Some(services),
        transport_api_version: ApiVersion::V3.into(),
        with_request_body: auth.body.map(|most| BufferSettings {
            max_request_bytes: most,
            allow_partial_message: true,
            pack_as_bytes: matches!(auth.protocol, AuthProtocol::Grpc(_)),
        }),
        allowed_headers: (!allowed_headers.is_empty()).then(|| names(allowed_headers)),
        ..Default::default()
    }
}

fn patience() -> Duration {
    wire::seconds(AUTH_SECONDS)
}

/// A service that is asked by gRPC.
pub(crate) fn grpc_service(cluster: &str, authority: &str, timeout: Duration) -> Services {
    let target = EnvoyGrpc { cluster_name: cluster.to_owned(), authority: authority.to_owned(), ..Default::default() };
    Services::GrpcService(GrpcService {
        target_specifier: Some(TargetSpecifier::EnvoyGrpc(target)),
        timeout: Some(timeout),
        ..Default::default()
    })
}

/// A service that is asked by HTTP.
pub(crate) fn http_uri(cluster: &str, authority: &str, timeout: Duration) -> HttpUri {
    HttpUri {
        uri: format!("http://{authority}"),
        timeout: Some(timeout),
        http_upstream_type: Some(HttpUpstreamType::Cluster(cluster.to_owned())),
    }
}

fn http(auth: &ExternalAuth, path: &str, response_headers: &[Arc<str>]) -> Services {
    let upstream = match response_headers {
        [] => ListStringMatcher {
            patterns: vec![wire::string(MatchPattern::SafeRegex(wire::regex(headers::all_but(&NOT_COPIED))))],
        },
        some => names(some),
    };
    Services::HttpService(HttpService {
        server_uri: Some(http_uri(&auth.cluster, &auth.authority, patience())),
        path_prefix: path.to_owned(),
        authorization_response: Some(AuthorizationResponse {
            allowed_upstream_headers: Some(upstream),
            ..Default::default()
        }),
        ..Default::default()
    })
}

/// What of a service's answer never goes into the request where everything does: what describes the answer itself.
const NOT_COPIED: [&str; 14] = [
    "host",
    "content-length",
    "content-type",
    "content-encoding",
    "transfer-encoding",
    "connection",
    "keep-alive",
    "proxy-connection",
    "upgrade",
    "te",
    "trailer",
    "date",
    "server",
    "x-envoy-upstream-service-time",
];

fn names(names: &[Arc<str>]) -> ListStringMatcher {
    let exact = |name: &Arc<str>| StringMatcher {
        ignore_case: true,
        match_pattern: Some(MatchPattern::Exact(name.to_string())),
    };
    ListStringMatcher { patterns: names.iter().map(exact).collect() }
}

fn stateful_session(session: &Session) -> StatefulSession {
    let state = match &session.kind {
        SessionKind::Header => extension(
            "envoy.http.stateful_session.header",
            wire::any(&HeaderBasedSessionState { name: session.name.to_string() }),
        ),
        SessionKind::Cookie(life) => {
            let cookie = Cookie {
                name: session.name.to_string(),
                ttl: life.map(wire::duration),
                path: "/".to_owned(),
                ..Default::default()
            };
            let state = CookieBasedSessionState { cookie: Some(cookie) };
            extension("envoy.http.stateful_session.cookie", wire::any(&state))
        }
    };
    StatefulSession { session_state: Some(state), ..Default::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_as_the_specification_reads_them() {
        for (https, host, wildcard, port, yes, no) in [
            (
                true,
                "a.test",
                false,
                None,
                "https://a.test https://a.test:443",
                "http://a.test https://b.a.test https://a.test:444",
            ),
            (false, "a.test", false, Some(8080), "http://a.test:8080", "http://a.test https://a.test:8080"),
            (
                true,
                ".a.test",
                true,
                None,
                "https://b.a.test https://c.b.a.test",
                "https://a.test https://a.test.evil https://evil/.a.test",
            ),
            (true, "", true, None, "https://any.thing https://[::1]", "https://any.thing:8443 http://any.thing"),
            (true, "", true, Some(8443), "https://any.thing:8443", "https://any.thing"),
        ] {
            let matcher = origin(&Origin::These { https, host: host.into(), wildcard, port });
            let Some(MatchPattern::SafeRegex(pattern)) = matcher.match_pattern else { panic!("a pattern") };
            let pattern = regex::Regex::new(&format!("^(?:{})$", pattern.regex)).unwrap();
            yes.split(' ').for_each(|one| assert!(pattern.is_match(one), "{host} {one}"));
            no.split(' ').for_each(|one| assert!(!pattern.is_match(one), "{host} {one}"));
        }
    }
}
