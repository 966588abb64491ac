//! GatewayClass, Gateway, ListenerSet and ReferenceGrant.

use super::{Check, core, name};
use crate::{
    FromNamespaces, GatewayClassSpec, GatewaySpec, GatewayTlsConfig, Listener, ListenerSetSpec, ListenerTlsConfig,
    LocalObjectReference, ObjectReference, ReferenceGrantSpec, SecretObjectReference, TlsConfig, TlsModeType,
};

pub fn class(check: &mut Check, spec: &GatewayClassSpec) {
    check.field("spec", |check| {
        check.text("controllerName", &spec.controller_name, &name::CONTROLLER);
        let description = spec.description.as_deref().unwrap_or_default();
        let length = description.chars().count();
        check.field("description", |check| {
            check.hold(length <= 64, format!("wanted up to 64 characters, saw {length}"))
        });
        if let Some(reference) = &spec.parameters_ref {
            check.field("parametersRef", |check| object_reference(check, reference));
        }
    });
}

pub fn grant(check: &mut Check, spec: &ReferenceGrantSpec) {
    check.field("spec", |check| {
        check.each("from", &spec.from, 1..=16, |check, from| {
            check.text("group", &from.group, &name::GROUP);
            check.text("kind", &from.kind, &name::KIND);
            check.text("namespace", &from.namespace, &name::DNS_LABEL);
        });
        check.each("to", &spec.to, 1..=16, |check, to| {
            check.text("group", &to.group, &name::GROUP);
            check.text("kind", &to.kind, &name::KIND);
            check.maybe("name", to.name.as_deref(), &name::OBJECT_NAME);
        });
    });
}

pub fn gateway(check: &mut Check, spec: &GatewaySpec) {
    check.field("spec", |check| {
        check.text("gatewayClassName", &spec.gateway_class_name, &name::OBJECT_NAME);
        listeners(check, &spec.listeners);
        addresses(check, spec);
        if let Some(infrastructure) = &spec.infrastructure {
            check.field("infrastructure", |check| {
                check.field("labels", |check| {
                    check.hold(infrastructure.labels.len() <= 8, "wanted at most 8 labels");
                    core::labels_hold(check, &infrastructure.labels);
                });
                check.field("annotations", |check| {
                    check.hold(infrastructure.annotations.len() <= 16, "wanted at most 16 annotations");
                    for (key, value) in &infrastructure.annotations {
                        check.field(key, |check| {
                            check.value(key, &name::LABEL_KEY);
                            check.hold(value.chars().count() <= 4096, "wanted up to 4096 characters");
                        });
                    }
                });
                if let Some(reference) = &infrastructure.parameters_ref {
                    check.field("parametersRef", |check| local_reference(check, reference));
                }
            });
        }
        if let Some(selector) = spec.allowed_listeners.as_ref().and_then(|allowed| allowed.namespaces.selector.as_ref())
        {
            check.field("allowedListeners", |check| {
                check.field("namespaces", |check| check.field("selector", |check| core::selector(check, selector)));
            });
        }
        if let Some(tls) = &spec.tls {
            check.field("tls", |check| gateway_tls(check, tls));
        }
    });
}

pub fn listener_set(check: &mut Check, spec: &ListenerSetSpec) {
    check.field("spec", |check| {
        let parent = &spec.parent_ref;
        check.field("parentRef", |check| {
            reference_parts(check, &parent.group, &parent.kind, &parent.name, parent.namespace.as_deref());
        });
        listeners(check, &spec.listeners);
    });
}

fn listeners(check: &mut Check, listeners: &[Listener]) {
    check.each("listeners", listeners, 1..=64, listener);
    check.unique("listeners", listeners, "names of listeners", |listener| listener.name.clone());
    let place = |listener: &Listener| (listener.port, listener.protocol.clone(), listener.hostname.clone());
    check.unique("listeners", listeners, "combinations of port, protocol and hostname", place);
}

fn addresses(check: &mut Check, spec: &GatewaySpec) {
    check.each("addresses", &spec.addresses, 0..=16, |check, address| {
        let hostname = address.value.as_deref().filter(|value| address.kind == "Hostname" && !value.is_empty());
        check.maybe("value", hostname, &name::HOSTNAME);
        let length = address.kind.len();
        check.field("type", |check| check.hold((1..=253).contains(&length), "wanted 1 to 253 characters"));
    });
    for (index, address) in spec.addresses.iter().enumerate() {
        let once = matches!(address.kind.as_str(), "IPAddress" | "Hostname") && address.value.is_some();
        if once && spec.addresses[..index].contains(address) {
            check.field("addresses", |check| check.fail("wanted addresses that differ, saw one twice"));
        }
    }
}

