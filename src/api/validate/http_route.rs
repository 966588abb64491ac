//! HTTPRoute.

use super::{Check, gateway::reference_parts, http_filter, name};
use crate::{
    BackendObjectReference, CookieLifetimeType, HttpPathMatch, HttpRouteMatch, HttpRouteRetry, HttpRouteRule,
    HttpRouteSpec, ParentReference, PathMatchType, SessionPersistence, SessionPersistenceType,
};

/// A route has at most 16 rules of 64 matches, and not more than this in all.
const MAX_MATCHES: usize = 128;

pub fn route(check: &mut Check, spec: &HttpRouteSpec) {
    check.field("spec", |check| {
        parents(check, &spec.parent_refs);
        check.each("hostnames", &spec.hostnames, 0..=16, |check, host| check.value(host, &name::HOSTNAME));
        check.each("rules", &spec.rules, 1..=16, rule);
        let named: Vec<_> = spec.rules.iter().filter_map(|rule| rule.name.as_deref()).collect();
        check.unique("rules", &named, "names of rules", |name| *name);
        matches_in_all(check, spec.rules.iter().map(|rule| rule.matches.len()).sum());
    });
}

/// The matches of all rules of a route.
pub fn matches_in_all(check: &mut Check, matches: usize) {
    check.field("rules", |check| {
        check.hold(matches <= MAX_MATCHES, format!("wanted at most {MAX_MATCHES} matches in all rules, saw {matches}"));
    });
}

/// What all kinds of routes keep.
pub fn parents(check: &mut Check, parents: &[ParentReference]) {
    check.each("parentRefs", parents, 0..=32, |check, parent| {
        reference_parts(check, &parent.group, &parent.kind, &parent.name, parent.namespace.as_deref());
        check.maybe("sectionName", parent.section_name.as_deref(), &name::DNS_SUBDOMAIN);
        check.port("port", parent.port);
    });
    // The CRD of the standard channel does not look at the port here.
    let same = |a: &ParentReference, b: &ParentReference| {
        (&a.group, &a.kind, &a.name, &a.namespace) == (&b.group, &b.kind, &b.name, &b.namespace)
    };
    for (index, parent) in parents.iter().enumerate() {
        let Some(first) = parents[..index].iter().position(|before| same(before, parent)) else { continue };
        let (one, other) = (&parents[first].section_name, &parent.section_name);
        check.field("parentRefs", |check| {
            if one.is_some() != other.is_some() {
                check.fail(format!("wanted a sectionName in items {first} and {index}: they refer to the same parent"));
            } else if one == other {
                check.fail(format!(
                    "wanted sectionNames that differ in items {first} and {index}: they refer to the same parent"
                ));
            }
        });
    }
}

fn rule(check: &mut Check, rule: &HttpRouteRule) {
    check.maybe("name", rule.name.as_deref(), &name::DNS_SUBDOMAIN);
    check.each("matches", &rule.matches, 0..=64, matches);
    check.each("filters", &rule.filters, 0..=16, http_filter::filter);
    http_filter::list(check, &rule.filters);
    check.each("backendRefs", &rule.backend_refs, 0..=16, |check, backend| {
        backend_ref(check, &backend.backend, backend.weight);
        check.each("filters", &backend.filters, 0..=16, http_filter::filter);
        http_filter::list(check, &backend.filters);
    });
    let redirects = rule.filters.iter().any(|filter| filter.request_redirect.is_some());
    check.field("filters", |check| {
        check.hold(!redirects || rule.backend_refs.is_empty(), "wanted no RequestRedirect together with backendRefs");
    });
    let one_prefix = matches!(rule.matches.as_slice(), [only] if only.path.kind == PathMatchType::PathPrefix);
    let filters = rule.filters.iter().chain(rule.backend_refs.iter().flat_map(|backend| &backend.filters));
    if !one_prefix && filters.into_iter().any(http_filter::replaces_prefix) {
        check.field("matches", |check| check.fail("wanted exactly one PathPrefix match with replacePrefixMatch"));
    }
    if let Some(written) = &rule.retry {
        retry(check, written);
    }
    if let Some(written) = &rule.session_persistence {
        session(check, written);
    }
    if let Some(timeouts) = &rule.timeouts
        && let (Some(request), Some(backend)) = (timeouts.request, timeouts.backend_request)
    {
        check.field("timeouts", |check| {
            let fits = request.0.is_zero() || backend <= request;
            check
                .hold(fits, format!("wanted a backendRequest timeout up to that of request, {request}, saw {backend}"));
        });
    }
}

