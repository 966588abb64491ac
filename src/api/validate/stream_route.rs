//! TCPRoute, TLSRoute and UDPRoute.

use super::{
    Check,
    http_route::{backend_ref, parents},
    name,
};
use crate::{StreamRouteRule, StreamRouteSpec, TlsRouteSpec};

pub fn route(check: &mut Check, spec: &StreamRouteSpec) {
    check.field("spec", |check| {
        parents(check, &spec.parent_refs);
        check.each("rules", &spec.rules, 1..=1, rule);
    });
}

pub fn tls_route(check: &mut Check, spec: &TlsRouteSpec) {
    check.field("spec", |check| {
        parents(check, &spec.parent_refs);
        check.each("hostnames", &spec.hostnames, 1..=1024, |check, host| check.value(host, &name::HOSTNAME));
        check.each("rules", &spec.rules, 1..=1, rule);
    });
}

fn rule(check: &mut Check, rule: &StreamRouteRule) {
    check.maybe("name", rule.name.as_deref(), &name::DNS_SUBDOMAIN);
    check.each("backendRefs", &rule.backend_refs, 1..=16, |check, backend| {
        backend_ref(check, &backend.backend, backend.weight);
    });
}
