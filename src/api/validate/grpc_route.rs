//! GRPCRoute.

use super::{
    Check, http_filter,
    http_route::{backend_ref, matches_in_all, parents, session},
    name,
};
use crate::{
    GrpcMethodMatch, GrpcMethodMatchType, GrpcRouteFilter, GrpcRouteMatch, GrpcRouteRule, GrpcRouteSpec,
    HttpRouteFilter,
};

pub fn route(check: &mut Check, spec: &GrpcRouteSpec) {
    check.field("spec", |check| {
        parents(check, &spec.parent_refs);
        check.each("hostnames", &spec.hostnames, 0..=16, |check, host| check.value(host, &name::HOSTNAME));
        check.each("rules", &spec.rules, 0..=16, rule);
        let named: Vec<_> = spec.rules.iter().filter_map(|rule| rule.name.as_deref()).collect();
        check.unique("rules", &named, "names of rules", |name| *name);
        matches_in_all(check, spec.rules.iter().map(|rule| rule.matches.len()).sum());
    });
}

fn rule(check: &mut Check, rule: &GrpcRouteRule) {
    check.maybe("name", rule.name.as_deref(), &name::DNS_SUBDOMAIN);
    check.each("matches", &rule.matches, 0..=64, matches);
    filters(check, &rule.filters);
    check.each("backendRefs", &rule.backend_refs, 0..=16, |check, backend| {
        backend_ref(check, &backend.backend, backend.weight);
        filters(check, &backend.filters);
    });
    if let Some(persistence) = &rule.session_persistence {
        session(check, persistence);
    }
}

fn filters(check: &mut Check, filters: &[GrpcRouteFilter]) {
    let filters: Vec<_> = filters.iter().map(HttpRouteFilter::from).collect();
    check.each("filters", &filters, 0..=16, http_filter::filter);
    http_filter::list(check, &filters);
}

fn matches(check: &mut Check, matches: &GrpcRouteMatch) {
    if let Some(called) = &matches.method {
        check.field("method", |check| method(check, called));
    }
    check.each("headers", &matches.headers, 0..=16, |check, header| {
        check.text("name", &header.name, &name::HEADER_NAME);
        check.text("value", &header.value, &name::HEADER_VALUE);
    });
    check.unique("headers", &matches.headers, "names of headers", |header| header.name.clone());
}

fn method(check: &mut Check, called: &GrpcMethodMatch) {
    check.hold(called.service.is_some() || called.method.is_some(), "wanted a service or a method, both are missing");
    for (field, value, is_service) in [("service", &called.service, true), ("method", &called.method, false)] {
        let Some(value) = value else { continue };
        check.field(field, |check| {
            check.hold(value.chars().count() <= 1024, "wanted up to 1024 characters");
            let exact = called.kind == GrpcMethodMatchType::Exact;
            let holds = !exact || if is_service { is_service_name(value) } else { is_identifier(value) };
            let seen: String = value.chars().take(80).collect();
            check.hold(holds, format!("wanted the name of a {field} of gRPC, saw {seen:?}"));
        });
    }
}

/// `^(?i)\.?[a-z_][a-z_0-9]*(\.[a-z_][a-z_0-9]*)*$`
fn is_service_name(text: &str) -> bool {
    text.strip_prefix('.').unwrap_or(text).split('.').all(is_identifier)
}

/// `^[A-Za-z_][A-Za-z_0-9]*$`
fn is_identifier(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with(|first: char| first.is_ascii_digit())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}