fn retry(check: &mut Check, retry: &HttpRouteRetry) {
    check.field("retry", |check| {
        check.each("codes", &retry.codes, 0..=200, |check, code| {
            check.hold((400..=599).contains(code), format!("wanted 400 to 599, saw {code}"));
        });
        check.unique("codes", &retry.codes, "codes", |code| *code);
        check.field("attempts", |check| check.hold(retry.attempts != Some(0), "wanted at least 1, saw 0"));
    });
}

/// Rules of session persistence.
pub fn session(check: &mut Check, session: &SessionPersistence) {
    check.field("sessionPersistence", |check| {
        let length = session.session_name.as_deref().map_or(0, |name| name.chars().count());
        check.field("sessionName", |check| check.hold(length <= 128, "wanted up to 128 characters"));
        let is_cookie = session.kind == SessionPersistenceType::Cookie;
        check.hold(is_cookie || session.cookie_config.is_none(), "wanted no cookieConfig with type Header");
        let lifetime = session.cookie_config.map(|config| config.lifetime_type);
        let endless = lifetime == Some(CookieLifetimeType::Permanent) && session.absolute_timeout.is_none();
        check.hold(!endless, "wanted an absoluteTimeout with lifetimeType Permanent, it is missing");
    });
}

fn matches(check: &mut Check, matches: &HttpRouteMatch) {
    check.field("path", |check| path(check, &matches.path));
    check.each("headers", &matches.headers, 0..=16, |check, header| {
        check.text("name", &header.name, &name::HEADER_NAME);
        check.text("value", &header.value, &name::HEADER_VALUE);
    });
    check.unique("headers", &matches.headers, "names of headers", |header| header.name.clone());
    check.each("queryParams", &matches.query_params, 0..=16, |check, param| {
        check.text("name", &param.name, &name::HEADER_NAME);
        check.text("value", &param.value, &name::QUERY_VALUE);
    });
    check.unique("queryParams", &matches.query_params, "names of parameters", |param| param.name.clone());
}

fn path(check: &mut Check, path: &HttpPathMatch) {
    let value = path.value.as_str();
    check.field("value", |check| {
        check.hold(value.chars().count() <= 1024, "wanted up to 1024 characters");
        if path.kind == PathMatchType::RegularExpression {
            return;
        }
        check.hold(value.starts_with('/'), format!("wanted a path that starts with '/', saw {value:?}"));
        for part in ["//", "/./", "/../", "%2f", "%2F", "#"] {
            check.hold(!value.contains(part), format!("wanted no {part:?} in a path, saw {value:?}"));
        }
        for end in ["/.", "/.."] {
            check.hold(!value.ends_with(end), format!("wanted no {end:?} at the end of a path, saw {value:?}"));
        }
        check.hold(is_path(value), format!("wanted only characters of a path (RFC 3986), saw {value:?}"));
    });
}

/// `^(?:[-A-Za-z0-9/._~!$&'()*+,;=:@]|[%][0-9a-fA-F]{2})+$`
pub fn is_path(text: &str) -> bool {
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = match (first, after) {
            (b'%', [high, low, after @ ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => after,
            (b'%', _) => return false,
            (byte, after) if byte.is_ascii_alphanumeric() || b"-/._~!$&'()*+,;=:@#".contains(byte) => after,
            _ => return false,
        };
    }
    !text.is_empty()
}

/// What references to backends with a weight keep.
pub fn backend_ref(check: &mut Check, backend: &BackendObjectReference, weight: u32) {
    backend_reference(check, backend);
    check.field("weight", |check| {
        check.hold(weight <= 1_000_000, format!("wanted 0 to 1000000, saw {weight}"));
    });
}

/// What all references to backends keep.
pub fn backend_reference(check: &mut Check, backend: &BackendObjectReference) {
    reference_parts(check, &backend.group, &backend.kind, &backend.name, backend.namespace.as_deref());
    check.port("port", backend.port);
    let service = backend.group.is_empty() && backend.kind == "Service";
    check.hold(!service || backend.port.is_some(), "wanted a port in a reference to a Service, it is missing");
}
