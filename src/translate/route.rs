//! Route configurations, virtual hosts and routes.

use crate::{
    action::{forward, respond},
    headers,
    redirect::{Redirected, redirect},
    steps, wire,
};
use model::{Action, Hostname, Match, ObjectKey, PathMatch, Route, ValueMatch, VirtualHost, VirtualHostKey};
use prost::Message;
use proto::{
    Resource, assemble,
    envoy::{
        envoy::{
            config::route::v3::{
                HeaderMatcher, QueryParameterMatcher, RetryPolicy, Route as EnvoyRoute, RouteConfiguration, RouteMatch,
                VirtualHost as EnvoyVirtualHost,
                header_matcher::HeaderMatchSpecifier,
                query_parameter_matcher::QueryParameterMatchSpecifier,
                retry_policy::RetryHostPredicate,
                route,
                route_match::{GrpcRouteMatchOptions, PathSpecifier},
            },
            extensions::retry::host::previous_hosts::v3::PreviousHostsPredicate,
            r#type::matcher::v3::{StringMatcher, string_matcher::MatchPattern},
        },
        google::protobuf::Any,
    },
};

/// The name of a route configuration: all HTTP listeners of a port share one, an HTTPS listener has its own.
pub(crate) fn route_name(gateway: &ObjectKey, port: u16, https: Option<&str>) -> String {
    match https {
        None => format!("http.{port}"),
        Some(listener) => format!("https.{port}.{listener}.{}.{}", gateway.name, gateway.namespace),
    }
}

/// The name of a virtual host, as a resource and in the message.
pub(crate) fn virtual_host_name(key: &VirtualHostKey) -> String {
    format!("{}/{}", route_name(&key.gateway, key.port, key.https.as_deref()), key.host)
}

/// A route configuration without virtual hosts.
pub(crate) fn shell(name: &str) -> Resource {
    Resource::encode(&RouteConfiguration {
        name: name.to_owned(),
        // A backend's header edits are made after its rule's.
        most_specific_header_mutations_wins: true,
        // The backend sees the Host that the client sent, port included; routing doesn't look at the port.
        ignore_port_in_host_matching: true,
        validate_clusters: wire::bool(false),
        ..Default::default()
    })
}

/// A virtual host. Requests that could not be sent are tried twice more, elsewhere: no backend has seen them.
pub(crate) fn virtual_host(key: &VirtualHostKey, host: &VirtualHost) -> Resource {
    let message = EnvoyVirtualHost {
        name: virtual_host_name(key),
        domains: vec![domain(&key.host)],
        retry_policy: Some(retries()),
        ..Default::default()
    };
    let mut body = message.encode_to_vec();
    for one in &host.routes {
        let steps = steps::of_route(&one.steps);
        routes(key, one).for_each(|route| assemble::field(&mut body, ROUTES, &with_steps(&route, &steps)));
    }
    body.shrink_to_fit();
    Resource::from_bytes(body.into())
}

/// `VirtualHost.routes`
const ROUTES: u32 = 3;

/// A route with what it says to filters. The entries of a map have no order of their own, and equal routes must have
/// equal bytes: each is put behind the message by itself.
fn with_steps(route: &EnvoyRoute, steps: &[(&str, Any)]) -> Vec<u8> {
    let mut bytes = route.encode_to_vec();
    for (filter, config) in steps {
        let typed_per_filter_config = [((*filter).to_owned(), config.clone())].into();
        bytes.extend(EnvoyRoute { typed_per_filter_config, ..Default::default() }.encode_to_vec());
    }
    bytes
}

fn domain(host: &Hostname) -> String {
    host.as_str().to_owned()
}

/// What is safe for any request: the connection never came up, the stream was refused, or nothing had been sent.
pub(crate) fn retries() -> RetryPolicy {
    RetryPolicy {
        retry_on: "connect-failure,refused-stream,reset-before-request".to_owned(),
        num_retries: wire::uint(2),
        retry_host_predicate: vec![RetryHostPredicate {
            name: "envoy.retry_host_predicates.previous_hosts".to_owned(),
            config_type: Some(
                proto::envoy::envoy::config::route::v3::retry_policy::retry_host_predicate::ConfigType::TypedConfig(
                    wire::any(&PreviousHostsPredicate {}),
                ),
            ),
        }],
        host_selection_retry_max_attempts: 5,
        ..Default::default()
    }
}

