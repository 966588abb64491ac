//! Metadata and the core kinds.

use super::{Check, name};
use crate::{ConfigMap, EndpointSlice, LabelSelector, Object, Secret, Service};
use std::{collections::BTreeMap, net::IpAddr};

pub fn metadata(check: &mut Check, object: &Object) {
    let metadata = object.metadata();
    check.field("metadata", |check| {
        let rule = match object {
            Object::Namespace(_) => &name::DNS_LABEL,
            Object::Service(_) => &name::SERVICE_NAME,
            _ => &name::DNS_SUBDOMAIN,
        };
        check.text("name", metadata.name.as_deref().unwrap_or_default(), rule);
        check.maybe("namespace", metadata.namespace.as_deref(), &name::DNS_LABEL);
        if let Some(labels) = &metadata.labels {
            check.field("labels", |check| labels_hold(check, labels));
        }
    });
}

pub fn labels_hold(check: &mut Check, labels: &BTreeMap<String, String>) {
    for (key, value) in labels {
        check.field(key, |check| {
            check.value(key, &name::LABEL_KEY);
            check.value(value, &name::LABEL_VALUE);
        });
    }
}

pub fn selector(check: &mut Check, selector: &LabelSelector) {
    if let Some(labels) = &selector.match_labels {
        check.field("matchLabels", |check| labels_hold(check, labels));
    }
    let expressions = selector.match_expressions.as_deref().unwrap_or_default();
    check.each("matchExpressions", expressions, 0..=usize::MAX, |check, expression| {
        check.text("key", &expression.key, &name::LABEL_KEY);
        let values = expression.values.as_deref().unwrap_or_default();
        match expression.operator.as_str() {
            "In" | "NotIn" => {
                check.field("values", |check| check.hold(!values.is_empty(), "wanted at least one value, saw none"))
            }
            "Exists" | "DoesNotExist" => {
                check.field("values", |check| check.hold(values.is_empty(), "wanted no values with this operator"))
            }
            other => check.field("operator", |check| {
                check.fail(format!("wanted In, NotIn, Exists or DoesNotExist, saw {other:?}"))
            }),
        }
    });
}

pub fn service(check: &mut Check, service: &Service) {
    let Some(spec) = &service.spec else {
        return check.field("spec", |check| check.fail("wanted a spec, it is missing"));
    };
    check.field("spec", |check| {
        let kind = spec.type_.as_deref().unwrap_or("ClusterIP");
        let known = ["ClusterIP", "NodePort", "LoadBalancer", "ExternalName"].contains(&kind);
        check.field("type", |check| {
            check.hold(known, format!("wanted ClusterIP, NodePort, LoadBalancer or ExternalName, saw {kind:?}"));
        });
        if kind == "ExternalName" {
            let target = spec.external_name.as_deref().unwrap_or_default();
            check.text("externalName", target.strip_suffix('.').unwrap_or(target), &name::PRECISE_HOSTNAME);
        }
        let ports = spec.ports.as_deref().unwrap_or_default();
        let least = usize::from(kind != "ExternalName" && spec.cluster_ip.as_deref() != Some("None"));
        check.each("ports", ports, least..=1000, |check, port| {
            in_range(check, "port", Some(port.port));
            if let Some(crate::IntOrString::Int(target)) = port.target_port {
                in_range(check, "targetPort", Some(target));
            }
            protocol(check, port.protocol.as_deref());
            if ports.len() > 1 || port.name.is_some() {
                check.text("name", port.name.as_deref().unwrap_or_default(), &name::DNS_LABEL);
            }
        });
        check.unique("ports", ports, "names of ports", |port| port.name.clone().unwrap_or_default());
        let number = |port: &crate::ServicePort| (port.port, port.protocol.clone().unwrap_or_else(|| "TCP".into()));
        check.unique("ports", ports, "pairs of port and protocol", number);
    });
}

fn in_range(check: &mut Check, field: &str, port: Option<i32>) {
    if let Some(port) = port.filter(|port| !(1..=65535).contains(port)) {
        check.field(field, |check| check.fail(format!("wanted a port from 1 to 65535, saw {port}")));
    }
}

fn protocol(check: &mut Check, protocol: Option<&str>) {
    if let Some(protocol) = protocol.filter(|protocol| !["TCP", "UDP", "SCTP"].contains(protocol)) {
        check.field("protocol", |check| check.fail(format!("wanted TCP, UDP or SCTP, saw {protocol:?}")));
    }
}

pub fn endpoint_slice(check: &mut Check, slice: &EndpointSlice) {
    let kind = slice.address_type.as_str();
    check.field("addressType", |check| {
        check.hold(["IPv4", "IPv6", "FQDN"].contains(&kind), format!("wanted IPv4, IPv6 or FQDN, saw {kind:?}"));
    });
    let endpoints = slice.endpoints.as_deref().unwrap_or_default();
    check.each("endpoints", endpoints, 0..=1000, |check, endpoint| {
        check.each("addresses", &endpoint.addresses, 1..=100, |check, address| {
            match (kind, address.parse::<IpAddr>()) {
                ("IPv4", Ok(IpAddr::V4(_))) | ("IPv6", Ok(IpAddr::V6(_))) => {}
                ("IPv4" | "IPv6", _) => check.fail(format!("wanted an {kind} address, saw {address:?}")),
                _ => check.value(address, &name::DNS_SUBDOMAIN),
            }
        });
    });
    let ports = slice.ports.as_deref().unwrap_or_default();
    check.each("ports", ports, 0..=20_000, |check, port| {
        in_range(check, "port", port.port);
        protocol(check, port.protocol.as_deref());
    });
    check.unique("ports", ports, "names of ports", |port| port.name.clone().unwrap_or_default());
}

pub fn config_map(check: &mut Check, map: &ConfigMap) {
    let texts = map.data.iter().flatten().map(|(key, text)| ("data", key, text.len()));
    let bytes = map.binary_data.iter().flatten().map(|(key, bytes)| ("binaryData", key, bytes.0.len()));
    let mut total = 0;
    for (field, key, size) in texts.chain(bytes) {
        total += size;
        check.field(field, |check| check.field(key, |check| check.value(key, &name::DATA_KEY)));
    }
    check.field("data", |check| check.hold(total <= 1 << 20, format!("wanted at most 1 MiB, saw {total} bytes")));
}

pub fn secret(check: &mut Check, secret: &Secret) {
    let data = secret.data.iter().flatten();
    let mut size = 0;
    check.field("data", |check| {
        for (key, value) in data {
            size += value.0.len();
            check.field(key, |check| check.value(key, &name::DATA_KEY));
        }
        check.hold(size <= 1 << 20, format!("wanted at most 1 MiB, saw {size} bytes"));
    });
    if secret.type_.as_deref() == Some("kubernetes.io/tls") {
        for key in ["tls.crt", "tls.key"] {
            let has = secret.data.as_ref().is_some_and(|data| data.contains_key(key));
            check.field("data", |check| {
                check.hold(has, format!("wanted a key {key:?} in a Secret of type kubernetes.io/tls, it is missing"))
            });
        }
    }
}