fn listener(check: &mut Check, listener: &Listener) {
    let protocol = listener.protocol.as_str();
    check.text("name", &listener.name, &name::DNS_SUBDOMAIN);
    check.port("port", Some(listener.port));
    check.text("protocol", protocol, &name::PROTOCOL);
    check.maybe("hostname", listener.hostname.as_deref(), &name::HOSTNAME);
    check.field("hostname", |check| {
        let no_host = matches!(protocol, "TCP" | "UDP") && listener.hostname.is_some();
        check.hold(!no_host, format!("wanted no hostname with protocol {protocol}"));
    });
    match &listener.tls {
        Some(tls) => check.field("tls", |check| listener_tls(check, protocol, tls)),
        None => check.hold(protocol != "TLS", "wanted tls with its mode for protocol TLS, it is missing"),
    }
    check.field("allowedRoutes", |check| {
        let allowed = &listener.allowed_routes;
        check.each("kinds", &allowed.kinds, 0..=8, |check, kind| {
            check.text("group", &kind.group, &name::GROUP);
            check.text("kind", &kind.kind, &name::KIND);
        });
        check.field("namespaces", |check| {
            let from = allowed.namespaces.from;
            check.field("from", |check| {
                check.hold(from != FromNamespaces::None, "wanted All, Selector or Same, saw \"None\"");
            });
            if let Some(selector) = &allowed.namespaces.selector {
                check.field("selector", |check| core::selector(check, selector));
            }
        });
    });
}

fn listener_tls(check: &mut Check, protocol: &str, tls: &ListenerTlsConfig) {
    let plain = matches!(protocol, "HTTP" | "TCP" | "UDP");
    check.hold(!plain, format!("wanted no tls with protocol {protocol}"));
    check.field("mode", |check| {
        let passed = protocol == "HTTPS" && tls.mode == TlsModeType::Passthrough;
        check.hold(!passed, "wanted Terminate with protocol HTTPS, saw \"Passthrough\"");
    });
    let named = !tls.certificate_refs.is_empty() || !tls.options.is_empty();
    let terminates = tls.mode == TlsModeType::Terminate;
    check.hold(!terminates || named, "wanted certificateRefs or options with mode Terminate, both are missing");
    check.each("certificateRefs", &tls.certificate_refs, 0..=64, secret_reference);
    check.field("options", |check| check.hold(tls.options.len() <= 16, "wanted at most 16 options"));
}

fn gateway_tls(check: &mut Check, tls: &GatewayTlsConfig) {
    if let Some(reference) = tls.backend.as_ref().and_then(|backend| backend.client_certificate_ref.as_ref()) {
        check.field("backend", |check| check.field("clientCertificateRef", |check| secret_reference(check, reference)));
    }
    if let Some(frontend) = &tls.frontend {
        check.field("frontend", |check| {
            check.field("default", |check| frontend_tls(check, &frontend.default));
            check.each("perPort", &frontend.per_port, 0..=64, |check, port| {
                check.port("port", Some(port.port));
                check.field("tls", |check| frontend_tls(check, &port.tls));
            });
            check.unique("perPort", &frontend.per_port, "ports", |port| port.port);
        });
    }
}

fn frontend_tls(check: &mut Check, tls: &TlsConfig) {
    if let Some(validation) = &tls.validation {
        check.field("validation", |check| {
            check.each("caCertificateRefs", &validation.ca_certificate_refs, 1..=16, object_reference);
        });
    }
}

fn object_reference(check: &mut Check, reference: &ObjectReference) {
    reference_parts(check, &reference.group, &reference.kind, &reference.name, reference.namespace.as_deref());
}

pub fn local_reference(check: &mut Check, reference: &LocalObjectReference) {
    reference_parts(check, &reference.group, &reference.kind, &reference.name, None);
}

pub fn secret_reference(check: &mut Check, reference: &SecretObjectReference) {
    reference_parts(check, &reference.group, &reference.kind, &reference.name, reference.namespace.as_deref());
}

/// The parts that all references have.
pub fn reference_parts(check: &mut Check, group: &str, kind: &str, name: &str, namespace: Option<&str>) {
    check.text("group", group, &name::GROUP);
    check.text("kind", kind, &name::KIND);
    check.text("name", name, &name::OBJECT_NAME);
    check.maybe("namespace", namespace, &name::DNS_LABEL);
}
