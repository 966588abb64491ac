//! What a Gateway wants of the certificates of its clients, and the certificate that it shows to backends itself.

use crate::{
    authority::Authorities,
    certificate::Certificates,
    gateway::{GatewayShape, Gateways},
    grant::{Grants, Referent, Referrer, permits},
    listener::{self, certificate},
    status::Fault,
};
use api::{FrontendValidationMode, GatewayTlsConfig, ObjectReference, SecretObjectReference, TlsConfig};
use engine::{Engine, Table, View};
use model::{CertificateKey, Clients, ObjectKey, Trust, TrustKey};
use std::{collections::BTreeMap, sync::Arc};

/// The tables of a Gateway's own TLS settings.
#[derive(Clone, Copy)]
pub(crate) struct Frontends {
    /// The authorities that vouch for clients.
    pub(crate) trust: Table<TrustKey, Trust>,
    /// The certificates that are shown to backends.
    pub(crate) shown: Table<ObjectKey, CertificateKey>,
    /// Why there is none although one is named.
    pub(crate) faults: Table<ObjectKey, Fault>,
}

/// What is wanted of the clients of a port.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Validation {
    /// The port that has it for its own; none is the default.
    port: Option<u16>,
    field: String,
    references: Vec<ObjectReference>,
    required: bool,
}

/// The same with its references followed.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Judged {
    pub(crate) clients: Clients,
    /// The first reference that leads nowhere.
    pub(crate) refs_fault: Option<Fault>,
    /// None of them leads anywhere.
    pub(crate) fault: Option<Fault>,
}

impl Validation {
    /// What holds for a port.
    pub(crate) fn of(tls: Option<&GatewayTlsConfig>, port: u16) -> Option<Self> {
        let frontend = tls?.frontend.as_ref()?;
        let own = frontend.per_port.iter().enumerate().find(|(_, own)| own.port == port);
        let (port, field, config): (_, _, &TlsConfig) = match own {
            Some((index, own)) => (Some(port), format!("perPort[{index}].tls"), &own.tls),
            None => (None, "default".to_owned(), &frontend.default),
        };
        let validation = config.validation.as_ref()?;
        Some(Self {
            port,
            field: format!("spec.tls.frontend.{field}.validation.caCertificateRefs"),
            references: validation.ca_certificate_refs.clone(),
            required: validation.mode == FrontendValidationMode::AllowValidOnly,
        })
    }

    /// Whether some clients of a Gateway are let in whatever they show.
    pub(crate) fn any_insecure(tls: Option<&GatewayTlsConfig>) -> bool {
        let Some(frontend) = tls.and_then(|tls| tls.frontend.as_ref()) else { return false };
        let configs = frontend.per_port.iter().map(|own| &own.tls).chain([&frontend.default]);
        let mut modes = configs.filter_map(|config| config.validation.as_ref()).map(|validation| validation.mode);
        modes.any(|mode| mode == FrontendValidationMode::AllowInsecureFallback)
    }

    /// The authorities that it names.
    pub(crate) fn references(&self) -> &[ObjectReference] {
        &self.references
    }

    fn trust(&self, gateway: &ObjectKey) -> TrustKey {
        TrustKey::Clients { gateway: gateway.clone(), port: self.port }
    }

    pub(crate) fn judge(&self, view: &View, gateway: &ObjectKey, authorities: &Authorities, grants: Grants) -> Judged {
        let follow = |reference: &ObjectReference| authority(view, gateway, reference, authorities, grants);
        let faults = self.references.iter().enumerate().map(|(index, reference)| {
            let (reason, why) = follow(reference).err()?;
            Some(Fault::new(reason, format!("{}[{index}]: {why}", self.field)))
        });
        let faults: Vec<_> = faults.collect();
        let nobody = faults.iter().all(Option::is_some);
        let refs_fault = faults.into_iter().flatten().next();
        let fault = refs_fault.as_ref().filter(|_| nobody);
        let fault = fault.map(|fault| Fault::new("NoValidCACertificate", &*fault.message));
        Judged { clients: Clients { trust: self.trust(gateway), required: self.required }, refs_fault, fault }
    }
}

