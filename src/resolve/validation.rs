//! Whom a backend's certificate is held against, as BackendTLSPolicies and XBackends write it.

use crate::{authority::Authorities, status::Fault};
use api::{BackendTlsPolicyValidation, SubjectAltNameType};
use engine::View;
use model::{ObjectKey, ObjectRef, Originate, Shown, SubjectName, Trust, TrustKey};
use std::sync::Arc;

/// What is written, by itself.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Validation {
    /// How TLS starts if all is well.
    pub(crate) originate: Originate,
    /// Where it is written.
    field: &'static str,
    authorities: Vec<Result<ObjectKey, Fault>>,
    /// What is wrong with it whatever it refers to.
    pub(crate) fault: Option<Fault>,
}

/// The same with its references followed.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Checked {
    /// Why nobody can be held against it.
    pub(crate) fault: Option<Fault>,
    /// The first reference that leads nowhere.
    pub(crate) refs_fault: Option<Fault>,
}

impl Validation {
    /// Of an object's field; `trust` is the name of the authorities that it refers to.
    pub(crate) fn read(
        (owner, field): (&ObjectKey, &'static str),
        trust: TrustKey,
        shown: Shown,
        written: &BackendTlsPolicyValidation,
    ) -> Self {
        let authorities = written.ca_certificate_refs.iter().enumerate();
        let authorities = authorities.map(|(index, reference)| match (&*reference.group, &*reference.kind) {
            ("", "ConfigMap") => Ok(ObjectKey::new(owner.namespace.clone(), &*reference.name)),
            (group, kind) => {
                let field = format!("{field}.caCertificateRefs[{index}]");
                Err(Fault::new("InvalidKind", format!("{field}: wanted a ConfigMap, saw a {kind} of {group:?}")))
            }
        });
        let known = written.well_known_ca_certificates.as_deref();
        let server_name: Arc<str> = (*written.hostname).into();
        let names = match &*written.subject_alt_names {
            [] => vec![SubjectName::Dns(server_name.clone())],
            names => names.iter().filter_map(subject_name).collect(),
        };
        let trust = if known.is_some() { TrustKey::System } else { trust };
        Self {
            originate: Originate { server_name, names, trust, shown },
            field,
            authorities: authorities.collect(),
            fault: known.filter(|known| *known != "System").map(|other| {
                let what = format!("{field}.wellKnownCACertificates: wanted System, saw {other:?}");
                Fault::new("Invalid", what)
            }),
        }
    }

    /// By its own host name, against the authorities of the system.
    pub(crate) fn of_host(host: &Arc<str>, field: &'static str, shown: Shown) -> Self {
        let names = vec![SubjectName::Dns(host.clone())];
        let originate = Originate { server_name: host.clone(), names, trust: TrustKey::System, shown };
        Self { originate, field, authorities: Vec::new(), fault: None }
    }

    /// Whether it refers to anything.
    pub(crate) fn refers(&self) -> bool {
        !self.authorities.is_empty()
    }

    /// The ConfigMaps that it refers to.
    pub(crate) fn wanted(&self) -> impl Iterator<Item = ObjectRef> {
        self.authorities.iter().flatten().map(|map| ObjectRef::new("ConfigMap", map.clone()))
    }

    pub(crate) fn judge(&self, view: &View, authorities: &Authorities) -> Checked {
        let invalid = |index: usize, why: String| {
            let field = self.field;
            Fault::new("InvalidCACertificateRef", format!("{field}.caCertificateRefs[{index}]: {why}"))
        };
        let faults = self.authorities.iter().enumerate().map(|(index, authority)| match authority {
            Err(fault) => Some(fault.clone()),
            Ok(map) => match view.get(&authorities.verdicts, map).as_deref() {
                None => Some(invalid(index, format!("ConfigMap {map} does not exist"))),
                Some(Some(why)) => Some(invalid(index, format!("ConfigMap {map} {why}"))),
                Some(None) => None,
            },
        });
        let faults: Vec<_> = faults.collect();
        let nobody = !faults.is_empty() && faults.iter().all(Option::is_some);
        let refs_fault = faults.into_iter().flatten().next();
        let no_authority = refs_fault.as_ref().filter(|_| nobody);
        let no_authority = no_authority.map(|fault| Fault::new("NoValidCACertificate", &*fault.message));
        Checked { fault: self.fault.clone().or(no_authority), refs_fault }
    }

    /// The authorities that vouch.
    pub(crate) fn trust(&self, view: &View, authorities: &Authorities) -> Option<(TrustKey, Trust)> {
        let key = self.originate.trust.clone();
        if key == TrustKey::System {
            return Some((key, Trust::System));
        }
        let maps = self.authorities.iter().flatten();
        let roots = maps.filter_map(|map| view.get(&authorities.usable, map)).fold(Vec::new(), |mut all, pem| {
            all.extend_from_slice(&pem);
            all
        });
        (!roots.is_empty()).then(|| (key, Trust::Roots(roots.into())))
    }
}

fn subject_name(name: &api::SubjectAltName) -> Option<SubjectName> {
    match name.kind {
        SubjectAltNameType::Hostname => name.hostname.as_deref().map(|name| SubjectName::Dns(name.into())),
        SubjectAltNameType::Uri => name.uri.as_deref().map(|uri| SubjectName::Uri(uri.into())),
    }
}