/// A route as Envoy's: two, where a redirect depends on the Host.
fn routes(key: &VirtualHostKey, one: &Route) -> impl Iterator<Item = EnvoyRoute> {
    let mut before = None;
    let action = match &one.action {
        Action::Forward { backends, rewrite, timeouts, retry } => {
            forward(one, backends, rewrite, timeouts, retry.as_ref())
        }
        Action::Redirect(to) => {
            let Redirected { action, with_port } = redirect(key, &one.matches.path, to);
            before = with_port.map(|(headers, action)| {
                let mut before = route(one, route::Action::Redirect(action));
                before.r#match.get_or_insert_default().headers.extend(headers);
                before
            });
            route::Action::Redirect(action)
        }
        Action::Respond { status } => respond(*status),
    };
    before.into_iter().chain([route(one, action)])
}

fn route(route: &Route, action: route::Action) -> EnvoyRoute {
    let order = &route.order;
    let kind = if order.grpc { "GRPCRoute " } else { "" };
    EnvoyRoute {
        name: format!("{kind}{}/{}/{}", order.object, order.rule, order.matched),
        r#match: Some(matches(&route.matches)),
        request_headers_to_add: headers::added(&route.request_headers),
        request_headers_to_remove: headers::removed(&route.request_headers),
        response_headers_to_add: headers::added(&route.response_headers),
        response_headers_to_remove: headers::removed(&route.response_headers),
        action: Some(action),
        ..Default::default()
    }
}

fn matches(wanted: &Match) -> RouteMatch {
    let method = wanted.method.iter().map(|method| header(":method", exact(method)));
    let headers = wanted.headers.iter().map(|one| header(&one.name, value(&one.value)));
    let query = wanted.query.iter().map(|one| QueryParameterMatcher {
        name: one.name.to_string(),
        query_parameter_match_specifier: Some(QueryParameterMatchSpecifier::StringMatch(value(&one.value))),
    });
    RouteMatch {
        path_specifier: Some(path(&wanted.path)),
        headers: method.chain(headers).collect(),
        query_parameters: query.collect(),
        // By the type of the content; of the path nothing more is asked.
        grpc: matches!(wanted.path, PathMatch::Call { .. }).then(GrpcRouteMatchOptions::default),
        ..Default::default()
    }
}

fn path(path: &PathMatch) -> PathSpecifier {
    match path {
        PathMatch::Exact(path) => PathSpecifier::Path(path.to_string()),
        PathMatch::Prefix(prefix) if &**prefix == "/" => PathSpecifier::Prefix("/".to_owned()),
        // No path has these, so neither form matches; but Envoy refuses the first.
        PathMatch::Prefix(prefix) if prefix.contains(['?', '#']) => PathSpecifier::Path(prefix.to_string()),
        PathMatch::Prefix(prefix) => PathSpecifier::PathSeparatedPrefix(prefix.to_string()),
        PathMatch::Regex(regex) => PathSpecifier::SafeRegex(wire::regex(&**regex)),
        PathMatch::Call { service, method } => call(service.as_ref(), method.as_ref()),
    }
}

/// The path of a call. Names are looked up, patterns are tried.
fn call(service: Option<&ValueMatch>, method: Option<&ValueMatch>) -> PathSpecifier {
    let part = |wanted: Option<&ValueMatch>| match wanted {
        None => "[^/]+".to_owned(),
        Some(ValueMatch::Exact(name)) => wire::escape(name),
        Some(ValueMatch::Regex(pattern)) => format!("(?:{pattern})"),
    };
    match (service, method) {
        (None, None) => PathSpecifier::Prefix("/".to_owned()),
        (Some(ValueMatch::Exact(service)), None) => PathSpecifier::PathSeparatedPrefix(format!("/{service}")),
        (Some(ValueMatch::Exact(service)), Some(ValueMatch::Exact(method))) => {
            PathSpecifier::Path(format!("/{service}/{method}"))
        }
        _ => PathSpecifier::SafeRegex(wire::regex(format!("/{}/{}", part(service), part(method)))),
    }
}

fn header(name: &str, value: StringMatcher) -> HeaderMatcher {
    HeaderMatcher {
        name: name.to_owned(),
        header_match_specifier: Some(HeaderMatchSpecifier::StringMatch(value)),
        ..Default::default()
    }
}

fn value(value: &ValueMatch) -> StringMatcher {
    match value {
        ValueMatch::Exact(value) => exact(value),
        ValueMatch::Regex(regex) => wire::string(MatchPattern::SafeRegex(wire::regex(&**regex))),
    }
}

fn exact(value: &str) -> StringMatcher {
    wire::string(MatchPattern::Exact(value.to_owned()))
}
