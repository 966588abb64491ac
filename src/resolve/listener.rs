//! Listeners: their certificates followed, so that those that can be programmed are known.

use crate::{
    authority::Authorities,
    certificate::Certificates,
    gateway::{GatewayShape, Gateways, ListenerShape},
    grant::{Grants, Referent, Referrer, permits},
    status::Fault,
};
use api::SecretObjectReference;
use engine::{Engine, Table, View};
use model::{CertificateKey, Listener, ListenerKey, ObjectKey, Protocol, Tls};
use std::sync::Arc;

/// The tables of listeners.
#[derive(Clone, Copy)]
pub(crate) struct Listeners {
    /// What the references of each listener lead to.
    pub(crate) resolved: Table<ListenerKey, Resolved>,
    /// Those that may be programmed.
    pub(crate) listeners: Table<ListenerKey, Listener>,
}

/// A listener with its references followed.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Resolved {
    /// Absent if nothing can be programmed.
    pub(crate) listener: Option<Listener>,
    /// The first reference that leads nowhere.
    pub(crate) refs_fault: Option<Fault>,
    /// Why it isn't accepted although nothing is wrong with it by itself: nobody could vouch for its clients.
    pub(crate) fault: Option<Fault>,
}

pub(crate) fn declare(
    engine: &mut Engine,
    gateways: &Gateways,
    certificates: &Certificates,
    authorities: &Authorities,
    grants: Grants,
) -> Listeners {
    let (certificates, authorities) = (*certificates, *authorities);
    let resolved = engine.derive("resolved listeners", &gateways.shapes, move |view, key, rows| {
        let each = |shape: &Arc<GatewayShape>| {
            let resolve = |listener: &ListenerShape| {
                (listener.key(key), resolve(view, key, shape, listener, (&certificates, &authorities), grants))
            };
            shape.listeners.iter().map(resolve).collect::<Vec<_>>()
        };
        rows.iter().flat_map(each).collect()
    });
    let listeners = engine.derive("listeners", &resolved, |_, key, rows| {
        let usable = rows.iter().filter_map(|resolved| resolved.listener.clone());
        usable.map(|listener| (key.clone(), listener)).take(1).collect()
    });
    Listeners { resolved, listeners }
}

fn resolve(
    view: &View,
    gateway: &ObjectKey,
    shape: &GatewayShape,
    listener: &ListenerShape,
    (certificates, authorities): (&Certificates, &Authorities),
    grants: Grants,
) -> Resolved {
    let mut refs_fault = listener.kinds_fault.clone();
    let mut tls = None;
    let ends_tls = listener.protocol.is_some_and(Protocol::is_by_server_name) && !listener.is_passthrough;
    if ends_tls {
        let mut usable = Vec::new();
        for (reference_index, reference) in listener.certificates.iter().enumerate() {
            match certificate(view, (referrer(listener), listener.object(gateway)), reference, certificates, grants) {
                Ok(key) => usable.push(key),
                Err((reason, why)) => {
                    let field = listener.field(&format!(".tls.certificateRefs[{reference_index}]"));
                    refs_fault.get_or_insert_with(|| Fault::new(reason, format!("{field}: {why}")));
                }
            }
        }
        if listener.certificates.is_empty() {
            let field = listener.field(".tls.certificateRefs");
            let what = format!("{field}: wanted a Secret of type kubernetes.io/tls");
            refs_fault.get_or_insert_with(|| Fault::new("InvalidCertificateRef", what));
        }
        usable.dedup();
        tls = (!usable.is_empty()).then_some(Tls { certificates: usable, clients: None });
    }
    let mut fault = None;
    if let Some(validation) = &listener.clients {
        let judged = validation.judge(view, gateway, authorities, grants);
        refs_fault = refs_fault.or(judged.refs_fault);
        fault = judged.fault;
        if let Some(tls) = &mut tls {
            tls.clients = Some(judged.clients);
        }
    }
    let protocol = listener.protocol.filter(|_| !ends_tls || tls.is_some());
    let sound = shape.fault.is_none() && listener.is_sound() && fault.is_none();
    let listener = protocol.filter(|_| sound).map(|protocol| Listener {
        port: listener.port,
        protocol,
        hostname: listener.hostname.clone(),
        tls,
        proxy_protocol: listener.proxy_protocol,
    });
    Resolved { listener, refs_fault, fault }
}

/// What its references come from: what a Gateway may use, a ListenerSet of the same namespace may not.
pub(crate) fn referrer(listener: &ListenerShape) -> Referrer {
    if listener.set.is_some() { Referrer::ListenerSet } else { Referrer::Gateway }
}

pub(crate) fn certificate(
    view: &View,
    from: (Referrer, &ObjectKey),
    reference: &SecretObjectReference,
    certificates: &Certificates,
    grants: Grants,
) -> Result<CertificateKey, (&'static str, String)> {
    let target = target(view, from, reference, grants)?;
    match view.get(&certificates.verdicts, &target).as_deref() {
        None => Err(("InvalidCertificateRef", format!("Secret {target} does not exist"))),
        Some(Some(why)) => Err(("InvalidCertificateRef", format!("Secret {target} {why}"))),
        Some(None) => Ok(CertificateKey(target)),
    }
}

/// The Secret that a reference names, if it may.
pub(crate) fn target(
    view: &View,
    (referrer, from): (Referrer, &ObjectKey),
    reference: &SecretObjectReference,
    grants: Grants,
) -> Result<ObjectKey, (&'static str, String)> {
    if (&*reference.group, &*reference.kind) != ("", "Secret") {
        let why = format!("wanted a Secret, saw a {} of {:?}", reference.kind, reference.group);
        return Err(("InvalidCertificateRef", why));
    }
    let namespace = reference.namespace.as_deref().map_or_else(|| from.namespace.clone(), Arc::from);
    let target = ObjectKey::new(namespace, &*reference.name);
    // Permission first: whether the Secret of another namespace exists is nobody's business without it.
    if !permits(view, grants, (referrer, &from.namespace), Referent::Secret, &target) {
        let (from, to) = (&from.namespace, &target.namespace);
        return Err((
            "RefNotPermitted",
            format!("no ReferenceGrant in namespace {to} lets {referrer:?}s of namespace {from} use Secret {target}"),
        ));
    }
    Ok(target)
}
