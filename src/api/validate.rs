//! What an API server would refuse: lengths, counts, patterns, enumerations and the CEL rules of the CRDs.
//!
//! Written out by hand, since the door must work without the CRDs at hand; golden tests hold the inputs to the real
//! schemas as well. What the API server accepts and the specification says is wrong (a listener conflict, a missing
//! Service) is a verdict of `resolve`, not an error here.

mod backend;
mod backend_tls_policy;
mod backend_traffic_policy;
mod core;
mod gateway;
mod grpc_route;
mod http_filter;
mod http_route;
mod name;
mod policy;
mod stream_route;

use crate::{
    Object,
    problem::{FieldPath, Step},
};

/// A rule that an object breaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The field.
    pub path: FieldPath,
    /// What was wanted, what was seen.
    pub message: String,
}

/// How many violations of one object are told.
const MAX_VIOLATIONS: usize = 20;

/// All rules that an object breaks, at most 20.
pub fn check(object: &Object) -> Vec<Violation> {
    let mut check = Check::default();
    core::metadata(&mut check, object);
    match object {
        Object::Namespace(_) => {}
        Object::GatewayClass(class) => gateway::class(&mut check, &class.spec),
        Object::Gateway(gateway) => gateway::gateway(&mut check, &gateway.spec),
        Object::ListenerSet(set) => gateway::listener_set(&mut check, &set.spec),
        Object::HttpRoute(route) => http_route::route(&mut check, &route.spec),
        Object::GrpcRoute(route) => grpc_route::route(&mut check, &route.spec),
        Object::TcpRoute(route) => stream_route::route(&mut check, &route.spec),
        Object::TlsRoute(route) => stream_route::tls_route(&mut check, &route.spec),
        Object::UdpRoute(route) => stream_route::route(&mut check, &route.spec),
        Object::ReferenceGrant(grant) => gateway::grant(&mut check, &grant.spec),
        Object::Service(service) => core::service(&mut check, service),
        Object::EndpointSlice(slice) => core::endpoint_slice(&mut check, slice),
        Object::Secret(secret) => core::secret(&mut check, secret),
        Object::ConfigMap(map) => core::config_map(&mut check, map),
        Object::BackendTlsPolicy(policy) => backend_tls_policy::policy(&mut check, &policy.spec),
        Object::XBackend(object) => backend::backend(&mut check, &object.spec),
        Object::XBackendTrafficPolicy(policy) => backend_traffic_policy::policy(&mut check, &policy.spec),
        Object::AuthorizationPolicy(policy) => policy::policy(&mut check, &policy.spec),
        Object::RequestAuthentication(object) => policy::authentication(&mut check, &object.spec),
    }
    check.found
}

/// Walks an object: knows where it is and what it found.
#[derive(Default)]
struct Check {
    path: FieldPath,
    found: Vec<Violation>,
}

impl Check {
    /// Notes a violation here.
    fn fail(&mut self, message: impl Into<String>) {
        if self.found.len() < MAX_VIOLATIONS {
            self.found.push(Violation { path: self.path.clone(), message: message.into() });
        }
    }

    /// Notes a violation here unless the rule holds.
    fn hold(&mut self, rule: bool, message: impl Into<String>) {
        if !rule {
            self.fail(message);
        }
    }

    /// Looks into a field.
    fn field<R>(&mut self, name: &str, look: impl FnOnce(&mut Self) -> R) -> R {
        self.path.0.push(Step::Field(name.into()));
        let result = look(self);
        self.path.0.pop();
        result
    }

    /// Looks into every item of a list under a field, whose length must be in a range.
    fn each<T>(
        &mut self,
        name: &str,
        items: &[T],
        count: std::ops::RangeInclusive<usize>,
        mut look: impl FnMut(&mut Self, &T),
    ) {
        self.field(name, |check| {
            if !count.contains(&items.len()) {
                let (least, most) = (count.start(), count.end());
                check.fail(format!("wanted {least} to {most} items, saw {}", items.len()));
            }
            for (index, item) in items.iter().enumerate() {
                check.path.0.push(Step::Item(index));
                look(check, item);
                check.path.0.pop();
            }
        });
    }

    /// Notes items of a list under a field that have the same key as one before.
    fn unique<T, K: PartialEq>(&mut self, name: &str, items: &[T], what: &str, key: impl Fn(&T) -> K) {
        self.field(name, |check| {
            for (index, item) in items.iter().enumerate() {
                if let Some(first) = items[..index].iter().position(|before| key(before) == key(item)) {
                    check.path.0.push(Step::Item(index));
                    check.fail(format!("wanted {what} that differ, saw the same as in item {first}"));
                    check.path.0.pop();
                }
            }
        });
    }

    /// Holds a text under a field to a rule.
    fn text(&mut self, name: &str, value: &str, rule: &name::Rule) {
        self.field(name, |check| check.value(value, rule));
    }

    /// Holds a text here to a rule.
    fn value(&mut self, value: &str, rule: &name::Rule) {
        if !(rule.holds)(value) {
            let seen: String = value.chars().take(80).collect();
            self.fail(format!("wanted {}, saw {seen:?}", rule.what));
        }
    }

    /// Holds a text under a field to a rule if it is there.
    fn maybe(&mut self, name: &str, value: Option<&str>, rule: &name::Rule) {
        if let Some(value) = value {
            self.text(name, value, rule);
        }
    }

    /// Holds a port under a field to 1..=65535.
    fn port(&mut self, name: &str, port: Option<u16>) {
        if port == Some(0) {
            self.field(name, |check| check.fail("wanted a port from 1 to 65535, saw 0"));
        }
    }
}

#[cfg(test)]
mod tests;