pub(crate) fn declare(
    engine: &mut Engine,
    gateways: &Gateways,
    authorities: &Authorities,
    certificates: &Certificates,
    grants: Grants,
) -> Frontends {
    let (authorities, certificates) = (*authorities, *certificates);
    let trust = engine.derive("client authorities", &gateways.shapes, move |view, key, rows| {
        let wanted = rows.iter().flat_map(|shape| &shape.listeners).filter_map(|listener| listener.clients.as_ref());
        let by_port: BTreeMap<_, _> = wanted.map(|validation| (validation.port, validation)).collect();
        let trust = |validation: &Validation| {
            let maps = validation.references.iter();
            let maps = maps.filter_map(|reference| authority(view, key, reference, &authorities, grants).ok());
            let roots = maps.filter_map(|map| view.get(&authorities.usable, &map)).fold(Vec::new(), |mut all, pem| {
                all.extend_from_slice(&pem);
                all
            });
            (!roots.is_empty()).then(|| (validation.trust(key), Trust::Roots(roots.into())))
        };
        by_port.into_values().filter_map(trust).collect()
    });
    let followed = engine.derive("certificates for backends followed", &gateways.shapes, move |view, key, rows| {
        let follow = |shape: &Arc<GatewayShape>| {
            let reference = shape.shown.as_ref()?;
            let field = "spec.tls.backend.clientCertificateRef";
            Some(client_certificate(view, (Referrer::Gateway, key), (field, reference), &certificates, grants))
        };
        rows.iter().filter_map(follow).map(|followed| (key.clone(), followed)).collect()
    });
    Frontends {
        trust,
        shown: engine.derive("certificates for backends", &followed, |_, key, rows| {
            rows.iter().filter_map(|one| Some((key.clone(), one.as_ref().as_ref().ok()?.clone()))).collect()
        }),
        faults: engine.derive("faults of certificates for backends", &followed, |_, key, rows| {
            rows.iter().filter_map(|one| Some((key.clone(), one.as_ref().as_ref().err()?.clone()))).collect()
        }),
    }
}

/// The certificate that backends are shown by what refers to it in a field.
pub(crate) fn client_certificate(
    view: &View,
    from: (Referrer, &ObjectKey),
    (field, reference): (&str, &SecretObjectReference),
    certificates: &Certificates,
    grants: Grants,
) -> Result<CertificateKey, Fault> {
    certificate(view, from, reference, certificates, grants).map_err(|(reason, why)| {
        let reason = if reason == "RefNotPermitted" { reason } else { "InvalidClientCertificateRef" };
        Fault::new(reason, format!("{field}: {why}"))
    })
}

/// The Secret of the certificate that backends are shown, if the Gateway may use it.
pub(crate) fn shown(
    view: &View,
    gateway: &ObjectKey,
    reference: &SecretObjectReference,
    grants: Grants,
) -> Result<ObjectKey, (&'static str, String)> {
    listener::target(view, (Referrer::Gateway, gateway), reference, grants)
}

/// The ConfigMap behind a reference, or why there is none.
fn authority(
    view: &View,
    gateway: &ObjectKey,
    reference: &ObjectReference,
    authorities: &Authorities,
    grants: Grants,
) -> Result<ObjectKey, (&'static str, String)> {
    let target = target(view, gateway, reference, grants)?;
    match view.get(&authorities.verdicts, &target).as_deref() {
        None => Err(("InvalidCACertificateRef", format!("ConfigMap {target} does not exist"))),
        Some(Some(why)) => Err(("InvalidCACertificateRef", format!("ConfigMap {target} {why}"))),
        Some(None) => Ok(target),
    }
}

/// The ConfigMap that a reference names, if it may.
pub(crate) fn target(
    view: &View,
    gateway: &ObjectKey,
    reference: &ObjectReference,
    grants: Grants,
) -> Result<ObjectKey, (&'static str, String)> {
    if (&*reference.group, &*reference.kind) != ("", "ConfigMap") {
        let why = format!("wanted a ConfigMap, saw a {} of {:?}", reference.kind, reference.group);
        return Err(("InvalidCACertificateKind", why));
    }
    let namespace = reference.namespace.as_deref().map_or_else(|| gateway.namespace.clone(), Arc::from);
    let target = ObjectKey::new(namespace, &*reference.name);
    // Permission first: whether the ConfigMap of another namespace exists is nobody's business without it.
    if !permits(view, grants, (Referrer::Gateway, &gateway.namespace), Referent::ConfigMap, &target) {
        let (from, to) = (&gateway.namespace, &target.namespace);
        let why =
            format!("no ReferenceGrant in namespace {to} lets Gateways of namespace {from} use ConfigMap {target}");
        return Err(("RefNotPermitted", why));
    }
    Ok(target)
}
